"""For those who test with featkit: a store in memory, a clock, the contract of stores.

Who tests code that uses features connects it to a `MemoryStore` and stops the time with a
`FrozenClock`. Who writes a store subclasses `StoreContract`, which needs the extra ``test``; the
rest needs nothing but featkit.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from featkit.clients.connection import no_default
from featkit.errors import MissingExtraError
from featkit.testing.clock import FrozenClock
from featkit.testing.data import CONTRACT_NOW, contract_keys, contract_views
from featkit.testing.memory import MemoryStore, described
from featkit.testing.recording import RecordingStore

if TYPE_CHECKING:
    from featkit.testing.contract import StoreContract

__all__ = [
    "CONTRACT_NOW",
    "FrozenClock",
    "MemoryStore",
    "RecordingStore",
    "StoreContract",
    "contract_keys",
    "contract_views",
    "described",
    "no_default",
]

_CONTRACT = f"{__name__}.contract"


def __getattr__(name: str) -> Any:  # noqa: ANN401 - type checkers see the import above
    if name != "StoreContract":
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    try:
        import hypothesis  # noqa: F401, PLC0415 - only the contract needs it,
        import pytest  # noqa: PLC0415 - and this
    except ImportError as error:
        raise MissingExtraError("test", "featkit.testing.StoreContract") from error
    if _CONTRACT not in sys.modules:  # a failed assertion shows what both sides were
        pytest.register_assert_rewrite(
            _CONTRACT,
            *(f"{__name__}.{part}" for part in ("auditing", "caching", "gaps", "history")),
        )
    return importlib.import_module(_CONTRACT).StoreContract
