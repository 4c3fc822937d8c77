"""What people write to Sluice while it has no model, and its Home tab, in a real conversation with the app."""

from bot.workspace.records import Message
from tests.acceptance.slack.office import FLAG, RELEASES, SAM, Office, readable, until

PRIVATE = "DSAM00001"


def answers(office: Office) -> list[Message]:
    """What Sluice said to Sam in private."""
    bot = office.running.settings.bot_user_id
    return [message for message in office.messages(PRIVATE) if message.user == bot]


def thread(office: Office) -> list[Message]:
    """What stands in the card's thread."""
    return [message for message in office.messages() if message.is_reply and message.thread_ts == office.card().ts]


async def heard(office: Office) -> None:
    await office.running.people.idle()
    await office.settle()


def home(office: Office, user: str) -> str:
    """What stands on somebody's Home tab."""
    view = office.running.workspace.screens.homes[user]
    return readable(Message(ts="1.0", channel=PRIVATE, user=user, text="", blocks=view.blocks))


def published(office: Office) -> int:
    """How often a Home tab was published."""
    return office.running.workspace.call_counts["views.publish"]


async def test_a_direct_message_is_answered_in_its_thread(office: Office) -> None:
    await office.proposed()
    said = office.running.people.say(PRIVATE, "sam", "What is rolling out right now?")
    await until(lambda: answers(office))
    [answer] = answers(office)
    assert answer.thread_ts == said.ts
    assert answer.ephemeral_to is None
    assert f"*{FLAG}* in production · plan proposed" in readable(answer)
    assert "--env staging --strategy shadow" in readable(answer)

    follow_up = office.running.people.say(PRIVATE, "sam", "And why?", thread_ts=said.ts)
    await until(lambda: len(answers(office)) == 2)
    assert answers(office)[1].thread_ts == said.ts != follow_up.ts
    assert office.running.courier.dead_letters == []


async def test_four_copies_of_a_direct_message_are_answered_once(office: Office) -> None:
    office.running.workspace.faults.duplicate(4)
    office.running.people.say(PRIVATE, "sam", "hello")
    await until(lambda: answers(office))
    await heard(office)
    assert len(answers(office)) == 1


async def test_what_is_nobodys_question_is_not_answered(office: Office) -> None:
    said = office.running.people.say(PRIVATE, "sam", "hello")
    await until(lambda: answers(office))
    office.running.people.edit(PRIVATE, said.ts, "sam", "hello!")
    office.running.people.delete(PRIVATE, said.ts, "sam")
    office.running.people.say(RELEASES, "sam", "has anyone seen the new checkout?")
    await heard(office)
    assert len(answers(office)) == 1, "a change, a deletion and talk among people ask nothing; nor does the answer"
    assert office.private(SAM) == []


async def test_while_slack_is_away_an_answer_waits(office: Office) -> None:
    office.running.workspace.faults.limit("chat.postMessage", times=5, retry_after=0)
    office.running.people.say(PRIVATE, "sam", "hello")
    await until(lambda: office.running.workspace.error_counts["chat.postMessage ratelimited"] >= 3, 15)
    office.running.workspace.faults.clear()
    await until(lambda: answers(office), 15)
    await heard(office)
    assert len(answers(office)) == 1


async def test_a_mention_is_answered_in_its_thread_for_everyone(office: Office) -> None:
    await office.proposed()
    office.running.people.say(RELEASES, "sam", "@sluice what can you do?", thread_ts=office.card().ts)
    await until(lambda: any("--env staging --strategy shadow" in line for line in map(readable, thread(office))))
    await heard(office)
    assert office.private(SAM) == []


async def test_the_home_tab_shows_what_is_open_and_what_waits(office: Office) -> None:
    office.running.people.open_home("sam")
    await until(lambda: SAM in office.running.workspace.screens.homes)
    assert "nothing is rolling out" in home(office, SAM)
    assert "Three things to try" in home(office, SAM)

    await office.proposed()
    office.running.people.open_home("sam")
    await until(lambda: FLAG in home(office, SAM))
    assert "1 question waits for somebody else." in home(office, SAM)
    assert f"*{FLAG}* in production · plan proposed" in home(office, SAM)
    assert "See card" in home(office, SAM)


async def test_the_messages_tab_is_no_home_and_copies_publish_once(office: Office) -> None:
    office.running.people.open_home("sam", tab="messages")
    await heard(office)
    assert published(office) == 0
    office.running.workspace.faults.duplicate(4)
    office.running.people.open_home("sam")
    await until(lambda: SAM in office.running.workspace.screens.homes)
    await heard(office)
    assert published(office) == 1


async def test_a_home_tab_that_slack_refuses_bothers_nobody(office: Office) -> None:
    office.running.workspace.faults.limit("views.publish", times=5, retry_after=0)
    office.running.people.open_home("sam")
    await until(lambda: office.running.workspace.error_counts["views.publish ratelimited"] >= 3)
    await heard(office)
    assert SAM not in office.running.workspace.screens.homes
    assert answers(office) == []
    assert office.running.courier.dead_letters == []
