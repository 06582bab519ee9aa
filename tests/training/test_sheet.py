"""The contact sheet of what training draws: it shows the sample, its prompt and its answer, and writes nothing else."""

import numpy as np
import pytest
from PIL import Image as Pillow
from training.tiny import sheet
from training.tiny.scenes import Sampler

from samaritan.adapt.prompted.crops import Sample
from samaritan.core.geometry import Geometry
from samaritan.core.prompts import Box, MaskPrompt, Point, Prompts, Scribble
from samaritan.data.synthesis import contact_sheet

GRID = Geometry.picture(64, 64)


def sample():
    """A grey picture whose object is a frame, wider than high."""
    mask = np.zeros((64, 64), bool)
    mask[20:40, 10:50] = True
    mask[26:34, 20:40] = False
    return Sample(np.full((64, 64, 3), 100, np.float32), np.ones((64, 64), bool), mask, "scene: mr")


def test_a_prompt_is_described():
    outside = Point((1, 1, 0), positive=False)
    items = (
        Box((0, 0, 0), (4, 4, 1)),
        Point((1, 2, 0)),
        Point((2, 2, 0)),
        outside,
        MaskPrompt(np.ones((64, 64, 1), bool)),
    )
    assert sheet.asked(Prompts(GRID, items)) == "box, 2 x point, point outside, mask"
    strokes = (Scribble(np.array([[1, 1, 0]]), positive=False),)
    assert sheet.asked(Prompts(GRID, strokes)) == "scribble outside"


def test_prompts_are_drawn_where_they_are():
    plain = sheet.with_prompts(sample(), Prompts(GRID, ()))
    assert (plain == 100).all()
    points = (Point((10, 50, 0)), Point((50, 10, 0), positive=False))
    clicked = sheet.with_prompts(sample(), Prompts(GRID, points))
    red, green, _ = clicked[50, 10].astype(int)  # row j, column i
    assert green > 2 * red
    red, green, _ = clicked[10, 50].astype(int)
    assert red > 2 * green
    shown = sheet.with_prompts(sample(), Prompts(GRID, (MaskPrompt(sample().mask.T[..., None]),)))
    assert np.array_equal((shown != 100).any(axis=2), sample().mask)


def test_the_answer_and_its_holes_are_outlined_on_the_right_alone(monkeypatch):
    monkeypatch.setattr(sheet, "simulate", lambda target, _rng: Prompts(target.geometry, (Point((12, 22, 0)),)))
    monkeypatch.setattr(Sampler, "draw", lambda *_: sample())
    (scene,) = sheet.drawn(Sampler([]), np.random.default_rng(0), side=64, number=1)
    assert scene.appearance == "scene: mr | point"
    assert np.array_equal(scene.parts == 1, sample().mask)
    assert int((scene.parts == 2).sum()) == 8 * 20
    tile = contact_sheet([scene], columns=1, side=64)[18:]
    changed = (tile[:, :64] != tile[:, 64:]).any(axis=2)
    assert changed[39, 45]  # the lower edge of the object
    assert changed[27, 20]  # the hole's left edge
    assert not changed[30, 30]
    assert not changed[5, 5]


def pixels(path):
    with Pillow.open(path) as picture:
        return np.asarray(picture)


def test_the_command_writes_one_picture_that_the_seed_decides(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--rows", "2", "--columns", "3", "--side", "64"]
    for name, seed in (("a.png", "1"), ("b.png", "1"), ("c.png", "2")):
        monkeypatch.setattr("sys.argv", ["sheet", "--out", name, "--seed", seed, *options])
        sheet.main()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png", "c.png"]
    first, again, other = map(pixels, ("a.png", "b.png", "c.png"))
    assert first.shape == (2 * (64 + 18), 3 * 2 * 64, 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_there_is_no_place_to_write_unless_one_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cases.jsonl").touch()
    for arguments, said in (([], "--out"), (["--out", "a.png", "--data", str(tmp_path)], "belong together")):
        monkeypatch.setattr("sys.argv", ["sheet", *arguments])
        with pytest.raises(SystemExit, match="2"):
            sheet.main()
        assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["cases.jsonl"]
