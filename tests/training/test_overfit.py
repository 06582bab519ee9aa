"""Whether the network can hold what it is asked: the windows are those of its use, and it learns them."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'train'")

from training.tiny import overfit  # noqa: E402

from samaritan.adapt.prompted.tiny import Plan  # noqa: E402
from samaritan.adapt.prompted.view import View  # noqa: E402
from samaritan.models.tiny import FOLDER  # noqa: E402
from samaritan.models.tiny.adapter import TinyModel  # noqa: E402


def view(family="discs"):
    rows, columns = np.mgrid[0:120, 0:160]
    parts = (((rows - 50) ** 2 + (columns - 60) ** 2 < 30**2) * 1).astype(np.uint16)
    parts[90:110, 120:150] = 2
    image = (60 + 120 * (parts > 0)).astype(np.uint8)
    return View(family, "CT", image, parts, ((1,), (2,)), (1, 2))


@pytest.fixture(scope="module")
def task():
    return overfit.Fixed(Plan(steps=1, images=2, correction_share=0.0), TinyModel(FOLDER, threads=1), [view()])


def test_a_batch_holds_the_windows_that_boxes_get_in_use(task):
    task.prepare()
    batch = task.batch(0)
    assert batch.images.shape == (2, 3, 192, 192)
    sizes = sorted(float(mask.float().mean()) for mask in batch.masks)
    assert sizes[1] == pytest.approx(np.pi / 4 / 1.7**2, rel=0.05)  # of the disc: its box has 1 / 1.7 of the window
    assert sizes[0] == pytest.approx(20 / 30 / 1.7**2, rel=0.05)
    assert bool((batch.valid | ~batch.masks).all())
    assert not bool(batch.valid.all())  # the rectangle's window reaches beyond the picture
    covered = torch.nn.functional.interpolate(batch.maps[:, 4:5], scale_factor=4.0)[:, 0] > 0.99
    assert float((covered & batch.masks).sum() / batch.masks.sum()) > 0.9
    assert not batch.ambiguous.any()


def test_batches_are_a_function_of_the_step(task):
    first, again = task.batch(3), task.batch(3)
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.maps, again.maps)


def test_what_is_always_the_same_is_learnt(task, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(overfit, "cases_folder", lambda text: text)
    monkeypatch.setattr(overfit, "load_views", lambda *_: [view()])
    monkeypatch.setattr(overfit, "split", lambda views: (views, []))
    arguments = ["overfit", "--data", "nowhere", "--cache", "none.npz", "--out", str(tmp_path), "--steps", "8"]
    monkeypatch.setattr("sys.argv", [*arguments, "--precision", "float32"])
    overfit.main()
    rows = capsys.readouterr().out.splitlines()
    before, after = (float(row.split("|")[2]) for row in rows[2:])
    assert 0.7 < before < after
    assert "discs" in rows[-1]
