"""What an audit found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import polars as pl

from featkit.errors import LeakageError
from featkit.html import badge, element, joined, table
from featkit.report import Report

if TYPE_CHECKING:
    from featkit.html import Markup, Tone

Level = Literal["error", "warning", "info"]

_LEVELS: tuple[Level, ...] = ("error", "warning", "info")
_TONES: dict[Level, Tone] = {"error": "bad", "warning": "warn", "info": "quiet"}


@dataclass(frozen=True, eq=False, kw_only=True)
class Finding:
    """One thing that an audit found.

    Attributes
    ----------
    check
        What was checked.
    level
        ``"error"``: the frame knows what nobody knew then; ``"warning"``: it may; ``"info"``:
        worth knowing.
    column
        The column of the frame.
    rows, examined
        How many rows show it, among how many that were looked at.
    message
        What it means, in a sentence.
    examples
        The worst rows, the worst first.
    """

    check: str
    level: Level
    column: str
    rows: int
    examined: int
    message: str
    examples: pl.DataFrame = field(default_factory=pl.DataFrame)

    @property
    def share(self) -> float:
        """The share of rows that show it."""
        return self.rows / self.examined if self.examined else 0.0

    def __str__(self) -> str:
        counted = f"{self.rows:,} of {self.examined:,} rows ({self.share:.1%})"
        return f"{self.level}: {self.column}: {self.message} - {counted}"


@dataclass(frozen=True, eq=False, kw_only=True)
class AuditReport(Report):
    """Whether a frame knows more than anybody could at its moments.

    Attributes
    ----------
    findings
        Errors first, then warnings, then the rest.
    checks
        What was checked, in words; also what was fine.
    rows
        Rows of the frame.
    sampled
        Rows that were joined again to compare.

    Examples
    --------
    >>> import featkit
    >>> store = featkit.connect("demo:flights")
    >>> flights = featkit.demo.flights("polars").head(20_000).select("tailnum", "departs_at")
    >>> known = flights.features.training_set(["tail_history:last_arr_delay"], at="departs_at")
    >>> known.features.audit(["tail_history:last_arr_delay"], at="departs_at").ok
    True
    """

    _title = "Audit"

    findings: tuple[Finding, ...]
    checks: tuple[str, ...]
    rows: int
    sampled: int = 0

    @property
    def level(self) -> Level | None:
        """The worst level among the findings; None where nothing was found."""
        found = {finding.level for finding in self.findings}
        return next((level for level in _LEVELS if level in found), None)

    @property
    def ok(self) -> bool:
        """Whether nothing is an error."""
        return self.level != "error"

    def raise_on(self, level: Level | None) -> None:
        """Raise `LeakageError` where something of this level or a worse one was found."""
        if level is None or self.level is None:
            return
        if _LEVELS.index(self.level) <= _LEVELS.index(level):
            worst = [str(each) for each in self.findings if each.level == self.level]
            more = f"; and {len(worst) - 3} more" if len(worst) > 3 else ""  # noqa: PLR2004 - enough to see what is wrong
            error = LeakageError(f"the audit found: {'; '.join(worst[:3])}{more}")
            error.partial = self
            raise error

    def to_polars(self) -> pl.DataFrame:
        """Return one row per finding: check, level, column, rows, examined, share, message."""
        names = ("check", "level", "column", "rows", "examined", "share", "message")
        schema = dict(
            zip(names, (pl.String,) * 3 + (pl.Int64,) * 2 + (pl.Float64, pl.String), strict=True)
        )
        rows = [tuple(getattr(each, name) for name in names) for each in self.findings]
        return pl.DataFrame(rows, schema=schema, orient="row")

    def _content(self) -> dict[str, object]:
        names = ("check", "level", "column", "rows", "examined", "share", "message", "examples")
        return {
            "rows": self.rows,
            "sampled": self.sampled,
            "level": self.level,
            "checks": self.checks,
            "findings": [{name: getattr(each, name) for name in names} for each in self.findings],
        }

    def _body(self) -> Markup:
        lines = [
            [
                badge(each.level, _TONES[each.level]),
                each.column,
                each.message,
                f"{each.rows:,}",
                f"{each.share:.1%}",
            ]
            for each in self.findings
        ]
        header = ["level", "column", "what was found", "rows", "share"]
        return joined(
            [
                table(header, lines, caption=self._headline(), numbers=["rows", "share"]),
                *(_examples(each) for each in self.findings if each.examples.height),
                element("p", "Checked:"),
                element("ul", *(element("li", check) for check in self.checks)),
            ]
        )

    def _headline(self) -> str:
        counts = [
            f"{count} {level}{'s' * (count != 1 and level != 'info')}"
            for level in _LEVELS
            if (count := sum(each.level == level for each in self.findings))
        ]
        sampled = f", {self.sampled:,} joined again" if self.sampled else ""
        return f"audit of {self.rows:,} rows{sampled}: {', '.join(counts) or 'nothing found'}"

    def __str__(self) -> str:
        findings = [f"  {each}" for each in self.findings]
        return "\n".join([self._headline(), *findings, "checked: " + "; ".join(self.checks)])

    __repr__ = __str__


def _examples(finding: Finding) -> Markup:
    shown = finding.examples
    rows = [[_text(value) for value in row] for row in shown.iter_rows()]
    title = element("summary", f"{finding.column}: {finding.message}: the worst rows")
    return element("details", title, table(shown.columns, rows))


def _text(value: object) -> str:
    return "" if value is None else str(value)


def ordered(findings: list[Finding]) -> tuple[Finding, ...]:
    """Put the worst first: by level, then by rows."""
    return tuple(sorted(findings, key=lambda each: (_LEVELS.index(each.level), -each.rows)))
