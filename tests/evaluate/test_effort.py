import pytest

from samaritan.evaluate.effort import EFFORT_METRICS, effort_rows
from samaritan.evaluate.summary import calibrations


def row(effort, dice, protocol="clicks", **more):
    base = {"model": "a", "protocol": protocol, "case": "c", "patient": "p", "value": 1, "instance": 0}
    return base | {"step": f"{effort} clicks", "effort": effort, "choice": "predicted", "dice": dice} | more


def test_clicks_and_the_curve_of_an_object():
    rows = [row(n, dice) for n, dice in ((3, 0.95), (1, 0.5), (2, 0.85))]  # in no order
    (told,) = effort_rows(rows)
    assert (told["clicks_to_80"], told["reached_80"]) == (2, 1)
    assert (told["clicks_to_90"], told["reached_90"]) == (3, 1)
    assert told["mean_on_the_way"] == pytest.approx((0.5 / 2 + 0.85 + 0.95 / 2) / 2)
    assert told["step"] == "1 to 3"
    assert set(EFFORT_METRICS) <= told.keys()


def test_what_is_never_reached_counts_as_the_most_that_were_tried():
    (told,) = effort_rows([row(0, 0.1, "box-clicks"), row(1, 0.2, "box-clicks"), row(2, 0.89, "box-clicks")])
    assert (told["clicks_to_80"], told["reached_80"]) == (2, 1)
    assert (told["clicks_to_90"], told["reached_90"]) == (2, 0)


def test_only_clicks_of_the_mask_that_the_model_thinks_best():
    rows = [row(n, 0.9, protocol) for n in (1, 2) for protocol in ("clicks@other", "points-centre", "given")]
    rows += [row(n, 0.9, model="b", choice="oracle") for n in (1, 2)] + [row(1, 0.9, model="c")]
    assert [(told["model"], told["protocol"]) for told in effort_rows(rows)] == [("a", "clicks@other")]
    assert effort_rows([row(1, None), row(2, None)]) == []


def test_calibration_by_model_and_protocol():
    rows = [row(1, 0.9, predicted_iou=0.9, iou=0.7), row(2, 0.9, predicted_iou=0.6, iou=0.6)]
    rows += [row(1, 0.9, predicted_iou=None, iou=0.7), row(1, 0.9, choice="oracle", predicted_iou=0.1, iou=0.9)]
    (told,) = calibrations(rows)
    assert (told["model"], told["protocol"], told["count"]) == ("a", "clicks", 2)
    assert told["mean_error"] == pytest.approx(0.1)
    assert told["bias"] == pytest.approx(0.1)
    assert calibrations([row(1, 0.9, predicted_iou=0.5)]) == []
