import contextlib
import struct
import sys

import numpy as np
import pytest
from tests.models.nninteractive import stand_in

from samaritan.core.errors import CorruptFileError, ImageError, MissingExtraError, ResourceError
from samaritan.models.nninteractive import wire

PLENTY = 1 << 20
# What nninteractive-client 2.6.0 packs: int16, all zero, and LZ4.
REAL = {
    "4e4e494101010305696e7431360200000000000000030000000000000004000000000000000100000030000000000000005000000000000000"
    "050197023000000030000000500000000000000000000500000000000000000044fda8fd0cfe70fed4fe38ff9cff00006400c8002c019001f4"
    "015802bc0220038403e8034c04b00414057805dc054006": (np.arange(24) * 100 - 700).astype("i2").reshape(2, 3, 4),
    "4e4e49410101020575696e743803000000000000000400000000000000010000000c000000000000002c00000000000000050107010c000000"
    "0c0000002c00000000000000000005000000000000000000000000000000000000000000": np.zeros((3, 4), "u1"),
    "4e4e494101020207666c6f617433320300000000000000140000000000000001000000f0000000000000003f0000000000000005013504f000"
    "0000f00000003f0000000000000000000100000000000000000024000000170000001f0001003e2f803f04003b2f0040040034"
    "504000000040": (np.arange(60) // 20).astype("f4").reshape(3, 20),
}
MASK = (np.indices((7, 9, 5)).sum(0) % 3 == 0).astype(np.uint8)
BODY = wire.encode(MASK)
SHAPE_AT = 8 + len("uint8")  # in BODY; then three sizes, the number of chunks, the lengths of the one, and it
CHUNK_AT = SHAPE_AT + 24 + 4 + 16


def changed(at, replacement, body=BODY):
    return body[:at] + replacement + body[at + len(replacement) :]


@pytest.mark.parametrize("body", REAL, ids=["int16", "zeros", "LZ4"])
def test_what_the_real_client_packs_is_read(body):
    found = wire.decode(bytes.fromhex(body), max_bytes=PLENTY)
    assert found.dtype == REAL[body].dtype
    np.testing.assert_array_equal(found, REAL[body])


@pytest.mark.parametrize(
    "dtype",
    ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"],
)
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5, 4), (1, 2, 3, 4), (0, 3)])
def test_arrays_survive_the_trip(dtype, shape):
    array = np.asarray(np.random.default_rng(0).integers(0, 100, shape)).astype(dtype)
    body = wire.encode(array)
    found = wire.decode(body, max_bytes=array.nbytes)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)
    assert len(body) <= wire.largest_body(array.nbytes)
    if array.nbytes:
        np.testing.assert_array_equal(stand_in.unpack(body), array)
        np.testing.assert_array_equal(wire.decode(stand_in.pack(array), max_bytes=array.nbytes), array)


def test_memory_and_byte_order_do_not_matter():
    array = np.arange(60, dtype=">i4").reshape(3, 4, 5)
    for other in (array, np.asfortranarray(array), array.transpose(2, 0, 1)[::-1]):
        found = wire.decode(wire.encode(other), max_bytes=other.nbytes)
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, other)


@pytest.mark.parametrize("length", [1, 63, 64, 65, 1000])
def test_large_arrays_go_in_chunks(monkeypatch, length):
    array = np.random.default_rng(0).integers(0, 255, length).astype(np.uint8)
    monkeypatch.setattr(wire, "CHUNK_BYTES", 64)
    body = wire.encode(array)
    assert struct.unpack_from("<I", body, 8 + len("uint8") + 8) == (-(-length // 64),)
    assert len(body) <= wire.largest_body(length)
    np.testing.assert_array_equal(wire.decode(body, max_bytes=length), array)
    np.testing.assert_array_equal(stand_in.unpack(body), array)


def test_noise_is_within_the_largest_size():
    array = np.random.default_rng(0).integers(0, 255, 100_000).astype(np.uint8)
    assert array.nbytes < len(wire.encode(array)) <= wire.largest_body(array.nbytes)


@pytest.mark.parametrize("array", [np.array([object()]), np.array(["text"]), np.array([1j]), np.zeros(2, "M8[s]")])
def test_other_types_are_not_sent(array):
    with pytest.raises(ImageError, match="to send"):
        wire.encode(array)


@pytest.mark.parametrize("length", range(len(BODY)))
def test_a_body_that_stops_early_is_refused(length):
    with pytest.raises(CorruptFileError):
        wire.decode(BODY[:length], max_bytes=PLENTY)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x80\x04\x95" + BODY,
        b"\x93NUMPY" + BODY,
        b"<html>Bad gateway</html>" * 10,
        changed(0, b"X"),
        changed(4, b"\x02"),
        changed(5, b"\x03"),
        changed(6, b"\x09"),
        changed(6, b"\xff"),
        changed(8, b"objec"),
        changed(8, b"\xff\xfe\x00\x01\x02"),
        changed(SHAPE_AT, struct.pack("<q", -7)),
        changed(SHAPE_AT, struct.pack("<qq", -7, -9)),
        changed(SHAPE_AT, struct.pack("<q", 6)),
        changed(SHAPE_AT, struct.pack("<q", 8)),
        changed(SHAPE_AT, struct.pack("<q", 0)),
        changed(SHAPE_AT + 24, struct.pack("<I", 0)),
        changed(SHAPE_AT + 24, struct.pack("<I", 2)),
        changed(SHAPE_AT + 24, struct.pack("<I", 2**32 - 1)),
        changed(SHAPE_AT + 28, struct.pack("<Q", 0)),
        changed(SHAPE_AT + 28, struct.pack("<Q", 2**63)),
        changed(SHAPE_AT + 36, struct.pack("<Q", 2**64 - 1)),
        changed(SHAPE_AT + 36, struct.pack("<Q", 31)),
        BODY + b"\0",
        BODY + BODY[CHUNK_AT - 16 :],
    ],
)
def test_a_body_that_is_not_in_the_format_is_refused(body):
    with pytest.raises(CorruptFileError, match="what the server sent"):
        wire.decode(body, max_bytes=PLENTY)


@pytest.mark.parametrize(
    ("at", "replacement"),
    [
        (2, b"\x00"),  # not the header of blosc2, but of its predecessor
        (2, bytes([0b11000101])),  # a codec of the user's own: a plug-in would be looked for
        (2, bytes([0b00000101])),  # BloscLZ
        (3, b"\x00"),  # items of no size
        (4, struct.pack("<I", 10 * MASK.nbytes)),  # larger than what was made room for
        (4, struct.pack("<I", 2**31)),
        (8, struct.pack("<I", 0)),
        (8, struct.pack("<I", 2**31 - 1)),
        (12, struct.pack("<I", 10**6)),
        (16, b"\x03"),  # differences to a block that need not be there
        (18, b"\xa0"),  # a filter of the user's own
        (31, b"\x01"),  # with a dictionary
        (31, b"\x08"),  # data in a file
        (31, b"\x40"),  # memory as it is
    ],
)
def test_a_chunk_that_asks_for_more_than_unpacking_is_refused(at, replacement):
    with pytest.raises(CorruptFileError, match="not of this format"):
        wire.decode(changed(CHUNK_AT + at, replacement), max_bytes=PLENTY)


def test_a_chunk_of_nonsense_is_refused():
    noise = np.random.default_rng(0).bytes(len(BODY) - CHUNK_AT - 32)
    with pytest.raises(CorruptFileError, match="cannot be unpacked"):
        wire.decode(changed(CHUNK_AT + 32, noise), max_bytes=PLENTY)


@pytest.mark.parametrize("shape", [(2**40, 1, 1), (2**62, 4, 1), (2**62, 2**62, 2**62), (PLENTY + 1, 1, 1)])
def test_a_huge_array_is_refused_before_it_is_allocated(shape):
    with pytest.raises(ResourceError, match="at most 1048576"):
        wire.decode(changed(SHAPE_AT, struct.pack("<qqq", *shape)), max_bytes=PLENTY)


def test_a_bomb_is_refused_by_its_announcement():
    with pytest.raises(ResourceError):
        wire.decode(wire.encode(np.zeros(PLENTY + 1, np.uint8)), max_bytes=PLENTY)


def test_booleans_are_0_or_1_whatever_the_bytes():
    body = wire.encode(np.array([0, 1, 255], np.uint8)).replace(b"\x05uint8", b"\x04bool")
    np.testing.assert_array_equal(wire.decode(body, max_bytes=9).view(np.uint8), [0, 1, 1])


def test_random_damage_is_noticed_or_does_no_harm():
    rng = np.random.default_rng(0)
    bodies = [BODY, *map(bytes.fromhex, REAL)]
    for turn in range(2000):
        body = bytearray(bodies[turn % len(bodies)])
        for at in rng.integers(0, len(body), 2):
            body[at] ^= 1 << rng.integers(8)
        with contextlib.suppress(CorruptFileError, ResourceError):
            assert wire.decode(bytes(body), max_bytes=4096).nbytes <= 4096


def test_without_blosc2_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "blosc2", None)
    for call in (lambda: wire.encode(MASK), lambda: wire.decode(BODY, max_bytes=PLENTY)):
        with pytest.raises(MissingExtraError, match=r"pip install 'samaritan\[nninteractive\]'"):
            call()
