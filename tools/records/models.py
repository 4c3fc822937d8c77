"""The tables. Times are UTC; JSON columns hold plain values; what is hashed is stored as the text that was hashed."""

from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import uuid4

from sqlalchemy import JSON, DateTime, ForeignKey, Index, Integer, MetaData, String, Text, UniqueConstraint
from sqlalchemy import text as sql
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator


def new_id() -> str:
    """A random identifier that can't be guessed: 32 hex digits."""
    return uuid4().hex


class UtcDateTime(TypeDecorator[datetime]):
    """A timezone-aware moment, kept in UTC also where the database has no zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a time zone can't be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


NAMING = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Record(DeclarativeBase):
    """Base of every table."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar = {datetime: UtcDateTime, dict[str, Any]: JSON, list[Any]: JSON, str: String}


class Delivery(Record):
    """An inbound thing that was handled once; a second one with the same key is dropped."""

    __tablename__ = "deliveries"
    key: Mapped[str] = mapped_column(String(300), primary_key=True)
    kind: Mapped[str]
    received_at: Mapped[datetime]


class Conversation(Record):
    """A thread people and Sluice talk in; `card_ts` is the living card's message, which also starts the thread.

    `about` is the rollout that was talked about last in a thread that is no card's.
    """

    __tablename__ = "conversations"
    __table_args__ = (UniqueConstraint("workspace", "channel", "thread_ts"),)
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    workspace: Mapped[str] = mapped_column(default="")
    channel: Mapped[str]
    thread_ts: Mapped[str | None]
    card_ts: Mapped[str | None]
    about: Mapped[str | None]
    created_at: Mapped[datetime]


class Message(Record):
    """A message of a conversation, as it was said last; `earlier` has the texts it had before edits.

    `run_id` is the run that read it, or that wrote it; None while no run has. `deleted_at`: its author took it back.
    `is_order`: it plainly orders to lower or hold exposure, so that it is read before anything else, and alone.
    """

    __tablename__ = "messages"
    __table_args__ = (
        UniqueConstraint("conversation_id", "ts"),
        # For what is looked for once a minute, over everything that was ever said.
        Index(
            "ix_messages_of_people",
            "said_at",
            sqlite_where=sql("by_sluice IS 0 AND deleted_at IS NULL"),
            postgresql_where=sql("by_sluice IS false AND deleted_at IS NULL"),
        ),
    )
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id"), index=True)
    run_id: Mapped[str | None] = mapped_column(index=True)
    ts: Mapped[str]
    author: Mapped[str]
    by_sluice: Mapped[bool] = mapped_column(default=False)
    is_order: Mapped[bool] = mapped_column(default=False)
    text: Mapped[str] = mapped_column(Text)
    earlier: Mapped[list[Any]] = mapped_column(default=list)
    said_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class AgentRun(Record):
    """One run of the agent: what it was given, by which model and prompt, and what came of it.

    `inputs` is everything but the model's and the tools' answers, so that the run can be played again. `outcome` is
    `running` until it ended. `stop_requested_at`: somebody wants it to stop; it does at its next step.
    `parent_run_id` is the run that asked for this one. What it took is the sum over its model calls.
    """

    __tablename__ = "agent_runs"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    conversation_id: Mapped[str | None] = mapped_column(ForeignKey("conversations.id"), index=True)
    parent_run_id: Mapped[str | None] = mapped_column(ForeignKey("agent_runs.id"), index=True)
    kind: Mapped[str]
    requester: Mapped[str]
    model: Mapped[str]
    model_parameters: Mapped[dict[str, Any]]
    prompt_version: Mapped[str]
    inputs: Mapped[dict[str, Any]]
    output: Mapped[dict[str, Any] | None]
    outcome: Mapped[str]
    error: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[datetime]
    stop_requested_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class ModelCall(Record):
    """A request to the model and what it answered, exactly; `error` instead of a response when none came."""

    __tablename__ = "model_calls"
    __table_args__ = (UniqueConstraint("run_id", "position"),)
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    run_id: Mapped[str] = mapped_column(ForeignKey("agent_runs.id"), index=True)
    position: Mapped[int]
    model: Mapped[str]
    parameters: Mapped[dict[str, Any]]
    prompt_version: Mapped[str]
    request: Mapped[list[Any]]
    response: Mapped[dict[str, Any] | None]
    error: Mapped[str | None] = mapped_column(Text)
    input_tokens: Mapped[int] = mapped_column(default=0)
    output_tokens: Mapped[int] = mapped_column(default=0)
    cost_usd: Mapped[float] = mapped_column(default=0.0)
    latency_s: Mapped[float]
    started_at: Mapped[datetime]


class ToolCall(Record):
    """A tool that a run called, with its arguments and result."""

    __tablename__ = "tool_calls"
    __table_args__ = (UniqueConstraint("run_id", "position"),)
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    run_id: Mapped[str] = mapped_column(ForeignKey("agent_runs.id"), index=True)
    position: Mapped[int]
    tool: Mapped[str]
    arguments: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any]]
    failed: Mapped[bool] = mapped_column(default=False)
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime]


class Feedback(Record):
    """What a person thought of a run: `rating` 1 or -1, with a reason if they gave one. The last word counts."""

    __tablename__ = "feedback"
    run_id: Mapped[str] = mapped_column(ForeignKey("agent_runs.id"), primary_key=True)
    person: Mapped[str] = mapped_column(primary_key=True)
    rating: Mapped[int]
    reason: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime]


class Confirmation(Record):
    """Something that lowers exposure, understood from a person's words but not named by them: one button away.

    Claimed once: its status leaves `open` by compare-and-set. Only `person` may confirm it.
    """

    __tablename__ = "confirmations"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    run_id: Mapped[str | None] = mapped_column(ForeignKey("agent_runs.id"), index=True)
    action: Mapped[str]
    rollout_id: Mapped[str | None] = mapped_column(ForeignKey("rollouts.id"))
    flag: Mapped[str]
    environment: Mapped[str]
    workspace: Mapped[str] = mapped_column(default="")
    arguments: Mapped[dict[str, Any]]
    person: Mapped[str]
    status: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    decided_at: Mapped[datetime | None]


class SpecSnapshot(Record):
    """A spec exactly as it was read; `operations` are an OpenAPI's, each with its hash, by route."""

    __tablename__ = "spec_snapshots"
    __table_args__ = (UniqueConstraint("source", "sha256"),)
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    flag: Mapped[str] = mapped_column(index=True)
    source: Mapped[str] = mapped_column(String(1000))
    sha256: Mapped[str] = mapped_column(String(64))
    content: Mapped[str] = mapped_column(Text)
    operations: Mapped[dict[str, Any]] = mapped_column(default=dict)
    read_at: Mapped[datetime]


class SpecWatch(Record):
    """What was found of the spec behind a rollout's plan in force when it was looked at last.

    `found_sha256` is the hash of the spec as it was then, None where there was none that can be used: `problem` says
    why. `unread_since`: its source can't be read since then, and nobody knows. `told` is what the thread heard of last,
    `since` when that was found. `stands_despite` is what somebody said the plan stands despite, for the plan that was
    made from `stands_for`.
    """

    __tablename__ = "spec_watches"
    rollout_id: Mapped[str] = mapped_column(ForeignKey("rollouts.id"), primary_key=True)
    source: Mapped[str] = mapped_column(String(1000))
    found_sha256: Mapped[str | None] = mapped_column(String(64))
    problem: Mapped[str | None] = mapped_column(Text)
    since: Mapped[datetime | None]
    read_at: Mapped[datetime | None]
    unread_since: Mapped[datetime | None]
    unread_why: Mapped[str | None] = mapped_column(Text)
    told: Mapped[str | None] = mapped_column(String(100))
    stands_despite: Mapped[str | None] = mapped_column(String(100))
    stands_for: Mapped[str | None] = mapped_column(String(64))
    stands_by: Mapped[str | None]
    stands_at: Mapped[datetime | None]
    due_at: Mapped[datetime] = mapped_column(index=True)


class Rollout(Record):
    """A rollout. `version` guards every change; `epoch` rises with each rollback and voids what is older.

    `stage` is the index of the stage in force, None before the start; `stage_since` is when its exposure was
    confirmed, None until then; `exposed_since` is when treatment first ran in the present mode (burn-in counts from
    it); `limit_from` is the moment from which its time limit counts. `settled` is the
    exposure last confirmed by a read-back, which a hand-made change is measured against. `evidence` is what the
    gates carry from check to check. `harm_accepted` has, by metric, how much harm a person saw and resumed despite.
    `frozen` is the freeze that kept it where it is at the last look, None when none did.
    `due_at` is when the controller looks next; `checks_deleted_at` is when, long after its end, the checks that no
    decision rested on were deleted.
    """

    __tablename__ = "rollouts"
    __table_args__ = (Index("ix_rollouts_due", "phase", "due_at"),)
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    # Whose it is: no other workspace sees or changes it. Empty where it was asked for on the command line.
    workspace: Mapped[str] = mapped_column(default="", index=True)
    flag: Mapped[str] = mapped_column(index=True)
    environment: Mapped[str]
    # One live rollout a flag and environment: the key while live, None afterwards.
    live_key: Mapped[str | None] = mapped_column(String(500), unique=True)
    phase: Mapped[str]
    version: Mapped[int] = mapped_column()
    epoch: Mapped[int] = mapped_column(default=0)
    plan_version: Mapped[int] = mapped_column(default=0)
    stage: Mapped[int | None]
    stage_since: Mapped[datetime | None]
    exposed_since: Mapped[datetime | None]
    limit_from: Mapped[datetime | None]
    known_good: Mapped[dict[str, Any] | None]
    settled: Mapped[dict[str, Any] | None]
    evidence: Mapped[dict[str, Any]] = mapped_column(default=dict)
    harm_accepted: Mapped[dict[str, Any]] = mapped_column(default=dict)
    frozen: Mapped[dict[str, Any] | None]
    blind_since: Mapped[datetime | None]
    blind_paged: Mapped[bool] = mapped_column(default=False)
    pause_reason: Mapped[str | None] = mapped_column(Text)
    pause_ends: Mapped[str | None] = mapped_column(Text)
    paused_at: Mapped[datetime | None]
    rollback_reason: Mapped[str | None] = mapped_column(Text)
    rollback_since: Mapped[datetime | None]
    verify_until: Mapped[datetime | None]
    last_check_id: Mapped[str | None]
    requester: Mapped[str]
    conversation_id: Mapped[str | None] = mapped_column(ForeignKey("conversations.id"))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    due_at: Mapped[datetime | None]
    checks_deleted_at: Mapped[datetime | None]
    # SQLAlchemy raises the version with every update and refuses one that was read before another's.
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class PlanVersion(Record):
    """A version of a rollout's plan; a version never changes."""

    __tablename__ = "plans"
    __table_args__ = (UniqueConstraint("rollout_id", "version"),)
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    rollout_id: Mapped[str] = mapped_column(ForeignKey("rollouts.id"), index=True)
    version: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    body: Mapped[dict[str, Any]]
    author: Mapped[str]
    reason: Mapped[str] = mapped_column(Text)
    spec_snapshot_id: Mapped[str | None] = mapped_column(ForeignKey("spec_snapshots.id"))
    created_at: Mapped[datetime]


class Backtest(Record):
    """What a plan's gates would have done over recorded history; `summary` is its line for the plan's card."""

    __tablename__ = "backtests"
    __table_args__ = (Index("ix_backtests_plan_at", "plan_sha256", "at"),)
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    plan_sha256: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]
    code_version: Mapped[str]
    span_seconds: Mapped[float]
    replays: Mapped[int]
    summary: Mapped[str] = mapped_column(Text)
    report: Mapped[dict[str, Any]]


class GateCheck(Record):
    """One look at a gate, with everything needed to compute its verdict again."""

    __tablename__ = "gate_checks"
    __table_args__ = (Index("ix_gate_checks_rollout_at", "rollout_id", "at"),)
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    rollout_id: Mapped[str] = mapped_column(ForeignKey("rollouts.id"))
    epoch: Mapped[int]
    stage: Mapped[int]
    plan_sha256: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]
    code_version: Mapped[str]
    inputs: Mapped[dict[str, Any]]
    queries: Mapped[list[Any]]
    answers: Mapped[list[Any]]
    evidence: Mapped[dict[str, Any]]
    verdict: Mapped[dict[str, Any]]
    outcome: Mapped[str]


class Approval(Record):
    """A question to people. Claimed once: its status leaves `pending` by compare-and-set.

    `purpose` is start or promote; `snapshot` is the verdict that people were shown, `served` the exposure that the flag
    had when they were asked about a start. People are reminded at `remind_at` and the backup is asked too at
    `escalate_at` (None: there is none), each once. `closed_why` says why a void one is void.
    """

    __tablename__ = "approvals"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    rollout_id: Mapped[str] = mapped_column(ForeignKey("rollouts.id"), index=True)
    purpose: Mapped[str]
    plan_sha256: Mapped[str] = mapped_column(String(64))
    epoch: Mapped[int]
    to_stage: Mapped[int]
    needed: Mapped[int]
    why: Mapped[str] = mapped_column(Text)
    snapshot: Mapped[dict[str, Any] | None]
    requester: Mapped[str]
    status: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    decided_at: Mapped[datetime | None]
    served: Mapped[dict[str, Any] | None]
    remind_at: Mapped[datetime | None]
    reminded_at: Mapped[datetime | None]
    escalate_at: Mapped[datetime | None]
    escalated_at: Mapped[datetime | None]
    closed_why: Mapped[str | None] = mapped_column(Text)


class ApprovalVote(Record):
    """One person's answer to an approval; from `lapsed_at` on it does not count: they may not approve it any more."""

    __tablename__ = "approval_votes"
    approval_id: Mapped[str] = mapped_column(ForeignKey("approvals.id"), primary_key=True)
    person: Mapped[str] = mapped_column(primary_key=True)
    answer: Mapped[str]
    reason: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime]
    lapsed_at: Mapped[datetime | None]


class ApprovalCall(Record):
    """A person who was asked by direct message to decide; `channel` and `ts` say which message, once it was posted."""

    __tablename__ = "approval_calls"
    approval_id: Mapped[str] = mapped_column(ForeignKey("approvals.id"), primary_key=True)
    person: Mapped[str] = mapped_column(primary_key=True)
    called_at: Mapped[datetime]
    channel: Mapped[str | None]
    ts: Mapped[str | None]


class ApprovalPost(Record):
    """A message in a channel that asks people to decide: its `text`, which calls nobody, and the `line` that asks."""

    __tablename__ = "approval_posts"
    approval_id: Mapped[str] = mapped_column(ForeignKey("approvals.id"), primary_key=True)
    channel: Mapped[str] = mapped_column(primary_key=True)
    ts: Mapped[str] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(Text)
    line: Mapped[str] = mapped_column(Text)


class Freeze(Record):
    """A time in which nothing starts and nothing goes further in an environment, made by a person.

    `flag` and `tag` limit what it is meant for; `until` None means until somebody lifts it. Whoever made or lifted it
    is a Slack user id, or an account of the command line. `workspace` is where it was made, empty for nowhere.
    """

    __tablename__ = "freezes"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    workspace: Mapped[str]
    environment: Mapped[str] = mapped_column(index=True)
    flag: Mapped[str | None]
    tag: Mapped[str | None]
    start: Mapped[datetime]
    until: Mapped[datetime | None]
    reason: Mapped[str] = mapped_column(Text)
    made_by: Mapped[str]
    made_at: Mapped[datetime]
    lifted_by: Mapped[str | None]
    lifted_at: Mapped[datetime | None]


class Acceptance(Record):
    """What a gate finds of one metric, accepted by an approver until a moment; `ended_at` is set once it ended earlier.

    It is about the margin and the direction that the metric was guarded with, and about nothing else. `ended_by` is who
    withdrew it, Sluice for one that ran out or that a newer plan made void; `ended_why` says which.
    """

    __tablename__ = "acceptances"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    rollout_id: Mapped[str] = mapped_column(ForeignKey("rollouts.id"), index=True)
    metric: Mapped[str]
    margin: Mapped[float]
    direction: Mapped[str]
    until: Mapped[datetime]
    reason: Mapped[str] = mapped_column(Text)
    made_by: Mapped[str]
    made_at: Mapped[datetime]
    ended_by: Mapped[str | None]
    ended_at: Mapped[datetime | None]
    ended_why: Mapped[str | None]


class Intent(Record):
    """An exposure that is to be set, written down before it is set.

    `rollout_id` is None for a kill without a rollout; `attempts` counts tries; `paged`: people were told that it
    does not work; `undone_since`: what was read back is known to be served no longer.
    """

    __tablename__ = "intents"
    __table_args__ = (Index("ix_intents_open", "status", "due_at"),)
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    rollout_id: Mapped[str | None] = mapped_column(ForeignKey("rollouts.id"), index=True)
    workspace: Mapped[str] = mapped_column(default="")
    flag: Mapped[str]
    environment: Mapped[str]
    epoch: Mapped[int]
    purpose: Mapped[str]
    target: Mapped[dict[str, Any]]
    status: Mapped[str]
    attempts: Mapped[int] = mapped_column(default=0)
    requester: Mapped[str] = mapped_column(default="sluice")
    paged: Mapped[bool] = mapped_column(default=False)
    error: Mapped[str | None] = mapped_column(Text)
    read_back: Mapped[dict[str, Any] | None]
    undone_since: Mapped[datetime | None]
    created_at: Mapped[datetime]
    due_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class LogEvent(Record):
    """An event of the decision log: append-only, each with the hash of the one before."""

    __tablename__ = "decision_log"
    seq: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    at: Mapped[str]
    kind: Mapped[str]
    actor: Mapped[str]
    rollout_id: Mapped[str | None] = mapped_column(index=True)
    payload: Mapped[str] = mapped_column(Text)
    previous: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(String(64))


class LogHead(Record):
    """The newest event's number and hash: one row, locked by whoever appends."""

    __tablename__ = "decision_log_head"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    seq: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))


class OutboxMessage(Record):
    """Something to tell people, written in the transaction of what it tells.

    `lane` keeps order: messages of one lane are delivered one after the other. `replaces` names what the message
    renders: while one is open a newer one only raises its `generation`. A `minor` one tells of nothing that happened.
    """

    __tablename__ = "outbox"
    __table_args__ = (Index("ix_outbox_open", "status", "due_at"),)
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    lane: Mapped[str] = mapped_column(index=True)
    kind: Mapped[str]
    rollout_id: Mapped[str | None] = mapped_column(ForeignKey("rollouts.id"), index=True)
    payload: Mapped[dict[str, Any]]
    replaces: Mapped[str | None] = mapped_column(index=True)
    generation: Mapped[int] = mapped_column(default=0)
    urgent: Mapped[bool] = mapped_column(default=False)
    minor: Mapped[bool] = mapped_column(default=False)
    status: Mapped[str]
    attempts: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    due_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class CardPicture(Record):
    """A picture of how a rollout's gate went, uploaded to Slack for its card; `shows` says which state it shows.

    Slack needs a moment to take a picture in, so cards try it from `try_at` on, and it has been `tries` times too soon.
    From `shown_at` on it is on the card; from `retired_at` on it is on none, and is to be deleted.
    """

    __tablename__ = "card_pictures"
    file_id: Mapped[str] = mapped_column(primary_key=True)
    rollout_id: Mapped[str] = mapped_column(ForeignKey("rollouts.id"), index=True)
    shows: Mapped[str]
    says: Mapped[str] = mapped_column(Text)
    uploaded_at: Mapped[datetime]
    try_at: Mapped[datetime]
    tries: Mapped[int] = mapped_column(default=0)
    shown_at: Mapped[datetime | None]
    retired_at: Mapped[datetime | None]


class Preference(Record):
    """What a person is told by direct message: approvals that wait for them, and how much of their own rollouts.

    In quiet hours, from `quiet_start` to `quiet_end` (`HH:MM`, None: there are none) by the clocks of `zone`, what can
    wait does; `quiet_days` are those on which they begin, Monday being 0.
    """

    __tablename__ = "preferences"
    workspace: Mapped[str] = mapped_column(primary_key=True)
    person: Mapped[str] = mapped_column(primary_key=True)
    approvals: Mapped[bool]
    own: Mapped[str]
    quiet_start: Mapped[str | None] = mapped_column(String(5))
    quiet_end: Mapped[str | None] = mapped_column(String(5))
    quiet_days: Mapped[list[Any]]
    zone: Mapped[str]
    updated_at: Mapped[datetime]


class HomeTab(Record):
    """A person's Home tab: when they looked last, when it was published last, and the digest of what it showed."""

    __tablename__ = "home_tabs"
    workspace: Mapped[str] = mapped_column(primary_key=True)
    person: Mapped[str] = mapped_column(primary_key=True)
    opened_at: Mapped[datetime] = mapped_column(index=True)
    published_at: Mapped[datetime]
    shown: Mapped[str] = mapped_column(String(64))


class LogCursor(Record):
    """Up to which event of the decision log a reader of it has come."""

    __tablename__ = "log_cursors"
    name: Mapped[str] = mapped_column(primary_key=True)
    seq: Mapped[int]


class Lease(Record):
    """Who works on something, and until when it is theirs."""

    __tablename__ = "leases"
    name: Mapped[str] = mapped_column(String(300), primary_key=True)
    owner: Mapped[str]
    until: Mapped[datetime]


class Job(Record):
    """Work that was submitted; jobs with one key run one at a time in the order of `id`."""

    __tablename__ = "jobs"
    __table_args__ = (Index("ix_jobs_open", "status", "due_at"),)
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    kind: Mapped[str]
    key: Mapped[str] = mapped_column(index=True)
    dedupe: Mapped[str | None] = mapped_column(String(300), unique=True)
    payload: Mapped[dict[str, Any]]
    status: Mapped[str]
    attempts: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    due_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class Flag(Record):
    """A flag of the embedded flag service, in one environment."""

    __tablename__ = "flags"
    environment: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    control: Mapped[str]
    treatment: Mapped[str]
    description: Mapped[str] = mapped_column(Text, default="")
    salt: Mapped[str]
    exposure: Mapped[dict[str, Any]]
    version: Mapped[int]
    updated_at: Mapped[datetime]


class SlackInstallation(Record):
    """The app in a workspace, by whom it was installed: the columns that slack_sdk's installation store writes.

    Tokens and addresses that let one in are encrypted; times are UTC without a zone, as the store has them.
    """

    __tablename__ = "slack_installations"
    __table_args__ = (
        Index("slack_installations_idx", "client_id", "enterprise_id", "team_id", "user_id", "installed_at"),
    )
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    client_id: Mapped[str]
    app_id: Mapped[str]
    enterprise_id: Mapped[str | None]
    enterprise_name: Mapped[str | None]
    enterprise_url: Mapped[str | None]
    team_id: Mapped[str | None]
    team_name: Mapped[str | None]
    bot_token: Mapped[str | None] = mapped_column(Text)
    bot_id: Mapped[str | None]
    bot_user_id: Mapped[str | None]
    bot_scopes: Mapped[str | None] = mapped_column(Text)
    bot_refresh_token: Mapped[str | None] = mapped_column(Text)
    bot_token_expires_at: Mapped[datetime | None] = mapped_column(DateTime)
    user_id: Mapped[str]
    user_token: Mapped[str | None] = mapped_column(Text)
    user_scopes: Mapped[str | None] = mapped_column(Text)
    user_refresh_token: Mapped[str | None] = mapped_column(Text)
    user_token_expires_at: Mapped[datetime | None] = mapped_column(DateTime)
    incoming_webhook_url: Mapped[str | None] = mapped_column(Text)
    incoming_webhook_channel: Mapped[str | None]
    incoming_webhook_channel_id: Mapped[str | None]
    incoming_webhook_configuration_url: Mapped[str | None] = mapped_column(Text)
    is_enterprise_install: Mapped[bool] = mapped_column(default=False)
    token_type: Mapped[str | None]
    installed_at: Mapped[datetime] = mapped_column(DateTime)


class SlackBot(Record):
    """The bot of an installation, which stays the workspace's whoever of its people installed the app."""

    __tablename__ = "slack_bots"
    __table_args__ = (Index("slack_bots_idx", "client_id", "enterprise_id", "team_id", "installed_at"),)
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    client_id: Mapped[str]
    app_id: Mapped[str]
    enterprise_id: Mapped[str | None]
    enterprise_name: Mapped[str | None]
    team_id: Mapped[str | None] = mapped_column(index=True)
    team_name: Mapped[str | None]
    bot_token: Mapped[str | None] = mapped_column(Text)
    bot_id: Mapped[str | None]
    bot_user_id: Mapped[str | None]
    bot_scopes: Mapped[str | None] = mapped_column(Text)
    bot_refresh_token: Mapped[str | None] = mapped_column(Text)
    bot_token_expires_at: Mapped[datetime | None] = mapped_column(DateTime)
    is_enterprise_install: Mapped[bool] = mapped_column(default=False)
    installed_at: Mapped[datetime] = mapped_column(DateTime)


class SlackOAuthState(Record):
    """An installation that somebody has begun; used once, before `expire_at`."""

    __tablename__ = "slack_oauth_states"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    state: Mapped[str]
    expire_at: Mapped[datetime] = mapped_column(DateTime)
