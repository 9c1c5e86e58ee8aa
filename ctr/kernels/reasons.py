"""Why an event is bad: the codes that kernels return, in the order in which verdicts are made."""

from __future__ import annotations

REASONS: tuple[str, ...] = (
    "ok",
    "too_long",
    "empty",
    "utf8",
    "depth",
    "syntax",
    "surrogate",
    "not_object",
    "repeated_key",
    "label",
    "weight",
    "ts",
    "id",
    "features",
    "nested",
    "number",
    "value",
    "too_many_features",
    "no_label",
)
"""Names of the reasons; a code is an index. Codes are stored nowhere, names are."""

(
    OK,
    TOO_LONG,
    EMPTY,
    UTF8,
    DEPTH,
    SYNTAX,
    SURROGATE,
    NOT_OBJECT,
    REPEATED_KEY,
    LABEL,
    WEIGHT,
    TS,
    ID,
    FEATURES,
    NESTED,
    NUMBER,
    VALUE,
    TOO_MANY,
    NO_LABEL,
) = range(len(REASONS))

SKIPPED = len(REASONS)
"""Not bad and not learned: an event without label where the specification says to pass it over."""

MALFORMED = SKIPPED + 1
"""The fast pass met something it does not read; ``ctr.kernels.verdict`` says what."""
