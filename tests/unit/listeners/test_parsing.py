"""What people type after /rollout, however their keyboard spells it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.listeners.parsing import SHAPES, Command, NotUnderstood, parse


@pytest.mark.parametrize(
    ("typed", "command"),
    [
        ("", Command("start")),
        ("plan -e staging", Command("plan", environment="staging")),
        ("  HELP ", Command("help")),
        ("list", Command("list")),
        ("status", Command("status")),
        ("plan checkout-v2", Command("plan", "checkout-v2")),
        ("plan `checkout-v2` --env=staging", Command("plan", "checkout-v2", environment="staging")),
        ("plan —env staging checkout-v2", Command("plan", "checkout-v2", environment="staging")),
        ("plan checkout-v2 –strategy “shadow”", Command("plan", "checkout-v2", strategy="shadow")),
        ("plan\u00a0checkout-v2 -e ‘eu-west’", Command("plan", "checkout-v2", environment="eu-west")),
        ("plan <http://checkout.v2|checkout.v2>", Command("plan", "checkout.v2")),
        ("pause f --reason it’s lunch", Command("pause", "f", reason="it's lunch")),
        ("pause f it's lunch", Command("pause", "f", reason="it's lunch")),
        ('pause f --reason "a --env of sorts" --env dev', Command("pause", "f", "dev", reason="a --env of sorts")),
        ('rollback f --reason="5xx &amp; 4xx &gt; 2 %"', Command("rollback", "f", reason="5xx & 4xx > 2 %")),
        ('rollback f -r "never closed', Command("rollback", "f", reason="never closed")),
        ("kill team/f:1 --env production --reason fire", Command("kill", "team/f:1", "production", reason="fire")),
    ],
)
def test_it_is_understood(typed: str, command: Command) -> None:
    assert parse(typed) == command


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("staus f", "I don't know `staus`. Did you mean `/rollout status`?"),
        ("abort f", "I don't know `abort`. Did you mean `/rollout rollback`?"),
        ("qqqq", "I don't know `qqqq`. `/rollout help` shows what I can do."),
        ("`&lt;!here&gt;`", "I don't know `<!here>`. `/rollout help` shows what I can do."),
        ("why", "Which flag? Like `/rollout why checkout-v2`."),
        ("plan f --colour red", "`/rollout plan` has no option `--colour`. It takes `--env` and `--strategy`."),
        ("help --env x", "`/rollout help` takes no options, so I can't use `--env`."),
        ("pause f --reason", "`--reason` needs a value, like `--reason errors in Spain`."),
        ("pause f --env a --env b", "`--env` is given twice; keep one."),
        ("pause f more --reason words", "I don't know what to do with `more`. Like `/rollout pause checkout-v2`."),
        ("start f g", "I don't know what to do with `g`. Like `/rollout start checkout-v2`."),
        ("plan ../etc", "`../etc` can't be a flag's name: letters, digits and . _ : / - only."),
        ("plan f --env <!channel>", "`<!channel>` can't be a flag's name: letters, digits and . _ : / - only."),
    ],
)
def test_it_is_not_understood_and_says_what_would_be(typed: str, sentence: str) -> None:
    with pytest.raises(NotUnderstood) as caught:
        parse(typed)
    assert str(caught.value) == sentence


@given(
    st.one_of(
        st.text(), st.lists(st.sampled_from([*SHAPES, "f", "--env", "-r", "“", '"', "—", "=", "<"])).map(" ".join)
    )
)
def test_anything_is_a_command_or_a_sentence(typed: str) -> None:
    command, sentence = None, ""
    try:
        command = parse(typed)
    except NotUnderstood as error:
        sentence = str(error)
    assert command.subcommand in SHAPES if command else 10 < len(sentence) < 300


@pytest.mark.parametrize(
    "text",
    [
        "plan new-checkout https://wiki.example.com/a?b=c",
        "plan new-checkout <https://wiki.example.com/a?b=c> --env staging",
        "plan new-checkout --env staging https://wiki.example.com/a?b=c",
    ],
)
def test_a_plan_names_the_document_that_is_its_spec(text: str) -> None:
    command = parse(text)
    assert (command.flag, command.spec) == ("new-checkout", "https://wiki.example.com/a?b=c")


@pytest.mark.parametrize(
    "text", ["plan new-checkout http://wiki.example.com/a", "status new-checkout https://a.example/b"]
)
def test_no_other_address_is_a_spec(text: str) -> None:
    with pytest.raises(NotUnderstood):
        parse(text)
