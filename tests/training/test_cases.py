"""Which cases may train, and the cache of their views."""

import json
from dataclasses import replace

import numpy as np
import pytest
from tests.training.helpers import nested_view, write_cases
from training.tiny import learning_curve
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


def test_cases_are_held_out_by_name_as_families_are(views):
    first, *others = (replace(view, case=f"set/{number}") for number, view in enumerate(views))
    assert split([first, *others], frozenset({"set/0"})) == (others, [first])


def test_a_learning_curve_learns_from_other_cases_of_the_same_families_in_each_run():
    views = [
        replace(nested_view(family), case=f"{family}/{n}")
        for family, most in (("a", 5), ("few", 3))
        for n in range(most)
    ]
    families = learning_curve.cases_of(views)
    assert families == {"a": [f"a/{n}" for n in range(5)]}
    assert learning_curve.learnt_by(0, 2, families) == {"a/0", "a/2", "a/4"}
    assert learning_curve.learnt_by(1, 2, families) == {"a/1", "a/3"}
    assert learning_curve.learnt_by(1, 4, families) == {"a/1"}


def test_a_cache_of_older_code_is_made_anew(tmp_path, views):
    write_cache(views, tmp_path / "c.npz", made_of=["a"])
    assert read_cache(tmp_path / "c.npz", made_of=["a"]) is not None
    with np.load(tmp_path / "c.npz") as file:
        arrays = dict(file)
    index = json.loads(arrays["index"].tobytes())
    del index["views"][0]["case"]
    arrays["index"] = np.frombuffer(json.dumps(index).encode(), np.uint8)
    np.savez(tmp_path / "c.npz", **arrays)
    assert read_cache(tmp_path / "c.npz", made_of=["a"]) is None
