"""What a plan's gates would have done, on the card that people decide by."""

from bot import backtests
from tests.acceptance.slack.office import Office, readable, until


async def test_a_proposed_plan_s_card_says_what_its_gates_would_have_done(office: Office) -> None:
    backtests.register(office.services)
    await office.proposed()
    assert "Backtest" not in readable(office.card())
    await backtests.take_up(office.services)
    await office.settle()
    await until(lambda: "Backtest" in readable(office.card()))
    shown = readable(office.card())
    assert "*Backtest* · Over the last " in shown
    assert "hours these gates would have rolled back " in shown
    assert " of 200 times and caught a doubling of " in shown
    assert office.buttons() == ["approve", "reject", "edit", "cancel"], "nobody waited for it, and nothing else changed"
    [event] = [one for one in await office.events() if one.kind == "plan.backtested"]
    assert event.payload["summary"] in shown
