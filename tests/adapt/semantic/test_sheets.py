import numpy as np
import pytest

from samaritan.adapt.census import Looks, census
from samaritan.adapt.semantic.sheets import SheetSampler, read_sheets
from samaritan.core.geometry import Geometry
from samaritan.core.image import Image, LabelMap
from samaritan.data import open_data
from samaritan.io import write
from samaritan.models import model_card

NAMES = ("label 1", "label 2")


@pytest.fixture
def looks():
    return Looks(model_card("tiny"))


@pytest.fixture
def volumes(tmp_path):
    """Two volumes with two blocks in some of their slices, thick along j."""
    root = tmp_path / "volumes"
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    geometry = Geometry.from_spacing((40, 6, 48), (1.0, 5.0, 1.0))
    for number in range(2):
        labels = np.zeros(geometry.shape, np.uint8)
        labels[10:30, 2:4, 12:30] = 1
        labels[5:9, 3:5, 35:45] = 2
        values = np.random.default_rng(number).normal(100, 5, geometry.shape) + 60.0 * labels
        write(Image(values[None].astype(np.float32), geometry), root / f"images/{number}.nii.gz")
        write(LabelMap(labels, geometry), root / f"masks/{number}.nii.gz")
    return open_data(root)


def test_all_planes_of_a_volume_are_read_with_what_is_in_them(volumes, looks):
    sheets = read_sheets(volumes.root, volumes.cases[0], looks, NAMES)
    assert sheets.greys.shape == sheets.classes.shape == (6, 48, 40)
    assert [sheets.having[name].tolist() for name in NAMES] == [[2, 3], [3, 4]]
    assert (sheets.classes[3] == 1).sum() == 20 * 18
    assert sheets.greys[3][sheets.classes[3] == 2].mean() > sheets.greys[3][sheets.classes[3] == 0].mean() + 50


def test_neighbours_are_colours_and_the_ends_repeat(volumes, looks):
    sheets = read_sheets(volumes.root, volumes.cases[0], looks, NAMES)
    seen = sheets.plane(3, 3)
    assert seen.shape == (48, 40, 3)
    np.testing.assert_array_equal(seen, np.stack([sheets.greys[n] for n in (2, 3, 4)], axis=-1))
    np.testing.assert_array_equal(sheets.plane(0, 3)[..., 0], sheets.greys[0])
    np.testing.assert_array_equal(sheets.plane(5, 3)[..., 2], sheets.greys[5])
    alone = sheets.plane(2, 1)
    np.testing.assert_array_equal(alone, np.repeat(sheets.greys[2][..., None], 3, axis=2))


def test_pictures_have_one_plane_and_their_colours(data, looks):
    sheets = read_sheets(data.root, data.cases[0], looks, NAMES)
    assert sheets.classes.shape == (1, 72, 72)
    assert sheets.plane(0, 3).shape == (72, 72, 3)


def sampler(data, looks, **options):
    found = census(data.root, data.cases, looks)
    names = tuple(found.classes.values())
    return SheetSampler(data.root, data.cases, looks, names, found.cases, **({"slices": 3, "mirror": False} | options))


def test_samples_show_their_classes_where_they_are_brighter(volumes, looks):
    draws = sampler(volumes, looks)
    samples = [draws.draw(64, np.random.default_rng(number)) for number in range(40)]
    assert all(sample.picture.shape == (64, 64, 3) and sample.classes.shape == (64, 64) for sample in samples)
    share = np.mean([[(sample.classes == value).any() for value in (1, 2)] for sample in samples], axis=0)
    assert (share > 0.3).all()
    # Some have none: planes without any class must be learnt, too.
    assert any(not sample.classes.any() for sample in samples)
    apart = [s.picture[..., 1][s.classes == 1].mean() - s.picture[..., 1][s.classes == 0].mean() for s in samples
             if (s.classes == 1).sum() > 50]  # fmt: skip
    assert np.mean(apart) > 20
    first, again = (sampler(volumes, looks).draw(64, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first.picture, again.picture)
    np.testing.assert_array_equal(first.classes, again.classes)


def test_samples_lie_as_planes_do_at_inference(volumes, looks, monkeypatch):
    for name in ("_TURN", "_SCALE", "_STRETCH", "_SHIFT", "_BENT_SHARE"):
        monkeypatch.setattr(f"samaritan.adapt.placement.{name}", 0.0)
    monkeypatch.setattr("samaritan.adapt.semantic.sheets._ARTEFACTS", {})
    draws = sampler(volumes, looks)
    sheets = read_sheets(volumes.root, volumes.cases[0], looks, NAMES)
    drawn = next(s for n in range(50) if (s := draws.draw(96, np.random.default_rng(n))).classes.max() == 2
                 and (s.classes == 1).any())  # fmt: skip
    # 48 rows become 96, 40 columns 80; the rest is padding.
    np.testing.assert_array_equal(drawn.classes[::2, :80:2], sheets.classes[3])
    assert not drawn.valid[:, 80:].any()
    assert drawn.valid[:, :80].all()
    assert not drawn.picture[:, 80:].any()
