"""``samaritan demo``: the main job on real images that installed packages carry, without a download."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import typer

from samaritan.cli._errors import Debug
from samaritan.cli._json import as_json
from samaritan.cli._options import Json
from samaritan.cli._order import Given
from samaritan.cli._progress import progress_bar
from samaritan.cli.segment import summary

_TILE = 384  # pixels: with all tiles, a file small enough for a repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One image of an installed package, and prompts for it as they are typed: ``("box", "41,5:80,49")``."""

    name: str
    title: str
    package: str
    file: str
    prompts: tuple[Given, ...]
    window: str | None = None
    world: bool = False
    select: int | None = None
    ending: str = ".nii.gz"
    extra: str = ""

    def path(self) -> Path | None:
        """Return where the image lies; None if its package is not installed or does not carry it."""
        spec = find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            return None
        path = Path(next(iter(spec.submodule_search_locations))) / self.file
        return path if path.is_file() else None

    def command(self, path: Path) -> str:
        """Return the line that does the same."""
        options = [word for name, text in self.prompts for word in (f"--{name}", shlex.quote(text))]
        options += ["--window", self.window] if self.window else []
        options += ["--world"] if self.world else []
        options += ["--select", str(self.select)] if self.select is not None else []
        return " ".join(["samaritan segment", shlex.quote(str(path)), *options])


_DICOM = "data/test_files"
CASES = (
    Case(
        name="ct-spine",
        title="CT: vertebra, canal, aorta",
        package="pydicom",
        file=f"{_DICOM}/CT_small.dcm",
        prompts=(
            ("label", "vertebral body"), ("box", "41,5:80,49"),
            ("label", "spinal canal"), ("box", "46,39:73,63"),
            ("label", "aorta"), ("box", "72,0:113,30"),
        ),
        window="bone",
    ),
    Case(
        name="mr-abdomen",
        title="MR: kidneys, spleen, liver lesion",
        package="pydicom",
        file=f"{_DICOM}/examples_overlay.dcm",
        prompts=(
            ("label", "right kidney"), ("box", "118,188:185,252"),
            ("label", "left kidney"), ("box", "288,197:349,254"),
            ("label", "spleen"), ("box", "361,118:400,245"),
            ("label", "lesion"), ("box", "114,102:172,166"),
        ),
    ),
    Case(
        name="ct-head",
        title="CT: posterior fossa, temporal lobes, sinus",
        package="pydicom",
        file=f"{_DICOM}/J2K_pixelrep_mismatch.dcm",
        prompts=(
            ("label", "posterior fossa"), ("box", "135,237:378,402"),
            ("label", "right temporal lobe"), ("box", "120,158:226,264"),
            ("label", "left temporal lobe"), ("box", "290,158:402,282"),
            ("label", "frontal sinus"), ("box", "170,45:248,92"),
        ),
        window="brain",
    ),
    Case(
        name="us-heart",
        title="Ultrasound film: left ventricle",
        package="pydicom",
        file=f"{_DICOM}/examples_ybr_color.dcm",
        prompts=(("label", "left ventricle"), ("box", "151,60:206,128")),
        select=0,
        ending=".png",
    ),
    Case(
        name="retina",
        title="Fundus: optic disc",
        package="skimage",
        file="data/retina.jpg",
        prompts=(("label", "optic disc"), ("box", "118,550:322,765")),
        ending=".png",
    ),
    Case(
        name="histology",
        title="Immunohistochemistry: a gland",
        package="skimage",
        file="data/ihc.png",
        prompts=(("label", "gland"), ("box", "250,302:385,512")),
        ending=".png",
    ),
    Case(
        name="cell",
        title="Microscopy: a cell, from one click",
        package="skimage",
        file="data/cell.png",
        prompts=(("label", "cell"), ("point", "427,375")),
        ending=".png",
    ),
    Case(
        name="mr-head",
        title="MR volume: cerebellum, from one 3D box",
        package="nilearn",
        file="datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz",
        prompts=(("label", "cerebellum"), ("box", "-54,-94,-60:54,-40,-14")),
        world=True,
        extra="demo",
    ),
)  # fmt: skip


def demo(
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder for masks and pictures.")] = Path("demo-output"),
    as_json_: Json = False,
    debug: Debug = False,  # read by the guard around every verb
) -> None:
    """Segment real images, and draw the results.

    The images lie in installed packages; nothing is downloaded.
    """
    from samaritan.cli._run import Job, run

    output.mkdir(parents=True, exist_ok=True)
    reports: list[dict[str, Any]] = []
    drawn: list[tuple[Path, str]] = []
    for case in CASES:
        path = case.path()
        if path is None:
            _say(_absent(case), quiet=as_json_)
            continue
        _say(f"\n{case.title}\n  {case.command(path)}", quiet=as_json_)
        overlay = output / f"{case.name}.png"
        start = perf_counter()
        with progress_bar(quiet=as_json_) as progress:
            job = Job(
                image=path,
                given=case.prompts,
                world=case.world,
                window=case.window,
                select=case.select,
                output=output / f"{case.name}_seg{case.ending}",
                overlay=overlay,
            )
            report = run(job, progress=progress)
        _say(_indent(f"{summary(report)}\n{perf_counter() - start:.1f} s"), quiet=as_json_)
        reports.append(report)
        drawn.append((overlay, case.title))
    sheet = _contact_sheet(drawn, output / "demo.png")
    typer.echo(
        as_json({"cases": reports, "sheet": str(sheet)}) if as_json_ else f"\nall pictures side by side: {sheet}"
    )


def _absent(case: Case) -> str:
    fix = f": pip install 'samaritan[{case.extra}]'" if case.extra else ""
    return f"\n{case.title}\n  skipped, {case.package} does not carry it here{fix}"


def _say(text: str, *, quiet: bool) -> None:
    if not quiet:
        typer.echo(text)


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _contact_sheet(drawn: list[tuple[Path, str]], path: Path) -> Path:
    """Draw all overlays into one picture, in few enough colours for a small file."""
    from PIL import Image, ImageOps

    from samaritan.draw.overlay import montage, save

    tiles = []
    for overlay, _ in drawn:
        with Image.open(overlay) as picture:
            tiles.append(ImageOps.contain(picture.convert("RGB"), (_TILE, _TILE)))
    sheet = montage(tiles, [title for _, title in drawn], columns=4)
    return save(sheet.quantize(256, kmeans=2), path)
