"""What the commands of the benchmarks share: options, and how errors end them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from mupd.errors import MupdError

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path("../shared/data")
MODEL = Path("resources/models/mupd-mini")


def parser_of(room: str, description: str) -> argparse.ArgumentParser:
    """The parser of ``python -m benchmarks.ROOM``."""
    return argparse.ArgumentParser(prog=f"python -m benchmarks.{room}", description=description)


def add_data(parser: argparse.ArgumentParser, holds: str) -> None:
    """The option --data; `holds` names what the folder holds."""
    parser.add_argument("--data", type=Path, default=DATA, help=f"folder of {holds} (default: %(default)s)")


def add_model(parser: argparse.ArgumentParser) -> None:
    """The option --model."""
    parser.add_argument("--model", type=Path, default=MODEL, help="model folder (default: %(default)s)")


def add_docs(parser: argparse.ArgumentParser) -> None:
    """The option --docs."""
    parser.add_argument("--docs", type=Path, help="Markdown page whose figures are replaced between their marks")


def exit_code_of(run: Callable[[argparse.Namespace], int | None], options: argparse.Namespace) -> int:
    """Run a benchmark; an error that a user can act on is printed, without a traceback."""
    try:
        return run(options) or 0
    except MupdError as error:
        print(error, file=sys.stderr)
        return error.exit_code
