import pytest
from tests.cli.helpers import Result, use_fake_model

from samaritan.cli import main
from samaritan.core.geometry import Geometry
from samaritan.core.image import LabelMap
from samaritan.io import write
from samaritan.testing import phantoms


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Work in an empty folder, with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAMARITAN_CACHE", str(tmp_path / ".cache"))
    return tmp_path


@pytest.fixture
def fake_model(monkeypatch):
    """Make the fake model the default one."""
    use_fake_model(monkeypatch)


@pytest.fixture
def run(fake_model, capsys):
    """Run the program in this process, with the fake model."""

    def run(*args):
        with pytest.raises(SystemExit) as left:
            main([str(arg) for arg in args])
        printed = capsys.readouterr()
        return Result(left.value.code or 0, printed.out, printed.err)

    return run


@pytest.fixture
def ct(place):
    """A CT volume on disk: its path, and the phantom."""
    phantom = phantoms.ct_volume()
    return write(phantom.image, place / "ct.nii.gz"), phantom


@pytest.fixture
def photo(place):
    """A picture on disk: its path, and the phantom."""
    phantom = phantoms.picture(colour=True)
    return write(phantom.image, place / "photo.png"), phantom


@pytest.fixture
def other_grid(place):
    """A label map on a grid that is no image's here."""
    geometry = Geometry.from_spacing((5, 5, 5))
    labels = LabelMap(phantoms.ct_volume((5, 5, 5)).truth.array > 0, geometry)
    return write(labels, place / "other.nii.gz")
