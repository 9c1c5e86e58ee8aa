"""The records of a model topic: their keys, their values, and which ones a publish is made of.

A key is text: the kind, then numbers, as ``Delta/0/5/2`` (table 0, slot 5, part 2). A kind with a
capital must be known by whoever follows the topic; one in lower case may be passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec
from msgspec import Struct

from ctr.errors import ModelTopicError
from ctr.model.encoding import encode, split
from ctr.model.manifest import Manifest
from ctr.model.pages import Pages
from ctr.model.sparse import SparseModel

BLOCK, DELTA, MANIFEST = "Block", "Delta", "Manifest"
CONTROL, HELD = "Control", "Held"
CLAIM, GATE, OVERRIDE = "claim", "gate", "override"
PASSED = (CLAIM, GATE, OVERRIDE)
"""Between writers, operators and the trainer: nothing to whoever only follows the model."""

_NUMBERS = {BLOCK: 3, DELTA: 3, MANIFEST: 0, CONTROL: 0, HELD: 3, **dict.fromkeys(PASSED, 0)}
_DIGITS = 10

BLOCKS = 256
"""Ranges of coordinates that a topic is divided into."""

RING = 32
"""Deltas that a topic keeps, and publishes after which every block has been rewritten."""

PART_BYTES = 512 << 10
"""Most bytes of one record's value."""

TABLE = 0


class Key(NamedTuple):
    """A record's key.

    >>> str(Key("Delta", 0, 5, 2)), Key.parse(b"Delta/0/5/2").part
    ('Delta/0/5/2', 2)
    """

    kind: str
    table: int = 0
    number: int = 0
    part: int = 0

    def __str__(self) -> str:
        numbers = (self.table, self.number, self.part)[: _NUMBERS[self.kind]]
        return "/".join([self.kind, *map(str, numbers)])

    def to_bytes(self) -> bytes:
        return str(self).encode()

    @classmethod
    def parse(cls, key: bytes | None) -> Key | None:
        """The key, or None for a kind that may be passed over.

        Raises ModelTopicError for a kind that must be known and is not.
        """
        kind, *rest = (key or b"").decode("utf-8", "replace").split("/")
        if _NUMBERS.get(kind) == len(rest) and all(_is_number(text) for text in rest):
            return cls(kind, *map(int, rest))
        if kind[:1].isupper():
            raise ModelTopicError(
                f"the model topic has records of kind {kind!r} (key {key!r}), which this ctr "
                f"does not know; they were written by a later version"
            )
        return None


def _is_number(text: str) -> bool:
    return len(text) <= _DIGITS and text.isascii() and text.isdigit()


class Claim(Struct, frozen=True):
    """Who writes from here on: written once by each session, committed before its first version."""

    session: str
    time: int = 0
    host: str = ""
    pid: int = 0


class Control(Struct, frozen=True):
    """What every server must do: ``hold`` the version described, or ``release`` it.

    ``time`` is in milliseconds; ``reason`` and ``by`` are an operator's words and name.
    """

    action: str
    manifest: Manifest | None = None
    time: int = 0
    reason: str = ""
    by: str = ""


Record = tuple[bytes, bytes | None]


class Layout(NamedTuple):
    """How a table's pages are divided into blocks, and when each block is rewritten.

    >>> layout = Layout.of(bits=22)
    >>> layout.blocks, layout.pages_per_block, layout.block_range(1)
    (256, 256, (256, 512))
    """

    blocks: int
    ring: int
    pages_per_block: int

    @classmethod
    def of(cls, bits: int, blocks: int = BLOCKS, ring: int = RING) -> Layout:
        pages = (1 << bits) // 64
        blocks = min(blocks, pages)
        return cls(blocks, ring, pages // blocks)

    def block_range(self, block: int) -> tuple[int, int]:
        return block * self.pages_per_block, (block + 1) * self.pages_per_block

    def turn(self, version: int) -> range:
        """The blocks that a version rewrites; any ``ring`` versions in a row rewrite all."""
        return range(version % self.ring, self.blocks, self.ring)


def publish_records(
    manifest: Manifest, model: SparseModel, changes: Pages, part_bytes: int = PART_BYTES
) -> Iterator[Record]:
    """The records of one publish in the order they are written, closed by the manifest.

    ``changes`` is the patch since the version before; a manifest that is ``whole`` does without
    and has every block instead. The manifest carries version, sums and layout.
    """
    version, encoding = manifest.version, manifest.encoding
    layout = Layout.of(manifest.bits, manifest.blocks, manifest.ring)
    blocks = range(layout.blocks) if manifest.whole else layout.turn(version)
    if not manifest.whole:
        delta = Key(DELTA, TABLE, version % layout.ring)
        yield from part_records(delta, changes, encoding, version, part_bytes)
    for block in blocks:
        content = model.pages(*layout.block_range(block))
        key = Key(BLOCK, TABLE, block)
        yield from part_records(key, content, encoding, version, part_bytes)
    yield Key(MANIFEST).to_bytes(), manifest.to_bytes()


def hold_records(
    manifest: Manifest,
    model: SparseModel,
    time: int,
    reason: str = "",
    by: str = "",
    part_bytes: int = PART_BYTES,
) -> Iterator[Record]:
    """The records that make every server go to a version and stay there: it comes with them."""
    key = Key(HELD, TABLE)
    yield from part_records(key, model.pages(), manifest.encoding, manifest.version, part_bytes)
    control = Control("hold", manifest.describing(model), time, reason, by)
    yield Key(CONTROL).to_bytes(), msgspec.json.encode(control)


def release_records(
    time: int, reason: str = "", by: str = "", held: Iterable[bytes] = ()
) -> Iterator[Record]:
    """The record after which servers follow the newest version again.

    ``held`` are the keys of what was held, which nobody has to read any more.
    """
    for key in held:
        yield key, None
    yield Key(CONTROL).to_bytes(), msgspec.json.encode(Control("release", None, time, reason, by))


def part_records(
    key: Key, pages: Pages, encoding: str, version: int, part_bytes: int = PART_BYTES
) -> Iterator[Record]:
    """Pages as one or more records below the size limit; no pages are one record without any."""
    parts = split(pages, encoding, part_bytes)
    for i, part in enumerate(parts):
        value = encode(part, encoding, version, i, len(parts))
        yield key._replace(part=i).to_bytes(), value
