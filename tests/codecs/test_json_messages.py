"""Messages in JSON: what they have to be, or an error that says who sent what."""

import msgspec
import pytest

from featkit.codecs import json_messages
from featkit.errors import ProtocolError


class Page(msgspec.Struct):
    rows: list[int]


BROKEN = [b"", b"<html>", b'{"rows": [1,', b'{"rows": ["x"]}', b"{}", b'{"rows": [1]}x', b'"\xff"']


@pytest.mark.parametrize("body", BROKEN)
def test_what_is_no_such_message_is_told_with_its_sender(body):
    with pytest.raises(ProtocolError, match=r"the reply is not what the store sends: \S"):
        json_messages.read(Page, body, "the store")
    assert json_messages.read_if(Page, body) is None


def test_messages_are_read_from_text_and_from_parts_of_others():
    page = Page([1, 2])
    for body in (b'{"rows": [1, 2], "more": null}', msgspec.Raw(b'{"rows":[1,2]}')):
        assert json_messages.read(Page, body, "the store") == page
        assert json_messages.read_if(Page, body) == page
