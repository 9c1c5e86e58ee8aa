"""The description of the interface: true to the routes, the answers, and to schemathesis."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from ctr.serve import openapi
from ctr.serve.examples import ANSWERS, REQUESTS
from ctr.serve.pages import Pages
from ctr.settings import Serve

from .conftest import LIMITS
from .running import Feed, Running, random_model, running, whole

HERE = Path(__file__).parent
KEY = "a-key-of-some-length"

APPLICATION = "/v1/predict"
"""The route of the default model, which the application looks up before any router."""


@pytest.fixture
def document(server: Running) -> Any:
    answer = server.http.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def skeleton(value: Any) -> Any:
    """Keys (but those of crosses, which are a model's own), lengths and types of a JSON value."""
    if isinstance(value, dict):
        return {key: skeleton(one) for key, one in value.items() if "*" not in key}
    if isinstance(value, list):
        return [skeleton(one) for one in value]
    return type(value)


@pytest.mark.parametrize("admin", [None, True, False])
def test_every_route_is_described_and_no_other(admin: bool | None) -> None:
    pages = Pages({}, CollectorRegistry(), lambda: 0.0, Serve())
    routes = {route.path: route.methods for route in pages.routes(admin)}
    paths = openapi.document(routes, [], Serve())["paths"]
    described = {path: {method.upper() for method in item} for path, item in paths.items()}
    for path in openapi.UNDESCRIBED:
        assert (path in routes) == (admin is not True)
        routes.pop(path, None)
    assert described == {path: methods - {"HEAD"} for path, methods in routes.items()}


def test_the_parts_are_the_whole() -> None:
    pages = Pages({}, CollectorRegistry(), lambda: 0.0, Serve())
    whole, operation, prediction = (
        {route.path for route in pages.routes(admin)} for admin in (None, True, False)
    )
    assert whole == operation | prediction
    assert operation & prediction == {"/livez", "/readyz", "/v1/models", "/openapi.json"}
    assert "/metrics" not in prediction


def test_what_is_described_is_there(server: Running, document: Any) -> None:
    assert APPLICATION in document["paths"]
    for path, item in document["paths"].items():
        for method in item:
            url = path.format(name="clicks", version="7")
            assert server.http.request(method, url).status_code not in (404, 405)


def test_limits_and_models_are_this_servers(document: Any) -> None:
    schemas, parameters = (document["components"][key] for key in ("schemas", "parameters"))
    assert schemas["EventsRequest"]["properties"]["events"]["maxItems"] == LIMITS.max_rows
    assert parameters["name"]["schema"]["enum"] == ["clicks"]
    assert "security" not in document


def test_with_keys_all_but_health_wants_one() -> None:
    document = openapi.document(["/livez", "/v1/predict"], ["clicks"], Serve(keys_file="keys"))
    schemes = document["components"]["securitySchemes"]
    assert [name for wanted in document["security"] for name in wanted] == list(schemes)
    assert document["paths"]["/livez"]["get"]["security"] == []
    assert "security" not in document["paths"]["/v1/predict"]["post"]


@pytest.mark.parametrize("name", REQUESTS)
def test_examples_are_answered_as_they_say(server: Running, document: Any, name: str) -> None:
    operation = document["paths"]["/v1/predict"]["post"]
    [request, answer] = (
        content["content"]["application/json"]["examples"][name]["value"]
        for content in (operation["requestBody"], operation["responses"]["200"])
    )
    found = server.predict(request)
    assert found.status_code == 200, found.text
    assert skeleton(found.json()) == skeleton(answer)


def test_every_example_has_its_answer() -> None:
    assert ANSWERS.keys() == REQUESTS.keys()


def schemathesis(url: str, directory: Path, *options: str) -> str:
    """What schemathesis says when it has found nothing."""
    config, hooks = HERE / "schemathesis.toml", HERE / "whole_numbers.py"
    found = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"),
            *(f"{url}/openapi.json", "--checks", "all", "--mode", "all", "--seed", "5"),
            *("--generation-database", "none", "--no-color", *options),
        ],
        cwd=directory,
        env={**os.environ, "SCHEMATHESIS_HOOKS": str(hooks)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def test_schemathesis_finds_nothing(server: Running, document: Any, tmp_path: Path) -> None:
    operations = len(document["paths"]) - 1  # it does not ask for the description again
    said = schemathesis(server.url, tmp_path, "--max-examples", "10")
    assert f"Tested: {operations}" in said, said
    assert server.predict({"events": []}).status_code == 200


def test_schemathesis_finds_nothing_with_keys_and_an_admin_address(tmp_path: Path) -> None:
    keys, feed = tmp_path / "keys", Feed()
    keys.write_text(f"tests {KEY}\n")
    keys.chmod(0o600)
    settings = msgspec.structs.replace(LIMITS, keys_file=str(keys), admin_port=0)
    options = ("--header", f"Authorization: Bearer {KEY}", "--max-examples", "5")
    some = ("--include-path-regex", "^/(v1/predict|v1/models|v2|livez|metrics)$")
    with running(feed, settings) as server:
        feed.put(whole(7, random_model()))
        server.wait_for_version(7)
        assert server.http.get("/openapi.json").status_code == 401
        for url in (server.url, server.server.admin_url):
            schemathesis(url, tmp_path, *options, *some)
