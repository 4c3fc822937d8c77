"""Rollouts in the database: loading them under lock, moving them through their phases, writing intents."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.exc import StaleDataError

from tools.errors import Conflict, NotFound, Unavailable
from tools.plans.model import Exposure, Plan
from tools.records.database import Database, is_busy
from tools.records.models import Approval, GateCheck, Intent, PlanVersion, Rollout
from tools.rollouts.phases import OPEN, Phase, check_transition
from tools.rollouts.scope import EVERYWHERE, Scope, taken

Result = TypeVar("Result")
ATTEMPTS = 5


class RolloutNotFound(NotFound):
    """There is no such rollout."""


class StaleRollout(Conflict):
    """Someone changed the rollout meanwhile."""


class DatabaseBusy(Unavailable):
    """Somebody else held what was to be written for longer than anyone waits."""


class IntentStatus(StrEnum):
    OPEN = "open"
    DONE = "done"
    VOID = "void"


class Purpose(StrEnum):
    """Why an exposure is set. The first three may raise it, the others never do."""

    START = "start"
    PROMOTE = "promote"
    RESUME = "resume"
    ROLL_BACK = "roll_back"
    KILL = "kill"
    LOWER = "lower"


RAISING = frozenset({Purpose.START, Purpose.PROMOTE, Purpose.RESUME})


async def transact(database: Database, act: Callable[[AsyncSession], Awaitable[Result]]) -> Result:
    """Run `act` in a write transaction, again from the start when somebody else was faster, or slow to let go.

    Raises StaleRollout, DatabaseBusy.
    """
    hindrance: Exception | None = None
    for _ in range(ATTEMPTS):
        try:
            async with database.write() as session:
                return await act(session)
        except (StaleDataError, IntegrityError) as error:
            hindrance = error
        except OperationalError as error:
            if not is_busy(error):
                raise
            hindrance = error
    if isinstance(hindrance, OperationalError):
        raise DatabaseBusy("Someone else holds this for very long. Try again in a moment.") from hindrance
    raise StaleRollout("Someone else changed this at the same moment. Look at the card and try again.") from hindrance


async def load(session: AsyncSession, rollout_id: str, *, lock: bool = True, scope: Scope = EVERYWHERE) -> Rollout:
    """The rollout, locked until the transaction ends. Raises RolloutNotFound."""
    query = select(Rollout).where(Rollout.id == rollout_id, scope.rows()).execution_options(populate_existing=True)
    rollout = await session.scalar(query.with_for_update() if lock else query)
    if rollout is None:
        raise RolloutNotFound("That rollout does not exist any more; `/rollout list` shows those that do.")
    return rollout


async def find(session: AsyncSession, flag: str, environment: str, *, scope: Scope = EVERYWHERE) -> Rollout | None:
    """The flag's open rollout, or else its newest."""
    query = select(Rollout).where(Rollout.flag == flag, Rollout.environment == environment, scope.rows())
    live = await session.scalar(query.where(Rollout.live_key.is_not(None)))
    return live or await session.scalar(query.order_by(Rollout.created_at.desc(), Rollout.id).limit(1))


async def find_free(session: AsyncSession, flag: str, environment: str, *, scope: Scope) -> Rollout | None:
    """As `find`. Raises TakenElsewhere while another workspace's rollout of the flag is open."""
    open_ones = Rollout.flag == flag, Rollout.environment == environment, Rollout.live_key.is_not(None)
    owner = await session.scalar(select(Rollout.workspace).where(*open_ones))
    if owner is not None and not scope.sees(owner):
        raise taken(flag, environment)
    return await find(session, flag, environment, scope=scope)


async def plan_version(session: AsyncSession, rollout: Rollout) -> PlanVersion:
    """The plan in force, as it is recorded."""
    row = await session.scalar(
        select(PlanVersion).where(PlanVersion.rollout_id == rollout.id, PlanVersion.version == rollout.plan_version)
    )
    if row is None:
        raise RolloutNotFound(f"The plan of the rollout of {rollout.flag} is missing; run `sluice audit verify`.")
    return row


async def plan_of(session: AsyncSession, rollout: Rollout) -> Plan:
    """The plan in force."""
    return Plan.model_validate((await plan_version(session, rollout)).body)


async def plan_asked_about(session: AsyncSession, approval: Approval) -> Plan:
    """The plan that people were asked about, which need not be in force any more."""
    same = select(PlanVersion).where(
        PlanVersion.rollout_id == approval.rollout_id, PlanVersion.sha256 == approval.plan_sha256
    )
    version = (await session.scalars(same.order_by(PlanVersion.version.desc()).limit(1))).one()
    return Plan.model_validate(version.body)


async def askers(session: AsyncSession, rollout: Rollout) -> frozenset[str]:
    """Everybody who asked for the rollout or wrote a version of its plan: none of them approves it."""
    authors = await session.scalars(select(PlanVersion.author).where(PlanVersion.rollout_id == rollout.id))
    return frozenset({rollout.requester, *authors.all()})


async def last_check(session: AsyncSession, rollout: Rollout) -> GateCheck | None:
    """The newest look at the gate."""
    return None if rollout.last_check_id is None else await session.get(GateCheck, rollout.last_check_id)


def move(rollout: Rollout, following: Phase, *, at: datetime, **values: Any) -> None:
    """Put the rollout into its next phase. Raises IllegalTransition."""
    check_transition(Phase(rollout.phase), following)
    rollout.phase = following
    change(rollout, at=at, **values)
    if following not in OPEN:
        rollout.live_key = None
        rollout.ended_at = at
        rollout.due_at = None


def change(rollout: Rollout, *, at: datetime, **values: Any) -> None:
    """Set columns of the rollout."""
    for name, value in values.items():
        setattr(rollout, name, value)
    rollout.updated_at = at


def intend(session: AsyncSession, rollout: Rollout, target: Exposure, purpose: Purpose, *, at: datetime) -> None:
    """Write down that `target` is to be set, in the caller's transaction."""
    session.add(
        Intent(
            rollout_id=rollout.id,
            flag=rollout.flag,
            environment=rollout.environment,
            epoch=rollout.epoch,
            purpose=purpose,
            target=target.model_dump(mode="json"),
            status=IntentStatus.OPEN,
            created_at=at,
            due_at=at,
        )
    )


async def open_intents(session: AsyncSession, rollout_id: str) -> Sequence[Intent]:
    """What is still to be set, oldest first."""
    query = select(Intent).where(Intent.rollout_id == rollout_id, Intent.status == IntentStatus.OPEN)
    return (await session.scalars(query.order_by(Intent.created_at))).all()


async def is_lowering(session: AsyncSession, rollout_id: str) -> bool:
    """Whether a lower exposure was ordered that is not confirmed yet, or that a late write may still undo."""
    return any(intent.purpose == Purpose.LOWER for intent in await open_intents(session, rollout_id))


async def end_kill_watches(session: AsyncSession, flag: str, environment: str, *, at: datetime) -> None:
    """A flag that was killed without a rollout is watched for late writes no more, where the kill was read back."""
    kills = select(Intent).where(
        Intent.rollout_id.is_(None),
        Intent.flag == flag,
        Intent.environment == environment,
        Intent.status == IntentStatus.OPEN,
    )
    for intent in await session.scalars(kills):
        if intent.read_back is not None:
            intent.status = IntentStatus.DONE
            intent.ended_at = at


async def void_intents(session: AsyncSession, rollout_id: str, *, at: datetime) -> None:
    """Nothing that was still to be set shall be set any more."""
    await session.execute(
        update(Intent)
        .where(Intent.rollout_id == rollout_id, Intent.status == IntentStatus.OPEN)
        .values(status=IntentStatus.VOID, ended_at=at)
    )
