"""What a result was measured on; no host names, users or paths."""

import os
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

FSYNC_SAMPLES = 100
FSYNC_BYTES = 4096
IDLE_SAMPLE_S = 0.5


def describe(folder: Path, jars: Path) -> dict[str, str]:
    """The machine, the disk below `folder`, and the versions of what ran."""
    return {
        "cpu": _first_line_after("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "file system": _file_system(folder),
        "fdatasync of 4 KiB appended (median)": f"{_fsync_ms(folder):.2f} ms",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "java": _java_version(),
        "kafka": _kafka_version(jars),
        "odradek": _odradek_version(),
    }


def wait_until_idle(cores: float, patience_s: float) -> None:
    """Returns when all processes together use less than `cores`, or after `patience_s`."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        before = _busy_s()
        time.sleep(IDLE_SAMPLE_S)
        if _busy_s() - before < cores * IDLE_SAMPLE_S:
            return


def _busy_s() -> float:
    user, nice, system, _, _, *others = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + sum(others)) / os.sysconf("SC_CLK_TCK")


def _first_line_after(path: str, key: str) -> str:
    for line in Path(path).read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def _file_system(folder: Path) -> str:
    """The type of the mount with the longest path above `folder`."""
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        mount, this = line.split()[1:3]
        if folder.resolve().is_relative_to(mount) and len(mount) >= len(best):
            best, kind = mount, this
    return kind


def _fsync_ms(folder: Path) -> float:
    samples = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(FSYNC_SAMPLES):
            os.write(file.fileno(), bytes(FSYNC_BYTES))
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            samples.append(time.perf_counter() - started)
    return statistics.median(samples) * 1000


def _java_version() -> str:
    done = subprocess.run(["java", "-version"], capture_output=True, text=True)
    return done.stderr.splitlines()[0].split('"')[1] if '"' in done.stderr else "unknown"


def _kafka_version(jars: Path) -> str:
    found = sorted(path.stem.removeprefix("kafka-clients-") for path in jars.glob("kafka-clients-*.jar"))
    return found[0] if found else "unknown"


def _odradek_version() -> str:
    from odradek import __version__

    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent
    )
    return f"{__version__} ({done.stdout.strip()})" if done.returncode == 0 else __version__
