"""A real Kafka for the demonstration, by way of scripts/kafka of the repository."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ctr.cli.demo.children import ends_with_this_process
from ctr.settings import Kafka

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "kafka"
PARTITIONS = 4
_KEPT = {"retention.bytes": str(128 << 20), "segment.bytes": str(32 << 20)}


class Broker:
    """A broker of the demonstration's own: data in ``directory``, on a free port.

    Making one begins its start, which takes minutes where Java and the jars have to be got; what
    is done is said on standard error. It ends by itself should this process be killed.
    """

    def __init__(self, directory: Path, script: Path = SCRIPT) -> None:
        self._command = [sys.executable, str(script)]
        self._data = ["--data", str(directory)]
        owner = ["--owner", str(os.getpid())]
        self._starting = subprocess.Popen(
            [*self._command, "start", "--port", "0", *owner, *self._data],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=ends_with_this_process(),
        )

    @property
    def settled(self) -> bool:
        """Whether the start is over, one way or the other."""
        return self._starting.poll() is not None

    def address(self) -> str | None:
        """host:port, or None when it cannot be had; to be asked once, when ``settled``."""
        said = self._starting.communicate()[0].strip()
        return said if self._starting.returncode == 0 else None

    def stop(self) -> None:
        """End the broker, or the attempt to get one."""
        if not self.settled:
            self._starting.terminate()
            self._starting.wait()
        quiet = subprocess.DEVNULL
        subprocess.run(
            [*self._command, "stop", *self._data], stdin=quiet, stdout=quiet, stderr=quiet
        )


def make_topic(address: str, topic: str) -> None:
    """The topic of the events, which keeps half a gigabyte: a demonstration may run for days."""
    from kafka import KafkaAdminClient

    from ctr.kafka import connect, ensure_topic

    admin = connect(KafkaAdminClient, Kafka(bootstrap_servers=address))
    try:
        ensure_topic(admin, topic, PARTITIONS, _KEPT)
    finally:
        admin.close()
