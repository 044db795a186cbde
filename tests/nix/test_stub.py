"""The stub says what nixpkgs says. Run with HIVE_NIXPKGS=/path/to/nixpkgs these cases ask the real one."""

import re

import pytest

from .nix import Refused, evaluate


def module(options: str, *configs: str) -> str:
    many = " ".join(f"({config})" for config in configs)
    return f"(lib.evalModules {{ modules = [ ({{ lib, ... }}: {{ options = {options}; }}) {many} ]; }}).config"


INT = "{ a = lib.mkOption { type = lib.types.int; }; }"
LIST = '{ a = lib.mkOption { type = lib.types.listOf lib.types.str; default = [ "d" ]; }; }'
SET = "{ a = lib.mkOption { type = lib.types.attrsOf lib.types.int; default = { }; }; }"
DEEP = '{ on = lib.mkEnableOption "it"; a.b = lib.mkOption { type = lib.types.str; default = "d"; }; }'
SAME = [
    (module(INT, "{ a = 1; }"), {"a": 1}),
    (module(INT, "{ a = 1; }", "{ a = 1; }"), {"a": 1}),
    (module(INT, "{ lib, ... }: { a = lib.mkDefault 1; }", "{ a = 2; }"), {"a": 2}),
    (module(INT, "{ lib, ... }: { a = lib.mkForce 3; }", "{ a = 2; }"), {"a": 3}),
    (module(INT, "{ lib, ... }: { a = lib.mkMerge [ (lib.mkIf false 1) (lib.mkIf true 4) ]; }"), {"a": 4}),
    (module(LIST), {"a": ["d"]}),
    (module(LIST, "{ a = [ \"x\" ]; }", "{ a = [ \"y\" ]; }"), {"a": ["y", "x"]}),
    (module(SET, "{ a.x = 1; }", "{ lib, ... }: { a.x = lib.mkDefault 2; a.y = 3; }"), {"a": {"x": 1, "y": 3}}),
    (module(DEEP, "{ config, lib, ... }: { config = lib.mkIf config.on { a.b = \"x\"; }; }"), {"on": False, "a": {"b": "d"}}),
    (
        module(DEEP, "{ config, lib, ... }: { config = lib.mkIf config.on { a.b = \"x\"; }; }", "{ on = true; }"),
        {"on": True, "a": {"b": "x"}},
    ),
]  # fmt: skip
NO = [
    (module(INT), "a' was accessed but has no value defined"),
    (module(INT, '{ a = "1"; }'), "a' is not of type"),
    (module(INT, "{ b = 1; }"), "b' does not exist"),
    (module(INT, "{ a = 1; }", "{ a = 2; }"), "a' has conflicting definition values"),
    (module(DEEP, "{ a.c = 1; }"), "a.c' does not exist"),
    (module(DEEP, "{ config, lib, ... }: { config = lib.mkIf config.on { a.c = 1; }; }"), "a.c' does not exist"),
    (module(SET, "{ a.x = true; }"), "a.x' is not of type"),
    (module(LIST, "{ a = [ 1 ]; }"), "is not of type"),
    (module(INT, "{ config.a = 1; b = 2; }"), "has an unsupported attribute `b'"),
]


@pytest.mark.parametrize(("expression", "value"), SAME)
def test_modules_come_to_what_they_do_in_nixpkgs(expression: str, value: object) -> None:
    assert evaluate(expression) == value


@pytest.mark.parametrize(("expression", "reason"), NO)
def test_modules_are_refused_as_in_nixpkgs(expression: str, reason: str) -> None:
    with pytest.raises(Refused, match=re.escape(reason)):
        evaluate(expression)
