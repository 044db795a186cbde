"""The story of tests/broker/test_disk.py, told in a mount namespace of its own: 48 MiB of disk that fills and frees."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
PLACE = Path(sys.argv[1])
MIB = 1024 * 1024
os.environ |= {
    "HIVE_STATE_DIR": str(PLACE),
    "DJANGO_SETTINGS_MODULE": "hyperhive.settings",
    "HIVE_DISK_RESERVE": str(8 * MIB),
    "HIVE_LOG_LEVEL": "CRITICAL",
}

import django  # noqa: E402


def main() -> None:
    disk.look()
    assert (PLACE / "reserve").stat().st_size == 8 * MIB
    assert not disk.short()
    for name in ("scout", "open"):
        Mailbox.objects.create(name=name)
    kept = fill()
    assert disk.short(), "the reserve was given back"
    assert not (PLACE / "reserve").exists()

    # Sends are refused with a sentence, each time; what waits is delivered and acked, over and over.
    for _ in range(3):
        assert "free some space" in refused()
    assert writer.wait(partial(Message.post, "a", "scout", "0", cid="kept-0000"))["id"], "what is kept is kept"
    seen = []
    for number in range(len(kept) // 2):
        [message] = writer.wait(partial(Message.take, "scout", f"turn-{number}", "key", 60))
        assert writer.wait(partial(Message.ack, "scout", f"turn-{number}")) == 1
        seen.append(message["cid"])
    assert seen == kept[: len(kept) // 2]
    assert len(seen) > 100
    writer.wait(partial(Message.post, HIVE, "open", "what the hive itself says goes on"))
    disk.look()
    assert disk.short(), "there is still no room"

    # It frees: the reserve is taken again, sends go on, all rows are there.
    (PLACE / "ballast of others").unlink()
    disk.look()
    assert not disk.short()
    assert (PLACE / "reserve").stat().st_size == 8 * MIB
    writer.wait(partial(Message.post, "a", "scout", "again", cid="kept-again"))
    writer.stop()
    cids = list(Message.objects.filter(recipient="scout").order_by("id").values_list("cid", flat=True))
    assert cids == [*kept, "kept-again"]
    assert connection.cursor().execute("PRAGMA integrity_check").fetchone() == ("ok",)
    print(f"{len(kept)} kept, {len(seen)} acked on the full disk, then again")


def fill() -> list[str]:
    """Send until the disk is full, in batches with acks among them; the cids that were said to be kept."""
    others = PLACE / "ballast of others"
    with open(others, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, disk.state()["free"] - 6 * MIB)
    kept = []
    for number in range(10_000):
        cid = f"kept-{number:04}"
        sending = writer.submit(partial(Message.post, "a", "scout", f"{number}" + "x" * 6_000, cid=cid))
        try:
            sending.result(30)
        except Refused as refusal:
            assert refusal.word in ("disk_full", "mailbox_full"), refusal
            if refusal.word == "disk_full":
                return kept
            raise
        kept.append(cid)
    raise AssertionError("the disk does not fill")


def refused() -> str:
    try:
        writer.wait(partial(Message.post, "a", "scout", "one more"))
    except Refused as refusal:
        assert refusal.word == "disk_full"
        return str(refusal)
    raise AssertionError("it was taken")


if __name__ == "__main__":
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(PLACE)], check=True)
    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from broker import disk
    from broker.models import HIVE, Mailbox, Message
    from broker.wire import Refused
    from broker.writer import writer

    call_command("migrate", verbosity=0)
    writer.start()
    main()
