"""What the report says of an object, and what people are shown of it."""

import numpy as np

from samaritan.cli._report import object_report
from samaritan.cli.segment import summary
from samaritan.core.geometry import Geometry


def test_an_iou_that_no_model_predicted_is_not_shown():
    grid = Geometry.from_spacing((4, 5, 6))
    for score, told, shown in ((float("nan"), None, ""), (0.75, 0.75, ", predicted IoU 0.75")):
        found = object_report("liver", np.ones(grid.shape, np.bool_), score, grid)
        assert found["predicted_iou"] == told
        lines = summary({"objects": [{"label": "liver", **found}], "spacing_mm": [1, 1, 1], "outputs": {}})
        assert lines == f"liver: 120 voxels, 0.12 ml{shown}"
