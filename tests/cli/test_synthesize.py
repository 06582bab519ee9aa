"""`samaritan synthesize` as its user sees it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image as Pillow

pytest.importorskip("cv2", reason="synthesis needs the extra 'train'")


def test_pictures_masks_list_and_sheet(run, tmp_path):
    made = run("synthesize", "-o", tmp_path / "made", "--count", 3, "--size", 64, "--seed", 5)
    assert made.code == 0, made.err
    assert "3 pictures" in made.out
    lines = [json.loads(line) for line in (tmp_path / "made/scenes.jsonl").read_text().splitlines()]
    assert len(lines) == 3
    for line in lines:
        assert _pixels(tmp_path / "made" / line["image"]).shape == (64, 64, 3)
        parts = _pixels(tmp_path / "made" / line["mask"])
        assert {part for members in line["objects"] for part in members} <= set(np.unique(parts).tolist())
    assert _pixels(tmp_path / "made/sheet.png").shape[1] > 64


def test_twice_the_same_seed_gives_the_same_files(run, tmp_path):
    for folder in ("a", "b"):
        assert run("synthesize", "-o", tmp_path / folder, "--count", 2, "--size", 48).code == 0
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_named_appearances_take_turns_and_json_is_json(run, tmp_path):
    made = run("synthesize", "-o", tmp_path, "--count", 4, "--size", 48, "--json",
        "--appearance", "mr", "--appearance", "ct")  # fmt: skip
    assert json.loads(made.out)["count"] == 4
    lines = [json.loads(line) for line in (tmp_path / "scenes.jsonl").read_text().splitlines()]
    assert [line["appearance"] for line in lines] == ["mr", "ct", "mr", "ct"]


def test_mistakes_are_named_before_anything_is_written(run, tmp_path):
    wrong = run("synthesize", "-o", tmp_path / "x", "--appearance", "mri")
    assert wrong.code == 2
    assert "unknown appearance 'mri'" in wrong.err
    assert not (tmp_path / "x").exists()
    (tmp_path / "file").write_text("")
    assert run("synthesize", "-o", tmp_path / "file").code == 2
    assert run("synthesize").code == 2


def _pixels(path):
    with Pillow.open(path) as picture:
        return np.asarray(picture)
