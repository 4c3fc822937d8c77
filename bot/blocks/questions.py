"""A question to people as one sentence: in a direct message to who can answer it, and in its thread."""

from bot import texts
from bot.blocks.answers import card_link
from bot.blocks.mrkdwn import escape, moment_of, name, person
from tools.plans.model import Plan
from tools.rollouts.approvals import Electors, Purpose, Status, Vote
from tools.rollouts.views import ApprovalView, QuestionView

MOST_NAMED = 10
OUTCOMES = {
    Status.GRANTED: texts.CALL_GRANTED,
    Status.REJECTED: texts.CALL_REJECTED,
    Status.EXPIRED: texts.CALL_EXPIRED,
    Status.VOID: texts.CALL_VOID,
}


def question(plan: Plan, approval: ApprovalView) -> str:
    """What is asked about the plan: `start at 5 %?`, and from where when something is served already."""
    if approval.to_stage >= len(plan.stages):
        return texts.QUESTION_FINISH
    asked = texts.QUESTION_START if approval.purpose is Purpose.START else texts.QUESTION_PROMOTE
    if approval.purpose is Purpose.START and approval.served is not None and approval.served.percent:
        asked = texts.QUESTION_START_FROM
    after = escape(plan.stages[approval.to_stage].exposure, 80)
    return asked.format(to_exposure=after, before=escape(approval.served, 80))


def call(asked: QuestionView, who: str, *, backup: bool, link: str | None) -> str:
    """What the person reads: that they are asked, that they answered, or what became of it."""
    if asked.status is not Status.PENDING:
        return outcome(asked, link=link)
    own = asked.answers.get(who)
    facts = _facts(asked) | {"link": card_link(link)}
    if own is not None:
        return texts.CALL_ANSWERED.format_map(facts | {"at": moment_of(own.at)})
    return (texts.CALL_BACKUP if backup else texts.CALL).format_map(facts)


def outcome(asked: QuestionView, *, link: str | None = None) -> str:
    """What became of a question that is closed, by whom and when, in one line."""
    return OUTCOMES[asked.status].format_map(_facts(asked) | {"link": card_link(link)})


def nudge(asked: QuestionView) -> str:
    """The line that reminds of a question that is still open."""
    escalated = asked.approval.escalated_at is not None
    return (texts.ESCALATION if escalated else texts.REMINDER).format_map(_facts(asked))


def shortfall(electors: Electors) -> str:
    """That too few people can answer it now; empty where enough can."""
    if electors.able >= electors.missing:
        return ""
    who = texts.ONLY_SOME.format(able=electors.able, missing=electors.missing) if electors.able else texts.NOBODY
    besides = texts.STRANGERS_BESIDES if electors.strangers else ""
    return texts.TOO_FEW_CAN_ANSWER.format(who=who, besides=besides)


def _facts(asked: QuestionView) -> dict[str, object]:
    view, approval = asked.rollout, asked.approval
    wanted = Vote.REJECT if asked.status is Status.REJECTED else Vote.APPROVE
    answers = {who: one for who, one in asked.answers.items() if one.answer is wanted and one.lapsed_at is None}
    reasons = [one.reason for one in answers.values() if one.reason]
    return {
        "flag": name(view.flag),
        "environment": name(view.environment),
        "question": question(asked.plan, approval),
        "requester": person(approval.requester),
        "have": len(approval.by),
        "needed": approval.needed,
        "expires": moment_of(approval.expires_at),
        "people": ", ".join(map(person, list(answers)[:MOST_NAMED])) or texts.NOT_SAID,
        "at": moment_of(asked.decided_at) if asked.decided_at is not None else texts.NOT_SAID,
        "why": escape(reasons[-1] if reasons else asked.why or texts.NOT_SAID, 300),
    }
