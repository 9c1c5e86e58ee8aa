"""Configuration: one TOML file, then the environment, then flags; read once into ``Config``."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints, overload

import msgspec

from ctr.errors import SettingError, UnknownSettingError
from ctr.rules import broken
from ctr.settings import Config

PREFIX = "CTR_"
MASK = "***"
T = TypeVar("T")


def load(
    file: str | Path | None = None,
    environment: Mapping[str, str] = os.environ,
    overrides: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Config:
    """The configuration from a TOML file, ``CTR_SECTION__KEY`` variables and dotted overrides.

    Later ones win, and dotted ``defaults`` lose against all of them. In variables, lists and
    tables are JSON. Raises SettingError (key, value got, value wanted), also for settings that
    contradict each other, and UnknownSettingError.

    >>> load(environment={"CTR_LEARNER__ALPHA": "0.05"}).learner.alpha
    0.05
    >>> load(environment={}, overrides={"learner.alpha": -0.1})
    Traceback (most recent call last):
    ctr.errors.SettingError: learner.alpha must be > 0; got -0.1
    """
    tree = _read(Path(file)) if file is not None else {}
    for key, value in (defaults or {}).items():
        section, name = key.split(".")
        if isinstance(there := tree.setdefault(section, {}), dict):
            there.setdefault(name, value)
    for name, text in sorted(environment.items()):
        if name.startswith(PREFIX) and "__" in name:
            key = name.removeprefix(PREFIX).lower().replace("__", ".")
            _set(tree, key, _from_text(text, key))
    for key, value in (overrides or {}).items():
        _set(tree, key, value)
    _keep_together(tree)
    return validate(convert(tree))


@overload
def convert(tree: Mapping[str, Any]) -> Config: ...
@overload
def convert(tree: Mapping[str, Any], kind: type[T], prefix: str = "") -> T: ...


def convert(tree: Mapping[str, Any], kind: type[Any] = Config, prefix: str = "") -> Any:
    """``tree`` as a typed ``kind`` (Config or one of its sections), or the error that says why not.

    >>> from ctr.settings import Learner
    >>> convert({"alpha": "fast"}, Learner, "learner")
    Traceback (most recent call last):
    ctr.errors.SettingError: learner.alpha must be a number; got 'fast'
    """
    _refuse_unknown(tree, kind, prefix)
    try:
        return msgspec.convert(tree, kind, strict=False)
    except msgspec.ValidationError:
        raise _first_fault(tree, kind, prefix) from None


def validate(config: Config) -> Config:
    """``config`` itself, when its settings do not contradict each other.

    >>> load(environment={"CTR_GATE__MIN_CALIBRATION": "2"})
    Traceback (most recent call last):
    ctr.errors.SettingError: gate.min_calibration must be < gate.max_calibration (1.25); got 2.0
    """
    for key, wanted in broken(config):
        section, name = key.split(".")
        raise SettingError(key, masked(config)[section][name], wanted)
    return config


def to_tree(config: Any) -> dict[str, Any]:
    """A Config or section as plain dictionaries, fit for JSON and TOML; passwords included."""
    tree: dict[str, Any] = msgspec.to_builtins(config)
    return tree


def masked(config: Config) -> dict[str, Any]:
    """``to_tree`` with ``***`` in place of passwords: for logs, echoes and checkpoints.

    >>> config = load(environment={}, overrides={"kafka.sasl_password": "hunter2"})
    >>> masked(config)["kafka"]["sasl_password"]
    '***'
    """
    tree = to_tree(config)
    for section, kind in _hints(type(config)).items():
        for name, hint in _hints(kind).items():
            if _extra(hint, "secret") and tree[section][name]:
                tree[section][name] = MASK
    return tree


def _keep_together(tree: dict[str, Any]) -> None:
    """Who reads events from a directory has no Kafka to publish to, unless it is said."""
    events = tree.get("events")
    if isinstance(events, dict) and events.get("source") == "directory":
        for section in ("publish", "dead_letters"):
            if isinstance(there := tree.setdefault(section, {}), dict):
                there.setdefault("to", "directory")


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise SettingError("--config", str(file), f"a readable file ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError("--config", str(file), f"a TOML file ({error})") from None


def _from_text(text: str, key: str) -> Any:
    """Lists and tables are JSON; all else is converted by the setting's own type."""
    hint: Any = Config
    for part in key.split("."):
        bare = _bare(hint)
        hint = _hints(bare).get(part) if _is_section(bare) else (get_args(bare) or (None,))[-1]
    if get_origin(_bare(hint)) not in (list, dict):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _set(tree: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for depth, section in enumerate(sections, 1):
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise SettingError(".".join(sections[:depth]), tree, "a section")
    tree[last] = value


def _refuse_unknown(tree: Mapping[str, Any], kind: type[Any], prefix: str) -> None:
    known = _hints(kind)
    for key, value in tree.items():
        path = _join(prefix, key)
        if key not in known:
            raise UnknownSettingError(path, sorted(known))
        if _is_section(known[key]):
            if not isinstance(value, Mapping):
                raise SettingError(path, value, "a section")
            _refuse_unknown(value, known[key], path)


def _first_fault(value: Any, hint: Any, path: str) -> SettingError:
    """Why ``value`` is no ``hint``: the innermost key that is wrong, and what it must be."""
    for inner_path, inner_value, inner_hint in _inner(value, _bare(hint), path):
        try:
            msgspec.convert(inner_value, inner_hint, strict=False)
        except msgspec.ValidationError:
            return _first_fault(inner_value, inner_hint, inner_path)
    got = MASK if _extra(hint, "secret") else value
    return SettingError(path or "configuration", got, _wanted(hint, value))


def _inner(value: Any, bare: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(value, Mapping) and _is_section(bare):
        known = _hints(bare)
        yield from ((_join(path, key), item, known[key]) for key, item in value.items())
    elif isinstance(value, Mapping) and get_origin(bare) is dict:
        yield from ((f"{path}.{key}", item, get_args(bare)[1]) for key, item in value.items())
    elif isinstance(value, list) and get_origin(bare) is list:
        yield from ((f"{path}[{i}]", item, get_args(bare)[0]) for i, item in enumerate(value))


def _wanted(hint: Any, value: Any) -> str:
    """What a value of type ``hint`` must be, as the rest of '... must be ...'."""
    bare = _bare(hint)
    if _extra(hint, "wanted"):
        return str(_extra(hint, "wanted"))
    if get_origin(bare) is Literal:
        return "one of " + ", ".join(repr(choice) for choice in get_args(bare))
    try:
        number = msgspec.convert(value, bare, strict=False)
    except msgspec.ValidationError:
        return _KINDS.get(get_origin(bare) or bare, "a section")
    for meta in _metas(hint):
        if meta.gt is not None and not number > meta.gt:
            return f"> {_plain(meta.gt)}"
        if meta.ge is not None and not number >= meta.ge:
            return f">= {_plain(meta.ge)}"
        if meta.lt is not None and not number < meta.lt:
            return f"< {_plain(meta.lt)}"
        if meta.le is not None and not number <= meta.le:
            return f"<= {_plain(meta.le)}"
    return _KINDS[get_origin(bare) or bare]


_KINDS: dict[Any, str] = {
    float: "a number",
    int: "a whole number",
    str: "a string",
    bool: "true or false",
    list: 'a list, as ["a", "b"]',
    dict: 'a table, as {"a": "b"}',
}


def _plain(bound: float | int) -> str:
    return str(int(bound)) if abs(bound) < 1e15 and bound == int(bound) else str(bound)


def _hints(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _metas(hint: Any) -> tuple[msgspec.Meta, ...]:
    return get_args(hint)[1:] if get_origin(hint) is Annotated else ()


def _extra(hint: Any, key: str) -> Any:
    return next(
        (meta.extra[key] for meta in _metas(hint) if meta.extra and key in meta.extra), None
    )


def _is_section(bare: Any) -> bool:
    return isinstance(bare, type) and issubclass(bare, msgspec.Struct)


def _join(prefix: str, key: str) -> str:
    return f"{prefix}.{key}" if prefix else key
