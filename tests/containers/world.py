"""Directories and a PATH of a test's own, in which nixos-container and all that it calls are ours."""

import contextlib
import json
import os
import signal
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
FAKE, SHIMS = HERE / "fake_nixos_container.py", HERE / "shims.py"
SHIMMED = ("systemctl", "machinectl", "journalctl", "nix", "nix-env", "nsenter")


class World:
    def __init__(self, place: Path, root: str | None = None, fake: Path = FAKE):
        """`root` stands before every path of nixos-container's; '' where it really has them for itself."""
        self.place, self.bin, self.state = place, place / "bin", place / "shims"
        self.root = place / "root"
        inside = str(self.root) if root is None else root
        for directory in (self.bin, self.state, self.root):
            directory.mkdir(parents=True)
        self.env = {
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "FAKE_ROOT": inside,
            "SHIM_ROOT": inside,
            "SHIM_STATE": str(self.state),
        }
        for name in SHIMMED:
            self._command(name, SHIMS, name)
        self._command("nixos-container", fake)
        (self.state / "container-start").write_text("# knows PRIVATE_USERS\n")

    def _command(self, name: str, script: Path, *words: str) -> None:
        place = self.bin / name
        place.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {script} {" ".join(words)} "$@"\n')
        place.chmod(0o755)

    # ---- what is seen, and what goes wrong

    def calls(self, *first: str) -> list[list[str]]:
        """Every command so far, or those that begin with these words."""
        place = self.state / "argv.jsonl"
        lines = place.read_text().splitlines() if place.exists() else []
        return [call for call in map(json.loads, lines) if call[: len(first)] == list(first)]

    def forget(self) -> None:
        (self.state / "argv.jsonl").unlink(missing_ok=True)

    def fail(self, what: str, once: bool = False) -> None:
        (self.state / f"fail-{what}").write_text("once" if once else "")

    def mend(self, what: str) -> None:
        (self.state / f"fail-{what}").unlink()

    def pid(self, container: str) -> int:
        place = self.state / f"unit-container@{container}.json"
        return json.loads(place.read_text())["pid"] if place.exists() else 0

    def says(self, unit: str, *words: str, at: int = 1_700_000_000_000_000) -> None:
        with open(self.state / f"journal-{unit}", "a") as journal:
            for number, message in enumerate(words):
                entry = {"__REALTIME_TIMESTAMP": str(at + number), "MESSAGE": message}
                journal.write(json.dumps(entry) + "\n")

    def close(self) -> None:
        for place in self.state.glob("unit-*.json"):
            if pid := json.loads(place.read_text())["pid"]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
