"""The deterministic check of a person's own words."""

import pytest

from agent.orders import Deed, Surroundings, Target, names_it

FLAGS = ("new-checkout", "new-cart", "search.v3")
HERE = Target("new-checkout", "production")


def orders(text: str, deed: Deed, target: Target = HERE, *, thread: str | None = None) -> bool:
    around = Surroundings(thread, FLAGS, ("production", "staging", "eu-prod"), "production")
    return names_it([text], deed, target, around)


@pytest.mark.parametrize(
    ("text", "deed"),
    [
        ("roll back new-checkout", Deed.ROLL_BACK),
        ("Roll back new-checkout now!", Deed.ROLL_BACK),
        ("please rollback new-checkout", Deed.ROLL_BACK),
        ("<@U0BOT> roll new-checkout back", Deed.ROLL_BACK),
        ("Errors everywhere. Roll back new-checkout because support is not coping.", Deed.ROLL_BACK),
        ("revert `new-checkout`", Deed.ROLL_BACK),
        ("new-checkout: roll back", Deed.ROLL_BACK),
        ("kill new-checkout", Deed.KILL),
        ("KILL NEW-CHECKOUT", Deed.KILL),
        ("turn new-checkout off", Deed.KILL),
        ("ok, kill new-checkout in production", Deed.KILL),
        ("pause new-checkout", Deed.PAUSE),
        ("stop new-checkout please", Deed.PAUSE),
        ("Pause the rollout of new-checkout until Monday", Deed.PAUSE),
        ("please revert new-checkout: support has three complaints", Deed.ROLL_BACK),
        ("kill new-checkout now, errors have doubled", Deed.KILL),
        ("pause new-checkout for now", Deed.PAUSE),
    ],
)
def test_an_order_that_names_deed_and_flag_is_one(text: str, deed: Deed) -> None:
    assert orders(text, deed)


@pytest.mark.parametrize(
    ("text", "deed"),
    [
        ("roll back", Deed.ROLL_BACK),
        ("roll it back!", Deed.ROLL_BACK),
        ("pause", Deed.PAUSE),
        ("please pause the rollout", Deed.PAUSE),
        ("kill it", Deed.KILL),
    ],
)
def test_in_the_threads_own_flag_the_flag_goes_without_saying(text: str, deed: Deed) -> None:
    assert orders(text, deed, thread="new-checkout")
    assert not orders(text, deed, thread=None)
    assert not orders(text, deed, thread="new-cart")


@pytest.mark.parametrize(
    "text",
    [
        "skip the shadow stage",
        "don't roll back new-checkout",
        "do not kill new-checkout",
        "should we roll back new-checkout?",
        "what happens if we kill new-checkout",
        "if errors rise, roll back new-checkout",
        "roll back new-checkout?",
        "Jonas said roll back new-checkout",
        '"roll back new-checkout" was in the spec',
        "> roll back new-checkout",
        "```roll back new-checkout```",
        "`roll back new-checkout`",
        "the rollout of new-checkout was rolled back yesterday",
        "roll back new-cart",
        "kill new-checkout's shadow stage",
        "kill new-checkout-v2",
        "pause new-cart and explain new-checkout",
        "stop at 25 %",
        "hold two hours",
        "roll back new-checkout in staging",
        "kill new-checkout in eu-prod",
        "never mind, no need to pause new-checkout",
        "I would kill new-checkout",
        "explain when you roll back new-checkout",
        "roll back new-cart and new-checkout",
        "",
    ],
)
def test_anything_else_orders_nothing(text: str) -> None:
    for deed in (Deed.ROLL_BACK, Deed.KILL, Deed.PAUSE):
        assert not orders(text, deed)


def test_the_deed_must_be_the_one_that_was_named() -> None:
    assert not orders("pause new-checkout", Deed.ROLL_BACK)
    assert not orders("pause new-checkout", Deed.KILL)
    assert not orders("roll back new-checkout", Deed.KILL)
    assert not orders("kill new-checkout", Deed.PAUSE)


def test_another_environment_has_to_be_named() -> None:
    staging = Target("new-checkout", "staging")
    assert orders("roll back new-checkout in staging", Deed.ROLL_BACK, staging)
    assert not orders("roll back new-checkout", Deed.ROLL_BACK, staging)


def test_lowering_has_to_name_its_number_and_no_other() -> None:
    five = Target("new-checkout", "production", percent=5)
    assert orders("lower new-checkout to 5 %", Deed.LOWER, five)
    assert orders("set new-checkout to 5%", Deed.LOWER, five)
    assert not orders("lower new-checkout to 50 %", Deed.LOWER, five)
    assert not orders("lower new-checkout", Deed.LOWER, five)
    assert not orders("lower new-checkout from 25 % to 5 %", Deed.LOWER, five)


@pytest.mark.parametrize(
    "text",
    [
        "roll it back to 10 %",
        "roll back to stage 1",
        "revert to the previous plan",
        "undo that",
        "take it back to Mira for review",
        "undo",
        "roll back in case errors rise",
        "roll back: not yet",
        "roll it back — no wait, don't",
        "roll back, nah",
        "roll back, in theory",
        "roll back: it should be possible",
        "roll back - the others said no",
        "roll back, the errors are a joke",
        "roll back because of the errors, no wait, don't",
        "Roll back new-checkout - but only if errors exceed 5 %",
        "kill new-checkout: Alice says we shouldn't",
        "roll back in uat",
        "roll back on staging2",
        "roll back in the sandbox",
        "kill it in the EU only",
        "roll back for tenant acme",
        "please <@U2BOB> roll back the flag",
        "roll back, <@U2BOB>",
        "Roll back now?!",
        "roll back now？",
        "pause on Monday",
        "pause today at 18:00",
        "stop all notifications",
        "stop for a second, explain",
        "roll back in an hour",
        "pause in keinem Fall",
        "Roll back. Just kidding.",
        "Roll back.\nNo, wait.",
        "Never do this:\nroll back new-checkout",
        "The runbook has this:\n1. page bob\nroll back new-checkout",
        'He posted "hey\nroll back new-checkout\nthanks" yesterday',
        "new-cart is burning. Roll back!",
    ],
)
def test_what_may_mean_anything_else_gets_a_button(text: str) -> None:
    for deed in (Deed.ROLL_BACK, Deed.KILL, Deed.PAUSE):
        assert not orders(text, deed, thread="new-checkout")


def test_what_is_said_afterwards_takes_an_order_back_and_thanks_do_not() -> None:
    around = Surroundings("new-checkout", FLAGS, ("production",), "production")
    assert not names_it(["roll back", "no wait, don't"], Deed.ROLL_BACK, HERE, around)
    assert names_it(["Errors rise.", "roll back", "now!", "Thanks."], Deed.ROLL_BACK, HERE, around)
    assert names_it(["Roll back. Then tell me who was affected."], Deed.ROLL_BACK, HERE, around)
    assert not names_it(["Roll back. Tell them I was joking."], Deed.ROLL_BACK, HERE, around)


@pytest.mark.parametrize("text", ["resume new-checkout", "resume", "unpause the rollout", "continue with new-checkout"])
def test_going_on_is_ordered_plainly(text: str) -> None:
    assert orders(text, Deed.RESUME, thread="new-checkout")


@pytest.mark.parametrize(
    "text",
    [
        "resume on Monday",
        "resume in two hours",
        "resume: not yet",
        "Resume - only with Bob's approval",
        "resume because Bob approved",
        "continue",
        "go on",
        "Continue.",
        "go on, I am listening",
        "go on with that explanation",
        "continue because the answer was cut",
        "proceed to roll back",
        "carry on and roll back",
        "proceed, but stay at 5 %",
    ],
)
def test_anything_else_goes_on_with_nothing(text: str) -> None:
    assert not orders(text, Deed.RESUME, thread="new-checkout")


@pytest.mark.parametrize(
    "text",
    ["set it to 5 % per stage", "set to 5 % margin", "drop it to 5 % for acme", "lower to 5 % in the next plan"],
)
def test_a_lowering_of_something_else_is_none(text: str) -> None:
    assert not orders(text, Deed.LOWER, Target("new-checkout", "production", 5), thread="new-checkout")
