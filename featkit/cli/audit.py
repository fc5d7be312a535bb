"""``featkit audit``: does a file know what nobody knew then; for people and for CI."""

# ruff: noqa: PLC0415 - heavy libraries are imported inside the commands, so that help stays quick

from pathlib import Path
from typing import Annotated, Any

import typer

from featkit import terminal
from featkit.cli.app import JsonOption, NowOption, StoreOption, connect
from featkit.cli.enrich import key_dtypes, pair
from featkit.cli.training_set import (
    AtOption,
    FeatureOption,
    KnownByOption,
    LookbackOption,
    OnOption,
    ServiceOption,
    known,
    opened,
)
from featkit.errors import FeatkitError, InputError

FOUND = 1  # exit code: something of the level of --fail-on was found


def audit(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="File to audit.")],
    *,
    at: AtOption,
    feature: FeatureOption = None,
    service: ServiceOption = None,
    on: OnOption = None,
    label: Annotated[
        str | None, typer.Option("--label", metavar="COLUMN", help="What is to be predicted.")
    ] = None,
    lookback: LookbackOption = None,
    known_by: KnownByOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="A row of the very moment does not count.")
    ] = False,
    sample: Annotated[
        int, typer.Option("--sample", metavar="N", help="Rows that are joined again.")
    ] = 1000,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Which rows.")] = 0,
    fail_on: Annotated[
        str, typer.Option("--fail-on", metavar="error|warning", help="What is a failure.")
    ] = "error",
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the report as HTML.")
    ] = None,
    store: StoreOption = None,
    now: NowOption = None,
    json: JsonOption = None,
) -> None:
    """Check whether a file knows what nobody could know at the moments of its rows."""
    import polars as pl

    from featkit import files
    from featkit.api import features
    from featkit.references import select

    files.format_of(source)
    if fail_on not in {"error", "warning"}:
        raise InputError(f"--fail-on takes error or warning, not {fail_on!r}")
    wanted = [*(feature or []), *(service or [])]
    named = dict(pair(text) for text in on or [])
    client = connect(store, now)
    selection = client.run(select(client.operations.store, wanted, prefix="{view}__"))
    options: dict[str, Any] = {"label": label, "lookback": lookback, "known_by": known(known_by)}
    options |= {"strict": strict, "sample": sample, "seed": seed, "on": named, "store": client}
    try:
        to = source.with_suffix(".parquet")  # columns of numbers are to be numbers
        frame, moment = opened(source, at, to=to, dtypes=key_dtypes(selection, named))
        found = features(frame).audit(wanted, at=moment, **options)
    except FeatkitError:
        raise
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = str(error).partition("\n")[0]  # without the query that polars appends
        raise InputError(f"{source} cannot be audited: {reason}") from error
    if html is not None:
        found.to_html(html)
    if json:
        content: dict[str, Any] = {
            "rows": found.rows,
            "sampled": found.sampled,
            "level": found.level,
        }
        content["findings"] = found.to_polars().to_dicts()
        terminal.write_json(content, json)
    else:
        typer.echo(str(found))
    if found.level in {"error", fail_on}:
        raise typer.Exit(FOUND)
