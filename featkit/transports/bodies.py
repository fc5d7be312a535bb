"""Bodies of replies: read to their end and inflated, but never more than allowed."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from featkit.errors import ProtocolError, RequestRejected

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from featkit.transports.deadline import Deadline

CODING = "gzip"
"""The content coding that is asked for: what is read here, and bounded while it is read."""

_PIECE = 2**20  # bytes that are inflated between two looks at the limits
_GZIP = zlib.MAX_WBITS | 16


def read_body(response: Any, most: int, deadline: Deadline) -> bytearray:  # noqa: ANN401 - with httpx's API
    """Read the body of a response that was sent as a stream.

    Parameters
    ----------
    response
        With httpx's API.
    most
        Bytes at the most, inflated.
    deadline
        Looked at between pieces.

    Raises
    ------
    RequestRejected
        The body is larger.
    ProtocolError
        Its content coding is not the one that was asked for, or it is broken.
    """
    told = response.headers.get("content-length", "")
    if told.isdecimal() and int(told) > most:
        raise too_large(most)
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if response.is_stream_consumed:  # by a hook of the caller's client, or it came without one
        pieces = response.iter_bytes()
    else:
        pieces = _decoded(response.iter_raw(), coding)
    # as long as it says that it is: to grow would copy what is there again and again
    body, size = bytearray(int(told) if told.isdecimal() else 0), 0
    for piece in pieces:
        body[size : size + len(piece)] = piece
        size += len(piece)
        if size > most:
            raise too_large(most)
        deadline.left()
    del body[size:]
    return body


def _decoded(chunks: Iterable[bytes], coding: str) -> Iterable[bytes]:
    if coding in {"identity", ""}:
        return chunks
    if coding in {CODING, f"x-{CODING}"}:
        return _inflated(chunks)
    msg = f"the reply has the content coding {coding[:20]!r}, which was not asked for"
    raise ProtocolError(msg)


def _inflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    inflater = zlib.decompressobj(_GZIP)
    begun = False
    try:
        for chunk in chunks:
            rest, begun = chunk, begun or bool(chunk)
            while rest:
                if inflater.eof:  # a file of gzip may be several, one after the other
                    inflater = zlib.decompressobj(_GZIP)
                piece = inflater.decompress(rest, _PIECE)
                yield piece
                rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            while piece := inflater.decompress(b"", _PIECE):  # what did not fit into the last
                yield piece
    except zlib.error as error:
        msg = f"the reply says that it is {CODING}, but cannot be inflated: {error}"
        raise ProtocolError(msg) from error
    if begun and not inflater.eof:
        msg = f"the reply ends before its {CODING} data does"
        raise ProtocolError(msg)


def too_large(most: int) -> RequestRejected:
    """Make the error of an answer that is larger than it may be."""
    return RequestRejected(
        f"the reply is larger than {most:,} bytes; ask for fewer features at a time, or allow more "
        "with connect(..., limits=featkit.Limits(reply=...))"
    )
