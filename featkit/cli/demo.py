"""``featkit demo``."""

# ruff: noqa: PLC0415 - heavy libraries are imported inside the commands, so that help stays quick

from featkit import terminal
from featkit.cli.app import NowOption, StoreOption, connect


def demo(*, store: StoreOption = "demo:flights", now: NowOption = None) -> None:
    """See it at work on the flights that left New York in 2013."""
    from featkit.demo.story import tell

    tell(lambda: connect(store, now), terminal.console())
