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
