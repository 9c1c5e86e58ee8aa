"""The broker as a process of this machine's Java, in no container."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from engines.base import (
    DEPLOY,
    HOST,
    Failure,
    State,
    answers,
    choose_port,
    locked,
    port_is_free,
    say,
    write_state,
)
from engines.jars import beside, jars, java

# A small heap, and the quick compiler only: up in 1.5 s instead of 1.9 s, and no slower after.
JVM_FLAGS = [
    *("-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
    *("-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true"),
]


def prefetch() -> None:
    """Java, the jars, and beside the jars the broker's classes, loaded and verified.

    With those a start takes half the processor time. Making them costs a start and a slow stop:
    who starts one broker would gain nothing, so only `scripts/kafka prefetch` does it.
    """
    java()
    target = class_archive()
    if target.exists():
        return
    scratch = tempfile.TemporaryDirectory(dir=target.parent, prefix=".classes.")
    with locked(beside(target, ".lock")), scratch as folder:
        if target.exists():
            return
        say("archiving the broker's classes, for quicker starts")
        data = Path(folder)
        state = {"port": choose_port(), "controller_port": choose_port()}
        made = data / "made.jsa"
        stop(data, start(data, state, 120, f"-XX:ArchiveClassesAtExit={made}"))
        if made.exists():  # not every Java can
            made.rename(target)


def class_archive() -> Path:
    return beside(jars(), ".jsa")


def running(data: Path, state: State) -> bool:
    return alive(data, state.get("pid"))


def start(data: Path, state: State, timeout: float, *flags: str) -> State:
    """Start a broker and wait until it answers; its state with the process id."""
    for port in (state["port"], state["controller_port"]):
        if not port_is_free(port):
            raise Failure(f"port {port} is in use by another process; --port 0 chooses a free one")
    (data / "logs").mkdir(parents=True, exist_ok=True)
    properties = write_properties(data, state["port"], state["controller_port"])
    format_storage(data, properties)
    with open(data / "logs" / "console.log", "ab") as console:
        broker = subprocess.Popen(
            java_command(data, *flags, "kafka.Kafka", properties),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            # not in the terminal's group: Ctrl-C there is for the one who called this
            start_new_session=True,
        )
    state = state | {"pid": broker.pid}
    try:
        write_state(data, state)
        wait_for_answer(data, broker, state["port"], timeout)
    except BaseException:  # Ctrl-C as well: a start that did not succeed leaves nothing running
        end(broker)
        raise
    return state


def wait_for_answer(data: Path, broker: subprocess.Popen[bytes], port: int, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while not answers(port):
        if broker.poll() is not None:
            raise Failure(f"the broker ended with code {broker.returncode}\n{last_lines(data)}")
        if time.monotonic() > deadline:
            raise Failure(f"no answer within {timeout:.0f} s\n{last_lines(data)}")
        time.sleep(0.05)


def end(child: subprocess.Popen[bytes], patience: float = 30) -> None:
    """As `stop`, for a process just started: /proc may not show its command line yet."""
    child.terminate()
    try:
        child.wait(patience)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def stop(data: Path, state: State, patience: float = 30) -> None:
    """SIGTERM, and SIGKILL should it not end within `patience` seconds."""
    pid = state["pid"]
    if alive(data, pid):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while alive(data, pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    if alive(data, pid):
        say(f"no clean stop within {patience:.0f} s; killing process {pid}")
        os.kill(pid, signal.SIGKILL)
        while alive(data, pid):
            time.sleep(0.05)


def alive(data: Path, pid: int | None) -> bool:
    """Whether `pid` is this data folder's broker: the number alone may be another's by now."""
    return pid is not None and f" {data / 'server.properties'} " in f"{command_line(pid)} "


def command_line(pid: int) -> str:
    """The command line of a live process, else "" (also for one that is only not collected)."""
    if Path("/proc/self").exists():
        try:
            raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return ""
        return raw.replace(b"\0", b" ").decode(errors="replace")
    ps = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    return subprocess.run(ps, capture_output=True, text=True).stdout.strip()


def java_command(data: Path, *arguments: str | Path) -> list[str]:
    own = os.environ.get("CTR_KAFKA_JAVA_OPTS", "").split()
    if (classes := class_archive()).exists():
        own.append(f"-XX:SharedArchiveFile={classes}")
    options = [f"-Dkafka.logs.dir={data / 'logs'}"]
    options += [f"-Dlog4j2.configurationFile={DEPLOY / 'log4j2.xml'}", "-cp", f"{jars()}/*"]
    return [java(), *JVM_FLAGS, *own, *options, *map(str, arguments)]


def write_properties(data: Path, port: int, controller_port: int) -> Path:
    if "," in str(data):
        raise Failure(f"--data must be a path without a comma; got {data}")
    properties = data / "server.properties"
    properties.write_text(
        f"{(DEPLOY / 'server.properties').read_text()}\n# This node's own\n"
        f"listeners=PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}\n"
        f"advertised.listeners=PLAINTEXT://{HOST}:{port}\n"
        f"controller.quorum.voters=1@{HOST}:{controller_port}\n"
        f"log.dirs={data / 'data'}\n"
    )
    return properties


def format_storage(data: Path, properties: Path) -> None:
    if (data / "data" / "meta.properties").exists():
        return
    cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    tool = ["kafka.tools.StorageTool", "format", "--ignore-formatted"]
    command = java_command(data, *tool, f"--cluster-id={cluster}", "--config", properties)
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Failure(f"could not format {data / 'data'}:\n{done.stdout}{done.stderr}")


def last_lines(data: Path) -> str:
    lines = []
    for name in ("console.log", "server.log"):
        path = data / "logs" / name
        if path.exists():
            lines += [f"{path}:", *path.read_text(errors="replace").splitlines()[-8:]]
    return "\n".join(lines)
