"""Stands in for `nixos-container`: the same verbs, checks, files and child commands as the real script, which is Perl.

Only the standard library, and only what is looked up in PATH is run: nix, nix-env, systemctl, machinectl, nsenter, which a
test replaces (shims.py). FAKE_ROOT moves all its directories. test_contract.py holds it to the real one's transcript.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = os.environ.get("FAKE_ROOT", "")
CONFS = Path(ROOT + "/etc/nixos-containers")
STATE = Path(ROOT + "/var/lib/nixos-containers")
LOCKS = Path(ROOT + "/run/lock")
PROFILES, GCROOTS = (Path(f"{ROOT}/nix/var/nix/{kind}/per-container") for kind in ("profiles", "gcroots"))
LONGEST = 11

SWITCHES = {"ensure-unique-name", "auto-start"}
VALUES = {
    "bridge",
    "port",
    "system-path",
    "signal",
    "nixos-path",
    "config",
    "config-file",
    "host-address",
    "local-address",
}
VALUES |= {"flake"}
# Handed on to nix, by how many words follow.
NIX = {
    0: {"impure", "commit-lock-file", "no-registries", "no-update-lock-file", "no-write-lock-file", "no-allow-dirty"}
    | {"recreate-lock-file"},
    1: {"log-format", "update-input"},
    2: {"option", "override-input"},
}


class Died(Exception):
    """What Perl's `die` says; its exit code is an errno, of which only `not 0` can be relied on."""


def command(*argv: object) -> bool:
    return subprocess.call([str(word) for word in argv]) == 0


def must(done: bool, complaint: str) -> None:
    if not done:
        raise Died(complaint)


# ---- the command line -------------------------------------------------------------------------------------------------


class Options:
    def __init__(self, argv: list[str]):
        self.given: dict[str, str] = {}
        self.words: list[str] = []
        self.nix: list[str] = []
        self.nix_last: list[str] = []
        rest = list(argv)
        while rest:
            word = rest.pop(0)
            if word == "--":
                self.words += rest
                break
            if word.startswith("--"):
                self._option(word, rest)
            else:
                self.words.append(word)
        self.flake, self.attr = self.given.get("flake", ""), "container"
        # The attribute is used this once and not written down.
        if found := re.fullmatch(r"(.*)#([^#\"]+)", self.flake):
            self.flake, self.attr = found.groups()

    def _option(self, word: str, rest: list[str]) -> None:
        name, equals, value = word[2:].partition("=")
        if equals:
            rest.insert(0, value)
        if name in SWITCHES:
            self.given[name] = "1"
        elif name in VALUES:
            self.given[name] = rest.pop(0)
        elif name in NIX[2]:
            self.nix_last += [word, rest.pop(0), rest.pop(0)]
        elif name in NIX[1]:
            self.nix += [f"--{name}", rest.pop(0)]
        elif name in NIX[0]:
            self.nix.append(word)
        else:
            raise Died(f"Unknown option: {name}")

    @property
    def for_nix(self) -> list[str]:
        return self.nix + self.nix_last

    def check(self) -> None:
        both = ("host-address" in self.given) == ("local-address" in self.given)
        must(both, "--host-address and --local-address go together")
        must(bool(self.words), "no action specified")
        must(not {"config", "config-file"} <= set(self.given), "--config and --config-file are mutually incompatible")


# ---- one container ----------------------------------------------------------------------------------------------------


class Container:
    def __init__(self, name: str, options: Options):
        must(bool(re.fullmatch(r"[a-zA-Z0-9_-]+", name)), "invalid container name")
        self.options = options
        self._named(name)

    def _named(self, name: str) -> None:
        self.name, self.unit = name, f"container@{name}"
        self.conf, self.root, self.profile = CONFS / f"{name}.conf", STATE / name, PROFILES / name

    # ---- create

    def create(self) -> None:
        LOCKS.mkdir(parents=True, exist_ok=True)
        unique = "ensure-unique-name" in self.options.given
        with open(LOCKS / "nixos-container", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if unique:
                self._choose_name()
            must(not self.conf.exists(), f"container '{self.name}' already exists")
            must(len(self.name) <= LONGEST, f"container name '{self.name}' is too long")
            self._write_conf(*self._addresses())
        PROFILES.mkdir(0o700, parents=True, exist_ok=True)
        self.profile.mkdir(0o755, exist_ok=True)
        self._first_system()
        if unique:
            print(self.name)

    def _choose_name(self) -> None:
        base, number = self.name, 0
        while self.conf.exists() or self.root.exists():
            self._named(f"{base}-{number}")
            number += 1

    def _addresses(self) -> tuple[str, str]:
        given = self.options.given
        if "host-address" in given:
            return given["host-address"], given["local-address"]
        others = "\n".join(conf.read_text() for conf in CONFS.glob("*.conf"))
        used = set(re.findall(r"^(?:HOST|LOCAL)_ADDRESS=([0-9.]+)$", others, re.MULTILINE))
        for number in range(1, 255):
            pair = f"10.233.{number}.1", f"10.233.{number}.2"
            if not used & set(pair):
                return pair
        raise Died("out of IP addresses")

    def _write_conf(self, host: str, local: str) -> None:
        given = self.options.given
        lines = ["PRIVATE_NETWORK=1", f"HOST_ADDRESS={host}", f"LOCAL_ADDRESS={local}"]
        lines += [f"HOST_BRIDGE={given.get('bridge', '')}", f"HOST_PORT={given.get('port', '')}"]
        lines.append(f"AUTO_START={given.get('auto-start', '0')}")
        if self.options.flake:
            lines.append(f"FLAKE={self.options.flake}")
        self.conf.write_text("".join(f"{line}\n" for line in lines))
        print(f"host IP is {host}, container IP is {local}", file=sys.stderr)

    def _first_system(self) -> None:
        # A flake that does not build ends it here, and its .conf stays behind.
        path = self._build() if self.options.flake else self.options.given.get("system-path")
        done = self._set(path) if path else self._build_configuration()
        if not done:
            self._remove()
            raise Died("failed to set the initial container configuration")

    # ---- systems

    def _build(self) -> str:
        """The link is left behind in whatever directory this is."""
        wanted = f'{self.options.flake}#nixosConfigurations."{self.options.attr}".config.system.build.toplevel'
        done = command("nix", "build", "-o", ".tmp", *self.options.for_nix, "--", wanted)
        must(done, f"failed to build container from flake '{self.options.flake}'")
        return os.readlink(".tmp")

    def _env(self, *words: str) -> bool:
        return command("nix-env", "-p", f"{self.profile}/system".removeprefix(ROOT), *words)

    def _set(self, path: str) -> bool:
        return self._env("--set", path)

    def _build_configuration(self) -> bool:
        if {"config", "config-file"} & set(self.options.given) or self.options.words[0] == "create":
            self._write_configuration()
        nixos = self.options.given.get("nixos-path", "<nixpkgs/nixos>")
        config = f"nixos-config={self.root}/etc/nixos/configuration.nix"
        return self._env("-I", config, "-f", nixos, "--set", "-A", "system", *self.options.for_nix)

    def _write_configuration(self) -> None:
        given = self.options.given
        body = given.get("config", "")
        if "config-file" in given:
            body = f"imports = [ {os.path.abspath(given['config-file'])} ];"
        place = self.root / "etc/nixos/configuration.nix"
        place.parent.mkdir(parents=True, exist_ok=True)
        host = f'networking.hostName = lib.mkDefault "{self.name}";'
        place.write_text(f"{{ config, lib, pkgs, ... }}:\n{{ boot.isContainer = true;\n  {host}\n  {body}\n}}\n")

    def update(self) -> None:
        if not {"flake", "config", "config-file"} & set(self.options.given):
            found = re.search(r"^FLAKE=(.*)$", self.conf.read_text(), re.MULTILINE)
            self.options.flake = found[1] if found else ""
        done = self._set(self._build()) if self.options.flake else self._build_configuration()
        must(done, "failed to set container configuration")
        if self._running():
            print("reloading container...", file=sys.stderr)
            # The profile is on the new system by now, whatever becomes of this.
            must(command("systemctl", "reload", self.unit), "failed to reload container")

    # ---- running it

    def _running(self) -> bool:
        """`activating` does not count."""
        asked = subprocess.run(["systemctl", "show", self.unit], stdout=subprocess.PIPE, text=True)
        return "ActiveState=active" in asked.stdout

    def _leader(self) -> str:
        asked = subprocess.run(["machinectl", "show", self.name, "-p", "Leader"], stdout=subprocess.PIPE, text=True)
        found = re.match(r"Leader=(\d+)", asked.stdout)
        return found[1] if found else ""

    def start(self) -> None:
        must(command("systemctl", "start", self.unit), "failed to start container")

    def stop(self) -> None:
        must(command("systemctl", "stop", self.unit), "failed to stop container")

    def restart(self) -> None:
        self.stop()
        self.start()

    def terminate(self) -> None:
        self._leader()
        must(command("machinectl", "terminate", self.name), "failed to terminate container")

    def destroy(self) -> None:
        if self._running():
            self.terminate()
        self._remove()

    def _remove(self) -> None:
        for place in (self.profile, GCROOTS / self.name, self.root):
            shutil.rmtree(place, ignore_errors=True)
        self.conf.unlink()

    # ---- looking at it

    def status(self) -> None:
        print("up" if self._running() else "down")

    def show_ip(self) -> None:
        text = self.conf.read_text()
        found = re.search(r"^LOCAL_ADDRESS=([0-9.]+)(/[0-9]+)?$", text, re.MULTILINE)
        must(bool(found), "cannot get IP address")
        print(found[1] if found else "")

    def run(self) -> None:
        quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in self.options.words[2:])
        self._enter("-c", f"exec {quoted}")

    def root_login(self) -> None:
        self._enter()

    def _enter(self, *words: str) -> None:
        leader = self._leader()
        must(bool(leader), "unable to get container's main PID")
        into = ["nsenter", "-t", leader, "-m", "-u", "-i", "-n", "-p", "--", "/bin/su", "root", "-l", *words]
        sys.exit(subprocess.call(into))

    def login(self) -> None:
        sys.exit(subprocess.call(["machinectl", "login", "--", self.name]))


VERBS: dict[str, Callable[[Container], None]] = {
    "create": Container.create,
    "destroy": Container.destroy,
    "update": Container.update,
    "start": Container.start,
    "stop": Container.stop,
    "restart": Container.restart,
    "terminate": Container.terminate,
    "status": Container.status,
    "show-ip": Container.show_ip,
    "run": Container.run,
    "root-login": Container.root_login,
    "login": Container.login,
}
# To an absent container: destroy is content, status says so, all else is an error.
ABSENT = {"destroy": (0, ""), "status": (2, "gone\n")}


def main() -> int:
    options = Options(sys.argv[1:])
    options.check()
    CONFS.mkdir(0o755, parents=True, exist_ok=True)
    STATE.mkdir(0o700, parents=True, exist_ok=True)
    verb, *rest = options.words
    if verb == "list":
        # In the order of the files' names, in which h-x-0.conf comes before h-x.conf.
        print("".join(f"{conf.stem}\n" for conf in sorted(CONFS.glob("*.conf"))), end="")
        return 0
    must(bool(rest), "no container name specified")
    container = Container(rest[0], options)
    if verb != "create" and not container.conf.exists():
        code, words = ABSENT.get(verb, (2, ""))
        sys.stdout.write(words)
        return code
    if verb not in VERBS:
        raise Died(f"unknown action '{verb}'")
    VERBS[verb](container)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Died as died:
        sys.stderr.write(f"nixos-container: {died}\n")
        sys.exit(1)
