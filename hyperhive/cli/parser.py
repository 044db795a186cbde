"""From the table of verbs to argparse: options that may stand before or after the verb, and "did you mean"."""

import argparse
import difflib
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

DESCRIPTION = "Many Claude Code agents, each in a container of its own. `hive VERB --help` says more about a verb."
EXITS = (
    "exit codes: 0 ok, 1 failed, 2 usage, 3 hive not reachable, 4 not found, "
    "5 refused or conflict, 6 timed out, 130 interrupted"
)
# What Django's own machinery looks for; none of it is an option of ours, all colour comes from rich.
DJANGO = {
    "settings": None,
    "pythonpath": None,
    "traceback": False,
    "no_color": True,
    "force_color": False,
    "skip_checks": True,
    "verbosity": 1,
}


class Verb(NamedTuple):
    do: Callable[..., Any]
    help: str
    arguments: tuple[tuple[tuple[str, ...], dict[str, Any]], ...]


def verb(do: Callable[..., Any], help: str, *arguments: tuple[tuple[str, ...], dict[str, Any]]) -> Verb:
    return Verb(do, help, arguments)


def arg(*names: str, **how: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    return names, how


class Parser(argparse.ArgumentParser):
    """Argparse with one thing more: a word that is not offered is answered with the nearest that is."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        near = difflib.get_close_matches(str(value), list(action.choices), 1)
        hint = f" Did you mean {near[0]!r}?" if near else f" `{self.prog} --help` lists what there is."
        raise argparse.ArgumentError(None, f"{value!r} is not known here.{hint}")

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n{self.format_usage()}")


def build(verbs: dict[str, Verb]) -> Parser:
    # Their own for either place: set_defaults() writes into the options themselves.
    before, after = _shared(), _shared()
    parser = Parser(prog="hive", description=DESCRIPTION, epilog=EXITS, parents=[before], allow_abbrev=False)
    parser.set_defaults(json=False, quiet=False, yes=False, **DJANGO)
    parsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True, title="verbs")
    for name, (_, help_, arguments) in verbs.items():
        one = parsers.add_parser(name, help=help_, description=help_, parents=[after], allow_abbrev=False)
        for names, how in arguments:
            one.add_argument(*names, **how)
    return parser


def _shared() -> Parser:
    """The options of every verb. They set nothing unless given, so that either place counts."""
    shared = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    shared.add_argument("--json", action="store_true", help='one JSON object with "schema": 1; followed, one per line')
    shared.add_argument("-q", "--quiet", action="store_true", help="names and ids only, one per line, and no progress")
    shared.add_argument("--yes", action="store_true", help="do not ask")
    return shared
