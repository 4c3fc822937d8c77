"""A scenario file that can't be used is named, with the key that is wrong."""

from pathlib import Path

import pytest

from agent.evals.loading import BadScenario, load

WORLD = """
worlds:
  empty: {flags: {a-flag: {}}}
  fuller: {like: empty, flags: {b-flag: {percent: 5}}}
"""
GOOD = """
scenarios:
  - id: one
    about: A case.
    tags: [status, single-turn]
    world: {like: fuller, flags: {c-flag: {}}}
    turns: [{say: hello}]
    expect: {exposure: {a-flag: 0}}
"""


def folder(tmp_path: Path, text: str, *, worlds: str = WORLD) -> Path:
    (tmp_path / "worlds.yaml").write_text(worlds, encoding="utf-8")
    (tmp_path / "cases.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "notes.txt").write_text("no scenario", encoding="utf-8")
    return tmp_path


def test_a_world_is_built_on_another(tmp_path: Path) -> None:
    (scenario,) = load(folder(tmp_path, GOOD))
    assert list(scenario.world.flags) == ["a-flag", "b-flag", "c-flag"]
    assert scenario.says[0].texts == ("hello",)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("turns: [{say: hello}]", "turns: [{say: hello, bye: 1}]", "cases.yaml: scenarios.one.turns.0.say.bye: Extra"),
        ("exposure: {a-flag: 0}", "exposure: {a-flag: 101}", "cases.yaml: scenarios.one.expect.exposure.a-flag: "),
        ("exposure: {a-flag: 0}", "exposed: {a-flag: 0}", "cases.yaml: scenarios.one.expect.exposed: Extra"),
        ("like: fuller", "like: fullest", "cases.yaml: scenarios.one.world.like: there is no world 'fullest'"),
        ("single-turn", "several-turns", "with 1 said turns its tag is single-turn"),
        ("turns: [{say: hello}]", "turns: [{wait: 5}]", "cases.yaml: scenarios.one: Value error, nobody says anything"),
        ("    about: A case.\n", "", "cases.yaml: scenarios.one.about: Field required"),
        ("scenarios:", "scenario:", "cases.yaml: scenario: is not known"),
        ("scenarios:", "scenarios: {}\nother:", "cases.yaml: other: is not known"),
        ("tags: [", "tags: [[", "cases.yaml can't be read"),
        ("id: one", "id: One Two", "cases.yaml: scenarios.One Two.id: String should match pattern"),
    ],
)
def test_a_wrong_file_is_named_with_its_key(tmp_path: Path, old: str, new: str, named: str) -> None:
    assert old in GOOD
    with pytest.raises(BadScenario) as caught:
        load(folder(tmp_path, GOOD.replace(old, new)))
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_world_is_named_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(BadScenario, match=r"worlds\.yaml: worlds\.fuller\.flags\.b-flag\.percent: "):
        load(folder(tmp_path, GOOD, worlds=WORLD.replace("percent: 5", "percent: five")))


def test_two_scenarios_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text(GOOD, encoding="utf-8")
    with pytest.raises(BadScenario, match="Two scenarios are called 'one'"):
        load(folder(tmp_path, GOOD))


def test_two_worlds_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text(WORLD, encoding="utf-8")
    with pytest.raises(BadScenario, match=r"worlds\.yaml: worlds\.empty: is there already, in more\.yaml"):
        load(folder(tmp_path, GOOD))


def test_a_folder_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadScenario, match="is no folder of scenarios"):
        load(tmp_path / "nowhere")
