"""From the records of a model topic to whole versions: a state machine that knows no Kafka."""

from __future__ import annotations

import contextlib

import msgspec

from ctr.errors import DamagedFileError, IncompatibleError, ModelTopicError, SettingError
from ctr.model.encoding import Header, decode, read_header
from ctr.model.manifest import Manifest
from ctr.model.pages import Pages
from ctr.model.records import (
    BLOCK,
    CONTROL,
    DELTA,
    HELD,
    MANIFEST,
    PASSED,
    TABLE,
    Control,
    Key,
    Layout,
)
from ctr.model.sparse import Allocate, SparseModel
from ctr.model.update import Update, check


class _Numbered(msgspec.Struct):
    """Of a manifest of any format, which version it is."""

    version: int


class Assembler:
    """Takes a model topic's committed records in order and says when a whole version is there.

    ``feed`` remembers the last record of each key, as compaction does. ``update`` assembles the
    manifest's version once everything it takes is there: each block, from its own last record or
    from the version assembled before, and all deltas later than that. So it does not matter what
    compaction has removed, or between which records one looks: a version comes out whole or not
    at all. Count and digest are checked before it is handed out.

    When these differ, when versions go backwards, and when a hold ends, all is forgotten and
    ``again`` is true: the topic must be fed from its beginning, after ``restart``. A damaged
    record is as if it were not there. ``faults`` counts what was wrong, ``fault`` says the last.
    ``allocate`` is as for ``SparseModel``.
    """

    def __init__(self, allocate: Allocate | None = None) -> None:
        self._allocate = allocate
        self.faults = 0
        self.fault = ""
        self._last: Update | None = None
        self.restart()

    def restart(self) -> None:
        """Forget everything: the next record fed is the topic's first."""
        self.again = False
        self.version = -1
        self.newest = -1
        """The version of the last manifest fed, whether it can be assembled or not."""
        self.held: int | None = None
        self._held_as: tuple[int, str] | None = None
        self._model: SparseModel | None = None
        self._layout: Layout | None = None
        self._manifest: bytes | None = None
        self._control: Control | None = None
        self._pages: dict[Key, tuple[Header, bytes]] = {}
        self._refused: dict[bytes | None, ModelTopicError] = {}
        self._fresh = False

    def feed(self, key: bytes | None, value: bytes | None) -> None:
        """Take one committed record; None as value is a tombstone."""
        try:
            parsed = Key.parse(key)
        except ModelTopicError as error:
            self._refused[key] = error
            if value is None:
                del self._refused[key]
            return
        if parsed is None or parsed.kind in PASSED or self.again:
            return
        self._fresh = True
        try:
            self._take(parsed, value)
        except (DamagedFileError, msgspec.DecodeError) as error:
            self._pages.pop(parsed, None)
            self._note(f"{parsed}: {error}")

    def update(self) -> Update | None:
        """The version that is there, if it is whole and was not handed out before.

        Raises ModelTopicError for a topic that this ctr must not follow, and SettingError when
        the update before has not been committed.
        """
        if self._last is not None and not self._last.committed:
            raise SettingError("the last update", "not committed", "committed before the next")
        for refused in self._refused.values():
            raise refused
        if not self._fresh:
            return None
        self._fresh = False
        try:
            self._last = self._held_version() if self._control else self._live_version()
        except IncompatibleError as error:
            raise ModelTopicError(str(error)) from error
        except DamagedFileError as error:
            self._note(str(error))
            self._start_again()
            return None
        return self._last

    def _note(self, fault: str) -> None:
        self.fault = fault
        self.faults += 1

    def _start_again(self) -> None:
        self.restart()
        self.again = True

    def _take(self, key: Key, value: bytes | None) -> None:
        if key.kind == MANIFEST:
            self._manifest = value
            with contextlib.suppress(msgspec.DecodeError):  # ``update`` says what is wrong
                self.newest = msgspec.json.decode(value or b"", type=_Numbered).version
        elif key.kind == CONTROL:
            self._take_control(value)
        elif value is None:
            self._pages.pop(key, None)
        elif self.held is None or key.kind == HELD:
            self._pages[key] = (read_header(value)[0], value)

    def _take_control(self, value: bytes | None) -> None:
        control = msgspec.json.decode(value, type=Control) if value else Control("release")
        if control.action not in ("hold", "release"):
            self._refused[b""] = ModelTopicError(f"this ctr cannot obey {control.action!r}")
        self._control = control if control.action == "hold" else None
        if self._control is None and self.held is not None:
            self._start_again()

    def _held_version(self) -> Update | None:
        """What the last control record asks for, once its pages are all there."""
        assert self._control is not None
        manifest = self._control.manifest
        if manifest is None or (manifest.version, manifest.digest) == self._held_as:
            return None
        pages = self._whole_pages(Key(HELD, TABLE), manifest.version, manifest)
        if pages is None:
            return None
        model = SparseModel(manifest.bits, self._allocate)
        model.patch(pages)
        check(manifest, model.nonzero, model.digest)
        self.held, self.version, self._model = manifest.version, -1, None
        self._held_as = manifest.version, manifest.digest
        self._pages.clear()
        return Update(manifest, model, held=True)

    def _live_version(self) -> Update | None:
        if self._manifest is None:
            return None
        manifest = Manifest.from_bytes(self._manifest)
        if manifest.version == self.version:
            return None
        if manifest.version < self.version:
            raise DamagedFileError(f"version {manifest.version} came after {self.version}")
        layout = Layout.of(manifest.bits, manifest.blocks, manifest.ring)
        update = self._next_version(manifest, layout) or self._assembled(manifest, layout)
        if update is not None:
            self.version, self._model, self._layout = manifest.version, update.model, layout
            self._pages = {k: v for k, v in self._pages.items() if v[0].version > self.version}
        return update

    def _next_version(self, manifest: Manifest, layout: Layout) -> Update | None:
        """The version after the one handed out last, by its delta alone."""
        follows = manifest.version == self.version + 1 and layout == self._layout
        if self._model is None or manifest.whole or not follows:
            return None
        changes = self._delta(manifest.version, manifest, layout)
        if changes is None:
            return None
        staged = self._model.stage(changes)
        check(manifest, staged.nonzero, staged.digest)
        return Update(manifest, self._model, staged)

    def _assembled(self, manifest: Manifest, layout: Layout) -> Update | None:
        """The manifest's version from blocks, what is known of earlier versions, and deltas."""
        versions = [self._block_version(b, manifest, layout) for b in range(layout.blocks)]
        there = [version for version in versions if version is not None]
        if len(there) < layout.blocks:
            return None
        reached = min(manifest.version, *there)
        model = SparseModel(manifest.bits, self._allocate)
        model.reserve(min(manifest.nonzero, self._most()), manifest.encoding == "float32")
        for block in range(layout.blocks):
            # one at a time: decoded, all of them are larger than the model
            pages = self._block(block, manifest, layout)
            if pages is None:
                return None
            model.patch(pages)
        for version in range(reached + 1, manifest.version + 1):
            changes = self._delta(version, manifest, layout)
            if changes is None:
                return None
            # a block that is newer than this change has it, or a later one that follows here
            model.patch(changes)
        check(manifest, model.nonzero, model.digest)
        return Update(manifest, model)

    def _block_version(self, block: int, manifest: Manifest, layout: Layout) -> int | None:
        """Which version's content of a block is there: its last record's, or the served one's."""
        key = Key(BLOCK, TABLE, block)
        first = self._pages.get(key)
        if first is None:
            return self.version if self._model is not None and layout == self._layout else None
        parts = (self._pages.get(key._replace(part=part)) for part in range(first[0].parts))
        version = first[0].version
        whole = all(found is not None and found[0].version == version for found in parts)
        return version if whole and version <= manifest.version else None

    def _block(self, block: int, manifest: Manifest, layout: Layout) -> Pages | None:
        """A block's content; None when it turns out to be damaged."""
        key = Key(BLOCK, TABLE, block)
        first = self._pages.get(key)
        if first is not None:
            return self._whole_pages(key, first[0].version, manifest)
        assert self._model is not None
        return self._model.pages(*layout.block_range(block))

    def _most(self) -> int:
        """At most so many weights are in what is there, whatever anybody says: two bytes each."""
        known = self._model.nonzero if self._model is not None else 0
        return known + sum(len(value) for _, value in self._pages.values()) // 2

    def _delta(self, version: int, manifest: Manifest, layout: Layout) -> Pages | None:
        return self._whole_pages(Key(DELTA, TABLE, version % layout.ring), version, manifest)

    def _whole_pages(self, key: Key, version: int, manifest: Manifest) -> Pages | None:
        """The pages of one version of a key, when all parts are there."""
        parts: list[Pages] = []
        while True:
            found = self._pages.get(key._replace(part=len(parts)))
            if found is None or found[0].version != version:
                return None
            try:
                header, pages = decode(found[1], (1 << manifest.bits) // 64)
            except DamagedFileError as error:
                self._note(f"{key}: {error}")
                return None
            parts.append(pages)
            if len(parts) == header.parts:
                return Pages.joined(parts)
