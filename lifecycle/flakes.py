"""The flake that an agent's container is built from: constant text but for two validated URLs; all else is JSON data.

So nothing that anybody chose (a name, a role, a model) can ever become Nix. agent.nix is the approved blob, to the byte.
"""

import hashlib
import json
import os
import platform
import re
from pathlib import Path

from django.conf import settings

from . import names, paths
from .drivers.spec import DriverError, Spec

ATTR = "nixosConfigurations.container.config.system.build.toplevel"
# A store path or a revision: with a path that changes, Nix goes on evaluating the content that it once locked.
URL = re.compile(r"(?:path:/|git\+(?:https|ssh|file)://|github:|gitlab:|sourcehut:|https://)[A-Za-z0-9._~:/?&=@%+-]+")
LONGEST_URL = 1000

FLAKE = """\
# Written by hyperhive; edits are lost. The agent's own part is agent.nix.
{
  description = "hyperhive agent (generated)";
  inputs.hyperhive.url = "@HYPERHIVE@";
  inputs.nixpkgs.url = "@NIXPKGS@";
  inputs.hyperhive.inputs.nixpkgs.follows = "nixpkgs";
  outputs = { self, hyperhive, nixpkgs }: {
    nixosConfigurations.container = hyperhive.lib.mkAgent {
      meta = builtins.fromJSON (builtins.readFile ./meta.json);
      module = ./agent.nix;
    };
  };
}
"""
EMPTY = b"{ pkgs, lib, ... }:\n{\n}\n"
FILES = ("flake.nix", "meta.json", "agent.nix")
# NixOS keeps the formats of a container's data at those of this release; a newer one is a migration, not an edit.
STATE_VERSION = "25.11"


def files(spec: Spec) -> dict[str, bytes]:
    """The flake as it would be generated now, file by file."""
    return {"flake.nix": flake_nix().encode(), "meta.json": meta_json(spec).encode(), "agent.nix": agent_nix(spec)}


def fingerprint(spec: Spec) -> str:
    """sha256 over the three: covers hyperhive's and nixpkgs' revisions, for their URLs stand in flake.nix."""
    whole = hashlib.sha256()
    for name, data in files(spec).items():
        # The length goes in as well, so that nothing can move from the end of one file to the head of the next.
        whole.update(f"{name} {len(data)}\n".encode() + data)
    return whole.hexdigest()


def flake_nix() -> str:
    urls = {"@HYPERHIVE@": ("HIVE_FLAKE_URL", settings.HIVE_FLAKE_URL)}
    urls |= {"@NIXPKGS@": ("HIVE_NIXPKGS_URL", settings.HIVE_NIXPKGS_URL)}
    text = FLAKE
    for mark, (setting, url) in urls.items():
        text = text.replace(mark, _url(setting, url))
    return text


def _url(setting: str, url: str) -> str:
    if not url:
        raise DriverError(
            f"{setting} is not set: it names the flake that agents are built from (the NixOS module sets it)."
        )
    if len(url) > LONGEST_URL or not URL.fullmatch(url):
        raise DriverError(f"{setting} is no flake URL that could stand in a generated flake: {url[:100]!r}.")
    return url


def meta_json(spec: Spec) -> str:
    """Who the agent is, and what the hive decides for all agents; agent.nix decides the rest."""
    if spec.name != names.MANAGER and not names.RULE.fullmatch(spec.name):
        raise DriverError(f"{spec.name[:40]!r} cannot be the name of a container.")
    relayed = settings.HIVE_MODEL_URL or settings.HIVE_ANTHROPIC_API_KEY_FILE
    meta = {
        "name": spec.name,
        "role": spec.role,
        "manager": spec.manager,
        "model_url": "relay" if relayed else None,
        "defaults": {
            "model": settings.HIVE_MODEL,
            "turn_timeout": settings.HIVE_TURN_TIMEOUT,
            "idle_timeout": settings.HIVE_IDLE_TIMEOUT,
        },
        # What it was spawned with: agent.nix overrules it, key by key.
        "config": spec.config.written(),
        "system": f"{platform.machine()}-linux",
        "stateVersion": STATE_VERSION,
    }
    return json.dumps(meta, indent=1, sort_keys=True) + "\n"


def agent_nix(spec: Spec) -> bytes:
    """What was approved last, to the byte."""
    return spec.source.encode() or EMPTY


# ---- on disk ----------------------------------------------------------------------------------------------------------


def directory(name: str) -> Path:
    """Not applied/<n> itself: Nix copies the whole directory of a `path:` flake into the store, where everyone may read."""
    return paths.run_dir(name) / "flake"


def write(spec: Spec) -> Path:
    """Put the flake where it is built; Nix adds its flake.lock and keeps it from one build to the next."""
    place = directory(spec.name)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, data in files(spec).items():
        put(place / name, data)
    return place


def put(path: Path, data: bytes) -> bool:
    """The whole file or none of it; False when it was so already."""
    if path.exists() and path.read_bytes() == data:
        return False
    new = path.with_name(path.name + ".new")
    with open(new, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
    parent = os.open(path.parent, os.O_RDONLY)
    os.fsync(parent)
    os.close(parent)
    return True
