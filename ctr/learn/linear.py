"""Logistic regression learned online over a table: what every learner of ``ctr.learn`` does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctr.errors import IncompatibleError, SettingError
from ctr.kernels import rivals, rivals_rows, rivals_table
from ctr.learn import schedules
from ctr.learn.table import PAGE, Table
from ctr.types import Batch, Float32, Int64, UInt64

_NO_WEIGHTS = np.empty(0, np.float32)
_PRECISIONS = {"float64": rivals.FLOAT64, "float32": rivals.FLOAT32, "q2.13": rivals.Q213}
_RATES, _SUMS = ("per-coordinate", "global"), ("squares", "counts")


class Linear:
    """A linear model of the log-odds of a click, updated by each event in its own coordinates.

    The learners differ in how a coordinate's gradient changes its weight; each one's class says
    that. With g = (p - y) x weight, n the sum of g^2 (``n="squares"``) or PN/(P+N) of its clicks
    and non-clicks (``n="counts"``, paper, section 3.4), and t events learned, all of them keep::

        d' = max(d, (beta + n'^power) / alpha(t))    1/eta, with rates="per-coordinate"
        d' = max(d, 1 / alpha(t))                    with rates="global"

    so that a coordinate that does not occur keeps its weight to the last bit, whatever alpha(t)
    does meanwhile. ``bits``: the table has 2^bits coordinates; a key falls on its low bits.
    ``schedule``: text or object of ``ctr.learn.schedules``. ``unpenalised``: coordinates for
    which l1 = l2 = 0, as it should be for the bias (key 0, coordinate 0). ``state``: precision
    of what is kept. ``seed``: of every randomized rounding. The same stream gives the same bits
    however it is cut into batches.

    Not for several threads at once. Raises SettingError for a setting out of its bounds.
    """

    name: ClassVar[str]
    kind: ClassVar[int]
    """Its number in ``ctr.kernels.rivals``."""

    momentum = 0.0
    min_count = 0

    def __init__(
        self,
        bits: int,
        alpha: float = 0.1,
        beta: float = 1.0,
        l1: float = 1.0,
        l2: float = 1.0,
        power: float = 0.5,
        schedule: str | schedules.Schedule = "constant",
        unpenalised: Iterable[int] = (),
        seed: int = 0,
        *,
        rates: str = "per-coordinate",
        n: str = "squares",
        state: str = "default",
    ) -> None:
        self.alpha = number("learner.alpha", alpha, "> 0", lambda x: x > 0)
        self.beta = number("learner.beta", beta, "> 0", lambda x: x > 0)
        self.l1 = number("learner.l1", l1, ">= 0", lambda x: x >= 0)
        self.l2 = number("learner.l2", l2, ">= 0", lambda x: x >= 0)
        self.power = number("learner.power", power, "from 0 to 1", lambda x: 0 <= x <= 1)
        self.schedule = schedules.parse(schedule)
        self.rates, self.n = _one_of("learner.rates", rates, _RATES), _one_of("learner.n", n, _SUMS)
        self.seed = whole("model.seed", seed)
        self.precision = self._precision_of(
            _one_of("learner.state", state, ("default", *_PRECISIONS))
        )
        self.events_learned = 0
        self._rows, self._cells, self._cell, self._rules = self._compiled()
        table = Table(bits, self._cell)
        self.unpenalised = np.unique(_coordinates("learner.unpenalised", unpenalised, bits))
        self._table = self._freed(table)

    def _precision_of(self, state: str) -> str:
        return "float64" if state == "default" else state

    def _compiled(self) -> tuple[Any, Any, np.dtype[Any], Any]:
        """The modules of kernels for rows and for cells, the cell, and the settings for them."""
        rules = rivals.Rules(
            self.kind,
            _PRECISIONS[self.precision],
            self.n == "counts",
            self.rates == "global",
            self.alpha,
            self.beta,
            self.l1,
            self.l2,
            self.power,
            self.momentum,
            float(self.min_count),
            self.schedule.code,
            self.schedule.parameters(),
            np.uint64(self.seed & 0xFFFF_FFFF_FFFF_FFFF),
        )
        return rivals_rows, rivals_table, rivals.CELL, rules

    def learn(self, batch: Batch) -> Float32:
        """Each row's probability (float32[N]) before that row was learned; learns them in order."""
        out = np.empty(len(batch), np.float32)
        self._rows.learn(
            self._table.arrays,
            self._rules,
            self.events_learned,
            batch.indptr,
            batch.keys,
            batch.values,
            batch.labels,
            _NO_WEIGHTS if batch.weights is None else batch.weights,
            out,
        )
        self.events_learned += len(batch)
        return out

    def predict(self, batch: Batch) -> Float32:
        """Each row's probability (float32[N]); learns nothing."""
        return self._scores(batch, True)

    def score(self, batch: Batch) -> Float32:
        """Each row's logit w.x (float32[N]); learns nothing."""
        return self._scores(batch, False)

    def weights(self) -> tuple[UInt64, Float32]:
        """The coordinates (uint64[k], sorted) whose weight is not zero, and the weights."""
        pages = self._table.touched_pages()
        coordinates, values = self._cells.nonzero_weights(self._table.arrays, self._rules, pages)
        return coordinates, values

    def page_weights(self, pages: Int64) -> Float32:
        """The weights, zeros included, of whole pages: float32 of shape (len(pages), 64)."""
        pages = self._table.check_pages(pages)
        weights: Float32 = self._cells.page_weights(self._table.arrays, self._rules, pages)
        return weights

    def take_changed_pages(self) -> Int64:
        """The pages (int64, sorted) with an update since this was last asked.

        After ``restore`` these are all that were ever touched.
        """
        return self._table.take_changed_pages()

    def touched_pages(self) -> Int64:
        """The pages (int64, sorted) with an update at any time."""
        return self._table.touched_pages()

    @property
    def bits(self) -> int:
        """The table has 2^bits coordinates."""
        return self._table.bits

    @property
    def learning_rate(self) -> float:
        """alpha(t) of the next event."""
        return self.schedule.rate(self.alpha, self.events_learned, self._rules.rates)

    @property
    def nonzero(self) -> int:
        """Coordinates whose weight is not zero."""
        return self._table.nonzero

    @property
    def touched(self) -> int:
        """Coordinates ever updated."""
        return self._table.touched

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """All that ``restore`` needs, as JSON and arrays: copies of the touched pages."""
        pages = self._table.touched_pages()
        meta = {
            "learner": self.name,
            "bits": self.bits,
            "n": self.n,
            "precision": self.precision,
            "events_learned": self.events_learned,
            "alpha": self.alpha,
            "beta": self.beta,
            "l1": self.l1,
            "l2": self.l2,
            "power": self.power,
            "rates": self.rates,
            "momentum": self.momentum,
            "min_count": self.min_count,
            "schedule": str(self.schedule),
            "schedule_state": self._rules.rates.tolist() if self.schedule.stateful else [],
            "seed": self.seed,
            "nonzero": self.nonzero,
            "touched": self.touched,
        }
        return meta, {"pages": pages, "cells": self._table.copy_pages(pages)}

    def restore(self, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a ``state()``, under this learner's own settings.

        No weight changes: another alpha, beta, power, schedule or kind of rates only acts on what
        is learned from here on, and for another l1, l2 or ``unpenalised`` z is found anew from the
        weight (a weight of zero stays zero). The performance schedule goes on where it was if its
        text is the same. Raises IncompatibleError for another learner, other bits, n or precision.
        """
        # the first version's checkpoints knew one kind of n and of precision
        kept = {"n": "squares", "precision": "default", "schedule_state": [], **meta}
        saved = {name: kept[name] for name in ("learner", "bits", "n", "precision")}
        mine = {"learner": self.name, "bits": self.bits, "n": self.n, "precision": self.precision}
        if saved != mine:
            raise IncompatibleError(
                f"the saved state is of {_named(saved)}, this is {_named(mine)}"
            )
        table = self._freed(Table(self.bits, self._cell))
        pages = table.check_pages(arrays["pages"])
        cells = np.ascontiguousarray(arrays["cells"], self._cell).reshape(len(pages), PAGE)
        words = cells.view(np.uint64).reshape(len(pages), PAGE, self._cell.itemsize // 8)
        old_l1, old_l2 = float(kept["l1"]), float(kept["l2"])
        self._cells.adopt(table.arrays, self._rules, pages, words, old_l1, old_l2)
        self._table, self.events_learned = table, int(kept["events_learned"])
        self._rules.rates[:] = self.schedule.parameters()
        if self.schedule.stateful and kept["schedule"] == str(self.schedule):
            self._rules.rates[:] = kept["schedule_state"]

    def warm_start(self, coordinates: ArrayLike, values: ArrayLike, n0: float = 0.0) -> None:
        """Give ``coordinates`` the weights ``values``, such that the first steps keep most of them.

        ``n0`` >= 0 is the sum of squared gradients that they are taken to stand for: the larger,
        the slower they change. Other coordinates stay. Raises SettingError.

        >>> from ctr.learn import FTRLProximal
        >>> learner = FTRLProximal(bits=18)
        >>> learner.warm_start([5, 9], [0.25, -1.5], n0=10)
        >>> learner.weights()
        (array([5, 9], dtype=uint64), array([ 0.25, -1.5 ], dtype=float32))
        """
        n0 = number("warm_start n0", n0, ">= 0", lambda x: x >= 0)
        where = _coordinates("warm_start coordinates", coordinates, self.bits)
        weights = np.ascontiguousarray(values, np.float32)
        if weights.shape != where.shape or not np.isfinite(weights).all():
            raise SettingError("warm_start values", weights, f"{len(where)} finite numbers")
        self._cells.plant(self._table.arrays, self._rules, where, weights, n0)

    def _scores(self, batch: Batch, probability: bool) -> Float32:
        out = np.empty(len(batch), np.float32)
        arrays = self._table.arrays
        rows = batch.indptr, batch.keys, batch.values
        self._rows.score(arrays, self._rules, *rows, probability, out)
        return out

    def _freed(self, table: Table) -> Table:
        # the sign of d is what tells the kernels that a coordinate is free of penalties
        table.cells["d"][self.unpenalised] = -0.0
        return table


def number(key: str, got: Any, wanted: str, good: Callable[[float], bool]) -> float:
    """``got`` as a finite float for which ``good`` holds; SettingError otherwise."""
    try:
        number = float(got)
    except (TypeError, ValueError):
        raise SettingError(key, got, wanted) from None
    if isinstance(got, bool) or not (math.isfinite(number) and good(number)):
        raise SettingError(key, got, wanted)
    return number


def whole(key: str, got: Any) -> int:
    """``got``, if it is a whole number >= 0; SettingError otherwise."""
    if isinstance(got, bool) or not isinstance(got, int) or got < 0:
        raise SettingError(key, got, "a whole number >= 0")
    return got


def _one_of(key: str, got: Any, names: tuple[str, ...]) -> str:
    if got not in names:
        raise SettingError(key, got, f"one of {', '.join(names)}")
    return str(got)


def _coordinates(key: str, got: Any, bits: int) -> UInt64:
    numbers = np.asarray(got if isinstance(got, np.ndarray) else list(got))
    if not numbers.size:
        return np.empty(0, np.uint64)
    if numbers.dtype.kind not in "iu" or numbers.min() < 0 or int(numbers.max()) >> bits:
        raise SettingError(key, got, f"whole numbers from 0 to 2^{bits} - 1")
    return np.ascontiguousarray(numbers.reshape(-1), np.uint64)


def _named(state: Mapping[str, Any]) -> str:
    return (
        f"learner {state['learner']!r} with bits = {state['bits']}, n = {state['n']} "
        f"and a state in {state['precision']}"
    )
