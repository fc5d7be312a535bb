"""The command line: ``featkit demo | views | show | lookup | enrich | ...``.

What was asked for goes to stdout, or to a file: tables for people, ``--json`` for programs.
Everything else goes to stderr: summaries, notes, errors. Exit codes: 0, done; 1, the store was
asked and does not have it, or an audit found what should not be; 2, it could not be asked.
"""

from featkit.cli.app import Command, app
from featkit.cli.audit import audit
from featkit.cli.cache import cache
from featkit.cli.demo import demo
from featkit.cli.enrich import enrich
from featkit.cli.health import health
from featkit.cli.lookup import lookup
from featkit.cli.staleness import AuditCommand, staleness
from featkit.cli.training_set import training_set
from featkit.cli.views import show, views

__all__ = ["app", "main"]

# in the order in which help lists them
for _command in (demo, views, show, lookup, enrich, training_set, health):
    app.command(cls=Command)(_command)
for _audit in (staleness, audit):
    app.command(cls=AuditCommand)(_audit)
app.add_typer(cache, name="cache")


def main() -> None:
    """Run the command line; the console script ``featkit``."""
    app()
