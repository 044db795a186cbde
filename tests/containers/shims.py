"""What nixos-container and the driver call, replaced: each command is written down, does the least that can be seen, and
fails when it is told to by a file fail-<command>[-<verb>] (once, when that file says `once`).

Run as `shims.py COMMAND ARGUMENTS…`. SHIM_STATE holds what is remembered, SHIM_ROOT is put before /nix.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

STATE = Path(os.environ["SHIM_STATE"])
ROOT = os.environ.get("SHIM_ROOT", "")


def note(name: str, argv: list[str]) -> None:
    with open(STATE / "argv.jsonl", "a") as calls:
        calls.write(json.dumps([name, *argv]) + "\n")


def told_to_fail(name: str, argv: list[str]) -> bool:
    for word in [name] + [f"{name}-{arg}" for arg in argv]:
        order = STATE / f"fail-{word}"
        if "/" not in word and order.exists():
            if order.read_text() == "once":
                order.unlink()
            return True
    return False


# ---- systemd ----------------------------------------------------------------------------------------------------------


def unit_file(unit: str) -> Path:
    return STATE / f"unit-{unit.removesuffix('.service')}.json"


def unit_of(unit: str) -> dict:
    """Read again: a process that has ended by itself leaves its unit inactive, as systemd would see."""
    place = unit_file(unit)
    known = (
        json.loads(place.read_text())
        if place.exists()
        else {"pid": 0, "code": "0", "status": "0", "begun": 0, "runs": 0}
    )
    if known["pid"] and not alive(known["pid"]):
        known |= {"pid": 0, "code": known["code"] if known["code"] != "0" else "2", "status": "9"}
        place.write_text(json.dumps(known))
    return known


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def start(unit: str) -> None:
    known = unit_of(unit)
    if known["pid"]:
        return
    process = subprocess.Popen(
        ["sleep", "3600"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    begun = int(time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6)
    now = {"pid": process.pid, "code": "0", "status": "0", "begun": begun, "runs": known["runs"] + 1}
    unit_file(unit).write_text(json.dumps(now))


def end(unit: str, code: str, status: str) -> None:
    known = unit_of(unit)
    if known["pid"]:
        unit_file(unit).write_text(json.dumps(known | {"pid": 0, "code": code, "status": status}))
        os.kill(known["pid"], signal.SIGKILL)
        while alive(known["pid"]):
            time.sleep(0.005)


def show(unit: str) -> None:
    known = unit_of(unit)
    script = STATE / "container-start"
    state = "active" if known["pid"] else "inactive"
    print(
        f"ActiveState={state}\nMainPID={known['pid']}\nExecMainCode={known['code']}\nExecMainStatus={known['status']}"
    )
    print(f"ExecMainStartTimestampMonotonic={known['begun']}\nInvocationID={known['runs']:032x}\nNRestarts=0")
    print(f"ExecStart={{ path={script} ; argv[]={script} ; ignore_errors=no }}")


def systemctl(argv: list[str]) -> int:
    verb, *rest = argv
    if verb == "start":
        start(rest[-1])
    elif verb == "stop":
        if "--no-block" not in rest:
            end(rest[-1], "1", "0")
    elif verb == "kill":
        end(rest[-1], "2", "9")
    elif verb == "show":
        show(rest[0])
    elif verb == "reload" and not unit_of(rest[0])["pid"]:
        return 1
    return 0


def machinectl(argv: list[str]) -> int:
    unit = f"container@{argv[1]}"
    if argv[0] == "show":
        pid = unit_of(unit)["pid"]
        if not pid:
            return 1
        print(f"Leader={pid}")
    elif argv[0] == "terminate":
        end(unit, "2", "9")
    return 0


def journalctl(argv: list[str]) -> int:
    """The lines of the file journal-<unit>; of those only later ones than --since=@seconds."""
    unit = argv[argv.index("-u") + 1]
    since = next((float(word[9:]) for word in argv if word.startswith("--since=@")), 0.0)
    place = STATE / f"journal-{unit}"
    for line in place.read_text().splitlines() if place.exists() else []:
        if int(json.loads(line)["__REALTIME_TIMESTAMP"]) >= since * 1e6:
            print(line)
    return 0


# ---- nix --------------------------------------------------------------------------------------------------------------


def nix(argv: list[str]) -> int:
    """A system whose name is the hash of its flake's files, or of its reference where that is no directory."""
    reference = argv[-1].partition("#")[0]
    place = Path(reference.removeprefix("path:"))
    files = sorted(place.glob("*.*")) if place.is_dir() else []
    content = b"".join(file.read_bytes() for file in files) or reference.encode()
    print("evaluating derivation", file=sys.stderr, flush=True)
    if b"SLOW" in content:
        time.sleep(3600)
    if b"BROKEN" in content:
        print("error: undefined variable 'BROKEN'", file=sys.stderr)
        return 1
    path = (
        f"{ROOT if '-o' not in argv or files else ''}/nix/store/{hashlib.sha256(content).hexdigest()[:32]}-nixos-system"
    )
    if files:
        fill(Path(path), place)
    if "-o" in argv:
        link(Path(argv[argv.index("-o") + 1]), path)
    else:
        print(path)
    return 0


def fill(path: Path, flake: Path) -> None:
    """What the driver reads of a system: agent.json, here given as a comment of agent.nix."""
    (path / "etc/hyperhive").mkdir(parents=True, exist_ok=True)
    for line in (flake / "agent.nix").read_text().splitlines():
        if line.startswith("# agent.json: "):
            (path / "etc/hyperhive/agent.json").write_text(line.removeprefix("# agent.json: "))


def link(place: Path, target: str) -> None:
    place.unlink(missing_ok=True)
    place.symlink_to(target)


def nix_env(argv: list[str]) -> int:
    """Generations as links, the profile a link to one of them; setting what is set already makes none."""
    name = argv[argv.index("-p") + 1]
    profile = Path(name if ROOT and name.startswith(ROOT) else ROOT + name)
    numbers = sorted(int(entry.name.split("-")[1]) for entry in profile.parent.glob(f"{profile.name}-*-link"))
    current = int(os.readlink(profile).split("-")[1]) if profile.is_symlink() else 0
    if "--rollback" in argv:
        earlier = [number for number in numbers if number < current]
        if not earlier:
            return 1
        link(profile, f"{profile.name}-{earlier[-1]}-link")
    elif "--set" in argv:
        target = argv[argv.index("--set") + 1]
        if target == "-A":
            target = "/nix/store/00000000000000000000000000000000-built-from-a-configuration"
        generation = profile.parent / f"{profile.name}-{current}-link"
        if not current or os.readlink(generation) != target:
            following = max(numbers, default=0) + 1
            link(profile.parent / f"{profile.name}-{following}-link", target)
            link(profile, f"{profile.name}-{following}-link")
    return 0


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "systemctl": systemctl,
    "machinectl": machinectl,
    "journalctl": journalctl,
    "nix": nix,
    "nix-env": nix_env,
    "nsenter": lambda argv: 0,
}

if __name__ == "__main__":
    name, *words = sys.argv[1:]
    note(name, words)
    sys.exit(1 if told_to_fail(name, words) else COMMANDS[name](words))
