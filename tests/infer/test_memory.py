"""Sizes, and a plan that is kept."""

import subprocess
import sys

import pytest

from samaritan.core.errors import OutOfMemoryBudgetError, ResourceError
from samaritan.core.process import peak_rss
from samaritan.infer.memory import MIB, SLACK, format_size, parse_size, plan_embeddings


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GiB", 4 * 1024**3), ("1500MB", 1_500_000_000), ("2G", 2 * 1024**3), ("1.5 gib", 3 * 512 * MIB), ("4096", 4096),
     ("10 B", 10), ("1kB", 1000)],
)  # fmt: skip
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "lots", "-4GiB", "4 apples", "0", "nan", "1e9GB", "0.1"])
def test_what_is_no_size_is_a_named_error(text):
    with pytest.raises(ResourceError, match="such as 4GiB"):
        parse_size(text)


def test_sizes_for_people():
    assert format_size(3 * 512 * MIB) == "1.5 GiB"
    assert format_size(300 * MIB) == "300 MiB"


def test_the_peak_counts_what_was_held():
    before = peak_rss()
    ballast = bytearray(before + 50 * MIB)
    ballast[::4096] = b"x" * len(ballast[::4096])
    assert peak_rss() >= before + 40 * MIB


def test_the_plan_leaves_room_for_arrays():
    limit = peak_rss() + SLACK + 500 * MIB
    assert plan_embeddings(limit, arrays=100 * MIB, embedding=MIB) == pytest.approx(400 * MIB, abs=5 * MIB)


def test_too_small_a_limit_says_what_would_do():
    with pytest.raises(OutOfMemoryBudgetError, match=r"a memory limit of 1 MiB\. Wanted at least") as raised:
        plan_embeddings(MIB, arrays=0, embedding=MIB)
    assert "Raise the limit" in raised.value.fix


# 100 slices with embeddings of 4 MiB, visited twice, on a volume of 12.5 MiB.
SEGMENT = """
import sys, numpy as np
from samaritan.core.prompts import Prompts
from samaritan.infer import segment
from samaritan.core.process import peak_rss
from samaritan.infer.memory import MIB, SLACK
from samaritan.testing import FakeModel
from samaritan.testing.phantoms import ct_volume

class Heavy(FakeModel):
    def pack(self, embedding):
        return {**super().pack(embedding), "bulk": np.random.default_rng(0).random(2 * MIB, np.float32)}

phantom = ct_volume((256, 256, 100), noise_hu=5)
objects = {n: Prompts(phantom.image.geometry, (phantom.box(v, margin=2),)) for n, v in (("a", 1), ("b", 2), ("c", 1))}
segment(FakeModel(), phantom.image, objects)
start = peak_rss()
limit = start + SLACK + 120 * MIB if sys.argv[1] == "limited" else None
model = Heavy()
result = segment(model, phantom.image, objects, max_memory=limit)
print(peak_rss() - start, model.embeds, int(result.objects[0].mask.sum()))
"""


def test_the_plan_is_kept():
    grown, embeds, voxels = {}, {}, {}
    for mode in ("limited", "free"):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", SEGMENT, mode], capture_output=True, text=True, check=True
        )
        grown[mode], embeds[mode], voxels[mode] = map(int, done.stdout.split())
    assert grown["limited"] <= SLACK + 120 * MIB
    assert grown["free"] > SLACK + 120 * MIB, "the limit would have been kept without a plan"
    # the first plane, which shows how large an embedding is, may be let go of once
    assert embeds["limited"] <= embeds["free"] + 1, "what does not fit in memory is encoded again"
    assert voxels["limited"] == voxels["free"]
