"""First byte of the dashboard of a busy hive: 100 containers, 50 approvals, 1,000,000 messages, over HTTP, from a real server.

usage: python tests/bench/bench_dashboard.py [MESSAGES] [LOADS]
"""

import http.client
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
STATE = Path(tempfile.mkdtemp(prefix="hive-bench-"))
(STATE / "secret_key").write_text("the same after a restart")
os.environ |= {"HIVE_STATE_DIR": str(STATE), "DJANGO_SETTINGS_MODULE": "hyperhive.settings"}

import django  # noqa: E402

django.setup()

from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402

from approvals.models import Approval  # noqa: E402
from dashboard import auth, indexing  # noqa: E402
from lifecycle.applied import BRANCH, Applied  # noqa: E402
from lifecycle.models import Container  # noqa: E402
from tests.dashboard.test_parts import crowd  # noqa: E402
from tests.e2e.pages import Pages  # noqa: E402

MANY = """
    INSERT INTO broker_message (cid, sender, recipient, body, chain, hop, state, attempt, reason, created_at, delivered_at)
    WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %s)
    SELECT 'x' || i, 'agent-' || (i %% 100), 'agent-' || (i * 7 %% 100), 'word' || (i %% 5000) || ' of the paper number ' || i,
        'x' || i, 0, 'delivered', 1, '', datetime('now', '-' || ((%s - i) / 100.0) || ' seconds'), datetime('now') FROM n
"""


PATHS = ("/", "/search?q=paper", "/search?q=from:agent-7+word4711+-number", "/search?q=paper+before:1h", "/approvals")


def first_byte(host: str, path: str, cookie: str) -> tuple[float, float, int]:
    """Milliseconds until the first byte and until the last, and how many bytes."""
    connection = http.client.HTTPConnection(host)
    begun = time.perf_counter()
    connection.request("GET", path, headers={"Cookie": cookie})
    answer = connection.getresponse()
    first = time.perf_counter() - begun
    size = len(answer.read())
    assert answer.status == 200, answer.status
    return 1000 * first, 1000 * (time.perf_counter() - begun), size


def main(messages: int = 1_000_000, loads: int = 40) -> None:
    call_command("migrate", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute(MANY, [messages, messages])
    crowd(agents=100, requests=50, messages=2000)
    for row in Container.objects.all():
        branch = Applied(row.name).place / BRANCH
        branch.parent.mkdir(parents=True)
        branch.write_text("c0ffee" + "0" * 34)
        Approval.objects.filter(agent=row.name).update(incarnation=row.incarnation)
    begun = time.perf_counter()
    indexing.all_of_it()
    size = os.stat(STATE / "hive.sqlite3").st_size >> 20
    print(f"{messages:,} messages indexed in {time.perf_counter() - begun:.0f} s, {size} MiB")
    client = Client()
    client.force_login(auth.operator())
    cookie = f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"
    connection.close()
    pages = Pages(STATE)
    try:
        for path in (
            "/",
            "/search?q=paper",
            "/search?q=from:agent-7+word4711+-number",
            "/search?q=paper+before:1h",
            "/approvals",
        ):
            first_byte(pages.bind, path, cookie)
            taken = [first_byte(pages.bind, path, cookie) for _ in range(loads)]
            firsts = sorted(first for first, _, _ in taken)
            print(
                f"{path}: first byte {statistics.median(firsts):.0f} ms at the median, {firsts[0]:.0f} at best,"
                f" {firsts[-1]:.0f} at worst; {taken[-1][2] >> 10} KiB"
            )
    finally:
        pages.kill()
        shutil.rmtree(STATE)


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
