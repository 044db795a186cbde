"""`hive completion SHELL`: what a shell completes, made from the table of verbs itself; agents' names come from the hive."""

import argparse
import shlex
from collections.abc import Iterator
from typing import Any

from .parser import Verb, build
from .terminal import write

# Arguments that are an agent's name.
NAMES = {"name", "to", "sender", "agent"}


class Words:
    """A verb's options, and whether it takes an agent's name."""

    def __init__(self, name: str, help_: str, parser: argparse.ArgumentParser):
        self.name, self.help = name, help_
        self.options = [(option, action.help or "") for action in parser._actions for option in action.option_strings]
        self.choices = [
            str(choice) for action in parser._actions if not action.option_strings for choice in action.choices or ()
        ]
        self.names = any(action.dest in NAMES for action in parser._actions)


def words(verbs: dict[str, Verb]) -> list[Words]:
    parser = build(verbs)
    [sub] = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [Words(name, verbs[name].help, one) for name, one in sub.choices.items()]


def completion(o: Any, verbs: dict[str, Verb]) -> None:
    write("\n".join(SHELLS[o.shell](words(verbs))))


def bash(all_words: list[Words]) -> Iterator[str]:
    yield "# bash completion for hive: source <(hive completion bash)"
    yield "_hive() {"
    yield "  local cur=${COMP_WORDS[COMP_CWORD]} verb= word"
    yield '  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do'
    yield "    case $word in -*) ;; *) verb=$word; break ;; esac"
    yield "  done"
    yield "  local words= names="
    yield "  case $verb in"
    yield f"    '') words={shlex.quote(' '.join(['--help', '--json', '--quiet', '--yes', *(one.name for one in all_words)]))} ;;"
    for one in all_words:
        offered = shlex.quote(" ".join([option for option, _ in one.options] + one.choices))
        yield f"    {one.name}) words={offered}{' names=1' if one.names else ''} ;;"
    yield "  esac"
    # Quick, and silent when no hive runs.
    yield '  [[ $names && $cur != -* ]] && words+=" $(timeout 2 hive list -q 2>/dev/null)"'
    yield '  COMPREPLY=($(compgen -W "$words" -- "$cur"))'
    yield "}"
    yield "complete -F _hive hive"


def zsh(all_words: list[Words]) -> Iterator[str]:
    yield "# zsh completion for hive: source <(hive completion zsh)"
    yield "autoload -U +X compinit && compinit -u; autoload -U +X bashcompinit && bashcompinit"
    yield from bash(all_words)


def fish(all_words: list[Words]) -> Iterator[str]:
    yield "# fish completion for hive: hive completion fish | source"
    yield "complete -c hive -f"
    yield "function __hive_names; timeout 2 hive list -q 2>/dev/null; end"
    for one in all_words:
        yield f"complete -c hive -n __fish_use_subcommand -a {one.name} -d {quoted(one.help)}"
        seen = f"-n '__fish_seen_subcommand_from {one.name}'"
        for option, help_ in one.options:
            kind = f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}"
            yield f"complete -c hive {seen} {kind} -d {quoted(help_)}"
        if one.choices:
            yield f"complete -c hive {seen} -a {quoted(' '.join(one.choices))}"
        if one.names:
            yield f"complete -c hive {seen} -a '(__hive_names)'"


def quoted(text: str) -> str:
    r"""Within fish's single quotes only \ and ' mean anything (fishshell.com/docs/current/language.html#quotes)."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}
