"""The options of an audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING

from featkit.choices import yes_or_no
from featkit.errors import InputError
from featkit.history import rules

if TYPE_CHECKING:
    from collections.abc import Hashable

    from featkit.audits.report import Level
    from featkit.history import Rule
    from featkit.references import Selection
    from featkit.types import Duration, Features, KnownBy


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakageOptions:
    """The options of `FeaturesAccessor.audit`, as it documents them."""

    at: Hashable
    features: Features | Mapping[str, str] = ()
    on: Mapping[str, Hashable] | Hashable | None = None
    timestamps: Mapping[str, str] = field(default_factory=dict)
    label: str | None = None
    label_time: str | None = None
    lookback: Duration | Mapping[str, Duration | None] | None = None
    known_by: KnownBy = "event"
    strict: bool = False
    sample: int = 1000
    seed: int = 0
    tolerance: float = 1e-9
    raise_on: Level | None = None

    def __post_init__(self) -> None:
        if self.raise_on not in {None, "error", "warning", "info"}:
            msg = f"raise_on={self.raise_on!r} is not an option; choose 'error' or 'warning'"
            raise InputError(msg)
        yes_or_no(strict=self.strict)
        for name in ("sample", "seed", "tolerance"):
            value = getattr(self, name)
            if not isinstance(value, Real) or value < 0:
                msg = f"{name}={value!r} is not an option; give a number that is not negative"
                raise InputError(msg)
        if isinstance(self.features, Mapping) and len(self.named) < len(self.features):
            msg = f"features= names a feature for several columns; one column each: {self.features}"
            raise InputError(msg)

    @property
    def named(self) -> Mapping[str, str]:
        """By reference, the column that holds the feature, where the user says so."""
        if isinstance(self.features, Mapping):
            return {reference: column for column, reference in self.features.items()}
        return {}

    def rules(self, selection: Selection) -> dict[str, Rule]:
        """Tell what of each view should have counted."""
        return rules(
            [part.view for part in selection.views],
            lookback=self.lookback,
            known_by=self.known_by,
            strict=self.strict,
        )

    @property
    def references(self) -> Features:
        """The features that the frame holds."""
        return list(self.named) if isinstance(self.features, Mapping) else self.features
