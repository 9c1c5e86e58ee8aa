"""A hosted model that one process brings up to date and others answer with."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from asyncio import AbstractEventLoop
from collections.abc import Callable, Sequence

import msgspec
from starlette.types import Scope

from ctr.features.request import RequestError
from ctr.model.manifest import Manifest
from ctr.model.shared import Board, Generation, Memory, Message, Posted, StalledError, receive
from ctr.model.sparse import SparseModel
from ctr.model.update import Update
from ctr.observe.server import ModelMetrics
from ctr.serve.answers import Answer
from ctr.serve.endpoint import Work
from ctr.serve.hosted import Hosted
from ctr.serve.watching import Asked, Watcher

log = logging.getLogger(__name__)

TRIES = 3
"""Answers that updates have undone, after which a worker asks for peace."""

PEACE_SECONDS = 0.1
FIRST_SECONDS = 10.0
"""How long a worker that starts waits for the memory of the version that there is."""


class Reader:
    """A worker as the process sees it that brings the model up to date.

    ``control`` carries descriptors of memory, and ends when either side ends; ``news`` is an
    eventfd: there is something new on the board.
    """

    def __init__(self, control: socket.socket, news: int, kill: Callable[[], None]) -> None:
        self.control, self.news, self._kill = control, news, kill
        control.setblocking(False)

    def send(self, message: Message) -> None:
        """Pass memory on. A worker that takes nothing hangs; another is better."""
        try:
            message.send(self.control)
        except BlockingIOError:
            log.warning("a worker does not take new memory; it is killed")
            self._kill()
        except OSError:
            pass  # it has ended, which its starter will notice

    def notify(self) -> None:
        """There is something new on the board."""
        with contextlib.suppress(OSError):  # let go of meanwhile
            os.eventfd_write(self.news, 1)

    def close(self) -> None:
        """Let go of the worker: it ends when it has answered what it has begun."""
        if self.control.fileno() >= 0:
            self.control.close()
            os.close(self.news)


class Sharing(Hosted):
    """Takes updates and answers nobody itself: what it serves is in memory that workers map.

    ``memory`` is where the follower's models should be made; a model made elsewhere is copied.
    ``prepare`` and ``failed`` are called by one thread, all else by the event loop's.
    """

    def __init__(self, name: str, max_rows: int, metrics: ModelMetrics, memory: Memory) -> None:
        super().__init__(name, max_rows, metrics)
        self.board = Board()
        self._memory = memory
        self._posted = Posted()
        self._message: Message | None = None
        self._turn = -1
        self._readers: list[Reader] = []

    def add(self, reader: Reader) -> None:
        """A worker is there: give it the memory of now."""
        self._readers.append(reader)
        if self._message is not None:
            reader.send(self._message)
        reader.notify()

    def remove(self, reader: Reader) -> None:
        """A worker has ended; one that was never added has too."""
        if reader in self._readers:
            self._readers.remove(reader)

    def prepare(self, update: Update) -> Callable[[], None]:
        """As ``Hosted.prepare``; the switch is the workers' too, all at once."""
        switch = super().prepare(update)
        manifest = update.manifest.to_bytes()
        # nobody reads a whole new model yet: if it has to be copied, that is in nobody's way
        early = self._described(update.model) if update.whole else None

        def switch_all() -> None:
            with self.board.changing():
                switch()
                self._pass_on(update.model, early)
                self._post(
                    update=self._posted.update + 1,
                    held=update.held,
                    nonzero=update.model.nonzero,
                    manifest=manifest,
                )
            self._notify()

        return switch_all

    def failed(self, failures: int, last: str) -> None:
        super().failed(failures, last)
        with self.board.changing():
            self._post(failures=failures, last_failure=last)
        self._notify()

    def _pass_on(self, model: SparseModel, early: Message | None) -> None:
        """Send the memory that the model is in now, unless the workers have it."""
        known = self._message is not None and model.memory_turn == self._turn
        if early is None and known and self._memory.shares(model.arrays):
            return
        self._message, self._turn = early or self._described(model), model.memory_turn
        for reader in self._readers:
            reader.send(self._message)

    def _described(self, model: SparseModel) -> Message:
        return self._memory.describe(model.bits, model.arrays)

    def _post(self, **changes: object) -> None:
        generation = self._message.generation if self._message else 0
        self._posted = msgspec.structs.replace(self._posted, generation=generation, **changes)
        self.board.post(self._posted)

    def _notify(self) -> None:
        for reader in tuple(self._readers):
            reader.notify()


class Shared(Hosted):
    """Answers with a model that another process keeps up to date, found by ``board``.

    An answer is made without a lock, and once more when the model changed meanwhile. New memory
    comes through ``control``, which ends when the other process does: then ``gone`` is called.
    """

    def __init__(
        self,
        name: str,
        max_rows: int,
        metrics: ModelMetrics,
        watchers: Sequence[Watcher],
        board: Board,
        control: socket.socket,
        news: int,
        gone: Callable[[], None],
    ) -> None:
        super().__init__(name, max_rows, metrics, watchers)
        self._board, self._control, self._news, self._gone = board, control, news, gone
        control.setblocking(False)
        self._mapped: Generation | None = None
        self._model: tuple[int, SparseModel] | None = None
        self._seen, self._update = -1, 0
        self._asked: Asked | None = None

    def start(self, loop: AbstractEventLoop) -> None:
        """Take what is there, so that no request is told of no model, and then, in ``loop``, what
        comes.
        """
        with contextlib.suppress(OSError, EOFError, RequestError):
            self._control.send(b"!")
            if self._is_told():
                self._control.settimeout(FIRST_SECONDS)
                self._mapped = receive(self._control)
                self._refresh()
        self._control.setblocking(False)
        loop.add_reader(self._control, self._memory_came, loop)
        loop.add_reader(self._news, self._news_came)

    def stop(self) -> None:
        """There is nothing to end: the loop does."""

    def guarded(self, work: Work) -> Work:
        """``work``, done again while it was not done with one version."""
        board = self._board

        def answer(scope: Scope, body: bytes, now_ms: int) -> Answer:
            tries = 0
            while True:
                sequence = self._seen if board.still(self._seen) else self._refresh()
                said = work(scope, body, now_ms)
                if board.unchanged(sequence):
                    break
                self._asked = None
                tries += 1
                if tries >= TRIES:
                    board.ask_for_peace(PEACE_SECONDS)
            if self._asked is not None:
                self._tell_on(self._asked)
            return said

        return answer

    def watched(self, asked: Asked) -> None:
        """Told on when it is known that the answer was of one version."""
        self._asked = asked

    def _tell_on(self, asked: Asked) -> None:
        self._asked = None
        super().watched(asked)

    def _is_told(self) -> bool:
        """Whether there is a version."""
        with contextlib.suppress(StalledError):
            for _ in range(TRIES):  # it may change while it is read
                posted = self._board.read()
                if posted is not None:
                    return posted.update > 0
        return False

    def _refresh(self) -> int:
        """Take what the board tells; returns the sequence number of now."""
        try:
            sequence = self._board.steady()
        except StalledError as error:
            raise RequestError(503, "model", str(error), "unchanging; try again") from None
        if sequence != self._seen:
            self._take(sequence)
        return sequence

    def _take(self, sequence: int) -> None:
        posted = self._board.read()
        if posted is None:
            return
        if self._mapped is None or self._mapped.number != posted.generation:
            self._receive()
        if posted.update != self._update:
            # without its memory the version before is answered with, which is whole too
            if self._mapped is None or self._mapped.number != posted.generation:
                return
            self._serve(posted, self._mapped)
        self.failures, self.last_failure = posted.failures, posted.last_failure
        self._seen = sequence

    def _serve(self, posted: Posted, mapped: Generation) -> None:
        if self._model is None or self._model[0] != mapped.number:
            self._model = mapped.number, SparseModel.attached(mapped.bits, mapped.arrays)
        model = self._model[1]
        model.nonzero = posted.nonzero
        self.prepare(Update(Manifest.from_bytes(posted.manifest), model, held=posted.held))()
        self._update = posted.update

    def _receive(self) -> None:
        with contextlib.suppress(BlockingIOError, EOFError, OSError):
            while True:
                self._mapped = receive(self._control)

    def _memory_came(self, loop: AbstractEventLoop) -> None:
        try:
            self._mapped = receive(self._control)
        except BlockingIOError:
            return
        except (EOFError, OSError):
            loop.remove_reader(self._control)
            self._gone()
        else:
            self._news_came()

    def _news_came(self) -> None:
        """So that status and readiness tell what is there, also when nobody asks for answers."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._news)
        with contextlib.suppress(RequestError):
            self._refresh()
