"""The generated flake: constant but for two URLs, everything else data, its fingerprint over all of it."""

import dataclasses
import hashlib
import json

import pytest

from lifecycle import flakes
from lifecycle.config import AgentConfig
from lifecycle.drivers import DriverError, Spec


@pytest.fixture
def urls(settings, tmp_path):
    settings.HIVE_STATE_DIR = tmp_path
    settings.HIVE_FLAKE_URL = "path:/nix/store/aaaa-source"
    settings.HIVE_NIXPKGS_URL = "github:NixOS/nixpkgs/0123456789abcdef"
    return settings


def spec(**changes) -> Spec:
    return dataclasses.replace(Spec("iris", "agent", 1_900_000_001, "hm1nd"), **changes)


def test_only_the_two_urls_differ_from_the_constant_text(urls):
    text = flakes.flake_nix()
    assert text.replace(urls.HIVE_FLAKE_URL, "@HYPERHIVE@").replace(urls.HIVE_NIXPKGS_URL, "@NIXPKGS@") == flakes.FLAKE
    assert "iris" not in text


@pytest.mark.parametrize(
    "url",
    ["", 'path:/x"; evil', "path:/${x}", "path:/a b", "flake.nix", "path:/x\n", "path:x", "path:/" + "x" * 2000, "path:/x\\"],
)  # fmt: skip
@pytest.mark.parametrize("setting", ["HIVE_FLAKE_URL", "HIVE_NIXPKGS_URL"])
def test_a_url_that_is_none_is_refused_with_the_settings_name(urls, setting, url):
    setattr(urls, setting, url)
    with pytest.raises(DriverError, match=setting):
        flakes.flake_nix()


@pytest.mark.parametrize("name", ["a;b", "../x", "UPPER", "toolongname", "", 'x"', "a\n"])
def test_a_name_that_is_none_makes_no_flake(urls, name):
    with pytest.raises(DriverError, match="cannot be the name"):
        flakes.meta_json(spec(name=name))


def test_everything_that_was_chosen_is_data(urls):
    hostile = 'x"; } ${builtins.readFile "/etc/shadow"} \n'
    wanted = spec(config=AgentConfig.read({"prompt": hostile}), manager=hostile)
    files = flakes.files(wanted)
    assert json.loads(files["meta.json"])["config"] == {"prompt": hostile}
    assert json.loads(files["meta.json"])["manager"] == hostile
    assert files["flake.nix"] == flakes.files(spec())["flake.nix"]


def test_agent_nix_is_the_approved_blob_to_the_byte(urls):
    assert flakes.files(spec())["agent.nix"] == flakes.EMPTY
    source = "{ pkgs, ... }:\r\n{ }  # ünïcode, no newline at the end"
    assert flakes.files(spec(source=source))["agent.nix"] == source.encode()


def test_the_fingerprint_covers_the_urls_the_data_and_agent_nix(urls):
    seen = {flakes.fingerprint(spec()), flakes.fingerprint(spec(source="{ }"))}
    seen.add(flakes.fingerprint(spec(role="manager")))
    seen.add(flakes.fingerprint(spec(config=AgentConfig.read({"model": "opus"}))))
    urls.HIVE_MODEL = "haiku"
    seen.add(flakes.fingerprint(spec()))
    urls.HIVE_FLAKE_URL = "path:/nix/store/bbbb-source"
    seen.add(flakes.fingerprint(spec()))
    urls.HIVE_NIXPKGS_URL = "path:/nix/store/cccc-source"
    seen.add(flakes.fingerprint(spec()))
    assert len(seen) == 7
    assert all(len(bytes.fromhex(each)) == hashlib.sha256().digest_size for each in seen)
    assert flakes.fingerprint(spec()) == flakes.fingerprint(spec(say=print, uid=5)), "neither is part of the system"


def test_the_flake_lies_apart_from_secrets_and_keeps_its_lock(urls):
    """Nix copies the directory of a path: flake into the store, where everyone may read."""
    place = flakes.write(spec())
    (place / "flake.lock").write_text("{}")
    before = (place / "flake.nix").stat().st_mtime_ns
    assert flakes.write(spec(source="{ }")) == place
    assert sorted(entry.name for entry in place.iterdir()) == ["agent.nix", "flake.lock", "flake.nix", "meta.json"]
    assert (place / "flake.nix").stat().st_mtime_ns == before, "what is the same is not written again"
    assert place.stat().st_mode & 0o077 == 0
