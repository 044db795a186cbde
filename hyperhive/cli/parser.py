"""From the table of verbs to argparse: options that may stand before or after the verb, and "did you mean"."""

import argparse
import difflib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, NoReturn

DESCRIPTION = "Many Claude Code agents, each in a container of its own. `hive VERB --help` says more about one."
EXITS = (
    "exit codes: 0 ok, 1 failed, 2 usage, 3 hive not reachable, 4 not found, "
    "5 refused or conflict, 6 timed out, 130 interrupted"
)
# What somebody needs first, of all that `hive --help` lists.
BEGINNING = (
    "hive serve", "hive demo", "hive list", "hive send NAME TEXT", "hive inbox", "hive approvals", "hive approve ID",
    "hive why NAME", "hive top", "hive link",
)  # fmt: skip
MORE = "`hive --help` lists every verb, `hive VERB --help` says more about one."
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


class Form(argparse.HelpFormatter):
    """Room for the longest verb, so that each has its line."""

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=16)


class Parser(argparse.ArgumentParser):
    """Argparse with one thing more: a word that is not offered is answered with the nearest that is."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        raise argparse.ArgumentError(None, f"{value!r} is not known here.{self.hint(str(value), action.choices)}")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """An option that is not there is answered like a verb that is not; no verb at all by how to begin."""
        found, left = self.parse_known_args(args, namespace)
        parser = self.verbs.get(found.verb or "", self)
        if left and left[0].startswith("-"):
            parser.error(f"{left[0]!r} is not known here.{parser.hint(left[0], parser._option_string_actions)}")
        if left:
            parser.error(f"{left[0]!r} is one word too many.")
        if found.verb is None:
            self.exit(2, self.beginning())
        return found

    def beginning(self) -> str:
        said = {name: (one.description or "").partition(";")[0] for name, one in self.verbs.items()}
        lines = [f"  {line:<22}{said[line.split()[1]]}" for line in BEGINNING]
        return "\n".join(["usage: hive VERB …", "", *lines, "", MORE, ""])

    @property
    def verbs(self) -> dict[str, "Parser"]:
        return next((action.choices for action in self._actions if isinstance(action, argparse._SubParsersAction)), {})

    def hint(self, word: str, known: Iterable[str]) -> str:
        near = difflib.get_close_matches(word.partition("=")[0], list(known), 1)
        return f" Did you mean {near[0]!r}?" if near else f" `{self.prog} --help` lists what there is."

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n{self.format_usage()}")


def build(verbs: dict[str, Verb]) -> Parser:
    # Their own for either place: set_defaults() writes into the options themselves.
    before, after = _shared(), _shared()
    parser = Parser(
        prog="hive", description=DESCRIPTION, epilog=EXITS, parents=[before], allow_abbrev=False, formatter_class=Form
    )
    parser.set_defaults(json=False, quiet=False, yes=False, **DJANGO)
    parsers = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
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
