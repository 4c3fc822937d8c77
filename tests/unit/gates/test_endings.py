"""How often a plan's rollouts end in each way, also seldom, within a quarter of what the gates' own code does.

Both are of thousands of rollouts, so that parts of 4 % and more have a standard error below 8 %. What people are shown
comes of 800 courses or fewer, in which a part of 4 % has one of 17 %: those are read as they are drawn, in hundredths.
"""

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.gates.rollouts import Rollouts, roll_out
from tests.unit.gates.test_forecast import BURSTY, PLAN
from tests.unit.gates.test_reached import LONG
from tools.gates.courses import Ending
from tools.gates.forecast import forecast, forecast_harm
from tools.gates.schedule import Schedule, Step

ROLLOUTS, COURSES = 8000, 5000
TOLD_APART = 0.04
THIN = replace(LONG, steps=(Step(0.05, 20, 60), Step(0.25, 20, 60), Step(0.5, 20, 40)))


def agree(foretold: float, seen: float) -> None:
    if max(foretold, seen) >= TOLD_APART:
        assert foretold == pytest.approx(seen, rel=0.25)


@pytest.mark.parametrize(("schedule", "harm"), [(PLAN, 1.3), (PLAN, 1.4), (BURSTY, 1.4), (LONG, 1.7), (LONG, 2.5)])
def test_rolled_back_asked_and_missed(schedule: Schedule, harm: float) -> None:
    found = forecast_harm(schedule, "errors", harm, draws=COURSES)
    seen = roll_out(schedule, {"errors": harm}, ROLLOUTS, seed=83)
    for part, ending in (
        (found.caught, Ending.ROLLED_BACK),
        (found.asked, Ending.ASKED),
        (found.missed, Ending.PROMOTED),
    ):
        agree(part, float((seen.ending == ending).mean()))
    for index, stage in enumerate(found.by_stage):
        agree(stage.chance, float(((seen.ending == Ending.ROLLED_BACK) & (seen.stage == index)).mean()))


@pytest.mark.parametrize("schedule", [PLAN, LONG, THIN], ids=["plan", "long", "thin"])
def test_unproven_stages_of_a_harmless_plan(schedule: Schedule) -> None:
    found, seen = forecast(schedule, draws=COURSES), roll_out(schedule, {}, ROLLOUTS, seed=84)
    agree(found.unfinished, float((seen.ending != Ending.PROMOTED).mean()))
    for index, stage in enumerate(found.stages):
        agree(stage.unproven, unproven(seen, index))


def unproven(seen: Rollouts, index: int) -> float:
    """The part of those that come to the stage and are not proven there."""
    came = seen.stage >= index
    return float(np.mean((seen.stage == index)[came] & (seen.ending != Ending.PROMOTED)[came]))
