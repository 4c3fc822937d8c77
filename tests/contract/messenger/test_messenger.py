"""The small Slack of the notifier's unit tests answers as a served workspace does, through the real client."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.posting import Messenger
from bot.slack import NETWORK_ERRORS, code_of, is_trouble_of_slack, retry_after, status_of
from bot.workspace import running_workspace
from tests.unit.notifier.slack import NO_ANSWER, FakeSlack, refusal

CHANNEL = "CRELEASES"


@dataclass
class Slack:
    """One of both, and how to make it refuse its next call."""

    client: Messenger
    limit: Callable[[], object]
    go_away: Callable[[str], object]


@pytest.fixture(params=["fake", "workspace"])
async def slack(request: pytest.FixtureRequest) -> AsyncIterator[Slack]:
    if request.param == "fake":
        fake = FakeSlack(closed={"CNOWHERE1": refusal("channel_not_found")})
        away = {"unavailable": refusal("", status=503), "refused": NO_ANSWER}
        yield Slack(
            fake,
            lambda: fake.refusals.append(refusal("ratelimited", status=429, retry_after=7)),
            lambda mode: fake.refusals.append(away[mode]),
        )
        return
    async with running_workspace() as running:
        client = AsyncWebClient(token=running.settings.bot_token, base_url=running.api_url, retry_handlers=[])
        faults = running.workspace.faults
        yield Slack(client, lambda: faults.limit(retry_after=7), faults.begin_outage)


async def refused(slack: Slack) -> SlackApiError:
    with pytest.raises(SlackApiError) as caught:
        await slack.client.chat_postMessage(channel=CHANNEL, text="hello")
    return caught.value


async def test_a_message_can_be_edited_by_its_timestamp(slack: Slack) -> None:
    posted = await slack.client.chat_postMessage(channel=CHANNEL, text="hello")
    edited = await slack.client.chat_update(channel=CHANNEL, ts=posted["ts"], text="hello again")
    assert edited["ts"] == posted["ts"]


async def test_a_message_is_found_again_by_its_metadata(slack: Slack) -> None:
    metadata = {"event_type": "sluice_card", "event_payload": {"rollout": "1"}}
    await slack.client.chat_postMessage(channel=CHANNEL, text="before")
    posted = await slack.client.chat_postMessage(channel=CHANNEL, text="a card", metadata=metadata)
    await slack.client.chat_postMessage(channel=CHANNEL, text="after")
    answer = await slack.client.conversations_history(channel=CHANNEL, limit=100, include_all_metadata=True)
    found = [message["ts"] for message in answer["messages"] if message.get("metadata") == metadata]
    assert found == [posted["ts"]]


async def test_a_message_that_is_not_there_can_not(slack: Slack) -> None:
    with pytest.raises(SlackApiError) as caught:
        await slack.client.chat_update(channel=CHANNEL, ts="1.000001", text="hello")
    assert (code_of(caught.value), status_of(caught.value)) == ("message_not_found", 200)
    assert retry_after(caught.value) is None
    assert not is_trouble_of_slack(caught.value)


async def test_a_channel_that_is_not_there(slack: Slack) -> None:
    with pytest.raises(SlackApiError) as caught:
        await slack.client.chat_postMessage(channel="CNOWHERE1", text="hello")
    assert code_of(caught.value) == "channel_not_found"


async def test_too_many_requests_say_how_long_to_wait(slack: Slack) -> None:
    slack.limit()
    error = await refused(slack)
    wait = retry_after(error)
    assert wait is not None
    assert wait.total_seconds() == 7
    assert not is_trouble_of_slack(error)


async def test_a_failing_server_is_slacks_trouble(slack: Slack) -> None:
    slack.go_away("unavailable")
    error = await refused(slack)
    assert (code_of(error), status_of(error)) == ("http_503", 503)
    assert is_trouble_of_slack(error)
    assert retry_after(error) is None


async def test_no_answer_is_a_network_error(slack: Slack) -> None:
    slack.go_away("refused")
    with pytest.raises(NETWORK_ERRORS):
        await slack.client.chat_postMessage(channel=CHANNEL, text="hello")
