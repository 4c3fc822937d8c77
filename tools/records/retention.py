"""Rows that nobody needs any more: they are deleted, so that the database does not grow for ever.

Plans and the decision log are what happened, and are kept; for checks see `tools.rollouts.retention`.
"""

from datetime import datetime, timedelta

from sqlalchemy import delete

from tools.records.database import Database
from tools.records.models import Job, OutboxMessage

KEEP = timedelta(days=7)
"""How long a message that was told, and a job that ended, are kept: to find out over a weekend what went wrong."""
EVERY = timedelta(hours=1)


async def delete_ended(database: Database, *, now: datetime) -> int:
    """Delete the messages and jobs that ended longer than KEEP ago, failed ones too; how many there were."""
    deleted = 0
    for record in (OutboxMessage, Job):
        # Only what ended has the moment, so nothing that is open matches.
        async with database.write() as session:
            ended = await session.execute(delete(record).where(record.ended_at < now - KEEP).returning(record.id))
            deleted += len(ended.all())
    return deleted
