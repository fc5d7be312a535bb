"""The options that commands for files share, and how their words are read."""

from typing import Annotated, Any

import typer

from featkit.cli.app import Names
from featkit.errors import InputError

FeatureOption = Annotated[
    Names, typer.Option("--feature", "-f", metavar="REF", help="view:feature, or view:* for all.")
]
ServiceOption = Annotated[
    Names, typer.Option("--service", metavar="NAME", help="All of a feature service.")
]
AtOption = Annotated[
    str, typer.Option("--at", metavar="COLUMN", help="The column with the moment of each row.")
]
OnOption = Annotated[
    Names, typer.Option("--on", metavar="KEY=COLUMN", help="The column that holds a join key.")
]
KnownByOption = Annotated[
    Names,
    typer.Option(
        "--known-by",
        metavar="event|created|VIEW=DELAY",
        help="From when on a row of history counts.",
    ),
]
LookbackOption = Annotated[
    str | None,
    typer.Option("--lookback", metavar="AGE", help="How old a row may be, instead of the ttls."),
]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="A row of the very moment does not count.")
]


def wanted_features(feature: Names, service: Names) -> list[str]:
    """Put the features and services that the options name together."""
    if not (wanted := [*(feature or []), *(service or [])]):
        raise InputError("name features: --feature VIEW:FEATURE, --feature 'VIEW:*' or --service")
    return wanted


def pair(text: str, option: str = "--on") -> tuple[str, str]:
    """Read ``KEY=COLUMN``, or what another option takes."""
    key, equals, column = text.partition("=")
    if not (key and equals and column):
        raise InputError(f"{option} takes {_PAIRS[option]}, not {text!r}")
    return key, column


_PAIRS = {
    "--on": "KEY=COLUMN, such as tailnum=aircraft",
    "--feature": "COLUMN=VIEW:FEATURE, such as delay=carrier_history:mean_delay_7d",
    "--timestamp": "COLUMN=VIEW, such as written_at=carrier_history",
}


def known(words: Names) -> Any:  # noqa: ANN401 - as the option of Python is
    """Read ``--known-by``: a word, or delays by view."""
    if not words:
        return "event"
    if len(words) == 1 and "=" not in words[0]:
        return words[0]
    if wrong := [text for text in words if not all(text.partition("="))]:
        raise InputError(f"--known-by takes event, created or VIEW=DELAY, not {wrong[0]!r}")
    return {view: delay for view, _, delay in (text.partition("=") for text in words)}
