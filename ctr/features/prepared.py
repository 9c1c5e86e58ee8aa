"""From records to what a learner takes: parse, then subsample; for training and evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ctr.features.formats import EventParser
from ctr.features.subsample import subsample
from ctr.types import Events, Records


@dataclass(frozen=True, slots=True)
class Prepared:
    """The ``events`` of one ``Records`` that are to be learned, and what is known of the others.

    ``names``: what their name ids mean, which differs from parser to parser. ``latest``: the
    latest time of an event, left out or not, milliseconds since the epoch, 0 without any.
    ``subsampled``: events that subsampling left out.
    """

    events: Events
    names: Sequence[str]
    latest: int
    subsampled: int


def preparing(
    parser: EventParser, share: float = 1.0, seed: int = 0
) -> Callable[[Records], Prepared]:
    """What prepares records with ``parser``, keeping this ``share`` of those without a click.

    Not for two threads at once, as no parser is.

    >>> from ctr.features.parser import Parser
    >>> from ctr.settings import Features
    >>> prepare = preparing(Parser(Features()))
    >>> prepare(Records.of([b'{"label":1,"ts":7,"features":{"ad":"a9"}}'])).latest
    7
    """

    def prepare(records: Records) -> Prepared:
        read = parser.parse(records)
        events = subsample(read, share, seed)
        latest = int(read.ts.max(initial=0))
        return Prepared(events, tuple(parser.names), latest, len(read) - len(events))

    return prepare
