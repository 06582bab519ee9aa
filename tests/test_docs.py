"""What the README and the guides show is run: Python blocks, and ``$ samaritan`` lines of console blocks."""

import re
import shlex
from pathlib import Path

import nibabel
import numpy as np
import pytest
from tests.cli.helpers import use_fake_model

from samaritan.cli import main
from samaritan.core.geometry import Geometry
from samaritan.core.image import Image
from samaritan.io import write
from samaritan.testing import phantoms

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^```(python|console|json)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")


def blocks(kind):
    for page in PAGES:
        for number, (language, text) in enumerate(_BLOCK.findall(page.read_text(encoding="utf-8"))):
            if language == kind:
                yield pytest.param(text, id=f"{page.relative_to(ROOT)}-{number}")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Lay out the files that the pages speak of."""
    folder = tmp_path_factory.mktemp("docs")
    write(phantoms.ct_volume((300, 320, 90)).image, folder / "ct.nii.gz")
    write(phantoms.picture(400, 360, colour=True).image, folder / "photo.png")
    _lay_out_sequences(folder)
    _lay_out_data_set(folder / "data")
    (document,) = _json_of_the_prompts_guide()
    (folder / "prompts.json").write_text(document)
    return folder


@pytest.fixture
def scans(files, monkeypatch):
    """Work among those files, with the fake model."""
    use_fake_model(monkeypatch)
    monkeypatch.chdir(files)
    monkeypatch.setenv("SAMARITAN_CACHE", str(files / ".cache"))


def _lay_out_data_set(folder):
    """Write the cases of two patients, with masks."""
    phantom = phantoms.ct_volume((24, 20, 6))
    for name in ("p1_a", "p1_b", "p2_a"):
        for kind in ("images", "masks"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        write(phantom.image, folder / f"images/{name}.nii.gz")
        write(phantom.truth, folder / f"masks/{name}.nii.gz")


def _lay_out_sequences(folder):
    """Write a lesion in an MR of three sequences: a file for each, and one for all."""
    near = np.linalg.norm(np.mgrid[:40, :36, :6] - np.array([22, 16, 3])[:, None, None, None], axis=0) < 8
    noise = np.random.default_rng(1).normal(0, 9, (3, *near.shape))
    grid = Geometry.from_spacing(near.shape, (1, 1, 3))
    scan = np.where(near, 300, 100) + noise
    for name, values in zip(("t1", "t2", "axial"), scan, strict=True):
        write(Image(values[None].astype(np.float32), grid), folder / f"{name}.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.moveaxis(scan, 0, -1), grid.affine), folder / "mr.nii.gz")


def _json_of_the_prompts_guide():
    text = (ROOT / "docs" / "guides" / "prompts.md").read_text(encoding="utf-8")
    return [body for language, body in _BLOCK.findall(text) if language == "json"]


@pytest.mark.parametrize("text", [*blocks("python")])
def test_python(scans, text):
    exec(compile(text, "block", "exec"), {})  # noqa: S102 - our own pages


@pytest.mark.parametrize("text", [*blocks("console")])
def test_console(scans, text):
    lines = [line[2:] for line in text.splitlines() if line.startswith("$ ")]
    assert lines
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "samaritan"
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert not left.value.code, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in _LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link
