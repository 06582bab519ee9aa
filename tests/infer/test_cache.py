"""The disk cache of embeddings: two processes, damage, eviction, odd folders."""

import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.infer import cache as cache_module
from samaritan.infer.cache import CachedParts, EmbeddingCache, content_key, default_root, part_key
from samaritan.testing import FakeModel
from samaritan.testing.phantoms import picture

KEY, OTHER = "ab" * 32, "cd" * 32
ARRAYS = {"features": np.arange(12, dtype=np.float16).reshape(3, 4), "size": np.array([512, 512])}


def only_file(root):
    [path] = root.glob("??/*.safetensors")
    return path


def test_what_was_put_is_got(tmp_path):
    EmbeddingCache(tmp_path).put(KEY, ARRAYS)
    got = EmbeddingCache(tmp_path).get(KEY)
    assert sorted(got) == ["features", "size"]
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(got[name], array)
        assert got[name].dtype == array.dtype
    assert EmbeddingCache(tmp_path).get(OTHER) is None


def test_arrays_need_not_be_contiguous(tmp_path):
    EmbeddingCache(tmp_path).put(KEY, {"t": ARRAYS["features"].T})
    np.testing.assert_array_equal(EmbeddingCache(tmp_path).get(KEY)["t"], ARRAYS["features"].T)


def test_info_and_clear_touch_only_entries(tmp_path):
    cache = EmbeddingCache(tmp_path)
    assert (cache.info().entries, cache.info().nbytes) == (0, 0)
    cache.put(KEY, ARRAYS)
    cache.put(OTHER, ARRAYS)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "ab" / "mine.safetensors").write_text("mine")
    (tmp_path / "ab" / ".partial-killed").write_text("half")
    assert cache.info().entries == 2
    assert cache.clear().entries == 2
    assert cache.info().entries == 0
    left = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["mine.safetensors", "notes.txt"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-3],
        lambda content: b"",
        lambda content: b"not safetensors at all",
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: b"\xff" * 8 + content[8:],
        lambda content: content + b"more",
    ],
    ids=["truncated", "empty", "garbage", "flipped bit", "huge header", "longer"],
)
def test_a_damaged_entry_is_a_miss_and_removed(tmp_path, damage):
    cache = EmbeddingCache(tmp_path)
    cache.put(KEY, ARRAYS)
    path = only_file(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    assert cache.get(KEY) is None
    assert not path.exists()


def test_an_entry_under_another_name_is_not_believed(tmp_path):
    cache = EmbeddingCache(tmp_path)
    cache.put(KEY, ARRAYS)
    target = tmp_path / OTHER[:2] / f"{OTHER}.safetensors"
    target.parent.mkdir()
    only_file(tmp_path).rename(target)
    assert cache.get(OTHER) is None


def test_the_least_recently_used_entries_go(tmp_path):
    one = {"x": np.zeros(1000, np.uint8)}
    probe = EmbeddingCache(tmp_path / "probe")
    probe.put(KEY, one)
    cache = EmbeddingCache(tmp_path / "cache", max_bytes=int(probe.info().nbytes * 3.5))
    keys = [f"{n:02d}" * 32 for n in range(4)]
    for age, key in enumerate(keys[:3]):
        cache.put(key, one)
        stamp = time.time() - 100 + age
        os.utime(cache._path(key), (stamp, stamp))
    cache.get(keys[0])  # used just now
    cache.put(keys[3], one)
    assert [cache.get(key) is not None for key in keys] == [True, False, True, True]
    assert cache.info().nbytes <= cache.max_bytes


def test_what_is_larger_than_the_cache_is_not_kept(tmp_path):
    cache = EmbeddingCache(tmp_path, max_bytes=10)
    cache.put(KEY, ARRAYS)
    assert cache.info().entries == 0


def test_a_folder_that_cannot_be_used_costs_no_result(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    cache = EmbeddingCache(tmp_path / "file" / "cache")
    cache.put(KEY, ARRAYS)
    cache.put(OTHER, ARRAYS)
    assert cache.get(KEY) is None
    assert cache.info().entries == 0
    assert len(caplog.messages) == 1
    assert "going on without" in caplog.text


def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch):
    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_module.Path, "replace", full)
    EmbeddingCache(tmp_path).put(KEY, ARRAYS)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_ctrl_c_while_writing_leaves_nothing_half_written(tmp_path, monkeypatch):
    def interrupted(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(cache_module.Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        EmbeddingCache(tmp_path).put(KEY, ARRAYS)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_links_are_not_counted_or_cleared(tmp_path):
    outside = tmp_path / "outside.safetensors"
    outside.write_text("mine")
    folder = tmp_path / "cache" / "ab"
    folder.mkdir(parents=True)
    (folder / f"{KEY}.safetensors").symlink_to(outside)
    cache = EmbeddingCache(tmp_path / "cache")
    assert cache.info().entries == 0
    cache.clear()
    assert outside.read_text() == "mine"


CHURN = """
import sys, numpy as np
from samaritan.infer.cache import EmbeddingCache
cache = EmbeddingCache(sys.argv[1], max_bytes=20_000)
for n in range(150):
    key = f"{n % 15:02x}" * 32
    cache.put(key, {"x": np.full(2000, n % 15, np.uint8)})
    got = cache.get(key)
    assert got is None or (got["x"] == n % 15).all()
"""


def test_two_processes_share_a_folder(tmp_path):
    both = [subprocess.Popen([sys.executable, "-W", "error", "-c", CHURN, tmp_path]) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    info = EmbeddingCache(tmp_path, max_bytes=20_000).info()
    assert 0 < info.nbytes <= 20_000
    assert list(tmp_path.glob("??/.partial-*")) == []


def test_the_default_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("SAMARITAN_CACHE", str(tmp_path / "mine"))
    assert default_root() == tmp_path / "mine"
    assert EmbeddingCache().root == tmp_path / "mine" / "embeddings"
    monkeypatch.delenv("SAMARITAN_CACHE")
    monkeypatch.setattr(cache_module.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_root() == tmp_path / "xdg" / "samaritan"
    monkeypatch.setattr(cache_module.sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert default_root() == tmp_path / "local" / "samaritan"
    monkeypatch.setattr(cache_module.sys, "platform", "darwin")
    assert default_root().parts[-3:] == ("Library", "Caches", "samaritan")


def test_the_key_is_of_content_not_of_place_or_memory_order():
    image = picture().image
    card = FakeModel().card
    key = content_key(image, card)
    assert key == content_key(Image(np.asfortranarray(image.array), image.geometry, source="elsewhere"), card)
    assert key == content_key(Image(np.broadcast_to(image.array, image.array.shape), image.geometry), card)
    changed = image.array.copy()
    changed[0, 5, 5] += 1
    assert key != content_key(Image(changed, image.geometry), card)
    assert key != content_key(Image(image.array.astype(np.float32), image.geometry), card)
    assert key != content_key(Image(image.array, image.geometry, modality="CT"), card)  # a model may go by it
    repeated = np.broadcast_to(image.array, (3, *image.shape))
    assert content_key(Image(repeated, image.geometry, ("a", "b", "c")), card) != key
    assert content_key(Image(repeated, image.geometry, ("a", "b", "c")), card) == content_key(
        Image(repeated, image.geometry, ("r", "g", "b")), card
    )


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_the_key_is_of_every_channel(channel):
    array = np.zeros((3, 4, 5, 1), np.float32)
    other = array.copy()
    other[channel, 1, 2, 0] = 1
    keys = {content_key(Image(a, Geometry.picture(4, 5), RGB), FakeModel().card) for a in (array, other)}
    assert len(keys) == 2


def test_parts_of_images_are_kept_by_their_values_and_the_model(tmp_path):
    part, card = np.arange(24, dtype=np.uint8).reshape(1, 4, 6), FakeModel().card
    other = replace(card, sha256="1" * 64)
    CachedParts(EmbeddingCache(tmp_path), card).put(part, {"a": np.ones(3, np.float16)})
    again = EmbeddingCache(tmp_path)
    np.testing.assert_array_equal(CachedParts(again, card).get(part.copy())["a"], np.ones(3))
    assert CachedParts(again, card).get(part + 1) is None
    assert CachedParts(again, card).get(part.reshape(1, 6, 4)) is None
    assert CachedParts(again, other).get(part) is None
    whole = Image(part[..., None].astype(np.float32), Geometry.picture(4, 6), ("grey",))
    assert part_key(whole.array, card) != content_key(whole, card)  # they hold other things
