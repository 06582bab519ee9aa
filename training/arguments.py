"""Paths on the command lines of training and benchmarks: what is not there is refused before any work begins."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path

CASES = "cases.jsonl"


def cases_folder(text: str) -> Path:
    """Return the folder of that name; it must hold `cases.jsonl`."""
    folder = Path(text)
    if not (folder / CASES).is_file():
        message = f"{folder} holds no {CASES}; name the folder that has it and the files that it lists"
        raise ArgumentTypeError(message)
    return folder


def weights_file(text: str) -> Path:
    """Return the file of that name; it must be a run's checkpoint or a safetensors file."""
    file = Path(text)
    if not file.is_file() or file.suffix not in {".pt", ".safetensors"}:
        message = f"{file} is no file of weights; name a run's checkpoint.pt or a .safetensors file"
        raise ArgumentTypeError(message)
    return file
