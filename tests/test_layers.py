"""Imports point one way, and modules stay small: what docs and habit cannot keep up, a test can."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# each level may import the levels below it; a name is a module or package right under ctr
LEVELS = [
    {"kernels"},
    {"errors", "settings", "rules", "config", "types", "files", "kafka", "log", "memory"},
    {"features"},
    {"stream", "learn", "metrics", "model"},
    {"observe"},
    {"train", "serve", "evaluate", "grid", "score", "simulate"},
    {"cli"},
    {"__main__"},
]
BASE = LEVELS[1]
NEVER = {("serve", "learn"), ("serve", "train"), ("simulate", "learn")}
"""(who, what): not by way of others either."""

MOST_LINES = 350


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in sorted((ROOT / "ctr").rglob("*.py"))}


def imports(name, source, is_package=False, known=frozenset(SOURCES)):
    """The modules of ctr that the module ``name`` imports anywhere, with the names it takes."""
    package = name if is_package else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            targets = [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            parent = ".".join(part for part in (above, node.module) if part)
            paths = [(f"{parent}.{alias.name}", alias.name) for alias in node.names]
            targets = [(path, None) if path in known else (parent, own) for path, own in paths]
        else:
            continue
        yield from (target for target in targets if target[0].split(".")[0] == "ctr")


def level(part):
    return next((number for number, parts in enumerate(LEVELS) if part in parts), None)


def fault(importer, target, taken=None):
    """Why ``importer`` may not import ``target`` (or what it takes of it); None when it may."""
    if target == "ctr":
        return None if taken == "__version__" else f"takes {taken} from ctr, not from its module"
    own, other = importer.split(".")[1], target.split(".")[1]
    if level(other) is None:
        return f"imports {target}, which is on no level"
    if own == other or (own in BASE and other in BASE) or level(other) < level(own):
        return None
    return f"imports {target}, which is not below it"


def own_imports(name):
    path = SOURCES.get(name)
    if path is None:
        return set()
    return set(imports(name, path.read_text("utf-8"), path.name == "__init__.py"))


def reached(name, with_packages=True):
    """All modules of ctr that are imported when ``name`` is, by whatever way."""
    seen, waiting = set(), [name]
    while waiting:
        module = waiting.pop()
        found = {target for target, _ in own_imports(module) if target != "ctr"}
        if with_packages and module.count(".") > 1:
            found.add(module.rpartition(".")[0])
        waiting += found - seen
        seen |= found
    return seen


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "ctr"])
def test_imports_point_one_way(name):
    assert level(name.split(".")[1]) is not None, f"{name} is on no level: add it to LEVELS"
    faults = [found for target in own_imports(name) if (found := fault(name, *target))]
    assert not faults, f"{name} {'; '.join(faults)}"


@pytest.mark.parametrize(("who", "what"), sorted(NEVER))
def test_who_never_gets_what(who, what):
    for name in SOURCES:
        if name.split(".")[1:2] == [who]:
            found = {module for module in reached(name) if module.split(".")[1:2] == [what]}
            assert not found, f"{name} reaches {found}"


def test_the_package_imports_nothing_until_it_is_asked():
    tree = ast.parse(SOURCES["ctr"].read_text("utf-8"))
    eager = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    eager_source = ast.unparse(ast.Module(eager, []))
    assert list(imports("ctr", eager_source, is_package=True)) == []


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "ctr"])
def test_no_module_imports_itself_by_way_of_others(name):
    assert name not in reached(name, with_packages=False)


@pytest.mark.parametrize("name", SOURCES)
def test_modules_are_small(name):
    lines = len(SOURCES[name].read_text("utf-8").splitlines())
    assert lines <= MOST_LINES, f"{name} has {lines} lines"


@pytest.mark.parametrize(
    ("name", "source", "allowed"),
    [
        ("ctr.kernels.x", "from ctr.kernels.options import jit", True),
        ("ctr.kernels.x", "from ctr.types import Batch", False),
        ("ctr.kernels.x", "from ..types import Batch", False),
        ("ctr.kernels.x", "from .options import jit", True),
        ("ctr.types", "from ctr.errors import CtrError", True),
        ("ctr.types", "from ctr.features import parser", False),
        ("ctr.learn.x", "import ctr.metrics", False),
        ("ctr.learn.x", "def f():\n    from ctr import observe", False),
        ("ctr.observe.x", "from ctr import metrics, __version__", True),
        ("ctr.serve.x", "from ctr import FTRLProximal", False),
        ("ctr.train.x", "from ctr.serve import app", False),
        ("ctr.train.x", "from ctr.nowhere import app", False),
        ("ctr.cli.x", "import os, numpy.ctr, ctrl", True),
    ],
)
def test_the_rule_itself(name, source, allowed):
    known = {"ctr", "ctr.metrics", "ctr.observe", "ctr.serve", "ctr.types", "ctr.kernels.options"}
    faults = [fault(name, *target) for target in imports(name, source, known=known)]
    assert (not any(faults)) == allowed
