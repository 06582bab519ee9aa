import errno
from pathlib import Path

import numpy as np
import pytest
from tests.evaluate.conftest import spoil

from samaritan.core.errors import WriteError
from samaritan.evaluate.predictions import extra_files
from samaritan.evaluate.protocols import PROTOCOLS
from samaritan.evaluate.runner import run
from samaritan.evaluate.scoring import Scorer
from samaritan.evaluate.subjects import Choice
from samaritan.evaluate.unit import Settings, left, pack, unpack, unsuited, work
from samaritan.testing.fake_model import CARD, FakeModel


def unit_of(plan, case="p1_a"):
    return "fake", next(found for found in plan.data.cases if found.id == case)


def test_a_unit_keeps_rows_prompts_seconds_and_masks(plan):
    given = plan()
    unit = unit_of(given)
    assert left(given, unit) == ("box", "clicks")
    assert work(given, unit).asked == ("box", "clicks")
    assert left(given, unit) == ()
    kept = given.store.get("p1_a", "fake", "box")
    assert [item["name"] for item in kept["objects"]] == ["liver", "kidney"]
    for item in kept["objects"]:
        rows = item["rows"]
        assert [row["choice"] for row in rows] == ["predicted", "oracle"]
        assert rows[0]["dice"] > 0.7
        assert rows[0].keys() == {"step", "effort", "choice", "predicted_iou", "dice", "iou", "nsd", "hd95"}
        assert len(item["seconds"]) == len(item["journal"]) == 1
        assert item["journal"][0]["prompts"][0][0]["kind"] == "box"
        assert unpack(item["mask"]).any()
    clicks = given.store.get("p1_a", "fake", "clicks")["objects"][0]["rows"]
    assert [row["step"] for row in clicks] == [f"{n} clicks" for n in range(1, 11)]


def test_a_model_is_asked_about_a_volume_as_a_whole(plan):
    given = plan(protocols=("cvpr25", "m1"), settings=Settings(choice=Choice(dims=3)))
    work(given, unit_of(given))
    kept = given.store.get("p1_a", "fake", "cvpr25")
    assert [row["step"] for row in kept["objects"][0]["rows"]] == [f"{n} clicks" for n in range(6)]
    assert kept["objects"][1]["rows"][-1]["dice"] > 0.9
    assert given.store.get("p1_a", "fake", "m1")["skipped"] == "it is about planes, and volumes are asked about"


def test_every_protocol_of_planes_runs(plan):
    names = tuple(name for name in PROTOCOLS if PROTOCOLS.get(name).dims != 3 and name != "name")  # which takes words
    given = plan(protocols=names, settings=Settings(scorer=Scorer(metrics=("dice",))))
    work(given, unit_of(given, "p2_c"))
    for name in names:
        rows = given.store.get("p2_c", "fake", name)["objects"][0]["rows"]
        assert rows
        assert all(0 <= row["dice"] <= 1 for row in rows)
    everything = given.store.get("p2_c", "fake", "everything")["objects"][0]["rows"]
    assert [row["choice"] for row in everything] == ["oracle"]
    assert everything[0]["dice"] > 0.7


def test_what_a_model_cannot_be_asked():
    assert unsuited(PROTOCOLS.get("box"), CARD, Choice()) == ""
    assert "takes no" in unsuited(PROTOCOLS.get("box"), _card(prompts=frozenset({"point"})), Choice())
    assert "takes volumes" in unsuited(PROTOCOLS.get("box"), _card(dims=3), Choice())


def _card(**changes):
    from dataclasses import replace  # noqa: PLC0415

    return replace(CARD, **changes)


def test_a_case_that_cannot_be_read_is_an_error_and_asked_again(plan, folder):
    spoil(folder, "images/p1_a.nii.gz")
    given = plan()
    done = work(given, unit_of(given))
    assert "p1_a.nii.gz" in done.error
    assert given.store.get("p1_a", "fake", "box")["error"] == done.error
    assert left(given, unit_of(given)) == ("box", "clicks")


def test_a_full_disk_stops_a_run_that_goes_on_when_there_is_room(plan, monkeypatch):
    given = plan()
    write = Path.write_text
    written = []

    def full(path, *args, **kwargs):
        if len(written) == 4:  # the first case, and what the objects of the second are like
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        return write(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(WriteError, match=r"the disk is full\. Free some space"):
            run(given)
    assert not list(given.store.folder.rglob(".samaritan-*"))
    ran = run(given)
    assert (ran.done, ran.kept, ran.errors) == (2, 1, ())


def test_processes_and_one_process_find_the_same(plan, tmp_path):
    from samaritan.evaluate.store import Store  # noqa: PLC0415

    one, two = plan(), plan(store=Store(tmp_path / "two"))
    ran = run(one)
    assert (ran.done, ran.kept, ran.errors) == (3, 0, ())
    seen = []
    run(two, workers=2, progress=lambda *told: seen.append(told))
    assert [told[1:] for told in seen] == [(1, 3), (2, 3), (3, 3)]
    for case in one.data.cases:
        for name in one.protocols:
            ours, theirs = (p.store.get(case.id, "fake", name) for p in (one, two))
            for unit in (ours, theirs):
                for item in unit["objects"]:
                    del item["seconds"]
            assert ours == theirs
    again = run(one)
    assert (again.done, again.kept) == (0, 3)


@pytest.mark.parametrize("shape", [(7, 5), (1, 1), (64, 3)])
def test_masks_are_packed_and_unpacked(shape):
    rng = np.random.default_rng(0)
    for share in (0, 0.1, 1):
        mask = rng.random(shape) < share
        np.testing.assert_array_equal(unpack(pack(mask)), mask)


def test_a_plane_is_embedded_once_for_all_protocols_and_objects(plan):
    made = []

    def load():
        made.append(FakeModel())
        return made[-1]

    given = plan(loaders={"fake": load}, protocols=("box", "m1", "m5", "clicks"))
    work(given, unit_of(given, "p2_c"))
    assert [model.embeds for model in made] == [1]


def test_a_second_file_of_a_case_is_told(tmp_path):
    for name in ("c0.nii.gz", "sub/c0.nii.gz", "c1.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert extra_files(tmp_path, ["c0"]) == ["c1.nii.gz", "sub/c0.nii.gz"]
