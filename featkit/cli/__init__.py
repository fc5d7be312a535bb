"""The command line: ``featkit demo | views | show | lookup | enrich | staleness | cache``.

What was asked for goes to stdout, or to a file: tables for people, ``--json`` for programs.
Everything else goes to stderr: summaries, notes, errors. Exit codes: 0, done; 1, the store was
asked and does not have it, or an audit found something too old; 2, it could not be asked.
"""

from featkit.cli.app import Command, app
from featkit.cli.cache import cache
from featkit.cli.demo import demo
from featkit.cli.enrich import enrich
from featkit.cli.lookup import lookup
from featkit.cli.staleness import AuditCommand, staleness
from featkit.cli.views import show, views

__all__ = ["app", "main"]

for _command in (demo, views, show, lookup, enrich):  # in the order in which help lists them
    app.command(cls=Command)(_command)
app.command(cls=AuditCommand)(staleness)
app.add_typer(cache, name="cache")


def main() -> None:
    """Run the command line; the console script ``featkit``."""
    app()
