"""No listener reaches another workspace's rollouts: they are given none, and ask for those of who speaks."""

import ast
from pathlib import Path

import pytest

import bot.listeners

MODULES = sorted(Path(bot.listeners.__file__).parent.glob("*.py"))
DOORS = {"of", "scope"}
"""What may be asked of a door that is not known to be a workspace's: another door, and what it sees."""
TABLES = {
    "Rollout",
    "Approval",
    "ApprovalVote",
    "ApprovalCall",
    "ApprovalPost",
    "Confirmation",
    "Freeze",
    "Acceptance",
    "PlanVersion",
}
READS_THEM = {"actions.py": {"Approval", "Rollout"}, "editing.py": {"Rollout"}}
"""Only whose card a button's id belongs on; what may be done with it the door decides."""


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_no_listener_reads_tables_that_know_no_workspace(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    imported = {
        name.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "tools.records.models"
        for name in node.names
    }
    assert imported & TABLES == READS_THEM.get(module.name, set())


def registered(tree: ast.Module) -> list[ast.AST]:
    """The functions that Bolt calls: those in which a request has not been given a workspace's services yet."""
    return [
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        for inner in node.body
        if isinstance(inner, ast.AsyncFunctionDef) and inner.decorator_list
    ]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_every_listener_asks_for_the_door_of_who_speaks(module: Path) -> None:
    for listener in registered(ast.parse(module.read_text(encoding="utf-8"))):
        for node in ast.walk(listener):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "services.rollouts":
                assert node.attr in DOORS, ast.unparse(node)
