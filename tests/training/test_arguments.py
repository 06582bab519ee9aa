"""Command lines: what cannot be used is refused by name before any work begins."""

from argparse import ArgumentTypeError

import pytest
from training.arguments import cache_file, cases_folder, checkpoint_file, count, crop_side, run_script, weights_file

from samaritan.core.errors import CheckpointMismatchError


@pytest.mark.parametrize("check", [cases_folder, weights_file, checkpoint_file])
def test_a_wrong_path_is_refused_by_name(check, tmp_path):
    with pytest.raises(ArgumentTypeError, match=r"nowhere.*name"):
        check(str(tmp_path / "nowhere"))


def test_right_paths_are_taken(tmp_path):
    (tmp_path / "cases.jsonl").touch()
    (tmp_path / "network.safetensors").touch()
    (tmp_path / "checkpoint.pt").touch()
    assert checkpoint_file(str(tmp_path / "checkpoint.pt")).name == "checkpoint.pt"
    assert cases_folder(str(tmp_path)) == tmp_path
    assert weights_file(str(tmp_path / "network.safetensors")).name == "network.safetensors"


def test_weights_that_may_be_calibrated_are_not_calibrated_again(tmp_path):
    (tmp_path / "calibrated.safetensors").touch()
    with pytest.raises(ArgumentTypeError, match=r"calibrated\.safetensors.*name a run's checkpoint\.pt"):
        checkpoint_file(str(tmp_path / "calibrated.safetensors"))


def test_decoded_views_go_to_a_file_that_numpy_finds_again():
    assert cache_file("runs/views.npz").name == "views.npz"
    with pytest.raises(ArgumentTypeError, match=r"ends in \.npz"):
        cache_file("runs/views")


@pytest.mark.parametrize("side", ["100", "0", "-32", "many"])
def test_crops_have_sides_that_the_network_takes(side):
    assert crop_side("96") == 96
    with pytest.raises(ArgumentTypeError, match="multiple of 32"):
        crop_side(side)


@pytest.mark.parametrize("steps", ["0", "-1", "1.5", "many"])
def test_a_run_has_a_step_at_least(steps):
    assert count("1") == 1
    with pytest.raises(ArgumentTypeError, match="1 or more"):
        count(steps)


@pytest.mark.parametrize("error", [CheckpointMismatchError(got="junk", fix="Train anew"), KeyboardInterrupt()])
def test_a_script_ends_in_a_sentence(error):
    def fails():
        raise error

    with pytest.raises(SystemExit, match=r"error: junk.*Train anew|same command goes on"):
        run_script(fails)
