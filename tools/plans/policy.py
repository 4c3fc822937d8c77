"""The policy: pure answers to "may this happen, and who must say so?". Lowering exposure is never asked about."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AwareDatetime, Field, model_validator

from tools.errors import NotAllowed
from tools.plans.model import Duration, Exposure, Name, Percent, Plan, Strategy, Value


class Answer(StrEnum):
    AUTO = "auto"
    APPROVAL = "approval"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Decision:
    """Policy's answer, how many approvals it takes, and the rules that said so, in words for people."""

    answer: Answer
    needed: int
    why: str


class Freeze(Value):
    """A time in which nothing starts and nothing goes further, in those environments and for flags with those tags.

    No environments means all of them, no tags every flag. Lowering exposure is never frozen.
    """

    name: Annotated[str, Field(min_length=1, max_length=100)]
    start: AwareDatetime
    end: AwareDatetime
    environments: tuple[Name, ...] = ()
    tags: tuple[Name, ...] = ()

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.end <= self.start:
            raise ValueError("a freeze must end after it starts")
        return self

    def holds(self, environment: str, tags: Collection[str], at: datetime) -> bool:
        """Whether it keeps a flag with those tags where it is at that moment."""
        there = not self.environments or environment in self.environments
        meant = not self.tags or bool(_shared(tags, self.tags))
        return there and meant and self.start <= at < self.end

    def __str__(self) -> str:
        return f"the freeze {self.name!r} lasts until {self.end.astimezone(UTC):%d %b %Y %H:%M} UTC"


class Policy(Value):
    """Who must approve what. Percentages are of users; a person is a Slack user id."""

    approvers: tuple[Name, ...] = ()
    free_environments: tuple[Name, ...] = ("development",)
    approval_tags: tuple[Name, ...] = ("revenue-critical", "regulated")
    two_approver_tags: tuple[Name, ...] = ("regulated",)
    largest_free_step: Percent = 50.0
    largest_first_exposure: Percent = 10.0
    loosest_margin: Annotated[float, Field(gt=1, le=100)] = 3.0
    approval_ttl: Duration = timedelta(hours=24)
    freezes: Annotated[tuple[Freeze, ...], Field(max_length=200)] = ()


def may_start(policy: Policy, plan: Plan, *, requester: str) -> Decision:
    """Whether a proposed plan may start. Outside free environments people are always asked."""
    if plan.environment in policy.free_environments:
        return Decision(Answer.AUTO, 0, f"{plan.environment} needs no approval")
    return ask(policy, plan, requester, [f"a start in {plan.environment} needs an approval"])


def freeze_at(policy: Policy, environment: str, tags: Collection[str], at: datetime) -> Freeze | None:
    """The freeze that keeps a flag with those tags where it is, the longest of several; None when there is none."""
    holding = [freeze for freeze in policy.freezes if freeze.holds(environment, tags, at)]
    return max(holding, key=lambda freeze: freeze.end, default=None)


def check_freeze(policy: Policy, plan: Plan, at: datetime) -> None:
    """Raise NotAllowed while a freeze keeps the plan's flag where it is."""
    freeze = freeze_at(policy, plan.environment, plan.tags, at)
    if freeze is not None:
        raise NotAllowed(f"Nothing goes up now: {freeze}. Lowering and rolling back are possible at any time.")


def may_promote(
    policy: Policy, plan: Plan, to_stage: int, *, requester: str, concerns: Collection[str] = ()
) -> Decision:
    """Whether a proven stage may be followed by stage `to_stage` (an index) without asking.

    `concerns` are reasons to ask that are not the plan's own, such as a spent error budget.
    """
    if to_stage == len(plan.stages):
        return Decision(Answer.AUTO, 0, "the last stage was proven safe")
    if plan.environment in policy.free_environments:
        return Decision(Answer.AUTO, 0, f"{plan.environment} needs no approval")
    before, after = plan.stages[to_stage - 1].exposure, plan.stages[to_stage].exposure
    reasons = [*_step_reasons(policy, before, after), *concerns]
    if tags := risks(policy, plan.tags):
        reasons.append(f"the flag is {', '.join(tags)}")
    if plan.strategy is Strategy.FULL:
        reasons.append("the strategy is full")
    if not reasons:
        return Decision(Answer.AUTO, 0, f"a step from {before} to {after} needs no approval")
    return ask(policy, plan, requester, reasons)


def risks(policy: Policy, tags: Collection[str]) -> list[str]:
    """The tags because of which each promotion is asked about."""
    return _shared(tags, policy.approval_tags)


def check_approver(policy: Policy, person: str, *, askers: Collection[str], spec_author: str | None) -> None:
    """Raise NotAllowed unless `person` may approve; `askers` are all who asked for it or wrote its plan."""
    if person not in policy.approvers:
        raise NotAllowed("You are not on the list of approvers, so you can't decide this; ask one of them.")
    if person in askers:
        raise NotAllowed("You asked for this, so someone else has to approve it.")
    if spec_author is not None and person == spec_author:
        raise NotAllowed("You wrote the spec, so someone else has to approve it.")


def may_approve(policy: Policy, person: str, *, askers: Collection[str], spec_author: str | None) -> bool:
    """Whether `check_approver` lets the person approve."""
    try:
        check_approver(policy, person, askers=askers, spec_author=spec_author)
    except NotAllowed:
        return False
    return True


def _step_reasons(policy: Policy, before: Exposure, after: Exposure) -> list[str]:
    if after.live_percent - before.live_percent > policy.largest_free_step:
        return [f"the step from {before} to {after} is larger than {policy.largest_free_step:g} points"]
    if after.live_percent and before.audience != after.audience:
        return [f"the step from {before} to {after} reaches others than before"]
    return []


def _shared(tags: Collection[str], of_policy: Collection[str]) -> list[str]:
    """The tags that the policy names; how they are capitalised does not matter."""
    named = {tag.casefold() for tag in of_policy}
    return sorted(tag for tag in set(tags) if tag.casefold() in named)


def _is_known(person: str) -> bool:
    """Whether Slack knows the person; an account on the command line may be anyone, also an approver."""
    return ":" not in person


def ask(policy: Policy, plan: Plan, requester: str, reasons: list[str]) -> Decision:
    """People are asked for `reasons`; denied when too few of them could answer."""
    needed = 2 if _shared(plan.tags, policy.two_approver_tags) else 1
    if not _is_known(requester):
        needed += 1
        reasons = [*reasons, f"{requester} is nobody that Slack knows, so one more must agree"]
    able = set(policy.approvers) - {plan.spec_author, requester}
    if len(able) < needed:
        return Decision(
            Answer.DENY,
            needed,
            f"{'; '.join(reasons)}, which takes {needed}, but only {len(able)} people could approve it: "
            "add approvers to policy.approvers in sluice.toml",
        )
    return Decision(Answer.APPROVAL, needed, "; ".join(reasons))
