"""One of several processes that answer with one model: ``ctr.serve.workers`` starts it."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
from functools import partial

import msgspec

from ctr.config import convert
from ctr.errors import CtrError
from ctr.model.shared import Board
from ctr.observe import registry as registries
from ctr.observe.slots import Slots
from ctr.serve.run import Parts
from ctr.serve.serving import Listening
from ctr.serve.sharing import Shared
from ctr.serve.workers import Passed


def main(text: str) -> None:
    """Answer requests until the process that started this one ends, or says so."""
    # Ctrl-C reaches every process of a terminal; it is for that one to hear
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    passed = msgspec.json.decode(text, type=Passed)
    _log(passed)
    config = convert(json.loads(os.pread(passed.config, os.fstat(passed.config).st_size, 0)))
    name, settings = config.model.name, config.serve
    slots = Slots(passed.workers + 1, passed.slots)
    registry = registries.shared("server", name, slots, passed.index)
    parts = Parts(config, registry)
    hosted = Shared(
        name,
        settings.max_rows,
        parts.metrics.model(name),
        parts.watchers,
        Board(passed.board),
        socket.socket(fileno=passed.control),
        passed.news,
        gone=lambda: server.stop(),
    )
    admin = None if passed.admin is None else socket.socket(fileno=passed.admin)
    listening = Listening(socket.socket(fileno=passed.service), admin)
    server = parts.serve(hosted, hosted, listening, partial(slots.loaded, passed.index))
    with parts.watching():
        server.run()


def _log(passed: Passed) -> None:
    if passed.log_level is None:
        return
    logging.basicConfig(
        level=passed.log_level,
        format=f"%(asctime)s %(levelname).1s worker {passed.index} %(name)s: %(message)s",
        datefmt="%H:%M:%S",
    )
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    logging.getLogger("numba").setLevel(logging.WARNING)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except CtrError as error:
        sys.exit(f"error: {error}")
