"""``import featkit.polars`` puts ``.features`` on `polars.DataFrame` and `polars.LazyFrame`."""

import polars as pl  # noqa: F401 - register() looks at what is imported

from featkit.api import register

register()
