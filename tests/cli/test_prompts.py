import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samaritan.cli._errors import UsageError
from samaritan.cli._prompts import Frame, objects_of
from samaritan.core.errors import GeometryMismatchError, PromptError, PromptOutsideImageError, ReadError
from samaritan.core.geometry import Geometry
from samaritan.core.image import LabelMap
from samaritan.core.prompts import Box
from samaritan.io import write

PICTURE = Geometry.picture(60, 40)
VOLUME = Geometry((40, 30, 20), np.array([[-2.0, 0, 0, 50], [0, 0, 3, -20], [0, 1.5, 0, 7], [0, 0, 0, 1]]))


def objects(geometry, *options, file=None, **frame):
    return objects_of(options, file, Frame(geometry, **frame))


class TestNumbersToVoxels:
    def test_x_and_y_of_a_picture_are_column_and_row(self):
        (point,) = objects(PICTURE, ("point", "50,30"))["object"].points
        assert point.index == (50, 30, 0)
        (box,) = objects(PICTURE, ("box", "10,20:30,35"))["object"].boxes
        assert (box.start, box.stop) == ((10, 20, 0), (30, 35, 1))

    def test_three_numbers_of_a_volume_are_i_j_k(self):
        (point,) = objects(VOLUME, ("negative", "1,2,3.5"))["object"].points
        assert point.index == (1, 2, 3.5)
        assert not point.positive

    @pytest.mark.parametrize(("axis", "index"), [("i", (7, 4, 5)), ("j", (4, 7, 5)), ("k", (4, 5, 7))])
    def test_two_numbers_lie_in_the_slice_as_the_other_axes_in_order(self, axis, index):
        frame = {"axis": axis, "slice_index": 7}
        assert objects(VOLUME, ("point", "4,5"), **frame)["object"].points[0].index == index
        (box,) = objects(VOLUME, ("box", "4,5:6,8"), **frame)["object"].boxes
        assert np.subtract(box.stop, box.start)["ijk".index(axis)] == 1
        assert box.start == index
        (lasso,) = objects(VOLUME, ("lasso", "4,5:6,5:6,8"), **frame)["object"].items
        assert lasso.axis == axis
        assert tuple(lasso.vertices[0]) == index

    def test_a_lasso_names_its_slice(self):
        (lasso,) = objects(VOLUME, ("lasso", "4,5:6,5:6,8@11"))["object"].items
        assert lasso.slice_index == 11

    def test_two_numbers_on_a_volume_need_a_slice_and_the_error_shows_one(self):
        with pytest.raises(PromptError, match="--slice 10 --axis k"):
            objects(VOLUME, ("point", "4,5"))

    def test_a_slice_that_is_not_there_is_outside_the_image(self):
        with pytest.raises(PromptOutsideImageError):
            objects(VOLUME, ("point", "4,5"), slice_index=20)


class TestWorld:
    @given(st.tuples(*[st.floats(0, n - 1) for n in VOLUME.shape]))
    def test_a_point_in_millimetres_is_the_voxel_there(self, index):
        world = VOLUME.index_to_world(index)
        text = ",".join(map(repr, world.tolist()))
        (point,) = objects(VOLUME, ("point", text), world=True)["object"].points
        assert point.index == pytest.approx(index, abs=1e-9)

    @given(st.tuples(*[st.integers(0, n - 1) for n in VOLUME.shape]), st.data())
    @settings(max_examples=50)
    def test_a_box_in_millimetres_encloses_what_it_should_whatever_the_order_of_its_corners(self, start, data):
        stop = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, VOLUME.shape, strict=True))
        edges = VOLUME.index_to_world(np.array([start, stop]) - 0.5)
        swap = np.array(data.draw(st.tuples(*[st.booleans()] * 3)))
        first, second = np.where(swap, edges[1], edges[0]), np.where(swap, edges[0], edges[1])
        text = ":".join(",".join(map(repr, corner.tolist())) for corner in (first, second))
        assert objects(VOLUME, ("box", text), world=True)["object"].boxes == (Box(start, stop),)

    def test_a_box_from_centre_to_centre_holds_both_voxels(self):
        text = ":".join(
            ",".join(map(repr, corner)) for corner in VOLUME.index_to_world([[2, 3, 4], [5, 6, 7]]).tolist()
        )
        assert objects(VOLUME, ("box", text), world=True)["object"].boxes == (Box((2, 3, 4), (6, 7, 8)),)

    def test_a_box_across_the_one_plane_of_a_slice_is_cut_to_it(self):
        plane = VOLUME.plane("k", 5)
        low, high = plane.index_to_world([[2, 3, -4], [10, 12, 4]]).tolist()
        text = ":".join(",".join(map(str, corner)) for corner in (low, high))
        (box,) = objects(plane, ("box", text), world=True)["object"].boxes
        assert (box.start[2], box.stop[2]) == (0, 1)

    @pytest.mark.parametrize("option", [("point", "4,5"), ("lasso", "1,1:2,2:3,1")])
    def test_what_has_no_place_in_the_world_is_refused(self, option):
        with pytest.raises(PromptError, match=r"millimetres|--world"):
            objects(VOLUME, option, world=True)

    def test_a_picture_has_no_millimetres(self):
        with pytest.raises(PromptError, match="unknown scale"):
            objects(PICTURE, ("point", "4,5,0"), world=True)


class TestObjects:
    def test_with_one_label_all_prompts_belong_to_it_wherever_it_stands(self):
        found = objects(PICTURE, ("point", "1,2"), ("label", "liver"), ("point", "3,4"))
        assert {name: len(prompts.items) for name, prompts in found.items()} == {"liver": 2}

    def test_with_several_labels_prompts_belong_to_the_one_before(self):
        found = objects(
            PICTURE, ("label", "a"), ("point", "1,2"), ("label", "b"), ("box", "3,4:5,6"), ("negative", "4,4")
        )
        assert {name: [item.kind for item in p.items] for name, p in found.items()} == {
            "a": ["point"],
            "b": ["box", "point"],
        }

    @pytest.mark.parametrize(
        "options",
        [
            (("point", "1,2"), ("label", "a"), ("point", "1,2"), ("label", "b"), ("point", "1,2")),
            (("label", "a"), ("label", "b"), ("point", "1,2")),
            (("label", " "), ("point", "1,2")),
        ],
    )
    def test_a_prompt_without_object_and_an_object_without_prompt_are_usage_errors(self, options):
        with pytest.raises(UsageError):
            objects(PICTURE, *options)

    def test_no_prompt_is_no_object(self):
        assert objects(PICTURE) == {}

    @pytest.mark.parametrize(
        ("option", "message"),
        [
            (("box", "10,20:5,30"), "reversed"),
            (("box", "10,20:10,30"), "empty"),
            (("box", "1.5,2:3,4"), "whole"),
            (("point", "60,0"), "outside"),
            (("point", "-3,0"), "outside"),
            (("box", "0,0:61,40"), "outside"),
        ],
    )
    def test_wrong_prompts_are_refused_by_name(self, option, message):
        with pytest.raises(PromptError, match=message):
            objects(PICTURE, option)

    def test_contradictory_points_are_refused(self):
        with pytest.raises(PromptError, match="positive and a negative"):
            objects(PICTURE, ("point", "1,2"), ("negative", "1.2,2"))


class TestFile:
    def write(self, path, document):
        file = path / "prompts.json"
        file.write_text(document if isinstance(document, str) else json.dumps(document))
        return file

    def test_objects_and_prompts_of_a_file(self, tmp_path):
        entries = [
            {"kind": "point", "index": [1, 2, 3]},
            {"kind": "point", "index": [4, 2, 3], "positive": False},
            {"kind": "box", "start": [0, 0, 0], "stop": [9, 9, 9]},
        ]
        file = self.write(tmp_path, {"objects": [{"label": "liver", "prompts": entries}]})
        found = objects(VOLUME, ("label", "liver"), ("point", "5,5,5"), file=file)
        assert [item.kind for item in found["liver"].items] == ["point", "point", "box", "point"]
        assert [p.positive for p in found["liver"].points] == [True, False, True]

    def test_the_world_flag_of_the_file_is_its_own(self, tmp_path):
        world = VOLUME.index_to_world([3, 4, 5]).tolist()
        entry = {"kind": "point", "index": world}
        file = self.write(tmp_path, {"world": True, "objects": [{"label": "a", "prompts": [entry]}]})
        found = objects(VOLUME, ("label", "b"), ("point", "1,1,1"), file=file)
        assert found["a"].points[0].index == pytest.approx((3, 4, 5))
        assert found["b"].points[0].index == (1, 1, 1)

    @pytest.mark.parametrize(
        "document",
        [
            "not json",
            "[" * 100_000,
            "[1, 2]",
            {"things": []},
            {"objects": [{"label": "a"}]},
            {"objects": [{"label": 5, "prompts": [{"kind": "point", "index": [1, 2, 3]}]}]},
            {"objects": [{"label": " ", "prompts": [{"kind": "point", "index": [1, 2, 3]}]}]},
            {"world": "no", "objects": [{"label": "a", "prompts": [{"kind": "point", "index": [1, 2, 3]}]}]},
            {"objects": [{"prompts": [{"kind": "spell", "index": [1, 2, 3]}]}]},
            {"objects": [{"prompts": [{"kind": "point", "index": "abc"}]}]},
            {"objects": [{"prompts": [{"kind": "point", "file": "a.png"}]}]},
            {"objects": ["a"]},
            {"objects": 3},
        ],
    )
    def test_a_file_of_another_form_is_refused_by_name(self, tmp_path, document):
        with pytest.raises(PromptError):
            objects(VOLUME, file=self.write(tmp_path, document))

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(ReadError, match="no file"):
            objects(VOLUME, file=tmp_path / "none.json")


class TestLabelFiles:
    @pytest.fixture
    def stored(self, tmp_path):

        def store(array, geometry=VOLUME):
            path = tmp_path / "labels.nii.gz"
            write(LabelMap(array, geometry), path)
            return path

        return store

    def test_a_scribble_file_holds_both_signs(self, stored):
        array = np.zeros(VOLUME.shape, np.uint8)
        array[3:5, 4, 5], array[20, 4, 5] = 1, 2
        strokes = objects(VOLUME, ("scribble", str(stored(array))))["object"].items
        assert [(s.positive, len(s.voxels)) for s in strokes] == [(True, 2), (False, 1)]

    def test_a_mask_file(self, stored):
        array = np.zeros(VOLUME.shape, np.uint8)
        array[3:5, 4, 5] = 7
        (mask,) = objects(VOLUME, ("mask", str(stored(array))))["object"].items
        assert mask.mask.sum() == 2

    def test_files_in_a_prompts_file_lie_beside_it(self, stored, tmp_path):
        array = np.zeros(VOLUME.shape, np.uint8)
        array[3:5, 4, 5] = 1
        stored(array)
        document = {"objects": [{"prompts": [{"kind": "scribble", "file": "labels.nii.gz"}]}]}
        (tmp_path / "p.json").write_text(json.dumps(document))
        assert objects(VOLUME, file=tmp_path / "p.json")["object"].kinds == {"scribble"}

    @pytest.mark.parametrize("value", [0, 3])
    def test_other_values_and_none_are_refused(self, stored, value):
        with pytest.raises(PromptError, match="1 on the object, 2 beside it"):
            objects(VOLUME, ("scribble", str(stored(np.full(VOLUME.shape, value, np.uint8)))))

    @pytest.mark.parametrize("kind", ["scribble", "mask"])
    def test_a_file_of_another_shape_is_refused(self, stored, kind):
        other = Geometry.from_spacing((5, 5, 5))
        with pytest.raises(GeometryMismatchError):
            objects(VOLUME, (kind, str(stored(np.ones(other.shape, np.uint8), other))))
