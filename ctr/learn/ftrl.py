"""FTRL-Proximal: McMahan et al. 2013, "Ad click prediction: a view from the trenches"."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctr.errors import IncompatibleError, SettingError
from ctr.kernels import ftrl as kernels
from ctr.kernels import ftrl_rows
from ctr.kernels.ftrl import CELL, Rules
from ctr.learn import schedules
from ctr.learn.table import PAGE, Table
from ctr.types import Batch, Float32, Int64, UInt64

_NO_WEIGHTS = np.empty(0, np.float32)


class FTRLProximal:
    """Logistic regression learned online by FTRL-Proximal with L1 and L2 (Algorithm 1).

    For every feature of an event with the gradient g = (p - y) x weight, at t events learned::

        n' = n + g^2    d' = max(d, (beta + n'^power) / alpha(t))    z' = z + g - (d' - d) w
        w' = 0 if |z'| <= l1, else -(z' - sgn(z') l1) / (d' + l2)

    so that w minimises, over the coordinate's gradients g_s at the weights w_s,
    ``sum g_s w + 1/2 sum sigma_s (w - w_s)^2 + l1 |w| + (l2/2) w^2`` with
    ``sigma_s = d_s - d_(s-1)``: l1 and l2 are the paper's, without further factors. With a
    constant alpha, d is the paper's 1/eta. d is kept, so a coordinate that does not occur keeps
    its weight to the last bit, whatever alpha(t) does meanwhile.

    ``bits``: the table has 2^bits coordinates of 16 bytes; a key falls on its low bits.
    ``schedule``: text or object of ``ctr.learn.schedules``. ``unpenalised``: coordinates for
    which l1 = l2 = 0, as it should be for the bias (key 0, coordinate 0). ``seed``: of the
    randomized rounding of n. The same stream gives the same bits however it is cut into batches.

    Not for several threads at once. Raises SettingError for a setting out of its bounds.

    >>> from ctr.types import Batch
    >>> learner = FTRLProximal(bits=18, alpha=0.5, l1=0.1, unpenalised=[0])
    >>> rows = Batch([0, 2, 4], [0, 77, 0, 88], [1, 1, 1, 1], [1, 0])
    >>> learner.learn(rows)
    array([0.5      , 0.5415705], dtype=float32)
    >>> learner.predict(rows).round(2)
    array([0.53, 0.48], dtype=float32)
    >>> learner.events_learned, learner.nonzero, learner.touched
    (2, 3, 3)
    """

    name = "ftrl"

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
    ) -> None:
        table = Table(bits, CELL)
        self.alpha = _number("learner.alpha", alpha, "> 0", lambda x: x > 0)
        self.beta = _number("learner.beta", beta, "> 0", lambda x: x > 0)
        self.l1 = _number("learner.l1", l1, ">= 0", lambda x: x >= 0)
        self.l2 = _number("learner.l2", l2, ">= 0", lambda x: x >= 0)
        self.power = _number("learner.power", power, "from 0 to 1", lambda x: 0 <= x <= 1)
        self.schedule = schedules.parse(schedule)
        self.unpenalised = np.unique(_coordinates("learner.unpenalised", unpenalised, bits))
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise SettingError("model.seed", seed, "a whole number >= 0")
        self.seed = seed
        self.events_learned = 0
        self._rules = Rules(
            self.alpha,
            self.beta,
            self.l1,
            self.l2,
            self.power,
            self.schedule.code,
            self.schedule.parameters(),
            np.uint64(seed & 0xFFFF_FFFF_FFFF_FFFF),
        )
        self._table = self._freed(table)

    def learn(self, batch: Batch) -> Float32:
        """Each row's probability (float32[N]) before that row was learned; learns them in order."""
        out = np.empty(len(batch), np.float32)
        ftrl_rows.learn(
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
        coordinates, values = kernels.nonzero_weights(self._table.arrays, self._rules, pages)
        return coordinates, values

    def page_weights(self, pages: Int64) -> Float32:
        """The weights, zeros included, of whole pages: float32 of shape (len(pages), 64)."""
        pages = self._table.check_pages(pages)
        weights: Float32 = kernels.page_weights(self._table.arrays, self._rules, pages)
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
        return self.schedule.rate(self.alpha, self.events_learned)

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
            "events_learned": self.events_learned,
            "alpha": self.alpha,
            "beta": self.beta,
            "l1": self.l1,
            "l2": self.l2,
            "power": self.power,
            "schedule": str(self.schedule),
            "seed": self.seed,
            "nonzero": self.nonzero,
            "touched": self.touched,
        }
        return meta, {"pages": pages, "cells": self._table.copy_pages(pages)}

    def restore(self, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a ``state()``, under this learner's own settings.

        No weight changes: another alpha, beta, power or schedule only acts on what is learned
        from here on, and for another l1, l2 or ``unpenalised`` z is found anew from the weight
        (a weight of zero stays zero). Raises IncompatibleError for another learner or other bits.
        """
        saved = {"learner": meta["learner"], "bits": meta["bits"]}
        mine = {"learner": self.name, "bits": self.bits}
        if saved != mine:
            raise IncompatibleError(
                f"the saved state is of {_named(saved)}, this is {_named(mine)}"
            )
        table = self._freed(Table(self.bits, CELL))
        pages = table.check_pages(arrays["pages"])
        cells = np.ascontiguousarray(arrays["cells"], CELL).reshape(len(pages), PAGE)
        words = cells.view(np.uint64).reshape(len(pages), PAGE, CELL.itemsize // 8)
        old_l1, old_l2 = float(meta["l1"]), float(meta["l2"])
        kernels.adopt(table.arrays, self._rules, pages, words, old_l1, old_l2)
        self._table, self.events_learned = table, int(meta["events_learned"])

    def warm_start(self, coordinates: ArrayLike, values: ArrayLike, n0: float = 0.0) -> None:
        """Give ``coordinates`` the weights ``values``, such that the first steps keep most of them.

        ``n0`` >= 0 is the sum of squared gradients that they are taken to stand for: the larger,
        the slower they change. Other coordinates stay. Raises SettingError.

        >>> learner = FTRLProximal(bits=18)
        >>> learner.warm_start([5, 9], [0.25, -1.5], n0=10)
        >>> learner.weights()
        (array([5, 9], dtype=uint64), array([ 0.25, -1.5 ], dtype=float32))
        """
        n0 = _number("warm_start n0", n0, ">= 0", lambda x: x >= 0)
        where = _coordinates("warm_start coordinates", coordinates, self.bits)
        weights = np.ascontiguousarray(values, np.float32)
        if weights.shape != where.shape or not np.isfinite(weights).all():
            raise SettingError("warm_start values", weights, f"{len(where)} finite numbers")
        kernels.plant(self._table.arrays, self._rules, where, weights, n0)

    def _scores(self, batch: Batch, probability: bool) -> Float32:
        out = np.empty(len(batch), np.float32)
        arrays = self._table.arrays
        rows = batch.indptr, batch.keys, batch.values
        ftrl_rows.score(arrays, self._rules, *rows, probability, out)
        return out

    def _freed(self, table: Table) -> Table:
        # the sign of d is what tells the kernels that a coordinate is free of penalties
        table.cells["d"][self.unpenalised] = -0.0
        return table


def _number(key: str, got: Any, wanted: str, good: Callable[[float], bool]) -> float:
    try:
        number = float(got)
    except (TypeError, ValueError):
        raise SettingError(key, got, wanted) from None
    if not (math.isfinite(number) and good(number)):
        raise SettingError(key, got, wanted)
    return number


def _coordinates(key: str, got: Any, bits: int) -> UInt64:
    numbers = np.asarray(got if isinstance(got, np.ndarray) else list(got))
    if not numbers.size:
        return np.empty(0, np.uint64)
    if numbers.dtype.kind not in "iu" or numbers.min() < 0 or int(numbers.max()) >> bits:
        raise SettingError(key, got, f"whole numbers from 0 to 2^{bits} - 1")
    return np.ascontiguousarray(numbers.reshape(-1), np.uint64)


def _named(state: Mapping[str, Any]) -> str:
    return f"learner {state['learner']!r} with bits = {state['bits']}"
