import numpy as np
import pytest

from samaritan.adapt.census import Looks, census
from samaritan.adapt.prompted.cases import CaseSampler, views_of
from samaritan.adapt.prompted.crops import zoomed
from samaritan.core.geometry import Geometry
from samaritan.core.image import Image, LabelMap
from samaritan.data import open_data, read_image, read_objects
from samaritan.io import write
from samaritan.models import model_card


@pytest.fixture
def looks():
    return Looks(model_card("tiny"))


def test_a_picture_is_one_view_with_rows_along_j(data, looks):
    case = data.cases[0]
    (view,), names = views_of(data.root, case, looks)
    image = read_image(data.root, case)
    assert view.image.shape == view.parts.shape == image.geometry.shape[1::-1]
    for (part,), value in zip(view.objects, view.structures, strict=True):
        mask = next(o.mask for o in read_objects(data.root, case, image.geometry) if o.value == value)
        np.testing.assert_array_equal(view.parts == part, mask[..., 0].T)
    assert set(names) == {1, 2}


def test_slices_of_a_volume_are_those_with_an_object_across_the_thick_axis(tmp_path, looks):
    root = tmp_path / "volumes"
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    geometry = Geometry.from_spacing((40, 6, 44), (1.0, 5.0, 1.0))
    labels = np.zeros(geometry.shape, np.uint8)
    labels[10:30, 2:5, 12:30] = 1
    values = np.random.default_rng(0).normal(100, 10, geometry.shape).astype(np.float32) + 50 * labels
    write(Image(values[None], geometry), root / "images/a.nii.gz")
    write(LabelMap(labels, geometry), root / "masks/a.nii.gz")
    data = open_data(root)
    views, _ = views_of(data.root, data.cases[0], looks)
    assert [view.parts.shape for view in views] == [(44, 40)] * 3
    assert all((view.parts > 0).sum() == 20 * 18 for view in views)
    assert views[0].image[15, 15] > views[0].image[2, 2]


def test_labels_are_drawn_alike_and_samples_show_their_object(data, looks):
    found = census(data.root, data.cases, looks)
    assert found.planes.keys() == found.cases.keys()
    assert len(found.planes) == 2
    assert not found.empty
    sampler = CaseSampler(data.root, data.cases, looks, found.cases, cut=zoomed)
    rng = np.random.default_rng(0)
    samples = [sampler.draw(64, rng) for _ in range(40)]
    assert {sample.source for sample in samples} == {case.id for case in data.cases}
    inside = [sample.image[sample.mask].mean() - sample.image[sample.valid & ~sample.mask].mean() for sample in samples]
    assert np.mean(np.array(inside) > 0) > 0.5
    first, again = (sampler.draw(64, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first.image, again.image)
