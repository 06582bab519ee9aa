"""The metrics that evaluations choose from by name, and the pair of masks that they are asked about.

A metric is a function of a ``Pair`` and a register line. What is costly of a pair is done once, for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from samaritan.core.registry import Registry
from samaritan.metrics.boundary import boundary_iou, usual_width_mm
from samaritan.metrics.instances import lesion_f1
from samaritan.metrics.masks import Bools, common_block, require_pair, require_spacing
from samaritan.metrics.overlap import dice, iou, precision, sensitivity, volume_similarity
from samaritan.metrics.surface import SurfaceDistances, surface_distances

TOLERANCE_MM = 2.0  # what the CVPR challenges and most of abdominal CT take


@dataclass(frozen=True, eq=False)
class Pair:
    """A reference and a prediction, cut to what either of them holds; make it by ``of``.

    ``spacing_mm`` has a size for each axis; ``boundary_mm`` is how far from a mask's boundary its rim reaches.
    """

    reference: Bools
    prediction: Bools
    spacing_mm: tuple[float, ...]
    tolerance_mm: float
    boundary_mm: float

    @classmethod
    def of(
        cls, reference: Bools, prediction: Bools, *, spacing_mm: tuple[float, ...], tolerance_mm: float = TOLERANCE_MM
    ) -> Self:
        """Return the pair of two masks of two or three dimensions.

        Raises
        ------
        ImageError, GeometryMismatchError
            As ``require_pair`` and ``require_spacing``.
        """
        require_pair(reference, prediction)
        spacing = require_spacing(spacing_mm, reference.ndim)
        here = common_block(reference, prediction)
        width = usual_width_mm(reference.shape, spacing)
        return cls(reference[here], prediction[here], spacing, tolerance_mm, width)

    @cached_property
    def surface(self) -> SurfaceDistances:
        """The distances between the two surfaces."""
        return surface_distances(self.reference, self.prediction, spacing_mm=self.spacing_mm)


@dataclass(frozen=True, slots=True)
class Metric:
    """A measure of a prediction: what it is ``of`` a pair, its value for a perfect one (``best``), and its unit.

    Values that differ by ``alike`` or less are called the same.
    """

    of: Callable[[Pair], float]
    best: float = 1.0
    unit: str = ""
    alike: float = 0.01

    @property
    def more_is_better(self) -> bool:
        """Whether a higher value is a better one."""
        return self.best > 0


DICE = Metric(lambda pair: dice(pair.reference, pair.prediction))
IOU = Metric(lambda pair: iou(pair.reference, pair.prediction))
SENSITIVITY = Metric(lambda pair: sensitivity(pair.reference, pair.prediction))
PRECISION = Metric(lambda pair: precision(pair.reference, pair.prediction))
VOLUME_SIMILARITY = Metric(lambda pair: volume_similarity(pair.reference, pair.prediction))
NSD = Metric(lambda pair: pair.surface.nsd(tolerance_mm=pair.tolerance_mm))
HD = Metric(lambda pair: pair.surface.hausdorff(), best=0.0, unit="mm", alike=0.1)
HD95 = Metric(lambda pair: pair.surface.hausdorff(percent=95), best=0.0, unit="mm", alike=0.1)
ASSD = Metric(lambda pair: pair.surface.assd(), best=0.0, unit="mm", alike=0.1)
BOUNDARY_IOU = Metric(
    lambda pair: boundary_iou(
        pair.reference, pair.prediction, spacing_mm=pair.spacing_mm, width_mm=pair.boundary_mm
    )
)  # fmt: skip
LESION_F1 = Metric(lambda pair: lesion_f1(pair.reference, pair.prediction))

METRICS: Registry[Metric] = Registry("metric", "samaritan.metrics")
for _name in (
    "dice", "iou", "nsd", "hd", "hd95", "assd", "boundary_iou", "volume_similarity", "sensitivity", "precision",
    "lesion_f1",
):  # fmt: skip
    METRICS.register(_name, f"samaritan.metrics.catalog:{_name.upper()}")
