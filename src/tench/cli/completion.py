"""`tench completion SHELL`: print a script that completes commands, options and their values."""

import dataclasses
from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

from tench.cli.commands import COMMANDS, forms
from tench.cli.options import options_of
from tench.cli.parse import parse
from tench.flags import Flag

_FOR_ALL = ("--help", "--help-all", "--traceback")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Completion:
    """Print a shell script that completes commands, options, recipes and other known values, and file names elsewhere.

    For bash, add the first line below to ~/.bashrc. For zsh, add the second to ~/.zshrc, after compinit. For fish, run
    the third once. Examples:

        eval "$(tench completion bash)"
        eval "$(tench completion zsh)"
        tench completion fish > ~/.config/fish/completions/tench.fish
    """

    GROUPS: ClassVar[dict[str, str]] = {"Options": "shell"}

    shell: Annotated[Literal["bash", "zsh", "fish"], Flag(metavar="SHELL", positional=True)]
    """bash, zsh or fish."""


def run(arguments: list[str]) -> int:
    shell = parse(Completion, arguments).shell
    script = {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]
    for line in script(*_words()):
        print(line)
    return 0


def _words() -> tuple[dict[str, list[str]], dict[tuple[str, str], list[str]]]:
    """The words that may follow "train", "bench", "bench input", ...; and those that may follow each of its options."""
    from tench.data.download.download import offered
    from tench.training.recipe_file import packaged_recipes

    recipes = packaged_recipes()
    words: dict[str, list[str]] = {"": [*COMMANDS, "help", "--help", "--version"], "help": list(COMMANDS)}
    values: dict[tuple[str, str], list[str]] = {}
    for command in COMMANDS:
        for name, kind in forms(command).items():
            if name != command:
                words.setdefault(command, ["--help"]).append(name.removeprefix(f"{command} "))
            words[name] = list(_FOR_ALL)
            for option in options_of(kind):
                if option.flag.positional:
                    words[name] += option.choices
                    continue
                words[name] += option.names
                words[name] += [option.negative] if option.negative else []
                accepted = recipes if option.name == "--recipe" else list(option.choices)
                for called in option.names if not option.is_switch else ():
                    values[name, called] = accepted
    words["recipes"] += recipes
    words["download"] += [name for name, _, _ in offered()]
    return words, values


def _matching(words: dict[str, list[str]], values: dict[tuple[str, str], list[str]]) -> Iterable[str]:
    """A function for bash or zsh that sets $found to the words that may follow $command and $previous."""
    yield "_tench_found() {"
    yield '    case "$command $previous" in'
    by_words: dict[tuple[str, ...], list[str]] = {}
    for (command, option), known in values.items():
        by_words.setdefault(tuple(known), []).append(f'"{command} {option}"')
    for choices, patterns in by_words.items():
        yield f"        {'|'.join(patterns)}) found={_quoted(choices)}; return ;;"
    yield "    esac"
    yield '    case "$command" in'
    for command, listed in words.items():
        yield f'        "{command}") found={_quoted(listed)} ;;'
    yield "    esac"
    yield "}"


def _quoted(words: Iterable[str]) -> str:
    return f'"{" ".join(words)}"'


def _form_commands(words: dict[str, list[str]]) -> str:
    return "|".join(dict.fromkeys(name.split()[0] for name in words if " " in name))


def _bash(words: dict[str, list[str]], values: dict[tuple[str, str], list[str]]) -> Iterable[str]:
    yield '# Completion of tench for bash: eval "$(tench completion bash)"'
    yield from _matching(words, values)
    yield "_tench() {"
    yield '    local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}" command="" found=""'
    yield '    [ "$COMP_CWORD" -gt 1 ] && command="${COMP_WORDS[1]}"'
    yield '    case "$command" in'
    yield f'        {_form_commands(words)}) [ "$COMP_CWORD" -gt 2 ] && command="$command ${{COMP_WORDS[2]}}" ;;'
    yield "    esac"
    yield "    _tench_found"
    yield '    COMPREPLY=($(compgen -W "$found" -- "$current"))'
    yield "}"
    yield "complete -o bashdefault -o default -F _tench tench"


def _zsh(words: dict[str, list[str]], values: dict[tuple[str, str], list[str]]) -> Iterable[str]:
    yield "#compdef tench"
    yield '# Completion of tench for zsh: eval "$(tench completion zsh)" after compinit'
    yield from _matching(words, values)
    yield "_tench() {"
    yield '    local previous="${words[CURRENT-1]}" command="" found=""'
    yield '    (( CURRENT > 2 )) && command="${words[2]}"'
    yield '    case "$command" in'
    yield f'        {_form_commands(words)}) (( CURRENT > 3 )) && command="$command ${{words[3]}}" ;;'
    yield "    esac"
    yield "    _tench_found"
    yield "    compadd -- ${=found}"
    yield '    [[ "${words[CURRENT]}" == -* ]] || _files'
    yield "}"
    yield "compdef _tench tench"


def _fish(words: dict[str, list[str]], values: dict[tuple[str, str], list[str]]) -> Iterable[str]:
    yield "# Completion of tench for fish: tench completion fish > ~/.config/fish/completions/tench.fish"
    yield "function __tench_at"
    yield "    set -l before (commandline -opc)"
    yield "    set -e before[1]"
    yield "    set -l asked (string split ' ' -- $argv[1])"
    yield "    set -l length (count $asked)"
    yield "    test (count $before) -ge $length; or return 1"
    yield '    test "$before[1..$length]" = "$argv[1]"'
    yield "end"
    yield "complete -c tench -n 'test (count (commandline -opc)) -eq 1' -f -a " + f"'{' '.join(words[''])}'"
    for command, known in words.items():
        if not command:
            continue
        loose = [word for word in known if not word.startswith("-")]
        if loose:
            yield f"complete -c tench -n '__tench_at \"{command}\"' -a '{' '.join(loose)}'"
        for word in known:
            if word.startswith("-"):
                dashes = f"-l {word[2:]}" if word.startswith("--") else f"-s {word[1:]}"
                choices = values.get((command, word))
                takes = "" if choices is None else " -r" if word == "--recipe" or not choices else " -x"
                listed = f" -a '{' '.join(choices)}'" if choices else ""
                yield f"complete -c tench -n '__tench_at \"{command}\"' {dashes}{takes}{listed}"
