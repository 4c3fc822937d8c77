"""Slack may deliver one thing several times, and late: each is handled once, however often it comes.

What counts is the thing, not its delivery: an event's id, a command's trigger, a shortcut or a click on a message by a
person at a moment, a view as it was submitted. It is written down after the acknowledgement, which waits for nothing,
and before anything is done.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import delete
from sqlalchemy.dialects import postgresql, sqlite

from bot.services import Services
from tools.records.models import Delivery

KEY_CHARACTERS = 300
KEEP = timedelta(hours=1)
"""How long a delivery is remembered: Slack sends the last copy after some six minutes."""


def delivery_of(body: Mapping[str, Any]) -> tuple[str, str]:
    """The kind of thing that Slack delivered, and what makes it the same thing when it comes again."""
    match body:
        case {"event_id": str(event_id)}:
            return "event", event_id
        case {"type": "view_submission", "view": {"id": str(view_id), **view}}:
            return "submission", f"{view_id}:{view.get('hash', '')}"
        case {"actions": [{"action_id": str(action_id), "action_ts": str(action_ts)}, *_]}:
            container = body.get("container", {})
            place = container.get("message_ts") or container.get("view_id") or ""
            return "action", f"{container.get('channel_id', '')}:{place}:{action_id}:{_person(body)}:{action_ts}"
        case {"type": "shortcut" | "message_action", "callback_id": str(callback_id), "action_ts": str(action_ts)}:
            return "shortcut", f"{callback_id}:{_person(body)}:{action_ts}"
        case {"command": str(), "trigger_id": str(trigger_id)}:
            return "command", trigger_id
        case _:
            raise ValueError("this delivery is of no kind that is handled")


async def is_first(services: Services, body: Mapping[str, Any]) -> bool:
    """Whether this was not handled before; True for exactly one caller ever."""
    kind, key = delivery_of(body)
    now = services.clock.now()
    row = {"key": f"{kind}:{key}"[:KEY_CHARACTERS], "kind": kind, "received_at": now}
    insert = sqlite.insert if services.database.is_sqlite else postgresql.insert
    statement = insert(Delivery).values(row).on_conflict_do_nothing().returning(Delivery.key)
    async with services.database.write() as session:
        await session.execute(delete(Delivery).where(Delivery.received_at < now - KEEP))
        return (await session.execute(statement)).first() is not None


def _person(body: Mapping[str, Any]) -> str:
    return str(body.get("user", {}).get("id", ""))
