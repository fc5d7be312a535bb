"""Questions to databases, as calls make them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from featkit.calls import Flow
    from featkit.settings import Secret


@dataclass(frozen=True, slots=True)
class Login:
    """Who asks a database, and with what password."""

    user: str
    password: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresQuery:
    """A query to PostgreSQL whose answer is one row of texts.

    Attributes
    ----------
    server
        Host, with its port behind a colon unless it is 5432.
    database
        Which database there.
    text
        The query, with a ``%s`` for each parameter.
    parameters
        The values, as texts.
    login
        A flow that finds out who asks; it runs where a connection is opened, and once more where
        the password is refused.
    ca
        File of certificates to trust; None: those of the system.
    """

    server: str
    database: str
    text: str
    parameters: tuple[str, ...] = ()
    login: Callable[[], Flow[Login]]
    ca: str | None = None

    transport: ClassVar[str] = "featkit.transports.postgres:PostgresTransport"
    idempotent: ClassVar[bool] = True

    @property
    def host(self) -> str:
        """The server."""
        return self.server

    def __str__(self) -> str:
        return f"SELECT of postgresql://{self.server}/{self.database}"
