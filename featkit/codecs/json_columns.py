"""JSON arrays to columns: each value is of the column's type, or the reply is refused.

=============  =================================================================================
dtype          JSON that is read; null is null everywhere
=============  =================================================================================
integers       whole numbers within the range of the dtype
floats         numbers, and the strings ``"NaN"``, ``"Infinity"``, ``"-Infinity"``
Boolean        true, false
String         strings
List           arrays of the above
Struct         objects; a missing field is null
None           anything, kept as its text in a String column
=============  =================================================================================

polars parses a column at once, without a Python object per value, but takes 1.5 for the integer
1 and 2**63 for null. So the text is checked first, by the characters that such a column can have.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
import polars as pl

from featkit.dtypes import instance
from featkit.errors import ProtocolError, reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_BETWEEN = b",[] \t\r\n"
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NO_NUMBERS = re.compile(rb'"(?:NaN|-?Infinity)"')
_TEXTS = msgspec.json.Decoder(list[msgspec.Raw])


def decode(raw: bytes | memoryview, dtype: pl.DataType | None, name: str) -> pl.Series:
    """Read a JSON array as a column.

    Parameters
    ----------
    raw
        The text of the array.
    dtype
        Type of its values; None: their JSON text is kept.
    name
        Name of the column, for the series and for messages.

    Raises
    ------
    ProtocolError
        A value is not of that type.

    Examples
    --------
    >>> decode(b"[1, null, 3]", pl.Int64(), "trips").to_list()
    [1, None, 3]
    """
    try:
        (values,) = _decoded([bytes(raw)], [dtype])
    except _UNREADABLE as error:
        wanted = dtype or "JSON"
        msg = (
            f"the column {name!r} should be {wanted}, but the reply holds something else: "
            f"{reason_of(error)}"
        )
        raise ProtocolError(msg) from error
    return values.alias(name)


def decode_together(
    raws: Sequence[bytes | memoryview], dtypes: Sequence[pl.DataType | None]
) -> list[pl.Series] | None:
    """Read several arrays at once, for which polars needs a third of the time.

    Parameters
    ----------
    raws, dtypes
        As for `decode`.

    Returns
    -------
    list or None
        The columns; None: not every value is of its type, which `decode` tells of one column.
    """
    try:
        return _decoded([bytes(raw) for raw in raws], dtypes)
    except _UNREADABLE:
        return None


_UNREADABLE = (pl.exceptions.PolarsError, msgspec.DecodeError, UnicodeDecodeError, ValueError)


def _decoded(texts: Sequence[bytes], dtypes: Sequence[pl.DataType | None]) -> list[pl.Series]:
    wires: dict[int, pl.DataType] = {}
    for place, (text, dtype) in enumerate(zip(texts, dtypes, strict=True)):
        if dtype is not None:
            words = b'"' in text and _innermost(dtype).is_float()
            wires[place] = _of(pl.String(), dtype) if words else dtype
    parsed = _parsed(texts, wires)
    columns = []
    for place, (text, dtype) in enumerate(zip(texts, dtypes, strict=True)):
        if dtype is None:
            columns.append(_texts(text))
            continue
        values = parsed[place]
        _refuse_others(text, _innermost(dtype), values)
        columns.append(values if wires[place] == dtype else values.cast(dtype))
    return columns


def _parsed(texts: Sequence[bytes], dtypes: Mapping[int, pl.DataType]) -> dict[int, pl.Series]:
    if not all(texts[place].lstrip().startswith(b"[") for place in dtypes):
        msg = "it is no array"
        raise ValueError(msg)
    row = [texts[place].decode() for place in dtypes]
    frame = pl.DataFrame([row], schema=[str(place) for place in dtypes], orient="row")
    lists = frame.select(
        pl.col(str(place)).str.json_decode(pl.List(dtype)) for place, dtype in dtypes.items()
    )
    return {place: lists[str(place)].item() for place in dtypes}  # a list's values are a column


def _innermost(dtype: pl.DataType) -> pl.DataType:
    while isinstance(dtype, pl.List):
        dtype = instance(dtype.inner)
    return dtype


def _of(inner: pl.DataType, dtype: pl.DataType) -> pl.DataType:
    """Return the dtype with another innermost one."""
    if isinstance(dtype, pl.List):
        return pl.List(_of(inner, instance(dtype.inner)))
    return inner


def _refuse_others(text: bytes, inner: pl.DataType, values: pl.Series) -> None:
    """Raise `ValueError` where polars would have taken another type for this one."""
    if inner.is_nested():
        return  # what structs hold is of the types that polars was told
    plain = isinstance(values.dtype, pl.String) and inner == values.dtype and b"\\" not in text
    if plain and text.count(b'"') == 2 * (len(values) - values.null_count()):
        return  # as many strings as values: the common case, without a regular expression
    bare = _STRING.sub(b"", text) if b'"' in text else text
    if bare.count(b"[") != 1 + _lists(values):
        msg = "a list within a list, or a value outside of one"
        raise ValueError(msg)
    if inner.is_integer():
        _refuse_all_but(text.replace(b"null", b""), b"0123456789-", "a whole number")
        if text.count(b"null") != _nulls(values):
            msg = f"an integer beyond the range of {inner}"
            raise ValueError(msg)
    elif inner.is_float():
        words = _NO_NUMBERS.sub(b"", text) if b'"' in text else text
        _refuse_all_but(words.replace(b"null", b""), b"0123456789-+.eE", "a number")
    elif isinstance(inner, pl.Boolean):
        words = text.replace(b"true", b"").replace(b"false", b"").replace(b"null", b"")
        _refuse_all_but(words, b"", "true or false")
    elif isinstance(inner, pl.String) and bare.translate(None, _BETWEEN).replace(b"null", b""):
        msg = "a value that is no string"
        raise ValueError(msg)


def _refuse_all_but(text: bytes, characters: bytes, what: str) -> None:
    if text.translate(None, _BETWEEN + characters):
        msg = f"a value that is not {what}"
        raise ValueError(msg)


def _nulls(values: pl.Series) -> int:
    """Count the nulls, also those inside of lists."""
    inside = _nulls(_flat(values)) if isinstance(values.dtype, pl.List) else 0
    return values.null_count() + inside


def _lists(values: pl.Series) -> int:
    """Count the lists, also those inside of lists."""
    if not isinstance(values.dtype, pl.List):
        return 0
    return len(values) - values.null_count() + _lists(_flat(values))


def _flat(values: pl.Series) -> pl.Series:
    held = values.drop_nulls()
    return held.filter(held.list.len() > 0).explode()


def _texts(text: bytes) -> pl.Series:
    # the one place with an object per value: such columns (maps, free JSON) are rare, and no
    # columnar parser keeps the text of a value
    texts = pl.Series(list(map(bytes, _TEXTS.decode(text))), dtype=pl.Binary).cast(pl.String)
    return texts.set(texts == "null", None)


def repeated(raw: bytes) -> tuple[bytes, int] | None:
    """Tell the one value that a JSON array repeats, as an array of it, and how often; else None.

    Most columns of statuses and of event timestamps are such, and to compare is cheaper than to
    parse.

    Examples
    --------
    >>> repeated(b'["PRESENT","PRESENT"]'), repeated(b"[1,2]")
    ((b'["PRESENT"]', 2), None)
    """
    inside = raw[1:-1]
    first, comma, _ = inside.partition(b",")
    count = inside.count(b",") + 1
    same = (first + b",") * count if comma else first + b","
    if raw[:1] != b"[" or raw[-1:] != b"]" or not first or inside != same[:-1]:
        return None
    return b"[" + first + b"]", count


def shared(
    function: Callable[[bytes, str], pl.Series],
) -> Callable[[bytes | memoryview, str], pl.Series]:
    """Remember what was decoded by its text: the features of a view repeat theirs to the byte."""
    known: list[tuple[bytes, pl.Series]] = []  # few: to compare is ten times as fast as to hash

    def remembered(raw: bytes | memoryview, name: str) -> pl.Series:
        text = bytes(raw)
        for seen, series in known:
            if seen == text:
                return series
        known.append((text, function(text, name)))
        return known[-1][1]

    return remembered
