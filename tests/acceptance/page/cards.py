"""A card in each phase, with believable figures, for pictures of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
from slack_sdk.models.blocks import Block

from bot.blocks.card import Picture, card
from tests.unit.blocks.examples import (
    CHECK,
    CONVERSION,
    ERRORS,
    JONAS,
    MIRA,
    NOW,
    OPEN,
    PAUSED,
    PLAN,
    PROGRESSING,
    PROPOSED,
    ROLLED_BACK,
    ROLLING_BACK,
    SAFE,
    WAITING,
    event,
    question,
    stage,
)
from tools.gates import (
    CountEvidence,
    Counts,
    CountTest,
    Direction,
    Harm,
    NoData,
    Outcome,
    Verdict,
    judge,
    update,
)
from tools.plans.model import NOT_EXPOSED, Exposure, Mode, Strategy
from tools.records.log import Event
from tools.rollouts.acceptances import AcceptanceView
from tools.rollouts.approvals import Purpose
from tools.rollouts.events import Happening
from tools.rollouts.freezes import FreezeView
from tools.rollouts.phases import Phase
from tools.rollouts.staleness import SpecState, SpecView
from tools.rollouts.trace import Point, Trace
from tools.rollouts.views import BacktestView, CheckView, RolloutView

AIKO = "UAIKO0001"
OUTLOOK = "At this pace the gate passes in about 12 min."


@dataclass(frozen=True)
class State:
    """A card to look at: what it is made of, and which chart it has, if any."""

    view: RolloutView
    decisions: Sequence[Event] = ()
    outlook: str | None = None
    approved: Sequence[Event] = ()
    harm: bool | None = None

    def blocks(self, picture: Picture | None) -> list[Block]:
        """The card."""
        return card(self.view, self.decisions, outlook=self.outlook, approved=self.approved, picture=picture)


def _at(minutes: float, what: Happening, actor: str = "sluice", **facts: object) -> Event:
    return replace(event(what, actor, **facts), at=NOW - timedelta(minutes=minutes))


def _checked(*verdicts: Verdict, newest: datetime | None = NOW - timedelta(seconds=3)) -> CheckView:
    rails = zip((ERRORS, CONVERSION), verdicts, (newest, newest), strict=False)
    return replace(CHECK, verdict=verdicts[0], guardrails=tuple(rails))


PROPOSAL = _at(58, Happening.PLAN_PROPOSED, MIRA, version=1)
START = _at(55, Happening.STARTED, JONAS, exposure="1 %", known_good="0 %")
UP = _at(4, Happening.PROMOTED, exposure="10 %", before="1 %", after="10 %", why="Proven safe at 1 %.")
START_APPROVED = _at(55, Happening.APPROVAL_GRANTED, JONAS, purpose="start", to_stage=0, by=[JONAS, AIKO])
STAGE_APPROVED = _at(4, Happening.APPROVAL_GRANTED, AIKO, purpose="promote", to_stage=1, by=[AIKO])
DECIDED, APPROVED = (PROPOSAL, START, UP), (START_APPROVED, STAGE_APPROVED)

SUSPECTED = replace(
    OPEN,
    harm=Harm.SUSPECTED,
    harm_e=27.4,
    safe_e=0.2,
    treatment_rate=0.0141,
    treatment_n=1812,
    treatment_events=26,
    ratio=2.7,
)
FAILED = replace(SUSPECTED, outcome=Outcome.FAIL, harm=Harm.PROVEN, harm_e=81.0)
BLIND = Verdict(Outcome.NO_DATA, "No sample is newer than 2 min.", no_data=NoData.STALE, min_sample=1000)
DRIFTED = replace(
    SAFE,
    outcome=Outcome.INCONCLUSIVE,
    treatment_rate=0.041,
    control_rate=0.043,
    safe_e=6.3,
    drift="Control's base rate is 4.3 %, above the 0.26 % to 1.56 % that was planned for.",
    why="Held: both arms fail alike, which proves nothing about treatment.",
)


def _in(**length: float) -> str:
    return (NOW + timedelta(**length)).isoformat()


SALE = FreezeView(
    id="e" * 32,
    reason="Black Friday",
    by=JONAS,
    made_at=NOW - timedelta(hours=1),
    start=NOW - timedelta(hours=1),
    end=NOW + timedelta(days=2),
    environments=("production",),
)
STALE = SpecView(
    SpecState.CHANGED,
    "https://github.com/acme/specs/blob/main/checkout-v2.md",
    "The spec changed after this was planned (from 90be61d5f2aa to 4f1d02c9ab37).",
    NOW - timedelta(minutes=1),
    NOW - timedelta(seconds=20),
)
ACCEPTED = AcceptanceView(
    "b" * 32, "errors", NOW + timedelta(hours=20), "Known: the old API counts retries twice.", JONAS, NOW
)
GIVEN = {"metric": "errors", "until": _in(hours=20), "reason": ACCEPTED.reason, "far": 4.0}
IN_SHADOW = stage(10).model_copy(update={"exposure": Exposure(percent=10, mode=Mode.SHADOW)})
SHADOW = PLAN.model_copy(update={"strategy": Strategy.SHADOW, "stages": (IN_SHADOW, *PLAN.stages)})
STATES = {
    "draft": State(replace(PROPOSED, phase=Phase.DRAFT, approval=None)),
    "proposed": State(
        replace(
            PROPOSED,
            approval=replace(question(Purpose.START, 0, AIKO), served=NOT_EXPOSED),
            backtest=BacktestView(
                NOW,
                "Over the last 14 days these gates would have rolled back 0 of 200 times and caught a doubling "
                "of errors in 6 min at 1 %.",
            ),
        ),
        (PROPOSAL,),
    ),
    "shadow": State(
        replace(PROGRESSING, plan=SHADOW, stage=0, exposure=SHADOW.stages[0].exposure),
        (PROPOSAL, replace(START, payload={"exposure": "10 % in shadow", "known_good": "0 %"})),
        OUTLOOK,
        (START_APPROVED,),
        harm=False,
    ),
    "progressing": State(PROGRESSING, outlook=OUTLOOK, harm=False, decisions=DECIDED, approved=APPROVED),
    "waiting": State(
        replace(WAITING, check=_checked(replace(SAFE, treatment_rate=0.0051, control_rate=0.0052), SAFE)),
        harm=False,
        decisions=DECIDED,
        approved=APPROVED,
    ),
    "paused": State(
        replace(
            PAUSED,
            check=_checked(SUSPECTED, SAFE),
            pause_reason="errors: harm is suspected: 1.41 %, 2.7 times control's 0.52 %.",
            pause_ends="Resume goes on from 10 %; roll back returns to 0 %.",
        ),
        decisions=(
            *DECIDED,
            _at(1, Happening.PAUSED, reason="errors: harm is suspected", ends="Resume, or roll back."),
        ),
        approved=APPROVED,
        harm=True,
    ),
    "blind": State(
        replace(PROGRESSING, check=_checked(BLIND, BLIND, newest=NOW - timedelta(minutes=3)), blind_since=NOW),
        harm=False,
        decisions=DECIDED,
        approved=APPROVED,
    ),
    "shared_incident": State(
        replace(PROGRESSING, check=_checked(DRIFTED, SAFE)), harm=False, decisions=DECIDED, approved=APPROVED
    ),
    "rolling_back": State(
        replace(
            ROLLING_BACK,
            check=_checked(FAILED, SAFE),
            rollback_reason="errors: proven harmful: 1.41 %, 2.7 times control's 0.52 %.",
        ),
        decisions=(
            *DECIDED,
            _at(0, Happening.ROLLBACK_STARTED, before="10 %", target="0 %", reason="errors: proven harmful"),
        ),
        approved=APPROVED,
        harm=True,
    ),
    "rolled_back": State(
        replace(
            ROLLED_BACK,
            check=_checked(FAILED, SAFE),
            rollback_reason="errors: proven harmful: 1.41 %, 2.7 times control's 0.52 %.",
        ),
        decisions=(
            START,
            UP,
            _at(1, Happening.ROLLBACK_STARTED, before="10 %", target="0 %", reason="errors: proven harmful"),
            _at(0, Happening.ROLLED_BACK, exposure="0 %", seconds=1.2),
        ),
        approved=APPROVED,
        harm=True,
    ),
    "succeeded": State(
        replace(
            PROGRESSING,
            phase=Phase.SUCCEEDED,
            stage=3,
            exposure=Exposure(percent=100),
            known_good=NOT_EXPOSED,
            ended_at=NOW,
        ),
        (START, UP, _at(0, Happening.SUCCEEDED, why="Every stage was proven safe.")),
        approved=APPROVED,
        harm=False,
    ),
    "escalated": State(
        replace(
            WAITING,
            check=_checked(SAFE, SAFE),
            approval=replace(
                question(Purpose.PROMOTE, 2, JONAS),
                at=(NOW - timedelta(hours=15),),
                escalated_at=NOW - timedelta(hours=2),
            ),
        ),
        decisions=DECIDED,
        approved=APPROVED,
    ),
    "frozen": State(
        replace(PROGRESSING, check=_checked(SAFE, SAFE), frozen=SALE),
        decisions=(*DECIDED, _at(2, Happening.FREEZE_HOLDS, reason="Black Friday", by=JONAS, until=_in(days=2))),
        approved=APPROVED,
    ),
    "frozen_start": State(
        replace(PROPOSED, approval=replace(question(Purpose.START, 0), served=NOT_EXPOSED), frozen=SALE), (PROPOSAL,)
    ),
    "stale_spec": State(
        replace(PROPOSED, approval=None, found=NOT_EXPOSED, spec=STALE),
        (PROPOSAL, _at(1, Happening.SPEC_CHANGED, why=STALE.why, source=STALE.source)),
    ),
    "stale_spec_running": State(
        replace(PROGRESSING, spec=STALE), outlook=OUTLOOK, decisions=DECIDED, approved=APPROVED
    ),
    "accepted": State(
        replace(PROGRESSING, check=_checked(SUSPECTED, SAFE), acceptances=(ACCEPTED,)),
        decisions=(*DECIDED, _at(3, Happening.ACCEPTANCE_GIVEN, JONAS, **GIVEN)),
        approved=APPROVED,
    ),
    "setting_in_trouble": State(
        replace(
            PROGRESSING,
            stage=2,
            stage_since=None,
            setting=Exposure(percent=50),
            error="The flag service has not answered within 10 s.",
        ),
        decisions=(START, UP, _at(0, Happening.PROMOTED, before="10 %", after="50 %", why="Proven safe at 10 %.")),
        approved=APPROVED,
    ),
    "cancelled": State(
        replace(PROPOSED, phase=Phase.CANCELLED, approval=None, ended_at=NOW, found=NOT_EXPOSED),
        (PROPOSAL, _at(0, Happening.CANCELLED, JONAS, reason="Support is at lunch.")),
    ),
}


def course(*, harm: bool, minutes: int = 55, since: int = 38) -> Trace:
    """How the errors went: alike in both arms, or `harm` from a minute on."""
    rng, test, points = np.random.default_rng(7), CountTest(Direction.INCREASE, 2.0, min_sample=1000), []
    evidence = CountEvidence.start(test)
    for minute in range(minutes):
        number, share = (0, 0.01) if minute < minutes * 0.6 else (1, 0.1)
        treated, rest = rng.poisson(6000 * share), rng.poisson(6000 * (1 - share))
        rate = 0.0052 * (2.7 if harm and minute >= since else 1.0)
        arms = (
            Counts(int(rest), int(rng.binomial(rest, 0.0052))),
            Counts(int(treated), int(rng.binomial(treated, rate))),
        )
        evidence = update(test, evidence, *arms, burning_in=minute < 5)
        verdict = judge(test, evidence)
        at = NOW - timedelta(minutes=minutes - minute)
        points.append(Point(at, number, Exposure(percent=100 * share), verdict))
        if verdict.outcome is Outcome.FAIL:
            break
    return Trace("checkout-v2", "production", ERRORS, tuple(points))
