"""Gets Apache Kafka's jars from Maven Central, once."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
POM = ROOT / "tests" / "peers" / "pom.xml"
JARS = ROOT / "build" / "peers" / "kafka"


class PeerMissingError(Exception):
    """Java or Maven is not here, or the download failed."""


def kafka_jars() -> Path:
    """The folder with the jars of Kafka's server, tools and clients, downloaded when it is not there."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            raise PeerMissingError(f"comparing with Apache Kafka needs {program}, which is not installed")
    if not any(JARS.glob("kafka_*.jar")):
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={JARS}"]
        done = subprocess.run(["mvn", "-q", "-B", "-f", str(POM), *goal], capture_output=True, text=True)
        if done.returncode:
            raise PeerMissingError(
                f"Maven cannot fetch Apache Kafka:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
    return JARS
