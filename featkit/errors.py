"""Every error and warning featkit raises, in one tree.

::

    FeatkitError
    ├── SettingsError               a target, an option or a settings file is wrong
    │   └── MissingExtraError       an optional dependency is not installed
    ├── DefinitionError             feature_views.toml is broken (file, line, what was expected)
    ├── InputError                  what the caller passed cannot be used
    │   ├── UnknownNameError        no such view, feature or feature service
    │   ├── KeyColumnError          the frame lacks a column that holds a join key
    │   ├── KeyTypeError            a key's type cannot become the entity's type without loss
    │   ├── NameClashError          two columns would get the same name
    │   ├── TimestampError          a timestamp is naive or is no timestamp
    │   └── DurationError           a duration cannot be read
    ├── LeakageError                an audit found what its caller will not have (raise_on=)
    ├── NotSupportedError           this store, or this version of featkit, cannot do that
    ├── ClosedError                 the client was closed
    ├── StalenessError              an audit found values that are too old
    └── StoreError                  the store failed, or its answer cannot be trusted
        ├── SourceError             a Parquet source is missing or unreadable
        ├── MissingEntitiesError    entities are not in the store, with ``on_missing="raise"``
        ├── IncompleteAnswer        the store could answer for some of the entities only
        ├── NotCachedError          entities are not in the cache, with ``only_cached=True``
        ├── ProtocolError           the answer is not what the protocol says
        │   └── RowMismatch         the answer has other rows than were asked for
        ├── AuthError               the credentials are missing, wrong, expired or not enough
        ├── RequestRejected         the store refuses the request as it is
        │   └── BatchTooLarge       the request asks for too many entities at a time
        ├── StoreUnavailable        no connection, or the store is in trouble
        │   ├── ThrottledError      the store asks to slow down
        │   └── SlowAnswer          one request was not answered in time, twice
        └── DeadlineExceeded        the call took longer than its timeout

    FeatkitWarning
    ├── CacheWarning                the cache cannot be used as wished, or served old values
    ├── ExpiredWarning              values older than their ttl were served
    ├── MissingWarning              entities are not in the store, with ``on_missing="warn"``
    ├── SettingsWarning             something in the settings is not heeded: no view is called so
    └── ViewWarning                 a view cannot be described, and is left out of a list

A message says what failed, what was found, the nearest names, and the next call to make. It
never holds a secret.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "AuthError",
    "BatchTooLarge",
    "CacheWarning",
    "ClosedError",
    "DeadlineExceeded",
    "DefinitionError",
    "DurationError",
    "ExpiredWarning",
    "FeatkitError",
    "FeatkitWarning",
    "IncompleteAnswer",
    "InputError",
    "KeyColumnError",
    "KeyTypeError",
    "LeakageError",
    "MissingEntitiesError",
    "MissingExtraError",
    "MissingWarning",
    "NameClashError",
    "NotCachedError",
    "NotSupportedError",
    "ProtocolError",
    "RequestRejected",
    "RowMismatch",
    "SettingsError",
    "SettingsWarning",
    "SlowAnswer",
    "SourceError",
    "StalenessError",
    "StoreError",
    "StoreUnavailable",
    "ThrottledError",
    "TimestampError",
    "UnknownNameError",
    "ViewWarning",
]


class FeatkitError(Exception):
    """Base of every error that featkit raises.

    Attributes
    ----------
    partial
        What had been fetched when the error came, as `featkit.FeatureColumns`; None where the
        call failed before any answer or fetches nothing.
    """

    partial: Any = None


class SettingsError(FeatkitError, ValueError):
    """A target, an option or a settings file is wrong."""


class MissingExtraError(SettingsError, ImportError):
    """An optional dependency is not installed.

    Parameters
    ----------
    extra
        Name of the extra of the distribution ``featkit-frames`` that brings the dependency.
    needed_for
        What the caller wanted to do, as it reads after "is needed for".
    """

    def __init__(self, extra: str, needed_for: str) -> None:
        super().__init__(
            f"the extra {extra!r} is needed for {needed_for} and is not installed; "
            f'install it with: python -m pip install "featkit-frames[{extra}]"'
        )
        self.extra = extra
        self._needed_for = needed_for

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        return type(self), (self.extra, self._needed_for)


class DefinitionError(FeatkitError, ValueError):
    """The file ``feature_views.toml`` of an embedded store is broken."""


class InputError(FeatkitError, ValueError):
    """What the caller passed cannot be used; nothing was read from the store."""


class UnknownNameError(InputError, LookupError):
    """There is no view, feature or feature service of that name."""


class KeyColumnError(InputError, LookupError):
    """The frame lacks a column that holds a join key."""


class KeyTypeError(InputError, TypeError):
    """A key's type cannot become the entity's type without loss."""


class NameClashError(InputError):
    """Two columns of the result would get the same name."""


class TimestampError(InputError):
    """A timestamp is naive, or is no timestamp at all."""


class DurationError(InputError):
    """A duration cannot be read."""


class LeakageError(FeatkitError):
    """An audit found something of the level that its caller will not have.

    Attributes
    ----------
    partial
        The report, a `featkit.AuditReport`.
    """


class NotSupportedError(FeatkitError, NotImplementedError):
    """The store, or this version of featkit, cannot do what was asked."""


class ClosedError(FeatkitError):
    """The client was closed and cannot be used any more."""


class StalenessError(FeatkitError, AssertionError):
    """An audit found values that are too old, or none that could be judged."""


class StoreError(FeatkitError):
    """The store failed, or its answer cannot be trusted."""


class SourceError(StoreError, OSError):
    """A Parquet source of an embedded store is missing or unreadable."""


class MissingEntitiesError(StoreError, LookupError):
    """The store does not know some of the entities (raised with ``on_missing="raise"``)."""


class IncompleteAnswer(StoreError):  # noqa: N818 - the name says what happened, not that it is an error
    """The store could answer for some of the entities only; `partial` has these.

    Parameters
    ----------
    message
        What the store says of the others.
    again
        Whether they may be asked for once more.
    """

    def __init__(self, message: str, *, again: bool = False) -> None:
        super().__init__(message)
        self.again = again


class NotCachedError(StoreError, LookupError):
    """Entities are not in the cache, and the store must not be asked (``only_cached=True``)."""


class ProtocolError(StoreError):
    """The store's answer is not what its protocol says."""


class RowMismatch(ProtocolError):  # noqa: N818 - the name says what happened, not that it is an error
    """The store answered with other rows than it was asked for."""


class AuthError(StoreError):
    """The credentials are missing, wrong, expired, or do not allow this."""


class RequestRejected(StoreError):  # noqa: N818 - the name says what happened, not that it is an error
    """The store refuses the request as it is; sending it again would not help."""


class BatchTooLarge(RequestRejected):
    """The request asks for too many entities at a time; featkit splits it."""


class StoreUnavailable(StoreError):  # noqa: N818 - the name says what happened, not that it is an error
    """There is no connection to the store, or the store is in trouble.

    Parameters
    ----------
    message
        What happened.
    temporary
        Whether it may pass by itself.
    sent
        Whether the request may have reached the store.
    retry_after
        Seconds that the store asks to wait.
    """

    def __init__(
        self,
        message: str,
        *,
        temporary: bool = True,
        sent: bool = True,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.temporary = temporary
        self.sent = sent
        self.retry_after = retry_after


class ThrottledError(StoreUnavailable):
    """The store asks to slow down."""


class SlowAnswer(StoreUnavailable):
    """One request was not answered within ``Limits.answer``; featkit splits it."""


class DeadlineExceeded(StoreError, TimeoutError):  # noqa: N818 - the field's word for it
    """The call took longer than its timeout."""


class FeatkitWarning(UserWarning):
    """Base of every warning that featkit gives."""


class CacheWarning(FeatkitWarning):
    """The cache cannot be used as wished, or served values past their time as the store is down."""


class ExpiredWarning(FeatkitWarning):
    """The store served values that are older than their ttl."""


class MissingWarning(FeatkitWarning):
    """The store does not know some of the entities (given with ``on_missing="warn"``)."""


class SettingsWarning(FeatkitWarning):
    """Something that the settings tell of a view is not heeded, since nothing is called so."""


class ViewWarning(FeatkitWarning):
    """A feature view cannot be described, and is left out where all are listed."""


def nearest(name: str, known: Iterable[str], *, shown: int = 8) -> str:
    """Say which of the `known` names is meant, as the second half of a message.

    Parameters
    ----------
    name
        The name that was not found.
    known
        All names that exist.
    shown
        How many names to list when none is near.

    Returns
    -------
    str
        ``"did you mean 'a' or 'b'?"``, else ``"there are: 'a', 'b', ..."``, else
        ``"there are none"``.

    Examples
    --------
    >>> nearest("aircrafts", ["aircraft", "origin_weather"])
    "did you mean 'aircraft'?"
    >>> nearest("zzz", ["aircraft", "origin_weather"])
    "there are: 'aircraft', 'origin_weather'"
    """
    names = sorted(set(known))
    if not names:
        return "there are none"
    if near := get_close_matches(name, names, n=3):
        return f"did you mean {' or '.join(map(repr, near))}?"
    more = ", ..." if len(names) > shown else ""
    return f"there are: {', '.join(map(repr, names[:shown]))}{more}"


_ADVICE = re.compile(r", hint: .*?(?=\. File |$)|\. (You may be able to|Please use) .*")


def reason_of(error: BaseException) -> str:
    r"""Say what a library raised, without the query and the advice on its own calls that follow.

    Examples
    --------
    >>> reason_of(ValueError("an hour came twice. Please use `ambiguous`\n\nSELECT ..."))
    'an hour came twice'
    """
    return _ADVICE.sub("", str(error).partition("\n")[0])
