"""Everything that is open at a glance: what is rolling out, what people are asked and who may answer, what was decided.

One look serves everybody who sees the same rollouts: groups are read once each, and what is long is counted, with only
the most pressing read in full.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from tools.people.base import People, PeopleUnavailable, UnknownGroup
from tools.plans import policy as policies
from tools.plans.policy import ApprovalRule, Policy
from tools.records import log
from tools.records.database import Database
from tools.records.log import Event
from tools.records.models import Approval, ApprovalVote, LogEvent, PlanVersion, Rollout
from tools.rollouts.approvals import Status
from tools.rollouts.events import Happening
from tools.rollouts.phases import LIVE, Phase
from tools.rollouts.scope import Scope
from tools.rollouts.views import RolloutView, view

PRESSING = (
    Phase.ROLLING_BACK,
    Phase.PAUSED,
    Phase.WAITING_PROMOTION,
    Phase.PROGRESSING,
    Phase.PROPOSED,
    Phase.DRAFT,
)
"""The phases of open rollouts, those that people should see first before the others."""
OF_CONSEQUENCE = frozenset(
    {
        Happening.ACCEPTANCE_GIVEN,
        Happening.APPROVAL_GRANTED,
        Happening.APPROVAL_REJECTED,
        Happening.CANCELLED,
        Happening.CHANGED_BY_HAND,
        Happening.EXPOSURE_LOWERED,
        Happening.FREEZE_LIFTED,
        Happening.FREEZE_MADE,
        Happening.KILLED,
        Happening.PAUSED,
        Happening.PROMOTED,
        Happening.RESUMED,
        Happening.ROLLBACK_STARTED,
        Happening.ROLLED_BACK,
        Happening.STARTED,
        Happening.SUCCEEDED,
    }
)
MOST_DECIDED = 8
LOOK_BACK = 2000
"""How far back in the log decisions are looked for: who has made none for so long reads of none."""
MOST_STUCK = 50
"""How many that stand still are read besides the most pressing."""
GROUP_NOT_READ = "glance.group_not_read"

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that is open, and the people who may answer it at this moment and have not."""

    approval_id: str
    rollout_id: str
    expires_at: datetime
    people: frozenset[str]


@dataclass(frozen=True, slots=True)
class Stuck:
    """A rollout that goes no further before a person does something, and the people who can: paused, blind, or with a
    plan whose spec is not what it was."""

    rollout: RolloutView
    people: frozenset[str]


@dataclass(frozen=True, slots=True)
class Glance:
    """How many rollouts are open, by phase; the most pressing of them; the questions, those that expire first before
    the others; the newest decisions, the newest first. `sure` is False when a group could not be read. `stuck` are
    those that stand still, of the others MOST_STUCK at most and none for its spec alone."""

    phases: Mapping[Phase, int]
    rollouts: tuple[RolloutView, ...]
    asked: tuple[Asked, ...]
    decided: tuple[Event, ...]
    sure: bool
    stuck: tuple[Stuck, ...] = ()

    def waiting_for(self, person: str) -> list[Asked]:
        """The questions that the person may answer."""
        return [one for one in self.asked if person in one.people]

    def stuck_for(self, person: str) -> list[RolloutView]:
        """The rollouts that the person can get going, but for those whose question they are asked."""
        asked = {one.rollout_id for one in self.waiting_for(person)}
        return [one.rollout for one in self.stuck if person in one.people and one.rollout.id not in asked]


async def glance(
    database: Database, policy: Policy, people: People, scope: Scope, *, at: datetime, most: int
) -> Glance:
    """What is open within the scope; `most` rollouts are read in full."""
    async with database.read() as session:
        open_ones = (await session.scalars(select(Rollout).where(Rollout.live_key.is_not(None), scope.rows()))).all()
        pressing = sorted(open_ones, key=lambda one: one.updated_at, reverse=True)
        pressing.sort(key=lambda one: PRESSING.index(Phase(one.phase)))
        shown = [await view(session, one) for one in pressing[:most]]
        still = [one for one in pressing[most:] if one.phase == Phase.PAUSED or one.blind_since is not None]
        beside = [await view(session, one) for one in still[:MOST_STUCK]]
        questions = await _questions(session, policy, scope, at)
        decided = await _decided(session, scope)
    held = [(one, _able(policy, one)) for one in (*shown, *beside) if is_stuck(one)]
    names = [*(one.names for one in questions), *(able for _, able in held)]
    members, sure = await _members(people, names, scope.home)
    asked = [one for some in names for one in policies.people_in(some, members)]
    outside = [one for one in dict.fromkeys(asked) if policies.must_be_member(policy, one)]
    members[policies.STRANGERS] = await people.strangers(outside, workspace=scope.home)
    return Glance(
        phases=Counter(Phase(one.phase) for one in open_ones),
        rollouts=tuple(shown),
        asked=tuple(one.asked(members) for one in questions),
        decided=tuple(decided),
        sure=sure,
        stuck=tuple(Stuck(one, frozenset(policies.people_in(able, members))) for one, able in held),
    )


def is_stuck(view: RolloutView) -> bool:
    """Whether it goes no further before a person does something that is no answer to a question."""
    stale = view.phase is Phase.PROPOSED and view.spec is not None and view.spec.stale
    return stale or view.phase is Phase.PAUSED or (view.blind_since is not None and view.phase in LIVE)


def _able(policy: Policy, view: RolloutView) -> tuple[str, ...]:
    """Who asked for it, and those who approve it."""
    rule = policies.rule_of(policy.of(view.workspace), view.plan)
    return (view.requester, *rule.approvers, *rule.backup)


async def has_taken_part(session: AsyncSession, person: str, scope: Scope) -> bool:
    """Whether the person ever asked for a rollout within the scope, or answered a question about one."""
    asked = await session.scalar(select(Rollout.id).where(Rollout.requester == person, scope.rows()).limit(1))
    if asked is not None:
        return True
    answers = select(ApprovalVote.person).join(Approval, Approval.id == ApprovalVote.approval_id)
    mine = answers.join(Rollout, Rollout.id == Approval.rollout_id).where(ApprovalVote.person == person, scope.rows())
    return await session.scalar(mine.limit(1)) is not None


@dataclass(frozen=True, slots=True)
class _Question:
    """An open question with the rule that says who may answer it, and who may not or has done so."""

    approval: Approval
    rule: ApprovalRule
    out: frozenset[str]

    @property
    def names(self) -> tuple[str, ...]:
        backup = self.rule.backup if self.approval.escalated_at is not None else ()
        return (*self.rule.approvers, *backup)

    def asked(self, members: policies.Members) -> Asked:
        people = frozenset(policies.people_in(self.names, members)) - self.out
        return Asked(self.approval.id, self.approval.rollout_id, self.approval.expires_at, people)


async def _questions(session: AsyncSession, policy: Policy, scope: Scope, at: datetime) -> list[_Question]:
    """Every open question, read together: there may be hundreds."""
    pending = (Approval.status == Status.PENDING, Approval.expires_at > at, scope.rows())
    asked = select(Approval, Rollout).join(Rollout, Rollout.id == Approval.rollout_id).where(*pending)
    rows = (await session.execute(asked.order_by(Approval.expires_at, Approval.id))).all()
    ids = select(Approval.rollout_id).join(Rollout, Rollout.id == Approval.rollout_id).where(*pending)
    authors, bodies = defaultdict[str, set[str]](set), dict[tuple[str, int], Mapping[str, object]]()
    plans = select(PlanVersion).where(PlanVersion.rollout_id.in_(ids))
    for plan in (await session.scalars(plans)).all():
        authors[plan.rollout_id].add(plan.author)
        bodies[plan.rollout_id, plan.version] = plan.body
    voted = defaultdict[str, set[str]](set)
    votes = select(ApprovalVote).join(Approval, Approval.id == ApprovalVote.approval_id)
    counted = votes.where(Approval.status == Status.PENDING, ApprovalVote.lapsed_at.is_(None))
    for vote in (await session.scalars(counted)).all():
        voted[vote.approval_id].add(vote.person)
    found = []
    for approval, rollout in rows:
        # The plan as it is stored: to read hundreds of them in full would keep everybody waiting.
        body = bodies.get((rollout.id, rollout.plan_version), {})
        tags = body.get("tags")
        rule = policies.rule_for(
            policy.of(rollout.workspace), rollout.environment, list(map(str, tags)) if isinstance(tags, list) else ()
        )
        out = {approval.requester, rollout.requester, str(body.get("spec_author") or "")}
        found.append(_Question(approval, rule, frozenset(out | authors[rollout.id] | voted[approval.id])))
    return found


async def _decided(session: AsyncSession, scope: Scope) -> list[Event]:
    newest, _ = await log.head(session)
    query = (
        select(LogEvent.seq)
        .outerjoin(Rollout, Rollout.id == LogEvent.rollout_id)
        .where(LogEvent.seq > newest - LOOK_BACK, LogEvent.kind.in_(OF_CONSEQUENCE))
        .where(or_(LogEvent.rollout_id.is_(None), scope.rows()))
        .order_by(LogEvent.seq.desc())
    )
    found = list[Event]()
    for event in await log.numbered(session, (await session.scalars(query.limit(100))).all()):
        whose = str(event.payload.get("workspace", ""))
        if event.rollout_id is not None or scope.sees(whose):
            found.append(event)
        if len(found) == MOST_DECIDED:
            break
    return found


async def _members(
    people: People, names: Sequence[Sequence[str]], workspace: str
) -> tuple[dict[str, frozenset[str]], bool]:
    """The members of the groups among the names, and whether all that there are could be read."""
    found, sure = dict[str, frozenset[str]](), True
    for group in filter(policies.is_group, dict.fromkeys(name for some in names for name in some)):
        try:
            found[group] = await people.members(group, workspace=workspace)
        except UnknownGroup as error:
            logger.warning(GROUP_NOT_READ, group=group, reason=str(error))
        except PeopleUnavailable as error:
            logger.warning(GROUP_NOT_READ, group=group, reason=str(error))
            sure = False
    return found, sure
