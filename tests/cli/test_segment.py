import errno
import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.cli.helpers import left_behind

from samaritan.core.image import LabelMap
from samaritan.io import read_labels, write

LIVER = "6,5,2:29,24,16"


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


class TestVolume:
    def test_a_box_gives_a_mask_in_the_right_place(self, run, ct):
        path, phantom = ct
        options = ["--window", "soft-tissue", "-o", "liver.nii.gz", "--overlay", "liver.png"]
        done = run("segment", path, "--box", LIVER, "--label", "liver", *options)
        assert (done.code, done.err) == (0, "")
        found = read_labels("liver.nii.gz")
        assert found.geometry.matches(phantom.image.geometry)
        assert dict(found.names) == {1: "liver"}
        assert dice(found.mask(1), phantom.mask(1)) > 0.9
        assert "liver: " in done.out
        assert " ml, predicted IoU " in done.out
        assert left_behind(path.parent) == ["ct.nii.gz", "liver.nii.gz", "liver.png", "liver.report.json"]

    def test_a_dry_run_says_what_it_would_take_and_writes_nothing(self, run, ct):
        path, _ = ct
        done = run("segment", path, "--box", LIVER, "--dry-run", "--json", "-o", "liver.nii.gz")
        assert (done.code, done.err) == (0, "")
        planned = json.loads(done.out)
        assert planned["planes"] == planned["decodes"] == 16  # 14 slices, and two planes across them
        assert planned["at_most"] is False
        assert min(planned["seconds"], planned["memory_bytes"], planned["disk_bytes"]) > 0
        assert left_behind(path.parent) == ["ct.nii.gz"]
        told = run("segment", path, "--point", "17,14,9", "--dry-run").out
        assert "planes to encode: at most 24" in told

    def test_json_says_all_that_is_promised_and_nothing_else_is_printed(self, run, ct):
        path, _ = ct
        done = run("segment", path, "--box", LIVER, "--json", "-o", "liver.nii.gz")
        assert done.err == ""
        report = json.loads(done.out)
        assert report["model"] == "fake"
        assert report["shape"] == [48, 40, 24]
        assert report["spacing_mm"] == [1, 1, 2]
        assert report["orientation"] == "RAS"
        (found,) = report["objects"]
        mask = read_labels("liver.nii.gz").mask(1)
        where = np.argwhere(mask)
        assert found["voxels"] == mask.sum()
        assert found["volume_ml"] == pytest.approx(mask.sum() * 2 / 1000)
        assert 0 <= found["predicted_iou"] <= 1
        assert found["bounding_box"] == {"start": where.min(0).tolist(), "stop": (where.max(0) + 1).tolist()}
        assert {"read", "load_model", "embed", "decode", "write"} <= set(report["seconds"])
        assert report["peak_memory_mib"] > 10
        assert report["outputs"] == {"mask": "liver.nii.gz", "report": "liver.report.json"}

    def test_the_run_report_can_be_run_again(self, run, ct):
        path, _ = ct
        run("segment", path, "--box", LIVER, "--label", "liver", "-o", "a.nii.gz")
        kept = json.loads(Path("a.report.json").read_text())
        Path("again.json").write_text(json.dumps(kept["prompts"]))
        assert run("segment", path, "--prompts", "again.json", "-o", "b.nii.gz").code == 0
        assert np.array_equal(read_labels("a.nii.gz").array, read_labels("b.nii.gz").array)

    def test_world_millimetres_mean_the_same_place(self, run, ct):
        path, phantom = ct
        # Edges of voxels, half a voxel from their centres.
        low, high = phantom.image.geometry.index_to_world(np.array([[6, 5, 2], [29, 24, 16]]) - 0.5).tolist()
        corners = ":".join(",".join(map(str, corner)) for corner in (high, low))
        run("segment", path, "--box", LIVER, "-o", "a.nii.gz")
        assert run("segment", path, "--box", corners, "--world", "-o", "b.nii.gz").code == 0
        assert np.array_equal(read_labels("a.nii.gz").array, read_labels("b.nii.gz").array)

    def test_a_negative_number_is_a_coordinate_and_no_option(self, run, ct):
        path, _ = ct
        done = run("segment", path, "--point", "-12.5,3,40", "--world")
        assert done.code == 2
        assert "outside the image" in done.err

    def test_a_click_on_one_slice_is_followed_through_the_volume(self, run, ct):
        path, phantom = ct
        where = ["--point", "17,14", "--slice", "8", "--axis", "k", "--window", "soft-tissue"]
        done = run("segment", path, *where, "-o", "liver.nii.gz")
        assert done.code == 0
        assert dice(read_labels("liver.nii.gz").mask(1), phantom.mask(1)) > 0.9

    def test_several_objects_keep_their_names(self, run, ct):
        path, phantom = ct
        kidney = ["--label", "kidney", "--point", "36,30,18"]
        done = run("segment", path, "--label", "liver", "--box", LIVER, *kidney, "-o", "both.nrrd")
        assert done.code == 0
        found = read_labels("both.nrrd")
        assert dict(found.names) == {1: "liver", 2: "kidney"}
        assert dice(found.mask(2), phantom.mask(2)) > 0.9

    def test_the_default_output_is_named_after_the_image_in_the_current_folder(self, run, ct, place, monkeypatch):
        path, _ = ct
        (place / "elsewhere").mkdir()
        monkeypatch.chdir(place / "elsewhere")
        assert run("segment", path, "--box", LIVER).code == 0
        assert left_behind(place / "elsewhere") == ["ct_seg.nii.gz", "ct_seg.report.json"]

    def test_a_second_run_uses_what_was_encoded_and_replaces_the_output(self, run, ct):
        path, _ = ct
        first = run("segment", path, "--box", LIVER, "-o", "m.nii.gz")
        before = read_labels("m.nii.gz").array
        second = run("segment", path, "--box", LIVER, "-o", "m.nii.gz")
        assert (first.code, second.code) == (0, 0)
        assert first.out == second.out
        assert np.array_equal(before, read_labels("m.nii.gz").array)

    def test_an_object_that_is_not_found_is_said_so(self, run, ct):
        path, _ = ct
        report = json.loads(run("segment", path, "--box", "0,0,20:3,3,22", "--json").out)
        (found,) = report["objects"]
        if not found["voxels"]:
            assert found["bounding_box"] is None


class TestPicture:
    def test_a_picture_gives_a_mask_picture_and_an_area_in_pixels(self, run, photo):
        path, phantom = photo
        done = run("segment", path, "--point", "29,26", "--json", "--overlay", "o.png")
        assert done.code == 0
        report = json.loads(done.out)
        assert report["spacing_mm"] is None
        assert report["outputs"]["mask"] == "photo_seg.png"
        found = read_labels("photo_seg.png")
        assert report["objects"][0]["area_pixels"] == np.count_nonzero(found.array)
        assert dice(found.array > 0, phantom.mask(1)) > 0.95

    def test_scribble_lasso_and_mask_files(self, run, photo):
        path, phantom = photo
        strokes = np.zeros(phantom.image.shape, np.uint8)
        strokes[27:32, 26], strokes[2:8, 2] = 1, 2
        write(LabelMap(strokes, phantom.image.geometry), "strokes.png")
        write(LabelMap(phantom.mask(1), phantom.image.geometry), "mask.png")
        for option in (["--scribble", "strokes.png"], ["--mask", "mask.png"], ["--lasso", "12,8:46,8:46,42:12,42"]):
            assert run("segment", path, *option, "-o", "out.png").code == 0, option
            assert dice(read_labels("out.png").array > 0, phantom.mask(1)) > 0.9, option

    def test_words_reach_the_model_and_a_model_that_cannot_read_says_so(self, run, photo):
        path, _ = photo
        done = run("segment", path, "--text", "polyp", "-o", "out.png")
        assert done.code == 2
        assert "a text prompt for model" in done.err
        assert "an empty text prompt" in run("segment", path, "--text", " ").err


class TestNoPrompt:
    @pytest.mark.parametrize("which", ["ct", "photo"])
    def test_it_says_which_prompts_there_are_and_shows_a_line_that_works(self, run, request, which):
        path, _ = request.getfixturevalue(which)
        spaced = path.rename(path.with_name(f"my {path.name}"))
        done = run("segment", spaced)
        assert done.code == 2
        assert "--point" in done.err
        assert "--scribble" in done.err
        (line,) = [line for line in done.err.splitlines() if line.startswith("  samaritan segment")]
        assert run(*shlex.split(line)[1:]).code == 0

    def test_the_line_reads_the_image_with_the_options_that_it_needs(self, run, place):
        pages = [Image.new("L", (40, 30)), *(Image.linear_gradient("L").resize((40, 30)) for _ in range(2))]
        pages[0].save(place / "pages.tif", save_all=True, append_images=pages[1:])
        for options in (["--volume"], ["--select", "1"]):
            done = run("segment", place / "pages.tif", *options)
            (line,) = [line for line in done.err.splitlines() if line.startswith("  samaritan segment")]
            assert run(*shlex.split(line)[1:]).code == 0

    def test_a_label_alone_is_no_prompt(self, run, photo):
        assert "no prompt" in run("segment", photo[0], "--label", "liver").err


class TestMistakes:
    """Each line of the issue's bad input that a command line can produce."""

    @pytest.mark.parametrize(
        ("options", "code", "message"),
        [
            (["--point", "48,0,0"], 2, "outside the image"),
            (["--box", "29,24,16:6,5,2"], 2, "reversed"),
            (["--box", "6,5,2:6,24,16"], 2, "empty"),
            (["--box", "6,5,2"], 2, "x0,y0,z0:x1,y1,z1"),
            (["--point", "a,b,c"], 2, "numbers"),
            (["--point", "17,14"], 2, "--slice"),
            (["--point", "17,14", "--slice", "99"], 2, "outside"),
            (["--point", "17,14", "--slice", "9", "--axis", "z"], 2, "i, j or k"),
            (["--point", "17,14,8", "--negative", "17,14,8"], 2, "same voxel"),
            (["--negative", "17,14,8"], 2, "only negative"),
            (["--box", LIVER, "--model", "fakee"], 2, "Did you mean 'fake'"),
            (["--box", LIVER, "--window", "lungs"], 2, "Did you mean 'lung'"),
            (["--box", LIVER, "--window", "40,0"], 1, "width"),
            (["--box", LIVER, "--device", "abacus"], 2, "unknown device"),
            (["--box", LIVER, "--max-memory", "lots"], 2, "4GiB"),
            (["--box", LIVER, "--max-memory", "1MiB"], 1, "memory"),
            (["--box", LIVER, "--prompts", "none.json"], 1, "no file"),
            (["--box", LIVER, "--scribble", "none.nii.gz"], 1, "no file"),
            (["--box", LIVER, "--scribble", "other.nii.gz"], 1, "other.nii.gz"),
            (["--box", LIVER, "--mask", "other.nii.gz"], 1, "other.nii.gz"),
            (["--box", LIVER, "-o", "out.xyz"], 1, ".nii.gz"),
            (["--box", LIVER, "-o", "no/such/folder/out.nii.gz"], 1, "mkdir -p no/such/folder"),
            (["--box", LIVER, "-o", "."], 1, ""),
            (["--box", LIVER, "--overlay", "o.txt"], 1, "picture"),
            (["--box", LIVER, "-o", "a.png", "--overlay", "a.png"], 2, "--overlay and -o are both a.png"),
            (["--label", "a", "--label", "b", "--box", LIVER], 2, "--label a"),
            (["--box", LIVER, "-o", "seg.dcm", "--type", "fractional"], 2, "BINARY, LABELMAP"),
            (["--frobnicate"], 2, "--frobnicate"),
        ],
    )
    def test_wrong_options_are_named_and_leave_nothing(self, run, ct, other_grid, options, code, message):
        path, _ = ct
        done = run("segment", path, *options)
        assert message in done.err
        assert done.code == code
        assert "Traceback" not in done.err
        assert done.out == ""
        assert left_behind(path.parent) == ["ct.nii.gz", "other.nii.gz"]

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("none.nii.gz", None, "no file"),
            ("empty.nii.gz", b"", "empty"),
            ("notes.nii", b"these are words" * 100, "no known format"),
        ],
    )
    def test_wrong_files(self, run, place, name, content, message):
        if content is not None:
            (place / name).write_bytes(content)
        done = run("segment", name, "--point", "1,1,1")
        assert done.code == 1
        assert message in done.err

    def test_a_truncated_file(self, run, ct):
        path, _ = ct
        path.write_bytes(path.read_bytes()[:-200])
        done = run("segment", path, "--point", "1,1,1")
        assert done.code == 1
        assert "error: " in done.err

    @pytest.mark.parametrize("output", ["ct.nii.gz", "./ct.nii.gz", "link.nii.gz", "hard.nii.gz"])
    def test_the_input_is_never_written_to(self, run, ct, output):
        path, _ = ct
        before = path.read_bytes()
        path.with_name("link.nii.gz").symlink_to(path)
        path.with_name("hard.nii.gz").hardlink_to(path)
        done = run("segment", path, "--box", LIVER, "-o", output)
        assert done.code == 2
        assert "the input is never written to" in done.err
        assert path.read_bytes() == before

    def test_an_image_without_contrast(self, run, place, ct):
        _, phantom = ct
        flat = replace(phantom.image, array=np.zeros_like(phantom.image.array))
        write(flat, place / "flat.nii.gz")
        done = run("segment", "flat.nii.gz", "--point", "1,1,1")
        assert done.code == 1
        assert "contrast" in done.err

    def test_a_full_disk_leaves_nothing_half_written(self, run, ct, monkeypatch):
        def full(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("samaritan.io.dispatch.verify", full)
        path, _ = ct
        done = run("segment", path, "--box", LIVER, "-o", "m.nii.gz")
        assert done.code == 1
        assert "disk is full" in done.err
        assert left_behind(path.parent) == ["ct.nii.gz"]

    def test_a_mistake_of_ours_is_said_to_be_one_and_debug_shows_where(self, run, ct, monkeypatch):
        def broken(*_, **__):
            msg = "oops"
            raise ZeroDivisionError(msg)

        monkeypatch.setattr("samaritan.infer.segment", broken)
        path, _ = ct
        done = run("segment", path, "--box", LIVER)
        assert done.code == 1
        assert "mistake in Samaritan" in done.err
        assert "Traceback" not in done.err
        assert "Traceback" in run("segment", path, "--box", LIVER, "--debug").err
