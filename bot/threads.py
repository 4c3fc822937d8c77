"""The threads that people and Sluice talk in, as rows: what was said, which run read it, and what was taken back.

A message is read by one run. It is unread until a run takes it, and unread again when that run is stopped because one
of its messages changed, or when the run's process has died.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select, union_all, update
from sqlalchemy.ext.asyncio import AsyncSession

from agent.model import WITHOUT_A_MODEL
from agent.moves import cleaned
from agent.orders import may_retract
from agent.recorder import RUNNING, UNBEGUN, wished_to_stop
from agent.redaction import redacted
from agent.turns import STOPPED, Ending, Said
from tools.clock import Clock
from tools.records.database import Database, insert_for
from tools.records.models import AgentRun, Conversation, Message, Rollout, ToolCall, new_id

SLUICE = "sluice"
MOST_HISTORY = 20
MOST_ATTEMPTS = 3
"""How often a message is read again after a process died over it."""
ANSWER_KEEPS = timedelta(hours=1)
"""How long after a run's end its answer is still worth showing, when Slack took none before."""
LEFT_FOR = timedelta(seconds=30)
"""A message that nobody has taken for so long was forgotten by a process that died before it could submit its job."""
LONGEST_RUN = timedelta(minutes=10)
"""A run that has not ended for so long is looked after: its process may be gone, or could not write down its end."""
LOOKED_AFTER = timedelta(days=1)
"""How long the messages of runs that came to nothing are looked after."""

CLOCKS_DIFFER = timedelta(minutes=5)
"""How far Slack's clock and ours may be apart."""

_CONVERSATIONS, _MESSAGES = Conversation.__table__, Message.__table__

INTERRUPTED = "the process ended while it ran"
GIVEN_UP = (
    f"I was interrupted {MOST_ATTEMPTS} times over this, so I gave it up. Say it again if you still want it. "
    f"{WITHOUT_A_MODEL}"
)
NOT_TAKEN = "refused"
"""In a run's output: why Slack will never take its answer."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A message of Slack's: at the top of `channel` where `thread` is its own `ts`."""

    workspace: str
    channel: str
    thread: str
    ts: str
    author: str
    text: str


@dataclass(frozen=True, slots=True)
class Found:
    """A conversation as a job finds it. `broken`: a process died in it; `undelivered`: Slack lacks an answer."""

    conversation: Conversation
    broken: bool
    undelivered: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """What a run reads: consecutive messages of one person, behind what was said before; the oldest first.

    `rollout` is the one whose thread this is, or else the one that was talked about last. `overtaken`: an order that
    was given after the first of these was read before them.
    """

    run_id: str
    person: str
    said: tuple[Said, ...]
    rollout: Rollout | None
    overtaken: bool = False


@dataclass(frozen=True, slots=True)
class Upset:
    """A conversation in which something changed. `run_id`: the run that must stop; `again`: there is more to read."""

    conversation_id: str
    run_id: str | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A run that ended without its answer in Slack; `ts` is the message that it began, if it did."""

    run_id: str
    person: str
    ending: Ending
    ts: str | None


class Threads:
    """Reads and writes the rows of conversations."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    # -- what people do ----------------------------------------------------------------------------------------------

    async def takes_part(self, workspace: str, channel: str, thread: str) -> bool:
        """Whether Sluice takes part in the thread: it was asked in it, or a card of its stands there."""
        async with self._database.read() as session:
            return await self._find(session, workspace, channel, thread) is not None

    async def about(self, workspace: str, channel: str, thread: str) -> Rollout | None:
        """The rollout that the thread is about, or that was talked about last in it."""
        async with self._database.read() as session:
            conversation_id = await self._find(session, workspace, channel, thread)
            if conversation_id is None:
                return None
            return await self._rollout_of(session, await session.get_one(Conversation, conversation_id))

    async def knows(self, workspace: str, channel: str, ts: str) -> bool:
        """Whether the message was written down."""
        async with self._database.read() as session:
            return await self._message(session, workspace, channel, ts) is not None

    async def hear(self, heard: Heard) -> str | None:
        """Write a message down, without what looks like a secret: no row, prompt or log is to have it.

        Its conversation's id; None for a message that is known already.
        """
        async with self._database.write() as session:
            conversation_id = await self._find(session, heard.workspace, heard.channel, heard.thread)
            if conversation_id is None:
                conversation_id = await self._begin(session, heard)
            row = {
                "id": new_id(),
                "conversation_id": conversation_id,
                "ts": heard.ts,
                "author": heard.author,
                "by_sluice": False,
                "is_order": False,
                "text": redacted(cleaned(heard.text)),
                "earlier": [],
                "said_at": moment_of(heard.ts),
            }
            statement = insert_for(session)(_MESSAGES).on_conflict_do_nothing().returning(_MESSAGES.c.id)
            return conversation_id if await session.scalar(statement, row) is not None else None

    async def change(self, workspace: str, channel: str, ts: str, text: str) -> Upset | None:
        """A message was edited. The run that reads it must stop, and what it read is unread again."""
        text = redacted(cleaned(text))
        async with self._database.write() as session:
            message = await self._held_message(session, workspace, channel, ts)
            if message is None or message.by_sluice or message.text == text:
                return None
            message.earlier = [*message.earlier, message.text]
            message.text = text
            upset = await self._upset(session, message, again=True)
            if message.run_id is None or upset.again:
                # What it was before is not what will be read.
                message.is_order = False
            return upset

    async def take_back(self, workspace: str, channel: str, ts: str) -> Upset | None:
        """A message was deleted. The run that reads it must stop; what else it read is unread again."""
        async with self._database.write() as session:
            message = await self._held_message(session, workspace, channel, ts)
            if message is None or message.by_sluice or message.deleted_at is not None:
                return None
            message.deleted_at = self._clock.now()
            return await self._upset(session, message, again=True)

    async def object_to(self, workspace: str, channel: str, ts: str, person: str) -> Upset | None:
        """Somebody put ❌ on a message: on their own, or on Sluice's, which is for everyone in the thread to stop."""
        async with self._database.write() as session:
            message = await self._held_message(session, workspace, channel, ts)
            if message is None or (not message.by_sluice and message.author != person):
                return None
            if message.run_id is None:
                message.deleted_at = self._clock.now()
                return None
            return await self._upset(session, message, again=False)

    async def stop(self, workspace: str, channel: str, thread: str, at: datetime) -> Upset | None:
        """Somebody asked at that moment that what goes on in the thread stops, which everyone in it may.

        None where nothing goes on. A run that reads what was said only later is not meant, and goes on.
        """
        async with self._database.write() as session:
            conversation_id = await self._find(session, workspace, channel, thread)
            if conversation_id is None:
                return None
            await _hold(session, conversation_id)
            message = await session.scalar(_being_read(conversation_id).order_by(Message.ts).limit(1).with_for_update())
            if message is None:
                return None
            meant = message.said_at <= at
            return await self._upset(session, message, again=False) if meant else Upset(conversation_id)

    async def make_way(self, conversation_id: str, ts: str, text: str) -> Upset | None:
        """Have the message read before all else, for its text is an order, and stop the run that it would wait for.

        What that run read is read again after the order, unless it has acted. None where no run goes on, or one that
        carries out an order itself, and where the message is not unread or not what it was.
        """
        async with self._database.write() as session:
            await _hold(session, conversation_id)
            order = (
                update(Message)
                .where(Message.conversation_id == conversation_id, Message.ts == ts, *_UNREAD)
                .where(Message.text == redacted(cleaned(text)))
            )
            if await session.scalar(order.values(is_order=True).returning(Message.id)) is None:
                return None
            query = _being_read(conversation_id).where(Message.is_order.is_(False))
            message = await session.scalar(query.limit(1).with_for_update())
            if message is None:
                return None
            return await self._upset(session, message, again=True, unless_acted=True)

    # -- what runs do ------------------------------------------------------------------------------------------------

    async def find(self, conversation_id: str) -> Found | None:
        """The conversation, and what has to be put right in it before anything else."""
        query = select(
            Conversation,
            or_(
                exists().where(AgentRun.conversation_id == conversation_id, AgentRun.outcome == RUNNING),
                exists().where(Message.conversation_id == conversation_id, _LEFT_BY_THE_DEAD),
            ),
            exists().where(*self._undelivered(conversation_id)),
        ).where(Conversation.id == conversation_id)
        async with self._database.read() as session:
            row = (await session.execute(query)).one_or_none()
        return None if row is None else Found(row[0], bool(row[1]), bool(row[2]))

    async def take(self, conversation: Conversation, run_id: str) -> Taken | None:
        """The oldest unread message, and what its author wrote before anybody else did; from now on the run's.

        An order comes before all else, and alone, unless its author has taken it back since.
        """
        async with self._database.write() as session:
            await _hold(session, conversation.id)
            query = select(Message).where(Message.conversation_id == conversation.id, *_UNREAD)
            unread = list((await session.scalars(query.order_by(*_ORDERS_FIRST).with_for_update())).all())
            if not unread:
                return None
            read = _read_together(unread)
            before = await self._said_before(session, conversation.id, MOST_HISTORY - len(read))
            # Where nothing was read before, no order was either.
            is_first = not before and len(read) < MOST_HISTORY
            overtaken = not is_first and bool(await session.scalar(_ordered_after(read[0])))
            for message in read:
                message.run_id = run_id
            said = (*before, *(_said(message, new=True) for message in read))
            rollout = await self._rollout_of(session, conversation)
            return Taken(run_id, read[0].author, said, rollout, overtaken=overtaken)

    async def recover(self, conversation_id: str) -> bool:
        """Close the runs that a dead process left; whether what they read is read again. Only while nobody else runs.

        What was read MOST_ATTEMPTS times, or was to be stopped, is not: its run gets an answer that says so.
        """
        again = False
        async with self._database.write() as session:
            await _hold(session, conversation_id)
            await session.execute(
                update(AgentRun)
                .where(AgentRun.conversation_id == conversation_id, AgentRun.outcome == RUNNING)
                .values(outcome=Ending.FAILED.value, error=INTERRUPTED, ended_at=self._clock.now())
            )
            query = select(Message).where(Message.conversation_id == conversation_id, _LEFT_BY_THE_DEAD)
            for message in (await session.scalars(query)).all():
                run = await self._dead_run(session, message)
                attempts = await self._attempts(session, conversation_id, message.said_at)
                if run.stop_requested_at is not None:
                    run.outcome, run.output = Ending.STOPPED.value, {"text": STOPPED}
                elif attempts < MOST_ATTEMPTS:
                    message.run_id, again = None, True
                else:
                    run.output = {"text": GIVEN_UP}
        return again

    async def is_awaited(self, run_id: str) -> bool:
        """Whether what the run read still stands, so that somebody waits for its answer."""
        query = select(Message.id).where(
            Message.run_id == run_id, Message.by_sluice.is_(False), Message.deleted_at.is_(None)
        )
        async with self._database.read() as session:
            return await session.scalar(query.limit(1)) is not None

    # -- what Sluice says --------------------------------------------------------------------------------------------

    async def says(self, conversation_id: str, run_id: str, ts: str, text: str, *, about: str | None = None) -> bool:
        """Sluice's message of that run, empty while it is only begun; whether there is more to read.

        `about` is the rollout that it is about: kept where the thread is no card's.
        """
        row = {
            "id": new_id(),
            "conversation_id": conversation_id,
            "run_id": run_id,
            "ts": ts,
            "author": SLUICE,
            "by_sluice": True,
            "text": text,
            "earlier": [],
            "said_at": self._clock.now(),
        }
        async with self._database.write() as session:
            inserted = insert_for(session)(_MESSAGES)
            anew = {name: inserted.excluded[name] for name in ("text", "run_id")}
            by_place = [_MESSAGES.c.conversation_id, _MESSAGES.c.ts]
            await session.execute(inserted.on_conflict_do_update(index_elements=by_place, set_=anew), row)
            if about is not None:
                await session.execute(
                    update(Conversation)
                    .where(Conversation.id == conversation_id, Conversation.card_ts.is_(None))
                    .values(about=about)
                )
            query = select(Message.id).where(Message.conversation_id == conversation_id, *_UNREAD)
            return await session.scalar(query.limit(1)) is not None

    async def unanswered(self, conversation_id: str) -> list[Unanswered]:
        """The runs that ended lately and whose answer Slack has not taken, the oldest first."""
        query = select(AgentRun).where(*self._undelivered(conversation_id)).order_by(AgentRun.started_at)
        async with self._database.read() as session:
            runs = (await session.scalars(query)).all()
            return [Unanswered(run.id, run.requester, Ending(run.outcome), await _begun(session, run)) for run in runs]

    async def give_up(self, run_id: str, reason: str) -> None:
        """Slack will never take the run's answer."""
        async with self._database.write() as session:
            run = await session.get_one(AgentRun, run_id)
            run.output = {**(run.output or {}), NOT_TAKEN: reason}

    async def left_message(self, conversation_id: str) -> str | None:
        """The timestamp of a message that a run which died had begun; the next run's answer takes its place."""
        async with self._database.read() as session:
            return await _left_message(session, conversation_id)

    async def left_alone(self) -> list[tuple[str, str]]:
        """Conversations with a message that no run took for too long, each with the oldest such message's timestamp.

        Also where the run that took it never began, or does not end.
        """
        async with self._database.read() as session:
            rows = await session.execute(_left_alone(self._clock.now()))
            return [(conversation, ts) for conversation, ts in rows]

    # -- steps -------------------------------------------------------------------------------------------------------

    async def _find(self, session: AsyncSession, workspace: str, channel: str, thread: str) -> str | None:
        """The conversation of a thread; one that was begun on the command line belongs to no workspace yet."""
        query = select(Conversation.id).where(
            *_within(workspace, channel), or_(Conversation.thread_ts == thread, Conversation.card_ts == thread)
        )
        return await session.scalar(query.order_by(Conversation.workspace.desc()).limit(1))

    def _undelivered(self, conversation_id: str) -> tuple[ColumnElement[bool], ...]:
        """Which runs ended lately without an answer in Slack, though somebody waits for it."""
        message = select(Message.id).where(Message.run_id == AgentRun.id)
        return (
            AgentRun.conversation_id == conversation_id,
            AgentRun.outcome != RUNNING,
            AgentRun.output.is_not(None),
            AgentRun.output[NOT_TAKEN].as_string().is_(None),
            AgentRun.ended_at > self._clock.now() - ANSWER_KEEPS,
            message.where(Message.by_sluice.is_(False), Message.deleted_at.is_(None)).exists(),
            ~message.where(Message.by_sluice.is_(True), Message.text != "").exists(),
        )

    async def _said_before(self, session: AsyncSession, conversation_id: str, most: int) -> list[Said]:
        query = select(Message).where(
            Message.conversation_id == conversation_id,
            Message.deleted_at.is_(None),
            Message.run_id.is_not(None),
            or_(Message.by_sluice.is_(False), Message.text != ""),
        )
        rows = (await session.scalars(query.order_by(Message.ts.desc()).limit(max(most, 0)))).all()
        return [_said(row, new=False) for row in reversed(rows)]

    async def _rollout_of(self, session: AsyncSession, conversation: Conversation) -> Rollout | None:
        query = select(Rollout).where(
            or_(Rollout.conversation_id == conversation.id, Rollout.id == (conversation.about or ""))
        )
        own_first = (Rollout.conversation_id == conversation.id).desc(), Rollout.created_at.desc()
        return await session.scalar(query.order_by(*own_first).limit(1))

    async def _begin(self, session: AsyncSession, heard: Heard) -> str:
        row = {
            "id": new_id(),
            "workspace": heard.workspace,
            "channel": heard.channel,
            "thread_ts": heard.thread,
            "created_at": self._clock.now(),
        }
        inserted = insert_for(session)(_CONVERSATIONS).on_conflict_do_nothing().returning(_CONVERSATIONS.c.id)
        if (begun := await session.scalar(inserted, row)) is not None:
            return str(begun)
        found = await self._find(session, heard.workspace, heard.channel, heard.thread)
        assert found is not None, "it was just written"
        return found

    async def _message(self, session: AsyncSession, workspace: str, channel: str, ts: str) -> Message | None:
        query = (
            select(Message)
            .join(Conversation, Conversation.id == Message.conversation_id)
            .where(*_within(workspace, channel), Message.ts == ts)
        )
        return await session.scalar(query.limit(1))

    async def _held_message(self, session: AsyncSession, workspace: str, channel: str, ts: str) -> Message | None:
        """The message, which no run takes meanwhile; a conversation's messages are changed one at a time."""
        conversation = (
            select(Conversation.id)
            .join(Message, Message.conversation_id == Conversation.id)
            .where(*_within(workspace, channel), Message.ts == ts)
        )
        held = await session.scalar(conversation.limit(1).with_for_update(of=Conversation, key_share=True))
        query = select(Message).where(Message.conversation_id == held, Message.ts == ts)
        return await session.scalar(query.with_for_update())

    async def _upset(
        self, session: AsyncSession, message: Message, *, again: bool, unless_acted: bool = False
    ) -> Upset:
        """Ask the run that reads (or writes) the message to stop, if it has not ended."""
        run_id = message.run_id
        if run_id is None:
            return Upset(message.conversation_id)
        outcome = await session.scalar(
            wished_to_stop(session, run_id, message.conversation_id, message.author, at=self._clock.now())
        )
        if outcome != RUNNING:
            return Upset(message.conversation_id)
        if unless_acted:
            # Only now: from here on the run writes no call down that has an effect.
            again = again and not await session.scalar(select(exists().where(ToolCall.run_id == run_id)))
        if again:
            await session.execute(
                update(Message)
                .where(Message.run_id == run_id, Message.by_sluice.is_(False), Message.deleted_at.is_(None))
                .values(run_id=None)
            )
        return Upset(message.conversation_id, run_id, again)

    async def _dead_run(self, session: AsyncSession, message: Message) -> AgentRun:
        """The run that took the message; one that never began is written down, so that it counts as an attempt."""
        assert message.run_id is not None
        run = await session.get(AgentRun, message.run_id)
        if run is None:
            now = self._clock.now()
            run = AgentRun(
                id=message.run_id,
                conversation_id=message.conversation_id,
                requester=message.author,
                outcome=Ending.FAILED.value,
                error=INTERRUPTED,
                started_at=now,
                ended_at=now,
                **UNBEGUN,
            )
            session.add(run)
        return run

    async def _attempts(self, session: AsyncSession, conversation_id: str, since: datetime) -> int:
        query: Select[Any] = select(func.count()).where(
            AgentRun.conversation_id == conversation_id,
            AgentRun.parent_run_id.is_(None),
            AgentRun.error == INTERRUPTED,
            AgentRun.started_at >= since - CLOCKS_DIFFER,
        )
        return int(await session.scalar(query) or 0)


_LIVES_OR_LIVED = or_(AgentRun.error.is_(None), AgentRun.error != INTERRUPTED, AgentRun.output.is_not(None))
"""Runs that no process's death ended, or that have an answer all the same."""

_LEFT_BY_THE_DEAD = and_(
    Message.run_id.is_not(None),
    Message.by_sluice.is_(False),
    ~exists().where(AgentRun.id == Message.run_id, _LIVES_OR_LIVED),
)
"""Messages of a run that never began, or that a process's death ended and that has no answer."""

_ORDERS_FIRST = Message.is_order.desc(), Message.ts

_UNREAD = and_(Message.run_id.is_(None), Message.by_sluice.is_(False)), Message.deleted_at.is_(None)


def _left_alone(now: datetime) -> Select[str, str]:
    """What `left_alone` reads: two queries, each with an index of its own, of which none reads the whole history."""
    said = select(Message.conversation_id, Message.ts).where(
        Message.by_sluice.is_(False), Message.deleted_at.is_(None), Message.said_at < now - LEFT_FOR
    )
    ends = or_(AgentRun.outcome != RUNNING, AgentRun.started_at >= now - LONGEST_RUN)
    taken_for_nothing = said.where(
        Message.said_at > now - LOOKED_AFTER,
        Message.run_id.is_not(None),
        ~exists().where(AgentRun.id == Message.run_id, _LIVES_OR_LIVED, ends),
    )
    left = union_all(said.where(Message.run_id.is_(None)), taken_for_nothing).subquery()
    return select(left.c.conversation_id, func.min(left.c.ts)).group_by(left.c.conversation_id)


def _read_together(unread: Sequence[Message]) -> Sequence[Message]:
    """Those of the unread messages, orders first, that the next run reads."""
    first = unread[0]
    if not first.is_order:
        others = (index for index, one in enumerate(unread) if one.author != first.author)
        return unread[: next(others, len(unread))]
    since = [one for one in unread[1:] if one.author == first.author and one.ts > first.ts]
    return sorted([first, *since], key=lambda one: one.ts) if any(may_retract(one.text) for one in since) else [first]


def _ordered_after(message: Message) -> Select[bool]:
    """Whether an order that was given after the message was read already."""
    return select(
        exists().where(
            Message.conversation_id == message.conversation_id,
            Message.is_order.is_(True),
            Message.run_id.is_not(None),
            Message.ts > message.ts,
        )
    )


def _being_read(conversation_id: str) -> Select[Message]:
    """The messages that still stand, of a run that goes on or has not begun."""
    run = exists().where(AgentRun.id == Message.run_id)
    return select(Message).where(
        Message.conversation_id == conversation_id,
        Message.run_id.is_not(None),
        Message.by_sluice.is_(False),
        Message.deleted_at.is_(None),
        or_(~run, run.where(AgentRun.outcome == RUNNING)),
    )


async def _hold(session: AsyncSession, conversation_id: str) -> None:
    """Let nobody else take or change the conversation's messages before the transaction ends."""
    if session.get_bind().dialect.name == "sqlite":
        # It has one writer at a time.
        return
    held = select(Conversation.id).where(Conversation.id == conversation_id)
    await session.scalar(held.with_for_update(key_share=True))


def _within(workspace: str, channel: str) -> tuple[ColumnElement[bool], ...]:
    """A workspace's conversations in a channel; one that was begun on the command line belongs to no workspace yet."""
    return Conversation.channel == channel, Conversation.workspace.in_((workspace, ""))


def moment_of(ts: str) -> datetime:
    """When a message was written, by its timestamp."""
    return datetime.fromtimestamp(float(ts), UTC)


async def _begun(session: AsyncSession, run: AgentRun) -> str | None:
    query = select(Message.ts).where(Message.run_id == run.id, Message.by_sluice.is_(True))
    begun = await session.scalar(query.order_by(Message.ts.desc()).limit(1))
    if begun is None and run.error == INTERRUPTED and run.conversation_id is not None:
        # It had taken over the message of an attempt before it.
        return await _left_message(session, run.conversation_id)
    return begun


async def _left_message(session: AsyncSession, conversation_id: str) -> str | None:
    query = (
        select(Message.ts)
        .join(AgentRun, AgentRun.id == Message.run_id)
        .where(
            Message.conversation_id == conversation_id,
            Message.by_sluice.is_(True),
            Message.text == "",
            AgentRun.error == INTERRUPTED,
        )
    )
    return await session.scalar(query.order_by(Message.ts.desc()).limit(1))


def _said(row: Message, *, new: bool) -> Said:
    return Said(author=row.author, text=row.text, at=row.said_at, by_sluice=row.by_sluice, new=new)
