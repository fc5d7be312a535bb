"""Warnings, at the line of the user's that called featkit."""

from __future__ import annotations

import sys
import warnings


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn at the line of the user's that called featkit."""
    level, frame = 1, sys._getframe()  # noqa: SLF001 - what warnings itself walks
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in (
        "featkit",
        "asyncio",
    ):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
