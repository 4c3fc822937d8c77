"""What the card says and offers in each phase."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from bot import texts
from bot.blocks.answers import history_blocks, list_blocks, status_blocks, why_blocks
from bot.blocks.card import Picture, allowed_buttons, card, summary
from bot.blocks.plan import plan_blocks
from bot.blocks.questions import question as ask
from bot.workspace.blocks import check_message_blocks
from tests.unit.blocks.examples import (
    APPROVAL,
    CHECK,
    CONVERSION,
    ERRORS,
    JONAS,
    MIRA,
    NOW,
    OPEN,
    PAUSED,
    PLAN,
    PROGRESSING,
    PROPOSED,
    ROLLED_BACK,
    ROLLING_BACK,
    ROLLOUT,
    SAFE,
    WAITING,
    event,
    plain_blocks,
    question,
    read,
    stage,
)
from tools.gates import Direction, Harm, NoData, Outcome, Verdict
from tools.metrics.catalogue import MetricKind
from tools.plans.model import NOT_EXPOSED, Audience, Basis, Exposure, Facet, Guardrail, Mode, OnFail, Source
from tools.rollouts.approvals import Purpose
from tools.rollouts.events import Happening
from tools.rollouts.freezes import FreezeView
from tools.rollouts.judging import Numbers
from tools.rollouts.phases import Phase
from tools.rollouts.views import BacktestView, RolloutView

FREEZE = FreezeView(id=None, reason="year end", by=None, made_at=None, start=NOW, end=None)


def test_where_it_stands() -> None:
    shown = read(card(PROGRESSING))
    assert "checkout-v2 · production" in shown
    assert "▶ *Progressing* · stage 2 of 4" in shown
    assert "▰▰▱▱▱▱▱▱▱▱▱▱▱▱▱▱▱▱▱▱   *10 %* of users get `on`" in shown
    assert "✔ 1 %   ›   ● *10 %*   ›   ○ 50 %   ›   ○ 100 %" in shown
    assert summary(PROGRESSING) == "checkout-v2 · production: ▶ *Progressing* · stage 2 of 4 · 10 %"


ALREADY = Exposure(percent=0.5)
ASKED = replace(PROPOSED, approval=replace(question(Purpose.START, 0), served=ALREADY), found=ALREADY)


def test_before_the_start_it_says_what_is_served_all_the_same() -> None:
    assert "Not started: served as before, 0.5 %" in read(card(ASKED))
    assert "Approval needed:* start, from 0.5 % to 1 %" in read(card(ASKED))
    assert "Not started: served as before, 0.5 %" in read(list_blocks([ASKED]))
    ended = replace(ASKED, phase=Phase.CANCELLED, approval=None)
    assert "Never started: nothing was changed · it served 0.5 % when people were last asked" in read(card(ended))
    moved = replace(ASKED, approval=None)
    assert "Not started: nothing was changed yet · it served 0.5 % when people were last asked" in read(card(moved))
    assert ask(ASKED.plan, replace(question(Purpose.START, 0), served=ALREADY)) == "start at 1 %, from 0.5 %?"
    assert ask(ASKED.plan, replace(question(Purpose.START, 0), served=NOT_EXPOSED)) == "start at 1 %?"


def test_what_nobody_looked_at_is_not_called_unexposed() -> None:
    unknown = replace(PROPOSED, approval=None)
    assert "Not started: nothing was changed yet" in read(card(unknown))
    assert "Never started: nothing was changed" in read(card(replace(unknown, phase=Phase.CANCELLED)))


def test_when_the_verdict_should_come_is_said_while_it_goes_on() -> None:
    soon = "At this pace the gate passes in about 12 min <!channel>."
    assert "⏱ At this pace the gate passes in about 12 min &lt;!channel&gt;." in read(card(PROGRESSING, outlook=soon))
    assert "⏱" not in read(card(PAUSED, outlook=soon))


def test_each_guardrail_against_its_limit_with_evidence_sample_and_age() -> None:
    shown = read(card(PROGRESSING))
    assert "◌ *errors* not proven yet\n*0.61 %* · at most 1.04 % (2 × control's 0.52 %)" in shown
    assert "▰▰▰▰▰▰▰▱▱▱ evidence 7.2 of 20 needed\nsample 812 of 1,000 · newest data 3 s old" in shown
    assert "✔ *conversion* proven safe\n*11.3 %* · at least 8.88 % (control's 11.1 % ÷ 1.25)" in shown
    assert "▰▰▰▰▰▰▰▰▰▰ evidence 34 of 20 needed\nsample 5,120 of 4,000 · newest data 2 min old" in shown


def test_numbers_and_their_units_stay_on_one_line() -> None:
    fields = [block["fields"] for block in plain_blocks(card(PROGRESSING)) if "fields" in block]
    assert fields[0][0]["text"].endswith("*0.61\xa0%* · at most 1.04\xa0% (2 × control's 0.52\xa0%)")
    assert fields[0][1]["text"].endswith("sample 812 of 1,000 · newest data 3\xa0s old")


def test_what_was_before_and_who_approved_what() -> None:
    start = event(Happening.APPROVAL_GRANTED, JONAS, purpose="start", to_stage=0, by=[JONAS])
    stage_2 = event(Happening.APPROVAL_GRANTED, JONAS, purpose="promote", to_stage=1, by=[JONAS, "UAIKO0001"])
    finish = event(Happening.APPROVAL_GRANTED, JONAS, purpose="promote", to_stage=4, by=[MIRA])
    shown = read(card(PROGRESSING, [event(Happening.STARTED, JONAS)], approved=[start, stage_2, finish]))
    assert "before 0 %   ›   ✔ 1 %   ›" in shown
    at = "<!date^1772366405^{date_short_pretty} at {time}|2026-03-01 12:00 UTC>"
    assert (
        f"✔ *Approved:* the start by <@{JONAS}>, {at} · stage 2 by <@{JONAS}>, <@UAIKO0001>, {at} · "
        f"the end by <@{MIRA}>, {at}"
    ) in shown


def test_what_was_found_stays_on_the_card_of_what_was_taken_back() -> None:
    harmful = replace(OPEN, outcome=Outcome.FAIL, harm=Harm.PROVEN, harm_e=81.0, treatment_rate=0.0141)
    check = replace(CHECK, guardrails=((ERRORS, harmful, NOW), (CONVERSION, SAFE, NOW)))
    shown = read(card(replace(ROLLED_BACK, check=check)))
    assert "✖ *errors* proven harmful\n*1.41 %* · at most 1.04 % (2 × control's 0.52 %)" in shown
    assert "conversion" not in shown


def test_a_picture_has_its_text() -> None:
    [image] = [
        block
        for block in plain_blocks(card(PROGRESSING, picture=Picture("F1", "How\nit went")))
        if block["type"] == "image"
    ]
    assert image == {"type": "image", "slack_file": {"id": "F1"}, "alt_text": "How it went"}


def test_when_it_was_checked_and_will_be() -> None:
    assert (
        f"Asked for by <@{MIRA}> · plan v1 `{PLAN.sha256[:8]}` · checked <!date^1772366405^{{time_secs}}|12:00:05 UTC>"
        " · next <!date^1772366420^{time_secs}|12:00:20 UTC>"
    ) in read(card(PROGRESSING))


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (replace(OPEN, harm=Harm.SUSPECTED, harm_e=24.0), "⚠ *errors* harm suspected"),
        (replace(OPEN, outcome=Outcome.FAIL, harm=Harm.PROVEN, harm_e=212.0), "✖ *errors* proven harmful"),
        (replace(OPEN, treatment_n=0), "◌ *errors* warming up, not counted yet"),
        (replace(OPEN, safe_e=50.0), "◌ *errors* looks safe, sample too small"),
        (replace(OPEN, safe_e=50.0, treatment_n=OPEN.min_sample), "◌ *errors* proven safe, baking"),
        (Verdict(Outcome.ERROR, "The database is down."), "⚠ *errors* can't be measured\n>The database is down."),
        (
            Verdict(Outcome.NO_DATA, "Nothing came.", no_data=NoData.NO_TRAFFIC),
            "⚠ *errors* no data: no traffic\n>Nothing came.",
        ),
    ],
)
def test_each_judgement_in_words_and_with_a_glyph(verdict: Verdict, said: str) -> None:
    assert said in read(card(replace(PROGRESSING, check=replace(CHECK, guardrails=((ERRORS, verdict, None),)))))


def test_evidence_of_harm_is_shown_once_it_is_worth_a_word() -> None:
    some = replace(PROGRESSING, check=replace(CHECK, guardrails=((ERRORS, replace(OPEN, harm_e=4.0), NOW),)))
    assert "⚠ evidence of harm 4.0; 50 rolls back" in read(card(some))
    assert "evidence of harm" not in read(card(PROGRESSING))


def test_without_control_the_limit_is_the_ceiling() -> None:
    everyone = replace(PROGRESSING, stage=3, exposure=Exposure(percent=100))
    assert "*0.61 %* · at most 0.52 %\n" in read(card(everyone)) + "\n"


def test_control_that_was_never_seen_is_not_a_number() -> None:
    unseen = replace(OPEN, control_rate=None)
    shown = read(card(replace(PROGRESSING, check=replace(CHECK, guardrails=((ERRORS, unseen, None),)))))
    assert "*0.61 %* · at most 2 × control" in shown
    assert "no data seen" in shown


def test_a_pending_approval_with_quorum_and_expiry() -> None:
    shown = read(card(WAITING))
    assert "✋ *Approval needed:* go from 10 % to 50 %" in shown
    assert "*Why ask:* the flag is revenue-critical" in shown
    assert (
        f"*1 of 2 approved* by <@{JONAS}> · asked by <@{MIRA}> · expires "
        "<!date^1772452805^{date_short_pretty} at {time}|2026-03-02 12:00 UTC>"
    ) in shown


def test_a_proposed_plan_shows_what_will_happen() -> None:
    shown = read(card(PROPOSED))
    assert "✋ *Approval needed:* start at 1 %" in shown
    assert "*Canary* · `off` → `on` · 4 stages · at least 40 min, checked every 15 s" in shown
    assert "• `errors` at most 2 × control · proven harm rolls back" in shown
    assert "• `conversion` at least control ÷ 1.25 · proven harm pauses" in shown
    assert "• A doubling of errors shows within 9 min." in shown
    [table] = [block for block in plain_blocks(card(PROPOSED)) if block["type"] == "table"]
    rows = [[cell["text"] for cell in row] for row in table["rows"]]
    assert rows[0] == ["Stage", "Exposure", "At least", "At most", "Sample"]
    assert rows[2] == ["2", "10 %", "10 min", "2 h", "4,000"]


def test_a_plan_whose_stages_differ_says_what_holds_in_each() -> None:
    paused = ERRORS.model_copy(update={"on_fail": OnFail.PAUSE})
    plan = PLAN.model_copy(update={"stages": (stage(1, paused), stage(10))})
    [table] = [block for block in plain_blocks(plan_blocks(plan)) if block["type"] == "table"]
    assert table["rows"][2][-1]["text"] == "errors ≤ 2 × control; conversion ≥ control ÷ 1.25"
    assert "Must hold in every stage" not in read(plan_blocks(plan))


def test_a_plan_says_which_guardrails_a_stage_lacks() -> None:
    plan = PLAN.model_copy(update={"stages": (stage(1), stage(10, ERRORS))})
    shown = read(plan_blocks(plan))
    assert "*Must hold*\n• `errors` at most 2 × control · proven harm rolls back" in shown
    assert "• `conversion` at least control ÷ 1.25 · proven harm pauses, not in stage 2" in shown


def test_a_plan_watches_the_split_in_words_of_its_own() -> None:
    split = ERRORS.model_copy(update={"metric": "assignments", "of_split": True, "on_fail": OnFail.PAUSE})
    shown = read(plan_blocks(PLAN.model_copy(update={"stages": (stage(1, ERRORS, split), stage(10, ERRORS))})))
    assert "• `assignments`: assignments split as planned · proven harm pauses, not in stage 2" in shown


REVENUE = Guardrail(metric="revenue", direction=Direction.DECREASE, margin=1.05)
LATENCY = Guardrail(metric="latency", margin=1.25)
SPLIT = Guardrail(metric="assignments", of_split=True, on_fail=OnFail.PAUSE)
EUR, SECONDS = (
    Numbers(kind=MetricKind.MEAN, cap=100.0, unit="EUR"),
    Numbers(kind=MetricKind.LATENCY, sums=True, unit="s"),
)


@pytest.mark.parametrize(
    ("rail", "numbers", "rates", "words"),
    [
        (REVENUE, EUR, (21.4312, 22.0), "*21.43 EUR* · at least 20.95 EUR (control's 22 EUR ÷ 1.05)"),
        (LATENCY, SECONDS, (0.0983, 0.1), "*0.0983 s* · at most 0.125 s (1.25 × control's 0.1 s)"),
        (LATENCY, Numbers(kind=MetricKind.LATENCY), (None, None), "*1.03 × control* · at most 1.25 × control"),
        (SPLIT, Numbers(kind=MetricKind.ASSIGNMENTS), (0.0512, 0.05), "*5.12 %* of new assignments · 5 % planned"),
        (REVENUE, EUR.model_copy(update={"unit": "<!channel>"}), (2e6, 1.0), "*2,000,000 &lt;!channel&gt;*"),
    ],
)
def test_means_and_latencies_are_given_in_their_unit_and_splits_in_words_of_their_own(
    rail: Guardrail, numbers: Numbers, rates: tuple[float | None, float | None], words: str
) -> None:
    verdict = replace(OPEN, treatment_rate=rates[0], control_rate=rates[1], ratio=1.03)
    check = replace(CHECK, guardrails=((rail, verdict, None),), numbers={rail.metric: numbers})
    assert words in read(card(replace(PROGRESSING, check=check)))


@pytest.mark.parametrize(
    ("rail", "levels", "words"),
    [
        (ERRORS, (20.0, 50.0), "50 rolls back"),
        (ERRORS, (40.0, 100.0), "100 rolls back"),
        (SPLIT, (1000.0, None), "1,000 pauses"),
        (ERRORS.model_copy(update={"on_fail": OnFail.PAUSE}), (20.0, 50.0), "20 pauses"),
    ],
)
def test_the_evidence_that_is_needed_is_the_verdicts(
    rail: Guardrail, levels: tuple[float, float | None], words: str
) -> None:
    verdict = replace(OPEN, harm_e=12.0, pause_from=levels[0], rollback_from=levels[1])
    shown = read(card(replace(PROGRESSING, check=replace(CHECK, guardrails=((rail, verdict, None),)))))
    assert f"⚠ evidence of harm 12; {words}" in shown


@pytest.mark.parametrize(
    ("outcome", "words"), [(Outcome.PASS, "as planned"), (Outcome.INCONCLUSIVE, "too few to tell")]
)
def test_a_split_is_as_planned_and_never_proven_safe(outcome: Outcome, words: str) -> None:
    verdict = replace(OPEN, outcome=outcome)
    shown = read(card(replace(PROGRESSING, check=replace(CHECK, guardrails=((SPLIT, verdict, None),)))))
    assert f"*assignments* {words}" in shown
    assert "needed" not in shown


def test_a_plan_says_what_its_numbers_rest_on_with_foreign_words_escaped() -> None:
    words = Basis(source=Source.PERSON, of=Facet.EXPOSURE, text="start small <!channel>")
    also = words.model_copy(update={"of": Facet.HOLD})
    usual = Basis(source=Source.DEFAULT, of=Facet.HOLD, text="at least 30 min is usual")
    margin = Basis(source=Source.SPEC, of=Facet.MARGIN, text="margin: 2.0")
    first, *others = PLAN.stages
    stages = [first.model_copy(update={"basis": (also, words)})]
    stages += [one.model_copy(update={"basis": (usual,)}) for one in others]
    stages = [
        one.model_copy(update={"guardrails": tuple(r.model_copy(update={"basis": (margin,)}) for r in one.guardrails)})
        for one in stages
    ]
    shown = read(plan_blocks(PLAN.model_copy(update={"stages": tuple(stages)})))
    assert "spec: “margin: 2.0”" in shown
    assert "Stage 1, at least, exposure · asked for: “start small &lt;!channel&gt;”" in shown
    assert "at least · at least 30 min is usual" in shown
    assert "<!channel>" not in shown


def test_why_it_paused_and_what_ends_it() -> None:
    shown = read(card(replace(PAUSED, blind_since=NOW)))
    assert "*Why it paused*\n>errors: harm suspected\n*What ends it:* Resume, or roll back." in shown
    assert "*Blind since <!date^1772366405^{time_secs}|12:00:05 UTC>.*" in shown


def test_a_rollback_with_before_and_after() -> None:
    began = event(Happening.ROLLBACK_STARTED, before="10 %", target="0 %", reason="errors: proven harmful")
    under_way = read(card(replace(ROLLING_BACK, error="The flag service is down."), [began]))
    assert "◀ *Rolling back*" in under_way
    assert "Setting 0 % has not worked yet, and is tried again: The flag service is down." in under_way
    done = read(card(ROLLED_BACK, [began]))
    assert "*Before:* 10 %   →   *After:* 0 %" in done
    assert ">errors: proven harmful" in done


def test_what_is_being_set_and_what_is_watched() -> None:
    assert "Setting 50 % …" in read(card(replace(PROGRESSING, setting=Exposure(percent=50))))
    watched = read(card(replace(ROLLING_BACK, verify_until=NOW + timedelta(seconds=60))))
    assert "watched until <!date^1772366465" in watched


def test_who_decided_what_and_when() -> None:
    decided = [
        event(Happening.APPROVAL_VOTED, JONAS, answer="approve", have=1, needed=2),
        event(Happening.PROMOTED, before="1 %", after="10 %", why="Proven safe."),
    ]
    shown = read(card(PROGRESSING, decided))
    assert f"12:00 UTC>   ✔ <@{JONAS}> approved (1 of 2)." in shown
    assert "▶ Sluice promoted it from 1 % to 10 %: Proven safe." in shown


def test_shadow_and_audience_in_words() -> None:
    exposure = Exposure(percent=5, mode=Mode.SHADOW, audience=Audience(regions=("eu",), tenants=("acme",)))
    shown = read(card(replace(PROGRESSING, exposure=exposure)))
    assert "`on` runs in shadow for *5 %* of users of acme, eu; they still get `off`" in shown


@pytest.mark.parametrize(
    ("view", "buttons"),
    [
        (PROPOSED, ["approve", "reject", "edit", "cancel"]),
        (replace(PROPOSED, approval=None), ["start", "edit", "cancel"]),
        (PROGRESSING, ["promote", "pause", "edit", "roll_back"]),
        (replace(PROGRESSING, stage_since=None), ["pause", "edit", "roll_back"]),
        (replace(PROGRESSING, stage=3), ["pause", "edit", "roll_back"]),
        (WAITING, ["approve", "reject", "pause", "edit", "roll_back"]),
        (PAUSED, ["resume", "edit", "roll_back"]),
        (ROLLING_BACK, []),
        (ROLLED_BACK, []),
        (replace(PROPOSED, frozen=FREEZE), ["reject", "edit", "cancel"]),
        (replace(PROPOSED, approval=None, frozen=FREEZE), ["edit", "cancel"]),
        (replace(PROGRESSING, frozen=FREEZE), ["pause", "edit", "roll_back"]),
        (replace(WAITING, frozen=FREEZE), ["reject", "pause", "edit", "roll_back"]),
        (
            replace(WAITING, stage=3, approval=question(Purpose.PROMOTE, 4), frozen=FREEZE),
            ["approve", "reject", "pause", "edit", "roll_back"],
        ),
        (replace(PAUSED, frozen=FREEZE), ["resume", "edit", "roll_back"]),
        (replace(PAUSED, exposure=Exposure(percent=1), frozen=FREEZE), ["edit", "roll_back"]),
        (replace(PROGRESSING, phase=Phase.SUCCEEDED), []),
        (replace(PROPOSED, phase=Phase.CANCELLED, approval=None), []),
    ],
)
def test_only_the_buttons_that_the_state_allows(view: RolloutView, buttons: list[str]) -> None:
    offered = [button.to_dict() for button in allowed_buttons(view)]
    assert [button["action_id"].removeprefix("rollout.") for button in offered] == buttons
    for button in offered:
        about = APPROVAL if button["action_id"] in ("rollout.approve", "rollout.reject") else ROLLOUT
        assert button["value"] == about, "an id and nothing else"
        assert (button.get("style") == "danger") == (button["action_id"] == "rollout.roll_back")
        assert ("confirm" in button) == (
            button["action_id"] in ("rollout.roll_back", "rollout.promote", "rollout.resume", "rollout.cancel")
        )


def test_a_confirm_dialog_names_no_zone() -> None:
    reason = "errors has counted no requests since 01 Mar 2026 12:00:05 UTC."
    said = [str(button.to_dict().get("confirm")) for button in allowed_buttons(replace(PAUSED, pause_reason=reason))]
    assert "paused: errors has counted no requests since the time on the card." in said[0]
    assert not any("UTC" in one for one in said)


@pytest.mark.parametrize(
    ("served", "said"),
    [
        (10, "checkout-v2 in production goes on at 10 %. It paused: errors: harm suspected"),
        (0.5, "checkout-v2 in production goes from 0.5 % to 10 %. An approver decides, "),
    ],
)
def test_whoever_resumes_reads_first_what_is_served_then(served: float, said: str) -> None:
    resume, *_ = allowed_buttons(replace(PAUSED, exposure=Exposure(percent=served)))
    assert resume.to_dict()["confirm"]["text"]["text"].startswith(said)


def test_no_phase_is_told_by_its_glyph_alone() -> None:
    assert set(texts.PHASES) == set(Phase)
    words = [said for _, said in texts.PHASES.values()]
    assert len(set(words)) == len(words)
    assert all(re.search(r"[a-z]{4}", said) for said in words)


def test_the_largest_card_there_can_be_is_cut_and_not_refused() -> None:
    endless = "a sentence that does not end & so on; " * 200
    rail = Guardrail(metric="m" * 200)
    blind = Verdict(Outcome.ERROR, endless)
    many = tuple((rail.model_copy(update={"metric": f"m{n}" + "m" * 190}), blind, None) for n in range(30))
    stages = tuple(stage(n + 1, *(one for one, _, _ in many[: 8 + n % 2])) for n in range(20))
    view = replace(
        WAITING,
        plan=PLAN.model_copy(update={"stages": stages, "flag": "f" * 200, "rationale": (endless,) * 40}),
        flag="f" * 200,
        environment="e" * 200,
        approval=replace(question(Purpose.PROMOTE, 2, *[endless] * 40), why=endless),
        check=replace(CHECK, guardrails=many),
        error=endless,
        setting=Exposure(percent=5, audience=Audience(tenants=("t" * 200,) * 50)),
        pause_reason=endless,
        pause_ends=endless,
        rollback_reason=endless,
        blind_since=NOW,
    )
    past = [event(Happening.PAUSED, endless, reason=endless, ends=endless)] * 30
    for phase in Phase:
        shown = replace(view, phase=phase)
        for blocks in (
            card(shown, past),
            status_blocks(shown, past, "https://acme.slack.com/archives/C1/p1"),
            why_blocks(shown),
            history_blocks(shown, past),
            list_blocks([shown] * 40),
        ):
            check_message_blocks(plain_blocks(blocks), {})
    assert [button.to_dict()["action_id"] for button in allowed_buttons(view)][-1] == "rollout.roll_back"
    assert any(block["type"] == "actions" for block in plain_blocks(card(view, past)))


def test_the_limits_of_a_safe_sentence() -> None:
    both = replace(CHECK, guardrails=((ERRORS, SAFE, NOW), (CONVERSION, SAFE, NOW)))
    assert read(card(replace(PROGRESSING, check=both))).count("proven safe") == 2


def test_what_a_backtest_found_stands_below_the_plan_until_it_starts() -> None:
    found = BacktestView(NOW, "Over the last 14 days: 0 of 200 times & <none> caught.")
    shown = read(card(replace(PROPOSED, backtest=found)))
    assert "*Backtest* · Over the last 14 days: 0 of 200 times &amp; &lt;none&gt; caught." in shown
    assert "Backtest" not in read(card(PROPOSED))
    assert "Backtest" not in read(card(replace(PROPOSED, backtest=found, phase=Phase.CANCELLED)))
