"""Stored pixels to values: decompression, rescale and lookup tables, colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from imagecodecs import jpeg8_decode
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels import apply_color_lut, apply_modality_lut, iter_pixels, pixel_array
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGExtended12Bit,
    RLELossless,
)

from samaritan.core.errors import CorruptFileError
from samaritan.io.dicom.headers import Header, parse, tolerant
from samaritan.io.dicom.slices import Slice, group_value

# In these, grey values are film: MONOCHROME1 says that high is dark, and they are turned to look like MONOCHROME2.
# Elsewhere (PET is often shown in inverse) values are quantities, and stay what they are.
_FILM = frozenset({"CR", "DX", "MG", "PX", "IO", "RF", "XA", "RG"})
_UNDECODED = "It may be damaged, or packed in a way that few programs know: unpack it first (gdcmconv --raw, dcmdjpeg)"
_COMPACT = (np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32)


@dataclass(frozen=True, slots=True)
class Rescale:
    """Stored value × ``slope`` + ``intercept``; or a modality lookup table."""

    slope: float
    intercept: float
    has_table: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether whole numbers stay whole, so that no float is needed."""
        return self.slope == 1 and self.intercept == int(self.intercept) and not self.has_table


def rescale_of(item: Slice) -> Rescale:
    """Return the modality transform of a slice: from its functional groups, or its header.

    Raises
    ------
    CorruptFileError
        If it is not finite.
    """
    places = places_of(item)
    data = item.header.data
    if data.get("ModalityLUTSequence"):
        return Rescale(1, 0, has_table=True)
    sequence = "PixelValueTransformationSequence"
    slope = group_value(places, sequence, "RescaleSlope")
    if slope is None:
        slope = data.get("DoseGridScaling")
    intercept = group_value(places, sequence, "RescaleIntercept")
    name = item.header.member.name
    with tolerant(name):
        rescale = Rescale(float(slope if slope is not None else 1) or 1.0, float(intercept or 0))
    if not np.isfinite([rescale.slope, rescale.intercept]).all():
        raise CorruptFileError(
            got=f"{name} rescales by {rescale.slope} and {rescale.intercept}",
            wanted="finite numbers",
            fix="Repair its RescaleSlope and RescaleIntercept, or export it again",
        )
    return rescale


def places_of(item: Slice) -> list[Dataset]:
    """Return where attributes of a frame may stand, nearest first: its groups, the shared ones, the header."""
    data = item.header.data
    groups = data.get("PerFrameFunctionalGroupsSequence")
    shared = data.get("SharedFunctionalGroupsSequence")
    return [*([groups[item.frame]] if groups else []), *(shared[:1] if shared else []), data]


def is_colour(data: Dataset) -> bool:
    """Whether the pixels become red, green and blue."""
    return int(data.get("SamplesPerPixel") or 1) == 3 or data.get("PhotometricInterpretation") == "PALETTE COLOR"


def is_inverted(data: Dataset) -> bool:
    """Whether the values are turned over: film of MONOCHROME1."""
    return data.get("PhotometricInterpretation") == "MONOCHROME1" and data.get("Modality") in _FILM


def stored_range(data: Dataset) -> tuple[int, int]:
    """Return the lowest and highest value that the stored bits can hold."""
    bits = int(data.get("BitsStored") or data.get("BitsAllocated") or 16)
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if data.get("PixelRepresentation") == 1 else (0, 2**bits - 1)


def value_type(slices: Sequence[Slice]) -> np.dtype[Any]:
    """Return the type that holds the values of all slices: whole numbers stay whole, in as few bytes as will do."""
    data = slices[0].header.data
    if data.get("PhotometricInterpretation") == "PALETTE COLOR":
        return np.dtype(np.uint8)
    rescales = {rescale_of(item) for item in slices}
    allocated = int(data.get("BitsAllocated") or 16)
    if allocated > 32 or data.get("PixelRepresentation") is None or not all(r.is_whole for r in rescales):
        return np.dtype(np.float32)
    ranges = [stored_range(item.header.data) for item in slices]
    low = min(r[0] for r in ranges) + int(min(r.intercept for r in rescales))
    high = max(r[1] for r in ranges) + int(max(r.intercept for r in rescales))
    if low < 0 and allocated == 16:
        return np.dtype(np.int16)  # 16 bits are declared far more often than used; read_values widens where they are
    return next(_holding(low, high), np.dtype(np.float32))


def _holding(low: int, high: int) -> Iterator[np.dtype[Any]]:
    """Give the whole types that hold both values, small ones first."""
    return (np.dtype(t) for t in _COMPACT if np.iinfo(t).min <= low and high <= np.iinfo(t).max)


def read_values(slices: Sequence[Slice]) -> NDArray[Any]:
    """Return the values of slices of one size, (c, i, j, k): one channel, or red, green and blue.

    Frames are decoded one at a time into the array, so memory stays near its size.

    Raises
    ------
    CorruptFileError
        If pixels are missing, too few, or cannot be decompressed.
    """
    columns, rows = slices[0].size
    channels = 3 if is_colour(slices[0].header.data) else 1
    # In memory as the file has it: frame after frame, row after row.
    buffer = np.empty((len(slices), rows, columns, channels), value_type(slices))
    for at, (item, stored) in enumerate(_decoded(slices)):
        values = _to_values(stored, item)
        if values.shape != ((rows, columns, 3) if channels == 3 else (rows, columns)):
            raise CorruptFileError(got=f"{item.header.member.name} has pixels of shape {values.shape}")
        buffer = _widened(buffer, values)
        buffer[at] = values.reshape(buffer.shape[1:])
    array: NDArray[Any] = buffer.transpose(3, 2, 1, 0)
    return array


def _widened(buffer: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    """Return ``buffer`` in a type that holds ``values`` too, should a file use more bits than it declares."""
    if buffer.dtype.kind == "f" or buffer.dtype == values.dtype:
        return buffer
    low, high = int(values.min()), int(values.max())
    limits = np.iinfo(buffer.dtype)
    if limits.min <= low and high <= limits.max:
        return buffer
    return buffer.astype(next(_holding(min(low, int(limits.min)), max(high, int(limits.max))), np.dtype(np.float32)))


def _decoded(slices: Sequence[Slice]) -> Iterator[tuple[Slice, NDArray[Any]]]:
    """Give each slice with its stored pixels; runs of frames of one file are read in one go."""
    start = 0
    while start < len(slices):
        header = slices[start].header
        stop = start
        while stop < len(slices) and slices[stop].header is header:
            stop += 1
        run = slices[start:stop]
        yield from zip(run, decode(header, [item.frame for item in run]), strict=True)
        start = stop


def decode(header: Header, frames: Sequence[int]) -> Iterator[NDArray[Any]]:
    """Give the stored pixels of frames of one file, (rows, columns) or (rows, columns, 3), YBR turned to RGB.

    Raises
    ------
    CorruptFileError
        If pixels are missing, too few, or cannot be decompressed.
    """
    name = header.member.name
    with header.member.open() as file:
        if header.data.get("BitsAllocated") == 1 and (header.syntax is None or not header.syntax.is_encapsulated):
            yield from _bit_frames(header, _whole(header, file), frames)
            return
        if header.syntax == JPEGExtended12Bit and stored_range(header.data)[1] > 255:
            yield from _twelve_bit_frames(header, _whole(header, file), frames)
            return
        source: Any = file
        if header.frames == 1 or header.syntax in (None, DeflatedExplicitVRLittleEndian):
            source = _whole(header, file)
        plugin = "pydicom" if header.syntax == RLELossless else ""  # GDCM 3.2.6 ends the process on some RLE
        with tolerant(name, fix=_UNDECODED):
            if header.frames == 1:
                yield pixel_array(
                    source, decoding_plugin=plugin
                )  # iter_pixels cannot repair a J2K sign mismatch, this can (pydicom 3.0.2)
            else:
                yield from iter_pixels(source, indices=frames, decoding_plugin=plugin)


def _twelve_bit_frames(header: Header, data: Dataset, frames: Sequence[int]) -> Iterator[NDArray[np.uint16]]:
    """Give frames of lossy JPEG of 12 bits, which none of pydicom's decoders reads here."""
    with tolerant(header.member.name, fix=_UNDECODED):
        packed = list(generate_frames(data.PixelData, number_of_frames=header.frames))
        for frame in frames:
            plane = np.empty((int(data.Rows), int(data.Columns)), np.uint16)  # what the code stream claims may differ
            yield np.asarray(jpeg8_decode(packed[frame], out=plane))


def _bit_frames(header: Header, data: Dataset, frames: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
    """Give frames of one bit a pixel: they follow each other without padding, so few begin at a whole byte.

    pydicom 3.0.2 can only unpack all of them at once, eight times as large as they are here.
    """
    rows, columns = int(data.Rows), int(data.Columns)
    packed = np.frombuffer(data.PixelData, np.uint8)
    if not data.original_encoding[1] and data["PixelData"].VR == "OW":
        packed = packed[: len(packed) // 2 * 2].reshape(-1, 2)[:, ::-1].ravel()  # big-endian words
    if packed.size * 8 < rows * columns * header.frames:
        raise CorruptFileError(got=f"{header.member.name} holds {packed.size} bytes of pixels", wanted="all its frames")
    for frame in frames:
        start, stop = frame * rows * columns, (frame + 1) * rows * columns
        bits = np.unpackbits(packed[start // 8 : (stop + 7) // 8], bitorder="little")
        yield bits[start % 8 :][: stop - start].reshape(rows, columns)


def _whole(header: Header, file: BinaryIO) -> Dataset:
    """Return the dataset with its pixels in memory, and with a transfer syntax if it names none."""
    data = parse(file, header.member.name, pixels=True)
    if not any(keyword in data for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise CorruptFileError(got=f"{header.member.name} is a DICOM file without pixels")
    if header.syntax is None:
        implicit, little = data.original_encoding
        native = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        data.file_meta.TransferSyntaxUID = native
    return data


def _to_values(stored: NDArray[Any], item: Slice) -> NDArray[Any]:
    data = item.header.data
    if data.get("PhotometricInterpretation") == "PALETTE COLOR":
        with tolerant(item.header.member.name):
            colour: NDArray[Any] = apply_color_lut(stored, data)
        return colour if colour.dtype == np.uint8 else (colour >> 8).astype(np.uint8)
    if is_inverted(data):
        low, high = stored_range(data)
        stored = (low + high - stored.astype(np.int64)).astype(stored.dtype)
    rescale = rescale_of(item)
    if rescale.has_table:
        with tolerant(item.header.member.name):
            return np.asarray(apply_modality_lut(stored, data))
    if rescale.is_whole:
        return stored if not rescale.intercept else stored.astype(np.int32) + int(rescale.intercept)
    return stored.astype(np.float64) * rescale.slope + rescale.intercept
