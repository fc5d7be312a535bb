"""``import featkit.pandas`` puts ``.features`` on `pandas.DataFrame`."""

import pandas as pd  # noqa: F401 - register() looks at what is imported

from featkit.api import register

register()
