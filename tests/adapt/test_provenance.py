import json
import subprocess

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'train'")

from samaritan.adapt import provenance  # noqa: E402
from samaritan.adapt.provenance import commit_of, made_with  # noqa: E402


def git(folder, *words):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_clone_is_known_by_its_commit_and_by_changes_that_are_in_none(tmp_path):
    file = tmp_path / "code.py"
    file.write_text("1\n")
    git(tmp_path, "init")
    assert commit_of(file) == ""  # a file that the clone does not know, as those of an installed package
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "One")
    git(tmp_path, "tag", "-a", "v1", "-m", "A name that says less")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert commit_of(file) == commit
    file.write_text("2\n")
    assert commit_of(file) == f"{commit}-dirty"


def test_without_a_clone_or_without_git_the_versions_are_told(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit_of(tmp_path / "code.py") == ""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(provenance, "__version__", "9")
    found = made_with()
    assert found.keys() == {"samaritan", "torch", "numpy", "python"}
    assert (found["samaritan"], found["torch"]) == ("9", torch.__version__)
    assert json.dumps(found)
