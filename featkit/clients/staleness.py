"""The methods of both clients that report how old features are."""

from __future__ import annotations

from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING, Any

from featkit.audits.staleness import Audit, AuditOptions
from featkit.clients.operations import EnrichOptions
from featkit.clients.session import Session
from featkit.clients.twins import twin_of
from featkit.moments import clock_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from featkit.calls import Flow
    from featkit.reports.staleness import StalenessReport
    from featkit.types import Duration, Features, Keys, Now


def store_flow(client: Session, options: AuditOptions) -> Flow[StalenessReport]:
    """Make the flow of a report on a client."""
    audit = yield from _audit(client, options)
    return (yield from audit.of_store())


def frame_flow(client: Session, frame: object, options: AuditOptions) -> Flow[StalenessReport]:
    """Make the flow of a report on the entities of a frame."""
    audit = yield from _audit(client, options)
    return (yield from audit.of_frame(frame))


def _audit(client: Session, options: AuditOptions) -> Flow[Audit]:
    operations, clock = client.operations, clock_of(options.now)
    now = clock().astimezone(UTC) if clock else (yield from operations.now())
    wanted = EnrichOptions(refresh=options.refresh)
    look_up = partial(operations.look, options=wanted, now=now)
    return Audit(operations.store, client.target, now, options, look_up)


class StalenessMethods(Session):
    """Staleness reports of the synchronous client."""

    def staleness(
        self,
        features: Features | None = None,
        entities: Keys | None = None,
        *,
        sample: int | None = None,
        warn_after: Duration | Mapping[str, Duration] | None = None,
        error_after: Duration | Mapping[str, Duration] | None = None,
        tolerate: float = 0.0,
        now: Now = None,
        compare_offline: bool = False,
        refresh: bool = False,
    ) -> StalenessReport:
        """Report how old features are, and whether that is too old.

        Parameters
        ----------
        features
            References ``"view:feature"`` or ``"view:*"``, or names of feature services; None: all
            features of all views, or of those whose join keys `entities` has.
        entities
            Whose values are looked at, as `lookup` takes keys. None: all entities of the store; one
            that cannot list them says so, and the verdict is unknown.
        sample
            At most so many entities of each view, drawn evenly by their keys, so that they are the
            same ones each time; None: all.
        warn_after, error_after
            A value older than that is worth a warning, or an error: a duration such as ``"36h"``,
            or a mapping of such by view. None: errors begin at the view's ttl, warnings at four
            fifths of the ttl or of `error_after`, whichever is shorter. A view without ttl and
            without thresholds cannot be judged.
        tolerate
            Which share of a view's entities, 0 to 1, may be older before the verdict says so.
        now
            The moment at which ages are taken: an aware datetime, ISO 8601, or a clock; None: the
            client's.
        compare_offline
            Compare the event timestamps with the newest in the offline store, where the store has
            a history; where it has none, a note says why.
        refresh
            Ask the store, whatever the cache holds.

        Returns
        -------
        StalenessReport
            Counts, ages and a verdict for each view and feature, to look at, to take along as a
            frame, HTML, JSON or JUnit XML, and to ``assert_fresh()`` in a test.

        Raises
        ------
        StoreError
            The store fails as a whole. A view that fails alone has the verdict ``"failed"``, with
            the reason, and leaves the others judged.
        UnknownNameError
            There is no such view, feature or service.
        KeyColumnError, KeyTypeError
            The entities lack a join key, or cannot become the entity's type without loss.
        DurationError
            A threshold cannot be read.
        InputError
            Another option has no meaning, such as a warning later than the error.

        Examples
        --------
        >>> import featkit
        >>> store = featkit.connect("demo:flights")
        >>> report = store.staleness(["carrier_history:*"], ["UA", "AA"])
        >>> report.verdict, report["carrier_history"].reason
        ('pass', 'all 2 entities within 5d14h24m; the oldest is 1d old')
        """
        options = AuditOptions(
            features,
            entities,
            sample=sample,
            warn_after=warn_after,
            error_after=error_after,
            tolerate=tolerate,
            now=now,
            compare_offline=compare_offline,
            refresh=refresh,
        )
        return self.run(store_flow(self, options))


class AsyncStalenessMethods(Session):
    """Staleness reports of the client for asyncio."""

    @twin_of(StalenessMethods.staleness)
    async def staleness(self, *what: Any, **options: Any) -> StalenessReport:  # noqa: ANN401 - those of the twin
        """Report how old features are, and whether that is too old."""
        return await self.arun(store_flow(self, AuditOptions(*what, **options)))
