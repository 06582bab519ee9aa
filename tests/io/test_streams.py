import gzip

import numpy as np
import pytest

from samaritan.core.errors import CorruptFileError, ResourceError
from samaritan.io import streams

DATA = np.random.default_rng(0).integers(0, 256, 5000).astype(np.uint8).tobytes()


@pytest.fixture(params=[True, False], ids=["isal", "gzip"])
def library(request, monkeypatch):
    """Both ways to gzip: the fast library is optional."""
    if request.param:
        pytest.importorskip("isal")
    else:
        monkeypatch.setattr(streams, "find_spec", lambda name: None)


def test_gzip_both_ways(tmp_path, library):
    path = tmp_path / "a.gz"
    with streams.create_content(path) as content:
        content.write(DATA)
    assert gzip.decompress(path.read_bytes()) == DATA
    with streams.open_content(path) as content:
        assert content.read() == DATA
    assert DATA.startswith(streams.head(path, 400))
    assert len(streams.head(path, 400)) > 300


@pytest.mark.parametrize("damage", ["cut", "flipped", "checksum"])
def test_damage_is_named_by_both_libraries(tmp_path, library, damage):
    whole = bytearray(gzip.compress(DATA))
    if damage == "cut":
        whole = whole[:3000]
    else:
        whole[2500 if damage == "flipped" else -6] ^= 0xFF
    (tmp_path / "a.gz").write_bytes(whole)
    with streams.open_content(tmp_path / "a.gz") as content, pytest.raises((CorruptFileError, EOFError, OSError)):
        streams.read_array(content, (5000,), np.uint8, tmp_path / "a.gz")
    head = streams.head(tmp_path / "a.gz", 400)
    assert DATA.startswith(head)
    assert len(head) > 300


def test_no_file_holds_more_than_it_can(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(bytes(1 << 20), compresslevel=9))
    streams.require_room(path, needed=1 << 20)
    with pytest.raises(CorruptFileError, match="claims 2 MiB"):
        streams.require_room(path, needed=2 << 20)
    with pytest.raises(CorruptFileError):
        streams.require_room(path, needed=10, held=9)
    with pytest.raises(ResourceError, match="100 TiB"):
        streams.require_room(path, needed=100 << 40, held=100 << 40)


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "u1", ">f8"])
def test_arrays_come_back_native_and_in_fortran_order(tmp_path, dtype):
    array = np.arange(24).astype(dtype).reshape(4, 3, 2)
    (tmp_path / "a").write_bytes(array.tobytes(order="F") + b"more")
    with streams.open_content(tmp_path / "a") as content:
        back = streams.read_array(content, (4, 3, 2), dtype, tmp_path / "a")
    np.testing.assert_array_equal(back, array)
    assert back.dtype.isnative
    assert back.flags.f_contiguous
