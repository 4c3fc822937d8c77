"""A rollout as it is shown: everything a card, a status line or an export needs, read in one transaction."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tools.gates import Verdict
from tools.plans.model import Exposure, Guardrail, Plan, Stage
from tools.records.models import Approval, Conversation, GateCheck, Rollout
from tools.rollouts import acceptances, approvals, freezes, staleness, store
from tools.rollouts.acceptances import AcceptanceView
from tools.rollouts.backtesting import keeping
from tools.rollouts.checks import Watched
from tools.rollouts.freezes import FreezeView
from tools.rollouts.judging import Numbers
from tools.rollouts.phases import Phase
from tools.rollouts.scope import NOBODYS
from tools.rollouts.staleness import SpecView


@dataclass(frozen=True, slots=True)
class CheckView:
    """The newest look at the gate: its verdict and each guardrail's, and the newest sample's time by metric.

    `numbers` says what each metric's numbers are, by its name; `mixes` is what is said of what traffic is made of.
    """

    id: str
    at: datetime
    verdict: Verdict
    guardrails: tuple[tuple[Guardrail, Verdict, datetime | None], ...]
    numbers: Mapping[str, Numbers] = field(default_factory=dict)
    mixes: tuple[Watched, ...] = ()

    def numbers_of(self, guardrail: Guardrail) -> Numbers:
        """What its metric's numbers are; those of a rate where that was not kept."""
        return self.numbers.get(guardrail.metric, Numbers())


@dataclass(frozen=True, slots=True)
class ApprovalView:
    """A question people are being asked; `at` says when each of `by` approved, `escalated_at` when the backup was asked
    too. `served` is what the flag served when people were asked about a start."""

    id: str
    purpose: approvals.Purpose
    to_stage: int
    why: str
    requester: str
    by: tuple[str, ...]
    needed: int
    expires_at: datetime
    at: tuple[datetime, ...] = ()
    escalated_at: datetime | None = None
    served: Exposure | None = None


@dataclass(frozen=True, slots=True)
class AnswerView:
    """A person's answer to a question; it counts until `lapsed_at`."""

    answer: approvals.Vote
    reason: str | None
    at: datetime
    lapsed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PlaceView:
    """Where the rollout is talked about; `card_ts` is None until its card was posted."""

    conversation_id: str
    workspace: str
    channel: str
    thread_ts: str | None
    card_ts: str | None


@dataclass(frozen=True, slots=True)
class BacktestView:
    """What the plan's gates would have done, in a sentence, and when that was found."""

    at: datetime
    summary: str


@dataclass(frozen=True, slots=True)
class RolloutView:
    """A rollout of a workspace. `exposure` is what was last confirmed; `setting` is what is being set right now, and
    `error` why it has not worked yet. `found` is what the flag served when people were last asked about the start of
    one that never began, None where nobody was."""

    id: str
    flag: str
    environment: str
    phase: Phase
    plan: Plan
    plan_version: int
    stage: int | None
    stage_since: datetime | None
    limit_from: datetime | None
    exposure: Exposure | None
    known_good: Exposure | None
    setting: Exposure | None
    error: str | None
    check: CheckView | None
    approval: ApprovalView | None
    requester: str
    pause_reason: str | None
    pause_ends: str | None
    rollback_reason: str | None
    verify_until: datetime | None
    blind_since: datetime | None
    next_check: datetime | None
    created_at: datetime
    ended_at: datetime | None
    place: PlaceView | None
    backtest: BacktestView | None = None
    frozen: FreezeView | None = None
    acceptances: tuple[AcceptanceView, ...] = ()
    workspace: str = NOBODYS
    spec: SpecView | None = None
    found: Exposure | None = None

    @property
    def stage_in_force(self) -> Stage | None:
        """The stage whose exposure is set, None before the start."""
        return None if self.stage is None else self.plan.stages[self.stage]


@dataclass(frozen=True, slots=True)
class QuestionView:
    """A question about `plan` and what became of it. `status` is expired as soon as its time is over; `answers` are by
    person."""

    rollout: RolloutView
    plan: Plan
    approval: ApprovalView
    status: approvals.Status
    decided_at: datetime | None
    why: str | None
    answers: Mapping[str, AnswerView]


async def question_view(session: AsyncSession, approval: Approval, *, at: datetime) -> QuestionView:
    """The question as it is at this moment."""
    status = approvals.Status(approval.status)
    overdue = status is approvals.Status.PENDING and approval.expires_at <= at
    votes = await approvals.votes(session, approval)
    return QuestionView(
        rollout=await view(session, await store.load(session, approval.rollout_id, lock=False)),
        plan=await store.plan_asked_about(session, approval),
        approval=await _shown(session, approval),
        status=approvals.Status.EXPIRED if overdue else status,
        decided_at=approval.decided_at,
        why=approval.closed_why,
        answers={
            vote.person: AnswerView(approvals.Vote(vote.answer), vote.reason, vote.at, vote.lapsed_at) for vote in votes
        },
    )


async def view(session: AsyncSession, rollout: Rollout) -> RolloutView:
    """The rollout as it is in this transaction."""
    plan = await store.plan_of(session, rollout)
    intents = await store.open_intents(session, rollout.id)
    check = await store.last_check(session, rollout)
    intent = intents[0] if intents else None
    return RolloutView(
        id=rollout.id,
        flag=rollout.flag,
        environment=rollout.environment,
        phase=Phase(rollout.phase),
        plan=plan,
        plan_version=rollout.plan_version,
        stage=rollout.stage,
        stage_since=rollout.stage_since,
        limit_from=rollout.limit_from,
        exposure=_exposure(rollout.settled),
        known_good=_exposure(rollout.known_good),
        setting=_exposure(intent.target if intent else None),
        error=intent.error if intent else None,
        check=_check_view(check) if check is not None else None,
        approval=await _approval_view(session, rollout.id),
        requester=rollout.requester,
        pause_reason=rollout.pause_reason,
        pause_ends=rollout.pause_ends,
        rollback_reason=rollout.rollback_reason,
        verify_until=rollout.verify_until,
        blind_since=rollout.blind_since,
        next_check=rollout.due_at,
        created_at=rollout.created_at,
        ended_at=rollout.ended_at,
        place=await _place_view(session, rollout),
        backtest=await _backtest_view(session, plan),
        frozen=freezes.shown(rollout),
        acceptances=tuple(map(acceptances.view, await acceptances.standing(session, rollout.id))),
        workspace=rollout.workspace,
        spec=await staleness.view(session, rollout, plan),
        found=await _found(session, rollout),
    )


def _exposure(plain: dict[str, object] | None) -> Exposure | None:
    return None if plain is None else Exposure.model_validate(plain)


def _check_view(check: GateCheck) -> CheckView:
    # The check's own guardrails: the plan may have got others since.
    guardrails = [Guardrail.model_validate(item["guardrail"]) for item in check.inputs["guardrails"]]
    newest = [datetime.fromisoformat(answer["newest"]) if answer["newest"] else None for answer in check.answers]
    verdicts = [Verdict.from_json(plain) for plain in check.verdict["guardrails"]]
    return CheckView(
        id=check.id,
        at=check.at,
        verdict=Verdict.from_json(check.verdict["gate"]),
        guardrails=tuple(zip(guardrails, verdicts, newest[: len(guardrails)], strict=True)),
        numbers={
            item["guardrail"]["metric"]: Numbers.model_validate(item.get("numbers", {}))
            for item in check.inputs["guardrails"]
        },
        mixes=tuple(map(Watched.from_json, check.verdict.get("mixes", ()))),
    )


async def _found(session: AsyncSession, rollout: Rollout) -> Exposure | None:
    """What the flag served when people were last asked about a start that did not come yet."""
    if rollout.settled is not None:
        return None
    asked = select(Approval.served).where(Approval.rollout_id == rollout.id, Approval.served.is_not(None))
    return _exposure(await session.scalar(asked.order_by(Approval.created_at.desc()).limit(1)))


async def _approval_view(session: AsyncSession, rollout_id: str) -> ApprovalView | None:
    pending = await approvals.pending(session, rollout_id)
    return await _shown(session, pending[-1]) if pending else None


async def _shown(session: AsyncSession, approval: Approval) -> ApprovalView:
    tally = await approvals.count(session, approval)
    return ApprovalView(
        id=approval.id,
        purpose=approvals.Purpose(approval.purpose),
        to_stage=approval.to_stage,
        why=approval.why,
        requester=approval.requester,
        by=tally.by,
        needed=approval.needed,
        expires_at=approval.expires_at,
        at=tally.at,
        escalated_at=approval.escalated_at,
        served=_exposure(approval.served),
    )


async def _backtest_view(session: AsyncSession, plan: Plan) -> BacktestView | None:
    row = await keeping.newest(session, plan.sha256)
    return None if row is None else BacktestView(row.at, row.summary)


async def _place_view(session: AsyncSession, rollout: Rollout) -> PlaceView | None:
    if rollout.conversation_id is None:
        return None
    row = await session.get(Conversation, rollout.conversation_id)
    if row is None:
        return None
    return PlaceView(row.id, row.workspace, row.channel, row.thread_ts, row.card_ts)
