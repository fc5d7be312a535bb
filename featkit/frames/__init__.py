"""The user's frames: reading their keys, giving them columns; never changing them."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from featkit.errors import InputError, KeyColumnError, KeyTypeError, nearest
from featkit.frames.base import UserFrame, is_column, series_of
from featkit.frames.polars import EagerFrame, FileFrame, LazyFrame

if TYPE_CHECKING:
    from featkit.references import Selection
    from featkit.schema import FeatureView
    from featkit.types import DtypeBackend, EntityId, Keys

__all__ = [
    "FileFrame",
    "UserFrame",
    "adapt",
    "is_column",
    "key_labels",
    "of_entities",
    "of_keys",
    "refuse_unknown",
]

_SHOWN = 8  # columns that a message names


def adapt(frame: object, *, dtype_backend: DtypeBackend = "numpy_nullable") -> UserFrame:
    """Wrap a frame of the user's; raise `InputError` for what is none."""
    if isinstance(frame, pl.DataFrame):
        return EagerFrame(frame)
    if isinstance(frame, pl.LazyFrame):
        return LazyFrame(frame)
    if (pandas := sys.modules.get("pandas")) and isinstance(frame, pandas.DataFrame):
        from featkit.frames.pandas import PandasFrame  # noqa: PLC0415 - pandas is there already

        return PandasFrame(frame, dtype_backend)
    found = type(frame).__name__
    msg = f"expected a pandas.DataFrame, polars.DataFrame or polars.LazyFrame, not {found}"
    raise InputError(msg)


def of_keys(keys: Keys, join_keys: Sequence[str]) -> UserFrame:
    """Make a frame of what `lookup` takes: a frame, a mapping of columns, or a column of keys."""
    if isinstance(keys, Mapping):
        if wrong := [name for name, values in keys.items() if not is_column(values)]:
            msg = f"expected a list of keys for {wrong[0]!r}, not {keys[wrong[0]]!r}"
            raise InputError(msg)
        columns = [series_of(name, values) for name, values in keys.items()]
        lengths = {column.name: len(column) for column in columns}
        if len(set(lengths.values())) > 1:
            msg = f"the columns of keys differ in length: {lengths}"
            raise InputError(msg)
        return EagerFrame(pl.DataFrame(columns))
    if isinstance(keys, pl.LazyFrame):
        msg = "the keys are in a LazyFrame, whose rows have no fixed order; collect() it first"
        raise InputError(msg)
    if not is_column(keys) and not hasattr(keys, "columns"):
        msg = f"expected a list of keys, a mapping of columns or a frame, not {type(keys).__name__}"
        raise InputError(msg)
    if not is_column(keys):
        return adapt(keys)
    if len(join_keys) > 1:
        wanted = ", ".join(f"{key!r}: [...]" for key in join_keys)
        msg = (
            f"the features have the join keys {', '.join(join_keys)}; pass a frame or a mapping "
            f"with these columns: {{{wanted}}}"
        )
        raise InputError(msg)
    name = join_keys[0] if join_keys else "key"  # no features have no keys
    return EagerFrame(pl.DataFrame([series_of(name, keys)]))


def of_entities(entities: Sequence[EntityId | None], view: FeatureView) -> UserFrame:
    """Make a frame of entities as the lookups of one view take them.

    Raises
    ------
    KeyTypeError
        An entity has another number of keys than the view, or other ones.
    """
    keys = view.join_keys
    if not is_column(entities):
        msg = f"expected a list of entity ids, not {entities!r}"
        raise InputError(msg)
    first = next((entity for entity in entities if entity is not None), None)
    if len(keys) == 1 and not isinstance(first, (tuple, list, Mapping)):
        return EagerFrame(pl.DataFrame([series_of(keys[0], entities)]))
    parts = [_parts(entity, view) for entity in entities]
    if not keys:  # an entityless view
        return EagerFrame(pl.DataFrame(height=len(parts)))
    return EagerFrame(
        pl.DataFrame([series_of(key, [own[n] for own in parts]) for n, key in enumerate(keys)])
    )


def _parts(entity: object, view: FeatureView) -> Sequence[object]:
    keys = view.join_keys
    if entity is None:
        return (None,) * len(keys)
    if isinstance(entity, Mapping) and set(entity) == set(keys):
        return [entity[key] for key in keys]
    if isinstance(entity, (tuple, list)) and len(entity) == len(keys):
        return entity
    msg = (
        f"an entity of feature view {view.name!r} has the join keys ({', '.join(keys)}); "
        f"{entity!r} does not fit: pass tuples in that order, or mappings with these names"
    )
    raise KeyTypeError(msg)


def key_labels(
    frame: UserFrame, selection: Selection, on: Mapping[str, Hashable] | Hashable | None
) -> dict[str, Hashable]:
    """Find the column of the frame that holds each join key.

    Raises
    ------
    KeyColumnError
        The frame has no such column, or `on` names a join key that is none.
    """
    keys = selection.join_keys
    named: Mapping[str, Hashable]
    if on is None:
        named = {}
    elif isinstance(on, Mapping):
        named = on
    elif len(keys) == 1:
        named = {keys[0]: on}
    else:
        msg = (
            f"the features have the join keys {', '.join(keys)}; map each: "
            f"on={{'{keys[0]}': <column>, ...}}"
        )
        raise KeyColumnError(msg)
    if unknown := [key for key in named if key not in keys]:
        near = nearest(str(unknown[0]), keys)
        msg = f"on= maps {unknown[0]!r}, which is no join key of these features; {near}"
        raise KeyColumnError(msg)
    labels = {key: named.get(key, key) for key in keys}
    present = [*frame.columns, *frame.key_levels]
    for key, label in labels.items():
        _refuse_expression(label, "on")
        if label not in present:
            part = next(part for part in selection.views if key in part.key_columns)
            entity = part.view.entities[part.key_columns.index(key)]
            kind = "request data" if entity.request_data else "join key"
            msg = (
                f"the frame has no column {label!r} for the {kind} {key!r} of feature view "
                f"{part.view.name!r}; {_nearest(label, present)} - name another with "
                f"on={{{key!r}: <column>}}"
            )
            raise KeyColumnError(msg)
    return labels


def refuse_unknown(frame: UserFrame, label: Hashable, option: str) -> None:
    """Raise `KeyColumnError` where an option names no column of the frame, or several."""
    _refuse_expression(label, option)
    present = [*frame.columns, *frame.key_levels]
    if label not in present:
        msg = f"{option}={label!r}: the frame has no such column; {_nearest(label, present)}"
        raise KeyColumnError(msg)
    if (count := frame.columns.count(label)) > 1:
        msg = f"{option}={label!r}: the frame has {count} columns of that name; rename one"
        raise KeyColumnError(msg)


def _refuse_expression(label: object, option: str) -> None:
    """Raise `KeyColumnError` for values, or a plan of them, where the name of a column belongs.

    Compared with a name they would make more of their kind, or an error that nobody understands.
    """
    lists = hasattr(label, "__array__") and not isinstance(label, np.generic)
    if isinstance(label, pl.Expr) or lists:
        msg = f"{option}= takes the name of a column, not a {type(label).__name__}"
        raise KeyColumnError(msg)


def _nearest(label: Hashable, present: Sequence[Hashable]) -> str:
    """Say which columns there are, where not all names are text as they are in Python."""
    if all(isinstance(name, str) for name in present):
        return nearest(str(label), map(str, present))
    more = ", ..." if len(present) > _SHOWN else ""
    return f"there are: {', '.join(map(repr, present[:_SHOWN]))}{more}"
