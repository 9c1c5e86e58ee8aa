"""The one place where numba's options are chosen.

``nogil``: other threads (heartbeats, publishing, HTTP) run while a kernel does. ``cache``: the
second start of any command compiles nothing. ``error_model="numpy"``: no branch for a division by
zero, whose operands the callers have checked. ``no_cfunc_wrapper``: no entry point for C, which
takes long to compile and has no callers. ``fastmath`` stays off, because state must be
bit-identical however a stream is split and whichever loop was vectorised.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numba

from ctr.kernels.cache import cached

_common = partial(numba.njit, nogil=True, cache=True, error_model="numpy", no_cfunc_wrapper=True)
_part = partial(_common, _nrt=False, no_cpython_wrapper=True)

jit: Callable[..., Any] = cached(partial(_common, _nrt=True))
"""For array loops, the entry points called from Python, and for whatever makes an array."""

inline: Callable[..., Any] = cached(partial(_common, _nrt=False, forceinline=True))
"""For the scalar functions of a hot path: made part of every caller.

Without ``_nrt=False`` numba counts a reference, atomically, for every array of every tuple passed
at every call, and a call that stays one copies every array's shape and strides: in the parser
that was 500 ns and 100 ns a feature, where all the rest is 20. The caller holds the references.
"""

outline: Callable[..., Any] = cached(partial(_common, _nrt=False))
"""For scalar functions off the hot path, which would only make their callers slow to compile."""

part: Callable[..., Any] = cached(partial(_part, forceinline=True))
"""``inline`` for the parts of one long kernel: for calls from kernels alone.

They have no entry point for Python, where a call would end the process; with tuples of arrays as
arguments that entry point takes longer to compile than most parts.
"""

aside: Callable[..., Any] = cached(_part)
"""``outline`` for such parts."""

JIT_DISABLED: bool = bool(numba.config.DISABLE_JIT)
"""True when the kernels run as plain Python (``NUMBA_DISABLE_JIT=1``), as some tests do."""
