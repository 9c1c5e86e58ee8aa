"""The dashboard: one self-contained page that reads ``/metrics`` of the process it came from."""

from __future__ import annotations

from importlib.resources import files

PAGE: bytes = files("ctr.observe").joinpath("dashboard.html").read_bytes()
"""The page, UTF-8."""
