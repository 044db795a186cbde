"""A hostile agent at its own socket: the daemon stays small, its neighbours are answered as if nothing were, and whatever
is said there is answered or hung up on."""

import asyncio
import json
import re
import resource
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from broker.wire import Refused, ask, decode
from hyperhive.verbs import VERBS
from tests.hives import PROJECT, Hive, until

from . import nonsense
from .attacks import ATTACKS, line
from .outbreaks import OUTBREAKS
from .standin import Endless

ATTACKER = [sys.executable, "-I", str(Path(__file__).with_name("attacks.py"))]
OUTBREAKER = [sys.executable, "-m", "tests.security.outbreaks"]
# Seconds of an attack; what its neighbour waits for an answer at most, as a median; and how often a busy machine is forgiven.
LASTS, PING, TRIES = 3.0, 0.050, 4
# Lines that are sent before an answer is waited for, fewer than a connection may have under way.
AT_ONCE = 10
# What many a system gives a daemon: an agent that could use up its descriptors would shut everybody out.
DESCRIPTORS = 1024


@pytest.fixture(scope="module")
def arena() -> Iterator[Hive]:
    """A hive whose agents `mallory` and `alice` have their sockets but run nothing, so that all there is is the attack."""
    with Endless() as endless:
        hive = Hive(f"http://{endless.address}")
        try:
            hive.start()
            resource.prlimit(hive.daemon.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
            hive.listed = endless.address
            for name in ("mallory", "alice"):
                hive.ask("spawn", name=name, config={"egress": [endless.address]})
                hive.ask("stop", name=name)
            hive.ask("stop", name="hm1nd")
            quiet = lambda: all(row["status"] == "stopped" for row in hive.ask("list")["agents"])  # noqa: E731
            until(quiet, "all agents are stopped")
            for name in ("mallory", "alice"):
                until(door(hive, name).exists, f"the socket of {name}")
            yield hive
        finally:
            hive.close()


pytestmark = pytest.mark.timeout(600)  # twenty thousand answers take their time on a busy machine


def door(hive: Hive, name: str) -> Path:
    return hive.runtime / ("manager" if name == "hm1nd" else f"agents/{name}") / "mcp.sock"


def broke(words: str) -> bool:
    """Whether a daemon that says so ran into something that it does not handle."""
    return bool(re.search(r"Traceback|ERROR|raised exception|Exception", words))


class Neighbour(threading.Thread):
    """Asks the same thing again and again over a connection of its own, and keeps how long each answer took."""

    def __init__(self, path: Path):
        super().__init__()
        self.path, self.took, self.over = path, [], threading.Event()

    def run(self) -> None:
        with socket.socket(socket.AF_UNIX) as sock, sock.makefile("rb") as answers:
            sock.settimeout(20)
            sock.connect(str(self.path))
            while not self.over.wait(0.02):
                begun = time.monotonic()
                sock.sendall(line("why"))
                assert json.loads(answers.readline())["result"]["name"] == "alice"
                self.took.append(time.monotonic() - begun)


@contextmanager
def pinged(path: Path) -> Iterator[Neighbour]:
    neighbour = Neighbour(path)
    neighbour.start()
    try:
        yield neighbour
    finally:
        neighbour.over.set()
        neighbour.join()


def attacked(hive: Hive, argv: list[str]) -> tuple[float, int]:
    """A neighbour's median wait in seconds and the most memory that the daemon had, in bytes."""
    daemon = psutil.Process(hive.daemon.pid)
    attacker = subprocess.Popen(argv, cwd=PROJECT, stderr=subprocess.PIPE, text=True)
    with pinged(door(hive, "alice")) as alice, attacker:
        most = 0
        while attacker.poll() is None:
            most = max(most, daemon.memory_info().rss)
            time.sleep(0.02)
        assert attacker.returncode == 0, attacker.stderr.read()
    assert len(alice.took) > 1
    return statistics.median(alice.took), most


@pytest.fixture(scope="module")
def idle(arena: Hive) -> int:
    """What the daemon takes once it has answered everything once."""
    with pinged(door(arena, "alice")) as alice:
        until(lambda: len(alice.took) > 50, "alice is answered")
    return psutil.Process(arena.daemon.pid).memory_info().rss


def test_a_flood_whose_peer_has_gone_leaves_no_work_behind(arena: Hive) -> None:
    attacked(arena, at_its_socket(arena, "flood_without_ids"))
    until(lambda: serves(door(arena, "mallory")), "the socket answers its agent again", 15)


def serves(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as sock, sock.makefile("rb") as answers:
        sock.settimeout(20)
        sock.connect(str(path))
        sock.sendall(line("why"))
        return "result" in json.loads(answers.readline())


def at_its_socket(hive: Hive, attack: str) -> list[str]:
    return [*ATTACKER, attack, str(door(hive, "mallory")), str(LASTS)]


def at_its_way_out(hive: Hive, attack: str) -> list[str]:
    return [*OUTBREAKER, attack, str(door(hive, "mallory").with_name("egress.sock")), str(LASTS / 2), hive.listed]


WAYS = {attack: at_its_socket for attack in ATTACKS} | {attack: at_its_way_out for attack in OUTBREAKS}


@pytest.mark.parametrize("attack", WAYS)
def test_an_attack_costs_the_daemon_no_memory_and_its_neighbours_no_time(arena: Hive, idle: int, attack: str) -> None:
    said = len(arena.log())
    for _ in range(TRIES):
        wait, most = attacked(arena, WAYS[attack](arena, attack))
        print(f"{attack}: median {wait * 1000:.1f} ms, memory {most / idle:.2f}", flush=True)
        assert most <= 2 * idle, f"{most / idle:.2f} times the memory of an idle daemon"
        if wait < PING:
            break
    assert wait < PING, f"a neighbour waits {wait * 1000:.0f} ms for an answer"
    new = arena.log()[said:]
    assert not broke(new), new[:3000]


# ---- nonsense


class Talk:
    """One connection to a door; `mcp` makes it an MCP session."""

    def __init__(self, path: Path, mcp: bool):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(path))
        self.answers = self.sock.makefile("rb")
        self.probe = "ping" if mcp else "why"
        if mcp:
            hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
            self.sock.sendall(line("initialize", **hello))
            assert "result" in json.loads(self.answers.readline())
            self.sock.sendall(line("notifications/initialized", None))

    def answered(self, lines: list[bytes], mark: str) -> int | None:
        """How many answers these lines got before that of a last question; None when they got hung up on."""
        probe = json.dumps({"jsonrpc": "2.0", "id": mark, "method": self.probe}).encode()
        count, marked = 0, False
        try:
            self.sock.sendall(b"\n".join([*lines, probe]) + b"\n")
            while not marked or count < sum(map(wants_an_answer, lines)):
                answer = json.loads(self.answers.readline() or b"null")
                if answer is None:
                    return None
                marked, count = (True, count) if answer.get("id") == mark else (marked, count + 1)
        except ConnectionError:
            return None
        return count

    def close(self) -> None:
        self.answers.close()
        self.sock.close()


def wants_an_answer(text: bytes) -> bool:
    """All but what is understood and has no id."""
    try:
        return "id" in decode(text)
    except Refused:
        return True


@pytest.mark.parametrize(("name", "seed", "count"), [("mallory", 1, 14_000), ("hm1nd", 2, 4_000)])
def test_each_of_the_lines_is_answered_or_the_connection_is_closed(
    arena: Hive, name: str, seed: int, count: int
) -> None:
    before, said = len(arena.log()), Talk(door(arena, name), mcp=False)
    some = list(nonsense.lines(seed, count))
    for begin in range(0, count, AT_ONCE):
        lines = some[begin : begin + AT_ONCE]
        found = said.answered(lines, f"mark-{begin}")
        if found is None:
            said.close()
            said = Talk(door(arena, name), mcp=False)
        else:
            assert found == sum(map(wants_an_answer, lines)), lines
    said.close()
    assert not broke(arena.log()[before:]), arena.log()[before:][:3000]


@pytest.mark.parametrize(("name", "seed", "count"), [("mallory", 3, 1_000), ("hm1nd", 4, 1_000)])
def test_nonsense_in_an_mcp_session_leaves_it_alive_or_ends_it(arena: Hive, name: str, seed: int, count: int) -> None:
    before = len(arena.log())
    for number, text in enumerate(nonsense.lines(seed, count)):
        if number % 50 == 0:
            said = Talk(door(arena, name), mcp=True)
        said.sock.sendall(
            text + b"\n" + json.dumps({"jsonrpc": "2.0", "id": f"m-{number}", "method": "ping"}).encode() + b"\n"
        )
        while (answer := json.loads(said.answers.readline() or b"null")) and answer.get("id") != f"m-{number}":
            pass
        if answer is None or number % 50 == 49:
            said.close()
            said = Talk(door(arena, name), mcp=True) if answer is None else said
    assert not broke(arena.log()[before:]), arena.log()[before:][:3000]


# ---- whose word it is


def test_no_door_takes_another_ones_word(arena: Hive) -> None:
    """Each verb of every role, over the doors of an agent and of the manager: unknown, or known and nobody else's."""
    every = {verb for verbs in VERBS.values() for verb in verbs}
    for name, role in (("mallory", "agent"), ("hm1nd", "manager")):
        for verb in sorted(every):
            for spoof in ("from", "sender", "caller", "role", "recipient"):
                with pytest.raises(Refused) as refused:
                    asyncio.run(ask(door(arena, name), verb, **{spoof: "operator"}))
                expected = "bad_params" if verb in VERBS[role] else "unknown_verb"
                assert refused.value.kind == expected, f"{name} says {verb} with {spoof}"
