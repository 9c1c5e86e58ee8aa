"""A feature specification, checked and made into the tables that the kernels read."""

from __future__ import annotations

import json
from itertools import chain

import numpy as np

from ctr.errors import IncompatibleError, SettingError
from ctr.features.zones import zone_offsets
from ctr.kernels import names as roles
from ctr.kernels.hashing import TEXT, feature_key, hash_bytes, nested_name
from ctr.kernels.names import Names, enter, find, inside_features, make_names
from ctr.kernels.options import jit
from ctr.kernels.rows import INSIDE, NESTED_IN, TOP, Spec
from ctr.settings import Features
from ctr.types import PADDING, Bytes, UInt64

HASH_ALGORITHM = "ctr-hash-1"
MOST_COLUMNS = 8
"""Columns of one cross."""

TIME_NAMES = {"hour": "hour(ts)", "dow": "dow(ts)"}
_KINDS = {
    "categorical": roles.CATEGORICAL,
    "log_bucket": roles.LOG_BUCKET,
    "linear": roles.LINEAR,
}


def check(spec: Features) -> None:
    """Raise SettingError where the settings of ``spec`` contradict each other."""
    taken: dict[str, str] = {}
    for key in ("label", "id", "ts", "weight", "features"):
        name = getattr(spec, key)
        if not name and key != "features":
            raise SettingError(f"features.{key}", name, "a name")
        if name and name in taken:
            wanted = f"another name than features.{taken[name]}"
            raise SettingError(f"features.{key}", name, wanted)
        taken[name] = key
    times = {TIME_NAMES[name] for name in spec.time_features}
    for k, cross in enumerate(spec.crosses):
        key = f"features.crosses[{k}]"
        if not 2 <= len(cross) <= MOST_COLUMNS or len(set(cross)) != len(cross):
            raise SettingError(key, cross, f"2 to {MOST_COLUMNS} different columns")
        for name in cross:
            if name in spec.exclude:
                raise SettingError(key, cross, f"made of features, and {name!r} is excluded")
            if spec.include and name not in times and not _included(name, spec):
                raise SettingError(key, cross, f"made of features, and {name!r} is not included")
            if name in TIME_NAMES.values() and name not in times:
                raise SettingError(key, cross, f"made of features, and {name!r} is not turned on")
    zone_offsets(spec.time_zone)


def same_table(ours: Features, theirs: Features, who: str) -> None:
    """Raise IncompatibleError unless both put every feature at the same coordinate."""
    for key in ("bits", "hash_seed"):
        mine, other = getattr(ours, key), getattr(theirs, key)
        if mine != other:
            raise IncompatibleError(f"features.{key} is {mine} here and {other} in {who}")


def compile_spec(spec: Features, predicting: bool) -> tuple[Spec, Names]:
    """The kernels' tables for ``spec``; ``predicting`` reads neither label nor weight nor id."""
    check(spec)
    names = make_names()
    seed = np.uint64(spec.hash_seed)
    _enter_roles(spec, names, seed)
    crossed = list(chain.from_iterable(spec.crosses))
    columns = {name: k for k, name in enumerate(dict.fromkeys(crossed))}
    _enter_columns(spec, names, seed, columns)
    times = {name: _enter_unfound(names, TIME_NAMES[name]) for name in spec.time_features}
    crosses = [_enter_unfound(names, "*".join(cross)) for cross in spec.crosses]
    zone_starts, offsets = zone_offsets(spec.time_zone)
    default = roles.IGNORE if spec.include else roles.FEATURE
    return (
        Spec(
            seed=seed,
            predicting=predicting,
            skip_unlabelled=spec.on_missing_label == "skip",
            top_role=roles.IGNORE if spec.features else default,
            features_role=default,
            max_features=spec.max_features,
            max_event_bytes=spec.max_event_bytes,
            max_abs_value=float(spec.max_abs_value),
            hour_entry=times.get("hour", -1),
            dow_entry=times.get("dow", -1),
            hour_column=columns.get("hour(ts)", -1),
            dow_column=columns.get("dow(ts)", -1),
            hour_keys=_category_keys("hour(ts)", 24, seed),
            dow_keys=_category_keys("dow(ts)", 7, seed),
            zone_starts=zone_starts,
            zone_offsets=offsets,
            cross_starts=np.cumsum([0, *map(len, spec.crosses)]).astype(np.int64),
            cross_columns=np.array([columns[name] for name in crossed], np.int64),
            cross_entries=np.array(crosses, np.int32),
        ),
        names,
    )


def padded(content: bytes) -> Bytes:
    """``content`` as the buffer of a kernel: followed by ``PADDING`` zero bytes."""
    buffer = np.zeros(len(content) + PADDING, np.uint8)
    buffer[: len(content)] = np.frombuffer(content, np.uint8)
    return buffer


def _included(name: str, spec: Features) -> bool:
    parts = [name] if spec.features else name.split(".")
    return any(".".join(parts[: k + 1]) in spec.include for k in range(len(parts)))


def _enter_roles(spec: Features, names: Names, seed: np.uint64) -> None:
    places = {
        spec.label: roles.LABEL,
        spec.id: roles.ID,
        spec.ts: roles.TS,
        spec.weight: roles.WEIGHT,
    }
    if spec.features:
        places[spec.features] = roles.FEATURES
    default = roles.IGNORE if spec.features or spec.include else roles.FEATURE
    for path, role in places.items():
        _enter_path(names, seed, path, role, default)
    if not spec.features:
        for reserved in ("served", "propensity", "position", "kind"):
            _enter_path(names, seed, reserved, roles.IGNORE, default)


def _enter_columns(spec: Features, names: Names, seed: np.uint64, columns: dict[str, int]) -> None:
    """Everything the settings say of single columns."""
    default = roles.IGNORE if spec.include else roles.FEATURE
    mentioned = dict.fromkeys([*spec.include, *spec.exclude, *spec.columns, *columns])
    for name in mentioned:
        if name in TIME_NAMES.values():
            continue
        role = roles.FEATURE if not spec.include or _included(name, spec) else roles.IGNORE
        role = roles.IGNORE if name in spec.exclude else role
        if spec.features:
            entries = [_enter(names, seed, name, role, -1, inside=True)]
        else:
            entries = _enter_path(names, seed, name, role, default)
        for entry in entries:
            names.entries["kind"][entry] = _KINDS.get(spec.columns.get(name, ""), roles.AUTO)
            names.entries["column"][entry] = columns.get(name, -1)


def _enter_path(names: Names, seed: np.uint64, path: str, role: int, default: int) -> list[int]:
    """Entries for a dotted path: as one literal top-level name, and as nested objects."""
    entries = [_enter(names, seed, path, role, -1)]
    parts = path.split(".")
    if len(parts) > 1:
        parent = -1
        for part in parts[:-1]:
            container = roles.FEATURE if default == roles.FEATURE else roles.CONTAINER
            parent = _enter(names, seed, part, container, parent, children=default)
        entries.append(_enter(names, seed, parts[-1], role, parent))
    return entries


def _enter(
    names: Names,
    seed: np.uint64,
    name: str,
    role: int,
    parent: int,
    inside: bool = False,
    children: int | None = None,
) -> int:
    text, spelled = padded(name.encode()), padded(json.dumps(name)[1:-1].encode())
    place = INSIDE if inside else TOP if parent < 0 else NESTED_IN
    entry = int(
        _enter_name(
            names,
            text,
            len(text) - PADDING,
            spelled,
            len(spelled) - PADDING,
            seed,
            role,
            place,
            parent,
        )
    )
    if entry < 0:
        raise SettingError("features", name, "a specification of fewer names")
    if children is not None and names.entries["children"][entry] == names.entries["role"][entry]:
        names.entries["children"][entry] = children
    return entry


@jit
def _enter_name(
    names: Names,
    text: Bytes,
    length: int,
    spelled: Bytes,
    spelled_length: int,
    seed: np.uint64,
    role: int,
    place: int,
    parent: int,
) -> int:
    """The entry of a name (``spelled`` as in JSON) in its place, new or as it is."""
    hashed = hash_bytes(text, 0, length, seed)
    if place == NESTED_IN:
        hashed = nested_name(names.entries[parent].hash, hashed)
    key = inside_features(hashed) if place == INSIDE else hashed
    entry = find(names, key)
    if entry < 0:
        start = np.int64(0)
        entry = enter(names, key, hashed, role, place, parent, spelled, start, spelled_length)
    return int(entry)


def _enter_unfound(names: Names, name: str) -> int:
    """An entry that no key of an event leads to: time features and crosses."""
    entry = int(names.counts[roles.COUNT])
    used = int(names.counts[roles.USED])
    text = np.frombuffer(json.dumps(name)[1:-1].encode(), np.uint8)
    names.arena[used : used + len(text)] = text
    names.entries["start"][entry], names.entries["length"][entry] = used, len(text)
    names.counts[roles.COUNT] = entry + 1
    names.counts[roles.USED] = used + len(text)
    return entry


def _category_keys(name: str, count: int, seed: np.uint64) -> UInt64:
    keys = np.empty(count, np.uint64)
    text = padded(name.encode())
    for k in range(count):
        value = padded(str(k).encode())
        keys[k] = _category_key(text, len(name.encode()), value, len(str(k)), seed)
    return keys


@jit
def _category_key(name: Bytes, name_length: int, value: Bytes, length: int, seed: np.uint64) -> int:
    hashed = hash_bytes(name, 0, name_length, seed)
    key: int = feature_key(hashed, TEXT, hash_bytes(value, 0, length, seed))
    return key
