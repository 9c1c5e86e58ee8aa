"""What deploy/ and docker-compose.yml say is understood by what will read it.

No Docker engine is needed: compose implementations, promtool, Kafka's own tools and the command
line read the files here as they would there.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner
from prometheus_client import CollectorRegistry

from ctr import config
from ctr.observe.server import ServerMetrics
from ctr.observe.trainer import TrainerMetrics

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


# ---- docker-compose.yml


def compose_implementations() -> list[list[str]]:
    """Every compose at hand; podman-compose is in the development environment."""
    candidates = [["docker-compose"], ["docker", "compose"]]
    found = [[sys.executable, "-m", "podman_compose", "--dry-run"]]
    return found + [command for command in candidates if answers(*command, "version")]


def answers(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def read_by(implementation: list[str], file: Path) -> subprocess.CompletedProcess[str]:
    command = [*implementation, "--file", str(file), "--profile", "demo", "config"]
    return subprocess.run(command, capture_output=True, text=True, cwd=file.parent)


def test_compose_implementations_read_the_file() -> None:
    for implementation in compose_implementations():
        told = read_by(implementation, ROOT / "docker-compose.yml")
        assert told.returncode == 0, (implementation, told.stderr)
        resolved = yaml.safe_load(told.stdout)
        assert set(resolved["services"]) == set(SERVICES), implementation
        assert set(resolved["volumes"]) == set(COMPOSE["volumes"]), implementation
        for name in ("trainer", "server"):
            service = resolved["services"][name]
            assert service["read_only"] is True, implementation
            assert service["init"] is True, implementation


def test_they_would_refuse_a_wrong_one(tmp_path: Path) -> None:
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text("services: {a: {image: x, depends_on: {a: {condition: service_well}}}}\n")
    for implementation in compose_implementations():
        assert read_by(implementation, wrong).returncode != 0, implementation


def test_the_five_services_and_what_they_mount_are_there() -> None:
    assert {"kafka", "trainer", "server", "prometheus", "grafana"} <= set(SERVICES)
    mounts = [
        mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])
    ]
    for mount in mounts:
        assert (ROOT / mount).exists() if mount.startswith(".") else mount in COMPOSE["volumes"]
    assert {service["image"] for service in SERVICES.values() if "build" in service} == {"ctr"}
    assert (ROOT / SERVICES["trainer"]["build"]["dockerfile"]).exists()


def test_only_this_machine_reaches_the_published_ports() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published), published


# ---- Kafka


def test_one_version_of_kafka() -> None:
    pom = (DEPLOY / "kafka" / "pom.xml").read_text()
    version = re.search(r"<kafka\.version>(.+?)<", pom)[1]
    images = {service["image"] for service in SERVICES.values() if "kafka" in service["image"]}
    assert images == {f"apache/kafka:{version}"}


def test_kafka_itself_accepts_the_services_settings(kafka, tmp_path: Path) -> None:
    """The image appends KAFKA_A_B=c to the mounted file as a.b=c; Kafka's formatter reads it."""
    own = {"KAFKA_HEAP_OPTS"}  # of the image's start script
    environment = SERVICES["kafka"]["environment"]
    settings = {
        name.removeprefix("KAFKA_").lower().replace("_", "."): value.replace(
            "${CTR_KAFKA_PORT:-9092}", "9092"
        )
        for name, value in environment.items()
        if name.startswith("KAFKA_") and name not in own
    } | {"log.dirs": str(tmp_path / "data")}
    properties = tmp_path / "server.properties"
    properties.write_text(
        (DEPLOY / "kafka" / "server.properties").read_text()
        + "".join(f"\n{name}={value}" for name, value in settings.items())
    )
    java, *flags = Path(f"/proc/{kafka.pid}/cmdline").read_text().rstrip("\0").split("\0")
    classes = flags[flags.index("-cp") + 1]
    formatter = ["kafka.tools.StorageTool", "format", "--config", str(properties)]
    formatter += ["--cluster-id", environment["CLUSTER_ID"]]
    done = subprocess.run([java, "-cp", classes, *formatter], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        f"cluster.id={environment['CLUSTER_ID']}"
        in (tmp_path / "data" / "meta.properties").read_text()
    )


# ---- the ctr commands


def commands() -> dict[str, list[str]]:
    """Every `ctr …` command line of the compose file and the Dockerfile, by where it is."""
    found = {
        name: shlex.split(service["command"])
        for name, service in SERVICES.items()
        if service.get("command", "").startswith("ctr ")
    }
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    found["Dockerfile"] = json.loads(re.findall(r"^CMD (\[.*\])$", dockerfile, re.MULTILINE)[-1])
    return found


def test_there_are_commands_to_check() -> None:
    assert {name: line[0] for name, line in commands().items()} == dict.fromkeys(
        ("simulate", "trainer", "server", "Dockerfile"), "ctr"
    )


def understand(line: list[str]) -> None:
    """Parse a command line as the command itself would; click's UsageError says what is wrong."""
    from ctr.cli import main

    # the group's settings too: click keeps what a command's help flags are from its first use
    group = click.Context(main, **main.context_settings)
    name, command, arguments = main.resolve_command(group, line[1:])
    assert command is not None
    # what the container mounts there
    mounted = {"/etc/ctr/ctr.toml": str(DEPLOY / "ctr.toml")}
    command.make_context(name, [mounted.get(word, word) for word in arguments], group)


@pytest.mark.parametrize("where", ["simulate", "trainer", "server"])
def test_the_command_line_understands(where: str) -> None:
    understand(commands()[where])
    with pytest.raises(click.UsageError):
        understand([*commands()[where], "--no-such-option"])


def test_the_image_tells_about_itself() -> None:
    from ctr.cli import main

    _, *arguments = commands()["Dockerfile"]
    told = CliRunner().invoke(main, arguments)
    assert told.exit_code == 0
    assert "train" in told.output


def test_the_configuration_is_one() -> None:
    """Its keys exist, it names the service, and the trainer is to be reached from outside."""
    loaded = config.load(DEPLOY / "ctr.toml", environment={})
    assert loaded.kafka.bootstrap_servers == "kafka:9092"
    assert loaded.metrics.host == "0.0.0.0"
    topic = SERVICES["events-topic"]["command"].split()
    assert topic[topic.index("--topic") + 1] == loaded.events.topic
    changed = config.load(
        DEPLOY / "ctr.toml", environment={"CTR_KAFKA__BOOTSTRAP_SERVERS": "other:9092"}
    )
    assert changed.kafka.bootstrap_servers == "other:9092"


def test_ports_agree() -> None:
    """Of the configuration, the health checks, the scrapes and what is published."""
    loaded = config.load(DEPLOY / "ctr.toml", environment={})
    jobs = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    scraped = {job["job_name"]: job["static_configs"][0]["targets"] for job in jobs}
    assert scraped == {
        "trainer": [f"trainer:{loaded.metrics.port}"],
        "server": [f"server:{loaded.serve.port}"],
    }
    health = SERVICES["trainer"]["environment"]["HEALTH_URL"]
    assert health == f"http://127.0.0.1:{loaded.metrics.port}/metrics"
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert f"HEALTH_URL=http://127.0.0.1:{loaded.serve.port}/livez" in dockerfile
    assert f"EXPOSE {loaded.serve.port} {loaded.metrics.port}" in dockerfile
    assert SERVICES["server"]["ports"][0].endswith(f":{loaded.serve.port}")


# ---- the image


def test_what_the_image_copies_is_in_its_build_context() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    copied = [
        word
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile, re.MULTILINE)
        for word in line.split()
    ]
    kept = {
        line.removeprefix("!").rstrip("/")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    assert set(copied) == kept
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_runs_without_root_and_checks_its_health() -> None:
    last_stage = (DEPLOY / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001:10001$", last_stage, re.MULTILINE)
    command = re.search(r"^HEALTHCHECK .*?CMD (\[.*?\])$", last_stage, re.MULTILINE | re.DOTALL)
    python, option, program = json.loads(command[1])
    assert (python, option) == ("python", "-c")
    # nothing listens on port 9 here: the check fails, and for that reason
    sick = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"HEALTH_URL": "http://127.0.0.1:9/livez"},
        capture_output=True,
        text=True,
    )
    assert sick.returncode != 0
    assert "URLError" in sick.stderr


def test_the_build_backend_is_locked() -> None:
    """What the Dockerfile's sed takes from the lock is setuptools with its hashes, alone."""
    script = re.search(r"sed -n '(.+?)' requirements-dev", (DEPLOY / "Dockerfile").read_text())[1]
    taken = subprocess.run(
        ["sed", "-n", script, ROOT / "requirements-dev.txt"], capture_output=True, text=True
    ).stdout
    assert re.fullmatch(r"setuptools==\S+( \\\n    --hash=sha256:[0-9a-f]{64})+\n", taken), taken


# ---- Prometheus and Grafana


def exported() -> set[str]:
    """Names of all series that a trainer and a server export."""
    registry = CollectorRegistry()
    TrainerMetrics(registry, "clicks")
    ServerMetrics(registry)
    suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    return {
        family.name + suffix
        for family in registry.collect()
        for suffix in suffixes.get(family.type, [""])
    }


RULES = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())["groups"]
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "ctr.json").read_text())


def test_promtool_accepts_configuration_and_rules(prometheus_binaries) -> None:
    folder = DEPLOY / "prometheus"
    for arguments in (
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "--lint=all", "--lint-fatal", "rules.yml"],
        ["test", "rules", "rules_test.yml"],
    ):
        done = subprocess.run(
            [prometheus_binaries.promtool, *arguments], cwd=folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test() -> None:
    tests = yaml.safe_load((DEPLOY / "prometheus" / "rules_test.yml").read_text())["tests"]
    fired = {
        case["alertname"]
        for test in tests
        for case in test.get("alert_rule_test", [])
        if case["exp_alerts"]
    }
    assert fired == {rule["alert"] for group in RULES for rule in group["rules"] if "alert" in rule}


def test_rules_and_dashboard_use_what_is_exported_or_recorded() -> None:
    recorded = {rule["record"] for group in RULES for rule in group["rules"] if "record" in rule}
    expressions = [rule["expr"] for group in RULES for rule in group["rules"]]
    expressions += [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    expressions += [DASHBOARD["templating"]["list"][0]["query"]["query"]]
    used = {name for text in expressions for name in re.findall(r"\bctr[_:][a-z0-9_:]+", text)}
    assert used - exported() - recorded == set()
    assert len(used & exported()) > 10


def test_the_dashboard_is_provisioned() -> None:
    source = yaml.safe_load(
        (DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text()
    )["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    panels = DASHBOARD["panels"]
    assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}
    assert len({panel["id"] for panel in panels}) == len(panels)
    folder = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/ctr.yml").read_text())[
        "providers"
    ][0]["options"]["path"]
    grafana = SERVICES["grafana"]
    assert f"./deploy/grafana/dashboards:{folder}:ro" in grafana["volumes"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{folder}/ctr.json"
