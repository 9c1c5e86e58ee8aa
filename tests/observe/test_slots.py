"""Metrics of several processes: added up, and never falling when one of them starts again."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from ctr.observe import registry as registries
from ctr.observe import slots as module
from ctr.observe.families import Families
from ctr.observe.processes import ProcessesCollector
from ctr.observe.slots import SharedRegistry, Slots

BOUNDS = (0.01, 0.1, 1.0)


class Process:
    """The families of one process; ``registry`` shows what all have."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        families = Families(model="clicks")
        self.requests = families.counter("requests_total", "About.", "code")
        self.failures = families.counter("failures_total", "About.")
        self.version = families.gauge("version", "About.")
        self.connections = families.gauge("connections", "About.", summed=True)
        self.seconds = families.histogram("seconds", "About.", BOUNDS).of()
        families.register(registry)


def process(slots: Slots, index: int) -> Process:
    return Process(SharedRegistry(slots, index))


def value(one: Process, name: str, **labels: str) -> float | None:
    return one.registry.get_sample_value(name, {"model": "clicks", **labels})


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.sampled_from(["request", "observe", "restart"]),
            st.sampled_from(["200", "422", 'quo"te']),
            st.floats(0, 5),
        ),
        max_size=40,
    )
)
def test_counts_are_those_of_one_process(steps: list[tuple[int, str, str, float]]) -> None:
    """Whoever counts, and however often they start again."""
    slots = Slots(3)
    processes = [process(slots, index) for index in range(3)]
    alone = Process(CollectorRegistry())
    for index, what, code, seconds in steps:
        if what == "restart":
            processes[index] = process(Slots(3, os.dup(slots.fd)), index)
            continue
        for one in (processes[index], alone):
            if what == "request":
                one.requests.add(1, code)
            else:
                one.seconds.observe(seconds)
    alone.seconds.add([0] * 4, 0.0)
    expected = {(s.name, *s.labels.values()): s.value for s in samples(alone)}
    for one in processes:
        found = {(s.name, *s.labels.values()): s.value for s in samples(one)}
        assert found == pytest.approx(expected)


def samples(one: Process) -> list[Any]:
    gauges = ("version", "connections")
    found = [family for family in one.registry.collect() if family.name not in gauges]
    return [sample for family in found for sample in family.samples]


def test_of_a_gauge_the_largest_is_shown_or_the_sum() -> None:
    slots = Slots(3)
    one, two, three = (process(slots, index) for index in range(3))
    assert value(one, "version") is None
    for who, number in ((one, 7), (two, 0)):
        who.version.set(number)
        who.connections.set(number)
    two.connections.set(4)
    assert value(three, "version") == 7
    assert value(three, "connections") == 11


def test_what_a_process_had_as_a_gauge_goes_with_it() -> None:
    slots = Slots(2)
    before, other = process(slots, 0), process(slots, 1)
    before.version.set(9)
    before.requests.add(3, "200")
    other.version.set(4)
    again = process(slots, 0)
    assert value(other, "version") == 4
    assert value(other, "requests_total", code="200") == 3
    again.requests.add(1, "200")
    assert value(other, "requests_total", code="200") == 4


def test_a_total_that_is_set_goes_on_from_the_one_before() -> None:
    """A process that starts again counts its failures from 0."""
    slots = Slots(1)
    process(slots, 0).failures.set(5)
    again = process(slots, 0)
    again.failures.set(2)
    assert value(again, "failures_total") == 7
    again.failures.set(3)
    assert value(again, "failures_total") == 8


def test_numbers_that_were_there_before_registering_count() -> None:
    slots = Slots(1)
    process(slots, 0).requests.add(2, "200")
    families = Families(model="clicks")
    requests = families.counter("requests_total", "About.", "code")
    number = requests.of("200")
    number.add(5)
    families.register(SharedRegistry(slots, 0))
    number.add(1)
    assert next(iter(families)).found() == {("clicks", "200"): pytest.approx([8])}


def test_a_full_slot_is_said_and_harms_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "SLOT_BYTES", 1024)
    slots = Slots(2)
    one, two = process(slots, 0), process(slots, 1)
    two.requests.add(1, "200")
    for number in range(100):
        one.requests.add(1, str(number))
    assert "no room to share requests_total" in caplog.text
    assert value(one, "requests_total", code="0") == 1
    assert value(two, "requests_total", code="200") == 1


def test_a_name_can_be_registered_once() -> None:
    registry = SharedRegistry(Slots(1), 0)
    Process(registry)
    with pytest.raises(ValueError, match="Duplicated"):
        Process(registry)


def test_the_registry_of_a_server_of_several_processes() -> None:
    slots = Slots(2)
    shown = [registries.shared("server", "clicks", slots, index) for index in range(2)]
    text = generate_latest(shown[1]).decode()
    assert 'ctr_build_info{model="clicks",role="server",' in text
    assert slots.processes() == [os.getpid()] * 2
    slots.release(1)
    assert slots.processes() == [os.getpid()]


# ---- the machine


def test_one_process_is_shown_as_prometheus_client_shows_it() -> None:
    registry, theirs = CollectorRegistry(), CollectorRegistry()
    registry.register(ProcessesCollector(lambda: [os.getpid()]))
    ProcessCollector(registry=theirs)
    mine = {family.name: family for family in registry.collect()}
    reference = {family.name: family for family in theirs.collect()}
    assert set(mine) == set(reference)
    for name, family in reference.items():
        assert mine[name].type == family.type
        expected = family.samples[0].value
        if name == "process_cpu_seconds":  # mine has the ended children's too
            assert mine[name].samples[0].value >= expected
        else:
            assert mine[name].samples[0].value == pytest.approx(expected, rel=0.2, abs=5)


def test_processor_time_of_a_process_that_has_ended_stays() -> None:
    registry = CollectorRegistry()
    pids = [os.getpid()]
    registry.register(ProcessesCollector(lambda: pids))

    def seconds() -> float:
        return registry.get_sample_value("process_cpu_seconds_total") or 0

    busy = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True)\ninput()"
    child = subprocess.Popen(
        [sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        before = seconds()
        assert child.stdout is not None
        child.stdout.readline()
        pids.append(child.pid)
        running = seconds()
        assert running >= before + 0.4
        child.communicate(b"\n")
        assert seconds() >= running
    finally:
        child.kill()
        child.wait()


def test_a_process_that_is_gone_is_passed_over() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    collector = ProcessesCollector(lambda: [os.getpid(), gone.pid])
    assert list(collector.collect())
    assert list(ProcessesCollector(lambda: [gone.pid]).collect()) == []
