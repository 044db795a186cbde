"""What is made of messages beside their way, by cursor: their words for the search, and how many came in each minute.

The words are in an FTS5 table over `broker_message` (sqlite.org/fts5.html §4.4.3): sending pays nothing for it, the index
follows a moment later, and only a message that the vacuum deletes takes its words along by a trigger.
"""

import asyncio
import time
from datetime import datetime, timedelta

from django.db import models
from django.utils import timezone

from broker import hot
from broker.events import publish_on_commit
from broker.writer import Writer

# Messages and characters of one batch: it is a guest in the writer's commit, a few milliseconds long.
BATCH, SIZE = 100, 64 * 1024
# Seconds from one look to the next. A batch is followed by a rest of so many times as long as it took, its wait for the
# writer included: a tenth of the writer's time at most, and less the more it has to do.
PACE, REST = 1.0, 9
SHOWN = timedelta(hours=1)

TABLES = (
    """
    CREATE VIRTUAL TABLE IF NOT EXISTS dashboard_words USING fts5(
        body, sender, recipient, content = 'broker_message', content_rowid = 'id',
        tokenize = 'unicode61 remove_diacritics 2'
    )
    """,
    """
    CREATE TRIGGER IF NOT EXISTS dashboard_words_gone AFTER DELETE ON broker_message
    WHEN old.id <= (SELECT MAX(upto) FROM dashboard_indexed) BEGIN
        INSERT INTO dashboard_words (dashboard_words, rowid, body, sender, recipient)
        VALUES ('delete', old.id, old.body, old.sender, old.recipient);
    END
    """,
)
# The first of a batch is always in it, however long it is.
NEXT = """
    SELECT MAX(id), COUNT(*) FROM (
        SELECT id, SUM(LENGTH(body)) OVER (ORDER BY id) - LENGTH(body) AS before FROM (
            SELECT id, body FROM broker_message WHERE id > :after ORDER BY id LIMIT :most
        )
    ) WHERE before < :size
"""
WORDS = """
    INSERT INTO dashboard_words (rowid, body, sender, recipient)
    SELECT id, body, sender, recipient FROM broker_message WHERE id > :after AND id <= :upto
"""
MINUTES = """
    INSERT INTO dashboard_minute (at, messages)
    SELECT strftime('%Y-%m-%d %H:%M:00', created_at), COUNT(*) FROM broker_message WHERE id > :after AND id <= :upto
    GROUP BY 1 ON CONFLICT (at) DO UPDATE SET messages = messages + excluded.messages
"""


class Indexed(models.Model):
    """The newest message that is taken in; one row."""

    upto = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"up to #{self.upto}"


class Minute(models.Model):
    """How many messages were sent in that minute, of the last hours."""

    at = models.DateTimeField(primary_key=True)
    messages = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.at:%H:%M} {self.messages}"


def prepare() -> None:
    """Django knows neither virtual tables nor triggers, and drops a trigger with the table that it rebuilds."""
    for statement in TABLES:
        hot.rows(statement)


def some(most: int = BATCH) -> int:
    """Take in the next messages; how many those were."""
    mark, _ = Indexed.objects.get_or_create(pk=1)
    [(upto, count)] = hot.rows(NEXT, after=mark.upto, most=most, size=SIZE)
    if not count:
        return 0
    hot.rows(WORDS, after=mark.upto, upto=upto)
    hot.rows(MINUTES, after=mark.upto, upto=upto)
    Indexed.objects.filter(pk=1).update(upto=upto)
    Minute.objects.filter(at__lt=timezone.now() - 2 * SHOWN).delete()
    publish_on_commit("indexed")
    return count


def all_of_it() -> None:
    """For who cannot wait: a test, a bench."""
    while some(10_000):
        pass


def behind() -> bool:
    """Whether there is anything to take in, asked beside the writer."""
    return bool(
        hot.rows(
            "SELECT 1 FROM broker_message WHERE id > COALESCE((SELECT MAX(upto) FROM dashboard_indexed), 0) LIMIT 1"
        )
    )


async def keep_up(writer: Writer) -> None:
    """For as long as the hive runs."""
    await writer.write(prepare)
    while True:
        begun = time.monotonic()
        more = await asyncio.to_thread(behind) and await writer.write(some)
        await asyncio.sleep(REST * (time.monotonic() - begun) if more else PACE)


def a_minute() -> list[tuple[datetime, int]]:
    """Of each minute of the last hour, the oldest first, how many messages were sent in it."""
    now = timezone.now().replace(second=0, microsecond=0)
    sent = dict(Minute.objects.filter(at__gt=now - SHOWN).values_list("at", "messages"))
    minutes = [now - timedelta(minutes=ago) for ago in range(59, -1, -1)]
    return [(minute, sent.get(minute, 0)) for minute in minutes]
