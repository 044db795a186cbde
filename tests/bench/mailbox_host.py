"""The hive's mailboxes alone, without containers: the real verbs, writer and wire over sockets in DIR, until stdin ends.

usage: python tests/bench/mailbox_host.py DIR NAME …
"""

import asyncio
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def main(root: Path, names: list[str]) -> None:
    os.environ |= {
        "HIVE_STATE_DIR": str(root / "state"),
        "HIVE_RUNTIME_DIR": str(root),
        "DJANGO_SETTINGS_MODULE": "hyperhive.settings",
    }
    (root / "state").mkdir()
    import django

    from hyperhive import memory

    memory.one_pool()

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    asyncio.run(serve(root, names))


async def serve(root: Path, names: list[str]) -> None:
    from agents.models import Agent
    from broker import events, wire
    from broker.models import Mailbox
    from hyperhive import doors
    from hyperhive.caller import Caller, writer
    from hyperhive.collector import settle

    writer.start()
    events.start(asyncio.get_running_loop())
    await writer.write(lambda: Mailbox.objects.bulk_create(Mailbox(name=name) for name in names))
    await writer.write(lambda: Agent.objects.bulk_create(Agent(name=name) for name in names))
    servers = [await wire.listen(root / name, doors._verbs(Caller(name, "agent", "a bench"))) for name in names]
    settle()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for server in servers:
        server.close()
    writer.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
