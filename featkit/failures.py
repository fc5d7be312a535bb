"""What goes wrong where polars reads files."""

import polars as pl

FAILURES = (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException)
"""What polars raises then; it panics over some of the files that are corrupt."""
