"""The main job from files to files: read, prompt, segment, write, draw, report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samaritan.cli._errors import UsageError
from samaritan.cli._order import Given
from samaritan.cli._output import (
    default_output,
    report_path,
    require_label_format,
    require_picture_format,
    require_writable,
)

if TYPE_CHECKING:
    from samaritan.core.geometry import Axis
    from samaritan.core.image import Image
    from samaritan.core.model import Model, ModelCard
    from samaritan.core.prompts import Prompts
    from samaritan.infer import Channels, Segmentation
    from samaritan.infer.timing import Progress, Stopwatch

Report = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One image to segment, as the command line says it.

    Parameters
    ----------
    image
        File or folder.
    given, prompts
        Prompt options in the order they were typed; file of more.
    world, axis, slice_index
        How the numbers of prompts are meant; see ``_prompts.Frame``.
    model, weights
        Its name or file (None: the default one); a checkpoint in place of its own.
    output, encoding, overlay
        Mask file (None: a name made from the image's) and the way to write it; picture to draw, if any.
    series, select, volume
        What to read where the image holds several, and whether the pages of a TIFF are slices.
    channels, added
        Which channels the model sees (None: not said), and files of further ones by name.
    """

    image: Path
    given: tuple[Given, ...] = ()
    prompts: Path | None = None
    world: bool = False
    axis: Axis | None = None
    slice_index: int | None = None
    model: str | None = None
    weights: Path | None = None
    window: str | None = None
    device: str = "auto"
    max_memory: int | None = None
    output: Path | None = None
    encoding: str | None = None
    overlay: Path | None = None
    series: str | int | None = None
    select: str | int | None = None
    volume: bool = False
    channels: Channels | None = None
    added: Mapping[str, Path] = field(default_factory=dict)

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Every file that is read."""
        files = [Path(text) for name, text in self.given if name in ("scribble", "mask")]
        model = Path(self.model) if self.model and Path(self.model).is_file() else None
        return (
            self.image,
            *self.added.values(),
            *files,
            *(path for path in (self.prompts, self.weights, model) if path),
        )


def run(job: Job, *, progress: Progress | None = None) -> Report:
    """Do ``job``; return what was found, how long each stage took, and where the files lie.

    Raises
    ------
    SamaritanError
        If anything is wrong; then no file is left half-written.
    """
    from samaritan.infer import EmbeddingCache, segment
    from samaritan.infer.timing import Stopwatch

    clock = Stopwatch()
    image, output, objects, model = prepare(job, clock)
    result = segment(
        model,
        image,
        objects,
        axis=job.axis,
        window=job.window,
        channels=job.channels,
        cache=EmbeddingCache(),
        max_memory=job.max_memory,
        progress=progress,
    )
    clock.seconds.update(result.seconds)
    files = write_files(job, output, image, result, objects, model.card, clock)
    files["report"] = report_path(output)
    return _keep(_report(job, model.card, image, result, clock.seconds, files), objects, files["report"])


def prepare(job: Job, clock: Stopwatch) -> tuple[Image, Path, Mapping[str, Prompts], Model]:
    """Return the image, the mask file, the prompts of each object and the model of ``job``.

    Without prompts the objects are all that the model finds by name alone.
    """
    from samaritan.cli._channels import join
    from samaritan.cli._prompts import Frame, objects_of
    from samaritan.infer import every_class
    from samaritan.io import read
    from samaritan.models import load_model, model_card

    if job.weights is not None and job.model is None:
        raise UsageError(
            got=f"--weights {job.weights} without --model",
            wanted="the model that they are for",
            fix=f"To have it found out: --model {job.weights}",
        )
    with clock("read"):
        several = job.channels is not None and not job.added
        image = read(job.image, series=job.series, select=job.select, volume=job.volume, as_channels=several)
        image = join(image, job.image, job.added)
    output = _require_outputs(job, image)
    frame = Frame(image.geometry, job.world, job.axis or "k", job.slice_index)
    objects: Mapping[str, Prompts] = objects_of(job.given, job.prompts, frame)
    if not objects and job.model is not None and Path(job.model).is_dir():
        objects = every_class(model_card(job.model), image.geometry)
    if not objects:
        raise no_prompt(job, image)
    with clock("load_model"):
        model = load_model(job.model, weights=job.weights, device=job.device)
    return image, output, objects, model


def write_files(
    job: Job,
    output: Path,
    image: Image,
    result: Segmentation,
    objects: Mapping[str, Prompts],
    card: ModelCard,
    clock: Stopwatch,
) -> dict[str, Path]:
    """Write the mask to ``output``, and the overlay if ``job`` wants one; return where they are."""
    from samaritan.io import write

    with clock("write"):
        files = {"mask": write(result.labels, output, source=job.image, encoding=job.encoding)}
    if job.overlay is not None:
        with clock("overlay"):
            files["overlay"] = _draw(job, job.overlay, image, result, objects, card)
    return files


def no_prompt(job: Job, image: Image) -> UsageError:
    """Return the error that says which prompts there are, with a line that works for the image of ``job``."""
    import shlex

    size = image.shape[: 2 if image.is_2d else 3]
    start = [n // 4 for n in size]
    stop = [max(n - n // 4, a + 1) for a, n in zip(start, size, strict=True)]
    if not image.is_2d:  # one slice: an example should be quick
        start[2], stop[2] = size[2] // 2, size[2] // 2 + 1
    box = ":".join(",".join(map(str, corner)) for corner in (start, stop))
    # Without them the line would not read the image.
    chosen = [("--series", job.series), ("--select", job.select), ("--channels", job.channels)]
    chosen += [("--add-channel", f"{name}={path}") for name, path in job.added.items()]
    words = [str(word) for option in chosen if option[1] is not None for word in option]
    line = shlex.join([str(job.image), *words, *(["--volume"] if job.volume else []), "--box", box])
    return UsageError(
        got="nothing to segment: no prompt",
        wanted="one or more of --point, --negative, --box, --lasso, --scribble, --mask, --prompts",
        fix=f"For example:\n  samaritan segment {line}\n",
    )


def _require_outputs(job: Job, image: Image) -> Path:
    """Return the mask file of ``job``, once it is sure that nothing stands against writing there."""
    output = job.output or default_output(job.image, image)
    require_writable(output, inputs=job.inputs)
    require_label_format(output)
    if job.overlay is not None:
        require_picture_format(job.overlay)
        if job.overlay.resolve() == output.resolve():
            raise UsageError(got=f"--overlay and -o are both {output}", wanted="two names: a picture and a mask")
        require_writable(job.overlay, inputs=job.inputs)
    return output


def _draw(
    job: Job, path: Path, image: Image, result: Segmentation, prompts: Mapping[str, Prompts], card: ModelCard
) -> Path:
    from samaritan.draw.overlay import draw, layers_of, save
    from samaritan.infer.planes import choose_axis

    layers = layers_of({found.name: found.mask for found in result.objects}, prompts)
    axis = choose_axis(layers[0].prompts, job.axis)
    return save(draw(image, layers, card=card, axis=axis, window=job.window, channels=job.channels), path)


def _report(
    job: Job,
    card: ModelCard,
    image: Image,
    result: Segmentation,
    seconds: Mapping[str, float],
    files: Mapping[str, Path],
) -> Report:
    from samaritan._version import __version__
    from samaritan.cli._report import channel_report, grid_report, object_report, peak_memory_mib

    return {
        "samaritan": __version__,
        "model": card.name,
        "model_sha256": card.sha256,
        "image": image.source,
        "channels": channel_report(image, job.channels),
        **grid_report(image.geometry),
        "objects": [object_report(o.name, o.mask, o.score, image.geometry) for o in result.objects],
        "seconds": {stage: round(spent, 4) for stage, spent in seconds.items()},
        "peak_memory_mib": peak_memory_mib(),
        "outputs": {name: str(path) for name, path in files.items()},
    }


def _keep(report: Report, objects: Mapping[str, Prompts], path: Path) -> Report:
    """Write ``report`` with the prompts, so that the run can be repeated; return it without them."""
    from samaritan.cli._report import write_report

    kept = [{"label": name, "prompts": prompts.to_dict()} for name, prompts in objects.items()]
    write_report({**report, "prompts": {"objects": kept}}, path)
    return report
