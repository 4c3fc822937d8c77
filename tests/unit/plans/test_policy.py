"""Who must say yes to what."""

import pytest

from tests.unit.rollouts.world import AIKO, JONAS, MIRA, SAM, make_plan, stage
from tools.errors import NotAllowed
from tools.plans.model import Strategy
from tools.plans.policy import Answer, Policy, check_approver, may_promote, may_start, rule_of

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
