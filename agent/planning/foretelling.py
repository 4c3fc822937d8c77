"""What a plan's gates will do from its start to its end, among the reasons that people read on its card."""

import asyncio
from collections.abc import Sequence

from tools.plans.forecasting import as_a_whole
from tools.plans.planner import Baseline, Draft


async def foretold(draft: Draft, baselines: Sequence[Baseline]) -> Draft:
    """The draft whose plan says so before what was measured, of which a card cuts what is too much.

    In a thread: the courses take some tenths of a second.
    """
    said = await asyncio.to_thread(as_a_whole, draft.plan, baselines)
    if said is None:
        return draft
    plan = draft.plan.model_copy(update={"rationale": (said, *draft.plan.rationale)})
    return Draft(plan, draft.notes)
