"""What a layout is, and the table of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from samaritan.core.registry import Registry
from samaritan.data.case import DataSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One way to lay out a data set.

    Parameters
    ----------
    name
        As registered: ``"nnunet"``.
    title
        What it is, for people, as a clause: ``"nnU-Net's raw data (dataset.json, imagesTr, labelsTr)"``.
    recognise
        Tells whether a folder, or a file, has this layout; quick, as it opens no image.
    read
        Reads it. Raises ``DataSetError`` for what is missing; ``OSError`` may pass: the caller names the folder.
    declared
        Whether a file of its own says so. If not, the layout is a guess from names, asked after all others.
    """

    name: str
    title: str
    recognise: Callable[[Path], bool]
    read: Callable[[Path], DataSet]
    declared: bool = True


LAYOUTS: Registry[Layout] = Registry("layout", "samaritan.layouts")
LAYOUTS.register("beside", "samaritan.data.layouts.beside:BESIDE")
LAYOUTS.register("bids", "samaritan.data.layouts.bids:BIDS")
LAYOUTS.register("coco", "samaritan.data.layouts.coco:COCO")
LAYOUTS.register("cvpr", "samaritan.data.layouts.cvpr:CVPR")
LAYOUTS.register("decathlon", "samaritan.data.layouts.decathlon:DECATHLON")
LAYOUTS.register("dicom", "samaritan.data.layouts.dicom:DICOM")
LAYOUTS.register("folders", "samaritan.data.layouts.folders:FOLDERS")
LAYOUTS.register("nnunet", "samaritan.data.layouts.nnunet:NNUNET")
LAYOUTS.register("sa-med2d", "samaritan.data.layouts.sa_med2d:SA_MED2D")
LAYOUTS.register("table", "samaritan.data.layouts.table:TABLE")
