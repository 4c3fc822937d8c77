"""The policy: pure answers to "may this happen, and who must say so?". Lowering exposure is never asked about."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AwareDatetime, Field, model_validator

from tools.errors import Conflict, NotAllowed
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


Part = Annotated[float, Field(gt=0, lt=1)]
Members = Mapping[str, Collection[str]]
"""The people of the groups that were asked about, as they were at that moment; by STRANGERS who can't approve."""
NOT_READ: Members = {}
STRANGERS = ""
"""No name, but that of all who are named, or in a group, and known to be no members of the workspace."""


class ApprovalRule(Value):
    """Who approves in those environments flags with those tags, and how many of them it takes.

    No environments means all of them, no tags every flag. `approvers` and `backup` are ids of people and of groups;
    the backup may answer a question that has been open for long.
    """

    environments: tuple[Name, ...] = ()
    tags: tuple[Name, ...] = ()
    approvers: Annotated[tuple[Name, ...], Field(min_length=1)]
    needed: Annotated[int, Field(ge=1, le=20)] = 1
    backup: tuple[Name, ...] = ()

    @model_validator(mode="after")
    def _check_enough(self) -> Self:
        if len(set(self.approvers)) < self.needed and not any(map(is_group, self.approvers)):
            raise ValueError("name at least as many approvers as are needed, or a user group")
        return self

    def holds(self, environment: str, tags: Collection[str]) -> bool:
        """Whether it is meant for a flag with those tags there."""
        return is_among(environment, self.environments) and (not self.tags or bool(_shared(tags, self.tags)))


class Approving(Value):
    """Who must approve in a workspace of its own, instead of whom policy names for all of them."""

    approvers: tuple[Name, ...] = ()
    backup: tuple[Name, ...] = ()
    approval: Annotated[tuple[ApprovalRule, ...], Field(max_length=100)] = ()


class Policy(Value):
    """Who must approve what. Percentages are of users; a person is a Slack user id, a group a Slack user group's.

    `approvers` and `backup` are for what no rule of `approval` is meant for. People are reminded of a question when
    `approval_reminder` of its time is over, and the backup is asked too when `approval_escalation` is. What a gate
    finds may be accepted for `longest_acceptance` at a time. `workspaces` have people of their own, by the workspace's
    id. Guests of a workspace and people of other organisations change nothing, but for those whom `guests` names.
    """

    approvers: tuple[Name, ...] = ()
    backup: tuple[Name, ...] = ()
    guests: tuple[Name, ...] = ()
    approval: Annotated[tuple[ApprovalRule, ...], Field(max_length=100)] = ()
    approval_reminder: Part = 0.5
    approval_escalation: Part = 0.75
    free_environments: tuple[Name, ...] = ("development",)
    approval_tags: tuple[Name, ...] = ("revenue-critical", "regulated")
    two_approver_tags: tuple[Name, ...] = ("regulated",)
    largest_free_step: Percent = 50.0
    largest_first_exposure: Percent = 10.0
    loosest_margin: Annotated[float, Field(gt=1, le=100)] = 3.0
    approval_ttl: Duration = timedelta(hours=24)
    longest_acceptance: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(days=7)
    freezes: Annotated[tuple[Freeze, ...], Field(max_length=200)] = ()
    workspaces: Mapping[str, Approving] = Field(default_factory=dict)

    def of(self, workspace: str) -> Self:
        """The policy in a workspace: its own people where it has some, else those that are named for all."""
        own = self.workspaces.get(workspace)
        if own is None:
            return self
        return self.model_copy(update={"approvers": own.approvers, "backup": own.backup, "approval": own.approval})

    @model_validator(mode="after")
    def _check_escalation(self) -> Self:
        if self.approval_escalation <= self.approval_reminder:
            raise ValueError("the backup is asked after the reminder: make approval_escalation the larger part")
        return self


def may_start(policy: Policy, plan: Plan, *, requester: str, members: Members = NOT_READ) -> Decision:
    """Whether a proposed plan may start. Outside free environments people are always asked.

    `members` are the groups that were read, so that a question that nobody could answer is not asked.
    """
    if plan.environment in policy.free_environments:
        return Decision(Answer.AUTO, 0, f"{plan.environment} needs no approval")
    return ask(policy, plan, requester, [f"a start in {plan.environment} needs an approval"], members=members)


def may_promote(
    policy: Policy,
    plan: Plan,
    to_stage: int,
    *,
    requester: str,
    concerns: Collection[str] = (),
    members: Members = NOT_READ,
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
    return ask(policy, plan, requester, reasons, members=members)


def risks(policy: Policy, tags: Collection[str]) -> list[str]:
    """The tags because of which each promotion is asked about."""
    return _shared(tags, policy.approval_tags)


def is_group(name: str) -> bool:
    """Whether the id is a group's and no person's, as Slack forms them."""
    return name.startswith("S")


def rule_for(policy: Policy, environment: str, tags: Collection[str]) -> ApprovalRule:
    """The strictest rule that is meant for a flag with those tags there, or the one that the simple settings make.

    Strictest is what takes the most approvals; of several alike one that names tags, then one that names environments,
    then the one that was written first. A tag that takes two approvers does so by any rule.
    """
    meant = [rule for rule in policy.approval if rule.holds(environment, tags)]
    least = 2 if _shared(tags, policy.two_approver_tags) else 1
    if not meant:
        # Built without validation: nobody may be named yet, and then everything is denied.
        return ApprovalRule.model_construct(
            environments=(), tags=(), approvers=policy.approvers, needed=least, backup=policy.backup
        )
    strictest = max(meant, key=lambda rule: (rule.needed, bool(rule.tags), bool(rule.environments)))
    return strictest.model_copy(update={"needed": max(least, strictest.needed)})


def rule_of(policy: Policy, plan: Plan) -> ApprovalRule:
    """The rule by which a plan is approved."""
    return rule_for(policy, plan.environment, plan.tags)


def needed_for(policy: Policy, plan: Plan, requester: str) -> int:
    """How many approvals a plan takes: one more where nobody knows who asked."""
    return rule_of(policy, plan).needed + is_account(requester)


def approvers_in(policy: Policy, environment: str) -> tuple[str, ...]:
    """The ids of all people and groups that may approve something there, now or as a backup."""
    meant = [rule for rule in policy.approval if is_among(environment, rule.environments)]
    rules = (rule_for(policy, environment, ()), *meant)
    return tuple(dict.fromkeys(name for rule in rules for name in (*rule.approvers, *rule.backup)))


def is_account(person: str) -> bool:
    """Whether it is an account of the command line, which may be anyone's, and nobody whom Slack knows."""
    return ":" in person


def everybody_named(policy: Policy) -> frozenset[str]:
    """The ids of all people and groups that may approve anything, now or as a backup."""
    rules = [(policy.approvers, policy.backup), *((rule.approvers, rule.backup) for rule in policy.approval)]
    return frozenset(name for lists in rules for names in lists for name in names)


def could_approve(policy: Policy, person: str) -> bool:
    """Whether the person may be able to approve something, as far as can be said without asking who is in a group."""
    named = everybody_named(policy)
    return person in named or any(map(is_group, named))


def people_in(names: Collection[str], members: Members) -> list[str]:
    """The people that the names stand for and who may approve, each once in the order of the names; groups that were
    not read are left out."""
    out = members.get(STRANGERS, ())
    found = [sorted(members.get(name, ())) if is_group(name) else [name] for name in names]
    return list(dict.fromkeys(person for people in found for person in people if person not in out))


def strangers_in(names: Collection[str], members: Members) -> frozenset[str]:
    """Those of the people that the names stand for who are known to be no members of the workspace."""
    everybody = people_in(names, {**members, STRANGERS: ()})
    return frozenset(everybody) - frozenset(people_in(names, members))


def must_be_member(policy: Policy, person: str) -> bool:
    """Whether it takes being one of the workspace's own for the person to change anything."""
    return not is_account(person) and person not in policy.guests


def check_approver(
    rule: ApprovalRule,
    person: str,
    *,
    members: Members = NOT_READ,
    backup_too: bool = False,
    askers: Collection[str],
    spec_author: str | None,
) -> None:
    """Raise NotAllowed unless `person` may approve by the rule; `askers` are all who asked for it or wrote its plan.

    Raises Conflict when that depends on a group that was not read, because the rule became another meanwhile.
    """
    check_not_barred(person, askers=askers, spec_author=spec_author)
    names = (*rule.approvers, *(rule.backup if backup_too else ()))
    if person in people_in(names, members):
        return
    if any(is_group(name) and name not in members for name in names):
        raise Conflict("Nobody can say at this moment who may approve this. Look at the card and try again.")
    if not backup_too and person in people_in(rule.backup, members):
        raise NotAllowed("You stand in as a backup: you can decide this once the approvers have left it open for long.")
    raise NotAllowed("You are not on the list of approvers, so you can't decide this; ask one of them.")


def check_not_barred(person: str, *, askers: Collection[str], spec_author: str | None) -> None:
    """Raise NotAllowed for who asked for it, or wrote a version of its plan or its spec, approver or not."""
    if person in askers:
        raise NotAllowed("You asked for this, so someone else has to approve it.")
    if spec_author is not None and person == spec_author:
        raise NotAllowed("You wrote the spec, so someone else has to approve it.")


def _step_reasons(policy: Policy, before: Exposure, after: Exposure) -> list[str]:
    if after.live_percent - before.live_percent > policy.largest_free_step:
        return [f"the step from {before} to {after} is larger than {policy.largest_free_step:g} points"]
    if after.live_percent and before.audience != after.audience:
        return [f"the step from {before} to {after} reaches others than before"]
    return []


def is_among(environment: str, named: Collection[str]) -> bool:
    """Whether the environment is one of those that a rule or a freeze names; all are, where none is named.

    How they are capitalised does not matter: there are flag services to which it does not.
    """
    return not named or environment.casefold() in {one.casefold() for one in named}


def _shared(tags: Collection[str], of_policy: Collection[str]) -> list[str]:
    """The tags that the policy names; how they are capitalised does not matter."""
    named = {tag.casefold() for tag in of_policy}
    return sorted(tag for tag in set(tags) if tag.casefold() in named)


def ask(policy: Policy, plan: Plan, requester: str, reasons: list[str], *, members: Members = NOT_READ) -> Decision:
    """People are asked for `reasons`; denied when too few of them could answer.

    Who is in a group that was not read is not known, so that nothing is denied for it.
    """
    rule, needed = rule_of(policy, plan), needed_for(policy, plan, requester)
    if is_account(requester):
        reasons = [*reasons, f"{requester} is nobody that Slack knows, so one more must agree"]
    able = set(people_in(rule.approvers, members)) - {plan.spec_author, requester}
    counted = all(name in members for name in rule.approvers if is_group(name))
    if counted and len(able) < needed:
        by_rule = any(one.holds(plan.environment, plan.tags) for one in policy.approval)
        where = "its rule in policy.approval" if by_rule else "policy.approvers"
        groups = ", or people to its user groups" if any(map(is_group, rule.approvers)) else ""
        out = len(strangers_in(rule.approvers, members))
        besides = f" ({out} more, guests or of another organisation, can't)" if out else ""
        return Decision(
            Answer.DENY,
            needed,
            f"{'; '.join(reasons)}, which takes {needed}, but only {len(able)} people could approve it{besides}: "
            f"add approvers to {where} in sluice.toml{groups}",
        )
    return Decision(Answer.APPROVAL, needed, "; ".join(reasons))
