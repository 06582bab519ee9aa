import json

from pydicom.data import get_testdata_file


def test_facts_of_several_files_as_text_and_json(run, ct, photo):
    done = run("info", ct[0], photo[0])
    assert done.code == 0
    assert "orientation    RAS" in done.out
    assert "48, 40, 24" in done.out
    first, second = json.loads(run("info", ct[0], photo[0], "--json").out)
    assert first["format"] == "nifti"
    assert first["shape"] == [48, 40, 24]
    assert first["spacing_mm"] == [1, 1, 2]
    assert first["range"] == [-100, 180]
    assert second["format"] == "picture"
    assert second["spacing_mm"] is None
    assert second["channels"] == ["red", "green", "blue"]


def test_a_file_that_cannot_be_read_does_not_hide_the_others(run, ct):
    done = run("info", "none.png", ct[0], "--json")
    assert done.code == 1
    first, second = json.loads(done.out)
    assert "no file none.png" in first["error"]
    assert second["shape"] == [48, 40, 24]


def test_a_dicom_segmentation_shows_its_labels(run, place):
    ct = get_testdata_file("CT_small.dcm", download=False)
    assert run("segment", ct, "--label", "vertebra", "--box", "41,5:80,49", "-o", "seg.dcm").code == 0
    (facts,) = json.loads(run("info", "seg.dcm", "--json").out)
    assert facts["labels"] == ["vertebra"]
    assert facts["shape"] == [128, 128, 1]
