"""The command line itself: its errors, its exit codes, and the options that commands share."""

# ruff: noqa: PLC0415 - heavy libraries are imported inside the commands, so that help stays quick

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from contextvars import ContextVar
from errno import EPIPE
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand

from featkit import terminal
from featkit._version import __version__
from featkit.errors import FeatkitError, MissingEntitiesError, UnknownNameError

if TYPE_CHECKING:
    from featkit.clients.client import FeatureStoreClient

T = TypeVar("T")

NOT_THERE, FAILED = 1, 2  # exit codes; typer's own for a wrong command line is 2 as well

_opened: ContextVar[ExitStack] = ContextVar("featkit_opened")  # what the command has opened


class Command(TyperCommand):
    """A command whose ``--json`` needs no value, and whose errors are one message."""

    not_there = NOT_THERE
    """The exit code where the store was asked and does not have it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer's own click
        """Read the words of the command line."""
        return super().parse_args(ctx, _with_json_target(args))

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer's own click
        """Run the command, and close what it opened; an error is one message and an exit code."""
        try:
            with terminal.notes(), ExitStack() as opened:
                _opened.set(opened)
                return super().invoke(ctx)
        except FeatkitError as error:
            terminal.say("error", str(error))
            missing = isinstance(error, (UnknownNameError, MissingEntitiesError))
            raise typer.Exit(self.not_there if missing else FAILED) from error
        except OSError as error:
            if error.errno == EPIPE:  # who reads has seen enough, which typer knows
                raise
            terminal.say("error", str(error))
            raise typer.Exit(FAILED) from error


def _with_json_target(args: Sequence[str]) -> list[str]:
    """Say ``--json -`` where ``--json`` is last, or followed by an option."""
    done: list[str] = []
    for place, word in enumerate(args):
        if word == "--":
            return [*done, *args[place:]]
        done.append(word)
        after = args[place + 1] if place + 1 < len(args) else "--"
        if word == "--json" and after.startswith("-") and after != "-":
            done.append("-")
    return done


app = typer.Typer(
    help="Look at a feature store, look features up, and bring them into files.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="TARGET",
        help="The store: demo:flights, parquet:PATH; else that of the settings.",
    ),
]
NowOption = Annotated[
    str | None,
    typer.Option(
        "--now",
        metavar="ISO",
        help="What counts as now, such as 2014-01-01T00:00:00Z; else the store's clock.",
    ),
]
JsonOption = Annotated[
    str | None,
    typer.Option("--json", metavar="[FILE]", help="Write JSON: to FILE, or to stdout without."),
]
ViewArgument = Annotated[str, typer.Argument(metavar="VIEW", help="A feature view.")]
Names = list[str] | None


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        typer.echo(f"featkit {__version__}")
        raise typer.Exit


_Version = Annotated[
    bool,
    typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version."),
]


@app.callback()
def _root(*, version: _Version = False) -> None:
    """Take the options before the command."""


def connect(store: str | None, now: str | None) -> "FeatureStoreClient":
    """Connect to the store that the options, or the settings, name, until the command ends."""
    import featkit

    return until_the_end(featkit.connect(store, now=now))


def until_the_end(resource: AbstractContextManager[T]) -> T:
    """Open what is closed when the command ends, also where it fails."""
    return _opened.get().enter_context(resource)
