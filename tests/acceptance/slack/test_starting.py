"""The dialog that starts a rollout: opened by command, shortcut and button, with flags offered as one types."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bot import texts
from bot.blocks import freezing, starting
from bot.blocks.dialogs import REFUSAL
from bot.blocks.replacing import INSTEAD
from bot.listeners.planning import Order, take
from bot.listeners.replies import tell
from bot.listeners.starting import filled_dialog
from bot.settings import RouteSettings
from bot.workspace import running_workspace
from tests.acceptance.slack.office import ALERTS, ENVIRONMENT, FLAG, JONAS, MIRA, RELEASES, Office, open_office, until
from tools.errors import NotFound, Unavailable
from tools.flags.base import FlagRef, FlagServiceUnavailable
from tools.flags.embedded import EmbeddedFlagService
from tools.plans.model import Strategy
from tools.rollouts.freezes import Wish

SHORTCUT = "rollout_start"
UNKNOWN = (
    "I know no environment `stagging`: no setting names it, and the flag service has no flag there. "
    "Environments that I know: `production`."
)


async def opened(office: Office, text: str = "start") -> Any:
    """The dialog, opened by typing `/rollout text`."""
    assert (await office.running.people.command(RELEASES, MIRA, "/rollout", text)).ok
    await until(lambda: office.running.workspace.screens.modal_stack(MIRA))
    return office.dialog(MIRA)


async def offered(office: Office, view: Any, typed: str) -> list[str]:
    """The flags that are offered for what was typed."""
    options = await office.running.people.suggest(starting.FLAGS, MIRA, typed, view_id=view.id)
    return [option["value"] for option in options]


def filled(flag: str = FLAG, channel: str = RELEASES, **other: Any) -> dict[str, Any]:
    """What somebody fills in."""
    return {starting.FLAG: {starting.FLAGS: flag}, starting.CHANNEL: {starting.CHANNEL: channel}, **other}


@pytest.mark.parametrize("text", ["", "start", "plan"])
async def test_a_command_without_a_flag_asks_in_a_dialog(office: Office, text: str) -> None:
    view = await opened(office, text)
    assert view.given["callback_id"] == starting.START
    assert [block["block_id"] for block in view.blocks if block["type"] == "input"] == [
        starting.FLAG,
        starting.ENVIRONMENT,
        starting.STRATEGY,
        starting.CHANNEL,
        starting.NOTE,
    ]


async def test_what_was_typed_is_chosen_in_it_already(office: Office) -> None:
    view = await opened(office, "plan --strategy shadow")
    chosen = {block["block_id"]: block["element"].get("initial_option") for block in view.blocks if "element" in block}
    assert chosen[starting.STRATEGY]["value"] == Strategy.SHADOW
    assert chosen[starting.ENVIRONMENT]["value"] == ENVIRONMENT


def environment_chosen(view: Any) -> str:
    """The environment that the dialog begins with."""
    [menu] = [block for block in view.blocks if block.get("block_id") == starting.ENVIRONMENT]
    return str(menu["element"]["initial_option"]["value"])


async def test_an_environment_that_settings_name_is_chosen_in_it(tmp_path: Path, blank: Path) -> None:
    routes = [{"environment": "staging", "channel": ALERTS}]
    slack = {"route": tuple(map(RouteSettings.model_validate, routes))}
    async with running_workspace() as running, open_office(tmp_path, running, blank, slack=slack) as office:
        view = await opened(office, "start --env staging")
        assert environment_chosen(view) == "staging"
        assert await offered(office, view, "") == [starting.NOT_A_FLAG], "its flags, and not those of production"
        assert texts.START_CHANNEL_ROUTED in str(view.blocks)
        await office.settle()
        assert office.dialog(MIRA).given["callback_id"] == starting.START
        assert (await office.running.people.submit(view.id, MIRA, filled())).ok
        await office.settle()
        assert any("for staging" in text for text in office.private(MIRA)), "nothing is planned for production"
        with pytest.raises(NotFound):
            await office.view()


async def test_without_a_channel_it_begins_with_that_of_the_environment(tmp_path: Path, blank: Path) -> None:
    routes = [{"environment": ENVIRONMENT, "channel": ALERTS}, {"environment": "staging", "channel": RELEASES}]
    slack = {"route": tuple(map(RouteSettings.model_validate, routes))}
    async with running_workspace() as running, open_office(tmp_path, running, blank, slack=slack) as office:
        chosen = [
            filled_dialog(office.services, {}, starting.Wish(environment=one)).to_dict()["blocks"][4]["element"]
            for one in ("", "staging")
        ]
        assert [one["initial_conversation"] for one in chosen] == [ALERTS, RELEASES]


async def test_an_environment_that_only_the_flag_service_knows_is_chosen_in_it(office: Office) -> None:
    assert isinstance(office.services.flags, EmbeddedFlagService)
    await office.services.flags.define(FlagRef(FLAG, "qa"), "off", "on")
    view = await opened(office, "plan --env qa")
    assert environment_chosen(view) == "qa"
    await office.settle()
    assert office.dialog(MIRA).given["callback_id"] == starting.START


@pytest.mark.parametrize("text", ["start --env stagging", "plan --env stagging", "freeze --env stagging"])
async def test_an_environment_that_nobody_knows_is_refused_in_the_dialog(office: Office, text: str) -> None:
    await opened(office, text)
    await until(lambda: office.dialog(MIRA).given["callback_id"] == REFUSAL)
    assert UNKNOWN in str(office.dialog(MIRA).blocks)


async def test_a_plan_for_an_environment_that_nobody_knows_is_refused_at_once(office: Office) -> None:
    assert UNKNOWN in await office.rollout(f"plan {FLAG} --env stagging")
    assert len(office.private(MIRA)) == 1


@pytest.mark.parametrize(
    "text", ["status", "start", "pause", "resume", "promote", "rollback", "kill", "why", "history"]
)
async def test_every_other_command_names_the_environments_that_there_are(office: Office, text: str) -> None:
    said = await office.rollout(f"{text} {FLAG} --env stagging")
    assert "stagging" in said
    assert "Environments that I know: `production`." in said


async def test_what_is_not_frozen_in_an_environment_is_said_of_it(office: Office) -> None:
    said = await office.rollout("unfreeze stagging")
    assert "Nothing is frozen in stagging. Environments that I know: `production`." in said


async def test_environments_are_found_however_they_are_capitalised(office: Office) -> None:
    view = await opened(office, "freeze Production")
    by_id = {block["block_id"]: block["element"] for block in view.blocks if "element" in block}
    assert by_id[freezing.ENVIRONMENT]["initial_option"]["value"] == ENVIRONMENT
    assert not by_id[freezing.FLAG].get("initial_value")
    assert not by_id[freezing.FLAG].get("initial_option")
    workspace = office.running.settings.team_id
    wish = Wish(environment="production", reason="The sale", workspace=workspace)
    await office.services.of(workspace).rollouts.freeze(wish, actor=JONAS)
    assert "everything in production" in await office.rollout("unfreeze Production")


async def test_a_plan_that_takes_anothers_place_keeps_to_the_channel_that_was_chosen(office: Office) -> None:
    await office.proposed()
    workspace = office.running.settings.team_id
    mine, client = office.services.of(workspace), await office.services.clients.of(workspace)
    order = Order(
        flag=FLAG, environment=ENVIRONMENT, strategy=None, requester=JONAS, workspace=workspace, channel="CPAYMENTS"
    )
    text, blocks = await take(mine, client, order, request="x")
    await tell(client, user=JONAS, channel=None, text=text, blocks=blocks)
    direct = next(
        one
        for one in office.running.workspace.channels.values()
        if one.kind == "im" and JONAS in one.members and office.messages(one.id)
    )
    assert await office.press("cancel", user=MIRA) is None
    asked = [one for one in office.messages(direct.id) if INSTEAD in str(one.blocks)][-1]
    assert (await office.running.people.click(direct.id, asked.ts, INSTEAD, JONAS)).ok
    await office.settle()
    place = (await office.view()).place
    assert place is not None
    assert place.channel == "CPAYMENTS"


async def test_flags_are_offered_as_one_types(office: Office) -> None:
    assert isinstance(office.services.flags, EmbeddedFlagService)
    for flag in ("checkout-speed", "search-v3"):
        await office.services.flags.define(FlagRef(flag, ENVIRONMENT), "off", "on")
    view = await opened(office)
    assert await offered(office, view, "") == ["checkout-speed", FLAG, "search-v3"]
    assert await offered(office, view, "check") == ["checkout-speed", FLAG]
    assert await offered(office, view, "serch-v3") == ["search-v3"]
    assert await offered(office, view, "zzz") == [starting.NOT_A_FLAG]


async def test_a_silent_flag_service_is_said_in_the_menu(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(self: EmbeddedFlagService, environment: str) -> Sequence[Any]:
        raise FlagServiceUnavailable("it does not answer")

    monkeypatch.setattr(EmbeddedFlagService, "list", silent)
    assert issubclass(FlagServiceUnavailable, Unavailable)
    view = await opened(office)
    [option] = await office.running.people.suggest(starting.FLAGS, MIRA, "new", view_id=view.id)
    assert option["value"] == starting.NOT_A_FLAG
    assert "didn't answer" in option["text"]["text"]
    outcome = await office.running.people.submit(view.id, MIRA, filled(starting.NOT_A_FLAG))
    assert outcome.errors == {starting.FLAG: "Choose a flag."}


async def test_what_is_sent_becomes_a_plan_in_the_channel(office: Office) -> None:
    view = await opened(office)
    note = {starting.NOTE: {starting.NOTE: "eu first, the token is xoxb-12345678901"}}
    outcome = await office.running.people.submit(
        view.id, MIRA, filled(**note, **{starting.STRATEGY: {starting.STRATEGY: "canary"}})
    )
    assert outcome.ok
    assert outcome.ack is not None
    assert outcome.ack.seconds < 1
    await office.settle()
    rollout = await office.view()
    assert (rollout.flag, rollout.environment, rollout.requester) == (FLAG, ENVIRONMENT, MIRA)
    assert rollout.plan.strategy is Strategy.CANARY
    assert "Planning `new-checkout`" in office.private(MIRA)[-1]
    assert not office.running.workspace.screens.modal_stack(MIRA)


async def test_a_flag_that_is_rolling_out_is_refused_in_the_dialog(office: Office) -> None:
    await office.started()
    view = await opened(office)
    outcome = await office.running.people.submit(view.id, MIRA, filled())
    assert "rolling out in production already" in outcome.errors[starting.FLAG]


async def test_a_channel_without_sluice_is_refused_in_the_dialog(office: Office) -> None:
    members = office.running.workspace.channel(ALERTS).members
    members.remove(office.running.settings.bot_user_id)
    view = await opened(office)
    outcome = await office.running.people.submit(view.id, MIRA, filled(channel=ALERTS))
    assert "/invite @Sluice" in outcome.errors[starting.CHANNEL]


async def test_the_global_shortcut_opens_it_without_a_channel(office: Office) -> None:
    assert (await office.running.people.shortcut(SHORTCUT, MIRA)).ok
    await until(lambda: office.running.workspace.screens.modal_stack(MIRA))
    view = office.dialog(MIRA)
    outcome = await office.running.people.submit(view.id, MIRA, filled())
    assert outcome.ok
    await office.settle()
    direct = office.running.workspace.direct_message([MIRA])
    told = [message.text for message in office.running.workspace.visible_messages(direct, MIRA)]
    assert any("The plan appears in <#CRELEASES>" in text for text in told)
