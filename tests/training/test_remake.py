"""The one command that makes the weights: what it runs, in which order, and what it leaves out when run again."""

import re
from pathlib import Path

import pytest
from training.tiny.remake import remake, stages


def files(stage):
    """Return the weights that a stage reads."""
    given = dict(zip(stage.arguments[::2], stage.arguments[1::2], strict=True))
    return [Path(given[name]) for name in ("--init", "--weights", "--mean-with") if name in given]


def test_each_stage_reads_what_those_before_it_made(tmp_path):
    made = set()
    for stage in stages(tmp_path, tmp_path / "runs"):
        assert set(files(stage)) <= made
        given = dict(zip(stage.arguments[::2], stage.arguments[1::2], strict=True))
        made.add(stage.product or Path(given["--out"]) / "checkpoint.pt")
    assert files(stage) == [tmp_path / "runs/last/calibrated.safetensors"]


def test_arguments_for_training_reach_each_run_and_nothing_else(tmp_path):
    plan = stages(tmp_path, tmp_path, extra=["--precision", "float32"])
    assert {stage.program for stage in plan if "float32" in stage.arguments} == {"train"}


def test_what_is_calibrated_is_not_calibrated_again(tmp_path, capsys):
    plan = stages(tmp_path, tmp_path)
    plan[1].product.parent.mkdir()
    plan[1].product.touch()
    ran = []
    remake(plan, lambda command: ran.append(command) or 0)
    assert [command[2].rpartition(".")[2] for command in ran] == [
        "train", "train", "calibrate", "train", "calibrate", "export",
    ]  # fmt: skip
    assert re.search(r"\[2/7\] calibrate: done before", capsys.readouterr().out)


def test_a_stage_that_fails_ends_it(tmp_path):
    ran = []
    with pytest.raises(SystemExit) as ended:
        remake(stages(tmp_path, tmp_path), lambda command: ran.append(command) or 3)
    assert ended.value.code == 3
    assert len(ran) == 1
