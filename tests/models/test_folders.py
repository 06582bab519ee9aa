"""One call at a time holds a folder, however others come and go, and no trace of that stays."""

import os
import subprocess
import sys
import threading
from contextlib import ExitStack

import pytest

from samaritan.models import folders
from samaritan.models.folders import held, make_folders, remove_empty

HOLD = """
import sys
from pathlib import Path
from samaritan.models.folders import held
with held(Path(sys.argv[1])) as ours:
    print(ours, flush=True)
    sys.stdin.read()
"""


def test_folders_that_were_made_and_stayed_empty_go_again(tmp_path):
    made = make_folders(tmp_path / "a" / "b")
    assert made == [tmp_path / "a" / "b", tmp_path / "a"]
    (tmp_path / "a" / "mine").touch()
    remove_empty(made)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "mine"]
    assert make_folders(tmp_path / "a") == []


def test_of_folders_that_cannot_all_be_made_none_is(tmp_path):
    with pytest.raises(OSError, match="File name too long"):
        make_folders(tmp_path / "a" / ("b" * 300))
    assert not list(tmp_path.iterdir())


def test_nothing_stays_of_a_folder_that_was_held(tmp_path):
    folder = tmp_path / "new" / "folder"
    for error in (None, KeyboardInterrupt, OSError):
        with pytest.raises(error) if error else ExitStack(), held(folder) as ours:
            assert ours
            assert folder.is_dir()
            if error:
                raise error
        assert not list(tmp_path.iterdir())
    with held(folder):
        (folder / "result").touch()
    assert [path.name for path in folder.iterdir()] == ["result"]


def test_who_comes_second_does_not_get_it_and_takes_nothing_away(tmp_path):
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "x")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert first.stdout.readline() == "True\n"
    for _ in range(2):
        with held(tmp_path / "x") as ours:
            assert not ours
    first.kill()
    first.communicate()
    with held(tmp_path / "x") as ours:  # what a killed process leaves keeps nobody away
        assert ours
    assert not list((tmp_path / "x").iterdir())


def test_a_lock_whose_file_is_gone_by_then_keeps_nobody_away_and_is_none(tmp_path, monkeypatch):
    """One call opens the file; who held it removes that and ends; a third makes it anew; then the first locks."""
    lock = folders._lock
    with ExitStack() as third:

        def late(file):
            monkeypatch.setattr(folders, "_lock", lock)
            (tmp_path / ".lock").unlink()
            assert third.enter_context(held(tmp_path))
            return lock(file)

        monkeypatch.setattr(folders, "_lock", late)
        with held(tmp_path) as ours:
            assert not ours
        assert (tmp_path / ".lock").exists()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_gone_by_then_is_made_again(tmp_path, monkeypatch):
    lock = folders._lock

    def late(file):
        monkeypatch.setattr(folders, "_lock", lock)
        (tmp_path / "x" / ".lock").unlink()
        (tmp_path / "x").rmdir()
        return lock(file)

    monkeypatch.setattr(folders, "_lock", late)
    with held(tmp_path / "x") as ours:
        assert ours
        assert (tmp_path / "x" / ".lock").exists()
    assert not list(tmp_path.iterdir())


def test_a_folder_where_no_lock_can_be_made_is_given_up(tmp_path):
    (tmp_path / ".lock").symlink_to(tmp_path / "nowhere" / "file")
    with pytest.raises(FileNotFoundError), held(tmp_path):
        pass


def test_of_many_that_try_again_and_again_never_two_are_inside(tmp_path):
    """The folder comes and goes as well, but for the last time: who made it may have left before another call came."""
    folder, wrong, entered = tmp_path / "x", [], []

    def work():
        try:
            for _ in range(200):
                with held(folder) as ours:
                    if ours:
                        os.close(os.open(tmp_path / "inside", os.O_CREAT | os.O_EXCL))
                        entered.append(1)
                        (tmp_path / "inside").unlink()
        except BaseException as error:
            wrong.append(error)
            raise

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert entered
    assert {path.name for path in tmp_path.rglob("*")} <= {"x"}
