"""The list of commands: grouped, one line each, with examples per command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from textwrap import wrap

#: Groups of commands, in the order they are shown.
MAKE, MEASURE, USE, SERVE, MOVE = "make", "measure", "use", "serve and watch", "move and scale"
_GROUPS = (MAKE, MEASURE, USE, SERVE, MOVE)
_WIDTH = 88
_MORE = """affineur COMMAND --help says more, with examples.

Completion in bash and zsh: pip install 'affineur[shell]', then
eval "$(register-python-argcomplete affineur)\""""


class Commands:
    """Collects the commands of a parser.

    Args:
        parser: The parser they belong to.
    """

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._commands = parser.add_subparsers(
            dest="command", required=True, metavar="COMMAND", prog="affineur", help=argparse.SUPPRESS
        )
        self._parsers: dict[str, argparse.ArgumentParser] = {}
        self._groups: dict[str, argparse._SubParsersAction[argparse.ArgumentParser]] = {}
        self._listed: dict[str, list[tuple[str, str]]] = {group: [] for group in _GROUPS}

    def add(
        self, name: str, summary: str, group: str, examples: Sequence[str] = (), about: str = ""
    ) -> argparse.ArgumentParser:
        """Add a command.

        Args:
            name: What is typed: a word, or the name of a group of commands and a word.
            summary: One line, for the list.
            group: The group it is listed in.
            examples: Command lines that show its use.
            about: More of what it does, for its own help.
        """
        shown = "\n".join(["examples:", *(f"  {line}" for line in examples)]) if examples else None
        text = f"{summary[0].upper()}{summary[1:]}." + (f" {about}" if about else "")
        family, _, own = name.rpartition(" ")
        parser = (self._family(family) if family else self._commands).add_parser(
            own,
            help=summary,
            description="\n".join(wrap(text, _WIDTH)),
            epilog=shown,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.set_defaults(command=name)
        self._listed[group].append((name, summary))
        self._parsers[name] = parser
        return parser

    def _family(self, name: str) -> argparse._SubParsersAction[argparse.ArgumentParser]:
        if name not in self._groups:
            parser = self._commands.add_parser(name, usage=f"affineur {name} COMMAND …")
            self._groups[name] = parser.add_subparsers(
                dest="command", required=True, metavar="COMMAND", prog=f"affineur {name}", title="commands"
            )
        return self._groups[name]

    def spellings(self, command: str) -> dict[str, str]:
        """Return how a command spells each parameter of the library that it has an option for."""
        actions = self.actions(command)
        # The first is what help lists first, of a switch the positive; of the output, what everybody types.
        return {a.dest: a.option_strings[0] for a in actions if a.option_strings} | {"out": "-o"}

    def actions(self, command: str) -> list[argparse.Action]:
        """Return the arguments and options of a command."""
        return self._parsers[command]._actions

    def __contains__(self, name: str) -> bool:
        """Say whether there is a command of a name."""
        return name in self._parsers

    def overview(self) -> str:
        """Write the list, for the help of the whole."""
        width = max(len(name) for group in self._listed.values() for name, _ in group) + 2
        parts = []
        for group, commands in self._listed.items():
            if commands:
                rows = (f"  {name:<{width}}{summary}" for name, summary in commands)
                parts.append("\n".join([f"{group}:", *rows]))
        return "\n\n".join([*parts, _MORE])
