"""DICOM series made to order: any orientation, with what goes wrong in the clinic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def rotation(angles: Sequence[float]) -> np.ndarray:
    a, b, c = angles
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


def all_cosines(angles: Sequence[float] = (0, 0, 0)) -> list[tuple[float, ...]]:
    """All 24 (row, column) pairs along the axes, turned by ``angles``: with both senses of the slices, 48."""
    turn = rotation(angles)
    pairs = [
        (s * np.eye(3)[a], t * np.eye(3)[b]) for a, b in permutations(range(3), 2) for s, t in product((1, -1), (1, -1))
    ]
    return [tuple(np.concatenate([turn @ row, turn @ column])) for row, column in pairs]


@dataclass
class Series:
    """A synthetic CT series; ``voxels`` is (slices, rows, columns), in order along the normal."""

    voxels: np.ndarray = field(default_factory=lambda: np.arange(5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7))
    cosines: Sequence[float] = AXIAL
    spacing: tuple[float, float, float] = (0.7, 0.9, 2.5)  # row to row, column to column, slice to slice
    origin: tuple[float, float, float] = (-20.5, 31.0, 107.25)
    shear: tuple[float, float, float] = (0.0, 0.0, 0.0)  # mm a slice, beside the normal
    uid: str = field(default_factory=generate_uid)
    tags: dict[str, Any] = field(default_factory=dict)
    edit: Callable[[int, Dataset], None] | None = None
    drop: tuple[int, ...] = ()
    study: str = field(default_factory=generate_uid)

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.cosines[:3], self.cosines[3:])

    def position(self, k: int) -> list[float]:
        step = self.normal * self.spacing[2] + np.array(self.shear)
        return [round(float(v), 6) for v in np.array(self.origin) + k * step]

    @property
    def affine_lps(self) -> np.ndarray:
        affine = np.eye(4)
        affine[:3, 0] = np.array(self.cosines[:3]) * self.spacing[1]
        affine[:3, 1] = np.array(self.cosines[3:]) * self.spacing[0]
        affine[:3, 2] = self.normal * self.spacing[2]
        affine[:3, 3] = self.origin
        return affine

    def base(self, sop_class: str) -> Dataset:
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.SOPClassUID, data.SOPInstanceUID = sop_class, generate_uid()
        data.StudyInstanceUID, data.SeriesInstanceUID = self.study, self.uid
        data.FrameOfReferenceUID = "1.2.3.4"
        data.PatientName, data.PatientID = "Doe^Jane", "SECRET-1"
        data.Modality, data.SeriesNumber, data.SeriesDescription = "CT", 4, "chest"
        data.Rows, data.Columns = self.voxels.shape[1:3]
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
        data.RescaleSlope, data.RescaleIntercept = 1, 0
        for name, value in self.tags.items():
            setattr(data, name, value)
        return data

    def write(self, folder: Path) -> Path:
        """Write one file a slice, called in an order that means nothing."""
        folder.mkdir(exist_ok=True)
        names = np.random.default_rng(3).permutation(len(self.voxels))
        for k, plane in enumerate(self.voxels):
            if k in self.drop:
                continue
            data = self.base(CTImageStorage)
            data.InstanceNumber = int(names[k])
            data.ImagePositionPatient, data.ImageOrientationPatient = self.position(k), _decimals(self.cosines)
            data.PixelSpacing, data.SliceThickness = list(self.spacing[:2]), self.spacing[2]
            data.PixelData = plane.tobytes()
            if self.edit:
                self.edit(k, data)
            data.save_as(folder / f"{names[k]:03d}-{data.SOPInstanceUID[-9:]}.dcm", enforce_file_format=True)
        return folder

    def write_enhanced(self, path: Path, order: Sequence[int]) -> Path:
        """Write one multi-frame file with its frames in ``order``."""
        data = self.base(EnhancedCTImageStorage)
        shared, measures, orientation, value = Dataset(), Dataset(), Dataset(), Dataset()
        measures.PixelSpacing, measures.SliceThickness = list(self.spacing[:2]), self.spacing[2]
        orientation.ImageOrientationPatient = _decimals(self.cosines)
        value.RescaleSlope, value.RescaleIntercept, value.RescaleType = 1, -10, "HU"
        shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
        shared.PixelValueTransformationSequence = [value]
        data.SharedFunctionalGroupsSequence = [shared]
        frames = []
        for k in order:
            place, group = Dataset(), Dataset()
            place.ImagePositionPatient = self.position(k)
            group.PlanePositionSequence = [place]
            frames.append(group)
        data.PerFrameFunctionalGroupsSequence, data.NumberOfFrames = frames, len(frames)
        data.PixelData = self.voxels[list(order)].tobytes()
        data.save_as(path, enforce_file_format=True)
        return path


def _decimals(values: Sequence[float]) -> list[float]:
    return [round(float(v), 10) for v in values]


@pytest.fixture
def series() -> type[Series]:
    return Series


@pytest.fixture
def cosines() -> Callable[..., list[tuple[float, ...]]]:
    return all_cosines
