import errno
from pathlib import Path

import pytest

from samaritan.core.errors import ReadError, WriteError
from samaritan.io.atomic import atomic_path


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_file_and_its_companions_appear_together_and_replace_older_ones(tmp_path):
    (tmp_path / "a.mhd").write_text("old")
    (tmp_path / "a.raw").write_text("old")
    with atomic_path(tmp_path / "a.mhd") as staged:
        assert staged.name == "a.mhd"
        staged.write_text("new")
        staged.with_suffix(".raw").write_text("new too")
        assert (tmp_path / "a.mhd").read_text() == "old"
    assert names(tmp_path) == ["a.mhd", "a.raw"]
    assert (tmp_path / "a.mhd").read_text() == "new"
    assert (tmp_path / "a.raw").read_text() == "new too"


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_nothing_remains_of_a_failure_and_the_old_file_stays(tmp_path, failure):
    (tmp_path / "a.nii").write_text("old")
    with pytest.raises(failure), atomic_path(tmp_path / "a.nii") as staged:  # noqa: PT012  # the failure comes midway
        staged.write_text("half")
        raise failure
    assert names(tmp_path) == ["a.nii"]
    assert (tmp_path / "a.nii").read_text() == "old"


def test_a_failed_move_undoes_those_before_it(tmp_path, monkeypatch):
    (tmp_path / "a.mhd").write_text("old")
    (tmp_path / "a.raw").write_text("old")

    def full(self, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(WriteError, match="disk is full"), atomic_path(tmp_path / "a.mhd") as staged:  # noqa: PT012
        staged.write_text("new")
        staged.with_suffix(".raw").write_text("new")
        staged.with_suffix(".json").write_text("new")
    assert names(tmp_path) == ["a.mhd", "a.raw"]
    assert (tmp_path / "a.mhd").read_text() == (tmp_path / "a.raw").read_text() == "old"


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "permission"), (errno.EIO, "Input")],
)
def test_what_the_system_says_is_put_in_words(tmp_path, number, words):
    with pytest.raises(WriteError, match=words), atomic_path(tmp_path / "a.nii"):
        raise OSError(number, "Input/output error")
    assert names(tmp_path) == []


def test_own_errors_pass_unchanged(tmp_path):
    with pytest.raises(ReadError), atomic_path(tmp_path / "a.nii"):
        raise ReadError(got="something else")


def test_a_folder_that_is_missing_or_a_file_or_the_target_itself(tmp_path):
    (tmp_path / "file").write_text("")
    for path, words in (
        (tmp_path / "no" / "a.nii", "does not exist"),
        (tmp_path / "file" / "a.nii", "not a folder"),
        (tmp_path, "is a folder"),
    ):
        with pytest.raises(WriteError, match=words), atomic_path(path):
            pytest.fail("the block must not run")


def test_data_of_another_header_is_not_replaced(tmp_path):
    (tmp_path / "b.zraw").write_text("the voxels of a.mhd")

    def write_pair():
        with atomic_path(tmp_path / "b.mhd") as staged:
            staged.write_text("header")
            staged.with_suffix(".zraw").write_text("new")

    with pytest.raises(WriteError, match="may be the data of another file"):
        write_pair()
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("b.zraw", "the voxels of a.mhd")]


def test_content_is_on_the_disk_before_its_name(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr("os.fsync", lambda _: flushed.append((tmp_path / "a").exists()))
    with atomic_path(tmp_path / "a") as staged:
        staged.write_text("content")
    assert flushed == [False]
