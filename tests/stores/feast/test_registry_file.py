"""Feast's registry file, written here field by field; the live tests read one of Feast's own."""

from __future__ import annotations

import contextlib
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featkit.errors import ProtocolError, SourceError
from featkit.stores.feast.registry import Entities, Project, Services, Views, view_of
from featkit.stores.feast.registry_file import read
from tests.fakes.protobuf import delimited, tag, varint


def text(number: int, said: str) -> bytes:
    return delimited(tag(number, 2), said.encode())


def message(number: int, *parts: bytes) -> bytes:
    return delimited(tag(number, 2), b"".join(parts))


def column(number: int, name: str, kind: int, **tags: str) -> bytes:
    said = [message(3, text(1, key), text(2, held)) for key, held in tags.items()]
    return message(number, text(1, name), tag(2, 0) + varint(kind), *said)


def view(project: str, name: str) -> bytes:
    spec = message(
        1,
        text(1, name),
        text(2, project),
        text(3, "driver"),
        column(4, "trips", 4, unit="1"),
        column(4, "scan", 30),
        message(6, tag(1, 0) + varint(90), tag(2, 0) + varint(500_000_000)),
        message(7, text(20, "src"), text(3, "at"), text(5, "made")),
        tag(8, 0) + varint(1),
        column(12, "driver_id", 4),
    )
    return message(6, spec, message(2, tag(4, 0) + varint(3)))


@pytest.fixture
def path(tmp_path: Path) -> str:
    project = message(
        17, message(1, text(1, "rides")), message(2, message(2, tag(1, 0) + varint(60)))
    )
    unknown = tag(900, 5) + b"1234" + tag(901, 1) + b"12345678"
    (tmp_path / "registry.db").write_bytes(
        view("rides", "stats") + view("other", "theirs") + project + unknown
    )
    return str(tmp_path / "registry.db")


def test_views_are_those_of_the_project(path: str) -> None:
    (item,) = read(path, "rides", "feature_views", Views).feature_views
    found = view_of(item, {})
    assert (found.name, found.join_keys, found.version) == ("stats", ("driver_id",), 3)
    assert found.ttl is not None
    assert found.ttl.total_seconds() == 90.5
    assert (found.timestamp, found.created, found.online) == ("at", "made", True)
    assert found["trips"].dtype == pl.Int64()
    assert found["trips"].tags == {"unit": "1"}
    assert found["scan"].dtype == pl.Binary()  # a type that came last, which has no name there


def test_what_there_is_none_of_is_an_empty_list(path: str) -> None:
    assert read(path, "rides", "entities", Entities).entities == []
    assert read(path, "rides", "feature_services", Services).feature_services == []


def test_a_project_that_is_not_in_it_is_named_with_those_that_are(path: str) -> None:
    assert read(path, "rides", "projects", Project).meta.last_updated_timestamp.minute == 1
    with pytest.raises(ProtocolError, match=r"no project 'nope'; it has 'rides'"):
        read(path, "nope", "projects", Project)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        SourceError, match=r"registry='.*gone\.db': the file cannot be read: No such"
    ):
        read(str(tmp_path / "gone.db"), "rides", "feature_views", Views)


@pytest.mark.parametrize("cut", [1, 3, 20, 60, 100])
def test_a_file_that_is_cut_short_is_refused(path: str, tmp_path: Path, cut: int) -> None:
    (tmp_path / "cut.db").write_bytes(Path(path).read_bytes()[:cut])
    with pytest.raises(ProtocolError, match=r"cut\.db' is no registry file of Feast's"):
        read(str(tmp_path / "cut.db"), "rides", "feature_views", Views)


@given(text=st.text(min_size=1).filter(lambda text: text.isascii()) | st.binary(min_size=1))
def test_what_is_no_registry_gives_nothing_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, text: str | bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "noise"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with contextlib.suppress(ProtocolError):
        assert read(str(file), "rides", "feature_views", Views).feature_views == []


def test_what_is_no_registry_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("project: rides\nregistry: data/registry.db\n")
    with pytest.raises(ProtocolError, match="no registry file"):
        read(str(tmp_path / "notes.txt"), "rides", "feature_views", Views)
