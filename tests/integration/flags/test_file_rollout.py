"""A whole rollout of a flag in a file, beside people who edit the file, evaluated as services do."""

from pathlib import Path

import pytest
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext

from tests.flag_files import FlagFiles
from tests.unit.rollouts.world import FLAG, World, running_world
from tools.flags.files.flagd import Flagd
from tools.flags.files.gofeatureflag import GoFeatureFlag
from tools.rollouts.events import Happening
from tools.rollouts.phases import Phase

BAD = {"new": (50, 40)}
KEYS = 2_000


@pytest.fixture
def files(tmp_path: Path) -> FlagFiles:
    made = FlagFiles(tmp_path, ".json", Flagd)
    made.define(FLAG)
    return made


def _served(files: FlagFiles) -> float:
    """The share that services serve treatment, in percent."""
    core = FlagdCore()
    core.set_flags(files.path(FLAG.environment).read_text())
    contexts = (EvaluationContext(f"user-{number}") for number in range(KEYS))
    return sum(core.resolve_string_value(FLAG.flag, "", context).variant == "new" for context in contexts) / KEYS * 100


async def _until(world: World, phase: Phase, rollout: str, **traffic: tuple[int, int]) -> None:
    for _ in range(300):
        if (await world.live(rollout, 1, **traffic)).phase is phase:
            return
    raise AssertionError(f"never {phase}")


async def test_from_nobody_to_a_stage_and_back(files: FlagFiles) -> None:
    async with running_world(other=files.service(control="old", treatment="new")) as world:
        view = await world.started()
        view = await world.live(view.id, 2)
        assert _served(files) == pytest.approx(5, abs=2)
        await _until(world, Phase.ROLLED_BACK, view.id, **BAD)
        assert _served(files) == 0


async def test_a_file_that_is_broken_while_treatment_does_harm_is_paged_and_rolled_back_once_it_is_mended(
    files: FlagFiles,
) -> None:
    async with running_world(other=files.service(control="old", treatment="new")) as world:
        view = await world.started()
        await world.live(view.id, 2)
        good = files.path(FLAG.environment).read_text()
        files.path(FLAG.environment).write_text(good[:-20])
        view = await world.live(view.id, 9, **BAD)
        assert view.phase is Phase.ROLLING_BACK
        assert Happening.ROLLBACK_STUCK in await world.kinds(view.id)
        told = [message.payload for message in await world.outbox()]
        assert any("can't be read: it is no JSON at line" in str(payload) for payload in told)
        files.path(FLAG.environment).write_text(good)
        await world.live(view.id, 2)
        assert (await world.service.get(view.id)).phase is Phase.ROLLED_BACK
        assert _served(files) == 0


@pytest.mark.parametrize(("kind", "suffix"), [(Flagd, ".yaml"), (GoFeatureFlag, ".yaml")])
async def test_a_raise_by_hand_pauses(tmp_path: Path, kind: type[Flagd] | type[GoFeatureFlag], suffix: str) -> None:
    files = FlagFiles(tmp_path, suffix, kind)
    files.define(FLAG)
    async with running_world(other=files.service(control="old", treatment="new")) as world:
        view = await world.started()
        await world.live(view.id, 2)
        text = files.path(FLAG.environment).read_text()
        raised = {text.replace(five, fifty) for five, fifty in (('"new", 5]', '"new", 95]'), ("new: 5\n", "new: 95\n"))}
        [raised_text] = raised - {text}
        files.path(FLAG.environment).write_text(raised_text)
        view = await world.live(view.id, 2)
        assert view.phase is Phase.PAUSED
        assert Happening.CHANGED_BY_HAND in await world.kinds(view.id)
