"""What the command line shows: tables and notes for people, JSON for programs.

Heavy libraries are imported inside the functions, so that help stays quick.
"""

# ruff: noqa: PLC0415 - imports inside functions are what the docstring explains

from __future__ import annotations

import re
import warnings
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

import typer

from featkit.errors import FeatkitWarning, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console
    from rich.table import Table

    from featkit.report import Report
    from featkit.schema import Entity, Feature, FeatureService, FeatureView

STDOUT = "-"
"""The name of a file that stands for standard output."""

_PIPED_WIDTH = 10_000  # characters: a pipe has no edge at which to wrap

_FILLED = re.compile(r" +$", re.MULTILINE)  # what fills a table's last column

_IN_OPTIONS = (  # how the library's messages name an option, and how the command line does
    (re.compile(r"on=\{'([^']+)': <column>\}"), r"--on \1=COLUMN"),
    (re.compile(r"\bon= maps"), "--on maps"),
    (re.compile(r"\bon_missing='(\w+)'"), r"--on-missing \1"),
    (re.compile(r"\bexpired='(\w+)'"), r"--expired \1"),
    (re.compile(r"\b(prefix|now|at|label|engine)=(?=')"), r"--\1 "),
    (re.compile(r"\bfull_feature_names=True"), "--full-names"),
    (re.compile(r"\bfeature_timestamps=True"), "--timestamps"),
    (re.compile(r"\bfeatures=\{<column>: '([^']+)'\}"), r"--feature COLUMN=\1"),
    (re.compile(r"\b(memory|label|known)_(limit|time|by)=(?!\{)"), r"--\1-\2 "),
    (re.compile(r"\b(tolerate|sample|tolerance|seed)=(?=\S)"), r"--\1 "),
    (re.compile(r"\b(error|warn)_after="), r"--\1-after"),
    (re.compile(r"a mapping from views to delays, such as \{'VIEW': '6h'\}"), "VIEW=6h"),
    (re.compile(r"\bknown_by=\{'([^']+)': '([^']+)'\}"), r"--known-by \1=\2"),
    (re.compile(r"featkit\.connect\('([^']*)'\)"), r"--store \1"),
    (re.compile(r"connect\(\.\.\., (\w+)='(\w+)'\)"), r"\1 = '\2' in featkit.toml"),
)


def say(kind: Literal["error", "note"], message: str) -> None:
    """Tell people something on stderr, in the words of the command line."""
    for pattern, here in _IN_OPTIONS:
        message = pattern.sub(here, message)
    typer.secho(f"{kind}: ", fg="red" if kind == "error" else "yellow", nl=False, err=True)
    typer.echo(message, err=True)


@contextmanager
def notes() -> Iterator[None]:
    """Show featkit's own warnings as a line each."""
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def note(  # noqa: PLR0917 - the shape is that of warnings.showwarning
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, FeatkitWarning):
                say("note", str(message))
            else:
                shown(message, category, filename, lineno, file, line)

        warnings.simplefilter("always", FeatkitWarning)
        warnings.showwarning = note
        yield


def console() -> Console:
    """Make the console of standard output; in a pipe no line is cut, filled or coloured."""
    from rich.console import Console

    class Piped(Console):
        def print(self, *shown: Any, **options: Any) -> None:  # noqa: ANN401 - those of rich
            with self.capture() as captured:
                super().print(*shown, **options)
            self.file.write(_FILLED.sub("", captured.get()))

    plain: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
    watched = Console(**plain)
    return watched if watched.is_terminal else Piped(width=_PIPED_WIDTH, **plain)


def table(*columns: str, numbers: Sequence[str] = ()) -> Table:
    """Make a table with a rule under its header.

    Parameters
    ----------
    *columns
        The names; none: a table without header.
    numbers
        Which of them stand to the right.
    """
    from rich import box
    from rich.table import Table

    made = Table(
        box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_header=bool(columns), show_edge=False
    )
    for name in columns:
        made.add_column(name, overflow="fold", justify="right" if name in numbers else "left")
    return made


def text(value: object) -> str:
    """Write a value as people read it: nothing for null, Z for UTC."""
    if isinstance(value, datetime):
        return value.isoformat(" ").replace("+00:00", "Z")
    return "" if value is None else str(value)


def dtype(item: Entity | Feature) -> str:
    """Write the dtype of a key or of a feature."""
    from featkit.dtypes import format_dtype

    return format_dtype(item.dtype)


def ttl(view: FeatureView) -> str:
    """Write the ttl of a view: ``3h``, ``none``, or ``static`` where values have no age."""
    from featkit.durations import format_duration

    if not view.timestamp:
        return "static"
    return "none" if view.ttl is None else format_duration(view.ttl)


def view_content(view: FeatureView) -> dict[str, Any]:
    """Turn a view into what JSON can hold."""
    import msgspec

    from featkit.dtypes import format_dtype

    content: dict[str, Any] = msgspec.to_builtins(view, enc_hook=format_dtype)
    del content["ttl"]
    return {**content, "ttl_seconds": None if view.ttl is None else view.ttl.total_seconds()}


def service_content(service: FeatureService) -> dict[str, Any]:
    """Turn a service into what JSON can hold."""
    import msgspec

    return {**msgspec.to_builtins(service), "features": list(map(str, service.features))}


def write_report(report: Report, target: str) -> None:
    """Write a report as JSON to a file, or to standard output where `target` is ``-``."""
    if target == STDOUT:
        typer.echo(report.to_json(), nl=False)
    else:
        report.to_json(target)


def write_json(content: object, target: str) -> None:
    """Write JSON to a file, or to standard output where `target` is ``-``."""
    from featkit.report import json_of

    json = json_of(content)
    if target == STDOUT:
        typer.echo(json, nl=False)
        return
    try:
        Path(target).write_text(json, "utf-8", newline="\n")
    except OSError as error:
        msg = f"{target} cannot be written: {error}"
        raise InputError(msg) from error
