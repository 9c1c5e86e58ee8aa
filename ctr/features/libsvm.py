"""libsvm's text, rewritten as Vowpal Wabbit's: in both a number x has a name."""

from __future__ import annotations

import re

__all__ = ["COLUMN", "libsvm"]

COLUMN = "index"
"""The one column of all features."""

_HEAD = b" |" + COLUMN.encode() + b" "
_LABEL = re.compile(rb"[-+.0-9eE]*")
_QID = re.compile(rb"qid:[0-9]++(?:[ ]++|\Z)")
_PAIRS = re.compile(rb"(?:(?:0|[1-9][0-9]*+):[-+.0-9][-+.0-9eE]*+(?:[ ]++|\Z))*+")


def libsvm(line: bytes) -> bytes | None:
    """``[label] [qid:q] index:value … [# comment]`` as Vowpal Wabbit would have it.

    None for a line of nothing but a comment. Where something is wrong, a line that is wrong for
    the same reason and no sooner.

    >>> libsvm(b"+1 qid:3 3:1 0017:.5 # e7"), libsvm(b"3:1"), libsvm(b"# e8")
    (b'+1 |index 3:1 17:.5', b' |index 3:1', None)
    >>> libsvm(b"yes 3:1"), libsvm(b"1 3:1 ad:1 9:x"), libsvm(b"1 3:1 9:x")
    (b'? |index ', b'1 |index 3:1 |:', b'1 |index 3:1 9:')
    """
    text = line.partition(b"#")[0].replace(b"\t", b" ").strip(b" ")
    if not text:
        return None
    label, _, body = text.partition(b" ")
    if b":" in label:
        label, body = b"", text
    body = body.lstrip(b" ")
    if not _LABEL.fullmatch(label):
        return b"?" + _HEAD
    if body.startswith(b"qid:") and (qid := _QID.match(body)):
        body = body[qid.end() :]
    return label + _HEAD + (body if _PAIRS.fullmatch(body) else _spelled(body))


def _spelled(body: bytes) -> bytes:
    """Pairs that are not all plain: indices without leading zeros, and an end where one is bad."""
    pairs: list[bytes] = []
    for pair in filter(None, body.split(b" ")):
        index, colon, value = pair.partition(b":")
        if not index.isdigit() or not colon:
            return b" ".join([*pairs, b"|:"])
        index = index.lstrip(b"0") or b"0"
        if not value or value[0] not in b"-+.0123456789" or b"|" in value:
            return b" ".join([*pairs, index + b":"])
        pairs.append(index + b":" + value)
    return b" ".join(pairs)
