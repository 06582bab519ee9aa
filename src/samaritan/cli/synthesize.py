"""``samaritan synthesize``: pictures made from nothing, with the masks of what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from samaritan.cli._errors import Debug, UsageError
from samaritan.cli._json import as_json
from samaritan.cli._options import Json
from samaritan.cli._progress import progress_bar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from samaritan.data.synthesis import Scene

_SHOWN = 24  # scenes on the contact sheet
_SIDES = (32, 4096)


def synthesize(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FOLDER", help="Folder to write to.")],
    count: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many pictures.")] = 24,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same pictures.")] = 0,
    size: Annotated[int, typer.Option(min=_SIDES[0], max=_SIDES[1], help="Side of the pictures in pixels.")] = 256,
    appearance: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this appearance; may be repeated.")
    ] = None,
    as_json_: Json = False,
    debug: Debug = False,  # read by the guard around every verb
) -> None:
    """Make pictures with masks, as the default model trains on.

    Writes N.png, N_seg.png (numbers of parts), scenes.jsonl (which parts make up which
    object) and a contact sheet, sheet.png. Appearances: any_contrast, ct, mr, ultrasound, ...
    """
    import numpy as np

    from samaritan.data.synthesis import APPEARANCES, contact_sheet, draw_scene

    if output.exists() and not output.is_dir():
        raise UsageError(got=f"-o {output}, which is a file", wanted="a folder, to be made if need be")
    for name in appearance or ():
        APPEARANCES.get(name)  # a name that is wrong is said before anything is written
    output.mkdir(parents=True, exist_ok=True)
    lines, shown = [], []
    with progress_bar(quiet=as_json_) as report:
        for number in range(count):
            rng = np.random.default_rng([seed, number])
            chosen = appearance[number % len(appearance)] if appearance else None
            scene = draw_scene(size, rng, appearance=chosen)
            lines.append(_write(scene, output, number))
            shown += [scene] if number < _SHOWN else []
            if report:
                report("drawing", number + 1, count)
    _write_text(output / "scenes.jsonl", "".join(lines))
    _write_picture(output / "sheet.png", contact_sheet(shown))
    facts = {"folder": str(output), "count": count, "seed": seed, "size": size, "sheet": str(output / "sheet.png")}
    typer.echo(as_json(facts) if as_json_ else f"{count} pictures in {output}; a look at them: {output / 'sheet.png'}")


def _write(scene: Scene, folder: Path, number: int) -> str:
    """Write a scene's two pictures; return its line of the list."""
    import json

    name = f"{number:06d}"
    _write_picture(folder / f"{name}.png", scene.image)
    _write_picture(folder / f"{name}_seg.png", scene.parts)
    entry = {
        "image": f"{name}.png",
        "mask": f"{name}_seg.png",
        "appearance": scene.appearance,
        "objects": scene.objects,
    }
    return json.dumps(entry) + "\n"


def _write_picture(path: Path, pixels: NDArray[np.integer]) -> None:
    from PIL import Image

    from samaritan.io.atomic import atomic_path

    with atomic_path(path) as staged:
        Image.fromarray(pixels).save(staged)


def _write_text(path: Path, text: str) -> None:
    from samaritan.io.atomic import atomic_path

    with atomic_path(path) as staged:
        staged.write_text(text, encoding="utf-8")
