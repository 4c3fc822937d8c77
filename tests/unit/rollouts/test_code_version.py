"""A check's row names the code that judged it, so that what other code judged is not taken for a forgery."""

import ast
import sys
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from tools.rollouts import assessing
from tools.rollouts.checks import CODE_VERSION, JUDGED_BY

NO_NUMBERS = {"aiosqlite", "pydantic", "sqlalchemy"}
"""What judging imports of others that gives rows and types, and computes nothing."""


def imported_by(module: str) -> Iterator[str]:
    """The modules that a module's code imports, wherever in it."""
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    for node in ast.walk(ast.parse(Path(spec.origin).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, "imports are absolute"
            yield node.module
            yield from (name for alias in node.names if is_module(name := f"{node.module}.{alias.name}"))


def is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def judging() -> tuple[set[str], set[str]]:
    """The project's modules that judging imports, directly or through others, and whose else it imports."""
    found, others, left = set[str](), set[str](), {assessing.__name__}
    while left:
        module = left.pop()
        found.add(module)
        for name in imported_by(module):
            top = name.partition(".")[0]
            if top == "tools":
                left |= {name} - found
            elif top not in sys.stdlib_module_names:
                others.add(top)
    return found, others


def test_all_that_judging_imports_is_in_the_version() -> None:
    found, others = judging()
    assert {"tools.metrics.quality", "tools.plans.mixes", "tools.plans.kinds", "tools.gates.counts"} <= found
    packages = {name if is_package(name) else name.rpartition(".")[0] for name in found}
    assert packages - set(JUDGED_BY) == set()
    assert others - NO_NUMBERS == {"numpy"}


def is_package(name: str) -> bool:
    spec = find_spec(name)
    return spec is not None and spec.submodule_search_locations is not None


def test_the_version_names_what_computes_the_numbers() -> None:
    assert CODE_VERSION.startswith(f"{version('sluicebot')}+")
    assert CODE_VERSION.endswith(f".numpy{version('numpy')}")
