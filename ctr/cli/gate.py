"""``ctr gate``: the gate before publishing, and an operator's word against it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ctr.cli.options import configured
from ctr.cli.published import PLACE, Place, Published, operator, place_of, read_place
from ctr.cli.times import ago, seconds_of, utc

if TYPE_CHECKING:
    from ctr.model.gate import Order, Status

_POLL_SECONDS = 0.3
_FIGURES = {
    "calibration": ("calibration", ".4f"),
    "normalized_entropy": ("normalized entropy", ".4f"),
    "event_rate": ("events a second", ",.1f"),
}
"""The bounds' names, and how their figures are shown."""


@click.command("gate", short_help="Show the gate before publishing, override it, or restore it.")
@click.argument(
    "action", type=click.Choice(["status", "override", "restore"]), default="status", required=False
)
@configured(*PLACE)
@click.option(
    "--for", "duration", metavar="DURATION", help="How long to override: 90s, 15m, 2h. [1h]"
)
@click.option("--reason", default="", metavar="TEXT", help="Why, for whoever asks.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Time for the trainer to obey, which is waited for.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    action: str,
    config_file: str | None,
    assignments: tuple[str, ...],
    duration: str | None,
    reason: str,
    wait: float,
    as_json: bool,
    **options: Any,
) -> None:
    """Show whether the gate lets models out, why not, and the figures it judges by. `override`
    has the trainer publish whatever the gate says, until the time is up or the gate opens by
    itself; `restore` lets the gate decide again.
    """
    from ctr.errors import SettingError
    from ctr.model.gate import Order

    if duration is not None and action != "override":
        raise SettingError("--for", duration, f"given with `ctr gate override`, not {action}")
    seconds = seconds_of("1h" if duration is None else duration, "--for")
    config = read_place(config_file, assignments, options)
    place = place_of(config)
    try:
        given = None
        if action == "override":
            given = Order.override(time.time(), seconds, reason, operator())
        elif action == "restore":
            given = Order.restore(time.time(), reason, operator())
        if given is not None:
            place.order(given)
        published = place.look() if given is None else _obeyed(place, given, wait)
    finally:
        place.close()
    if as_json:
        tree = {"model": config.model.name, "where": place.where, **_json(published)}
        click.echo(msgspec.json.encode(tree).decode())
    else:
        click.echo(f"{config.model.name}, on {place.where}")
        click.echo("\n".join(_lines(published, time.time())))
    if given is not None and _pending(published):
        click.echo(
            "the trainer has not obeyed yet; the order stands, and it will when it runs", err=True
        )


def _obeyed(place: Place, given: Order, seconds: float) -> Published:
    """What stands once the trainer says that it has obeyed, or the time is up."""
    deadline = time.monotonic() + seconds
    while True:
        published = place.look()
        gate = published.gate
        obeyed = gate is not None and gate.order is not None and gate.order.id == given.id
        if obeyed or time.monotonic() >= deadline:
            return published
        time.sleep(_POLL_SECONDS)


def _json(published: Published) -> dict[str, Any]:
    return {"gate": published.gate, "order": published.order}


def _pending(published: Published) -> bool:
    """Whether the last order has not been obeyed."""
    order, gate = published.order, published.gate
    obeyed = gate.order.id if gate is not None and gate.order is not None else ""
    return order is not None and order.id != obeyed


def _lines(published: Published, now: float) -> list[str]:
    gate = published.gate
    if gate is None:
        lines = ["nothing was said of its gate yet: a trainer does with each version"]
    else:
        lines = [f"gate      {_state(gate)}, said {ago(gate.time, now)}"]
        if gate.since_event:
            where = f"event {gate.since_event:,}, of {utc(gate.since)}"
            lines.append(f"since     {where}")
        if gate.reason:
            lines.append(f"reason    {gate.reason}")
        if gate.overridden and gate.order is not None:
            lines.append(f"override  {_spelled(gate.order).removeprefix('override ')}")
    if _pending(published) and published.order is not None:
        expired = published.order.action == "override" and published.order.until <= 1000 * now
        state = "never obeyed" if expired else "not obeyed yet"
        lines.append(f"order     {_spelled(published.order)} ({state})")
    if gate is not None:
        lines += ["", *_table(gate)]
    return lines


def _state(gate: Status) -> str:
    if gate.overridden:
        return "open by an operator's override"
    if not gate.enabled:
        return "disabled"
    return "open" if gate.open else "closed"


def _spelled(order: Order) -> str:
    until = f" until {utc(order.until)}" if order.action == "override" else ""
    by = f", by {order.by}" if order.by else ""
    reason = f": {order.reason}" if order.reason else ""
    return f"{order.action}{until}{by}{reason}"


def _table(gate: Status) -> list[str]:
    """The figures of the last window beside their bounds."""
    if not gate.figures:
        return [f"no window of {gate.window:,} events is full yet ({gate.events:,} events seen)"]
    title = f"last window of {gate.window:,} events"
    lines = [f"{title:<36}{'figure':>12}{'least':>10}{'most':>10}"]
    for name, (title, form) in _FIGURES.items():
        least, most = gate.bounds.get(name, [None, None])
        cells = f"{_shown(gate.figures.get(name), form):>12}{_bound(least):>10}{_bound(most):>10}"
        mark = "  broken" if name in gate.violated else ""
        lines.append(f"{title:<36}{cells}{mark}".rstrip())
    if not gate.open:
        lines.append(f"it opens after {gate.needed} good windows in a row; {gate.good} so far")
    return lines


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"


def _bound(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}"
