"""Tables in plain text."""

from featkit import aligned


def test_numbers_stand_to_the_right_and_lines_end_where_their_text_does():
    header, *rows = [["view", "rows", "owner"], ["shops", "1,000", ""], ["x", "7", "ops"]]
    assert aligned.table(header, rows, numbers=["rows"]) == [
        "view    rows  owner",
        "shops  1,000",
        "x          7  ops",
    ]
    assert aligned.table(header, []) == ["view  rows  owner"]
