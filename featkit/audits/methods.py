"""Audits as flows on a client, for the accessor and the clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from featkit.audits.leakage import audit

if TYPE_CHECKING:
    from featkit.audits.options import LeakageOptions
    from featkit.audits.report import AuditReport
    from featkit.calls import Flow
    from featkit.clients.session import Session


def audit_flow(client: Session, frame: object, options: LeakageOptions) -> Flow[AuditReport]:
    """Make the flow of an audit on a client."""
    return (
        yield from audit(
            client.operations.store, frame, options, timezone=client.operations.timezone
        )
    )
