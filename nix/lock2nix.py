"""Writes nix/python.json, from which Nix takes every locked Python package: `python nix/lock2nix.py`, after each `make lock`.

The rule: one wheel per package and system, the one that pip itself takes from the lock for the Python and the glibc below.
A wheel that fits every system stands once, under "any". pip checks each against the lock's hashes (--require-hashes), and
only what the lock has gets through here, so the file can be made anew by anybody, to the byte.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
OUT = Path(__file__).with_name("python.json")
# nixpkgs' python313 in nix/python.nix.
PYTHON = "313"
SYSTEMS = {"x86_64-linux": "x86_64", "aarch64-linux": "aarch64"}
# glibc 2.28 is of 2018: every NixOS that is maintained has a newer one.
MANYLINUX = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")
WHEEL = re.compile(r"(?P<pname>[^-]+)-(?P<version>[^-]+)-(?P<python>[^-]+)-(?P<abi>[^-]+)-(?P<platform>[^-]+)\.whl")

Packages = dict[str, dict[str, Any]]


def locked(name: str) -> Iterator[tuple[str, str, set[str]]]:
    """(name, version, sha256 of every file) of each package in a lock."""
    text = re.sub(r"(?m)^\s*#.*\n", "", (PROJECT / name).read_text())
    for entry in re.split(r"\n(?=\S)", text.strip()):
        found = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", entry)
        assert found, entry
        yield found[1], found[2], set(re.findall(r"--hash=sha256:([0-9a-f]{64})", entry))


def chosen(machine: str) -> Iterator[tuple[str, str]]:
    """(file name, sha256) of each wheel that pip would install from the whole lock on such a machine; nothing is installed."""
    with tempfile.TemporaryDirectory() as nowhere:
        report = Path(nowhere) / "report.json"
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--dry-run",
            "--no-deps",
        ]
        pip += ["--ignore-installed", "--require-hashes", "--only-binary=:all:", f"--target={nowhere}/none"]
        pip += [f"--python-version={PYTHON}", "--implementation=cp", f"--abi=cp{PYTHON}"]
        pip += [f"--platform={tag}_{machine}" for tag in MANYLINUX]
        subprocess.run([*pip, f"--report={report}", "-r", PROJECT / "requirements-dev.lock"], check=True)
        for item in json.loads(report.read_text())["install"]:
            file = item["download_info"]
            yield file["url"].rsplit("/", 1)[1], file["archive_info"]["hashes"]["sha256"]


def packages() -> Packages:
    """The whole set: what runs a hive is marked "run", what only judges a change "dev"."""
    run = {plain(name) for name, _, _ in locked("requirements.lock")}
    known = {plain(name): (version, hashes) for name, version, hashes in locked("requirements-dev.lock")}
    found: Packages = {}
    for system, machine in SYSTEMS.items():
        for file, sha256 in chosen(machine):
            wheel = WHEEL.fullmatch(file)
            assert wheel, file
            tags = wheel.groupdict()
            name, version = plain(tags["pname"]), tags.pop("version")
            assert (version, sha256 in known[name][1]) == (known[name][0], True), f"{file} is not in the lock"
            entry = {"group": "run" if name in run else "dev", "version": version, "files": {}}
            where = "any" if tags["platform"] == "any" else system
            found.setdefault(name, entry)["files"][where] = tags | {"sha256": sha256}
    return dict(sorted(found.items()))


def plain(name: str) -> str:
    """As an index spells it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    OUT.write_text(json.dumps(packages(), indent=1, sort_keys=True) + "\n")
