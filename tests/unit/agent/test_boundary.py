"""The part that talks to the model: what it can reach, and what it can't."""

import ast
import subprocess
import sys
from pathlib import Path

import agent

TALKS_TO_THE_MODEL = ("bounds", "graph", "model", "moves", "planning.dialogue", "probe", "scripted", "tracing")
OUT_OF_REACH = (
    "bot",
    "slack_sdk",
    "slack_bolt",
    "sqlalchemy",
    "agent.desk",
    "agent.session",
    "agent.toolkit",
    "tools.flags",
    "tools.records",
    "tools.rollouts",
    "tools.metrics",
)


def _imports(module: str) -> set[str]:
    source = (Path(agent.__file__).parent / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
    found = set[str]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_it_imports_nothing_that_holds_a_secret_of_flags_approvals_or_slack() -> None:
    for module in TALKS_TO_THE_MODEL:
        reached = {one for one in _imports(module) if one.startswith(OUT_OF_REACH)}
        assert reached == set(), f"agent.{module} imports {reached}"


def test_it_can_be_loaded_without_any_of_them() -> None:
    """Also by detours: a fresh interpreter that loads it has none of their modules."""
    code = (
        "import sys\n"
        f"import {', '.join(f'agent.{module}' for module in TALKS_TO_THE_MODEL)}\n"
        f"print([name for name in sys.modules if name.startswith({OUT_OF_REACH!r})])\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert answer.stdout.strip() == "[]"
