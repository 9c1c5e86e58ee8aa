"""The simulated stream: how it is made, the settings that fit it, and events to ask for."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from ctr.simulate import Simulator, SimulatorSettings

TOPIC = "events"
BAD_SHARE = 0.001
_SAMPLE, _ASKED = 4096, 20
_SPELLED = ("user", "device", "site", "ad")


def simulator_flags(seed: int, rate: float) -> list[str]:
    """For ``ctr simulate``: no delays of the labels, so that freshness is that of the system."""
    return [
        *("--seed", str(seed), "--rate", str(rate), "--bad-share", str(BAD_SHARE)),
        *("--label-delay", "0", "--disorder", "0.1"),
    ]


def settings(directory: Path, bootstrap: str | None, window: int) -> str:
    """The configuration of trainer and server, as TOML; embedded when ``bootstrap`` is None."""
    sections: dict[str, dict[str, Any]] = {
        "events": {"source": "kafka", "topic": TOPIC},
        "kafka": {"bootstrap_servers": bootstrap},
        "checkpoint": {"directory": f"{directory}/state"},
        "publish": {"directory": f"{directory}/snapshots"},
        "dead_letters": {},
        "metrics": {"port": 0, "window": window},
        "serve": {"port": 0},
    }
    if bootstrap is None:
        sections["events"] = {"source": "directory", "directory": f"{directory}/events"}
        sections["publish"]["to"] = "directory"
        sections["dead_letters"] = {"to": "directory", "directory": f"{directory}/dead"}
        del sections["kafka"]
    text = "".join(
        f"[{section}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in pairs.items())
        for section, pairs in sections.items()
        if pairs
    )
    return text + Simulator(SimulatorSettings()).spec_toml()


def askable(seed: int) -> list[dict[str, Any]]:
    """Features of some events of the stream, those whose user, site and ad are seen most."""
    simulated = Simulator(SimulatorSettings(seed=seed)).batch(_SAMPLE)
    features = [json.loads(line)["features"] for line in simulated.lines]
    seen = Counter((name, event[name]) for event in features for name in _SPELLED)

    def rarest(event: dict[str, Any]) -> int:
        return min(seen[name, event[name]] for name in _SPELLED)

    return sorted(features, key=rarest, reverse=True)[:_ASKED]


def spell(features: dict[str, Any]) -> str:
    """An event in the few words that a line has room for."""
    return " ".join(f"{name}={features[name]}" for name in _SPELLED)


def request(features: dict[str, Any]) -> str:
    """A prediction request with the spelled features, as somebody would type it."""
    event = {"features": {name: features[name] for name in _SPELLED}}
    return json.dumps({"events": [event]}, separators=(",", ":"))
