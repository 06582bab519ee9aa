"""Train the `tiny` model: `python -m training.tiny.train --data DATA --out runs/tiny --minutes 75`.

The budget is wall-clock time (`--minutes`) or a number of steps (`--steps`); learning rates follow the
fraction of it that has passed. Every step draws its samples from a generator seeded by (seed, step), so a run that was
stopped and resumed with `--steps` ends with the same weights as one that was not.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from training.tiny.cases import load_views, split
from training.tiny.curve import draw_curve
from training.tiny.imagenet import load_imagenet
from training.tiny.losses import loss_of
from training.tiny.prompts import Simulated, correct, simulate
from training.tiny.quick_check import check
from training.tiny.scenes import Sampler

from samaritan.models.tiny.network import Embedding, Masks, TinyNetwork

Array = NDArray[Any]

# (crop size, images a step) and how often it is drawn: mostly as a window around an object is seen at inference.
SIZES = (((256, 8), 0.8), ((384, 4), 0.12), ((512, 2), 0.08))


@dataclass(frozen=True)
class Config:
    """Everything that decides a run besides the data; saved with it."""

    seed: int = 0
    minutes: float = 0.0  # budget of wall-clock time; 0: use `steps`
    steps: int = 0  # budget of steps
    encoder_rate: float = 1.5e-4
    decoder_rate: float = 1e-3
    weight_decay: float = 0.02
    warm_up: float = 0.02  # fraction of the budget
    gradient_norm: float = 1.0
    prompts_an_image: int = 4
    correction_share: float = 0.2  # of steps with a second decode after a corrective click
    average_decay: float = 0.998
    save_every_s: float = 300.0
    check_every_s: float = 900.0
    imagenet: bool = True
    init: str = ""  # checkpoint of an earlier run whose averaged weights to start from


@dataclass
class Progress:
    """Where a run stands; saved in its checkpoints."""

    step: int = 0
    elapsed_s: float = 0.0
    config: Config = field(default_factory=Config)

    @property
    def fraction(self) -> float:
        """The part of the budget that is used up."""
        if self.config.minutes:
            return self.elapsed_s / (60.0 * self.config.minutes)
        return self.step / max(1, self.config.steps)


@dataclass(frozen=True)
class Batch:
    """Images with several prompted objects each; `n` counts prompts, image by image."""

    images: Tensor  # (b, 3, H, W) in [0, 255]
    masks: list[Any]  # n boolean arrays (H, W)
    prompts: list[Simulated]  # n
    target: Tensor  # (n, 1, H / 2, W / 2), covered fraction
    valid: Tensor  # (n, 1, H / 2, W / 2)


class Trainer:
    """A network, its optimiser, the running average of its weights, and how far it has come."""

    def __init__(self, config: Config, sampler: Sampler) -> None:
        torch.manual_seed(config.seed)
        self.network = TinyNetwork().to(memory_format=torch.channels_last)
        if config.imagenet:
            load_imagenet(self.network.encoder.backbone)
        if config.init:
            self.network.load_state_dict(torch.load(config.init, weights_only=True)["average"])
        self.average = {name: value.clone() for name, value in self.network.state_dict().items()}
        pretrained = list(self.network.encoder.backbone.parameters())
        known = {id(parameter) for parameter in pretrained}
        fresh = [parameter for parameter in self.network.parameters() if id(parameter) not in known]
        self.optimiser = torch.optim.AdamW(
            [{"params": pretrained, "peak": config.encoder_rate}, {"params": fresh, "peak": config.decoder_rate}],
            weight_decay=config.weight_decay,
        )
        self.sampler = sampler
        self.progress = Progress(config=config)

    def step(self) -> dict[str, float]:
        """Train on one batch; return what to log."""
        started = time.perf_counter()
        config, fraction = self.progress.config, self.progress.fraction
        rng = np.random.default_rng([config.seed, self.progress.step])
        size, images = draw_size(rng)
        batch = draw_batch(self.sampler, size, images, config.prompts_an_image, rng)
        drawn = time.perf_counter()
        loss = self.loss(batch, corrected=rng.random() < config.correction_share)
        factor = self.update(loss, fraction)
        self.progress.step += 1
        finished = time.perf_counter()
        self.progress.elapsed_s += finished - started
        return {
            "step": self.progress.step,
            "fraction": round(fraction, 5),
            "loss": round(float(loss.detach()), 4),
            "size": size,
            "rate": factor,
            "draw_s": round(drawn - started, 3),
            "step_s": round(finished - started, 3),
            "elapsed_s": round(self.progress.elapsed_s, 1),
        }

    def loss(self, batch: Batch, *, corrected: bool) -> Tensor:
        """Loss of a batch; with `corrected`, averaged with that after one corrective click on each mask."""
        self.network.train()
        embedding = self.network.encoder(batch.images.contiguous(memory_format=torch.channels_last))
        repeats = len(batch.prompts) // len(batch.images)
        embedding = Embedding(*(part.repeat_interleave(repeats, dim=0) for part in embedding))
        masks = self._decode(embedding, batch, None)
        ambiguous = torch.tensor([prompts.is_ambiguous for prompts in batch.prompts])
        loss = loss_of(masks, batch.target, batch.valid, ambiguous)
        if not corrected:
            return loss
        previous = self._correct(batch, masks, ambiguous)
        again = self._decode(embedding, batch, previous)
        return 0.5 * (loss + loss_of(again, batch.target, batch.valid, torch.zeros_like(ambiguous)))

    def update(self, loss: Tensor, fraction: float) -> float:
        """Take an optimiser step at the rate of `fraction` and average the weights; return the rate's factor."""
        factor = rate_factor(fraction, self.progress.config.warm_up)
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * factor
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.progress.config.gradient_norm)
        self.optimiser.step()
        decay = min(self.progress.config.average_decay, (1 + self.progress.step) / (10 + self.progress.step))
        for name, value in self.network.state_dict().items():
            self.average[name].lerp_(value, 1 - decay)
        return factor

    def save(self, path: Path) -> None:
        """Write everything that `resume` needs, atomically."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "step": self.progress.step,
            "elapsed_s": self.progress.elapsed_s,
            "config": asdict(self.progress.config),
        }
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(path)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint; its own configuration must be this run's."""
        state = torch.load(path, weights_only=True)
        if state["config"] != asdict(self.progress.config):
            message = f"{path} was written with another configuration: {state['config']}"
            raise ValueError(message)
        self.network.load_state_dict(state["network"])
        self.average = state["average"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.progress.step, self.progress.elapsed_s = state["step"], state["elapsed_s"]

    def averaged(self) -> TinyNetwork:
        """Return a network with the averaged weights."""
        network = TinyNetwork()
        network.load_state_dict(self.average)
        return network.eval()

    def _decode(self, embedding: Embedding, batch: Batch, previous: Array | None) -> Masks:
        height, width = batch.images.shape[2:]
        shown = [None] * len(batch.prompts) if previous is None else previous
        maps = [p.maps((height, width), mask) for p, mask in zip(batch.prompts, shown, strict=True)]
        stacked = torch.from_numpy(np.stack(maps)).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):  # twice as fast as float32 for the decoder's dense convolutions
            masks: Masks = self.network.decoder(embedding, stacked)
        return masks

    @staticmethod
    def _correct(batch: Batch, masks: Masks, ambiguous: Tensor) -> Array:
        """Add a corrective click to every prompt, as its user would; return the logits they saw (n, h, w)."""
        best = torch.where(ambiguous, masks.predicted_iou.argmax(dim=1), 0)
        seen = masks.logits.detach().float()[torch.arange(len(best)), best]
        full = functional.interpolate(seen[:, None], scale_factor=2.0, mode="bilinear")[:, 0].numpy() > 0
        for prompts, mask, predicted in zip(batch.prompts, batch.masks, full, strict=True):
            correct(prompts, mask, predicted)
        return seen.numpy()


def rate_factor(fraction: float, warm_up: float) -> float:
    """Learning rate over its peak: a linear warm-up, then half a cosine down to 1 %."""
    if fraction < warm_up:
        return max(fraction / warm_up, 0.02)
    along = min(1.0, (fraction - warm_up) / (1 - warm_up))
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * along))


def draw_size(rng: np.random.Generator) -> tuple[int, int]:
    """Draw the crop size in pixels and the number of images of a step."""
    index = rng.choice(len(SIZES), p=[share for _, share in SIZES])
    return SIZES[index][0]


def draw_batch(sampler: Sampler, size: int, images: int, prompts: int, rng: np.random.Generator) -> Batch:
    """Draw samples and simulate their prompts."""
    samples = [sampler.draw(size, prompts, rng) for _ in range(images)]
    masks = [mask for sample in samples for mask in sample.masks]
    covered = torch.from_numpy(np.stack(masks)[:, None].astype(np.float32))
    valid = torch.from_numpy(np.stack([sample.valid for sample in samples])[:, None].astype(np.float32))
    return Batch(
        images=torch.from_numpy(np.stack([sample.image for sample in samples])).permute(0, 3, 1, 2),
        masks=masks,
        prompts=[simulate(mask, rng) for mask in masks],
        target=functional.avg_pool2d(covered, 2),
        valid=functional.avg_pool2d(valid, 2).repeat_interleave(prompts, dim=0),
    )


def train(config: Config, data: Path, out: Path, *, cache: Path) -> None:
    """Run until the budget is used up, from the last checkpoint in `out` if there is one."""
    out.mkdir(parents=True, exist_ok=True)
    views, held = split(load_views(data, cache))
    trainer = Trainer(config, Sampler(views))
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists():
        trainer.resume(checkpoint)
    (out / "config.json").write_text(json.dumps(asdict(config), indent=2) + "\n", encoding="utf-8")
    saved = checked = time.monotonic()
    with (out / "log.jsonl").open("a", encoding="utf-8") as log:
        while trainer.progress.fraction < 1.0:
            entry: dict[str, Any] = trainer.step()
            now = time.monotonic()
            finished = trainer.progress.fraction >= 1.0
            if now - checked > config.check_every_s or finished:
                checked = now
                entry["check"] = check(trainer.averaged(), held)
            log.write(json.dumps(entry) + "\n")
            log.flush()
            if now - saved > config.save_every_s or finished:
                saved = now
                trainer.save(checkpoint)
                draw_curve(out / "log.jsonl", out / "curve.png")


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with cases.jsonl")
    parser.add_argument("--out", type=Path, required=True, help="where checkpoint, log and curve go")
    parser.add_argument("--cache", type=Path, help="decoded views (default: beside --out)")
    parser.add_argument("--minutes", type=float, default=0.0, help="budget of wall-clock time")
    parser.add_argument("--steps", type=int, default=0, help="budget of steps, if --minutes is not given")
    parser.add_argument("--init", type=Path, help="checkpoint of an earlier run to start from, in place of ImageNet")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not (options.minutes or options.steps):
        parser.error("give --minutes or --steps")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    init = str(options.init or "")
    config = Config(seed=options.seed, minutes=options.minutes, steps=options.steps, imagenet=not init, init=init)
    train(config, options.data, options.out, cache=options.cache or options.out.parent / "tiny_cache.npz")


if __name__ == "__main__":
    main()
