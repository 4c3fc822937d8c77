"""A rollout that makes sense, to be changed in the one way a test is about."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from slack_sdk.models.blocks import Block

from tools.gates import Direction, Outcome, Verdict
from tools.plans.model import NOT_EXPOSED, Exposure, Guardrail, OnFail, Plan, Stage, Strategy
from tools.records.log import Event
from tools.rollouts.approvals import Purpose
from tools.rollouts.events import Happening
from tools.rollouts.phases import Phase
from tools.rollouts.views import ApprovalView, CheckView, RolloutView

NOW = datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC)
MIRA, JONAS = "UMIRA0001", "UJONAS001"
ROLLOUT, APPROVAL = "f" * 32, "a" * 32
ERRORS = Guardrail(metric="errors", margin=2.0, min_sample=1000)
CONVERSION = Guardrail(
    metric="conversion", direction=Direction.DECREASE, margin=1.25, min_sample=4000, on_fail=OnFail.PAUSE
)


def stage(percent: float, *rails: Guardrail) -> Stage:
    return Stage(
        exposure=Exposure(percent=percent),
        bake=timedelta(minutes=10),
        time_limit=timedelta(hours=2),
        guardrails=rails or (ERRORS, CONVERSION),
    )


PLAN = Plan(
    flag="checkout-v2",
    environment="production",
    control="off",
    treatment="on",
    strategy=Strategy.CANARY,
    stages=(stage(1), stage(10), stage(50), stage(100)),
    rationale=("A doubling of errors shows within 9 min.",),
)
OPEN = Verdict(
    Outcome.INCONCLUSIVE,
    "Not proven either way.",
    treatment_rate=0.0061,
    control_rate=0.0052,
    ratio=1.17,
    margin=2.0,
    harm_e=1.4,
    safe_e=7.2,
    treatment_n=812,
    control_n=7904,
    min_sample=1000,
)
SAFE = replace(OPEN, outcome=Outcome.PASS, treatment_rate=0.113, control_rate=0.111, safe_e=34.0, treatment_n=5120)
CHECK = CheckView(
    "c" * 32, NOW, OPEN, ((ERRORS, OPEN, NOW - timedelta(seconds=3)), (CONVERSION, SAFE, NOW - timedelta(minutes=2)))
)
PROGRESSING = RolloutView(
    id=ROLLOUT,
    flag="checkout-v2",
    environment="production",
    phase=Phase.PROGRESSING,
    plan=PLAN,
    plan_version=1,
    stage=1,
    stage_since=NOW - timedelta(minutes=4),
    limit_from=NOW - timedelta(minutes=4),
    exposure=Exposure(percent=10),
    known_good=NOT_EXPOSED,
    setting=None,
    error=None,
    check=CHECK,
    approval=None,
    requester=MIRA,
    pause_reason=None,
    pause_ends=None,
    rollback_reason=None,
    verify_until=None,
    blind_since=None,
    next_check=NOW + timedelta(seconds=15),
    created_at=NOW - timedelta(hours=1),
    ended_at=None,
    place=None,
)


def question(purpose: Purpose, to_stage: int, *by: str, needed: int = 2) -> ApprovalView:
    return ApprovalView(
        APPROVAL, purpose, to_stage, "the flag is revenue-critical", MIRA, by, needed, NOW + timedelta(hours=24)
    )


PROPOSED = replace(
    PROGRESSING,
    phase=Phase.PROPOSED,
    stage=None,
    exposure=None,
    known_good=None,
    check=None,
    approval=question(Purpose.START, 0),
)
WAITING = replace(PROGRESSING, phase=Phase.WAITING_PROMOTION, approval=question(Purpose.PROMOTE, 2, JONAS))
PAUSED = replace(
    PROGRESSING, phase=Phase.PAUSED, pause_reason="errors: harm suspected", pause_ends="Resume, or roll back."
)
ROLLING_BACK = replace(
    PROGRESSING, phase=Phase.ROLLING_BACK, setting=NOT_EXPOSED, rollback_reason="errors: proven harmful"
)
ROLLED_BACK = replace(ROLLING_BACK, phase=Phase.ROLLED_BACK, exposure=NOT_EXPOSED, setting=None, ended_at=NOW)


def event(what: Happening, actor: str = "sluice", **facts: Any) -> Event:
    return Event(1, NOW, what.value, actor, ROLLOUT, facts, "")


def plain_blocks(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    return [block.to_dict() for block in blocks]


def read(blocks: Sequence[Block]) -> str:
    """Every text in the blocks, a line each, with ordinary spaces."""
    return "\n".join(_texts(plain_blocks(blocks))).replace("\N{NO-BREAK SPACE}", " ")


def _texts(value: Any) -> list[str]:
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    if isinstance(value, dict):
        own = [value["text"]] if isinstance(value.get("text"), str) else []
        return own + [text for item in value.values() if isinstance(item, dict | list) for text in _texts(item)]
    return []
