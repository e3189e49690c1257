"""The sub-commands of the command line.

A sub-command is a module with two functions: ``add_parser(subparsers)`` declares its arguments,
``run(args)`` does its work and returns the exit status. What the user is to be told of a problem
is raised as `CommandError`.

A new sub-command is one module here and one line in `COMMANDS`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Protocol, TypeAlias, cast

COMMANDS = {
    "fit": "fastgd.commands.fit",
    "predict": "fastgd.commands.predict",
    "plan": "fastgd.commands.plan",
    "cv": "fastgd.commands.cv",
    "demo": "fastgd.commands.demo",
    "bench": "fastgd.commands.bench",
}

# Not a type at run time; argparse gives the thing no public name.
Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


class CommandError(Exception):
    """A problem that its text explains to the user in one line."""


class Command(Protocol):
    """What the module of a sub-command offers."""

    def add_parser(self, subparsers: Subparsers) -> None:
        """Declare the arguments."""
        ...

    def run(self, args: argparse.Namespace) -> int:
        """Do the work and return the exit status."""
        ...


def load_command(name: str) -> Command:
    """The sub-command registered as `name`."""
    return cast(Command, import_module(COMMANDS[name]))


@contextmanager
def told() -> Iterator[None]:
    """Tell what the library refuses in its own words."""
    try:
        yield
    except (ArithmeticError, TypeError, ValueError) as error:
        raise CommandError(str(error)) from None


def count(text: str) -> int:
    """A whole number of at least 1, for argparse: 1000, 1_000 or 1e3."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not (1 <= number < 2**53 and number == int(number)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(number)
