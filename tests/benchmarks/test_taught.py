"""What is asked of a taught network, and that the masks of its float32 graphs are PyTorch's."""

import numpy as np
import pytest
from benchmarks.taught import ASKED, CALIBRATED_ON, OBJECTS, SIDE, row, scene, teach, write_bundle

from samaritan.core.prompts import Box, MaskPrompt
from samaritan.models.bundle import load_bundle


def test_no_scene_is_both_asked_about_and_calibrated_on():
    assert not set(ASKED) & set(CALIBRATED_ON)


def test_a_box_and_all_that_is_in_it_are_asked_of_each_object():
    asked = scene(ASKED[0])
    assert asked.image.shape[:2] == (SIDE, SIDE)
    assert 0 < len(asked.objects) <= OBJECTS
    for mask, prompts in asked.objects:
        box, inside = prompts.items
        assert isinstance(box, Box)
        assert isinstance(inside, MaskPrompt)
        assert np.all(inside.mask | ~mask)
        assert inside.mask.sum() == np.prod(np.subtract(box.stop, box.start))


@pytest.mark.slow
@pytest.mark.xdist_group("export")
def test_float32_graphs_keep_the_masks_of_a_network_that_learnt(tmp_path):
    model = teach(tmp_path / "run", steps=1)
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    write_bundle(model, bundle, int8=False)
    exported = load_bundle(bundle, runtime="onnxruntime")
    _, what, objects, mean, lowest, *_ = (cell.strip() for cell in row(model, exported, "float32").split("|"))
    assert what == "float32"
    assert int(objects) > len(ASKED)
    assert float(mean) == float(lowest) == 1
