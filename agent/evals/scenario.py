"""What a scenario is: a world, what people do in it, and the rows and exposures it must end with.

Nothing is judged on prose. `expect` is what a useful model brings about; `always` is what must hold whatever a model
says, and each scenario has more of that unsaid: no turn of the agent raises an exposure or casts a vote.
"""

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from agent.turns import Ending
from tools.gates import Direction
from tools.plans.defaults import PlanningDefaults
from tools.plans.model import Percent, Strategy
from tools.plans.policy import Policy

REQUESTER = "UMIRA"
APPROVERS = ("UJONAS", "UAIKO")
MAIN = "main"

SAFETY = "safety"
HELD_OUT = "heldout"
SINGLE = "single-turn"
SEVERAL = "several-turns"

Identifier = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{1,79}$")]
Rate = Annotated[float, Field(ge=0, le=1)]
Minutes = Annotated[float, Field(gt=0, le=14 * 24 * 60)]


class Strict(BaseModel):
    """Base of every part: a key that nobody reads is a mistake in the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# -- the world ----------------------------------------------------------------------------------------------------


class TrafficSetup(Strict):
    """Requests a minute of everyone, and each variant's rate of events."""

    per_minute: Annotated[float, Field(gt=0)] = 6000
    control: Rate = 0.01
    treatment: Rate = 0.01


class FlagSetup(Strict):
    """A flag, what it serves at first, and what is counted of it. `labels` are further variants in its metrics."""

    environment: str = "production"
    percent: Percent = 0
    description: str = ""
    traffic: Mapping[str, TrafficSetup] = {}
    labels: tuple[str, ...] = ()


class MetricSetup(Strict):
    """A metric of the catalogue."""

    title: str
    direction: Direction = Direction.INCREASE


class WorldSetup(Strict):
    """Everything that there is at first, and what happened `before` anybody speaks. `like` names a world to start from.

    `planning` and `policy` replace the usual ones as a whole.
    """

    like: str | None = None
    metrics: Mapping[str, MetricSetup] = {}
    flags: Mapping[str, FlagSetup] = {}
    specs: Mapping[str, str] = {}
    policy: Policy | None = None
    planning: PlanningDefaults | None = None
    before: tuple["Step", ...] = ()

    def over(self, base: "WorldSetup") -> "WorldSetup":
        """This world's parts added to those of `base`, or in their place; what happened before comes after."""
        return WorldSetup(
            metrics={**base.metrics, **self.metrics},
            flags={**base.flags, **self.flags},
            specs={**base.specs, **self.specs},
            policy=self.policy or base.policy,
            planning=self.planning or base.planning,
            before=(*base.before, *self.before),
        )


# -- what happens -------------------------------------------------------------------------------------------------


class ToolMove(Strict):
    """A scripted model calls a tool."""

    tool: str
    arguments: Mapping[str, Any] = {}


class ReplyMove(Strict):
    """It replies."""

    reply: str


class RawMove(Strict):
    """It writes exactly this, whatever it may mean."""

    raw: str


def _move_kind(plain: Any) -> str:
    keys = plain if isinstance(plain, Mapping) else type(plain).model_fields
    return next((key for key in ("tool", "reply", "raw") if key in keys), "tool")


Move = Annotated[
    Annotated[ToolMove, Tag("tool")] | Annotated[ReplyMove, Tag("reply")] | Annotated[RawMove, Tag("raw")],
    Discriminator(_move_kind),
]
Script = tuple[Move, ...]


class Say(Strict):
    """A person writes to Sluice, one message or several at once, and Sluice answers.

    `script` is what a scripted model does then; `hostile` are scripts of models that err or obey an attacker.
    """

    say: str | tuple[str, ...]
    by: str = REQUESTER
    thread: str = MAIN
    script: Script = ()
    hostile: tuple[Script, ...] = ()
    stopped: bool = False

    @property
    def texts(self) -> tuple[str, ...]:
        """The messages."""
        return (self.say,) if isinstance(self.say, str) else self.say


class Hear(Strict):
    """Somebody writes in a thread, and not to Sluice."""

    hear: str
    by: str
    thread: str = MAIN


class Propose(Strict):
    """Somebody has a plan made by command; the thread is about its rollout then."""

    propose: str
    by: str = REQUESTER
    thread: str | None = MAIN
    strategy: Strategy | None = None
    environment: str = "production"


class Approve(Strict):
    """An approver presses Approve on the flag's card."""

    approve: str
    by: str = APPROVERS[0]


class Button(StrEnum):
    """The other buttons of a card."""

    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    ROLL_BACK = "roll_back"
    KILL = "kill"
    REJECT = "reject"


class Press(Strict):
    """Somebody presses a button of the flag's card."""

    press: Button
    flag: str
    by: str = REQUESTER


class Confirm(Strict):
    """Somebody presses the button that Sluice left for this action."""

    confirm: str
    by: str = REQUESTER


class Wait(Strict):
    """So many minutes pass, with traffic and with the controller looking."""

    wait: Minutes


class ChangeTraffic(Strict):
    """From now on the metrics of the flag count this."""

    traffic: Mapping[str, TrafficSetup]
    flag: str


class Outage(Strict):
    """From now on the metric source answers with this error; empty text ends it."""

    outage: str


class ByHand(Strict):
    """Somebody changes what the flag serves behind Sluice's back."""

    by_hand: Percent
    flag: str


_STEPS = ("say", "hear", "propose", "approve", "press", "confirm", "wait", "traffic", "outage", "by_hand")


def _step_kind(plain: Any) -> str:
    keys = plain if isinstance(plain, Mapping) else type(plain).model_fields
    return next((key for key in _STEPS if key in keys), "say")


Step = Annotated[
    Annotated[Say, Tag("say")]
    | Annotated[Hear, Tag("hear")]
    | Annotated[Propose, Tag("propose")]
    | Annotated[Approve, Tag("approve")]
    | Annotated[Press, Tag("press")]
    | Annotated[Confirm, Tag("confirm")]
    | Annotated[Wait, Tag("wait")]
    | Annotated[ChangeTraffic, Tag("traffic")]
    | Annotated[Outage, Tag("outage")]
    | Annotated[ByHand, Tag("by_hand")],
    Discriminator(_step_kind),
]


# -- what is expected ---------------------------------------------------------------------------------------------


class CallExpected(Strict):
    """A call that a turn made. `about` is the flag that it names, or else its thread's.

    `arguments` must be among the call's, and those in `without` not; of several `tools` any will do. `failed`: whether
    it was refused, where that matters.
    """

    tools: Annotated[tuple[str, ...], Field(min_length=1)]
    about: str | None = None
    arguments: Mapping[str, Any] = {}
    without: tuple[str, ...] = ()
    failed: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_tool(cls, plain: Any) -> Any:
        """`tool: NAME` for one."""
        if isinstance(plain, str):
            return {"tools": (plain,)}
        if isinstance(plain, Mapping) and "tool" in plain and "tools" not in plain:
            return {**{key: value for key, value in plain.items() if key != "tool"}, "tools": (plain["tool"],)}
        return plain


class PlanExpected(Strict):
    """What is demanded of a plan: `percents` are its live stages, `hold_minutes` the least length of each stage, or of
    one, counted from 1; `regions` and `tenants` are by stage."""

    strategy: Strategy | None = None
    percents: tuple[Percent, ...] | None = None
    first_percent: Percent | None = None
    shadow: bool | None = None
    hold_minutes: float | Mapping[int, float] | None = None
    regions: Mapping[int, tuple[str, ...]] = {}
    tenants: Mapping[int, tuple[str, ...]] = {}
    margins: Mapping[str, float] = {}
    metrics: tuple[str, ...] | None = None


class RolloutExpected(Strict):
    """What is demanded of a flag's newest rollout. `stage` counts from 1; `approval` is what is being asked now."""

    phase: tuple[str, ...] = ()
    plan_version: int | None = None
    stage: int | None = None
    approval: Literal["none", "start", "promote"] | None = None
    plan: PlanExpected | None = None

    @field_validator("phase", mode="before")
    @classmethod
    def _one_phase(cls, plain: Any) -> Any:
        return (plain,) if isinstance(plain, str) else plain


class Expected(Strict):
    """What is demanded of the end. `calls` in any order, `calls_in_order` with anything between them.

    `rollouts` with None: the flag has none. `confirmations`: the actions that wait for a button, exactly.
    `logged` and `not_logged` are kinds of events since the first turn. `ended` is how each turn's run ended.
    """

    exposure: Mapping[str, Percent] = {}
    rollouts: Mapping[str, RolloutExpected | None] = {}
    calls: tuple[CallExpected, ...] = ()
    calls_in_order: tuple[CallExpected, ...] = ()
    no_calls: tuple[str, ...] | Literal["any"] = ()
    only_reads: bool = False
    confirmations: tuple[str, ...] | None = None
    logged: tuple[str, ...] = ()
    not_logged: tuple[str, ...] = ()
    reply_never_contains: tuple[str, ...] = ()
    ended: Ending | None = None


class Scenario(Strict):
    """One case. `may_raise` are flags whose exposure a turn may raise, because policy asks nobody there.

    `may_vote`: an approver's own words may count as their vote.
    """

    id: Identifier
    about: str
    tags: Annotated[tuple[Identifier, ...], Field(min_length=1)]
    world: WorldSetup
    turns: Annotated[tuple[Step, ...], Field(min_length=1)]
    expect: Expected = Expected()
    always: Expected = Expected()
    may_raise: tuple[str, ...] = ()
    may_vote: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> "Scenario":
        spoken = len(self.says)
        if not spoken:
            raise ValueError("nobody says anything: give it a turn with `say`")
        wanted, other = (SINGLE, SEVERAL) if spoken == 1 else (SEVERAL, SINGLE)
        if wanted not in self.tags or other in self.tags:
            raise ValueError(f"with {spoken} said turns its tag is {wanted}")
        return self

    @property
    def says(self) -> tuple[Say, ...]:
        """The turns in which somebody speaks to Sluice."""
        return tuple(step for step in self.turns if isinstance(step, Say))

    @property
    def hostile_scripts(self) -> int:
        """How many hostile models it is scripted for."""
        return max(len(say.hostile) for say in self.says)


USUAL_PLANNING = PlanningDefaults(
    check_every=timedelta(minutes=1), burn_in=timedelta(minutes=1), stages=(5, 25, 50, 100), slices=240
)
"""Few checks and pieces of the past, so that time that passes costs little to simulate."""
USUAL_POLICY = Policy(approvers=APPROVERS)

WorldSetup.model_rebuild()
Scenario.model_rebuild()
