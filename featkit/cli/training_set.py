"""``featkit training-set``: the features of each row as they were known then, from file to file."""

# ruff: noqa: PLC0415 - heavy libraries are imported inside the commands, so that help stays quick

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featkit import terminal
from featkit.cli.app import JsonOption, Names, NowOption, StoreOption, connect
from featkit.cli.enrich import key_dtypes, pair
from featkit.errors import FeatkitError, InputError, KeyColumnError, TimestampError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

_MOMENT = "featkit_moment"
_ZONED = ("%FT%T%.f%#z", "%FT%R%#z")
_NAIVE = ("%FT%T%.f", "%FT%R", "%F")

FeatureOption = Annotated[
    Names, typer.Option("--feature", "-f", metavar="REF", help="view:feature, or view:* for all.")
]
ServiceOption = Annotated[
    Names, typer.Option("--service", metavar="NAME", help="All of a feature service.")
]
AtOption = Annotated[
    str, typer.Option("--at", metavar="COLUMN", help="The column with the moment of each row.")
]
OnOption = Annotated[
    Names, typer.Option("--on", metavar="KEY=COLUMN", help="The column that holds a join key.")
]
KnownByOption = Annotated[
    Names,
    typer.Option(
        "--known-by",
        metavar="event|created|VIEW=DELAY",
        help="From when on a row of history counts.",
    ),
]
LookbackOption = Annotated[
    str | None,
    typer.Option("--lookback", metavar="AGE", help="How old a row may be, instead of the ttls."),
]


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
    strict: Annotated[
        bool, typer.Option("--strict", help="A row of the very moment does not count.")
    ] = False,
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
    if not target.parent.is_dir():
        raise InputError(f"there is no folder {target.parent} for {target.name}")
    wanted = wanted_features(feature, service)
    columns = dict(pair(text) for text in on or [])
    runs_in: Any = engine  # the options refuse what they do not know
    client = connect(store, now)
    selection = client.run(select(client.operations.store, wanted, prefix="{view}__"))
    with troubles(source, at, f"become {target}"):
        spine = opened(source, at, to=target, dtypes=key_dtypes(selection, columns))
        moment = at
        if files.format_of(source) == "csv":  # the text stays as it is written
            spine, moment = spine.with_columns(times(spine, at).alias(_MOMENT)), _MOMENT
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
            files.sink(made.frame.drop(_MOMENT, strict=False), file)
    if report is not None:
        made.report.to_html(report)
    if manifest is not None:
        made.manifest.to_json(manifest)
    if json:
        terminal.write_json(made.report, json)
    else:
        typer.echo(made.report, err=True)


@contextmanager
def troubles(source: Path, at: str, aim: str) -> "Iterator[None]":
    """Turn what goes wrong with a file into an error that is one message."""
    import polars as pl

    try:
        yield
    except TimestampError as error:
        raise TimestampError(str(error).replace(_MOMENT, at)) from error
    except FeatkitError:
        raise
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = str(error).partition("\n")[0]  # without the query that polars appends
        raise InputError(f"{source} cannot {aim}: {reason}") from error


def wanted_features(feature: Names, service: Names) -> list[str]:
    """Put the features and services that the options name together."""
    if not (wanted := [*(feature or []), *(service or [])]):
        raise InputError("name features: --feature VIEW:FEATURE, --feature 'VIEW:*' or --service")
    return wanted


def known(words: Names) -> Any:  # noqa: ANN401 - as the option of Python is
    """Read ``--known-by``: a word, or delays by view."""
    if not words:
        return "event"
    if len(words) == 1 and "=" not in words[0]:
        return words[0]
    if wrong := [text for text in words if not all(text.partition("="))]:
        raise InputError(f"--known-by takes event, created or VIEW=DELAY, not {wrong[0]!r}")
    return {view: delay for view, _, delay in (text.partition("=") for text in words)}


def opened(source: Path, at: str, *, to: Path, dtypes: "dict[str, pl.DataType]") -> "pl.LazyFrame":
    """Open a file; its moments are text where it is CSV."""
    import polars as pl

    from featkit import files

    if not source.is_file():
        raise InputError(f"there is no file {source}")
    if files.format_of(source) != "csv":
        return files.scan(source, to=to, dtypes=dtypes)
    frame = files.scan(source, to=to, dtypes={**dtypes, at: pl.String()})
    names = frame.collect_schema().names()
    if at not in names:
        raise KeyColumnError(f"--at {at}: the file has no such column; {nearest(at, names)}")
    return frame


def times(frame: "pl.LazyFrame", column: str) -> "pl.Expr":
    """Read times from text: ISO 8601, all with a zone or all without."""
    import polars as pl

    text = pl.col(column).str.strip_chars().str.replace(" ", "T", literal=True)
    zoned = _read(text, _ZONED, "UTC")
    naive = _read(text, _NAIVE, None)
    odd = text.is_not_null() & zoned.is_null() & naive.is_null()
    told = frame.select(
        pl.col(column).filter(odd).first().alias("odd"),
        pl.col(column).filter(naive.is_not_null()).first().alias("naive"),
        zoned.is_not_null().any().alias("zoned"),
    )
    (found,) = told.collect().to_dicts()
    if found["odd"] is not None:
        raise TimestampError(
            f"{column!r} has {found['odd']!r}, which is no ISO 8601 time, such as "
            "2013-01-01T12:00:00Z"
        )
    if found["naive"] is not None and found["zoned"]:
        raise TimestampError(f"times in {column!r} have a zone, but {found['naive']!r} has none")
    return zoned if found["zoned"] else naive


def _read(text: "pl.Expr", formats: tuple[str, ...], zone: str | None) -> "pl.Expr":
    """Read times that are written in one of some ways; null for other ones."""
    import polars as pl

    return pl.coalesce(
        text.str.to_datetime(each, time_unit="us", time_zone=zone, strict=False) for each in formats
    )
