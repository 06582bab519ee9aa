import csv
import json

import nibabel as nib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from samaritan.core.errors import DataSetError, UnknownNameError
from samaritan.data.layouts import open_data
from samaritan.data.reading import read_image, read_objects


def objects_of(data, case):
    image = read_image(data.root, case)
    return {(found.value, found.instance): found for found in read_objects(data.root, case, image.geometry)}


def by_id(data):
    return {case.id: case for case in data.cases}


# -- nnU-Net ----------------------------------------------------------------------------------------------------


def nnunet(tmp_path, put, **info):
    about = {"channel_names": {"0": "T1", "1": "FLAIR"}, "labels": {"background": 0, "core": 1, "whole": [1, 2]}}
    (tmp_path / "dataset.json").write_text(json.dumps(about | {"file_ending": ".nii.gz"} | info))
    for case in ("BRATS_2", "BRATS_10"):
        for channel in (0, 1):
            put(f"imagesTr/{case}_000{channel}.nii.gz", seed=channel)
        put(f"labelsTr/{case}.nii.gz", labels=[1, 2])


def test_nnunet(tmp_path, put):
    nnunet(tmp_path, put, name="Brats")
    put("imagesTs/BRATS_11_0000.nii.gz")
    put("imagesTs/BRATS_11_0001.nii.gz")
    data = open_data(tmp_path)
    assert (data.layout, data.name) == ("nnunet", "Brats")
    assert [case.id for case in data.cases] == ["BRATS_2", "BRATS_10", "BRATS_11"]
    assert [case.split for case in data.cases] == ["train", "train", "test"]
    assert [case.modality for case in data.cases] == ["MR"] * 3
    assert data.cases[2].reference is None
    assert data.notes == ()
    image = read_image(tmp_path, data.cases[0])
    assert image.channels == ("T1", "FLAIR")
    assert image.modality == "MR"
    found = objects_of(data, data.cases[0])
    assert {key: item.name for key, item in found.items()} == {(1, 0): "core", (2, 0): "whole"}


def test_nnunet_of_version_1(tmp_path, put):
    (tmp_path / "dataset.json").write_text(
        json.dumps({"modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver"}, "training": [{"image": "x"}]})
    )
    put("imagesTr/a_0000.nii.gz")
    put("labelsTr/a.nii.gz", labels=[1])
    data = open_data(tmp_path)
    assert data.layout == "nnunet"
    assert data.labels == {1: "liver"}
    assert data.cases[0].modality == "CT"


def test_nnunet_tells_what_is_missing(tmp_path, put):
    nnunet(tmp_path, put)
    (tmp_path / "imagesTr" / "BRATS_2_0001.nii.gz").unlink()
    (tmp_path / "labelsTr" / "BRATS_10.nii.gz").unlink()
    put("labelsTr/BRATS_9.nii.gz", labels=[1])
    data = open_data(tmp_path)
    assert data.notes == (
        "imagesTr/BRATS_2 has the channels [0] of 2",
        "imagesTr/BRATS_10 has no mask in labelsTr",
        "labelsTr/BRATS_9.nii.gz has no image in imagesTr",
    )


def test_nnunet_passes_over_what_is_to_be_ignored(tmp_path, put):
    nnunet(tmp_path, put, labels={"background": 0, "core": 1, "ignore": 2})
    data = open_data(tmp_path)
    assert set(objects_of(data, data.cases[0])) == {(1, 0)}


# -- the Decathlon ----------------------------------------------------------------------------------------------


def test_decathlon(tmp_path, put):
    for case in ("a", "b"):
        (tmp_path / "imagesTr").mkdir(exist_ok=True)
        values = np.random.default_rng(0).normal(size=(12, 10, 6, 2)).astype(np.float32)
        nib.save(nib.Nifti1Image(values, np.diag([1.0, 1.5, 3.0, 1.0])), tmp_path / f"imagesTr/{case}.nii.gz")
    put("labelsTr/a.nii.gz", labels=[1])
    pairs = [{"image": f"./imagesTr/{c}.nii.gz", "label": f"./labelsTr/{c}.nii.gz"} for c in ("a", "b", "c")]
    about = {"name": "Prostate", "modality": {"0": "T2", "1": "ADC"}, "labels": {"0": "background", "1": "PZ"}}
    (tmp_path / "dataset.json").write_text(json.dumps(about | {"training": pairs, "test": ["./imagesTs/d.nii.gz"]}))
    data = open_data(tmp_path)
    assert data.layout == "decathlon"
    assert [case.id for case in data.cases] == ["a", "b"]
    assert len(data.notes) == 3
    assert read_image(tmp_path, data.cases[0]).channels == ("T2", "ADC")
    assert objects_of(data, data.cases[0])[1, 0].name == "PZ"


# -- paired folders ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/x.nii.gz", "masks/x.nii.gz"),
        ("Images/x.nii.gz", "Labels/x_seg.nii.gz"),
        ("imgs/x_0000.nii.gz", "gt/x.nii.gz"),
    ],
)
def test_folders(tmp_path, put, image, mask):
    put(image)
    put(mask, labels=[1, 3])
    data = open_data(tmp_path)
    assert data.layout == "folders"
    (case,) = data.cases
    assert set(objects_of(data, case)) == {(1, 0), (3, 0)}
    assert data.notes == ()


def test_folders_of_splits(tmp_path, put):
    for split in ("train", "test"):
        put(f"{split}/images/a.nii.gz")
        put(f"{split}/masks/a.nii.gz", labels=[1])
    put("test/images/b.nii.gz")
    put("test/masks/c.nii.gz", labels=[1])
    data = open_data(tmp_path)
    assert {case.id: case.split for case in data.cases} == {"test/a": "test", "test/b": "test", "train/a": "train"}
    assert data.notes == ("test/images/b.nii.gz has no mask", "test/masks/c.nii.gz has no image")


def test_folders_inside_folders_of_splits(tmp_path, put):
    for split in ("train", "val"):
        put(f"images/{split}/a.nii.gz")
        put(f"masks/{split}/a.nii.gz", labels=[1])
    data = open_data(tmp_path)
    assert {case.id: case.split for case in data.cases} == {"train/a": "train", "val/a": "val"}
    assert all(case.reference for case in data.cases)


def test_folders_of_labels_may_overlap(tmp_path, picture):
    mask = np.zeros((20, 16), bool)
    mask[5:10, 5:10] = True
    picture("images/x.png")
    picture("masks/liver/x.png", mask=mask)
    picture("masks/lesion/x.png", mask=mask)
    data = open_data(tmp_path)
    found = objects_of(data, data.cases[0])
    assert {item.name for item in found.values()} == {"liver", "lesion"}
    assert all(np.array_equal(item.mask[..., 0], mask) for item in found.values())


def test_folders_with_names(tmp_path, put):
    put("images/x.nii.gz")
    put("masks/x.nii.gz", labels=[2])
    (tmp_path / "labels.json").write_text('{"background": 0, "spleen": 2}')
    assert open_data(tmp_path).labels == {2: "spleen"}


# -- masks beside images ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", ["x_seg.nii.gz", "x.seg.nrrd", "x-label.nrrd", "x_mask.mha"])
def test_beside(tmp_path, put, mask):
    put("x.nii.gz")
    put(mask, labels=[1])
    put("y.nii.gz")
    data = open_data(tmp_path)
    assert data.layout == "beside"
    assert [case.id for case in data.cases] == ["x", "y"]
    assert set(objects_of(data, data.cases[0])) == {(1, 0)}
    assert data.notes == ("y.nii.gz has no mask beside it",)


def test_beside_takes_files_that_begin_alike_for_channels(tmp_path, put):
    for name in ("t1", "flair"):
        put(f"B_001/B_001_{name}.nii.gz")
    put("B_001/B_001_seg.nii.gz", labels=[1, 2])
    (case,) = open_data(tmp_path).cases
    assert (case.id, case.channels, case.modality) == ("B_001", ("flair", "t1"), "MR")


def test_beside_in_a_folder_a_case(tmp_path, put):
    for name in ("one", "two"):
        put(f"{name}/image.nii.gz")
        put(f"{name}/mask.nii.gz", labels=[1])
    data = open_data(tmp_path)
    assert [case.id for case in data.cases] == ["one", "two"]
    assert set(objects_of(data, data.cases[1])) == {(1, 0)}


# -- tables -----------------------------------------------------------------------------------------------------


ROWS = [
    {"image": "a.nii.gz", "mask": "a_seg.nii.gz", "patient": "p1", "labels": '{"1": "liver"}', "site": "A"},
    {"image": "a.nii.gz;b.nii.gz", "mask": "", "id": "two", "split": "test", "channels": "T1;T2", "site": ""},
]


def write_rows(path):
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist([{**dict.fromkeys(ROWS[1] | ROWS[0]), **row} for row in ROWS]), path)
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(ROWS[0] | ROWS[1]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(ROWS)


@pytest.mark.parametrize("name", ["cases.csv", "cases.tsv", "cases.jsonl", "cases.parquet"])
@pytest.mark.parametrize("by_folder", [True, False])
def test_table(tmp_path, put, name, by_folder):
    put("a.nii.gz")
    put("b.nii.gz")
    put("a_seg.nii.gz", labels=[1])
    write_rows(tmp_path / name)
    data = open_data(tmp_path if by_folder else tmp_path / name)
    cases = by_id(data)
    assert list(cases) == ["a", "two"]
    assert (cases["a"].patient, cases["two"].split) == ("p1", "test")
    assert cases["a"].tags == {"site": "A"}
    assert objects_of(data, cases["a"])[1, 0].name == "liver"
    assert cases["two"].reference is None
    assert read_image(tmp_path, cases["two"]).channels == ("T1", "T2")


def test_a_table_of_instances(tmp_path, put):
    put("a.nii.gz")
    put("m.nii.gz", labels=[1, 2])
    row = {"image": "a.nii.gz", "mask": "m.nii.gz", "mask_type": "instances", "labels": {"class": "nucleus"}}
    (tmp_path / "cases.jsonl").write_text(json.dumps(row))
    data = open_data(tmp_path)
    found = objects_of(data, data.cases[0])
    assert {key: item.name for key, item in found.items()} == {(1, 1): "nucleus", (1, 2): "nucleus"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('image,labels\na.png,"{1: x"', "labels"),
        ('image,labels,mask\na.png,"{1: x",m.png', "JSON such as"),
        ("image,mask,mask_type\na.png,m.png,other", "semantic or instances"),
        ("image,id\na.png,1\nb.png,1", "more than once"),
    ],
)
def test_a_table_that_is_wrong(tmp_path, text, reason):
    (tmp_path / "cases.csv").write_text(text)
    if reason == "labels":  # of a case without a mask nobody asks
        assert len(open_data(tmp_path).cases) == 1
        return
    with pytest.raises(DataSetError, match=reason):
        open_data(tmp_path)


def test_two_tables(tmp_path):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("image\nx.png\n")
    with pytest.raises(DataSetError, match="Name it"):
        open_data(tmp_path)


def test_json_lines_that_break_off(tmp_path):
    (tmp_path / "cases.jsonl").write_text('{"image": "a.png"}\n{"image": ')
    with pytest.raises(DataSetError, match="no jsonl table"):
        open_data(tmp_path)


# -- COCO -------------------------------------------------------------------------------------------------------


def coco(tmp_path, picture, segmentations):
    picture("images/x.png", size=(20, 16))
    annotations = [
        {"id": n, "image_id": 7, "category_id": 3, "segmentation": item, "iscrowd": 0, "bbox": [0, 0, 1, 1]}
        for n, item in enumerate(segmentations)
    ]
    images = [{"id": 7, "file_name": "x.png", "width": 20, "height": 16}]
    found = {"images": images, "annotations": annotations, "categories": [{"id": 3, "name": "polyp"}]}
    (tmp_path / "annotations.json").write_text(json.dumps(found))
    return open_data(tmp_path)


def test_coco(tmp_path, picture):
    square = [3, 2, 8, 2, 8, 6, 3, 6]  # x from 3 to 8, y from 2 to 6
    runs = np.zeros((20, 16), bool)
    runs[10:12, 3:5] = True
    counts = [10 * 16 + 3, 2, 14, 2, 320 - (10 * 16 + 3 + 2 + 14 + 2)]
    data = coco(tmp_path, picture, [[square], {"size": [16, 20], "counts": counts}, []])
    assert data.layout == "coco"
    found = objects_of(data, data.cases[0])
    expected = np.zeros((20, 16), bool)
    expected[3:8, 2:6] = True
    assert np.array_equal(found[3, 1].mask[..., 0], expected)
    assert np.array_equal(found[3, 2].mask[..., 0], runs)
    assert {item.name for item in found.values()} == {"polyp"}


def test_coco_run_lengths_in_a_string(tmp_path, picture):
    def packed(runs):
        """Pack run lengths as the definition says, bit by bit."""
        text = ""
        for at, run in enumerate(runs):
            value = run - runs[at - 2] if at > 2 else run
            more = True
            while more:
                group, value = value & 31, value >> 5
                more = value != -1 if group & 16 else value != 0
                text += chr((group | 32 if more else group) + 48)
        return text

    mask = np.random.default_rng(1).random((20, 16)) < 0.3
    flat = np.concatenate([[False], mask.ravel()])
    changes = np.flatnonzero(np.diff(flat.astype(int)) != 0)
    runs = np.diff(np.concatenate([[0], changes, [320]])).tolist()
    data = coco(tmp_path, picture, [{"size": [16, 20], "counts": packed(runs)}])
    assert np.array_equal(objects_of(data, data.cases[0])[3, 0].mask[..., 0], mask)


@pytest.mark.parametrize(
    "segmentation",
    [
        [[1, 2, 3]],
        {"size": [16, 20], "counts": [1, 2]},
        {"size": [16, 20], "counts": "P"},
        {"size": [9, 9], "counts": [81]},
    ],
)
def test_coco_masks_that_make_no_sense(tmp_path, picture, segmentation):
    data = coco(tmp_path, picture, [segmentation])
    with pytest.raises((OSError, ValueError), match=r"annotations\.json"):
        objects_of(data, data.cases[0])


def test_coco_without_its_pictures(tmp_path):
    found = {"images": [{"id": 1, "file_name": "x.png"}], "annotations": [], "categories": []}
    (tmp_path / "a.json").write_text(json.dumps(found))
    with pytest.raises(DataSetError, match=r"x\.png"):
        open_data(tmp_path)


# -- BIDS -------------------------------------------------------------------------------------------------------


def bids(tmp_path, put):
    (tmp_path / "dataset_description.json").write_text('{"Name": "Lesions", "BIDSVersion": "1.10.0"}')
    (tmp_path / "participants.tsv").write_text("participant_id\tsex\nsub-01\tF\nsub-02\tn/a\n")
    for subject in ("01", "02"):
        put(f"sub-{subject}/anat/sub-{subject}_T1w.nii.gz")
        put(f"sub-{subject}/anat/sub-{subject}_FLAIR.nii.gz", seed=1)
    return tmp_path / "derivatives" / "manual"


def test_bids(tmp_path, put):
    derived = bids(tmp_path, put)
    put("derivatives/manual/sub-01/anat/sub-01_label-lesion_mask.nii.gz", labels=[1])
    (derived / "sub-01/anat/sub-01_label-lesion_mask.json").write_text(
        '{"Sources": ["bids::sub-01/anat/sub-01_FLAIR.nii.gz"]}'
    )
    put("derivatives/manual/sub-02/anat/sub-02_desc-aseg_dseg.nii.gz", labels=[1, 2])
    (derived / "desc-aseg_dseg.tsv").write_text("index\tname\n0\tUnknown\n1\tcortex\n2\twhite\n")
    data = open_data(tmp_path)
    assert (data.layout, data.name) == ("bids", "Lesions")
    cases = by_id(data)
    assert [name for name, case in cases.items() if case.reference] == ["sub-01_FLAIR", "sub-02_T1w"]
    assert objects_of(data, cases["sub-01_FLAIR"])[1, 0].name == "lesion"
    assert {item.name for item in objects_of(data, cases["sub-02_T1w"]).values()} == {"cortex", "white"}
    assert (cases["sub-01_FLAIR"].patient, cases["sub-01_FLAIR"].modality) == ("sub-01", "MR")
    assert cases["sub-01_FLAIR"].tags == {"sex": "F"}
    (note,) = data.notes
    assert "may be of sub-02_FLAIR.nii.gz or sub-02_T1w.nii.gz" in note


def test_bids_masks_in_another_space_belong_to_images_there(tmp_path, put):
    bids(tmp_path, put)
    put("derivatives/manual/sub-01/anat/sub-01_space-MNI_T1w.nii.gz")
    put("derivatives/manual/sub-01/anat/sub-01_space-MNI_desc-brain_mask.nii.gz", labels=[1])
    put("derivatives/manual/sub-02/anat/sub-02_space-MNI_desc-brain_mask.nii.gz", labels=[1])
    data = open_data(tmp_path)
    drawn = {name: case for name, case in by_id(data).items() if case.reference}
    assert list(drawn) == ["sub-01_space-MNI_T1w"]
    assert data.notes == ("sub-02_space-MNI_desc-brain_mask.nii.gz has no image of its subject, session and space",)


# -- SA-Med2D-20M, CVPR -----------------------------------------------------------------------------------------


def test_sa_med2d(tmp_path, picture):
    mask = np.zeros((20, 16), bool)
    mask[2:5, 3:7] = True
    stem = "ct_00--AbdomenCT1K--Case_00011--x_0041"
    picture(f"images/{stem}.png")
    for name in ("0000_000", "0000_001", "0002_000"):
        picture(f"masks/{stem}--{name}.png", mask=mask)
    classes = {"AbdomenCT1K": {"liver": "0000", "kidney": "0001", "spleen": "0002"}}
    (tmp_path / "SAMed2D_v1_class_mapping_id.json").write_text(json.dumps(classes))
    data = open_data(tmp_path)
    assert data.layout == "sa-med2d"
    (case,) = data.cases
    assert (case.modality, case.dataset, case.patient) == ("CT", "AbdomenCT1K", "Case_00011")
    found = objects_of(data, case)
    assert {key: item.name for key, item in found.items()} == {(1, 1): "liver", (1, 2): "liver", (3, 0): "spleen"}


def test_cvpr(tmp_path):
    volume = np.random.default_rng(0).integers(0, 255, (6, 10, 12)).astype(np.uint8)
    labels = (volume > 250).astype(np.uint8)
    (tmp_path / "val").mkdir()
    (tmp_path / "gt").mkdir()
    np.savez(tmp_path / "val" / "CT_Liver_1.npz", imgs=volume, spacing=[1, 1, 3])
    np.savez(tmp_path / "gt" / "CT_Liver_1.npz", gts=labels, spacing=[1, 1, 3])
    np.savez(tmp_path / "val" / "Microscopy_2.npz", imgs=volume[0], gts=labels[0])
    data = open_data(tmp_path)
    assert data.layout == "cvpr"
    cases = by_id(data)
    assert {name: case.modality for name, case in cases.items()} == {"CT_Liver_1": "CT", "Microscopy_2": "Microscopy"}
    found = objects_of(data, cases["CT_Liver_1"])
    assert np.array_equal(found[1, 0].mask, labels.T.astype(bool))


# -- recognition ------------------------------------------------------------------------------------------------


def test_what_is_no_data_set(tmp_path):
    (tmp_path / "readme.txt").write_text("nothing here")
    with pytest.raises(DataSetError, match="CSV file with the columns image and mask"):
        open_data(tmp_path)
    with pytest.raises(DataSetError, match="no folder"):
        open_data(tmp_path / "nowhere")
    with pytest.raises(UnknownNameError, match="nnunet"):
        open_data(tmp_path, layout="nnunett")


def test_a_folder_that_may_be_two_things(tmp_path, put):
    put("images/x.nii.gz")
    put("masks/x.nii.gz", labels=[1])
    put("more/y.nii.gz")
    put("more/y_seg.nii.gz", labels=[1])
    with pytest.raises(DataSetError, match="--layout beside"):
        open_data(tmp_path)
    assert open_data(tmp_path, layout="folders").layout == "folders"


def test_a_layout_with_nothing_in_it(tmp_path):
    (tmp_path / "cases.csv").write_text("image,mask\n,m.png\n")
    with pytest.raises(DataSetError, match="row 1 of"):
        open_data(tmp_path)
