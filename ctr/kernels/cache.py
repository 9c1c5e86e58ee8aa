"""Where compiled kernels are kept between starts.

numba notices when the file of a function changes, but not when that of a function it calls does,
and then runs the old code. So compiled code is kept in a directory named after a digest of all
kernels: one edit anywhere and everything is compiled anew.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba
from numba.core import event

_KEPT = 3
"""Directories of other versions that are left in place."""


def cached(decorate: Callable[..., Any]) -> Callable[..., Any]:
    """``decorate`` (a partial of numba.njit with a cache), keeping its code in our directory."""

    def decorator(function: Callable[..., Any]) -> Any:
        before = numba.config.CACHE_DIR
        # read when the function is decorated; functions of others go where they went
        numba.config.CACHE_DIR = _DIRECTORY
        try:
            return decorate(function)
        finally:
            numba.config.CACHE_DIR = before

    return decorator


def directory(sources: Path, parents: Iterable[Path]) -> Path:
    """The folder for the kernels in ``sources`` under the first of ``parents`` that can be written.

    Makes it, and removes the oldest of other versions beside it.
    """
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(sources.glob("*.py")):
        digest.update(source.name.encode() + source.read_bytes())
    for parent in parents:
        folder = parent / f"kernels-{digest.hexdigest()[:16]}"
        try:
            if not folder.exists():
                folder.mkdir(parents=True, exist_ok=True)
                _forget_old(parent, folder)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            os.utime(folder)  # in use, so that it is not among the oldest
            return folder
    return Path(tempfile.mkdtemp(prefix="ctr-kernels-"))


@contextmanager
def when_compiling(say: Callable[[], None]) -> Iterator[None]:
    """Within it, ``say`` is called before the first kernel is compiled that is not in the cache.

    At most once, from the thread that compiles.
    """
    with event.install_listener("numba:compile", _Once(say)):
        yield


class _Once(event.Listener):  # type: ignore[misc]
    def __init__(self, say: Callable[[], None]) -> None:
        self._say = [say]

    def on_start(self, event: Any) -> None:
        while self._say:
            self._say.pop()()

    def on_end(self, event: Any) -> None:
        pass


def _parents() -> list[Path]:
    given = os.environ.get("NUMBA_CACHE_DIR")
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    temporary = Path(tempfile.gettempdir()) / f"ctr-{os.getuid()}"
    return [*([Path(given)] if given else []), Path(home) / "ctr", temporary]


def _forget_old(parent: Path, new: Path) -> None:
    others = [path for path in parent.glob("kernels-*") if path != new]
    for path in sorted(others, key=lambda path: path.stat().st_mtime)[:-_KEPT]:
        shutil.rmtree(path, ignore_errors=True)


_DIRECTORY = str(directory(Path(__file__).parent, _parents()))
