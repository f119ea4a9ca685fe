"""Schemas are read from the footer or the head, whatever the size of the file, and hostile files end with an error."""

from __future__ import annotations

import base64
import gzip
import io
import json
import time
import tracemalloc
from collections.abc import Callable, Iterable
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import feather, ipc

from lineal.errors import InvalidArgument, LimitExceeded
from storage.schemas import Column, Schema, read_schema
from storage.schemas.schema import HEAD, MAX_SCHEMA
from storage.source import Source


class Bytes(Source):
    """Files in memory, which counts what is read."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__({path: len(data) for path, data in files.items()})
        self._data = files
        self.bytes_read = 0

    def fetch(self, path: str, start: int, size: int) -> bytes:
        self.bytes_read += size
        return self._data[path][start : start + size]


def schema_of(data: bytes, path: str = "data") -> Schema | None:
    return read_schema(Bytes({path: data}), path)


def columns_of(data: bytes, path: str = "data") -> dict[str, tuple[str, bool | None]]:
    schema = schema_of(data, path)
    assert schema is not None
    return {column.name: (column.type, column.nullable) for column in schema.columns}


TABLE = pa.table(
    {
        "id": pa.array([1, 2, 3], pa.int64()),
        "at": pa.array([None, 1, 2], pa.timestamp("us", "UTC")),
        "tags": pa.array([["a"], [], None], pa.list_(pa.string())),
        "where": pa.array([{"x": 1.5, "y": None}] * 3, pa.struct([("x", pa.float64()), ("y", pa.int32())])),
    },
    schema=pa.schema(
        [
            pa.field("id", pa.int64(), nullable=False),
            pa.field("at", pa.timestamp("us", "UTC")),
            pa.field("tags", pa.list_(pa.string())),
            pa.field("where", pa.struct([("x", pa.float64()), ("y", pa.int32())])),
        ]
    ),
)


def parquet(table: pa.Table = TABLE, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def arrow_file(table: pa.Table = TABLE, **options: Any) -> bytes:
    out = io.BytesIO()
    with ipc.new_file(out, table.schema) as writer:
        writer.write_table(table, **options)
    return out.getvalue()


def arrow_stream(table: pa.Table = TABLE) -> bytes:
    out = io.BytesIO()
    with ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def avro(schema: Any, records: Iterable[Any] = (), codec: str = "null") -> bytes:
    out = io.BytesIO()
    fastavro.writer(out, schema, records, codec=codec)
    return out.getvalue()


RECORD = {
    "type": "record",
    "name": "Event",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "name", "type": ["null", "string"]},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "either", "type": ["int", "string"]},
    ],
}


# ── What is read ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("make", [parquet, arrow_file, arrow_stream])
def test_columnar_files_have_their_columns_whole(make: Callable[[], bytes]) -> None:
    assert columns_of(make()) == {
        "id": ("int64", False),
        "at": ("timestamp[us, tz=UTC]", True),
        "tags": ("list<element: string>" if make is parquet else "list<item: string>", True),
        "where": ("struct<x: double, y: int32>", True),
    }


TYPED = pa.schema(
    {
        "lasted": pa.duration("ns"),
        "kind": pa.dictionary(pa.int32(), pa.string()),
        "at": pa.timestamp("us", "Europe/Berlin"),
        "text": pa.large_string(),
        "pair": pa.list_(pa.int8(), 2),
    }
).empty_table()


def types_of(data: bytes) -> list[str]:
    return [type for type, _ in columns_of(data).values()]


def parquet_keeping(kept: bytes) -> bytes:
    """A Parquet file that says this to be its Arrow schema."""
    out = io.BytesIO()
    with pq.ParquetWriter(out, TYPED.schema, store_schema=False) as writer:
        writer.add_key_value_metadata({"ARROW:schema": kept})
    return out.getvalue()


def test_parquet_has_the_types_that_arrow_kept_with_it() -> None:
    data = parquet(TYPED)
    assert types_of(data) == [str(type) for type in pq.read_schema(io.BytesIO(data)).types]
    assert types_of(data)[:2] == ["duration[ns]", "dictionary<values=string, indices=int32, ordered=0>"]
    assert types_of(parquet(TYPED, store_schema=False))[:2] == ["int64", "string"]
    message = TYPED.schema.serialize().to_pybytes()
    assert types_of(parquet_keeping(base64.b64encode(message))) == types_of(data)


@pytest.mark.parametrize("kept", [b"no base64", b"AAAA", b""])
def test_parquet_whose_arrow_schema_is_none_has_its_own_types(kept: bytes) -> None:
    assert types_of(parquet_keeping(kept))[:2] == ["int64", "string"]


def test_the_arrow_schema_of_parquet_is_as_large_as_what_it_comes_to() -> None:
    table, count = SHARED["names"]
    message = shared(table.schema.serialize().to_pybytes(), count)
    bounded(parquet_keeping(base64.b64encode(message)), "data")


def test_rows_are_told_where_the_format_says_them() -> None:
    table = pa.table({"n": range(10_000)})
    feather_file = io.BytesIO()
    feather.write_feather(table, feather_file, compression="uncompressed")
    for data, rows in (
        (parquet(table, row_group_size=100), 10_000),
        (parquet(table.slice(0, 0)), 0),
        (arrow_file(table), None),
        (feather_file.getvalue(), None),
        (arrow_stream(table), None),
    ):
        schema = schema_of(data)
        assert schema is not None
        assert (schema.rows, schema.columns) == (rows, (Column("n", "int64", True),))


def test_avro_has_its_fields_with_the_types_as_avro_writes_them() -> None:
    records: list[Any] = [{"id": 1, "name": None, "at": 0, "tags": [], "either": 1}]
    data = avro(RECORD, records, codec="deflate")
    assert columns_of(data) == {
        "id": ("long", False),
        "name": ("string", True),
        "at": ("long (timestamp-millis)", False),
        "tags": ('{"type":"array","items":"string"}', False),
        "either": ('["int","string"]', False),
    }
    schema = schema_of(data)
    assert schema is not None
    assert (schema.format, schema.compression, schema.rows) == ("avro", "deflate", None)
    assert columns_of(avro("string", ["a"])) == {"value": ("string", False)}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("zipped", [False, True])
def test_csv_is_inferred_from_its_head(delimiter: str, zipped: bool) -> None:
    rows = [
        ["id", "share", "born", "seen", "member", "postcode", "note"],
        ["1", "0.5", "2020-01-31", "2020-01-31T10:00:00Z", "true", "01234", '"a, b; c"'],
        ["-2", "3", "1999-12-01", "2020-01-31 10:00", "FALSE", "99999", ""],
    ]
    data = "\r\n".join(delimiter.join(row) for row in rows).encode()
    found = columns_of(gzip.compress(data), "x.csv.gz") if zipped else columns_of(b"\xef\xbb\xbf" + data, "x.CSV")
    assert found == {
        "id": ("integer", None),
        "share": ("number", None),
        "born": ("date", None),
        "seen": ("timestamp", None),
        "member": ("boolean", None),
        "postcode": ("string", None),
        "note": ("string", True),
    }


@pytest.mark.parametrize(
    "behind", [b"", b"\x00" * 512, gzip.compress(b"3,x\n")[:12]], ids=["", "zeros", "a part of one"]
)
@pytest.mark.parametrize(
    "parts", [["id,price\n", "1,2.5\n2,3.5\n"], ["", "id,price\n1,2.5\n"], ["id,", "price\n1", ",2.5\n"]]
)
def test_what_is_compressed_may_be_put_together_of_several(parts: list[str], behind: bytes) -> None:
    data = b"".join(gzip.compress(part.encode()) for part in parts)
    assert columns_of(data + behind, "x.csv.gz") == {"id": ("integer", None), "price": ("number", None)}


def test_only_the_head_of_what_is_put_together_is_read() -> None:
    rows = gzip.compress(b"1,2\n" * 2**16)
    assert columns_of(gzip.compress(b"a,b\n") + rows * 100, "x.csv.gz")["a"] == ("integer", None)
    begin = time.process_time()
    assert columns_of(gzip.compress(b"a,b\n1,2\n") + gzip.compress(b"") * 40_000, "x.csv.gz")["a"] == ("integer", None)
    assert time.process_time() - begin < 5


def test_csv_without_names_gets_some() -> None:
    assert columns_of(b"1,a\n2,b\n", "x.csv") == {"column_1": ("integer", None), "column_2": ("string", None)}


@pytest.mark.parametrize(
    ("data", "columns"),
    [
        (b",age,city\n0,31,Bonn\n1,27,Ulm\n", {"column_1": "integer", "age": "integer", "city": "string"}),
        (b",name\n0,Ada\n1,Max\n", {"column_1": "integer", "name": "string"}),
        (b"country,2019,2020\nDE,1,2\nFR,3,4\n", {"country": "string", "2019": "integer", "2020": "integer"}),
        (b"country,2020-01-22\nDE,1.5\n", {"country": "string", "2020-01-22": "number"}),
        (b"DE,2019,2020\nFR,2020,2021\n", {"column_1": "string", "column_2": "integer", "column_3": "integer"}),
        (b"DE,1,2\nFR,3,4\n", {"column_1": "string", "column_2": "integer", "column_3": "integer"}),
        (b"yes,no,no\nno,no,no\n", {"column_1": "string", "column_2": "string", "column_3": "string"}),
        (b"Ada,,Bonn\nMax,,Ulm\n", {"column_1": "string", "column_2": "string", "column_3": "string"}),
    ],
)
def test_csv_is_named_by_its_first_row_where_that_differs_from_the_rest(data: bytes, columns: dict[str, str]) -> None:
    assert {name: type for name, (type, _) in columns_of(data, "x.csv").items()} == columns


def test_csv_may_have_a_name_twice() -> None:
    schema = schema_of(b"id,x,x\n1,2,y\n", "x.csv")
    assert schema is not None
    assert [(column.name, column.type) for column in schema.columns] == [
        ("id", "integer"), ("x", "integer"), ("x", "string"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "data", "names"),
    [
        ("x.csv", b'"Name";"Text, lang"\n"A";"x, y"\n"B; C";"z, w"\n', ["Name", "Text, lang"]),
        ("x.tsv", b"lat,lon\tname\n1,2\tfoo\n3,4\tbar\n", ["lat,lon", "name"]),
        ("x.tsv", b"a,b\n1,2\n", ["a", "b"]),
    ],
)
def test_csv_is_not_split_within_quotes_and_tsv_by_tabs(path: str, data: bytes, names: list[str]) -> None:
    assert list(columns_of(data, path)) == names


def test_a_row_that_the_head_ends_within_is_left_out() -> None:
    row = f'1,"one\n{"x" * 3_000}",7\n'
    found = columns_of(f"id,text,n\n{row * 500}".encode(), "x.csv")
    assert found == {"id": ("integer", None), "text": ("string", None), "n": ("integer", None)}


def test_a_text_of_csv_may_be_long() -> None:
    data = f'id,text\n1,"{"x" * 140_000}"\n'.encode()
    assert columns_of(data, "x.csv") == {"id": ("integer", None), "text": ("string", None)}


@pytest.mark.parametrize("zone", ["", "Z", "+01", "+0100", "-01:00"])
def test_times_are_told_with_every_zone(zone: str) -> None:
    assert columns_of(f"id,at\n1,2026-11-28 07:30:37.1{zone}\n".encode(), "x.csv")["at"] == ("timestamp", None)


def test_json_lines_may_have_the_numbers_that_python_writes() -> None:
    data = b'{"a": NaN, "b": "NaN \\" NaN"}\n{"a": -Infinity, "b": "x"}\n'
    assert columns_of(data, "x.jsonl") == {"a": ("number", None), "b": ("string", None)}


def test_json_lines_have_the_members_of_all_objects() -> None:
    lines = [{"id": 1, "x": 1, "tags": ["a"]}, {"id": 2, "x": 1.5, "who": {"a": 1}}, {"id": "3", "x": 2, "nil": None}]
    data = "\n".join(map(json.dumps, lines)).encode()
    for path, given_data in (("x.jsonl", data), ("x.ndjson.gz", gzip.compress(data))):
        assert columns_of(given_data, path) == {
            "id": ("integer|string", None),
            "x": ("number", None),
            "tags": ("array", True),
            "who": ("object", True),
            "nil": ("null", True),
        }


def test_what_is_of_no_known_kind_has_no_schema() -> None:
    assert schema_of(b"hello", "x.txt") is None
    assert schema_of(b"", "x") is None
    assert schema_of(b'{"a": 1}', "x.json") is None


# ── How little is read ────────────────────────────────────────────────────────────────────────────


def test_a_large_file_is_read_by_its_footer_only() -> None:
    table = pa.table({"n": pa.array(range(2_000_000))})
    data = parquet(table, use_dictionary=False, compression="none", row_group_size=20_000)
    source = Bytes({"data": data})
    schema = read_schema(source, "data")
    assert schema is not None
    assert schema.rows == 2_000_000
    assert source.bytes_read < len(data) / 100
    data = arrow_file(table, max_chunksize=20_000)
    source = Bytes({"data": data})
    assert read_schema(source, "data") is not None
    assert source.bytes_read < len(data) / 100


def test_only_the_head_of_a_long_text_is_read() -> None:
    data = b"id,name\n" + b"1,a\n" * HEAD
    source = Bytes({"x.csv": data})
    assert read_schema(source, "x.csv") == Schema(
        "csv", (Column("id", "integer", None), Column("name", "string", None))
    )
    assert source.bytes_read <= HEAD + 8


# ── What is hostile ───────────────────────────────────────────────────────────────────────────────


def framed(footer: bytes, length: int | None = None) -> bytes:
    return b"PAR1" + footer + (len(footer) if length is None else length).to_bytes(4, "little") + b"PAR1"


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def elements(count: int, *each: bytes) -> bytes:
    """The beginning of a footer with a schema of so many elements."""
    return b"\x15\x02\x19\xfc" + varint(count) + b"".join(each)


def shared(data: bytes, count: int) -> bytes:
    """What Arrow wrote, with every list of so many things made into as many times its first one."""
    wrong = bytearray(data)
    length = count.to_bytes(4, "little")
    at = data.find(length)
    while at >= 0:
        first = at + 4 + int.from_bytes(data[at + 4 : at + 8], "little")
        for slot in range(at + 4, at + 4 + 4 * count, 4):
            wrong[slot : slot + 4] = (first - slot).to_bytes(4, "little", signed=True)
        at = data.find(length, at + 4 + 4 * count)
    return bytes(wrong)


def of_types(*types: pa.DataType, **metadata: str) -> pa.Table:
    """A table without rows, whose first column has a long name."""
    names = (f"{'n' * 900 if i == 0 else 'n'}{i}" for i in range(len(types)))
    return pa.schema(list(zip(names, types, strict=True)), metadata=metadata).empty_table()


def nested(depth: int, width: int) -> pa.DataType:
    type = pa.int8()
    for _ in range(depth):
        type = pa.struct([("a", type), *((f"b{i}", pa.int8()) for i in range(width - 1))])
    return type


SHARED = {
    "names": (of_types(*[pa.int8()] * 9_001), 9_001),
    "zones of time": (of_types(pa.timestamp("s", "Z" * 900), *[pa.int8()] * 9_000), 9_001),
    "children": (of_types(nested(2, 300)), 300),
    "metadata": (of_types(pa.int8(), **{f"k{i}": "v" * (900 if i == 0 else 1) for i in range(9_001)}), 9_001),
    "metadata of columns": (
        pa.schema([pa.field("a", pa.int8(), metadata={f"k{i}": "v" * 900 if i == 0 else "" for i in range(9_001)})])
        .empty_table(),
        9_001,
    ),
}  # fmt: skip


def element(name: bytes, children: int = 0) -> bytes:
    """An element of a schema: a group of so many, or an optional integer."""
    kind, within = (b"\x35\x02", b"\x15" + varint(2 * children)) if children else (b"\x15\x02\x25\x02", b"")
    return kind + b"\x18" + varint(len(name)) + name + within + b"\x00"


def long_path(columns: int, *groups: bytes) -> bytes:
    """A Parquet file without rows, whose columns are all in the last of these groups, each within the one before."""
    counts = [1] * (len(groups) - 1) + [columns]
    above = [element(group, count) for group, count in zip(groups, counts, strict=True)]
    each = [element(b"schema", 1), *above, *(element(b"%d" % i) for i in range(columns))]
    return framed(elements(len(each), *each) + b"\x16\x00\x19\x0c\x00")


def avro_header(schema: Any, entries: bytes = b"") -> bytes:
    """An Avro file without rows, with a schema that need not be one and with further entries of its header."""
    text = json.dumps(schema).encode()
    return b"Obj\x01" + entries + b"\x02\x16avro.schema" + varint(2 * len(text)) + text + b"\x00" + b"s" * 16


def within(namespace: str, types: Iterable[Any]) -> dict[str, Any]:
    """A record with a field of each of these types, and one of an enum `e`."""
    each = [{"type": "enum", "name": "e", "symbols": ["A"]}, *types]
    fields = [{"name": f"f{i}", "type": type} for i, type in enumerate(each)]
    return {"type": "record", "name": "r", "namespace": namespace, "fields": fields}


DEEP = b"\x48\x01a\x15\x02\x00"
CUT = b"\x05" + varint(2 * 65_541) + b"\x02\x00"
HOSTILE = {
    "no footer": b"PAR1" + b"x" * 100,
    "only magic": b"PAR1PAR1",
    "encrypted": b"PARE" + b"x" * 100 + b"PARE",
    "footer longer than the file": framed(b"\x00", 2**31),
    "nothing in the footer": framed(b""),
    "a count of columns that is not there": framed(elements(40_000)),
    "a count beyond all": framed(elements(2**60)),
    "a schema without end": framed(b"\x15\x02\x19\xfc" + b"\xff" * 100),
    "columns within columns": framed(elements(1000, *[DEEP] * 1000)),
    "more children than elements": framed(elements(2, b"\x48\x01a\x15\x80\x80\x02\x00", b"\x00") + b"\x16\x02"),
    "columns within columns, by a field whose number libraries cut to that of another": framed(
        elements(80, element(b"r", 79)[:-1] + CUT, *[b"\x35\x02\x18\x01a" + CUT] * 78, element(b"a"))
        + b"\x16\x00\x19\x0c\x00"
    ),
    "empty elements": framed(elements(40_000, b"\x00" * 40_000) + b"\x16\x02\x00"),
    "structs within structs": framed(b"\x1c" * 100_000),
    "maps without end": framed(b"\x1b" + varint(2**60) + b"\x11" + b"\x01" * 1000),
    "arrow without a footer": b"ARROW1\x00\x00" + b"x" * 100,
    "arrow with too long a footer": b"ARROW1\x00\x00" + b"x" * 9 + (2**30).to_bytes(4, "little") + b"ARROW1",
    "arrow with a footer of junk": b"ARROW1\x00\x00" + b"\x7f" * 64 + (64).to_bytes(4, "little") + b"ARROW1",
    "arrow with a negative footer": b"ARROW1\x00\x00" + b"\x7f" * 64 + b"\xff\xff\xff\xff" + b"ARROW1",
    "a stream longer than the file": b"\xff\xff\xff\xff\xff\xff\xff\x7f" + b"x" * 100,
    "a stream of junk": b"\xff\xff\xff\xff\x10\x00\x00\x00" + b"\x07" * 100,
    "avro that breaks off": b"Obj\x01\x02\x16avro.schema",
    "avro of a map without end": b"Obj\x01" + b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f" + b"\x00" * 5_000_000,
    "avro of a map with a count beyond all": b"Obj\x01" + b"\xff" * 9 + b"\x01" + b"\x00" * 5_000_000,
    "avro with a name of negative length": b"Obj\x01\x02\x03" + b"x" * 100,
    "avro with a value of negative length": b"Obj\x01\x02\x02a\x03" + b"x" * 100,
    "avro of entries without end": b"Obj\x01" + b"\x02\x00\x00" * 2_000_000,
    "avro of a column whose name is none": avro_header({**within("", []), "fields": [{"name": ["a"], "type": "int"}]}),
    "avro with a schema that is none": avro("string").replace(b'"string"', b'"strung"'),
    "avro with a schema too deep": b"Obj\x01\x02\x16avro.schema\x80\xb5\x18" + b'{"type":' * 25_000 + b"}" * 25_000,
}  # fmt: skip
TEXTS = {
    "x.csv": [b"", b"\n\n", b'"' + b"a" * 500_000, b"a" * (2 * HEAD), b"\xff\xfe,\x00", b"a,b\n\x00,\x00\xc3"],
    "x.csv.gz": [b"not gzip", gzip.compress(b"a" * 2**28)[:-5000], gzip.compress(b"a" * (2 * HEAD))],
    "x.jsonl": [
        b"",
        b"[1]",
        b"{",
        b"[" * HEAD,
        b'{"a":' * 100_000,
        b"a" * (2 * HEAD),
        b'{"a": NaN' + rb'"\"' * 300_000,
    ],
    "x.parquet": [b"hello", b""],
}


def bounded(data: bytes, path: str) -> None:
    """It ends with one of the errors that say so, in time, and without taking much memory."""
    allocated = pa.total_allocated_bytes()
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises((InvalidArgument, LimitExceeded)):
            schema_of(data, path)
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
        assert pa.total_allocated_bytes() - allocated < 2**20
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < 30


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_end_with_an_error(name: str) -> None:
    bounded(HOSTILE[name], "data")


@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize("make", [arrow_file, arrow_stream])
def test_an_arrow_schema_is_as_large_as_what_it_comes_to(make: Callable[[pa.Table], bytes], name: str) -> None:
    table, count = SHARED[name]
    data = make(table)
    assert schema_of(data) is not None
    bounded(shared(data, count), "data")


def test_an_arrow_schema_is_refused_that_is_too_deep() -> None:
    for make in (arrow_file, arrow_stream):
        assert schema_of(make(of_types(nested(60, 1)))) is not None
        with pytest.raises(LimitExceeded):
            schema_of(make(of_types(nested(70, 1))))


def test_a_parquet_schema_is_as_large_as_the_paths_that_it_comes_to() -> None:
    short = long_path(500, b"n" * 500, b"m" * 500)
    assert columns_of(short)["n" * 500][1]
    for data in (long_path(5_000, b"n" * 1_000), long_path(100, b"n" * 50_000), long_path(5_000, *[b"n" * 20] * 50)):
        with pytest.raises(LimitExceeded, match="paths"):
            schema_of(data)


def enums(count: int) -> list[dict[str, Any]]:
    return [{"type": "enum", "name": f"e{i}", "symbols": ["A"]} for i in range(count)]


@pytest.mark.parametrize(
    "schema",
    [
        within("n" * 50_000, enums(2_000)),
        within("n" * 1_000, enums(9_000)),
        within("n" * 50_000, [["null", "e"]] * 2_000),
        within("n" * 50_000, [{"type": "array", "items": {"type": "map", "values": "e"}, "namespace": ""}] * 2_000),
        {**within("", enums(2_000)), "name": "n" * 50_000 + ".r"},
        within("", [[[] for _ in range(9_000)] for _ in range(9)]),
    ],
    ids=["a long namespace", "many types", "types that are named again", "types within others", "a long name", "lists"],
)
def test_an_avro_schema_is_as_large_as_the_names_that_it_comes_to(schema: Any) -> None:
    with pytest.raises(LimitExceeded, match="names"):
        schema_of(avro_header(schema))


def test_an_avro_schema_of_usual_names_has_thousands_of_columns() -> None:
    types = [["null", "string"], ["null", {"type": "array", "items": "e"}]] * 4_000
    found = columns_of(avro_header(within("org.example.of.usual.length", types)))
    assert len(found) == 8_001
    assert found["f1"] == ("string", True)
    assert found["f2"] == ('{"type":"array","items":"org.example.of.usual.length.e"}', True)


def test_only_the_entries_of_an_avro_header_that_are_used_are_kept() -> None:
    blocks = varint(2 * 1_000) + b"".join(b"\x08%04d\x00" % i for i in range(1_000))
    sized = b"\x03\x08" + b"\x02a\x02b" + b"\x02c\x02d"  # two entries, with how many bytes they have
    assert columns_of(avro_header("string", blocks + sized)) == {"value": ("string", False)}


@pytest.mark.parametrize(("path", "data"), [(path, data) for path, texts in TEXTS.items() for data in texts])
def test_hostile_texts_end_with_an_error(path: str, data: bytes) -> None:
    bounded(data, path)


def test_too_many_columns_are_too_many() -> None:
    wide = pa.schema([(f"c{i}", pa.int8()) for i in range(10_001)]).empty_table()
    for data, path in (
        (parquet(wide), "x"),
        (arrow_file(wide), "x"),
        (",".join(f"c{i}" for i in range(10_001)).encode(), "x.csv"),
        (json.dumps({f"c{i}": 1 for i in range(10_001)}).encode(), "x.jsonl"),
    ):
        with pytest.raises(LimitExceeded):
            schema_of(data, path)


def test_a_schema_that_is_too_large_is_refused() -> None:
    long = pa.schema([pa.field("n" * 1000 + str(i), pa.int8()) for i in range(6_000)]).empty_table()
    with pytest.raises(LimitExceeded):
        schema_of(parquet(long, store_schema=False))
    with pytest.raises(LimitExceeded):
        schema_of(b"Obj\x01\x02\x16avro.schema" + varint(2 * 2**26) + b" " * (MAX_SCHEMA + 10))


GOOD = {
    "parquet": (parquet(), "data"),
    "arrow": (arrow_file(), "data"),
    "stream": (arrow_stream(), "data"),
    "avro": (avro(RECORD), "data"),
    "csv": (b'a,b\n1,"x"\n2,y\n', "x.csv"),
    "gzip": (gzip.compress(b"a,b\n1,2\n"), "x.csv.gz"),
    "jsonl": (b'{"a": 1}\n{"b": "x"}\n', "x.jsonl"),
}


@pytest.mark.parametrize("kind", GOOD)
@given(data=st.data())
def test_a_file_with_wrong_bytes_is_read_or_refused(kind: str, data: st.DataObject) -> None:
    good, path = GOOD[kind]
    wrong = bytearray(good)
    places = st.integers(0, len(good) - 1)
    for place, byte in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=8)):
        wrong[place] = byte
    cut = data.draw(st.integers(0, len(good)))
    for broken in (bytes(wrong), good[:cut], good[:cut] + good[-8:]):
        try:
            schema_of(broken, path)
        except (InvalidArgument, LimitExceeded):
            continue


@given(st.binary(max_size=300), st.sampled_from([b"PAR1", b"ARROW1\x00\x00", b"\xff\xff\xff\xff", b"Obj\x01"]))
def test_junk_behind_the_right_first_bytes_is_refused(junk: bytes, magic: bytes) -> None:
    end = len(junk).to_bytes(4, "little") + (b"PAR1" if magic == b"PAR1" else b"ARROW1")
    for data in (magic + junk, magic + junk + end):
        try:
            schema_of(data)
        except (InvalidArgument, LimitExceeded):
            continue


@given(st.text(max_size=200), st.sampled_from(["x.csv", "x.jsonl"]))
def test_any_text_is_read_or_refused(text: str, path: str) -> None:
    try:
        schema_of(text.encode("utf-8", "surrogatepass"), path)
    except (InvalidArgument, LimitExceeded):
        return
