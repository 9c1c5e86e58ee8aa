"""The errors ctr raises on purpose; all of them say what was got and what was wanted."""

from __future__ import annotations

_SHOWN = 200
"""Characters of a wrong value that an error shows: a line of a log, not the whole of a file."""


class CtrError(Exception):
    """Base of every error that ctr raises on purpose."""


class SettingError(CtrError, ValueError):
    """A setting or argument is not what it must be.

    >>> str(SettingError("learner.alpha", -0.1, "> 0"))
    'learner.alpha must be > 0; got -0.1'
    """

    def __init__(self, key: str, got: object, wanted: str) -> None:
        shown = repr(got)
        if len(shown) > _SHOWN:
            shown = f"{shown[:_SHOWN]}… ({len(shown):,} characters)"
        super().__init__(f"{key} must be {wanted}; got {shown}")
        self.key, self.got, self.wanted = key, got, wanted


class UnknownSettingError(SettingError):
    """A key that nothing reads: most likely a misspelling, so never ignored.

    >>> str(UnknownSettingError("learner.alhpa", ["alpha", "beta"]))
    "learner.alhpa is not a setting; did you mean 'alpha'? known here: alpha, beta"
    """

    def __init__(self, key: str, known: list[str]) -> None:
        from difflib import get_close_matches

        near = get_close_matches(key.rsplit(".", 1)[-1], known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ";"
        CtrError.__init__(self, f"{key} is not a setting{hint} known here: {', '.join(known)}")
        self.key, self.got, self.wanted = key, None, f"one of {known}"


class DamagedFileError(CtrError):
    """A checkpoint or snapshot file is not whole: wrong magic, version, length or digest."""


class LockedError(CtrError):
    """Another process has the directory; two writers there would undo each other's work."""


class IncompatibleError(CtrError):
    """Two things that must agree do not (hash, bits, seed, learner); names both sides."""


class OffsetsLostError(CtrError):
    """The source no longer has the offset to resume from."""


class SourceError(CtrError):
    """A source of events cannot be read (missing topic or file, broken compression)."""


class FencedError(CtrError):
    """Another writer has taken over this model; this one must stop without writing anything."""


class ModelTopicError(CtrError):
    """The model topic holds something this version cannot follow."""
