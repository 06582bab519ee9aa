"""The promise of the whole: file, prompt, mask, file lands on the same anatomy, whatever the axes and the format."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from samaritan import Prompts, read, read_labels, segment, write
from samaritan.core.geometry import AXES
from samaritan.core.image import Image
from samaritan.core.prompts import Box
from samaritan.testing import FakeModel
from samaritan.testing.phantoms import ct_volume

CODES = [
    "".join(("RL", "AP", "SI")[axis][flip] for axis, flip in zip(order, flips, strict=True))
    for order in permutations(range(3))
    for flips in product((0, 1), repeat=3)
]


def oblique(spacing, angles):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles).as_matrix() * spacing
    affine[:3, 3] = (-31.5, 17.25, 80.0)
    return affine


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".hdr", ".nrrd", ".nhdr", ".mha", ".mhd"])
@settings(
    max_examples=5, deadline=None, phases=(Phase.generate,), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    code=st.sampled_from(CODES),
    spacing=st.tuples(st.floats(0.3, 2), st.floats(0.3, 2), st.floats(0.5, 6)),
    angles=st.tuples(*[st.floats(-0.6, 0.6)] * 3),
)
def test_a_mask_lands_where_the_anatomy_is(tmp_path, suffix, code, spacing, angles):
    phantom = ct_volume(affine=oblique(spacing, angles))
    change = phantom.image.geometry.reorientation(code)
    turned = Image(change.apply(phantom.image.array), change.target, modality="CT")
    write(turned, tmp_path / f"ct{suffix}")

    image = read(tmp_path / f"ct{suffix}")
    organ = np.argwhere(phantom.mask())
    corners = np.array([organ.min(axis=0), organ.max(axis=0) + 1])  # in the world, as a person would point at it
    world = phantom.image.geometry.index_to_world(corners - 0.5)
    edges = np.sort(np.rint(image.geometry.world_to_index(world) + 0.5).astype(int), axis=0)
    prompts = Prompts(image.geometry, (Box(tuple(edges[0]), tuple(edges[1])),))
    found = segment(FakeModel(), image, {"organ": prompts}, axis=AXES[change.order.index(2)], window="soft-tissue")
    write(found.labels, tmp_path / f"mask{suffix}")

    back = read_labels(tmp_path / f"mask{suffix}")
    there = phantom.image.geometry.world_to_index(back.geometry.index_to_world(np.argwhere(back.mask(1))))
    mask = np.zeros(phantom.image.shape, bool)
    mask[tuple(np.rint(there).astype(int).T)] = True
    np.testing.assert_allclose(there, np.rint(there), atol=0.02)  # voxel centres on voxel centres
    overlap = 2 * np.count_nonzero(mask & phantom.mask()) / (mask.sum() + phantom.mask().sum())
    assert overlap > 0.99
    assert back.name(1) == "organ"
