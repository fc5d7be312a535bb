"""``featkit health``: whether a store can be used right now."""

# ruff: noqa: PLC0415 - heavy libraries are imported inside the commands, so that help stays quick

from typing import TYPE_CHECKING, Annotated

import typer

from featkit import terminal
from featkit.cli.app import NOT_THERE, JsonOption, NowOption, StoreOption, connect

if TYPE_CHECKING:
    from featkit.clients.client import FeatureStoreClient
    from featkit.clients.health import HealthReport

_EVERY = "1s"  # how often a store that is waited for is asked


def health(
    *,
    wait: Annotated[
        str | None,
        typer.Option(
            "--wait", metavar="AGE", help="Ask again and again until all is well, at most so long."
        ),
    ] = None,
    store: StoreOption = None,
    now: NowOption = None,
    json: JsonOption = None,
) -> None:
    """Tell whether a store can be used: each part of it is asked.

    The exit code is 1 where one of them is not well.
    """
    client = connect(store, now)
    report = client.check_health() if wait is None else _waited(client, wait)
    if json != terminal.STDOUT:
        _show(report)
    if json:
        terminal.write_report(report, json)
    if not report.healthy:
        raise typer.Exit(NOT_THERE)


def _waited(client: "FeatureStoreClient", wait: str) -> "HealthReport":
    """Check until all is well, or the time is over; return the last report."""
    from featkit.durations import parse_duration

    patience = parse_duration(wait, what="--wait")
    with client.monitor_health(_EVERY) as monitor:
        monitor.wait(patience.total_seconds())
    return monitor.latest or client.check_health()


def _show(report: "HealthReport") -> None:
    table = terminal.table("checked", "verdict", "took", "found", numbers=["took"])
    for check in report.checks:
        said = check.reason if check.problem else check.found
        table.add_row(check.name, check.problem or "ok", f"{check.seconds * 1000:.0f} ms", said)
    console = terminal.console()
    console.print(str(report).partition("\n")[0])
    console.print(table)
