"""Who must say yes to what."""

import pytest

from tests.unit.rollouts.world import AIKO, JONAS, MIRA, SAM, make_plan, stage
from tools.errors import Conflict, NotAllowed
from tools.plans.model import Strategy
from tools.plans.policy import (
    STRANGERS,
    Answer,
    ApprovalRule,
    Policy,
    approvers_in,
    check_approver,
    could_approve,
    may_promote,
    may_start,
    people_in,
    rule_for,
    rule_of,
)

POLICY = Policy(approvers=(MIRA, JONAS, AIKO))


def test_a_start_in_production_is_asked_about_and_one_in_development_is_not() -> None:
    assert may_start(POLICY, make_plan(), requester=MIRA).answer is Answer.APPROVAL
    assert may_start(POLICY, make_plan(environment="development"), requester=MIRA).answer is Answer.AUTO


def test_a_small_step_is_free_and_a_large_one_is_not() -> None:
    plan = make_plan(stage(5), stage(25), stage(100))
    assert may_promote(POLICY, plan, 1, requester=MIRA).answer is Answer.AUTO
    decision = may_promote(POLICY, plan, 2, requester=MIRA)
    assert (decision.answer, decision.needed) == (Answer.APPROVAL, 1)
    assert "larger than 50 points" in decision.why


@pytest.mark.parametrize(("tag", "needed"), [("revenue-critical", 1), ("regulated", 2)])
def test_risk_tags_have_every_step_asked_about(tag: str, needed: int) -> None:
    decision = may_promote(POLICY, make_plan(tags=(tag,)), 1, requester=SAM)
    assert (decision.answer, decision.needed) == (Answer.APPROVAL, needed)
    assert tag in decision.why


def test_a_full_rollout_is_asked_about_and_its_end_is_not() -> None:
    plan = make_plan(stage(5), stage(6), strategy=Strategy.FULL)
    assert may_promote(POLICY, plan, 1, requester=MIRA).answer is Answer.APPROVAL
    assert may_promote(POLICY, plan, 2, requester=MIRA).answer is Answer.AUTO


def test_a_question_that_nobody_could_answer_is_a_denial_that_says_what_to_do() -> None:
    decision = may_start(Policy(approvers=(MIRA,)), make_plan(), requester=MIRA)
    assert decision.answer is Answer.DENY
    assert "policy.approvers" in decision.why
    spec_author = make_plan(tags=("regulated",), spec_author=JONAS)
    assert may_start(Policy(approvers=(MIRA, JONAS, AIKO)), spec_author, requester=MIRA).answer is Answer.DENY


@pytest.mark.parametrize("person", [SAM, MIRA, AIKO])
def test_strangers_requesters_and_authors_cannot_approve(person: str) -> None:
    with pytest.raises(NotAllowed):
        check_approver(rule_of(POLICY, make_plan()), person, askers=(MIRA,), spec_author=AIKO)


def test_another_approver_can() -> None:
    check_approver(rule_of(POLICY, make_plan()), JONAS, askers=(MIRA,), spec_author=AIKO)


GROUP, ONCALL = "SRELEASE", "SONCALL"
GROUPS = {GROUP: (JONAS, AIKO, MIRA), ONCALL: (SAM,)}
RULE = ApprovalRule(approvers=(GROUP,), backup=(ONCALL,))


def test_a_member_of_a_group_may_approve_unless_barred() -> None:
    check_approver(RULE, JONAS, members=GROUPS, askers=(MIRA,), spec_author=AIKO)
    for person in (MIRA, AIKO):
        with pytest.raises(NotAllowed, match="someone else"):
            check_approver(RULE, person, members=GROUPS, askers=(MIRA,), spec_author=AIKO)


def test_the_backup_may_approve_once_it_is_asked() -> None:
    with pytest.raises(NotAllowed, match="stand in as a backup"):
        check_approver(RULE, SAM, members=GROUPS, askers=(MIRA,), spec_author=None)
    check_approver(RULE, SAM, members=GROUPS, backup_too=True, askers=(MIRA,), spec_author=None)
    with pytest.raises(NotAllowed, match="You asked"):
        check_approver(RULE, SAM, members=GROUPS, backup_too=True, askers=(SAM,), spec_author=None)


def test_nobody_is_refused_because_of_a_group_that_was_not_read() -> None:
    with pytest.raises(Conflict, match="try again"):
        check_approver(RULE, JONAS, askers=(MIRA,), spec_author=None)


def test_a_question_to_a_group_is_denied_only_when_its_members_were_counted() -> None:
    policy = Policy(approvers=(GROUP,))
    assert may_start(policy, make_plan(), requester=MIRA).answer is Answer.APPROVAL
    assert may_start(policy, make_plan(), requester=MIRA, members=GROUPS).answer is Answer.APPROVAL
    alone = may_start(policy, make_plan(), requester=MIRA, members={GROUP: (MIRA,)})
    assert alone.answer is Answer.DENY
    assert "or people to its user groups" in alone.why


def test_who_is_no_member_of_the_workspace_is_not_counted_and_it_is_said() -> None:
    members = {GROUP: (MIRA, JONAS, SAM), STRANGERS: (SAM, AIKO)}
    policy = Policy(approvers=(GROUP, AIKO), two_approver_tags=("payments",))
    assert people_in((GROUP, AIKO), members) == [JONAS, MIRA]
    assert may_start(policy, make_plan(), requester=MIRA, members=members).answer is Answer.APPROVAL
    denied = may_start(policy, make_plan(tags=("payments",)), requester=MIRA, members=members)
    assert denied.answer is Answer.DENY
    assert "only 1 people could approve it (2 more, guests or of another organisation, can't): add" in denied.why


def test_of_several_rules_the_strictest_holds() -> None:
    anywhere = ApprovalRule(approvers=(MIRA,))
    production = ApprovalRule(environments=("production",), approvers=(JONAS,))
    payments = ApprovalRule(tags=("Payments",), approvers=(AIKO,))
    two = ApprovalRule(environments=("production",), tags=("regulated",), approvers=(GROUP,), needed=2)
    policy = Policy(approvers=(SAM,), approval=(anywhere, production, payments, two))
    assert rule_for(policy, "staging", ()).approvers == (MIRA,)
    assert rule_for(policy, "production", ()).approvers == (JONAS,)
    assert rule_for(policy, "production", ("payments",)).approvers == (AIKO,)
    both = rule_for(policy, "production", ("payments", "regulated"))
    assert (both.approvers, both.needed) == ((GROUP,), 2)
    assert rule_for(policy, "staging", ("regulated",)).needed == 2, "the tag takes two wherever it is"
    simple = rule_for(Policy(approvers=(SAM,), backup=(ONCALL,)), "production", ())
    assert (simple.approvers, simple.backup, simple.needed) == ((SAM,), (ONCALL,), 1)


def test_who_may_be_an_approver_is_said_without_asking_anybody() -> None:
    assert not could_approve(POLICY, SAM)
    assert could_approve(Policy(approvers=(JONAS,), backup=(GROUP,)), SAM)
    assert could_approve(Policy(approval=(ApprovalRule(approvers=(SAM,)),)), SAM)


def test_people_are_named_once_and_in_order() -> None:
    assert people_in((JONAS, GROUP, "SNOTREAD"), GROUPS) == [JONAS, AIKO, MIRA]


def test_a_rule_is_found_however_its_environment_is_capitalised() -> None:
    """Flagsmith finds Production by production, too. What needs no approval is only what is named just so."""
    rule = ApprovalRule(environments=("production",), approvers=("U1", "U2"), needed=2)
    policy = Policy(approvers=("U0",), approval=(rule,), free_environments=("development",))
    assert rule_for(policy, "Production", ()) == rule
    assert approvers_in(policy, "PRODUCTION") == ("U1", "U2")
    assert rule_for(policy, "staging", ()).approvers == ("U0",)
    plan = make_plan(environment="Development")
    assert may_start(policy, plan, requester="U9").answer is Answer.APPROVAL
