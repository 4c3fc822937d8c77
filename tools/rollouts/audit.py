"""Whether the records are what was written: the log's chain, every plan's hash, every check's verdict and evidence.

The log's own hashes show what was edited, deleted, swapped or cut off. The rows it speaks of are held against it: a
plan against the hash that was logged, a check against the digest of every action that rested on it. A check that led
to nothing is held by its neighbours, because each carries on the evidence of the one before it. Once a rollout's quiet
checks were deleted, an event holds each of those that were kept.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tools.canonical import canonical_json
from tools.errors import SluiceError
from tools.gates import Outcome
from tools.plans.model import Guardrail, Plan
from tools.records import log
from tools.records.database import Database
from tools.records.models import GateCheck, PlanVersion, Rollout
from tools.rollouts import assessing, checks
from tools.rollouts.events import Happening
from tools.rollouts.store import RolloutNotFound

PAGE = 200
UNREADABLE = (ValidationError, SluiceError, ValueError, TypeError, KeyError, AttributeError, IndexError)
"""What reading a mangled row may raise."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it was written: where, and how it shows."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True, slots=True)
class Report:
    """What was looked at, the log's newest event as (number, hash), and everything that is wrong."""

    events: int
    plans: int
    checks: int
    head: tuple[int, str]
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class Replayed:
    """A stored check and its verdict computed afresh; `again` None when the row can't be judged any more."""

    check_id: str
    at: datetime
    stage: int
    stored: Outcome
    again: Outcome | None
    same: bool
    why: str


@dataclass
class _Logged:
    """What the log says of other rows, and in which event: plans by (rollout, version), checks by id.

    `thinned` are the rollouts whose quiet checks were deleted.
    """

    events: int = 0
    plans: dict[tuple[str, int], tuple[int, str]] = field(default_factory=dict)
    checks: dict[str, list[tuple[int, str | None]]] = field(default_factory=dict)
    thinned: set[str] = field(default_factory=set)


async def verify(database: Database, *, expected_head: tuple[int, str] | None = None) -> Report:
    """Look at everything, in one snapshot; `expected_head` is an event's (number, hash) that was kept elsewhere."""
    async with database.snapshot() as session:
        faults = [
            Fault(f"event {fault.seq}", fault.what) for fault in await log.verify(session, expected_head=expected_head)
        ]
        logged = _Logged()
        faults += [fault async for fault in _read_log(session, logged)]
        plans = dict[tuple[str, str], Plan | None]()
        faults += [fault async for fault in _verify_plans(session, logged, plans)]
        count, seen = 0, set[str]()
        async for check, found in _verify_checks(session, logged, plans):
            faults += found
            if check is not None:
                count += 1
                seen.add(check)
        faults += _missing_checks(logged, seen)
        return Report(logged.events, len(plans), count, await log.head(session), tuple(faults))


async def replay(database: Database, rollout_id: str) -> AsyncIterator[Replayed]:
    """Every check of the rollout, oldest first, judged again from its row alone. Raises RolloutNotFound."""
    async with database.snapshot() as session:
        if await session.get(Rollout, rollout_id) is None:
            raise RolloutNotFound(f"There is no rollout {rollout_id!r}.")
        async for check in _checks_of(session, rollout_id):
            yield _replayed(check)


async def _read_log(session: AsyncSession, logged: _Logged) -> AsyncIterator[Fault]:
    try:
        async for event in log.read(session):
            logged.events += 1
            # The chain has shown an event whose payload was edited into something else.
            with suppress(*UNREADABLE):
                _note(event, logged)
    except UNREADABLE:
        yield Fault(f"event {logged.events + 1}", "can't be read, so that what follows was not held against its rows")


def _note(event: log.Event, logged: _Logged) -> None:
    facts, rollout_id = event.payload, event.rollout_id
    if rollout_id is not None and event.kind in (Happening.PLAN_PROPOSED, Happening.PLAN_REVISED):
        logged.plans[rollout_id, facts["version"]] = event.seq, facts["plan_sha256"]
    if facts.get("check") is not None:
        logged.checks.setdefault(facts["check"], []).append((event.seq, facts.get("check_sha256")))
    if rollout_id is not None and event.kind == Happening.CHECKS_DELETED:
        logged.thinned.add(rollout_id)
        for check, sha256 in facts["kept"].items():
            logged.checks.setdefault(check, []).append((event.seq, sha256))


async def _verify_plans(
    session: AsyncSession, logged: _Logged, plans: dict[tuple[str, str], Plan | None]
) -> AsyncIterator[Fault]:
    """Faults of the plans; `plans` is filled by (rollout, hash), with None for one that can't be read."""
    stored = set[tuple[str, int]]()
    query = select(PlanVersion).order_by(PlanVersion.rollout_id, PlanVersion.version)
    async for row in await session.stream_scalars(query.execution_options(yield_per=PAGE)):
        stored.add((row.rollout_id, row.version))
        plans[row.rollout_id, row.sha256] = _plan(row)
        for what in _plan_faults(row, plans[row.rollout_id, row.sha256], logged):
            yield Fault(f"plan {row.version} of rollout {row.rollout_id}", what)
    for rollout_id, version in sorted(logged.plans.keys() - stored):
        seq = logged.plans[rollout_id, version][0]
        yield Fault(f"plan {version} of rollout {rollout_id}", f"missing: event {seq} speaks of it")


def _plan(row: PlanVersion) -> Plan | None:
    try:
        return Plan.model_validate(row.body)
    except UNREADABLE:
        return None


def _plan_faults(row: PlanVersion, plan: Plan | None, logged: _Logged) -> Iterator[str]:
    if plan is None:
        yield "its content is no plan: it was edited"
    elif plan.sha256 != row.sha256:
        yield "its content does not match its hash: it was edited"
    event = logged.plans.get((row.rollout_id, row.version))
    if event is None:
        yield "no event speaks of it: it was not written by Sluice"
    elif event[1] != row.sha256:
        yield f"its hash is not the one of event {event[0]}: it was replaced"


async def _verify_checks(
    session: AsyncSession, logged: _Logged, plans: Mapping[tuple[str, str], Plan | None]
) -> AsyncIterator[tuple[str | None, list[Fault]]]:
    """Each check's id with its faults; at a rollout's end None with those of what it carries now."""
    for rollout_id in (await session.scalars(select(Rollout.id).order_by(Rollout.created_at, Rollout.id))).all():
        carried = dict[str, Any]()
        async for check in _checks_of(session, rollout_id):
            where = f"check {check.id} of rollout {rollout_id}"
            found = [*_check_faults(check, plans.get((rollout_id, check.plan_sha256)))]
            if rollout_id not in logged.thinned:
                found += _neighbour_faults(check, carried)
            found += _against_log(check, logged.checks.get(check.id, []))
            yield check.id, [Fault(where, what) for what in found]
            carried |= check.evidence
        yield None, [] if rollout_id in logged.thinned else await _end_faults(session, rollout_id, carried)


def _check_faults(check: GateCheck, plan: Plan | None) -> Iterator[str]:
    try:
        inputs = checks.Inputs.model_validate(check.inputs)
        again = assessing.judge_again(check)
    except UNREADABLE:
        yield f"it can't be judged again{_other_version(check)}"
        return
    yield from _columns(check, inputs)
    if not _same(again.verdict_json(), check.verdict):
        yield f"its verdict is {again.verdict.outcome}, not what is stored{_other_version(check)}"
    elif not _same(again.evidence, check.evidence):
        yield f"its evidence is not what its answers give{_other_version(check)}"
    if plan is None:
        yield "the plan that it names is not one of the rollout's"
    elif [item.guardrail for item in inputs.guardrails] != _guardrails(plan, inputs.stage):
        yield "it was not judged by the plan's guardrails"
    elif [item.expected for item in inputs.mixes] != [one for one in plan.expected if one.mix]:
        yield "the mix of traffic was not held against the plan's"


def _neighbour_faults(check: GateCheck, carried: Mapping[str, Any]) -> Iterator[str]:
    with suppress(*UNREADABLE):
        inputs = checks.Inputs.model_validate(check.inputs)
        asked = [(item.key, item.carried) for item in inputs.guardrails]
        asked += [(item.key, item.carried) for item in inputs.mixes]
        for key, own in asked:
            if not _same(own, carried.get(key)):
                yield f"it does not carry on the evidence on {key} from the check before it: one was changed"


def _columns(check: GateCheck, inputs: checks.Inputs) -> Iterator[str]:
    """The row's other columns repeat what is in its inputs and verdict."""
    repeated = (
        ("time", check.at, inputs.at),
        ("stage", check.stage, inputs.stage),
        ("outcome", check.outcome, check.verdict["gate"]["outcome"]),
        ("queries", check.queries, [answer["query"] for answer in check.answers]),
    )
    for name, one, other in repeated:
        if one != other:
            yield f"its {name} is not the one it was judged with: it was edited"


def _guardrails(plan: Plan, stage: int) -> list[Guardrail]:
    return [rail.bare for rail in plan.stages[stage].guardrails] if 0 <= stage < len(plan.stages) else []


def _other_version(check: GateCheck) -> str:
    if check.code_version == checks.CODE_VERSION:
        return ": it was edited"
    return f": it was edited, or release {check.code_version} judged otherwise than {checks.CODE_VERSION}"


def _against_log(check: GateCheck, events: Iterable[tuple[int, str | None]]) -> Iterator[str]:
    logged = [(seq, digest) for seq, digest in events if digest is not None]
    if not logged:
        return
    own = _digest(check)
    for seq, digest in logged:
        if digest != own:
            yield f"it is not the check that event {seq} acted on: it was edited"


def _digest(check: GateCheck) -> str | None:
    try:
        return checks.digest(check)
    except UNREADABLE:
        return None


async def _end_faults(session: AsyncSession, rollout_id: str, carried: Mapping[str, Any]) -> list[Fault]:
    rollout = await session.get(Rollout, rollout_id)
    if rollout is None or _same(rollout.evidence, carried):
        return []
    return [
        Fault(f"rollout {rollout_id}", "its evidence is not the last check's: a check was deleted, or it was edited")
    ]


def _missing_checks(logged: _Logged, seen: set[str]) -> Iterator[Fault]:
    for check_id in logged.checks.keys() - seen:
        yield Fault(f"check {check_id}", f"missing: event {logged.checks[check_id][0][0]} acted on it")


async def _checks_of(session: AsyncSession, rollout_id: str) -> AsyncIterator[GateCheck]:
    """In the order in which they were made; of several in one moment, by how far what they carry reaches."""
    query = select(GateCheck).where(GateCheck.rollout_id == rollout_id).order_by(GateCheck.at, GateCheck.id)
    together = list[GateCheck]()
    async for check in await session.stream_scalars(query.execution_options(yield_per=PAGE)):
        if together and together[0].at != check.at:
            for earlier in sorted(together, key=_reach):
                yield earlier
            together = []
        together.append(check)
    for last in sorted(together, key=_reach):
        yield last


def _reach(check: GateCheck) -> str:
    try:
        return max((item["carried"]["until"] for item in check.inputs["guardrails"] if item["carried"]), default="")
    except UNREADABLE:
        return ""


def _replayed(check: GateCheck) -> Replayed:
    stored = Outcome(check.outcome)
    try:
        again = assessing.judge_again(check)
    except UNREADABLE:
        return Replayed(check.id, check.at, check.stage, stored, None, False, "The row can't be judged any more.")
    same = _same(again.verdict_json(), check.verdict)
    return Replayed(check.id, check.at, check.stage, stored, again.verdict.outcome, same, again.verdict.why)


def _same(one: Any, other: Any) -> bool:
    try:
        return canonical_json(one) == canonical_json(other)
    except (TypeError, ValueError):
        return False
