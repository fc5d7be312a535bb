"""The audits of ``.features``: does a frame know the future, is it like another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from featkit.audits.methods import audit_flow
from featkit.audits.options import LeakageOptions
from featkit.audits.skew import SkewReport, skew
from featkit.clients.connection import chosen_client
from featkit.clients.twins import twin_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from featkit.audits.report import AuditReport, Level
    from featkit.clients.connection import Client
    from featkit.types import Duration, Features, Frame, KnownBy

FrameT = TypeVar("FrameT")


class FrameAudits(Generic[FrameT]):
    """What `FeaturesAccessor` has of audits."""

    _frame: FrameT

    def audit(
        self,
        features: Features | Mapping[str, str] = (),
        *,
        at: Hashable,
        on: Mapping[str, Hashable] | Hashable | None = None,
        timestamps: Mapping[str, str] | None = None,
        label: str | None = None,
        label_time: str | None = None,
        lookback: Duration | Mapping[str, Duration | None] | None = None,
        known_by: KnownBy = "event",
        strict: bool = False,
        sample: int = 1000,
        seed: int = 0,
        tolerance: float = 1e-9,
        raise_on: Level | None = None,
        store: Client | None = None,
    ) -> AuditReport:
        """Check whether the frame knows what nobody could know at its moments.

        It need not be a training set that featkit made. Timestamps of features are compared with
        the moments; a sample of the rows is joined again, and values that differ are explained by
        the mistakes that are made most: the next row, the latest row, one that was not known yet
        by `known_by`, one beyond its ttl; rows that were written late are counted; and a feature
        that alone tells the label is suspected.

        Parameters
        ----------
        features
            The features that the frame holds, as for `training_set`: under their own names or as
            ``<view>__<feature>``. Where the columns have other names, a mapping from columns to
            references. None of them: times are checked, and all columns against the label.
        at
            The column with the moment of each row.
        on
            Column of the frame by join key, as for `training_set`.
        timestamps
            By column of timestamps, the view or feature that it is of; columns called
            ``<name>__event_timestamp`` are found without.
        label
            The column that is to be predicted.
        label_time
            The column that tells when the label was known.
        lookback, known_by, strict
            The rules by which the frame should have been made, as for `training_set`.
        sample
            How many rows are joined again; 0: none.
        seed
            Which rows: the same for the same seed.
        tolerance
            How far numbers may be apart, as a share of the larger one.
        raise_on
            Raise where something of this level, or a worse one, is found.
        store
            The client; None: the one connected last.

        Returns
        -------
        AuditReport

        Raises
        ------
        LeakageError
            Something was found of the level of `raise_on`; the report is its ``partial``.
        KeyColumnError
            The frame lacks a column.

        Examples
        --------
        >>> import featkit
        >>> store = featkit.connect("demo:flights")
        >>> flights = featkit.demo.flights("polars").head(20_000)
        >>> delay = ["tail_history:last_arr_delay"]
        >>> leaky = flights.features.training_set(delay, at="arrived_at")  # of this very flight
        >>> report = leaky.features.audit(delay, at="departs_at")
        >>> report.level, report.findings[0].message
        ('error', 'the value is that of the next row, which was not known yet')
        """
        client = chosen_client(store)
        options = LeakageOptions(
            at=at,
            features=features,
            on=on,
            timestamps=timestamps or {},
            label=label,
            label_time=label_time,
            lookback=lookback,
            known_by=known_by,
            strict=strict,
            sample=sample,
            seed=seed,
            tolerance=tolerance,
            raise_on=raise_on,
        )
        return client.run(audit_flow(client, self._frame, options))

    @twin_of(audit)
    async def audit_async(
        self,
        features: Features | Mapping[str, str] = (),
        *,
        at: Hashable,
        store: Client | None = None,
        **options: Any,  # noqa: ANN401 - those of `audit`
    ) -> AuditReport:
        """Do what `audit` does without blocking the event loop; it has the same options."""
        client = chosen_client(store)
        options["timestamps"] = options.get("timestamps") or {}
        asked = LeakageOptions(at=at, features=features, **options)
        return await client.arun(audit_flow(client, self._frame, asked))

    def skew(self, other: Frame, columns: Sequence[str] | None = None) -> SkewReport:
        """Compare the distributions of this frame, the reference, with those of another.

        Such as a training set with what was served: population stability index, Jensen-Shannon
        distance, Kolmogorov-Smirnov for numbers and chi-squared for categories, shares of nulls
        and of values outside the range. It takes the extra ``audit``.

        Parameters
        ----------
        other
            A frame of any library.
        columns
            Which columns; None: all that both have.

        Returns
        -------
        SkewReport
            The farthest first; it can be plotted.

        Raises
        ------
        MissingExtraError
            scipy is not installed.
        InputError
            There is nothing to compare.
        """
        return skew(self._frame, other, columns)
