"""Every subcommand of /rollout, typed by people in a real conversation with the app."""

from pathlib import Path

import pytest

from bot.blocks.replacing import INSTEAD, Wanted, question, wanted_in
from bot.workspace import running_workspace
from bot.workspace.records import Message
from tests.acceptance.slack.office import (
    AIKO,
    ALERTS,
    FLAG,
    JONAS,
    MIRA,
    RELEASES,
    SAM,
    Office,
    open_office,
    readable,
    until,
)
from tools.errors import InvalidInput, NotFound
from tools.flags.base import FlagRef
from tools.flags.embedded import EmbeddedFlagService
from tools.plans.model import Exposure, Strategy
from tools.plans.policy import ApprovalRule
from tools.rollouts.phases import Phase

PAYMENTS = "CPAYMENTS"


async def test_help_is_by_example_and_only_for_the_one_who_asked(office: Office) -> None:
    answer = await office.rollout("help", user=SAM)
    assert "/rollout plan new-checkout" in answer
    assert office.messages() == []
    assert office.private(MIRA) == []


async def test_plan_puts_one_card_into_the_channel(office: Office) -> None:
    answer = await office.rollout(f"plan {FLAG}")
    assert answer.startswith(f"Planning `{FLAG}` for production.")
    await until(office.cards)
    assert office.buttons() == ["approve", "reject", "edit", "cancel"]
    view = await office.view()
    assert view.phase is Phase.PROPOSED
    assert view.requester == MIRA
    [question] = office.thread()
    assert question.startswith(f"<@{JONAS}> <@{AIKO}> ✋ Please decide: start at 1 %?")


async def test_plan_takes_a_strategy_and_curly_typography(office: Office) -> None:
    await office.rollout(f"plan “{FLAG}” —strategy full —env ‘production’")
    await until(office.cards)
    assert (await office.view()).plan.strategy is Strategy.FULL


async def test_the_same_plan_again_changes_nothing_and_says_so(office: Office) -> None:
    before = await office.proposed()
    await office.rollout(f"plan {FLAG}")
    assert office.private(MIRA)[-1].startswith(f"Nothing has changed: plan v1 of `{FLAG}`")
    after = await office.view()
    assert (after.plan_version, after.approval) == (1, before.approval)


async def test_the_own_plan_is_planned_anew_where_it_is_and_what_changed_is_said(office: Office) -> None:
    await office.proposed()
    said = await office.rollout(f"plan {FLAG} --strategy full", channel=PAYMENTS)
    assert said.startswith(f"Planning `{FLAG}` for production anew. Your plan v1 is in <#{RELEASES}>")
    assert "Open its card" in said
    told = office.private(MIRA, PAYMENTS)[-1]
    assert "Strategy canary → full" in told
    assert told.startswith(f"Your plan of `{FLAG}` in production is now v2, in <#{RELEASES}> (Stages: ")
    assert "Earlier approvals no longer count." in told
    assert "Open its card" in told
    assert (await office.view()).plan_version == 2
    await office.rollout(f"plan {FLAG} --strategy full", channel=PAYMENTS)
    assert "Nothing has changed: plan v2" in office.private(MIRA, PAYMENTS)[-1]
    assert "Open its card" in office.private(MIRA, PAYMENTS)[-1]


async def test_a_plan_of_somebody_else_is_not_replaced_before_the_person_says_so(tmp_path: Path, blank: Path) -> None:
    """Jonas reads whose it is, where it is and what a new one does; only then it takes its place."""
    policy = {"approval": (ApprovalRule(approvers=(MIRA, JONAS, AIKO, SAM), needed=2),)}
    async with running_workspace() as running, open_office(tmp_path, running, blank, policy=policy) as office:
        await office.proposed()
        assert await office.press("approve", user=AIKO) is None
        said = await office.rollout(f"plan {FLAG} --strategy full", user=JONAS, channel=PAYMENTS)
        assert f"v1 in <#{RELEASES}>, asked for by <@{MIRA}>, 1 approved so far." in said
        assert "A new one becomes v2 of it" in said
        assert "earlier approvals no longer count" in said
        before = await office.view()
        assert (before.plan_version, before.requester, before.approval and before.approval.by) == (1, MIRA, (AIKO,))

        [asked] = [one for one in seen(office, JONAS) if INSTEAD in str(one.blocks)]
        assert (await office.running.people.click(PAYMENTS, asked.ts, INSTEAD, JONAS)).ok
        await office.settle()
        after = await office.view()
        assert (after.plan_version, after.requester, after.plan.strategy) == (2, JONAS, Strategy.FULL)
        assert after.place == before.place
        told = office.private(JONAS, PAYMENTS)[-1]
        assert f"is now v2, in <#{RELEASES}> (Stages: " in told
        assert f"It took the place of what <@{MIRA}> asked for" in told
        lines = [line for line in office.thread() if "jonas changed the plan to v2" in line]
        assert len(lines) == 1, "Mira reads it"
        assert lines[0].endswith("asked for with: /rollout plan; earlier approvals no longer count.")


async def test_a_plan_that_changed_since_the_question_is_asked_about_anew(office: Office) -> None:
    await office.proposed()
    await office.rollout(f"plan {FLAG} --strategy full", user=JONAS, channel=PAYMENTS)
    await office.rollout(f"plan {FLAG} --strategy shadow")
    [asked] = [one for one in seen(office, JONAS) if INSTEAD in str(one.blocks)]
    assert (await office.running.people.click(PAYMENTS, asked.ts, INSTEAD, JONAS)).ok
    await office.settle()
    assert "v2 in <#CRELEASES>" in office.private(JONAS, PAYMENTS)[-1]
    assert ((await office.view()).plan_version, (await office.view()).requester) == (2, MIRA)


async def test_a_button_with_another_value_plans_nothing(office: Office) -> None:
    with pytest.raises(NotFound):
        wanted_in('{"rollout": "x", "version": 1}')
    with pytest.raises(InvalidInput):
        question(await office.proposed(), Wanted(rollout="0" * 32, version=1, spec="https://" + "x" * 2000), None)


def seen(office: Office, user: str) -> list[Message]:
    """What only this person sees in the channel for payments."""
    channel = office.running.workspace.channel(PAYMENTS)
    return [one for one in office.running.workspace.visible_messages(channel, user) if one.ephemeral_to == user]


async def test_a_plan_that_can_not_be_made_is_explained_to_the_one_who_asked(office: Office) -> None:
    await office.rollout("plan new-chekout", user=SAM)
    assert "I couldn't plan `new-chekout` for production." in office.private(SAM)[-1]
    assert f"Did you mean `{FLAG}`?" in office.private(SAM)[-1]
    assert office.cards() == []


async def test_plan_where_the_app_is_no_member_says_how_to_invite_it(office: Office) -> None:
    office.running.workspace.channel("CPAYMENTS").members.remove(office.running.settings.bot_user_id)
    answer = await office.rollout(f"plan {FLAG}", channel="CPAYMENTS")
    assert "/invite @Sluice" in answer
    assert await office.services.rollouts.open() == []


async def test_who_asked_for_a_plan_can_drop_it_by_command(office: Office) -> None:
    await office.proposed()
    assert "Reject" not in await office.rollout(f"cancel {FLAG} the spec was wrong")
    assert office.private(MIRA)[-1].startswith(f"The plan for `{FLAG}` in production is dropped.")
    assert "dropped the plan: the spec was wrong" in readable(office.card())
    assert (await office.view()).phase is Phase.CANCELLED


async def test_who_asked_for_a_plan_can_drop_it_with_a_button(office: Office) -> None:
    await office.proposed()
    assert await office.press("cancel", user=MIRA) is None
    assert (await office.view()).phase is Phase.CANCELLED
    assert office.buttons() == []


async def test_what_runs_is_not_dropped_and_the_way_back_is_said(office: Office) -> None:
    await office.started()
    said = await office.rollout(f"cancel {FLAG}")
    assert f"`/rollout rollback {FLAG}` takes it back" in said
    assert (await office.view()).phase is Phase.PROGRESSING


async def test_what_waits_for_an_approval_is_paused_with_a_button(office: Office) -> None:
    await office.started()
    await office.live(1)
    await office.press("promote", user=MIRA)
    assert (await office.view()).phase is Phase.WAITING_PROMOTION
    assert "pause" in office.buttons()
    await office.press("pause", user=MIRA)
    assert (await office.submit(office.dialog(MIRA), "Support is at lunch", user=MIRA)).ok
    assert (await office.view()).phase is Phase.PAUSED


async def test_start_asks_for_the_approval_that_policy_wants(office: Office) -> None:
    await office.proposed()
    answer = await office.rollout(f"start {FLAG}")
    assert f"`{FLAG}` in production waits for an approval: 0 of 1 so far." in answer
    assert "Open its card>" in answer
    assert (await office.view()).phase is Phase.PROPOSED


async def test_start_goes_ahead_where_no_approval_is_needed(office: Office) -> None:
    flags = office.services.flags
    assert isinstance(flags, EmbeddedFlagService)
    await flags.define(FlagRef(FLAG, "development"), "off", "on")
    await office.rollout(f"plan {FLAG} --env development")
    await until(office.cards)
    assert office.buttons() == ["start", "edit", "cancel"]
    answer = await office.rollout(f"start {FLAG}")
    assert f"`{FLAG}` in development starts at 1 %." in answer
    assert (await flags.read(FlagRef(FLAG, "development"))).exposure == Exposure(percent=1)


async def test_status_shows_the_card_without_buttons_and_the_plan(office: Office) -> None:
    await office.started()
    await office.live(2)
    answer = await office.rollout(f"status {FLAG}", user=SAM)
    assert "▶ *Progressing* · stage 1 of" in answer
    assert "*Must hold in every stage*" in answer
    assert "Roll back" not in answer


async def test_status_without_a_flag_and_list_show_every_open_rollout(office: Office) -> None:
    assert "Nothing is rolling out." in await office.rollout("list")
    await office.proposed()
    for command in ("list", "status"):
        answer = await office.rollout(command, user=SAM)
        assert "*1 open*" in answer
        assert f"*{FLAG}* in production · plan proposed" in answer


async def test_promote_by_the_requester_becomes_a_question_to_the_approvers(office: Office) -> None:
    await office.started()
    await office.live(3)
    answer = await office.rollout(f"promote {FLAG}", user=MIRA)
    assert "waits for an approval: 0 of 1 so far" in answer
    assert (await office.view()).phase is Phase.WAITING_PROMOTION
    answer = await office.rollout(f"promote {FLAG}", user=JONAS)
    assert f"`{FLAG}` in production goes to stage 2 of" in answer


async def test_pause_and_resume(office: Office) -> None:
    await office.started()
    answer = await office.rollout(f"pause {FLAG} --reason it's lunch, isn’t it", user=SAM)
    assert f"`{FLAG}` in production is paused at 1 %." in answer
    assert (await office.view()).pause_reason == "it's lunch, isn't it"
    assert office.buttons() == ["resume", "edit", "roll_back"]
    answer = await office.rollout(f"resume {FLAG}", user=SAM)
    assert f"`{FLAG}` in production goes on." in answer
    assert office.buttons() == ["promote", "pause", "edit", "roll_back"]


async def test_rollback_is_done_when_it_is_answered(office: Office) -> None:
    await office.started()
    answer = await office.rollout(f"rollback {FLAG} errors in Spain", user=SAM)
    assert f"`{FLAG}` in production is back at 0 %." in answer
    assert (await office.flag()).exposure.percent == 0
    view = await office.view()
    assert (view.phase, view.rollback_reason) == (Phase.ROLLED_BACK, "errors in Spain")
    assert office.buttons() == []


async def test_kill_ends_the_rollout(office: Office) -> None:
    await office.started()
    answer = await office.rollout(f"kill {FLAG} --reason fire", user=SAM)
    assert f"`{FLAG}` in production is back at 0 %." in answer
    assert (await office.view()).phase is Phase.ROLLED_BACK


async def test_kill_works_without_a_rollout_and_is_told_in_the_alerts_channel(office: Office) -> None:
    state = await office.flag()
    await office.services.flags.write(FlagRef(FLAG, "production"), Exposure(percent=40), expected=state.version)
    answer = await office.rollout(f"kill {FLAG} --env production --reason fire", user=SAM)
    assert f"`{FLAG}` in production is being taken to 0 %" in answer
    assert (await office.flag()).exposure.percent == 0
    ordered, done = [readable(message) for message in office.messages(ALERTS)]
    assert ordered.startswith(f"*{FLAG}* in production: ◀ sam is taking {FLAG} "), (
        "nobody is called for what somebody did"
    )
    assert "fire" in ordered
    assert "is at 0 % for everyone" in done


async def test_history_tells_who_did_what(office: Office) -> None:
    await office.started()
    answer = await office.rollout(f"history {FLAG}", user=SAM)
    for line in (
        f"<@{MIRA}> proposed plan v1.",
        f"<@{JONAS}> approved (1 of 1).",
        "started it at 1 %",
        "Read back as 1 %",
    ):
        assert line in answer


async def test_why_says_what_it_waits_for(office: Office) -> None:
    await office.started()
    await office.live(2)
    answer = await office.rollout(f"why {FLAG}", user=SAM)
    assert "It waits for proof that it is safe." in answer
    assert "*checkout-errors*" in answer
    assert "Not proven either way" in answer or "Burning in" in answer or "Too few" in answer


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("rolback new-checkout", "I don't know `rolback`. Did you mean `/rollout rollback`?"),
        ("stop new-checkout", "I don't know `stop`. Did you mean `/rollout pause`?"),
        ("xylophone", "I don't know `xylophone`. `/rollout help` shows what I can do."),
        ("why", "Which flag? Like `/rollout why checkout-v2`."),
        ("start new-chekout", f"Did you mean `{FLAG}`?"),
        (f"start {FLAG} --force", "has no option `--force`. It takes `--env`."),
        (f"plan {FLAG} --strategy brave", "`brave` is no strategy; choose canary, shadow or full."),
        (f"plan {FLAG} --env", "`--env` needs a value, like `--env staging`."),
        ("plan <!channel>", "can't be a flag's name"),
        ("list everything", "I don't know what to do with `everything`."),
    ],
)
async def test_what_is_not_understood_is_answered_with_what_would_be(office: Office, typed: str, sentence: str) -> None:
    answer = await office.rollout(typed, user=SAM)
    assert sentence in answer
    assert "<!channel>" not in answer
    assert office.messages() == []
    assert office.messages(RELEASES) == []
