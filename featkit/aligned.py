"""Tables in plain text; `featkit.html` makes the same of the same arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = ()
) -> list[str]:
    """Write a table as lines whose columns stand below each other.

    Parameters
    ----------
    header
        Names of the columns.
    rows
        The cells.
    numbers
        Which of the columns stand to the right.

    Examples
    --------
    >>> table(["view", "rows"], [["shops", "12"]], numbers=["rows"])
    ['view   rows', 'shops    12']
    """
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if name in numbers else cell.ljust(width)
            for name, cell, width in zip(header, line, widths, strict=True)
        ).rstrip()
        for line in lines
    ]
