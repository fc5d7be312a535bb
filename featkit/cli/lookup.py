"""``featkit lookup``: the latest features of entities, as typed on the command line."""

# ruff: noqa: PLC0415 - heavy libraries are imported inside the commands, so that help stays quick

import csv
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featkit import terminal
from featkit.cli.app import (
    NOT_THERE,
    JsonOption,
    Names,
    NowOption,
    StoreOption,
    connect,
)
from featkit.errors import KeyTypeError

if TYPE_CHECKING:
    import polars as pl

    from featkit.schema import Entity, FeatureView


def lookup(
    view: Annotated[
        str, typer.Argument(metavar="VIEW", help="A feature view, or one feature: VIEW:FEATURE.")
    ],
    ids: Annotated[
        list[str],
        typer.Argument(
            metavar="ID...",
            help="Keys of entities. The parts of a composite key stand in the view's order with "
            "commas between them, JFK,LAX; a part that has a comma is quoted, as in CSV.",
        ),
    ],
    *,
    feature: Annotated[
        Names, typer.Option("--feature", "-f", metavar="F", help="A feature; else all.")
    ] = None,
    store: StoreOption = None,
    now: NowOption = None,
    json: JsonOption = None,
) -> None:
    """Look up the latest features of entities.

    The exit code is 1 where the store does not know one of them.
    """
    from featkit.columns import STATUS_SUFFIX, TIMESTAMP_SUFFIX, Status
    from featkit.schema import FeatureRef

    client = connect(store, now)
    view, _, own = view.partition(":")
    wanted = [*([own] if own else []), *(feature or [])] or ["*"]
    keys = _keys(ids, client.get_feature_metadata(view))
    found = client.lookup(keys, [FeatureRef(view, name) for name in wanted])
    answers: list[dict[str, dict[str, Any]]] = [
        {
            name: {
                "value": row[name],
                "status": row[name + STATUS_SUFFIX],
                "event_timestamp": row[name + TIMESTAMP_SUFFIX],
            }
            for name in found.values.columns
        }
        for row in found.to_polars(timestamps=True, statuses=True).to_dicts()
    ]
    pairs = list(zip(keys.to_dicts(), answers, strict=True))
    if json:
        terminal.write_json([{"key": key, "features": answer} for key, answer in pairs], json)
    else:
        table = terminal.table(*keys.columns, "feature", "value", "status", "event timestamp")
        for key, answer in pairs:
            for name, cell in answer.items():
                texts = map(terminal.text, [*key.values(), name, *cell.values()])
                table.add_row(*texts)
        terminal.console().print(table)
    if any(cell["status"] == Status.NOT_FOUND for answer in answers for cell in answer.values()):
        raise typer.Exit(NOT_THERE)


def _keys(ids: Sequence[str], view: "FeatureView") -> "pl.DataFrame":
    """Read keys as people type them: one column per join key, in the entities' dtypes."""
    import polars as pl

    count = len(view.entities)
    rows = [[text] if count == 1 else next(csv.reader([text]), []) for text in ids]
    for text, row in zip(ids, rows, strict=True):
        if len(row) != count:
            keys = ",".join(view.join_keys)
            raise KeyTypeError(
                f"feature view {view.name!r} has keys of the form {keys}: not {text!r}"
            )
    texts = pl.DataFrame(rows, schema=dict.fromkeys(view.join_keys, pl.String), orient="row")
    return texts.select(_typed(texts[entity.join_key], entity) for entity in view.entities)


def _typed(texts: "pl.Series", entity: "Entity") -> "pl.Series":
    import polars as pl

    try:
        match entity.dtype:
            case None:
                return texts
            case pl.Datetime(time_zone=zone):
                return texts.str.to_datetime(time_zone=zone, time_unit="us")
            case pl.Date():
                return texts.str.to_date()
            case pl.Boolean():
                return texts.replace_strict({"true": True, "false": False})
            case dtype:
                return texts.cast(dtype)
    except pl.exceptions.PolarsError as error:
        found = ", ".join(map(repr, texts))
        wanted = f"the key {entity.join_key!r} is {terminal.dtype(entity)}"
        msg = f"{wanted}, which cannot be read from {found}"
        raise KeyTypeError(msg) from error
