"""The workspace's parts that need neither a server nor an app."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from bot.workspace.delivery import Attempt, Courier, DeliveryFailed
from bot.workspace.errors import Refusal
from bot.workspace.faults import Faults
from bot.workspace.feed import Feed
from bot.workspace.http_delivery import sign
from bot.workspace.inputs import REQUIRED, complaints, state_values
from bot.workspace.people import compose
from bot.workspace.records import Message
from bot.workspace.settings import Prompt, WorkspaceSettings
from bot.workspace.state import Workspace
from bot.workspace.tickets import RESPONSE_URL_LIFETIME, TicketOffice
from tools.clock import ManualClock

Json = dict[str, Any]


def code_of(call: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(Refusal) as caught:
        call(*arguments, **named)
    return caught.value.code


def block(element: Json, **more: Any) -> Json:
    return {"type": "input", "block_id": "b", "label": {"type": "plain_text", "text": "L"}, "element": element, **more}


# --- tickets


def test_a_response_url_has_five_uses() -> None:
    office = TicketOffice(ManualClock())
    token = office.issue_response(channel="C", user="U")
    for _ in range(5):
        assert office.redeem_response(token).user == "U"
    assert code_of(office.redeem_response, token) == "used_url"
    assert code_of(office.redeem_response, "guess") == "invalid_url"


def test_a_response_url_lives_half_an_hour() -> None:
    clock = ManualClock()
    office = TicketOffice(clock)
    token = office.issue_response(channel="C", user="U")
    clock.advance(RESPONSE_URL_LIFETIME / timedelta(seconds=1))
    assert code_of(office.redeem_response, token) == "expired_url"


# --- faults


def test_rate_limits_by_count_by_time_and_by_method() -> None:
    clock = ManualClock()
    faults = Faults(clock)
    faults.limit("chat.update", times=1, retry_after=3)
    faults.limit(seconds=10)
    assert faults.retry_after("chat.update") == 3
    assert faults.retry_after("chat.update") == 1
    clock.advance(10)
    assert faults.retry_after("chat.update") is None


def test_an_outage_may_end_by_itself() -> None:
    clock = ManualClock()
    faults = Faults(clock)
    faults.begin_outage("refused", seconds=5)
    assert faults.outage == "refused"
    clock.advance(5)
    assert faults.outage is None


# --- suggested prompts


def test_the_apps_prompts_stand_in_every_conversation_with_it_from_the_start() -> None:
    workspace = Workspace(WorkspaceSettings(prompts=(Prompt("Status", "What is out?"),)))
    for _ in range(2):
        assert workspace.prompts["DMIRA0001"]["prompts"] == [{"title": "Status", "message": "What is out?"}]
        assert set(workspace.prompts) == {channel.id for channel in workspace.channels.values() if channel.kind == "im"}
        workspace.reset()
    assert Workspace(WorkspaceSettings(prompts=())).prompts == {}


# --- feed


async def test_followers_get_every_change_in_order_and_end_with_the_feed() -> None:
    feed = Feed()
    feed.publish("a", {})
    heard: list[tuple[int, str]] = []

    async def follow() -> None:
        async for change in feed.follow(0):
            heard.append((change.number, change.kind))

    follower = asyncio.create_task(follow())
    await asyncio.sleep(0)
    feed.publish("b", {})
    await asyncio.sleep(0)
    feed.publish("c", {})
    await asyncio.sleep(0)
    feed.close()
    await follower
    assert heard == [(1, "a"), (2, "b"), (3, "c")]


async def test_who_fell_too_far_behind_starts_over() -> None:
    feed = Feed(depth=3)
    for _ in range(10):
        feed.publish("x", {})
    assert (await anext(feed.follow(2))).kind == "resync"
    assert (await anext(feed.follow(99))).kind == "resync"
    assert (await anext(feed.follow(7))).number == 8


# --- inputs

SELECT = {
    "type": "static_select",
    "action_id": "a",
    "options": [{"text": {"type": "plain_text", "text": "One"}, "value": "1"}],
}


@pytest.mark.parametrize(
    ("element", "given", "state"),
    [
        ({"type": "plain_text_input"}, {"a": "x"}, {"value": "x"}),
        ({"type": "plain_text_input", "initial_value": "i"}, {}, {"value": "i"}),
        ({"type": "plain_text_input", "initial_value": "i"}, {"a": ""}, {"value": None}),
        (SELECT, {"b": {"a": "1"}}, {"selected_option": SELECT["options"][0]}),
        (SELECT, {}, {"selected_option": None}),
        ({**SELECT, "type": "checkboxes"}, {"a": ["1"]}, {"selected_options": [SELECT["options"][0]]}),
        ({"type": "datepicker", "initial_date": "2026-01-01"}, {}, {"selected_date": "2026-01-01"}),
        ({"type": "multi_users_select"}, {"a": ["U1"]}, {"selected_users": ["U1"]}),
    ],
)
def test_what_was_filled_in(element: Json, given: Json, state: Json) -> None:
    values = state_values([block({**element, "action_id": "a"})], given)
    assert values == {"b": {"a": {"type": element["type"], **state}}}


@pytest.mark.parametrize(
    ("element", "value", "complaint"),
    [
        ({"type": "plain_text_input"}, None, REQUIRED),
        ({"type": "plain_text_input", "min_length": 3}, "ab", "Please enter at least 3 characters."),
        ({"type": "plain_text_input", "max_length": 3}, "abcd", "Please enter at most 3 characters."),
        ({"type": "number_input", "is_decimal_allowed": False}, "1.5", "Please enter a whole number."),
        (
            {"type": "number_input", "is_decimal_allowed": True, "min_value": "2"},
            "1.5",
            "Please enter a number of at least 2.",
        ),
        ({"type": "email_text_input"}, "nobody", "This doesn't look like an email address."),
        ({"type": "url_text_input"}, "javascript:1", "This doesn't look like a URL."),
        ({"type": "plain_text_input", "min_length": 3}, "abc", None),
        ({"type": "number_input", "is_decimal_allowed": True}, "1.5", None),
    ],
)
def test_what_slacks_client_checks(element: Json, value: str | None, complaint: str | None) -> None:
    blocks = [block({**element, "action_id": "a"})]
    found = complaints(blocks, state_values(blocks, {"a": value}))
    assert found == ({} if complaint is None else {"b": complaint})


def test_an_optional_input_may_stay_empty() -> None:
    blocks = [block({"type": "plain_text_input", "action_id": "a"}, optional=True)]
    assert complaints(blocks, state_values(blocks, {})) == {}


# --- messages


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("a < b && c", "a &lt; b &amp;&amp; c"),
        ("@mira and @nobody", "<@UMIRA0001> and @nobody"),
        ("@release-approvers", "<!subteam^SAPPROVER>"),
        ("@here look", "<!here> look"),
        ("in #alerts, not #nowhere", "in <#CALERTS01|alerts>, not #nowhere"),
        ("see https://a.example/x?y=1&z=2.", "see <https://a.example/x?y=1&amp;z=2>."),
        ("<@USLUICE01> and <https://a.example|here>", "<@USLUICE01> and <https://a.example|here>"),
        ("mail me@mira.example", "mail me@mira.example"),
        ("<script>", "&lt;script&gt;"),
    ],
)
def test_what_a_person_types_becomes_tokens(typed: str, stored: str) -> None:
    assert compose(Workspace(), typed) == stored


def test_timestamps_rise_even_when_the_clock_stands_still() -> None:
    workspace = Workspace(clock=ManualClock())
    stamps = [workspace.next_ts() for _ in range(1000)]
    assert stamps == sorted(set(stamps))


def test_reactions_are_counted_once_a_person() -> None:
    workspace = Workspace()
    message = workspace.post(Message(workspace.next_ts(), "CRELEASES", "UMIRA0001", "hi"))
    workspace.react(message, "UJONAS001", "eyes")
    assert code_of(workspace.react, message, "UJONAS001", "eyes") == "already_reacted"
    workspace.react(message, "UJONAS001", "eyes", remove=True)
    assert code_of(workspace.react, message, "UJONAS001", "eyes", remove=True) == "no_reaction"
    assert "reactions" not in workspace.message_json(message)


def test_three_modals_at_most() -> None:
    workspace = Workspace()
    view: Json = {"type": "modal", "title": {"type": "plain_text", "text": "T"}, "blocks": [{"type": "divider"}]}
    assert code_of(workspace.screens.push_view, "UMIRA0001", view) == "not_found"
    root = workspace.screens.open_view("UMIRA0001", dict(view))
    workspace.screens.push_view("UMIRA0001", dict(view))
    top = workspace.screens.push_view("UMIRA0001", dict(view))
    assert top.root_view_id == root.id
    assert code_of(workspace.screens.push_view, "UMIRA0001", view) == "push_limit_reached"
    workspace.screens.open_view("UMIRA0001", {**view, "external_id": "one"})
    assert len(workspace.screens.views) == 1
    assert code_of(workspace.screens.open_view, "UJONAS001", {**view, "external_id": "one"}) == "duplicate_external_id"


def test_the_app_hears_only_where_it_is_a_member() -> None:
    workspace = Workspace()
    heard: list[str] = []
    workspace.announce = lambda subscription, event: heard.append(subscription)
    workspace.channels["CALERTS01"].members.remove(workspace.settings.bot_user_id)
    workspace.post(Message(workspace.next_ts(), "CALERTS01", "UMIRA0001", "hi <@USLUICE01>"))
    assert heard == []
    workspace.post(Message(workspace.next_ts(), "CRELEASES", "UMIRA0001", "hi <@USLUICE01>"))
    assert heard == ["app_mention", "message.channels"]


def test_secrets_are_not_shown() -> None:
    settings = WorkspaceSettings()
    shown = repr(settings)
    assert not any(secret in shown for secret in (settings.bot_token, settings.app_token, settings.signing_secret))


# --- delivery


def test_the_signature_is_slacks() -> None:
    """The example of Slack's documentation on verifying requests."""
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554"
        b"%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    signature = sign("8f742231b10e8888abcd99yyyzzz85a5", "1531420618", body)
    assert signature == "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"


class Deaf:
    """A transport that fails the first `failures` attempts."""

    def __init__(self, failures: int, *, final: bool = False) -> None:
        self.failures = failures
        self.final = final
        self.attempts: list[tuple[int, str]] = []

    async def attempt(self, attempt: Attempt) -> Json:
        self.attempts.append((attempt.number, attempt.reason))
        if len(self.attempts) <= self.failures:
            raise DeliveryFailed("http_timeout", final=self.final)
        return {}


async def test_events_are_insisted_upon_and_given_up_in_the_end() -> None:
    transport = Deaf(failures=2)
    courier = Courier(transport, Faults(ManualClock()), (0.0, 0.0, 0.0))
    courier.tell({"event_id": "Ev1"})
    await courier.idle()
    assert transport.attempts == [(0, ""), (1, "http_timeout"), (2, "http_timeout")]
    assert courier.dead_letters == []

    hopeless = Courier(Deaf(failures=9), Faults(ManualClock()), (0.0,))
    hopeless.tell({"event_id": "Ev2"})
    await hopeless.idle()
    assert hopeless.dead_letters == [{"event_id": "Ev2"}]


async def test_the_app_may_ask_not_to_be_tried_again() -> None:
    transport = Deaf(failures=9, final=True)
    courier = Courier(transport, Faults(ManualClock()), (0.0, 0.0))
    courier.tell({"event_id": "Ev1"})
    await courier.idle()
    assert transport.attempts == [(0, "")]


async def test_a_command_is_tried_once() -> None:
    transport = Deaf(failures=1)
    acknowledgement = await Courier(transport, Faults(ManualClock()), (0.0,)).ask("slash_commands", {})
    assert acknowledgement.failure == "http_timeout"
    assert len(transport.attempts) == 1


async def test_nothing_is_delivered_in_an_outage() -> None:
    faults = Faults(ManualClock())
    faults.begin_outage()
    transport = Deaf(failures=0)
    acknowledgement = await Courier(transport, faults, ()).ask("interactive", {})
    assert acknowledgement.failure == "connection_failed"
    assert transport.attempts == []
