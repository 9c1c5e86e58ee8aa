"""A prediction request's bytes -> probabilities, in two calls of compiled code."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np

from ctr.features.parser import Parser, make_rows
from ctr.features.request import Options, RequestError, around_candidate, read_request
from ctr.kernels import arguments, scoring
from ctr.kernels.arguments import ASK, Asking, Source, make_table
from ctr.kernels.asking import AGAIN, FULL, OPTIONS
from ctr.kernels.predicting import predict
from ctr.kernels.records import parse
from ctr.kernels.request import flatten
from ctr.kernels.verdict import DEPTH_LIMIT
from ctr.types import PADDING, Batch, Float32, Int64

_FIRST_BYTES, _FIRST_FEATURES = 1 << 16, 1 << 16
_NONE: Int64 = np.zeros(0, np.int64)

WARMING = (
    b'{"events":[{}]}',
    b'{"context":{},\n"candidates":[{}]}',
    b'{"candidates":[{}],"context":{}}',
    b'{"events":[{"ts":""}]}',
    b"",
)
"""Requests that between them use all code that makes an answer."""


class Predictor:
    """Answers the prediction requests of one specification: their bytes in, probabilities out.

    ``parser`` was made with ``predicting=True``; ``max_rows`` is the most events or candidates of
    a request. A request is read and scored without a Python object for anything in it; a context
    is read once and shared by its candidates. Whatever is written in an unusual way or is wrong
    is read again by ``read_request``, with the same result. For one thread, whose the parser is
    too.

    >>> from ctr.settings import Features
    >>> predictor = Predictor(Parser(Features(bits=8), predicting=True), max_rows=100)
    >>> predictor.bind(8, tuple(np.zeros(1 << 8, array.dtype) for array in scoring.ARRAYS))
    >>> body = b'{"context":{"user":"u"},"candidates":[{"ad":"a"},{"ad":"b"}],"top_k":1}'
    >>> predictor.predict(body, 0).tolist(), predictor.options
    ([0.5, 0.5], Options(top_k=1, explain=False))
    """

    def __init__(self, parser: Parser, max_rows: int) -> None:
        self.parser, self.max_rows = parser, max_rows
        self.options: Options | None = None
        """What the request answered last asks for beside the probabilities, if anything."""
        spec, names, work = parser.tables
        self._ask, self._out = np.zeros(1, ASK), np.zeros(max_rows, np.float32)
        self._features = max(_FIRST_FEATURES, 4 * len(work.nexts))
        self._table = make_table()
        self._address = self._table.address
        self._table.put(arguments.SPEC, spec)
        self._table.put(arguments.NAMES, names)
        self._table.put(arguments.ASKING, Asking(self._ask, work.columns.copy(), self._out))
        self._describe(parser, max_rows)
        self._reserve_bytes(_FIRST_BYTES)
        self._reserve_features(self._features)
        self._bits = 0
        self._arrays: tuple[Any, ...] = scoring.ARRAYS

    def bind(self, bits: int, arrays: tuple[Any, ...]) -> None:
        """Score by the weights in ``arrays`` (``SparseModel.arrays``) of 2^bits coordinates."""
        self._table.put(arguments.ARRAYS, arrays)
        self._bits, self._arrays = bits, arrays

    def predict(self, body: bytes, now_ms: int) -> Float32:
        """The probability of each event or candidate, float32[N], valid until the next call.

        ``now_ms`` is the time of an event without one. Raises RequestError.
        """
        size = len(body)
        if size > self._room:
            self._reserve_bytes(2 * size)
        self._content[:size] = body
        if b"\n" in body:
            flatten(self._buffer, size)
        rows = parse(self._address, size, now_ms)
        if rows < 0 or rows >= OPTIONS:
            rows = self._specially(rows, size, now_ms)
            if rows < 0:
                events, self.options = read_request(self.parser, body, now_ms, self.max_rows)
                return self.of_batch(events.batch)
        else:
            self.options = None
        predict(self._address, rows, self._bits)
        return self._out[:rows]

    def of_batch(self, batch: Batch) -> Float32:
        """The probability of each row of a batch."""
        logits = np.empty(len(batch), np.float32)
        mask = np.uint64((1 << self._bits) - 1)
        scoring.score(batch.indptr, batch.keys, batch.values, mask, self._arrays, logits)
        probabilities: Float32 = scoring.probabilities(logits)
        return probabilities

    def warm(self) -> None:
        """Use all compiled code once, so that no request has to wait for it."""
        for body in WARMING:
            with suppress(RequestError):
                self.predict(body, 0)

    def _specially(self, rows: int, size: int, now_ms: int) -> int:
        """The number of rows of a request that needed more than one look; below 0 if there are
        none to be had here.
        """
        while rows == FULL or rows == AGAIN:
            if rows == FULL:
                self._reserve_features(2 * self._features)
            else:
                now_ms = int(self._ask["ts"][0])
            rows = parse(self._address, size, now_ms)
        self.options = None
        if rows >= OPTIONS:
            rows -= OPTIONS
            self.options = Options(int(self._ask["top_k"][0]), bool(self._ask["explain"][0]))
        return rows

    def _describe(self, parser: Parser, max_rows: int) -> None:
        """Put what does not change into the request."""
        spec, ask = parser.spec, self._ask
        before, behind = around_candidate(spec.features)
        level = len(behind) - 1
        ask["max_rows"], ask["max_event_bytes"] = max_rows, spec.max_event_bytes
        ask["timed"] = bool(spec.time_features)
        ask["joining_bytes"] = len(before) + len(behind)
        # the members of a flat event may repeat each other across context and candidate
        ask["context_level"] = level if level < DEPTH_LIMIT else 0

    def _reserve_bytes(self, room: int) -> None:
        """Make room for a body of ``room`` bytes."""
        self._room, self._buffer = room, np.zeros(room + PADDING, np.uint8)
        self._content = self._buffer.data
        cursor = np.zeros(4, np.int64)
        self._table.put(arguments.SOURCE, Source(self._buffer, _NONE, _NONE, _NONE, cursor))
        self.parser.reserve(room)
        self._table.put(arguments.WORK, self.parser.tables[2])

    def _reserve_features(self, features: int) -> None:
        """Make room for as many coordinates."""
        self._features = features
        self._table.put(arguments.ROWS, make_rows(self.max_rows + 2, features))
        self._ask["most_kept"] = features - len(self.parser.tables[2].nexts)
