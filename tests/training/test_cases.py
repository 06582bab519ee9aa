"""Which cases may train, and the cache of their views."""

from dataclasses import replace

import numpy as np
import pytest
from tests.training.helpers import write_cases
from training.tiny.cases import by_family, read_cache, split, training_cases, write_cache


def test_only_cases_marked_for_training_are_listed(tmp_path):
    write_cases(tmp_path, ("busi", "train"), ("kits2d", "evaluate"))
    assert [case.dataset for case in training_cases(tmp_path)] == ["busi"]


def test_a_collection_on_both_sides_is_refused(tmp_path):
    write_cases(tmp_path, ("spider_t2", "train"), ("lumbar_spine", "evaluate"))
    with pytest.raises(ValueError, match=r"families \['spider'\] stand in both"):
        training_cases(tmp_path)


def test_held_out_families_do_not_train(views):
    held = replace(views[0], family="carotid")
    assert split([*views, held]) == (views, [held])


def test_views_are_read_again_only_if_they_were_made_of_the_same(views, tmp_path):
    cache = tmp_path / "views.npz"
    assert read_cache(cache, made_of=["a"]) is None
    write_cache(views, cache, made_of=["a"])
    assert read_cache(cache, made_of=["b"]) is None
    again = read_cache(cache, made_of=["a"])
    for written, read in zip(views, again, strict=True):
        assert (read.family, read.modality, read.objects, read.structures) == (
            written.family, written.modality, written.objects, written.structures,
        )  # fmt: skip
        np.testing.assert_array_equal(read.image, written.image)
        np.testing.assert_array_equal(read.parts, written.parts)


def test_a_cache_that_cannot_be_written_leaves_nothing_behind(views, tmp_path, monkeypatch):
    def stops_early(path, **_arrays):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", stops_early)
    with pytest.raises(KeyboardInterrupt):
        write_cache(views, tmp_path / "views.npz", made_of=["a"])
    assert not list(tmp_path.iterdir())


def test_families_hold_the_views_that_have_a_picture(views):
    other, blind = replace(views[1], family="other"), replace(views[2], family="labels", image=None)
    assert by_family([views[0], other, blind, views[2]]) == {"synthetic": [views[0], views[2]], "other": [other]}
