"""What the command lines of training and benchmarks take: what cannot be used is refused before any work begins."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path

CASES = "cases.jsonl"
MULTIPLE = 32  # of pixels that the sides of the network's input are


def cases_folder(text: str) -> Path:
    """Return the folder of that name; it must hold `cases.jsonl`."""
    folder = Path(text)
    if not (folder / CASES).is_file():
        message = f"{folder} holds no {CASES}; name the folder that has it and the files that it lists"
        raise ArgumentTypeError(message)
    return folder


def crop_side(text: str) -> int:
    """Return the side of crops in pixels; the network takes multiples of 32."""
    side = int(text) if text.isdecimal() else 0
    if side < MULTIPLE or side % MULTIPLE:
        message = f"{text} is no side of crops; give a multiple of {MULTIPLE} pixels, such as 128"
        raise ArgumentTypeError(message)
    return side


def weights_file(text: str) -> Path:
    """Return the file of that name; it must be a run's checkpoint or a safetensors file."""
    file = Path(text)
    if not file.is_file() or file.suffix not in {".pt", ".safetensors"}:
        message = f"{file} is no file of weights; name a run's checkpoint.pt or a .safetensors file"
        raise ArgumentTypeError(message)
    return file
