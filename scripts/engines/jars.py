"""Java, and Apache Kafka's jars: found on this machine, or got."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engines.base import DEPLOY, ROOT, Failure, kafka_version, locked, say

JAVA_PACKAGES = ("openjdk-17-jre-headless", "openjdk-21-jre-headless", "openjdk-25-jre-headless")


def java() -> str:
    """The path of a Java that Kafka runs on; installs one as root, else says how."""
    if not (found := find_java()):
        say("needs Java 17 or newer")
        install("|".join(JAVA_PACKAGES))
        found = find_java()
    if not found:
        raise Failure("found no Java 17 or newer; set JAVA_HOME to one")
    return found


def find_java() -> str | None:
    home = os.environ.get("JAVA_HOME")
    candidates = [f"{home}/bin/java"] if home else []
    candidates += [shutil.which("java") or ""]
    candidates += sorted(map(str, Path("/usr/lib/jvm").glob("*/bin/java")), reverse=True)
    return next((c for c in candidates if os.access(c, os.X_OK) and java_version(c) >= 17), None)


def java_version(path: str) -> int:
    told = subprocess.run([path, "-version"], capture_output=True, text=True).stderr
    found = re.search(r'version "(\d+)', told)
    return int(found[1]) if found else 0


def install(package: str) -> None:
    done = subprocess.run([ROOT / "scripts" / "system-packages", package], stdout=sys.stderr)
    if done.returncode:
        raise Failure(f"cannot go on without {package.partition('|')[0]}")


def jars() -> Path:
    """The folder of Kafka's jars. Complete or absent: a download is renamed into place."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(os.environ.get("CTR_KAFKA_CACHE") or Path(home) / "ctr").absolute()
    digest = hashlib.sha256((DEPLOY / "pom.xml").read_bytes()).hexdigest()[:8]
    folder = cache / f"kafka-{kafka_version()}-{digest}"
    if not folder.is_dir():
        with locked(beside(folder, ".lock")):
            if not folder.is_dir():
                download(folder)
    return folder


def beside(folder: Path, suffix: str) -> Path:
    return folder.parent / (folder.name + suffix)


def download(folder: Path) -> None:
    runtime = Path(java()).resolve().parent.parent
    if not shutil.which("mvn"):
        say("needs Maven to get Kafka's jars")
        install("maven")
    say(f"getting the jars of Apache Kafka {kafka_version()} (43 MB) with Maven into {folder}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        command = ["mvn", "--batch-mode", "--strict-checksums", "--file", str(DEPLOY / "pom.xml")]
        command += ["dependency:copy-dependencies", f"-DoutputDirectory={scratch}/jars"]
        environment = os.environ | {"JAVA_HOME": str(runtime)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise Failure(f"Maven could not get the jars:\n{done.stdout[-2000:]}{done.stderr}")
        os.rename(f"{scratch}/jars", folder)
    say(f"got them in {time.monotonic() - began:.1f} s")
