"""Grids of the learner's settings: every combination of some values is a variant.

All variants learn in one pass over the events (McMahan et al. 2013, section 3.3), so what a grid
may vary is ``[learner]`` alone: the events are parsed and hashed once for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import msgspec

from ctr.config import convert, validate
from ctr.errors import SettingError, UnknownSettingError
from ctr.learn import make
from ctr.settings import Config, Learner

MOST = 256
"""Variants of one grid."""

_SECTION = "learner"
_SPARE_BITS = 8

Axes = dict[str, list[str]]
"""The values of each setting, as they were written, by its name in ``[learner]``."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One combination: the ``learner`` it is, and ``chosen``, what was taken from the grid."""

    learner: Learner
    chosen: dict[str, str]

    def __str__(self) -> str:
        return ", ".join(f"{name} = {text}" for name, text in self.chosen.items())


def parse(texts: Iterable[str]) -> Axes:
    """The axes that ``KEY=V1,V2,...`` name; KEY with or without ``learner.`` before it.

    A comma in parentheses belongs to a value. Raises SettingError for what is not of this form, a
    key that comes twice, and more than ``MOST`` variants, UnknownSettingError for an unknown key.

    >>> parse(["alpha=0.05, 0.1", "learner.schedule=constant,power(r=1e6,c=0.1)"])
    {'alpha': ['0.05', '0.1'], 'schedule': ['constant', 'power(r=1e6,c=0.1)']}
    >>> parse(["alhpa=0.1"])
    Traceback (most recent call last):
    ctr.errors.UnknownSettingError: learner.alhpa is not a setting; did you mean 'alpha'? ...
    >>> parse(["l1=0,1,2,3,4,5,6,7,8,9", "l2=0,1,2,3,4,5,6,7,8,9", "beta=1,2,3"])
    Traceback (most recent call last):
    ctr.errors.SettingError: --grid must be at most 256 variants; got 300
    """
    axes: Axes = {}
    for text in texts:
        key, equals, values = text.partition("=")
        section, dot, name = key.strip().rpartition(".")
        if not equals or (dot and section != _SECTION):
            raise SettingError("--grid", text, "KEY=V1,V2,... with a KEY of [learner]")
        if name not in Learner.__struct_fields__:
            raise UnknownSettingError(f"{_SECTION}.{name}", sorted(Learner.__struct_fields__))
        if name in axes:
            raise SettingError(f"--grid {name}", values, "given once, with all of its values")
        axes[name] = _split(values)
        if not all(axes[name]):
            raise SettingError(f"--grid {name}", values, "one value, or several between commas")
    count = math.prod(map(len, axes.values()))
    if count > MOST:
        raise SettingError("--grid", count, f"at most {MOST} variants")
    return axes


def expand(axes: Mapping[str, Sequence[str]], config: Config, memory: int) -> list[Variant]:
    """Every combination of the values, the last axis fastest; all else is as in ``config``.

    Without axes it is ``config.learner`` alone. ``memory``: the bytes that the tables of several
    may take. Raises SettingError for a value out of its bounds or twice in its list, for
    combinations that contradict themselves, and for tables that are too large.

    >>> variants = expand({"alpha": ["0.05", "0.1"], "l1": ["0", "1"]}, Config(), 1 << 30)
    >>> [str(variant) for variant in variants[:2]], variants[3].learner.alpha
    (['alpha = 0.05, l1 = 0', 'alpha = 0.05, l1 = 1'], 0.1)
    """
    values = {name: _values(name, texts) for name, texts in axes.items()}
    variants = []
    for texts, choice in zip(product(*axes.values()), product(*values.values()), strict=True):
        chosen = dict(zip(axes, texts, strict=True))
        changes = dict(zip(axes, choice, strict=True))
        learner = msgspec.structs.replace(config.learner, **changes)
        variants.append(Variant(learner, chosen))
    cells = [_cell_bytes(variant, config) for variant in variants]
    bits = config.features.bits
    needed = sum(cells) << bits
    if len(variants) > 1 and needed > memory:
        most = (memory // sum(cells)).bit_length() - 1
        wanted = f"<= {most} for {len(variants)} variants: their tables take {needed:,} bytes"
        raise SettingError("features.bits", bits, f"{wanted}, and {memory:,} can be had")
    return variants


def pareto(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Whether each point is on the front: no other is as low in both and lower in one.

    Points that are equal are on it together; one with NaN never is.

    >>> pareto([(0.30, 900), (0.31, 500), (0.32, 700), (0.33, 100)])
    [True, True, False, True]
    """
    on = [False] * len(points)
    known = (i for i, point in enumerate(points) if not any(map(math.isnan, point)))
    last = (math.nan, math.inf)
    for i in sorted(known, key=points.__getitem__):
        if points[i][1] < last[1]:
            last = points[i]
        on[i] = points[i] == last
    return on


def winner(points: Sequence[tuple[float, float]]) -> int:
    """Which point is lowest in the first coordinate, and among such in the second.

    >>> winner([(0.31, 500), (0.30, 900), (0.30, 800)])
    2
    """
    return min(range(len(points)), key=lambda i: (math.isnan(points[i][0]), *points[i]))


def _split(text: str) -> list[str]:
    """What is between the commas that are in no parentheses."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _values(name: str, texts: Sequence[str]) -> list[object]:
    values = [getattr(convert({name: text}, Learner, _SECTION), name) for text in texts]
    if len(set(values)) < len(values):
        raise SettingError(f"--grid {name}", ",".join(texts), "values that differ")
    return values


def _cell_bytes(variant: Variant, config: Config) -> int:
    """Of one coordinate, found by making the variant with a table of next to nothing.

    So all that is wrong with a variant is said before the first event is read.
    """
    try:
        validate(msgspec.structs.replace(config, learner=variant.learner))
        spare = make(variant.learner, _SPARE_BITS, config.model.seed)
    except SettingError as error:
        wanted = f"{error.wanted} (in the variant {variant})" if variant.chosen else error.wanted
        raise SettingError(error.key, error.got, wanted) from None
    _, arrays = spare.state()
    return int(arrays["cells"].dtype.itemsize)
