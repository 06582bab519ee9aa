import numpy as np
import pytest
from PIL import Image as Pillow

from samaritan.core.geometry import Geometry
from samaritan.core.prompts import Box, Lasso, Point, Prompts, Scribble
from samaritan.draw.overlay import Layer, View, draw, layers_of, montage, save, slices_to_show
from samaritan.testing.fake_model import CARD
from samaritan.testing.phantoms import ct_volume, picture

BLUE = (86, 180, 233)


def layer(geometry, mask, *items):
    return Layer("object", mask, Prompts(geometry, items), BLUE)


class TestView:
    @pytest.mark.parametrize(
        ("axis", "letters"), [("k", ("R", "L", "A", "P")), ("j", ("R", "L", "S", "I")), ("i", ("A", "P", "S", "I"))]
    )
    @pytest.mark.parametrize("orientation", ["RAS", "LPS", "LAI"])
    def test_slices_are_shown_as_radiologists_look_at_them(self, axis, letters, orientation):
        ras = Geometry.from_spacing((10, 12, 14), (1, 1, 2))
        geometry = ras.reorientation(orientation).target
        assert View(geometry, axis, 3, 100).letters == letters

    def test_a_picture_is_shown_as_it_is(self):
        view = View(Geometry.picture(60, 40), "k", 0, 120)
        assert view.letters is None
        assert view.pixels == (120, 80)
        array = np.arange(2400).reshape(60, 40, 1)
        assert np.array_equal(view.slice_of(array), array[..., 0].T)

    def test_unequal_spacing_is_drawn_at_true_proportions(self):
        view = View(Geometry.from_spacing((10, 10, 10), (1, 1, 4)), "j", 0, 400)
        assert view.pixels == (100, 400)

    @pytest.mark.parametrize("axis", ["i", "j", "k"])
    @pytest.mark.parametrize("orientation", ["RAS", "PSR", "LIA"])
    def test_a_prompt_is_drawn_on_the_voxel_that_it_names(self, axis, orientation):
        geometry = Geometry.from_spacing((8, 9, 10)).reorientation(orientation).target
        voxel = (2, 5, 7)
        mask = np.zeros(geometry.shape, np.bool_)
        mask[voxel] = True
        view = View(geometry, axis, voxel["ijk".index(axis)], 200)
        ((row, column),) = np.argwhere(view.slice_of(mask))
        width, height = view.pixels
        rows, columns = view.slice_of(mask).shape
        assert view.place([voxel]) == [pytest.approx(((column + 0.5) * width / columns, (row + 0.5) * height / rows))]


class TestDraw:
    def test_an_object_is_coloured_and_the_rest_is_not(self):
        phantom = picture()
        mask = phantom.mask(1)
        shown = np.asarray(draw(phantom.image, [layer(phantom.image.geometry, mask)], card=CARD, axis="k"))
        scale = shown.shape[1] / phantom.image.shape[0]
        i, j, _ = np.argwhere(mask).mean(axis=0)
        inside = shown[int(j * scale), int(i * scale)].astype(int)
        assert inside[2] - inside[0] > 20
        corner = shown[-3, 3].astype(int)
        assert corner[0] == corner[1] == corner[2]

    def test_a_volume_gives_a_montage_and_prompts_of_all_kinds_are_drawn(self):
        phantom = ct_volume()
        geometry = phantom.image.geometry
        items = (
            Point((17, 14, 8)),
            Point((2, 2, 8), positive=False),
            phantom.box(),
            Box((1, 1, 8), (3, 3, 9)),
            Lasso(np.array([[10, 10, 9], [20, 10, 9], [20, 20, 9.0]])),
            Scribble(np.array([[17, 14, 10], [18, 14, 10]])),
        )
        shown = draw(phantom.image, [layer(geometry, phantom.mask(), *items)], card=CARD, axis="k")
        pixels = np.asarray(shown).reshape(-1, 3)
        for colour in ((60, 220, 60), (240, 50, 50), (255, 255, 255)):
            assert (pixels == colour).all(axis=1).any()

    def test_an_object_that_was_not_found_is_drawn_as_nothing(self):
        phantom = ct_volume()
        empty = layer(phantom.image.geometry, np.zeros(phantom.image.shape, np.bool_), Point((5, 5, 5)))
        assert draw(phantom.image, [empty], card=CARD, axis="k").width > 0

    def test_objects_have_colours_of_their_own(self):
        mask = np.ones((4, 4, 1), np.bool_)
        prompts = Prompts(Geometry.picture(4, 4), (Point((1, 1, 0)),))
        found = layers_of({"a": mask, "b": mask}, {"a": prompts, "b": prompts})
        assert found[0].colour != found[1].colour


class TestSlices:
    def test_the_prompted_slice_is_among_at_most_so_many(self):
        phantom = ct_volume()
        shown = slices_to_show("k", [layer(phantom.image.geometry, phantom.mask(), Point((17, 14, 9)))], count=5)
        assert 9 in shown
        assert shown == sorted(set(shown))
        assert 2 < len(shown) <= 5
        assert all(phantom.mask()[..., at].any() for at in shown)

    def test_many_prompted_slices_are_thinned_out(self):
        phantom = ct_volume()
        points = [Point((17, 14, k)) for k in range(24)]
        assert len(slices_to_show("k", [layer(phantom.image.geometry, phantom.mask(), *points)], count=6)) <= 6


class TestSave:
    def test_a_picture_is_written_whole_in_the_format_of_its_name(self, tmp_path):
        for name in ("a.png", "a.jpg"):
            save(montage([Pillow.new("RGB", (40, 30))] * 3, ["x"] * 3), tmp_path / name)
            with Pillow.open(tmp_path / name) as stored:
                assert stored.width == 80
        assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jpg", "a.png"]
