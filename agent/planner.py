"""From a feature's spec and its telemetry to a plan that people can be shown.

Reads and proposes; nothing here can set an exposure. A model, where there is one, sketches: which stages, which
guardrails, why. The calculators make the plan first and are its frame: they compute every length and sample, policy and
validation check the result, and where no sketch passes their own plan stands.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from agent.bounds import Budget
from agent.planning.circumstances import Circumstances
from agent.planning.drafter import Drafter
from agent.planning.facts import Archive, Facts
from agent.planning.foretelling import foretold
from agent.planning.graph import PlanningGraph, Talk
from agent.planning.proposals import PlanRequest, Proposal
from agent.planning.rules import Rules
from agent.planning.telemetry import Telemetry
from agent.planning.wording import unheard
from agent.stopping import Stopped
from agent.turns import Ending
from tools.clock import Clock
from tools.flags.base import FlagRef, FlagService
from tools.metrics.router import Metrics
from tools.plans.defaults import PlanningDefaults
from tools.plans.editing import Edited, Row, edit_plan
from tools.plans.kinds import is_sized
from tools.plans.model import Plan
from tools.plans.planner import Baseline, Draft
from tools.plans.policy import Policy
from tools.plans.revision import Changes, revise_plan
from tools.records.database import Database
from tools.rollouts.views import RolloutView
from tools.specs.base import Spec, SpecSource

__all__ = ["Measured", "PlanRequest", "Planner", "Proposal"]

_MEASURED = TypeAdapter(dict[str, Baseline])


@dataclass(frozen=True, slots=True)
class Measured:
    """What the metrics of a plan did lately, and sentences about those that can't be read now."""

    baselines: tuple[Baseline, ...] = ()
    missing: tuple[str, ...] = ()


class Planner:
    """Makes proposals. Reads specs, flags, metrics and past rollouts; writes only what a model was asked and said, and
    specs as they were read.

    Without `drafter` no model is asked; without `database` nothing is learned from earlier rollouts and no spec kept.
    """

    def __init__(
        self,
        specs: SpecSource,
        flags: FlagService,
        metrics: Metrics,
        policy: Policy,
        defaults: PlanningDefaults,
        clock: Clock,
        drafter: Drafter | None = None,
        database: Database | None = None,
    ) -> None:
        circumstances = Circumstances(metrics, policy, defaults, clock, database)
        titles = {metric.name: metric.title for metric in metrics.catalogue if is_sized(metric.kind)}
        self._archive = Archive(specs, flags, Telemetry(metrics, defaults, clock), circumstances, clock, database)
        self._rules = Rules(policy, defaults, flags.capabilities, titles, metrics.catalogue.kinds)
        self._graph = PlanningGraph(self._archive, drafter)

    async def propose(
        self, request: PlanRequest, stop: asyncio.Event | None = None, budget: Budget | None = None
    ) -> Proposal:
        """A plan for the flag; `stop` is set when it is no longer wanted, which ends the talk with the model.

        `budget` is that of the run that asks; once it is spent the calculators' plan stands. None: a run's own.
        Raises FlagNotFound, InvalidSpec, InvalidPlan, CannotBeProven, Stopped, TimeIsUp (while the facts are gathered),
        and what the sources raise.
        """
        talk = Talk(stop or asyncio.Event(), budget)
        try:
            state = await self._graph.run(request, self._rules, talk)
        except BaseException as error:
            ending = Ending.STOPPED if isinstance(error, Stopped) else Ending.FAILED
            await _close(talk, ending, {}, error=type(error).__name__)
            raise
        facts, trouble = state["facts"], state.get("trouble")
        proposal = proposal_of(state["draft"], facts)
        ending = Ending.UNAVAILABLE if trouble else Ending.ANSWERED
        await _close(talk, ending, outcome_of(proposal), error=trouble or state.get("fault"))
        return proposal

    async def revise(self, view: RolloutView, changes: Changes, *, words: str) -> Proposal:
        """The rollout's plan with the changes that somebody asked for in these words; lengths and samples are computed
        from what its metrics did lately.

        Raises InvalidInput for a change that can't be made, InvalidPlan, CannotBeProven, and what the sources raise.
        """
        plan, rules = view.plan, self._rules
        baselines, missing = await self._archive.remeasure(plan, changes.add_metrics)
        # In a thread: why a stage can't be proven may take it a second.
        draft = await asyncio.to_thread(
            revise_plan, plan, changes, baselines, rules.policy, rules.defaults, words=words, kinds=rules.kinds
        )
        rules.check(draft.plan)
        spec, outdated = await self._archive.spec_behind(plan, _source_of(view))
        return _proposal(await foretold(draft, baselines), spec, (*outdated, *missing))

    async def measured(self, plan: Plan) -> Measured:
        """What the plan's metrics did lately. Raises FlagNotFound and what the sources raise."""
        baselines, missing = await self._archive.remeasure(plan, ())
        return Measured(baselines, tuple(missing))

    def judge(
        self, view: RolloutView, rows: Sequence[Row], margins: Mapping[str, float], measured: Measured, *, words: str
    ) -> Edited:
        """The rollout's plan as its table is filled in, judged by the calculators and by what every plan is held to."""
        rules = self._rules
        return edit_plan(
            view.plan,
            rows,
            margins,
            measured.baselines,
            rules.policy,
            rules.defaults,
            rules.check,
            words=words,
            kinds=rules.kinds,
            in_force=view.stage,
        )

    async def edited(self, view: RolloutView, draft: Draft, measured: Measured) -> Proposal:
        """What was filled in, as it is put before people."""
        spec, outdated = await self._archive.spec_behind(view.plan, _source_of(view))
        return _proposal(await foretold(draft, measured.baselines), spec, (*outdated, *measured.missing))

    async def traffic(self, flag: str, environment: str, metric: str) -> Baseline:
        """What a metric of the catalogue did for the flag over the planning window, without treatment.

        Raises FlagNotFound, UnknownMetric, CannotBeProven for a silent metric, and what the sources raise.
        """
        return await self._archive.measure(FlagRef(flag, environment), metric)


def _source_of(view: RolloutView) -> str | None:
    """Where the spec was read that the rollout's plan rests on."""
    return None if view.spec is None else view.spec.source or None


def proposal_of(draft: Draft, facts: Facts) -> Proposal:
    """What is put before people."""
    heard = unheard(facts.request.wishes, draft.plan)
    return _proposal(draft, facts.spec, (*facts.warnings, *heard))


def _proposal(draft: Draft, spec: Spec | None, warnings: tuple[str, ...]) -> Proposal:
    """The draft with its warnings, which are in the plan too, so that they are part of what is approved."""
    notes = (*warnings, *draft.notes)
    plan = draft.plan.model_copy(update={"rationale": (*draft.plan.rationale, *notes)})
    return Proposal(plan, spec, notes)


def outcome_of(proposal: Proposal) -> dict[str, Any]:
    """What a run's row keeps of the proposal, and what a replay is compared with."""
    return {"plan": proposal.plan.to_json(), "notes": list(proposal.notes)}


async def _close(talk: Talk, ending: Ending, outcome: dict[str, Any], *, error: str | None) -> None:
    """Write down what came of the talk, if there was any."""
    if talk.dialogue is not None:
        measured = _MEASURED.dump_python(talk.added, mode="json")
        await talk.dialogue.book.close(ending, {**outcome, "measured": measured}, error=error)
