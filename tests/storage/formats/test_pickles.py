"""Pickles that try to be taken for something else; and that nothing is ever loaded which the scan did not tell."""

from __future__ import annotations

import gzip
import io
import lzma
import pickle
import pickletools
import random
import resource
import struct
import tarfile
import zipfile
import zlib
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest

from storage.formats import Verdict, detect, finding, literals, reading
from storage.formats.finding import Detected
from storage.formats.symbols import UNKNOWN
from tests.conftest import SOAK
from tests.storage.formats.test_formats import REAL, Memory

HARM = b"cos\nsystem\n(S'true'\ntR."
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
MUTATIONS = 40_000 if SOAK else 500
MEMORY = 2**30
"""Bytes that a pickle which is really loaded may take."""


def scan(name: str, data: bytes) -> Detected:
    """What is told of a file."""
    return detect(Memory({name: data}))


def text(value: str) -> bytes:
    """The opcode that puts a text on the stack."""
    return b"\x8c" + bytes([len(value)]) + value.encode()


def imported(module: str, name: str) -> bytes:
    """The opcodes that import something."""
    return text(module) + text(name) + b"\x93"


def wrapper(dtype: bytes, shape: int, state: bytes = b"") -> bytes:
    """joblib's opcodes before an array; `state` are more items of the wrapper's state."""
    made = imported("joblib.numpy_pickle", "NumpyArrayWrapper") + b")\x81}("
    made += text("subclass") + imported("numpy", "ndarray") + text("order") + text("C") + text("allow_mmap") + b"\x89"
    return made + text("shape") + b"K" + bytes([shape]) + b"\x85" + text("dtype") + dtype + state + b"ub"


U1 = imported("numpy", "dtype") + text("u1") + b"\x85R"
WRAPPED = b"\x80\x04" + wrapper(U1, 3) + b"abc."
NAMESPACE = imported("argparse", "Namespace") + text("u1") + b"\x85\x81}" + text("hasobject") + b"\x88sb"
FLAGS = (
    imported("numpy", "dtype")
    + text("O8")
    + b"\x85R(K\x03"
    + text("|")
    + b"NNN"
    + b"J\xff\xff\xff\xff" * 2
    + b"K\x00tb"
)
SCALAR = imported("numpy.core.multiarray", "scalar")


# ── Wherever it may be loaded ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("first", sorted(opcode.code.encode("latin-1") for opcode in pickletools.opcodes))
def test_a_pickle_may_begin_with_any_opcode_under_any_name(first: bytes) -> None:
    begin = {b"\x95": b"\x95" + struct.pack("<Q", 5) + b"N0", b"C": b"C\x01a0", b"B": b"B\x01\0\0\0a0", b"K": b"K\x010"}
    data = begin.get(first, first + b"0") + HARM
    imports, called = loaded(data)
    found = scan("pytorch_model.bin", data)
    if called:
        assert found.pickles is not Verdict.NONE
        assert imports <= {each.name for each in found.imports}


@pytest.mark.parametrize("name", ["model.pt", "pytorch_model.bin"])
def test_a_pickle_after_the_first_is_scanned_without_a_protocol_of_its_own(name: str) -> None:
    assert scan(name, LEGACY + HARM).pickles is Verdict.DANGEROUS
    assert scan(name, LEGACY + b"M\xe9\x03." * 3 + HARM).pickles is Verdict.DANGEROUS


def test_what_follows_a_pickle_and_is_none_is_called_unscanned() -> None:
    assert scan("model.pkl", pickle.dumps([1]) + b"\0").pickles is Verdict.UNSCANNED
    assert scan("model.pkl", pickle.dumps([1]) * 3).pickles is Verdict.SAFE
    assert scan("legacy.pth", REAL["legacy.pth"] + b"\0").pickles is Verdict.UNSCANNED


@pytest.mark.parametrize("name", ["model.pkl", "model.bin"])
@pytest.mark.parametrize(
    "data", [b"(" + b"N" * 200_001 + b"1" + HARM, b"N0" * 2_100_000 + HARM], ids=["stack", "steps"]
)
def test_a_limit_that_was_met_is_never_the_end_of_a_harmless_file(name: str, data: bytes) -> None:
    assert scan(name, data).pickles is Verdict.UNSCANNED


def tar(data: bytes, **changes: Any) -> bytes:
    """A tar archive with a member."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        info = tarfile.TarInfo("model.pkl")
        info.size = len(data)
        for name, value in changes.items():
            setattr(info, name, value)
        archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def without_magic(archive: bytes) -> bytes:
    """The same archive as tar wrote it in 1979."""
    raw = bytearray(archive)
    raw[257:265] = bytes(8)
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw[:512])
    return bytes(raw)


def test_a_file_that_is_an_archive_and_a_pickle_is_scanned_as_both() -> None:
    body = b"\x80\x04B" + struct.pack("<I", 300)
    body += b"a" * (124 - len(body)) + b"00000000000\0"
    body += b"a" * (257 - len(body)) + b"ustar"
    body += b"a" * (307 - len(body)) + b"0" + HARM
    for name in ("model.pkl", "model.pt", "model.bin"):
        assert scan(name, body.ljust(512, b"\0")).pickles is Verdict.DANGEROUS
    assert scan("model.bin", HARM + zipped(b"data")).pickles is Verdict.DANGEROUS


@pytest.mark.parametrize("name", ["model.tar", "model.pt", "weights"])
def test_every_tar_that_python_reads_is_looked_into(name: str) -> None:
    assert scan(name, tar(HARM)).pickles is Verdict.DANGEROUS
    assert scan(name, without_magic(tar(HARM))).pickles is Verdict.DANGEROUS


def test_a_tar_that_readers_take_differently_is_unscanned() -> None:
    link = tarfile.TarInfo("a")
    link.type, link.linkname, link.size = tarfile.SYMTYPE, "b", 1024
    assert scan("a.tar", link.tobuf(tarfile.USTAR_FORMAT) + tar(HARM)).pickles is Verdict.UNSCANNED
    assert scan("a.tar", tar(b"x", name="a.txt") + b"more").pickles is Verdict.UNSCANNED
    assert scan("a.tar", tar(b"x", name="a.txt")).pickles is Verdict.NONE
    assert scan("a.tar.gz", gzip.compress(without_magic(tar(HARM)))).pickles is Verdict.UNSCANNED


def zipped(data: bytes, method: int = zipfile.ZIP_STORED, name: str = "data.pkl") -> bytes:
    """A zip archive with a member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr(name, data)
    return buffer.getvalue()


def deflated(raw: bytes, data: bytes) -> bytes:
    """A zip archive whose member says that `raw` unpacks to `data`."""
    name = b"data.pkl"
    said = struct.pack("<4HIIIHH", 0, 8, 0, 0x21, zlib.crc32(data), len(raw), len(data), len(name), 0)
    members = b"PK\3\4" + struct.pack("<H", 20) + said + name + raw
    directory = b"PK\1\2" + struct.pack("<HH", 20, 20) + said + bytes(14) + name
    return members + directory + b"PK\5\6" + struct.pack("<4HIIH", 0, 0, 1, 1, len(directory), len(members), 0)


@pytest.mark.parametrize("name", ["model.zip", "model.bin"])
def test_a_member_whose_first_bytes_cannot_be_unpacked_is_no_empty_one(name: str) -> None:
    stored = b"\0" + struct.pack("<HH", len(HARM), len(HARM) ^ 0xFFFF) + HARM
    late = stored + b"\0\0\0\xff\xff" * 8_000
    assert scan(name, deflated(late + b"\3\0", HARM)).pickles is Verdict.DANGEROUS
    assert scan(name, deflated(late + b"\7" * 50, HARM)).pickles is Verdict.UNSCANNED
    assert scan(name, deflated(b"\3\0", b"")).pickles is Verdict.NONE


def test_wherever_a_look_has_unpacked_enough_the_rest_is_unscanned(monkeypatch: pytest.MonkeyPatch) -> None:
    harmless = pickle.dumps(bytes(20_000))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.pkl", harmless)
        archive.writestr("b.pkl", HARM)
    told = set()
    for left in range(0, 2_000, 10):
        monkeypatch.setattr(reading, "MAX_UNPACKED", len(harmless) + left)
        told.add(scan("model.bin", buffer.getvalue()).pickles)
    assert told == {Verdict.UNSCANNED, Verdict.DANGEROUS}


def test_an_archive_within_what_is_packed_is_unscanned() -> None:
    assert scan("a.zip", zipped(zipped(HARM), zipfile.ZIP_DEFLATED)).pickles is Verdict.UNSCANNED
    assert scan("a.gz", gzip.compress(zipped(HARM))).pickles is Verdict.UNSCANNED
    assert scan("a.zip", zipped(zipped(HARM))).pickles is Verdict.DANGEROUS


def array(descr: str, shape: tuple[int, ...], items: bytes) -> bytes:
    """A file of NumPy's with one array."""
    header = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + items


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_arrays_are_looked_into_where_they_are_packed(method: int) -> None:
    numbers = array("<f8", (3, 1_000), b"." * 24_000)
    assert scan("a.npz", zipped(numbers, method, "a.npy")).pickles is Verdict.NONE
    assert scan("a.npz", zipped(numbers * 2, method, "a.npy")).pickles is Verdict.NONE
    assert scan("a.npz", zipped(numbers[:-1], method, "a.npy")).pickles is Verdict.UNSCANNED
    assert scan("a.npz", zipped(numbers + HARM, method, "a.npy")).pickles is Verdict.UNSCANNED
    assert scan("a.npz", zipped(array("|O", (1,), pickle.dumps([1])), method, "a.npy")).pickles is Verdict.SAFE
    assert scan("a.npz", zipped(numbers + array("|O", (1,), HARM), method, "a.npy")).pickles is Verdict.DANGEROUS
    assert scan("a.npy.gz", gzip.compress(array("|O", (1,), HARM))).pickles is Verdict.DANGEROUS


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_is_looked_into_though_it_has_the_name_of_a_folder(method: int) -> None:
    assert scan("a.npz", zipped(array("|O", (1,), HARM), method, "a/")).pickles is Verdict.DANGEROUS
    assert scan("a.zip", zipped(HARM, method, "a/")).pickles is Verdict.DANGEROUS
    assert scan("a.zip", zipped(b"", method, "a/")).pickles is Verdict.NONE


@pytest.mark.parametrize("name", ["model.zip", "model.pkl", "weights"])
@pytest.mark.parametrize("before", [b"#!/usr/bin/env python\n", bytes(8), b"\xff" * 100_000])
def test_an_archive_with_something_before_it_is_never_without_pickles(name: str, before: bytes) -> None:
    assert scan(name, before + zipped(HARM)).pickles is Verdict.UNSCANNED
    appended = io.BytesIO(before)
    with zipfile.ZipFile(appended, "a") as archive:
        archive.writestr("data.pkl", HARM)
        archive.comment = b"c" * 65_535
    assert scan(name, appended.getvalue()).pickles is Verdict.DANGEROUS


@pytest.mark.parametrize("name", ["model.pt", "model.bin", "picture.jpg"])
@pytest.mark.parametrize("after", [b"PK\5\6", b"xxPK\5\6yyyy", b"PK\5\6" + bytes(17), bytes(66_000), bytes(80_000)])
def test_what_begins_as_an_archive_and_has_no_end_that_python_finds_is_unscanned(name: str, after: bytes) -> None:
    # PyTorch takes the last record that is whole, and looks further back for it.
    assert scan(name, zipped(HARM) + after).pickles is Verdict.UNSCANNED


@pytest.mark.parametrize("name", ["model.pt", "weights"])
@pytest.mark.parametrize("after", [b"PK\5\6", bytes(2**16), bytes(69_500)])
def test_the_end_of_an_archive_is_found_as_far_back_as_any_reader_finds_it(name: str, after: bytes) -> None:
    appended = io.BytesIO(b"#!/usr/bin/env python\n")
    with zipfile.ZipFile(appended, "a") as archive:
        archive.writestr("data.pkl", HARM)
    assert scan(name, appended.getvalue() + after).pickles in {Verdict.UNSCANNED, Verdict.DANGEROUS}


def test_a_zip_with_two_directories_is_unscanned() -> None:
    # Python takes the directory before the end, PyTorch the one at the offset that the end says.
    evil, good = zipped(HARM), zipped(pickle.dumps([1] * 5, 0)[: len(HARM)].ljust(len(HARM), b"."))
    assert scan("model.pt", evil[:-22] + good).pickles is Verdict.UNSCANNED


def large(archive: bytes, at: int | None = None) -> bytes:
    """The archive with the end that large ones have, which is said to be `at` where it may not lie."""
    members, end = archive[:-22], archive[-22:]
    count, size, offset = struct.unpack("<10xHII2x", end)
    end_64 = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset)
    located = len(members) if at is None else at
    return members + end_64 + struct.pack("<4sIQI", b"PK\6\7", 0, located, 1) + end


@pytest.mark.parametrize("name", ["model.pt", "model.bin"])
def test_a_large_archive_whose_end_is_said_to_be_elsewhere_is_unscanned(name: str) -> None:
    # Python takes the end before the last record, PyTorch the one at the offset that is said.
    good = pickle.dumps([1])
    assert scan(name, large(zipped(HARM))).pickles is Verdict.DANGEROUS
    assert scan(name, large(zipped(good))).pickles is Verdict.SAFE
    for at in (0, 4, 2**63):
        assert scan(name, large(zipped(good), at=at)).pickles is Verdict.UNSCANNED


@pytest.mark.parametrize(
    ("constants", "verdict"),
    [("archive/constants.pkl", Verdict.SAFE), ("archive/extra/constants.pkl", Verdict.SUSPICIOUS)],
)
def test_types_of_torchscript_are_its_own_only_where_pytorch_takes_it_for_that(
    constants: str, verdict: Verdict
) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as written:
        written.writestr("archive/data.pkl", b"\x80\x02c__torch__\nrun\n)R.")
        written.writestr(constants, b"\x80\x02).")
    assert scan("model.pt", archive.getvalue()).pickles is verdict


@pytest.mark.parametrize("data", [b"010", b"-07", b"0x10", b""])
def test_a_number_that_unpicklers_take_differently_is_not_known(data: bytes) -> None:
    assert literals.number(data) is UNKNOWN


@pytest.mark.parametrize("name", ["model.joblib", "model.bin"])
def test_what_others_unpack_and_the_scan_does_not_is_unscanned(name: str) -> None:
    for data in (b"\x04\x22\x4d\x18" + HARM, b"\x28\xb5\x2f\xfd" + HARM, b"ZF0x1a" + HARM):
        assert scan(name, data).pickles is Verdict.UNSCANNED
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 2**27}]
    assert scan(name, lzma.compress(HARM, filters=filters)).pickles is Verdict.UNSCANNED
    # Its checksum is wrong, which Python's gzip only says when the pickle has run.
    assert scan(name, gzip.compress(HARM)[:-8] + bytes(8)).pickles is Verdict.UNSCANNED
    assert scan(name, zlib.compress(HARM)).pickles is Verdict.DANGEROUS


def bare(data: bytes, **more: int) -> bytes:
    """LZMA without a magic number."""
    filters = [{"id": lzma.FILTER_LZMA1, "preset": 6} | more]
    return lzma.compress(data, format=lzma.FORMAT_ALONE, filters=filters)


NOTHING = bytes(18)


@pytest.mark.parametrize("name", ["model.pkl.xz", "model.pkl", "weights", "model.bin"])
@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        *((bare(HARM, lc=lc, lp=lp, pb=pb), Verdict.DANGEROUS) for lc, lp, pb in [(2, 0, 2), (0, 4, 4), (4, 0, 0)]),
        (bare(HARM, lc=2, dict_size=3 * 2**12), Verdict.DANGEROUS),
        (bare(HARM, lc=2, dict_size=2**27), Verdict.UNSCANNED),
        (bare(HARM, lc=2)[:-1], Verdict.DANGEROUS),
        (NOTHING + bare(HARM), Verdict.DANGEROUS),
        (b"\x01" + NOTHING[1:] + bare(HARM, dict_size=2**27), Verdict.UNSCANNED),
        (NOTHING * 5_000 + lzma.compress(HARM), Verdict.DANGEROUS),
        (NOTHING * 500_000 + bare(HARM), Verdict.UNSCANNED),
        ((b"\x01" + NOTHING[1:]) * 50_000 + bare(HARM), Verdict.UNSCANNED),
        (NOTHING * 40 + b"\x01" + NOTHING * 40 + bytes(17) + bare(HARM), Verdict.DANGEROUS),
        (b"LZIP\x01\x10" + bare(HARM)[13:], Verdict.DANGEROUS),
    ],
)
def test_lzma_is_known_by_what_comes_out_of_it(name: str, data: bytes, verdict: Verdict) -> None:
    assert scan(name, data).pickles is verdict


@pytest.mark.parametrize("seed", range(40))
def test_numbers_are_not_taken_for_lzma(seed: int) -> None:
    chance = random.Random(seed)
    zeros = bytes(8 * chance.randrange(2_000))
    for data in (
        struct.pack("<2000q", *chance.choices(range(10), k=2_000)),
        struct.pack("<2000f", *(chance.gauss(0, 0.1) for _ in range(2_000))),
        chance.randbytes(8_000),
    ):
        assert scan("weights.bin", zeros + data).pickles is Verdict.NONE
        assert scan("weights.bin", b"\x01" + zeros + bytes(7) + data).pickles is Verdict.NONE
        assert scan("model.zip", zipped(zeros + data, name="data/0")).pickles is Verdict.NONE
    assert scan("weights.bin", zeros).pickles is Verdict.NONE


@pytest.mark.parametrize("first", [b"\x50", b"\x5f"])
def test_a_frame_that_readers_of_zstandard_pass_over_hides_nothing(first: bytes) -> None:
    data = first + b"\x2a\x4d\x18" + struct.pack("<I", 1) + b"\0\x28\xb5\x2f\xfd"
    assert scan("model.bin", data).pickles is Verdict.UNSCANNED


@pytest.mark.parametrize(
    "data",
    [b"I0x10\n0" + HARM, b"I1\0junk\n0" + HARM, b"I1\nq\x01Ig\n0" + HARM, b"(S'true'\nios\nsystem!"],
    ids=["hexadecimal", "zero byte", "letters", "no end of line"],
)
def test_what_one_unpickler_reads_is_read_though_another_stops(data: bytes) -> None:
    found = scan("weights.bin", data)
    assert (found.pickles is not Verdict.NONE) == runs(data)


@pytest.mark.parametrize(
    "data",
    [
        b"channels:\n- conda-forge\n",
        b"certifi\ncharset-normalizer\nnumpy",
        b"cat\ndog\nbird\n",
        b"iris\nsetosa\n",
        b"# Card\n",
        b"Copyright (c) 2020\n",
        b"class A:\n    pass\n",
        b"import os\nos.system('')\n",
        b"GIF89a\x01\x02\0\0",
        b"PAR1\x15\x04.N.",
    ],
)
@pytest.mark.parametrize("name", ["notes.txt", "weights.bin"])
def test_what_no_unpickler_gets_anywhere_with_has_no_pickles(name: str, data: bytes) -> None:
    assert scan(name, data).pickles is Verdict.NONE


# ── joblib's arrays ───────────────────────────────────────────────────────────────────────────────


def test_an_array_is_passed_over_where_joblib_wrote_it() -> None:
    assert scan("model.joblib", WRAPPED).pickles is Verdict.SAFE


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04" + wrapper(NAMESPACE, len(HARM)) + HARM + b".",
        b"\x80\x04" + b"N\x850" * 500_001 + wrapper(U1, 1) + b".0" + HARM,
        # Twice the same key, of which the second is no text to the eye.
        b"\x80\x04"
        + wrapper(U1, 9, imported("builtins", "str") + text("dtype") + b"\x85R" + text("x"))
        + b"B\xff\0\0\0abc."
        + HARM,
        # A function gives back what it was given, so that nobody sees that it is a wrapper.
        b"\x80\x04"
        + SCALAR
        + imported("numpy", "dtype")
        + text("O8")
        + b"\x85R"
        + wrapper(U1, 5)[:-1].replace(b"}(", b"\x86R}(", 1)
        + b"bB\x40\0\0\0"
        + HARM.ljust(64, b"N")
        + b".",
        # An instance becomes a wrapper by its class.
        b"\x80\x04"
        + imported("sklearn.svm._classes", "SVC")
        + b")\x81N}"
        + text("__class__")
        + imported("joblib.numpy_pickle", "NumpyArrayWrapper")
        + b"s\x86b.",
        # What is read ahead in a frame is not read from where the array is.
        b"\x80\x04\x95" + struct.pack("<Q", len(wrapper(U1, 3)) + 3) + wrapper(U1, 3) + b"abc.",
        # A type whose flags say that there are no objects in it.
        b"\x80\x04" + wrapper(FLAGS, 1) + b"12345678.",
    ],
    ids=["dtype", "too many parts", "computed key", "identity", "class", "frame", "flags"],
)  # fmt: skip
def test_an_array_that_is_not_as_joblib_writes_it_is_unscanned(data: bytes) -> None:
    assert scan("model.joblib", data).pickles in {Verdict.UNSCANNED, Verdict.DANGEROUS}


def test_in_objects_that_joblib_leaves_to_pickle_arrays_are_not_passed_over() -> None:
    objects = imported("numpy", "dtype") + text("O8") + b"\x85R"
    inner = b"\x80\x04" + wrapper(U1, len(HARM)) + HARM
    found = scan("model.joblib", b"\x80\x04" + wrapper(objects, 1) + inner + b".")
    assert found.pickles is Verdict.DANGEROUS


# ── What is safe ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("sklearn.callback._transport", "Client"),
        ("sklearn.linear_model._logistic", "Parallel"),
        ("sklearn.pipeline", "Bunch"),
        ("xgboost.core", "Booster"),
        ("argparse", "Namespace"),
        ("__torch__", "Model"),
    ],
)
def test_a_name_is_safe_only_if_it_is_listed(module: str, name: str) -> None:
    assert scan("model.pkl", b"\x80\x04" + imported(module, name) + b")\x81.").pickles is Verdict.SUSPICIOUS


@pytest.mark.parametrize(
    "data",
    [
        imported("sklearn.svm._classes", "SVC") + b"}" + text("fit") + b"Nsb.",
        imported("sklearn.svm._classes", "SVC") + b")\x81)R.",
        imported("collections", "OrderedDict") + b")R" + b"(e)R.",
    ],
    ids=["a class is changed", "an instance is called", "a result is called"],
)
def test_what_no_pickler_writes_is_unscanned(data: bytes) -> None:
    assert scan("model.pkl", b"\x80\x04" + data).pickles is Verdict.UNSCANNED


def instance(module: str, name: str, **state: bytes) -> bytes:
    """The opcodes that make an instance with attributes."""
    items = b"".join(text(key) + value for key, value in state.items())
    return imported(module, name) + b")\x81}(" + items + b"ub"


PIPELINE = instance("sklearn.pipeline", "Pipeline", steps=b"]", memory=b"N")
SCORER = instance("sklearn.metrics._scorer", "_PassthroughScorer", _estimator=b"N")
HOOKED = instance("sklearn.linear_model._base", "LinearRegression", coef_=SCORER)
OBJECT = imported("builtins", "object")
TREE = ("sklearn.ensemble._hist_gradient_boosting.predictor", "TreePredictor")


@pytest.mark.parametrize(
    "data",
    [
        imported("copyreg", "_reconstructor") + PIPELINE + HOOKED + text("/path") + b"\x87R",
        imported("copyreg", "_reconstructor") + PIPELINE + OBJECT + b"N\x87R",
        imported("copyreg", "_reconstructor") + imported("sklearn.svm._classes", "SVC") * 2 + b"N\x87R",
        imported("copyreg", "_reconstructor") + imported("sklearn.utils", "Bunch") + imported("builtins", "dict")
        + HOOKED + b"\x87R",
        imported("numpy._core.multiarray", "_reconstruct") + PIPELINE + b"K\0\x85C\x01b\x87R",
        imported("numpy.ma.core", "_mareconstruct") + b"(" + imported("numpy", "ndarray") + PIPELINE
        + b"K\0\x85C\x01btR",
        imported("sklearn.neighbors._kd_tree", "newObj") + PIPELINE + b"\x85R",
        imported("numpy.random._pickle", "__generator_ctor") + PIPELINE + SCORER + b"\x86R",
        imported("collections", "defaultdict") + SCORER + b"\x85R",
        imported("collections", "OrderedDict") + HOOKED + b"\x85R",
        imported("builtins", "list") + PIPELINE + b"\x85R",
        imported("builtins", "str") + PIPELINE + b"\x85R",
        imported("numpy", "mean") + PIPELINE + b"\x85R",
        imported("sklearn.metrics._regression", "r2_score") + b"]]\x86R",
        imported("sklearn.pipeline", "Pipeline") + b"]\x85R",
        imported("sklearn.svm._classes", "SVC") + b")}" + text("a") + b"Ns\x92",
    ],
    ids=[
        "class and base", "class", "base", "items", "array's class", "array's base", "new", "generator", "factory",
        "mapping", "iterated", "text", "numpy's function", "metric", "constructor", "arguments by name",
    ],
)  # fmt: skip
def test_what_calls_its_arguments_is_safe_only_with_classes_that_are_imported_and_with_data(data: bytes) -> None:
    assert scan("model.pkl", b"\x80\x04" + data + b".").pickles is Verdict.UNSCANNED


@pytest.mark.parametrize(
    "data",
    [
        instance("sklearn.svm._classes", "SVC", __new__=SCORER),
        instance("sklearn.svm._classes", "SVC", __setstate__=SCORER),
        instance("sklearn.svm._classes", "SVC", append=SCORER),
        instance("sklearn.svm._classes", "SVC", get_params=SCORER),
        instance("sklearn.svm._classes", "SVC", _sklearn_version=PIPELINE),
        instance("sklearn.isotonic", "IsotonicRegression", X_thresholds_=PIPELINE, y_thresholds_=text("/path")),
        instance("sklearn.isotonic", "IsotonicRegression", _build_f=SCORER),
        instance(*TREE, nodes=HOOKED),
        instance("collections", "OrderedDict", keys=SCORER),
        imported("sklearn.svm._classes", "SVC") + b")\x81" + PIPELINE + b"b",
        imported("sklearn.svm._classes", "SVC") + b")\x81N}" + text("coef_") + b"Ns\x86b",
        imported("sklearn.svm._classes", "SVC") + b")\x81}N" + text("x") + b"sb",
        imported("sklearn.frozen._frozen", "FrozenEstimator") + b")\x81" + text("/path") + b"a",
        imported("sklearn.frozen._frozen", "FrozenEstimator") + b")\x81(" + text("/path") + b"e",
        imported("sklearn.frozen._frozen", "FrozenEstimator") + b")\x81(" + text("/path") + b"\x90",
        imported("sklearn.pipeline", "Pipeline") + b")\x81" + text("a") + b"Ns",
        imported("torch.jit._pickle", "restore_type_tag") + HOOKED + b"N\x86R" + text("/path") + b"a",
    ],
    ids=[
        "new", "state", "append", "method", "version", "thresholds", "builder", "nodes", "keys", "made state",
        "slots", "no text", "append", "extend", "add", "item", "given back",
    ],
)  # fmt: skip
def test_an_instance_is_safe_only_with_plain_attributes_that_are_no_methods(data: bytes) -> None:
    assert scan("model.pkl", b"\x80\x04" + data + b".").pickles is Verdict.UNSCANNED


def integer(value: int) -> bytes:
    """The opcode that puts an integer on the stack."""
    return b"J" + struct.pack("<i", value)


def typed(  # noqa: PLR0917 - as NumPy writes it
    code: str, size: int, alignment: int, flags: int, names: bytes = b"N", fields: bytes = b"N", version: int = 3
) -> bytes:
    """The opcodes of a type of NumPy's with a state."""
    parts = integer(version) + text("|") + b"N" + names + fields + integer(size) + integer(alignment) + integer(flags)
    return imported("numpy", "dtype") + text(code) + b"\x89\x88\x87R(" + parts + b"tb"


def items(dtype: bytes, data: bytes) -> bytes:
    """The opcodes of an array with one item, from bytes or from a list."""
    made = imported("numpy._core.multiarray", "_reconstruct") + imported("numpy", "ndarray") + b"K\0\x85C\x01b\x87R"
    return made + b"(K\x01K\x01\x85" + dtype + b"\x89" + data + b"tb"


def told(given: bytes) -> bytes:
    """The opcodes that make a text of something."""
    return imported("builtins", "str") + given + b"\x85R"


ADDRESS = b"C\x08AAAAAAAA"
F8, O8 = typed("f8", -1, -1, 0), typed("O8", -1, -1, 63)
ESTIMATOR = instance("sklearn.linear_model._base", "LinearRegression")
A, B = text("a"), text("b")


@pytest.mark.parametrize(
    "data",
    [
        items(typed("f8", -1, -1, 0), ADDRESS),
        items(typed("U2", 8, 4, 8), ADDRESS),
        items(typed("V8", 8, 1, 16, A + b"\x85", b"}" + A + F8 + b"K\0\x86s"), ADDRESS),
        items(O8, b"]" + ESTIMATOR + b"a"),
        told(items(F8, ADDRESS)),
        told(imported("collections", "deque") + b")R" + A + b"a"),
    ],
    ids=["number", "text", "fields", "objects", "text of numbers", "text of a list"],
)
def test_arrays_as_numpy_writes_them_are_safe(data: bytes) -> None:
    assert scan("model.pkl", b"\x80\x04" + data + b".").pickles is Verdict.SAFE


@pytest.mark.parametrize(
    "data",
    [
        items(typed("O8", -1, -1, 1), ADDRESS),
        items(typed("U2", 8, 4, 10), b"]" + ESTIMATOR + b"a"),
        items(typed("U2", 8, 4, 8), b"]" + ESTIMATOR + b"a"),
        items(typed("V8", 8, 1, 27, A + b"\x85", b"}" + A + O8 + b"K\x08\x86s"), b"]N\x85a"),
        items(typed("V8", 8, 1, 27, A + B + b"\x86", b"}" + A + O8 + b"K\0\x86s" + B + F8 + b"K\0\x86s"), b"]NN\x86a"),
        b"}\x94" + A + F8 + b"K\0\x86s0" + typed("V8", 8, 1, 16, A + b"\x85", b"h\0") + b"h\0" + A + O8 + b"K\0\x86s0",
        items(typed("f8", -1, 8, 0), ADDRESS),
        items(typed("f8", -1, -1, 0, version=1), ADDRESS),
        imported("numpy", "dtype") + text("f8") + b"\x89\x88\x87RNb",
    ],
    ids=[
        "addresses",
        "texts of objects",
        "a list of what is no object",
        "an object beyond the end",
        "an object over a number",
        "fields that change later",
        "alignment",
        "version",
        "nothing",
    ],
)
def test_a_type_that_says_of_itself_what_numpy_does_not_is_unscanned(data: bytes) -> None:
    assert scan("model.pkl", b"\x80\x04" + data + b".").pickles is Verdict.UNSCANNED


@pytest.mark.parametrize(
    "data",
    [
        told(items(O8, b"]" + ESTIMATOR + b"a")),
        told(imported("collections", "deque") + b")R" + ESTIMATOR + b"a"),
        told(imported("collections", "OrderedDict") + b")R" + A + ESTIMATOR + b"s"),
        b"]\x940" + imported("collections", "deque") + b")Rh\0a\x940h\0" + ESTIMATOR + b"a0" + told(b"h\x01"),
        b"]\x940" + imported("builtins", "slice") + b"h\0\x85R\x940h\0" + ESTIMATOR + b"a0" + told(b"h\x01"),
    ],
    ids=["array", "deque", "dictionary", "list in a deque", "list in a slice"],
)
def test_no_text_is_made_of_what_holds_an_instance(data: bytes) -> None:
    assert scan("model.pkl", b"\x80\x04" + data + b".").pickles is Verdict.UNSCANNED


def test_attributes_that_are_too_many_to_remember_do_not_hide_a_method() -> None:
    many = b"](" + b"N" * 150_000 + b"e0](" + b"N" * 60_000 + b"e0"
    harmless = instance("sklearn.svm._classes", "SVC", coef_=b"N", gamma=text("scale"))
    assert scan("model.pkl", b"\x80\x04" + many + harmless + b".").pickles is Verdict.SAFE
    hidden = instance("sklearn.svm._classes", "SVC", coef_=b"N", __setstate__=SCORER)
    assert scan("model.pkl", b"\x80\x04" + many + hidden + b".").pickles is Verdict.UNSCANNED


@pytest.mark.parametrize(
    ("kind", "size"), [(b"torch\nFloatStorage", 4), (b"torch.storage\nUntypedStorage", 1)], ids=["float32", "untyped"]
)
def test_tensors_are_passed_over_where_pytorch_put_them_before_its_archives(kind: bytes, size: int) -> None:
    # Types that have no storage of their own, such as float8, are kept as bytes.
    tensor = b"\x80\x02(X\x07\0\0\0storagec" + kind + b"\nX\1\0\0\0kX\3\0\0\0cpuK\x08NtQ."
    written = LEGACY + b"\x80\x02M\xe9\x03." + b"\x80\x02}." + tensor + b"\x80\x02]X\1\0\0\0ka."
    written += struct.pack("<Q", 8) + bytes(8 * size)
    assert scan("model.pt", written).pickles is Verdict.SAFE
    assert scan("model.pt", written + b"\0").pickles is Verdict.UNSCANNED
    assert scan("model.pt", written[:-1]).pickles is Verdict.UNSCANNED


@pytest.mark.parametrize("protocol", range(6))
def test_what_python_itself_makes_of_collections_and_constants_is_safe(protocol: int) -> None:
    value = [OrderedDict(a=[1]), defaultdict(list, {"a": [1]}), deque([1, 2], 3), Counter("ab"), {1, 2}, slice(1, 2)]
    for each in (value, {"a": ...}, [NotImplemented]):
        assert scan("model.pkl", pickle.dumps(each, protocol)).pickles is Verdict.SAFE


@pytest.mark.parametrize("name", ["Ellipsis", "NotImplemented"])
def test_a_constant_is_safe_only_as_it_is(name: str) -> None:
    for made in (b")R", b")\x81", b"}" + text("a") + b"Nsb", b"Na"):
        assert scan("model.pkl", b"\x80\x04" + imported("builtins", name) + made + b".").pickles is Verdict.UNSCANNED


def test_a_name_that_a_name_gave_is_dangerous() -> None:
    data = b"\x80\x04" + imported("string", "digits") + text("system") + b"\x93."
    assert scan("model.pkl", data).pickles is Verdict.DANGEROUS


# ── Mutations ─────────────────────────────────────────────────────────────────────────────────────


class Inert:
    """What a recording unpickler gives for whatever is imported: it takes everything and does nothing."""

    made = 0

    def __new__(cls, *_: Any, **__: Any) -> Self:
        Inert.made += 1
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any) -> Inert:
        return Inert()

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, *_: Any) -> None:
        """Nothing."""

    extend = add = append


class InC(pickle.Unpickler):
    """The standard library's unpickler, which notes what it would import and imports nothing."""

    seen: list[tuple[str, str]]

    def find_class(self, module: str, name: str) -> Any:
        self.seen.append((module, name))
        return Inert

    def persistent_load(self, pid: Any) -> Any:
        """PyTorch's way."""
        assert isinstance(pid, tuple)
        return object.__new__(Inert)


class InPython(pickle._Unpickler):
    """The same one, written in Python, on which joblib's stands."""

    seen: list[tuple[str, str]]
    find_class = InC.find_class
    persistent_load = InC.persistent_load


@contextmanager
def bounded() -> Iterator[None]:
    """No more memory than this: Python makes room for as many things as a pickle says that it will number."""
    statm, before = Path("/proc/self/statm"), resource.getrlimit(resource.RLIMIT_AS)
    if not statm.exists():  # as on macOS, which heeds no such limit either
        yield
        return
    used = int(statm.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def loaded(data: bytes) -> tuple[set[str], bool]:
    """What is imported when all pickles of a file are loaded, and whether anything is called then."""
    seen: list[tuple[str, str]] = []
    Inert.made = 0
    for kind in (InC, InPython):
        file = io.BytesIO(data)
        for _ in range(5):
            unpickler = kind(file)
            unpickler.seen = seen
            try:
                with bounded():
                    unpickler.load()
            except Exception:  # noqa: BLE001 - whatever a broken pickle makes of it
                break
    return {finding.text(f"{module}.{name}") for module, name in seen}, Inert.made > 0


def runs(data: bytes) -> bool:
    """Whether loading a file calls what it imports."""
    return loaded(data)[1]


PARTS = [
    *(HARM, HARM[:-1], b".", b"\x80\x04", b"N0", b"(S'a'\nios\nsystem\n", text("os"), text("system"), b"\x93", b"\x94"),
    *(
        b"R",
        b"b",
        b"\x81",
        b"h\x00",
        b"h\x01",
        b"q\x00",
        b"(",
        b"t",
        b"1",
        b"2",
        b"]",
        b"}",
        b")",
        b"\x85",
        b"\x86",
        b"o",
    ),
    *(
        b"e",
        b"u",
        b"s",
        b"a",
        b"K\x01",
        b"I1\n",
        b"I0x1\n",
        b"p1\n",
        b"g1\n",
        b"\x95\x08\0\0\0\0\0\0\0",
        b"B\x04\0\0\0",
    ),
    *(
        b"C\x03",
        b"Vo\\u0073\n",
        b"L1L\n",
        b"S'o\\x73'\n",
        b"cos\nsystem",
        b"\x82\x01",
        b"\x8f",
        b"\x90",
        b"\x91",
        b"\x92",
    ),
    *(b"\x98", b"Q", b"P1\n", b"\x8a\x01\x02", b"j\0\0\0\0"),
]


def mutations() -> Iterator[bytes]:
    """Real pickles with bytes changed, cut out, put in and joined; and pickles of nothing but parts."""
    chance = random.Random(1729)
    real = [data for name, data in REAL.items() if name.endswith((".pkl", ".joblib")) and name.count(".") < 3]
    real += [pickle.dumps({"a": [1, 2.5, "b"]}, protocol) for protocol in range(6)]
    for number in range(MUTATIONS):
        if number % 4 == 0:
            yield b"".join(chance.choices(PARTS, k=chance.randint(1, 30)))
            continue
        data = bytearray(chance.choice(real))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data) + 1)
            match chance.randrange(4):
                case 0 if at < len(data):
                    data[at] = chance.randrange(256)
                case 1:
                    data[at:at] = chance.choice(PARTS)
                case 2:
                    del data[at : at + chance.randint(1, 20)]
                case _:
                    data[at:] = chance.choice(PARTS) + chance.choice(real)[chance.randrange(200) :]
        yield bytes(data)


def framed(data: bytes, size: int) -> bytes:
    """A pickle that says of its frame that it has so many bytes."""
    return b"\x80\x04\x95" + struct.pack("<Q", size) + data


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(framed(b"ccollections.os\nsystem\n(S'true'\ntR.", len("ccollections.")), id="a line"),
        pytest.param(framed(b"C\x06\x00" + HARM, 3), id="a number of bytes"),
        pytest.param(framed(b"N." + b"B" + struct.pack("<I", len(HARM)) + HARM + b".", 7), id="what follows the end"),
        pytest.param(framed(b"\x95" + struct.pack("<Q", 11) + b"NB" + struct.pack("<I", 5) + HARM, 10), id="a frame"),
    ],
)
def test_what_goes_over_the_end_of_a_frame_is_unscanned_for_readers_take_it_otherwise(data: bytes) -> None:
    assert scan("model.pkl", data).pickles in {Verdict.UNSCANNED, Verdict.DANGEROUS}


def test_a_line_that_goes_over_the_end_of_its_frame_is_read_by_python_without_its_beginning() -> None:
    data = framed(b"ccollections.os\nsystem\n(S'true'\ntR.", len("ccollections."))
    assert "os.system" in loaded(data)[0]
    assert "os.system" not in {each.name for each in scan("model.pkl", data).imports}


@pytest.mark.timeout(1_800)
def test_nothing_is_imported_that_was_not_told() -> None:
    for data in mutations():
        imports, called = loaded(data)
        source = Memory({"model.pkl": data})
        found = detect(source)
        assert source.reads_left >= 0
        told = {each.name for each in found.imports}
        if found.notes:
            assert found.pickles in {Verdict.UNSCANNED, Verdict.DANGEROUS}, data
        else:
            assert imports <= told, data
        hidden = scan("weights.bin", data)
        if called and hidden.pickles is not Verdict.UNSCANNED:
            assert hidden.pickles is not Verdict.NONE, data
