"""What the settings say of feature groups, since SageMaker does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from featkit.dtypes import parse_dtype
from featkit.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping


class ToldFeature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What SageMaker does not tell about a feature."""

    dtype: str | None = None
    description: str = ""


class Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What SageMaker does not tell about a feature group."""

    join_keys: dict[str, str] = {}
    separator: str | None = None
    static: bool = False
    owner: str = ""
    tags: dict[str, str] = {}
    features: dict[str, ToldFeature] = {}


def check(views: Mapping[str, Told]) -> None:
    """Refuse dtypes that there are not, and a separator that separates nothing."""
    for view, told in views.items():
        if told.separator == "":
            msg = (
                f"the separator of the feature group {view!r} is empty, so that keys could not be "
                "told apart; without one, keys are a JSON array"
            )
            raise SettingsError(msg)
        named = {own: each.dtype for own, each in told.features.items() if each.dtype}
        for name, dtype in {**told.join_keys, **named}.items():
            try:
                parse_dtype(dtype)
            except ValueError as error:
                msg = f"{name!r} of the feature group {view!r}: {error}"
                raise SettingsError(msg) from error
