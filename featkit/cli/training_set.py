"""``featkit training-set``: the features of each row as they were known then, from file to file."""

# ruff: noqa: PLC0415 - heavy libraries are imported inside the commands, so that help stays quick

from pathlib import Path
from typing import Annotated, Any

import typer

from featkit import terminal
from featkit.cli.app import JsonOption, NowOption, StoreOption, connect
from featkit.cli.options import (
    AtOption,
    FeatureOption,
    KnownByOption,
    LookbackOption,
    OnOption,
    ServiceOption,
    StrictOption,
    known,
    pair,
    wanted_features,
)
from featkit.cli.sources import MOMENT, key_dtypes, opened, times, troubles


def training_set(
    source: Annotated[Path, typer.Argument(metavar="SPINE", help="File to read.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="File to write.")],
    *,
    at: AtOption,
    feature: FeatureOption = None,
    service: ServiceOption = None,
    on: OnOption = None,
    lookback: LookbackOption = None,
    known_by: KnownByOption = None,
    strict: StrictOption = False,
    timestamps: Annotated[
        bool, typer.Option("--timestamps", help="Add VIEW__event_timestamp.")
    ] = False,
    full_names: Annotated[
        bool, typer.Option("--full-names", help="Call the columns VIEW__FEATURE.")
    ] = False,
    engine: Annotated[
        str, typer.Option("--engine", metavar="auto|polars|duckdb", help="Where joins run.")
    ] = "auto",
    memory_limit: Annotated[
        str | None, typer.Option("--memory-limit", metavar="SIZE", help="Such as 700MB.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Only say how the joins would be done.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write the report as HTML.")
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option("--manifest", metavar="FILE", help="Write the manifest as JSON.")
    ] = None,
    store: StoreOption = None,
    now: NowOption = None,
    json: JsonOption = None,
) -> None:
    """Bring each row of a file its features as they were known at its moment.

    Suffixes tell the formats: .parquet, .csv, .arrow and .feather.
    """
    from featkit import files
    from featkit.engines.plan import JoinPlan
    from featkit.references import select
    from featkit.replacing import replacing
    from featkit.training.methods import asked_flow
    from featkit.training.options import TrainingOptions

    for path in (source, target):
        files.format_of(path)
    wanted = wanted_features(feature, service)
    columns = dict(pair(text) for text in on or [])
    runs_in: Any = engine  # the options refuse what they do not know
    client = connect(store, now)
    selection = client.run(select(client.operations.store, wanted, prefix="{view}__"))
    with troubles(source, f"become {target}", at=at):
        spine = opened(source, at, to=target, dtypes=key_dtypes(selection, columns))
        moment = at
        if files.format_of(source) == "csv":  # the text stays as it is written
            spine, moment = spine.with_columns(times(spine, at).alias(MOMENT)), MOMENT
        options = TrainingOptions(
            at=moment,
            on=columns,
            lookback=lookback,
            known_by=known(known_by),
            strict=strict,
            feature_timestamps=timestamps,
            full_feature_names=full_names,
            engine=runs_in,
            memory_limit=memory_limit,
        )
        made = client.run(asked_flow(client, spine, wanted, options, explain=explain))
        if isinstance(made, JoinPlan):
            typer.echo(str(made))
            return
        with replacing(target) as file:
            files.sink(made.frame.drop(MOMENT, strict=False), file)
    if report is not None:
        made.report.to_html(report)
    if manifest is not None:
        made.manifest.to_json(manifest)
    if json:
        terminal.write_report(made.report, json)
    else:
        typer.echo(made.report, err=True)
