"""What is shown in a notebook and can be taken along: as a frame, as JSON, as a page."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from featkit.html import UNBROKEN, element, page
from featkit.replacing import write_text

if TYPE_CHECKING:
    from os import PathLike

    import pandas as pd
    import polars as pl

    from featkit.html import Markup
    from featkit.types import DtypeBackend


class Report(ABC):
    """What was found, in forms to show and to take along.

    A subclass says what it is as a frame, and as markup; what JSON holds are its own attributes,
    unless it says so otherwise.
    """

    __slots__ = ()
    _title: ClassVar[str]

    @abstractmethod
    def to_polars(self) -> pl.DataFrame:
        """Return the report as a polars frame."""

    @abstractmethod
    def _body(self) -> Markup:
        """Show the report, without what stands around it in a page."""

    def _content(self) -> object:
        """Return what JSON holds."""
        return self

    def to_pandas(self, *, dtype_backend: DtypeBackend = "numpy_nullable") -> pd.DataFrame:
        """Return the report as a pandas frame, with the rows and columns of `to_polars`.

        Parameters
        ----------
        dtype_backend
            ``"numpy_nullable"`` or ``"pyarrow"``.
        """
        return as_pandas(self.to_polars(), dtype_backend)

    def to_json(self, path: str | PathLike[str] | None = None) -> str:
        """Return the report as JSON, and write it to a file where one is named.

        Timestamps are ISO 8601 in UTC, durations in seconds, and their names say so.
        """
        return written(json_of(self._content()), path)

    def to_html(self, path: str | PathLike[str] | None = None) -> str:
        """Return the report as a page of one file, and write it where a file is named.

        It needs no kernel, no network and no script, and is made for light and dark.
        """
        return written(self._page(), path)

    def _page(self) -> str:
        return page(self._title, element("h1", self._title), self._body(), style=UNBROKEN)

    def _repr_html_(self) -> str:
        return str(self._body())


def as_pandas(frame: pl.DataFrame, dtype_backend: DtypeBackend) -> pd.DataFrame:
    """Turn a frame into one of pandas, with rows numbered from 0."""
    import pandas as pd  # noqa: PLC0415 - half a second that users of polars do not pay

    from featkit.conversion import to_pandas  # noqa: PLC0415 - the same half second

    return to_pandas(frame, pd.RangeIndex(frame.height), dtype_backend=dtype_backend)


def json_of(content: object) -> str:
    r"""Write content as JSON that people can read; rows of frames become objects.

    Examples
    --------
    >>> json_of({"rows": 3, "worst": None})
    '{\n  "rows": 3,\n  "worst": null\n}\n'
    """
    packed = msgspec.json.encode(content, enc_hook=_plain)
    return msgspec.json.format(packed, indent=2).decode() + "\n"


def _plain(value: Any) -> object:  # noqa: ANN401 - whatever JSON has no form for
    return value.to_dicts() if hasattr(value, "to_dicts") else str(value)


def written(text: str, path: str | PathLike[str] | None) -> str:
    """Return a text, and write it to a file where one is named."""
    if path is not None:
        write_text(text, path)
    return text
