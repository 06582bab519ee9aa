from __future__ import annotations

import contextlib
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813  # its own documentation's name
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from samaritan.core.errors import (
    CorruptFileError,
    InconsistentSeriesError,
    SamaritanError,
    UnknownNameError,
    UnsupportedFormatError,
)
from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB
from samaritan.io.dicom.image import read
from samaritan.io.format import ReadOptions


def load(path, **options):
    return read(Path(path), ReadOptions(**options))


def packaged(name: str) -> Path:
    path = get_testdata_file(name, download=False)
    assert path is not None, name
    return Path(path)


# -- volumes ------------------------------------------------------------------------------------------------------


def test_a_series_is_sorted_by_position_whatever_its_files_are_called(series, tmp_path):
    made = series(tags={"WindowCenter": [40, 300], "WindowWidth": [400, 1500]})
    image = load(made.write(tmp_path / "ct"))
    np.testing.assert_array_equal(image.array[0], made.voxels.transpose(2, 1, 0))
    assert image.array.dtype == np.int16
    assert image.geometry.matches(Geometry.from_lps((7, 6, 5), made.affine_lps))
    assert (image.modality, image.window, image.channels) == ("CT", (40, 400), ("intensity",))
    assert image.geometry.orientation == "LPS"


@pytest.mark.parametrize("angles", [(0, 0, 0), (0.2, -0.3, 0.15)], ids=["straight", "oblique"])
def test_every_orientation_agrees_with_itk(series, cosines, tmp_path, angles):
    for n, pair in enumerate(cosines(angles)):
        folder = series(cosines=pair).write(tmp_path / str(n))
        image = load(folder)
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
        itk = reader.Execute()
        direction = np.array(itk.GetDirection()).reshape(3, 3) * itk.GetSpacing()
        affine = np.vstack([np.column_stack([direction, itk.GetOrigin()]), [0, 0, 0, 1]])
        assert image.geometry.matches(Geometry.from_lps(itk.GetSize(), affine))
        np.testing.assert_array_equal(image.array[0], sitk.GetArrayViewFromImage(itk).transpose(2, 1, 0))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    angles=st.tuples(*[st.floats(-3, 3)] * 3),
    spacing=st.tuples(*[st.floats(0.2, 6)] * 3),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
)
def test_any_oblique_grid_comes_back(series, cosines, tmp_path_factory, angles, spacing, origin):
    spacing, origin = (tuple(round(v, 4) for v in values) for values in (spacing, origin))
    made = series(cosines=cosines(angles)[0], spacing=spacing, origin=origin)
    image = load(made.write(tmp_path_factory.mktemp("s")))
    assert image.geometry.matches(Geometry.from_lps((7, 6, 5), made.affine_lps))


def test_enhanced_frames_are_sorted_and_rescaled(series, cosines, tmp_path):
    made = series(cosines=cosines((0.1, 0.2, 0.3))[5])
    image = load(made.write_enhanced(tmp_path / "e.dcm", [3, 0, 4, 1, 2]))
    np.testing.assert_array_equal(image.array[0], made.voxels.transpose(2, 1, 0) - 10)
    assert image.geometry.matches(Geometry.from_lps((7, 6, 5), made.affine_lps))


def test_a_zip_and_a_folder_read_alike(series, tmp_path):
    folder = series().write(tmp_path / "ct")
    (folder / "notes.txt").write_text("not DICOM")
    (folder / ".hidden").mkdir()
    series(voxels=np.ones((2, 3, 3), np.int16)).write(folder / ".hidden")
    with zipfile.ZipFile(tmp_path / "ct.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for n, file in enumerate(folder.glob("*.dcm")):
            archive.write(file, f"../../evil/{n}/{file.name}")  # a name that points outside is only a name
    one, two = load(folder), load(tmp_path / "ct.zip")
    np.testing.assert_array_equal(one.array, two.array)
    assert one.geometry.matches(two.geometry)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ct", "ct.zip"]


def test_an_instance_stored_twice_counts_once(series, tmp_path):
    folder = series().write(tmp_path / "ct")
    copy = next(folder.iterdir())
    (folder / "copy.dcm").write_bytes(copy.read_bytes())
    assert load(folder).shape == (7, 6, 5)


# -- values -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "dtype", "expected"),
    [
        ({"RescaleIntercept": -1024}, np.int16, -1024),
        ({"RescaleSlope": "0.5"}, np.float32, 0),
        ({"RescaleIntercept": "0.25"}, np.float32, 0.25),
        ({"PixelRepresentation": 0}, np.uint16, 0),
        ({"PixelRepresentation": 0, "RescaleIntercept": -1024, "BitsStored": 12, "HighBit": 11}, np.int16, -1024),
    ],
)
def test_rescale_keeps_whole_numbers_whole(series, tmp_path, tags, dtype, expected):
    image = load(series(tags=tags).write(tmp_path / "ct"))
    assert image.array.dtype == dtype
    assert image.array[0, 0, 0, 0] == expected


def test_a_rescale_beyond_all_numbers_is_named(series, tmp_path):
    with pytest.raises(CorruptFileError, match="rescales by"):
        load(series(tags={"RescaleIntercept": "1e400"}).write(tmp_path / "ct"))


def test_a_slope_of_each_slice_is_its_own(series, tmp_path):
    def edit(k, data):
        data.RescaleSlope = 1 + k

    made = series(edit=edit)
    image = load(made.write(tmp_path / "pet"))
    np.testing.assert_allclose(image.array[0], (made.voxels * np.arange(1, 6)[:, None, None]).transpose(2, 1, 0))


def test_values_beyond_sixteen_bits_widen_the_array(series, tmp_path):
    voxels = np.full((2, 3, 4), -32768, np.int16)
    voxels[1] = 5
    image = load(series(voxels=voxels, tags={"RescaleIntercept": -1024}).write(tmp_path / "ct"))
    assert (image.array.min(), image.array.max()) == (-33792, -1019)


def test_film_of_monochrome1_is_turned_over_and_pet_is_not(series, tmp_path):
    tags = {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0}
    made = series(tags={**tags, "Modality": "DX", "WindowCenter": 1000, "WindowWidth": 200})
    film = load(made.write(tmp_path / "dx"))
    np.testing.assert_array_equal(film.array[0], 4095 - made.voxels.transpose(2, 1, 0))
    assert film.window == (3095, 200)
    pet = load(series(tags={**tags, "Modality": "PT"}).write(tmp_path / "pt"))
    np.testing.assert_array_equal(pet.array[0], made.voxels.transpose(2, 1, 0))


def test_colour_palette_and_ybr_become_rgb():
    for name, size in (("examples_palette.dcm", (800, 350, 1)), ("SC_rgb_dcmtk_+eb+cy+np.dcm", (100, 100, 1))):
        image = load(packaged(name))
        assert (image.channels, image.array.dtype, image.shape) == (RGB, np.uint8, size)
        assert image.geometry.unit == "pixel"
    red = load(packaged("SC_rgb_dcmtk_+eb+cy+np.dcm")).array[:, 50, 5, 0]
    assert red[0] > 240
    assert red[1] < 15
    assert red[2] < 15


# What cannot be unpacked: a code stream that contradicts its header, a file cut short, a number of frames that is none.
_BROKEN = {"JPEG2000-embedded-sequence-delimiter.dcm", "MR_truncated.dcm", "badVR.dcm"}


def test_every_packaged_file_reads_or_says_why():
    folder = packaged("CT_small.dcm").parent
    broken = set()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size):
        try:
            assert load(path, select=0).array.size
        except UnsupportedFormatError:
            header = pydicom.dcmread(path, force=True, stop_before_pixels=True)
            assert not header.get("Rows") or header.Modality == "SEG" or "SOPClassUID" not in header, path
        except CorruptFileError:
            broken.add(path.name)
    assert broken == _BROKEN


def test_transfer_syntaxes_give_the_same_voxels():
    plain = load(packaged("MR_small.dcm"))
    for name in ("RLE", "bigendian", "expb", "implicit", "jp2klossless", "jpeg_ls_lossless", "padded"):
        other = load(packaged(f"MR_small_{name}.dcm"))
        np.testing.assert_array_equal(other.array, plain.array, err_msg=name)
        assert other.geometry.matches(plain.geometry)


def test_twelve_bit_lossy_jpeg():
    image = load(packaged("JPEG-lossy.dcm"))
    assert (image.array[0, 140, 420, 0], image.array[0, 120, 230, 0]) == (244, 95)  # as pydicom's own tests have it


# -- choices ------------------------------------------------------------------------------------------------------


def test_two_series_must_be_chosen_from_and_no_patient_is_named(series, tmp_path):
    folder = series(tags={"SeriesDescription": "arterial"}).write(tmp_path / "study")
    other = series(tags={"SeriesDescription": "venous", "SeriesNumber": 9, "RescaleIntercept": -7})
    other.write(folder)
    with pytest.raises(InconsistentSeriesError, match=r"1: 'arterial' CT 7×6×5 .*2: 'venous'.*--series 2") as caught:
        load(folder)
    assert "SECRET" not in str(caught.value)
    assert "Doe" not in str(caught.value)
    for choice in ("2", 2, "venous", "VEN", other.uid, other.uid[:-3]):
        assert load(folder, series=choice).array.min() == -7
    with pytest.raises(UnknownNameError, match="no series 'portal'"):
        load(folder, series="portal")


def test_a_localiser_is_a_series_of_its_own(series, tmp_path):
    uid = pydicom.uid.generate_uid()
    folder = series(uid=uid).write(tmp_path / "ct")
    scout = series(
        uid=uid, voxels=np.ones((1, 4, 4), np.int16), tags={"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    )
    scout.write(folder)
    with pytest.raises(InconsistentSeriesError, match="localiser"):
        load(folder)
    assert load(folder, series=1).shape == (7, 6, 5)


def test_echoes_at_one_place_are_chosen_by_name_or_index(series, tmp_path):
    uid = pydicom.uid.generate_uid()
    for echo in (20, 5):
        series(uid=uid, tags={"EchoTime": echo, "RescaleIntercept": echo}).write(tmp_path / "mr")
    with pytest.raises(InconsistentSeriesError, match=r"2 volumes at one place: echo time 5.*, echo time 20"):
        load(tmp_path / "mr")
    assert load(tmp_path / "mr", select=0).array.min() == 5
    assert load(tmp_path / "mr", select="1").array.min() == 20
    with pytest.raises(UnknownNameError):
        load(tmp_path / "mr", select=2)


def test_a_film_gives_one_frame(tmp_path):
    film = packaged("examples_ybr_color.dcm")
    with pytest.raises(InconsistentSeriesError, match=r"30 frames.*select=0 \(--select 0\), up to 29"):
        load(film)
    first, last = load(film, select=0), load(film, select="frame 29")
    assert first.shape == (320, 240, 1)
    assert (first.array != last.array).any()
    with pytest.raises(UnknownNameError):
        load(film, select=30)


# -- refusals -----------------------------------------------------------------------------------------------------


def shifted(k, data):
    if k == 2:
        data.ImagePositionPatient = [*data.ImagePositionPatient[:2], data.ImagePositionPatient[2] + 0.2]


def aside(k, data):
    if k == 2:
        data.ImagePositionPatient = [data.ImagePositionPatient[0] + 0.2, *data.ImagePositionPatient[1:]]


def turned(k, data):
    if k == 2:
        data.ImageOrientationPatient = [0, 1, 0, -1, 0, 0]


def finer(k, data):
    if k == 2:
        data.PixelSpacing = [0.5, 0.5]


def smaller(k, data):
    if k == 2:
        data.Rows, data.PixelData = 5, data.PixelData[: 5 * 7 * 2] + b""


def doubled(k, data):
    if k == 2:
        data.ImagePositionPatient = [*data.ImagePositionPatient[:2], data.ImagePositionPatient[2] - 2.5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"drop": (2,)}, r"gap of 5\.000 mm between slices 1 and 2.*2\.500 mm is usual: 1 missing"),
        ({"edit": shifted}, "unevenly spaced"),
        ({"shear": (0, 0.3, 0)}, r"0\.300 mm aside.*gantry tilt of 6\.8°"),
        ({"edit": aside}, "from where even steps put it"),
        ({"edit": turned}, "mixes orientations"),
        ({"edit": finer}, "mixes pixel spacings"),
        ({"edit": smaller}, "mixes sizes 7×"),
        ({"edit": doubled}, "nothing in their headers tells the repeats apart"),
    ],
)
def test_slices_that_make_no_grid_are_refused_with_the_reason(series, tmp_path, change, message):
    with pytest.raises(InconsistentSeriesError, match=message):
        load(series(**change).write(tmp_path / "ct"))


def test_rounding_of_positions_is_no_gap(series, tmp_path):
    def rounded(k, data):
        data.ImagePositionPatient = [round(float(v), 2) for v in data.ImagePositionPatient]

    made = series(spacing=(0.7, 0.7, 0.703125), voxels=np.zeros((40, 3, 3), np.int16), edit=rounded)
    image = load(made.write(tmp_path / "ct"))
    assert image.geometry.spacing[2] == pytest.approx(0.703125, abs=0.001)


def test_folders_and_files_without_an_image(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(UnsupportedFormatError, match="no DICOM object"):
        load(tmp_path)
    with pytest.raises(UnsupportedFormatError, match="read_labels"):
        load(packaged("liver_1frame.dcm"))
    with pytest.raises(UnsupportedFormatError, match="Basic Text SR"):
        load(packaged("reportsi.dcm"))


def test_a_file_without_pixels_is_named(series, tmp_path):
    def strip(_, data):
        del data.PixelData

    with pytest.raises(CorruptFileError, match="without pixels"):
        load(series(voxels=np.zeros((1, 3, 3), np.int16), edit=strip).write(tmp_path / "ct"))


def test_no_change_of_bytes_gets_past_the_errors(tmp_path):
    rng = np.random.default_rng(7)
    for name in ("CT_small.dcm", "MR_small_RLE.dcm", "SC_rgb_jpeg_dcmtk.dcm", "JPEGLSNearLossless_08.dcm"):
        whole = packaged(name).read_bytes()
        for n in range(25):
            data = bytearray(whole[: int(rng.integers(300, len(whole)))] if n % 3 == 0 else whole)
            for at in rng.integers(132, len(data), 6):
                data[at] = int(rng.integers(256))
            (tmp_path / "x.dcm").write_bytes(data)
            with contextlib.suppress(SamaritanError):
                load(tmp_path / "x.dcm", select=0)


def test_zip_bombs_encrypted_and_broken_zips_are_refused(tmp_path):
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.dcm", bytes(70 * 2**20))
    with pytest.raises(CorruptFileError, match="unpacks from"):
        load(bomb)
    locked = tmp_path / "locked.zip"
    with zipfile.ZipFile(locked, "w") as archive:
        archive.writestr("a.dcm", b"x" * 200)
    data = bytearray(locked.read_bytes())
    at = data.index(b"PK\x01\x02")
    struct.pack_into("<H", data, at + 8, 1)
    locked.write_bytes(data)
    with pytest.raises(UnsupportedFormatError, match="encrypted"):
        load(locked)
    broken = tmp_path / "broken.zip"
    with zipfile.ZipFile(broken, "w") as archive:
        archive.writestr("a.dcm", b"x" * 200)
    broken.write_bytes(broken.read_bytes().replace(b"x" * 50, b"y" * 50, 1))
    with pytest.raises(CorruptFileError, match="cannot be unpacked"):
        load(broken)


def test_pydicoms_warnings_stay_inside(series, tmp_path):
    def bend(_, data):
        data["SeriesDescription"]._value = "x" * 100
        data["ImagePositionPatient"]._value = [f"{v:.12f}00" for v in data.ImagePositionPatient]

    folder = series(edit=bend).write(tmp_path / "ct")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(folder)
        load(packaged("MR_small_padded.dcm"))
