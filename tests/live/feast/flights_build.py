"""Apply and materialise the flights: registry and online store.

    python flights_build.py FOLDER

Runs in Feast's environment. FOLDER holds a copy of `flights/`, and the sources in `data`.
"""

import os
import sys
from datetime import UTC, datetime

from feast import FeatureStore
from feast.cli.cli import cli

START = datetime(2012, 12, 31, tzinfo=UTC)
END = datetime(2014, 1, 1, tzinfo=UTC)  # the clock of the demo store stands here


def main():
    os.chdir(sys.argv[1])
    cli(["apply"], standalone_mode=False)
    FeatureStore(".").materialize(START, END)


if __name__ == "__main__":
    main()
