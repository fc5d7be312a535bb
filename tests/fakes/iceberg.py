"""Iceberg tables in S3 with Glue as their catalog, as pyiceberg writes them; deletes by hand.

pyiceberg rewrites files when rows are deleted. Athena and others write which rows are gone into
files of their own, which `delete` does after the specification.
"""

from __future__ import annotations

import json
import struct
import uuid
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog.glue import GlueCatalog
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestWriterV2,
    write_manifest_list,
)
from pyiceberg.table.snapshots import Operation, Snapshot, Summary
from pyiceberg.table.update import AddSnapshotUpdate, AssertRefSnapshotId, SetSnapshotRefUpdate
from pyiceberg.typedef import Record

from tests.fakes.s3 import BUCKET, DATABASE
from tests.fakes.sagemaker import KEY_ID, REGION, SECRET

if TYPE_CHECKING:
    import polars as pl
    from pyiceberg.table import Table

    from tests.fakes.s3 import Lake

POSITIONS = {"file_path": (pa.string(), 2147483546), "pos": (pa.int64(), 2147483545)}


class _DeletesWriter(ManifestWriterV2):
    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return {**super()._meta, "content": "deletes"}


@dataclass(frozen=True)
class Icebergs:
    """The Iceberg tables of an account.

    Attributes
    ----------
    lake
        Where they are.
    """

    lake: Lake

    @property
    def catalog(self) -> GlueCatalog:
        known = {"access-key-id": KEY_ID, "secret-access-key": SECRET, "region": REGION}
        known["endpoint"] = self.lake.url
        options = {
            f"{name}.{key}": value for name in ("s3", "glue") for key, value in known.items()
        }
        return GlueCatalog("glue", warehouse=f"s3://{BUCKET}/iceberg", **options)

    def write(self, name: str, *parts: pl.DataFrame) -> Table:
        """Make a table and append frames to it, each in a commit of its own."""
        catalog = self.catalog
        catalog.create_namespace_if_not_exists(DATABASE)
        table = catalog.create_table(f"{DATABASE}.{name}", schema=_plain(parts[0]).schema)
        for part in parts:
            table.append(_plain(part))
        return table

    def delete(
        self, table: Table, rows: Any, *, by: str | None = None, vectors: bool = False
    ) -> Table:
        """Write a file that says which rows are gone.

        Parameters
        ----------
        table
            The table.
        rows
            Paths of data files and positions in them; with `by`, values of a column.
        by
            The column, for deletes by equality.
        vectors
            Whether they are written as deletion vectors, as version 3 has them.
        """
        if vectors:
            content = puffin(rows)
            place = f"{table.location()}/data/delete-{uuid.uuid4()}.puffin"
            with table.io.new_output(place).create() as stream:
                stream.write(content)
            file = DataFile.from_args(
                content=DataFileContent.POSITION_DELETES,
                file_path=place,
                file_format=FileFormat.PUFFIN,
                partition=Record(),
                record_count=len(rows),
                file_size_in_bytes=len(content),
            )
            file.spec_id = table.spec().spec_id
            return self._committed(table, file)
        if by is None:
            fields = POSITIONS
            content, ids = DataFileContent.POSITION_DELETES, None
        else:
            own = table.schema().find_field(by)
            fields = {by: (pa.string(), own.field_id)}
            content, ids = DataFileContent.EQUALITY_DELETES, [own.field_id]
        schema = pa.schema(
            [
                pa.field(name, kind, nullable=False, metadata={"PARQUET:field_id": str(number)})
                for name, (kind, number) in fields.items()
            ]
        )
        found = pa.Table.from_pylist(rows, schema)
        place = f"{table.location()}/data/delete-{uuid.uuid4()}.parquet"
        with table.io.new_output(place).create() as stream:
            pq.write_table(found, stream)
        file = DataFile.from_args(
            content=content,
            file_path=place,
            file_format=FileFormat.PARQUET,
            partition=Record(),
            record_count=found.num_rows,
            file_size_in_bytes=len(table.io.new_input(place)),
            equality_ids=ids,
        )
        file.spec_id = table.spec().spec_id
        return self._committed(table, file)

    def _committed(self, table: Table, file: DataFile) -> Table:
        before = table.metadata.current_snapshot()
        assert before is not None
        number, order = table.metadata.new_snapshot_id(), table.metadata.next_sequence_number()
        entry = ManifestEntry.from_args(
            status=ManifestEntryStatus.ADDED, snapshot_id=number, data_file=file
        )
        stem = f"{table.location()}/metadata/{uuid.uuid4()}"
        manifest = table.io.new_output(f"{stem}-m0.avro")
        writer = _DeletesWriter(table.spec(), table.schema(), manifest, number, "deflate")
        with writer:
            writer.add_entry(entry)
        with write_manifest_list(
            2, table.io.new_output(f"{stem}.avro"), number, before.snapshot_id, order, "deflate"
        ) as listed:
            listed.add_manifests([*before.manifests(table.io), writer.to_manifest_file()])
        snapshot = Snapshot(
            snapshot_id=number,
            parent_snapshot_id=before.snapshot_id,
            manifest_list=f"{stem}.avro",
            sequence_number=order,
            summary=Summary(Operation.DELETE),
            schema_id=table.schema().schema_id,
        )
        updates = (
            AddSnapshotUpdate(snapshot=snapshot),
            SetSnapshotRefUpdate(snapshot_id=number, ref_name="main", type="branch"),
        )
        still = AssertRefSnapshotId(snapshot_id=before.snapshot_id, ref="main")
        with table.transaction() as transaction:
            transaction._apply(updates, (still,))  # noqa: SLF001 - pyiceberg has no other way yet
        return self.catalog.load_table(table.name())


def puffin(rows: list[dict[str, Any]]) -> bytes:
    """Write deletion vectors, one of each data file, into a Puffin file."""
    blobs, whole = [], b"PFA1"
    for path in dict.fromkeys(row["file_path"] for row in rows):
        gone = sorted(row["pos"] for row in rows if row["file_path"] == path)
        # one bitmap of 64 bits, in it one of 32 bits, in it one container: a sorted array
        head = struct.pack("<QIIIHHI", 1, 0, 12346, 1, 0, len(gone) - 1, 16)
        vector = bytes.fromhex("d1d33964") + head + struct.pack(f"<{len(gone)}H", *gone)
        blob = struct.pack(">I", len(vector)) + vector + struct.pack(">I", zlib.crc32(vector))
        blobs.append(
            {
                "type": "deletion-vector-v1",
                "fields": [POSITIONS["pos"][1]],
                "snapshot-id": -1,
                "sequence-number": -1,
                "offset": len(whole),
                "length": len(blob),
                "properties": {"referenced-data-file": path, "cardinality": str(len(gone))},
            }
        )
        whole += blob
    payload = json.dumps({"blobs": blobs}).encode()
    return whole + b"PFA1" + payload + struct.pack("<iI", len(payload), 0) + b"PFA1"


def _plain(frame: pl.DataFrame) -> pa.Table:
    return frame.to_arrow()
