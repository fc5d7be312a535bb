"""Protobuf written and read by hand, so that fakes share nothing with the code under test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def varint(value: int) -> bytes:
    value, written = value % 2**64, bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])


def tag(number: int, wire_type: int) -> bytes:
    return varint(number << 3 | wire_type)


def delimited(head: bytes, payload: bytes) -> bytes:
    return head + varint(len(payload)) + payload


def part(number: int, payload: bytes) -> bytes:
    """Write a field of bytes, text, or another message."""
    return delimited(tag(number, 2), payload)


def members(data: bytes) -> Iterator[tuple[int, Any]]:
    """Read the fields of a message, in their order: the number and what is there."""
    place = 0
    while place < len(data):
        head, place = read_varint(data, place)
        match head & 7:
            case 0:
                value, place = read_varint(data, place)
            case 1:
                value, place = data[place : place + 8], place + 8
            case 5:
                value, place = data[place : place + 4], place + 4
            case _:
                length, place = read_varint(data, place)
                value, place = data[place : place + length], place + length
        yield head >> 3, value


def read_varint(data: bytes, place: int) -> tuple[int, int]:
    """Read a number at a place; give it and the place after it."""
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
