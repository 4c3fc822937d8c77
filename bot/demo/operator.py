"""The people of the headless demo: Mira asks, Jonas decides, both with slash commands and buttons only.

What they promise to see is checked against the decision log, the flag service and the shop's own rows.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field

from bot import texts
from bot.demo.journal import Journal
from bot.demo.processes import ChildFailed
from bot.demo.slack import Button, Post
from bot.demo.transcript import Transcript
from bot.demo.world import BREAK, CONTROL, FLAG, TREATMENT, DemoWorld
from tools.errors import Conflict
from tools.records.log import Event
from tools.rollouts.events import Happening

CHANNEL, ALERTS = "releases", "alerts"
REQUESTER, APPROVER = "mira", "jonas"
PROMOTIONS = 2
BASELINE_S = 10.5
HEALTHY_S = 1.5
SERVED_CHECK_S = 1.5
CUSTOMERS_ASKED = 400
ASKED_AT_ONCE = 8
LOOK_EVERY_S = 0.2

PLAN_WITHIN_S, START_WITHIN_S, STAGE_WITHIN_S, ROLLBACK_WITHIN_S, ALERT_WITHIN_S = 15.0, 15.0, 45.0, 20.0, 10.0


class PromiseBroken(Conflict):
    """Something that the demo promises did not happen; the message says what."""


@dataclass
class Outcome:
    """What was measured. `stages` are the exposures that were served, in percent; `promoted_to` the highest of them.

    `breach_to_readback_s` is from the gate check that found the breach to the read-back that confirmed 0 %.
    """

    outcome: str = "failed"
    stages: list[float] = field(default_factory=list)
    promoted_to: float | None = None
    rolled_back: bool = False
    breach_to_readback_s: float | None = None
    approvals: int = 0
    shop_requests: int = 0
    slack_calls: int = 0
    audit_events: int = 0
    audit_ok: bool = False

    def to_json(self) -> dict[str, object]:
        """As plain values, in this order."""
        return asdict(self)


class Operator:
    """Plays the story in a world that has been started."""

    def __init__(self, world: DemoWorld, journal: Journal, transcript: Transcript) -> None:
        self._world = world
        self._journal = journal
        self._transcript = transcript
        self._answered = set[int]()
        self.outcome = Outcome()

    async def play(self) -> None:
        """The story from plan to rollback. Raises PromiseBroken, or what keeps the world from working."""
        try:
            await self._plan()
            await self._start()
            await self._climb()
            await self._break()
            await self._come_down()
            self.outcome.outcome = "rolled_back"
        finally:
            await self._count()

    async def verify_audit(self) -> None:
        """Have `sluice audit` verify and export the decision log. Raises PromiseBroken when it is not whole."""
        try:
            said, exported = await asyncio.gather(
                self._world.run_sluice("audit", "verify"), self._world.run_sluice("audit", "export")
            )
        except ChildFailed as error:
            raise PromiseBroken(f"The decision log is not whole: {error}") from error
        self.outcome.audit_events = len(exported.splitlines())
        self.outcome.audit_ok = True
        self._transcript.say(f"sluice audit verify: {' '.join(said.split())}")

    async def _plan(self) -> None:
        self._transcript.say(f"{BASELINE_S:g} s of traffic, so that there is a past to plan from")
        await asyncio.sleep(BASELINE_S)
        await self._type("plan", FLAG)
        await self._until(Happening.PLAN_PROPOSED, PLAN_WITHIN_S, "The plan was not proposed")

    async def _start(self) -> None:
        await self._until(Happening.EXPOSURE_CONFIRMED, START_WITHIN_S, "The rollout did not start")

    async def _climb(self) -> None:
        for number in range(1, PROMOTIONS + 1):
            otherwise = f"Stage {number} was not proven safe and promoted"
            await self._until(Happening.PROMOTED, STAGE_WITHIN_S, otherwise, times=number)
            confirmed = number + 1
            await self._until(Happening.EXPOSURE_CONFIRMED, STAGE_WITHIN_S, otherwise, times=confirmed)
        await self._look_for(HEALTHY_S)
        if not await self._treated():
            raise PromiseBroken("After two promotions nobody gets the new checkout.")

    async def _break(self) -> None:
        self._transcript.say(f"the switch “{BREAK}” is pressed: 60 % of the new checkout's payments fail from now on")
        await self._world.slack.press(BREAK)

    async def _come_down(self) -> None:
        started = await self._until(Happening.ROLLBACK_STARTED, ROLLBACK_WITHIN_S, "The broken checkout was not found")
        ended = await self._until(Happening.ROLLED_BACK, ROLLBACK_WITHIN_S, "The rollback was not confirmed")
        self.outcome.rolled_back = True
        await self._measure_rollback(started, ended)
        await self._alerted(str(started.payload.get("reason")))
        await self._nobody_treated(ended)

    async def _measure_rollback(self, started: Event, ended: Event) -> None:
        check_id = str(started.payload.get("check"))
        checked_at = await self._journal.check_time(check_id)
        if checked_at is None:
            raise PromiseBroken("The rollback names no gate check that found the breach.")
        self.outcome.breach_to_readback_s = round((ended.at - checked_at).total_seconds(), 3)

    async def _alerted(self, reason: str) -> None:
        """Whoever asked must have been told in the channel, not only in the thread, with the metric that broke."""
        metric = reason.partition(":")[0]

        async def told() -> bool:
            return any(
                post.is_broadcast and REQUESTER in post.text and metric in post.text for post in await self._look()
            )

        await self._within(ALERT_WITHIN_S, told, "No alert about the rollback came")

    async def _nobody_treated(self, ended: Event) -> None:
        if treated := await self._treated():
            raise PromiseBroken(f"{treated} of {CUSTOMERS_ASKED} customers still get {TREATMENT} after the rollback.")
        self._transcript.say(f"the flag service answers {CONTROL} to all of {CUSTOMERS_ASKED} customers: 0 %")
        await self._look_for(SERVED_CHECK_S)
        before, after = self._served_since(ended)
        if after:
            raise PromiseBroken(f"The shop served {TREATMENT} {after} times after the rollback was read back.")
        self._transcript.say(f"the shop's last request on {TREATMENT} began before the read-back ({before} in all)")

    def _served_since(self, ended: Event) -> tuple[int, int]:
        """How many requests the shop served on treatment that began before and after that moment."""
        began = "at - latency_ms / 1000.0"
        query = f"SELECT SUM({began} <= ?), SUM({began} > ?) FROM checkout_requests WHERE variant = ? AND NOT shadow"  # noqa: S608 - the text is fixed
        moment = ended.at.timestamp()
        with closing(sqlite3.connect(f"file:{self._world.telemetry}?mode=ro", uri=True)) as database:
            before, after = database.execute(query, (moment, moment, TREATMENT)).fetchone()
        return before or 0, after or 0

    async def _treated(self) -> int:
        """How many of CUSTOMERS_ASKED customers the flag service gives treatment."""
        gate = asyncio.Semaphore(ASKED_AT_ONCE)

        async def one(number: int) -> bool:
            async with gate:
                return await self._world.evaluate(f"asked-{number}") == TREATMENT

        return sum(await asyncio.gather(*map(one, range(CUSTOMERS_ASKED))))

    async def _count(self) -> None:
        """The figures that are known however the story went."""
        await self._journal.refresh()
        confirmed = self._journal.of(Happening.EXPOSURE_CONFIRMED)
        self.outcome.stages = [_percent(event) for event in confirmed]
        self.outcome.promoted_to = max(self.outcome.stages, default=None)
        self.outcome.approvals = len(self._journal.of(Happening.APPROVAL_GRANTED))
        self.outcome.slack_calls = await self._world.slack.calls()
        if self._world.shop.running:
            self.outcome.shop_requests = int((await self._world.shop_health())["requests"])

    # -- what people do

    async def _type(self, *words: str) -> None:
        self._transcript.say(f"{REQUESTER} in #{CHANNEL}: /rollout {' '.join(words)}")
        await self._world.slack.command(REQUESTER, CHANNEL, "/rollout", " ".join(words))

    async def _press(self, person: str, label: str, within_s: float) -> None:
        found: list[tuple[Post, Button]] = []

        async def there() -> bool:
            found[:] = [
                (post, button) for post in await self._look() if post.is_card and (button := post.button(label))
            ]
            return bool(found)

        await self._within(within_s, there, f"The card has no button “{label}”")
        await self._click(person, *found[-1])

    async def _click(self, person: str, post: Post, button: Button) -> None:
        self._transcript.say(f"{person} presses [{button.label}]")
        await self._world.slack.click(person, post, button)

    async def _answer(self, event: Event) -> None:
        """Do what people do about an event that waits for them, once."""
        label = {Happening.APPROVAL_REQUESTED.value: texts.APPROVE, Happening.PAUSED.value: texts.RESUME}.get(
            event.kind
        )
        if label is not None and event.seq not in self._answered:
            self._answered.add(event.seq)
            await self._press(APPROVER, label, START_WITHIN_S)

    # -- what people see

    async def _until(self, kind: Happening, within_s: float, otherwise: str, *, times: int = 1) -> Event:
        """The event of that kind, the `times`-th, answering what is asked of people meanwhile."""

        async def happened() -> bool:
            await self._look()
            for event in await self._journal.refresh():
                await self._react(event, kind)
            return len(self._journal.of(kind)) >= times

        await self._within(within_s, happened, otherwise)
        return self._journal.of(kind)[times - 1]

    async def _react(self, event: Event, awaited: Happening) -> None:
        rolling_back = event.kind == Happening.ROLLBACK_STARTED
        if rolling_back and awaited not in (Happening.ROLLBACK_STARTED, Happening.ROLLED_BACK):
            raise PromiseBroken(f"A healthy checkout was rolled back: {event.payload.get('reason')}")
        if awaited not in (Happening.ROLLBACK_STARTED, Happening.ROLLED_BACK):
            await self._answer(event)

    async def _look_for(self, seconds: float) -> None:
        for _ in range(max(1, round(seconds / LOOK_EVERY_S))):
            await self._look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look(self) -> list[Post]:
        """Read the channels and tell what is new."""
        posts = [*await self._posts(CHANNEL), *await self._posts(ALERTS)]
        self._transcript.show(posts)
        return posts

    async def _posts(self, channel: str) -> list[Post]:
        return await self._world.slack.posts(channel)

    async def _within(self, seconds: float, holds: Callable[[], Awaitable[bool]], otherwise: str) -> None:
        world, loop = self._world, asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not await holds():
            for child in (world.sluice, world.shop, world.load):
                child.check()
            if loop.time() > deadline:
                raise PromiseBroken(f"{otherwise} within {seconds:g} s.")
            await asyncio.sleep(LOOK_EVERY_S)


def _percent(event: Event) -> float:
    return float(str(event.payload["exposure"]).partition(" ")[0])
