"""A gRPC server on this machine, for fakes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass
class Methods(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc has no types
    """What a server knows, by method with its service: ``/package.Service/Method``."""

    handlers: Mapping[str, Any]

    def service(self, details: Any) -> Any:
        return self.handlers.get(details.method)


@contextmanager
def serving(
    methods: grpc.GenericRpcHandler,
    *,
    threads: int = 4,
    options: Sequence[tuple[str, int]] = (),
) -> Iterator[str]:
    """Serve gRPC on a free port, and give the address."""
    with ThreadPoolExecutor(threads) as pool:
        server = grpc.server(pool, options=options)
        server.add_generic_rpc_handlers((methods,))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(None).wait()
