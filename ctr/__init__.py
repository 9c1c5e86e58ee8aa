"""Online click prediction: learn from a Kafka stream, serve seconds later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Batch", "FTRLProximal", "__version__"]

if TYPE_CHECKING:
    from ctr.learn.ftrl import FTRLProximal
    from ctr.types import Batch


def __getattr__(name: str) -> Any:
    # numba takes half a second to import: commands that only print help must not pay for it
    if name == "Batch":
        from ctr.types import Batch

        return Batch
    if name == "FTRLProximal":
        from ctr.learn.ftrl import FTRLProximal

        return FTRLProximal
    raise AttributeError(f"module 'ctr' has no attribute {name!r}")
