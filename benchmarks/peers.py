"""Gets Apache Kafka's jars from Maven Central, once."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent


class PeerMissingError(Exception):
    """Java or Maven is not here, or the download failed."""


def kafka_jars() -> Path:
    """The folder with the jars of Kafka's server, tools and clients, downloaded when it is not there."""
    done = subprocess.run([ROOT / "tests" / "peers" / "fetch.sh"], capture_output=True, text=True)
    if done.returncode:
        raise PeerMissingError(f"cannot get Apache Kafka to compare with: {done.stderr.strip()[-2000:]}")
    return Path(done.stdout.strip())
