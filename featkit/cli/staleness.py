"""``featkit staleness``: an audit that people look at, and that CI obeys."""

# ruff: noqa: PLC0415 - heavy libraries are imported inside the commands, so that help stays quick

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featkit import terminal
from featkit.cli.app import FAILED, Command, JsonOption, Names, NowOption, StoreOption, connect
from featkit.errors import InputError, reason_of

if TYPE_CHECKING:
    import polars as pl

    from featkit.clients.client import FeatureStoreClient
    from featkit.reports.staleness import FailOn, StalenessReport

TOO_OLD = 1  # exit code: the audit found an error


class AuditCommand(Command):
    """A command that could not run where a name is not known: its exit code 1 means an error."""

    not_there = FAILED


def staleness(
    *,
    view: Annotated[
        Names, typer.Option("--view", "-v", metavar="VIEW", help="A feature view; else all.")
    ] = None,
    feature: Annotated[
        Names, typer.Option("--feature", "-f", metavar="REF", help="view:feature.")
    ] = None,
    entities: Annotated[
        Path | None,
        typer.Option(
            "--entities",
            metavar="FILE",
            help="Whose values: a file with their join keys; else all.",
        ),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option("--sample", metavar="N", help="At most so many entities of each view."),
    ] = None,
    warn_after: Annotated[
        Names,
        typer.Option(
            "--warn-after",
            metavar="[VIEW=]AGE",
            help="A value older than this is worth a warning, such as 36h; else 0.8 of the ttl.",
        ),
    ] = None,
    error_after: Annotated[
        Names,
        typer.Option(
            "--error-after", metavar="[VIEW=]AGE", help="The same for errors; else the ttl."
        ),
    ] = None,
    tolerate: Annotated[
        float,
        typer.Option(
            "--tolerate", metavar="SHARE", help="Which share of entities, 0 to 1, may be older."
        ),
    ] = 0.0,
    compare_offline: Annotated[
        bool, typer.Option("--compare-offline", help="Compare with the offline store.")
    ] = False,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask the store, whatever the cache holds.")
    ] = False,
    fail_on: Annotated[
        str,
        typer.Option(
            "--fail-on",
            metavar="error|warn|unknown",
            help="From which verdict on the exit code is 1.",
        ),
    ] = "error",
    record: Annotated[
        Path | None,
        typer.Option("--record", metavar="FILE", help="Append the audit to a Parquet file."),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page.")
    ] = None,
    store: StoreOption = None,
    now: NowOption = None,
    json: JsonOption = None,
) -> None:
    """Tell how old features are, and whether that is too old.

    The exit code is 0 where all is well or worth a warning, 1 where something is too old, 2 where
    it could not be told.
    """
    client = connect(store, now)
    report = client.staleness(
        [*(f"{name}:*" for name in view or []), *(feature or [])] or None,
        None if entities is None else _entities(entities, client),
        sample=sample,
        warn_after=_ages(warn_after, "--warn-after"),
        error_after=_ages(error_after, "--error-after"),
        tolerate=tolerate,
        compare_offline=compare_offline,
        refresh=refresh,
    )
    chosen: Any = fail_on  # `code` refuses what it does not know
    ended = code(report, chosen)
    if html:
        report.to_html(html)
    if junit:
        report.to_junit(junit, fail_on=chosen)
    if record:
        report.record(record)
    if json != terminal.STDOUT:
        show(report)
    if json:
        terminal.write_report(report, json)
    if ended:
        raise typer.Exit(ended)


def code(report: "StalenessReport", fail_on: "FailOn") -> int:
    """Tell the exit code: 1 for what is too old, 2 where nothing, or not all, could be told."""
    failing = {view.verdict for view in report.failures(fail_on)}
    if failing - {"failed"}:
        return TOO_OLD
    return FAILED if failing or not report.judged else 0


def show(report: "StalenessReport") -> None:
    """Print a report: a table, and what there is to say."""
    header, *rows = report.table()
    numbers = ("entities", "newest", "p50", "p95", "oldest", "ttl", "expired")
    table = terminal.table(*header, numbers=numbers)
    for row in rows:
        table.add_row(*row)
    console = terminal.console()
    console.print(report.headline)
    console.print(table)
    for remark in report.remarks():
        console.print(remark)


def _ages(given: list[str] | None, option: str) -> str | dict[str, str] | None:
    """Read ``AGE`` for all views, or ``VIEW=AGE`` for one each."""
    if not given:
        return None
    pairs = dict(text.rpartition("=")[::2] for text in given)
    if "" not in pairs:
        return pairs
    if len(given) > 1:
        raise InputError(
            f"{option} takes one age for all views, or VIEW=AGE for each; not both: "
            f"{', '.join(given)}"
        )
    return pairs[""]


def _entities(path: Path, client: "FeatureStoreClient") -> "pl.DataFrame":
    from featkit import files
    from featkit.failures import FAILURES

    files.format_of(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    views, _ = client.run(client.operations.store.describe())  # of those that can be
    keys = [key for view in views for key in view.entities]
    dtypes = {key.join_key: key.dtype for key in keys if key.dtype}
    try:
        return files.scan(path, to=path, dtypes=dtypes).collect()
    except FAILURES as error:
        raise InputError(f"{path} cannot be read: {reason_of(error)}") from error
