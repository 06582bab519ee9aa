import contextlib
import gzip
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from samaritan.core.errors import (
    CorruptFileError,
    GeometryMismatchError,
    ImageError,
    ReadError,
    ResourceError,
    SamaritanError,
    UnsupportedFormatError,
    WriteError,
)
from samaritan.core.geometry import Geometry
from samaritan.core.image import Image, LabelMap
from samaritan.io import FORMATS, Format, LossWarning, read, read_labels, write

GRID = Geometry.from_spacing((6, 5, 4), (1, 2, 3))
NOISE = np.random.default_rng(0).integers(0, 256, GRID.shape).astype(np.uint8)
LABELS = LabelMap(NOISE % 4, GRID, {1: "liver", 3: "spleen"}, {1: (255, 0, 9)})
IMAGE = Image(NOISE[np.newaxis], GRID)
PICTURE = Image(NOISE[np.newaxis, :, :, :1], Geometry.picture(6, 5))


def names(folder):
    return sorted(p.name for p in folder.iterdir())


# -- reading ----------------------------------------------------------------------------------------------------


def test_missing_empty_and_unknown_files_are_named(tmp_path):
    with pytest.raises(ReadError, match=r"no file .*scan\.nii"):
        read(tmp_path / "scan.nii")
    (tmp_path / "empty.nii.gz").touch()
    with pytest.raises(CorruptFileError, match="is empty"):
        read(tmp_path / "empty.nii.gz")
    (tmp_path / "text.nii").write_text("This is not an image. " * 100)
    with pytest.raises(UnsupportedFormatError, match=r"nifti.*\.nii\.gz"):
        read(tmp_path / "text.nii")
    with pytest.raises(UnsupportedFormatError):
        read_labels(tmp_path / "text.nii")


def test_a_folder_without_an_image(tmp_path):
    with pytest.raises(ReadError, match=r"folder|DICOM"):
        read(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ReadError, match=r"folder|DICOM"):
        read(tmp_path)


def test_content_decides_not_the_name(tmp_path):
    shutil.move(write(IMAGE, tmp_path / "a.nii.gz"), tmp_path / "a.png")
    shutil.move(write(PICTURE, tmp_path / "b.png"), tmp_path / "b.nii")
    shutil.move(write(IMAGE, tmp_path / "c.mha"), tmp_path / "c")
    np.testing.assert_array_equal(read(tmp_path / "a.png").array, IMAGE.array)
    np.testing.assert_array_equal(read(tmp_path / "b.nii").array, PICTURE.array)
    np.testing.assert_array_equal(read(tmp_path / "c").array, IMAGE.array)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.png"])
def test_every_cut_of_a_file_is_a_named_error(tmp_path, name):
    path = write(PICTURE if name == "a.png" else IMAGE, tmp_path / name)
    whole = path.read_bytes()
    for size in (1, 10, 40, len(whole) // 4, len(whole) // 2, len(whole) * 3 // 4):
        path.write_bytes(whole[:size])
        with pytest.raises(ReadError):
            read(path)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.png"])
def test_noise_in_a_file_is_a_named_error_or_an_image(tmp_path, name):
    path = write(PICTURE if name == "a.png" else IMAGE, tmp_path / name)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    rng = np.random.default_rng(7)
    for _ in range(40):
        damaged = whole.copy()
        damaged[rng.integers(0, len(whole), 3)] = rng.integers(0, 256, 3)
        path.write_bytes(damaged.tobytes())
        with contextlib.suppress(SamaritanError):  # anything else fails the test
            read(path)


def test_a_gzip_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb.nii.gz"
    header = gzip.decompress(write(IMAGE, path).read_bytes())
    with gzip.open(path, "wb", compresslevel=9) as content:
        content.write(header)
        for _ in range(64):
            content.write(bytes(1 << 20))
    np.testing.assert_array_equal(read(path).array, IMAGE.array)  # what the header claims, and no byte more
    with gzip.open(tmp_path / "zeros.nii.gz", "wb") as content:
        content.write(bytes(1 << 24))
    with pytest.raises(UnsupportedFormatError):
        read(tmp_path / "zeros.nii.gz")


def test_a_data_file_points_to_its_header(tmp_path):
    write(IMAGE, tmp_path / "a.mhd")
    shutil.copy(tmp_path / "a.zraw", tmp_path / "a.raw")
    with pytest.raises(UnsupportedFormatError, match=r"open that|a\.mhd"):
        read(tmp_path / "a.raw")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path):
    path = write(IMAGE, tmp_path / "a.nii")
    path.chmod(0)
    with pytest.raises(ReadError, match="permission"):
        read(path)


def test_labels_must_lie_on_the_reference(tmp_path):
    path = write(LABELS, tmp_path / "a.nii.gz")
    assert read_labels(path, reference=GRID).geometry.matches(GRID)
    with pytest.raises(GeometryMismatchError, match=r"a\.nii\.gz"):
        read_labels(path, reference=Geometry.from_spacing((6, 5, 4), (1, 2, 3.5)))


def test_a_picture_of_labels_takes_over_the_grid_of_its_reference(tmp_path):
    scan = Geometry.from_spacing((6, 5, 1), (0.2, 0.2, 1))
    path = write(LabelMap(NOISE[:, :, :1] % 3, Geometry.picture(6, 5)), tmp_path / "a.png")
    assert read_labels(path, reference=scan).geometry == scan
    with pytest.raises(GeometryMismatchError):
        read_labels(path, reference=Geometry.from_spacing((5, 6, 1)))


# -- writing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.hdr", "a.nrrd", "a.seg.nrrd", "a.nhdr", "a.mha", "a.mhd"])
def test_names_and_colours_survive(tmp_path, name):
    back = read_labels(write(LABELS, tmp_path / name))
    assert dict(back.names) == dict(LABELS.names)
    assert dict(back.colours) == dict(LABELS.colours)
    nameless = read_labels(write(LabelMap(NOISE % 3, GRID), tmp_path / name))  # over the older file
    assert not nameless.names
    assert not nameless.colours


@pytest.mark.parametrize("highest", [1, 255, 256, 65535, 65536, 2**32 - 1])
@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_large_label_values_survive(tmp_path, name, highest):
    array = np.zeros(GRID.shape, np.int64)
    array[2, 3, 1] = highest
    back = read_labels(write(LabelMap(array, GRID, {highest: "rare"}), tmp_path / name))
    assert back.labels == (highest,)
    assert back.name(highest) == "rare"


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8", "f2", ">i2"])
@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_image_values_survive_in_every_type(tmp_path, name, dtype):
    image = Image((NOISE % 100).astype(dtype)[np.newaxis], GRID)
    back = read(write(image, tmp_path / name))
    np.testing.assert_array_equal(back.array, image.array)
    assert back.array.dtype.kind == image.array.dtype.kind
    assert back.array.dtype.isnative


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_channels_survive(tmp_path, name):
    sequences = Image(np.stack([NOISE, NOISE // 2]).astype(np.float32), GRID, channels=("T1", "Flüssig"))
    back = read(write(sequences, tmp_path / name))
    assert back.channels == ("T1", "Flüssig")
    np.testing.assert_array_equal(back.array, sequences.array)
    assert read(tmp_path / name, select="Flüssig").channels == ("Flüssig",)
    np.testing.assert_array_equal(read(tmp_path / name, select=1).array, sequences.array[1:])
    colour = Image(np.stack([NOISE, NOISE // 2, 255 - NOISE]), GRID, channels=("red", "green", "blue"))
    assert read(write(colour, tmp_path / name)).is_colour
    np.testing.assert_array_equal(read(tmp_path / name).array, colour.array)


def test_outputs_that_make_no_sense(tmp_path):
    with pytest.raises(WriteError, match=r"\.nii\.gz"):
        write(LABELS, tmp_path / "mask.xyz")
    with pytest.raises(WriteError, match="volume"):
        write(LABELS, tmp_path / "mask.png")
    with pytest.raises(WriteError, match=r"\.png"):
        write(PICTURE, tmp_path / "mask.jpg")
    with pytest.raises(WriteError):
        write(LABELS, tmp_path / "mask.npz")
    with pytest.raises(WriteError, match="does not exist"):
        write(LABELS, tmp_path / "no" / "mask.nii")
    assert names(tmp_path) == []
    path = write(IMAGE, tmp_path / "scan.nii.gz")
    with pytest.raises(WriteError, match="that was read"):
        write(LABELS, path, source=path)
    with pytest.warns(LossWarning, match="millimetres"):
        write(IMAGE.plane("k", 0), tmp_path / "plane.png")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.hdr", "a.nrrd", "a.nhdr", "a.mha", "a.mhd", "a.png"])
def test_a_full_disk_leaves_nothing_and_the_old_file(tmp_path, name):
    """A limit on file size stands in for a disk that fills up midway: the system refuses to write on."""
    shape = (200, 200, 1)
    noise = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    geometry = Geometry.picture(200, 200) if name == "a.png" else Geometry.from_spacing(shape)
    (tmp_path / name).write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(WriteError):
            write(LabelMap(noise, geometry), tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "old"


def test_a_format_that_writes_something_else_is_caught(tmp_path, monkeypatch):
    form = FORMATS.get("nifti")

    def shifted(labels, path, options):
        affine = labels.geometry.affine.copy()
        affine[0, 3] += 5
        form.write_labels(LabelMap(labels.array, Geometry(labels.geometry.shape, affine), labels.names), path, options)

    def other_voxels(labels, path, options):
        form.write_labels(LabelMap(labels.array // 2, labels.geometry, labels.names), path, options)

    def nameless(labels, path, options):
        form.write_labels(LabelMap(labels.array, labels.geometry), path, options)

    def nothing(labels, path, options):
        path.write_bytes(b"oops")

    for liar, words in ((shifted, "reads back on"), (other_voxels, "voxels"), (nameless, "names"), (nothing, "cannot")):
        bad = Format(
            name="bad", suffixes=(".nii",), sniff=form.sniff, read=form.read, read_labels=form.read_labels,
            write_labels=liar,
        )  # fmt: skip
        monkeypatch.setitem(FORMATS._loaded, "nifti", bad)
        with pytest.raises(WriteError, match=words):
            write(LABELS, tmp_path / "a.nii")
        assert names(tmp_path) == []


def test_ctrl_c_leaves_nothing(tmp_path, monkeypatch):
    form = FORMATS.get("nifti")

    def interrupted(image, path, options):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    bad = Format(name="bad", suffixes=(".nii",), sniff=form.sniff, read=form.read, write_image=interrupted)
    monkeypatch.setitem(FORMATS._loaded, "nifti", bad)
    with pytest.raises(KeyboardInterrupt):
        write(IMAGE, tmp_path / "a.nii")
    assert names(tmp_path) == []


def test_memory_is_checked_before_it_is_taken(tmp_path, monkeypatch):
    path = write(IMAGE, tmp_path / "a.nii")
    monkeypatch.setattr("samaritan.io.streams.MAX_BYTES", 100)
    with pytest.raises(ResourceError, match="at most 100 bytes"):
        read(path)


def test_a_picture_is_read_without_the_libraries_for_volumes(tmp_path):
    path = write(PICTURE, tmp_path / "a.png")
    code = f"""
import sys, samaritan.io
samaritan.io.read({str(path)!r})
heavy = {{"SimpleITK", "nibabel", "pydicom", "highdicom", "tifffile", "torch"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)


def test_an_encoding_that_the_format_has_not_is_refused(tmp_path):
    labels = LabelMap(np.ones((2, 2, 2), np.uint8), Geometry.from_spacing((2, 2, 2)))
    with pytest.raises(WriteError, match="nifti has one way"):
        write(labels, tmp_path / "out.nii.gz", encoding="binary")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_a_label_of_more_than_32_bits_is_named(tmp_path, name):
    with pytest.raises(ImageError, match="4294967296"):
        write(LabelMap(np.full(GRID.shape, 2**32, np.uint64), GRID), tmp_path / name)
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["A.IMG", "A.HDR", "A.NII", "A.NII.GZ", "A.MHA", "A.MHD", "A.NRRD", "A.NHDR"])
def test_names_in_capitals(tmp_path, name):
    labels = LabelMap(np.arange(24, dtype=np.uint8).reshape(2, 3, 4), Geometry.from_spacing((2, 3, 4)), {5: "liver"})
    back = read_labels(write(labels, tmp_path / name))
    np.testing.assert_array_equal(back.array, labels.array)
    assert back.names == labels.names


@pytest.mark.parametrize(("source", "target"), [("ct.img", "ct.hdr"), ("ct.hdr", "ct.img")])
def test_the_other_file_of_the_source_s_pair_is_no_output(tmp_path, source, target):
    image = Image(np.arange(24, dtype=np.int16).reshape(1, 2, 3, 4), Geometry.from_spacing((2, 3, 4)))
    write(image, tmp_path / source)
    before = (tmp_path / "ct.img").read_bytes()
    labels = LabelMap(np.ones((2, 3, 4), np.uint8), image.geometry)
    with pytest.raises(WriteError, match="was read"):
        write(labels, tmp_path / target, source=tmp_path / source)
    assert (tmp_path / "ct.img").read_bytes() == before
