import json
from dataclasses import replace

import pytest
from PIL import Image

from samaritan.cli import demo
from samaritan.cli._prompts import Frame, objects_of
from samaritan.io import read


@pytest.mark.parametrize("case", demo.CASES, ids=lambda case: case.name)
def test_every_image_is_carried_by_its_package_and_its_prompts_lie_in_it(case):
    path = case.path()
    assert path is not None
    image = read(path, select=case.select)
    objects = objects_of(case.prompts, None, Frame(image.geometry, case.world))
    assert all(prompts.items for prompts in objects.values())
    assert (case.ending == ".png") == (image.geometry.unit == "pixel")


def test_the_demo_segments_draws_and_says_where_everything_lies(run, place, monkeypatch):
    by_name = {case.name: case for case in demo.CASES}
    absent = replace(by_name["mr-head"], package="no_such_package")
    monkeypatch.setattr(demo, "CASES", (by_name["ct-spine"], by_name["cell"], absent))
    done = run("demo", "--output", "out")
    assert done.code == 0
    assert "samaritan segment " in done.out
    assert "pip install 'samaritan[demo]'" in done.out
    for line in ("vertebral body: ", "cell: ", "out/ct-spine_seg.nii.gz", "out/cell_seg.png", "out/demo.png"):
        assert line in done.out
    with Image.open(place / "out" / "demo.png") as sheet:
        assert sheet.width > sheet.height
    assert (place / "out" / "demo.png").stat().st_size < 500_000
    cases = json.loads(run("demo", "--output", "out", "--json").out)["cases"]
    assert [len(case["objects"]) for case in cases] == [3, 1]
