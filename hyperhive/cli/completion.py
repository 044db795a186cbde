"""`hive completion SHELL`: what a shell completes, made from the table of verbs itself; agents' names come from the hive."""

import argparse
import shlex
from collections.abc import Iterator
from typing import Any

from .parser import Verb, build
from .terminal import write

# What an argument is called in the help -> the verb whose `-q` lists what it can be.
LISTS = {"NAME": "list", "TO": "list", "USER": "users", "ID": "approvals", "WORD": "search"}
FILES = {"FILE", "PATH"}
BEFORE = ("--help", "--json", "--quiet", "--yes")  # what may stand before a verb


class Words:
    """What can follow a verb: its options, and for each option that takes a value, and for the rest, what that can be."""

    def __init__(self, name: str, help_: str, parser: argparse.ArgumentParser):
        self.name, self.help = name, help_
        options = [action for action in parser._actions if action.option_strings]
        self.options = [(option, action) for action in options for option in action.option_strings]
        self.values = [(option, offer([action])) for option, action in self.options if action.nargs != 0]
        self.rest = offer([action for action in parser._actions if not action.option_strings])


def offer(actions: list[argparse.Action]) -> tuple[list[str], str, bool]:
    """The words, the verb that lists more of them ('' for none), and whether a file may stand there."""
    choices = [str(choice) for action in actions for choice in action.choices or ()]
    lists = [LISTS[str(action.metavar)] for action in actions if action.metavar in LISTS]
    return choices, lists[0] if lists else "", any(action.metavar in FILES for action in actions)


def words(verbs: dict[str, Verb]) -> list[Words]:
    parser = build(verbs)
    [sub] = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [Words(name, verbs[name].help, one) for name, one in sub.choices.items()]


def completion(o: Any, verbs: dict[str, Verb]) -> None:
    write("\n".join(SHELLS[o.shell](words(verbs))))


def bash(all_words: list[Words]) -> Iterator[str]:
    yield "# bash completion for hive: source <(hive completion bash)"
    yield "_hive() {"
    yield "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb= word words= from= file= at"
    # By number: a slice of an array is another thing in each shell.
    yield "  for ((at = 1; at < COMP_CWORD; at++)); do"
    yield "    word=${COMP_WORDS[at]}"
    yield "    case $word in -*) ;; *) verb=$word; break ;; esac"
    yield "  done"
    yield '  case "$verb $prev" in'
    for one in all_words:
        yield from (f"    '{one.name} {option}') {assigned(*offered)} ;;" for option, offered in one.values)
    yield "    *) case $verb in"
    yield f"      '') {assigned([*BEFORE, *(one.name for one in all_words)], '', False)} ;;"
    for one in all_words:
        choices, lists, files = one.rest
        yield f"      {one.name}) {assigned([*(option for option, _ in one.options), *choices], lists, files)} ;;"
    yield "    esac ;;"
    yield "  esac"
    # Quick, and silent when no hive runs.
    yield "  [[ $from && $cur != -* ]] && words+=\" $(timeout 2 hive $from -q 2>/dev/null | tr '\\n' ' ')\""
    yield '  COMPREPLY=($(compgen -W "$words" -- "$cur"))'
    yield '  [[ $file && $cur != -* ]] && COMPREPLY+=($(compgen -f -- "$cur"))'
    yield "  return 0"
    yield "}"
    yield "complete -F _hive hive"


def assigned(choices: list[str], lists: str, files: bool) -> str:
    return f"words={shlex.quote(' '.join(choices))} from={lists} file={'1' if files else ''}"


def zsh(all_words: list[Words]) -> Iterator[str]:
    yield "# zsh completion for hive: source <(hive completion zsh)"
    yield "autoload -U +X compinit && compinit -u; autoload -U +X bashcompinit && bashcompinit"
    # Words are split by bash's rules only where zsh is told to.
    yield from (line.replace("_hive() {", "_hive() { emulate -L sh; setopt ksharrays") for line in bash(all_words))


def fish(all_words: list[Words]) -> Iterator[str]:
    yield "# fish completion for hive: hive completion fish | source"
    yield "complete -c hive -f"
    yield "function __hive; timeout 2 hive $argv[1] -q 2>/dev/null; end"
    for one in all_words:
        yield f"complete -c hive -n __fish_use_subcommand -a {one.name} -d {quoted(one.help)}"
        seen = f"complete -c hive -n '__fish_seen_subcommand_from {one.name}'"
        takes = dict(one.values)
        for option, action in one.options:
            kind = f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}"
            value = f" -r {listed(*takes[option])}" if option in takes else ""
            yield f"{seen} {kind}{value} -d {quoted(action.help or '')}"
        yield f"{seen} {listed(*one.rest)}"


def listed(choices: list[str], lists: str, files: bool) -> str:
    inner = " ".join([*choices, *([f"(__hive {lists})"] if lists else [])])
    return f"-a {quoted(inner)}{' -F' if files else ''}"


def quoted(text: str) -> str:
    r"""Within fish's single quotes only \ and ' mean anything (fishshell.com/docs/current/language.html#quotes)."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}
