"""Where results go: names that suggest themselves, and what would go wrong found out before the work is done."""

from __future__ import annotations

import os
from pathlib import Path

from samaritan.cli._errors import UsageError
from samaritan.core.errors import WriteError
from samaritan.core.image import Image
from samaritan.io.format import split_name


def stem(path: Path) -> str:
    """Return the name of ``path`` without the ending of its format, ``.nii.gz`` included."""
    return split_name(path.resolve().name)[0]


def default_output(source: Path, image: Image) -> Path:
    """Return ``<stem>_seg.nii.gz`` in the current folder; ``.png`` for a picture, which has no place in the world."""
    ending = ".png" if image.is_2d and image.geometry.unit == "pixel" else ".nii.gz"
    return Path(f"{stem(source)}_seg{ending}")


def report_path(output: Path) -> Path:
    """Return where the run report of ``output`` goes: beside it, as ``<stem>.report.json``."""
    return output.with_name(f"{stem(output)}.report.json")


def require_label_format(output: Path) -> None:
    """Raise ``WriteError`` unless some format writes label maps under a name such as ``output``."""
    from samaritan.io.format import FORMATS

    writers = [form for form in map(FORMATS.get, FORMATS) if form.write_labels]
    if not any(form.claims(output) for form in writers):
        raise WriteError(
            got=f"no format to write a mask is known by the name {output.name}",
            wanted=f"a name that ends in {', '.join(suffix for form in writers for suffix in form.suffixes)}",
        )


def require_picture_format(output: Path) -> None:
    """Raise ``WriteError`` unless the name of ``output`` is a picture's."""
    if output.suffix.lower() not in (".png", ".jpg", ".jpeg", ".bmp"):
        raise WriteError(got=f"overlay {output}", wanted="the name of a picture", fix=f"--overlay {output.stem}.png")


def require_writable(output: Path, *, inputs: tuple[Path, ...]) -> None:
    """Find out, before the work, whether ``output`` can be written and is none of the ``inputs``.

    Raises
    ------
    UsageError
        If it is one of the inputs, under whatever name.
    WriteError
        If it is a folder, or its folder does not exist or may not be written to.
    """
    for source in inputs:
        same = output.resolve() == source.resolve() or (output.exists() and source.exists() and output.samefile(source))
        if same or source.resolve() in output.resolve().parents:
            raise UsageError(
                got=f"output {output}, which is {'' if same else 'inside '}the input {source}",
                wanted="another place: the input is never written to",
                fix=f"Choose another name, such as -o {stem(source)}_seg.nii.gz",
            )
    if output.is_dir():
        raise WriteError(got=f"{output} is a folder", wanted="the name of a file", fix=f"-o {output / 'mask.nii.gz'}")
    folder = output.parent
    if not folder.is_dir():
        raise WriteError(got=f"cannot write {output}: no folder {folder}", fix=f"Make it first: mkdir -p {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise WriteError(got=f"cannot write {output}: no permission for {folder}", fix="Write to a folder that you own")
