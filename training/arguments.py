"""What the command lines of training and benchmarks take: what cannot be used is refused before any work begins."""

from __future__ import annotations

import math
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

from samaritan.core.errors import SamaritanError

CASES = "cases.jsonl"
MULTIPLE = 32  # of pixels that the sides of the network's input are


def cases_folder(text: str) -> Path:
    """Return the folder of that name; it must hold `cases.jsonl`."""
    folder = Path(text)
    if not (folder / CASES).is_file():
        message = f"{folder} holds no {CASES}; name the folder that has it and the files that it lists"
        raise ArgumentTypeError(message)
    return folder


def cache_file(text: str) -> Path:
    """Return the name of a file of decoded views, which need not exist yet."""
    file = Path(text)
    if file.suffix != ".npz":
        message = f"{file} is no name for decoded views; give one that ends in .npz"
        raise ArgumentTypeError(message)
    return file


def crop_side(text: str) -> int:
    """Return the side of crops in pixels; the network takes multiples of 32."""
    side = int(text) if text.isdecimal() else 0
    if side < MULTIPLE or side % MULTIPLE:
        message = f"{text} is no side of crops; give a multiple of {MULTIPLE} pixels, such as 128"
        raise ArgumentTypeError(message)
    return side


def weights_file(text: str) -> Path:
    """Return the file of that name; it must be a run's checkpoint or a safetensors file."""
    return _file(text, ".pt", ".safetensors", wanted="name a run's checkpoint.pt or a .safetensors file")


def checkpoint_file(text: str) -> Path:
    """Return the file of that name; it must be a run's checkpoint: safetensors files may be calibrated already."""
    return _file(text, ".pt", wanted="name a run's checkpoint.pt: a .safetensors file may be calibrated already")


def count(text: str) -> int:
    """Return how many, of steps say; 1 at least."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        message = f"{text} is too few or no number; give 1 or more"
        raise ArgumentTypeError(message)
    return number


def workers(text: str) -> int:
    """Return a number of processes; 0 for none but this one."""
    return 0 if text == "0" else count(text)


def rate(text: str) -> float:
    """Return a factor of learning rates; above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        message = f"{text} is no rate; give a number above 0"
        raise ArgumentTypeError(message)
    return number


def run_script(main: Callable[[], None]) -> None:
    """Run a script; what is wrong with its input, or Ctrl-C, ends it in a sentence."""
    try:
        main()
    except SamaritanError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from the last checkpoint, if there is one")


def _file(text: str, *suffixes: str, wanted: str) -> Path:
    file = Path(text)
    if not file.is_file() or file.suffix not in suffixes:
        message = f"{file} is no file of weights to begin with; {wanted}"
        raise ArgumentTypeError(message)
    return file
