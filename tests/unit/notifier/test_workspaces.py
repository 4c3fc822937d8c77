"""Many workspaces: each is told with its own client in its own channels, and trouble in one holds up no other."""

from dataclasses import dataclass, field, replace

import pytest

from bot.clients import Clients, NotInstalled
from bot.notifier import Notifier
from bot.posting import Messenger
from bot.settings import Settings
from bot.vault import KeyLost
from tests.unit.notifier.desk import Desk
from tests.unit.notifier.slack import FakeSlack, refusal
from tests.unit.rollouts.world import FLAG, MIRA, SAM, make_plan
from tools.flags.base import FlagRef
from tools.flags.memory import MemoryFlagService
from tools.records.outbox import Status
from tools.rollouts.service import Place
from tools.rollouts.views import RolloutView

ACME, BETA = "TACME0001", "TBETA0001"


@dataclass
class Board(Clients[Messenger]):
    """A Slack for each workspace, and why there is none."""

    slacks: dict[str, FakeSlack] = field(default_factory=dict)
    trouble: dict[str, Exception] = field(default_factory=dict)

    async def of(self, workspace: str) -> Messenger:
        if workspace in self.trouble:
            raise self.trouble[workspace]
        if workspace not in self.slacks:
            raise NotInstalled(f"Sluice is not installed in {workspace}.")
        return self.slacks[workspace]


@pytest.fixture
def board() -> Board:
    return Board({ACME: FakeSlack(), BETA: FakeSlack()})


@pytest.fixture
def many(desk: Desk, board: Board) -> Desk:
    """The desk, serving two workspaces."""
    slack = {
        "client_id": "1.2",
        "alerts_channel": "CALERTS",
        "direct_messages": False,
        "workspaces": {BETA: {"alerts_channel": "CBETAALERTS"}},
    }
    settings = Settings(policy=desk.services.settings.policy.model_dump(), slack=slack)
    desk.services.rollouts._many = True
    services = replace(desk.services, settings=settings)
    return replace(desk, services=services, notifier=Notifier(services, board))


async def rollout(desk: Desk, workspace: str, number: int) -> RolloutView:
    flags, flag = desk.services.flags, f"flag-{number}"
    assert isinstance(flags, MemoryFlagService)
    await flags.define(FlagRef(flag, "production"), "old", "new")
    plan = make_plan().model_copy(update={"flag": flag})
    door = desk.services.rollouts.of(workspace)
    return await door.propose(plan, requester=MIRA, place=Place(workspace, "C1"), reason="asked")


async def test_each_is_told_with_its_own_client(many: Desk, board: Board) -> None:
    await rollout(many, ACME, 1)
    await rollout(many, BETA, 2)
    await many.deliver()
    await many.deliver(seconds=5)
    for workspace, mine, other in ((ACME, "flag-1", "flag-2"), (BETA, "flag-2", "flag-1")):
        said = "\n".join(f"{one.text} {one.blocks}" for one in board.slacks[workspace].taken)
        assert mine in said
        assert other not in said


async def test_what_has_no_rollout_goes_to_the_alerts_of_who_asked(many: Desk, board: Board) -> None:
    await many.services.of(ACME).rollouts.kill(FLAG.flag, FLAG.environment, actor=SAM, reason="fire")
    await many.services.of(BETA).rollouts.kill(FLAG.flag, FLAG.environment, actor=SAM, reason="fire")
    await many.deliver()
    await many.deliver(seconds=5)
    assert {one.channel for one in board.slacks[ACME].taken} == {"CALERTS"}
    assert {one.channel for one in board.slacks[BETA].taken} == {"CBETAALERTS"}


async def test_a_revoked_token_holds_up_no_other_workspace(many: Desk, board: Board) -> None:
    await rollout(many, ACME, 1)
    await rollout(many, BETA, 2)
    board.slacks[ACME].refusals += [refusal("token_revoked")] * 2
    await many.deliver()
    await many.deliver(seconds=5)
    assert not board.slacks[ACME].taken
    assert len(board.slacks[BETA].taken) == 2
    await many.deliver(seconds=120)
    await many.deliver(seconds=120)
    assert len(board.slacks[ACME].taken) == 2, "nothing is lost while that is mended"


async def test_where_the_app_was_taken_away_nothing_waits_for_ever(many: Desk, board: Board) -> None:
    await rollout(many, ACME, 1)
    del board.slacks[ACME]
    await many.deliver()
    await many.deliver(seconds=5)
    assert set(await many.statuses()) == {Status.FAILED}


async def test_a_lost_key_is_waited_for(many: Desk, board: Board) -> None:
    await rollout(many, ACME, 1)
    board.trouble[ACME] = KeyLost("A workspace's token can't be decrypted.")
    await many.deliver()
    assert set(await many.statuses()) == {Status.OPEN}
    board.trouble.clear()
    await many.deliver(seconds=120)
    await many.deliver(seconds=5)
    assert set(await many.statuses()) == {Status.DELIVERED}
