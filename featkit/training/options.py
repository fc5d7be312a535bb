"""The options of a training set, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featkit.choices import one_of, yes_or_no
from featkit.durations import format_duration
from featkit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Hashable

    from featkit.types import DtypeBackend, Duration, Engine, KnownBy

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(KB|MB|GB|KiB|MiB|GiB|B)?", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """The options of `get_historical_features`, as the client documents them."""

    at: Hashable
    on: Mapping[str, Hashable] | Hashable | None = None
    lookback: Duration | Mapping[str, Duration | None] | None = None
    known_by: KnownBy = "event"
    strict: bool = False
    feature_timestamps: bool = False
    full_feature_names: bool | None = None
    engine: Engine = "auto"
    memory_limit: str | int | None = None
    sink: str | Path | None = None
    dtype_backend: DtypeBackend = "numpy_nullable"

    def __post_init__(self) -> None:
        one_of("engine", self.engine, ("auto", "polars", "duckdb"))
        one_of("dtype_backend", self.dtype_backend, ("numpy_nullable", "pyarrow"))
        one_of("full_feature_names", self.full_feature_names, (None, True, False))
        yes_or_no(strict=self.strict, feature_timestamps=self.feature_timestamps)
        self.memory()

    @property
    def prefix(self) -> str | None:
        """What stands before the names of the features."""
        return "{view}__" if self.full_feature_names else None

    def memory(self) -> int | None:
        """Read the memory limit, in bytes."""
        limit = self.memory_limit
        if limit is None:
            return None
        if isinstance(limit, str) and (read := _SIZE.fullmatch(limit.strip())):
            limit = int(float(read[1]) * _UNITS[(read[2] or "").lower()])
        if isinstance(limit, bool) or not isinstance(limit, int) or limit <= 0:
            msg = (
                f"memory_limit={self.memory_limit!r} cannot be read; write bytes as a whole "
                "number, or text such as '700MB' or '2GiB'"
            )
            raise InputError(msg)
        return limit

    def again(self) -> TrainingOptions:
        """Return the options for the same once more: a file goes beside the first one."""
        if self.sink is None:
            return self
        target = Path(self.sink)
        return replace(self, sink=target.with_name(f"{target.stem}.again.parquet"))

    def asked(self) -> dict[str, Any]:
        """Tell the options that make the answer what it is, for the manifest."""
        return {
            "at": str(self.at),
            "on": _plain(self.on),
            "lookback": _plain(self.lookback),
            "known_by": _plain(self.known_by),
            "strict": bool(self.strict),  # numpy has truth values of its own
            "feature_timestamps": bool(self.feature_timestamps),
            "full_feature_names": bool(self.full_feature_names),
        }


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, timedelta):
        return format_duration(value)
    return value if value is None or isinstance(value, (str, int, float)) else str(value)
