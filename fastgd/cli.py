"""The command line: ``fastgd`` and ``python -m fastgd``.

Finds the sub-command and sees that whatever goes wrong ends in one line and an exit status; the
work is in `fastgd.commands`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from fastgd import __version__
from fastgd.commands import COMMANDS, CommandError, load_command

FAILED = 2
INTERRUPTED = 130  # what a shell reports of a program ended by SIGINT
PIPE_CLOSED = 141  # and by SIGPIPE


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message}; see {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; by default those of the process.

    Returns
    -------
    int
        The exit status: 0; 1 if results disagree that should agree; 2 for an error, told in one
        line on stderr; 130 if interrupted, 141 if the reader of the output went away.
    """
    status = _status(argv)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        return PIPE_CLOSED
    except OSError as error:
        _discard_output()
        return status if status == FAILED else _fail(error)  # not the same line twice
    return status


def _status(argv: Sequence[str] | None) -> int:
    try:
        args = _parser().parse_args(argv)
        return load_command(args.command).run(args)
    except SystemExit as done:  # --help and --version
        return int(done.code or 0)
    except KeyboardInterrupt:
        _fail(CommandError("interrupted"))
        return INTERRUPTED
    except BrokenPipeError:
        _discard_output()
        return PIPE_CLOSED
    except Exception as error:  # a traceback helps nobody at a command line
        return _fail(error)


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = _Parser(
        prog="fastgd",
        description="Least squares by gradient descent on large arrays.",
    )
    parser.add_argument("--version", action="version", version=f"fastgd {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        load_command(name).add_parser(subparsers)
    return parser


def _fail(error: Exception) -> int:
    text = " ".join(str(error).split())
    if not isinstance(error, (CommandError, OSError)):
        text = f"{type(error).__name__}: {text}"
    print(f"fastgd: error: {text}", file=sys.stderr)
    return FAILED


def _discard_output() -> None:
    """Send what is still buffered nowhere, or Python complains about it as it ends."""
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, OSError):  # replaced by something that is no file
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
