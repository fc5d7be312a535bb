"""What plots share: axes to draw on, inks that colour-blind people tell apart, units of time."""

# ruff: noqa: PLC0415 - matplotlib takes a second to import, which only plots should cost

from __future__ import annotations

from datetime import timedelta
from itertools import cycle
from typing import TYPE_CHECKING

from featkit.durations import format_duration
from featkit.html import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

INKS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
"""Okabe and Ito's colours that can be seen on white and on black alike (a contrast above 3)."""

DASHES = ("-", "--", "-.", ":")
SHADES = "cividis"
"""The map of colours for shares: as even to colour-blind eyes, and in grey."""

_MARKS = [
    *(timedelta(milliseconds=n) for n in (1, 10, 100)),
    *(timedelta(seconds=n) for n in (1, 10, 60, 600)),
    *(timedelta(hours=n) for n in (1, 6)),
    *(timedelta(days=n) for n in (1, 7, 30, 365, 3650)),
]
_UNITS = {"days": 86_400.0, "hours": 3_600.0, "minutes": 60.0, "seconds": 1.0}


def axes(ax: Axes | None = None, *, width: float = 7.0, height: float = 4.0) -> Axes:
    """Return the axes given, or those of a new figure in the user's own style.

    Parameters
    ----------
    ax
        Where to draw; None: a new figure.
    width, height
        Size of the new figure, inches.
    """
    if ax is not None:
        return ax
    from matplotlib import pyplot as plt

    _, made = plt.subplots(figsize=(width, height), layout="constrained")
    return made


def label(text: str) -> str:
    r"""Write a text so that matplotlib shows it as it is: no formula, no control characters.

    Examples
    --------
    >>> label("$x$")
    '\\$x\\$'
    """
    shown = printable(text).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown  # which a legend would leave out


def label_times(axes: Axes, unit: float) -> None:
    """Mark lengths of time that people know on a logarithmic axis of x.

    Parameters
    ----------
    axes
        Where.
    unit
        Seconds that a 1 on the axis stands for.
    """
    from matplotlib.ticker import FixedLocator, NullLocator

    low, high = axes.get_xlim()
    marks = [length for length in _MARKS if low <= length.total_seconds() / unit <= high]
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(FixedLocator([mark.total_seconds() / unit for mark in marks]))
    axes.set_xticklabels(list(map(format_duration, marks)))


def label_dates(axes: Axes) -> None:
    """Write the dates of the axis of x as short as can be understood."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator()  # type: ignore[no-untyped-call] # of a package without types
    axes.xaxis.set_major_locator(locator)
    formatter = ConciseDateFormatter(locator)  # type: ignore[no-untyped-call] # the same
    axes.xaxis.set_major_formatter(formatter)


def strokes() -> Iterator[tuple[str, str]]:
    """Give colours and dashes for one line after the other: sixteen that differ, then again."""
    return cycle([(ink, dash) for dash in DASHES for ink in INKS])


def unit_of_time(seconds: float) -> tuple[str, float]:
    """Choose the unit in which so many seconds read well.

    Returns
    -------
    name : str
        ``"days"``, ``"hours"``, ``"minutes"`` or ``"seconds"``.
    length : float
        Of one such unit, seconds.

    Examples
    --------
    >>> unit_of_time(7_200)
    ('hours', 3600.0)
    """
    for name, length in _UNITS.items():
        if seconds >= 2 * length:
            return name, length
    return "seconds", 1.0
