"""The originals that our networks are compared with, imported with stand-ins for what they ask for beside PyTorch.

`requirements-parity.txt` installs them without their dependencies. The stand-ins are there while an original is being
imported and are gone afterwards, so that nobody else takes them for the real packages.
"""

import importlib
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import PIL.Image
import torch


class _Nothing(torch.nn.Identity):
    """Stands for layers that do nothing at inference, whatever they are made with."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__()


def _never(*args: object, **kwargs: object) -> None:
    msg = "a stand-in that no test should call"
    raise AssertionError(msg)


_STAND_INS: dict[str, dict[str, Any]] = {
    "torchvision": {},
    "torchvision.ops": {},
    "torchvision.ops.boxes": {"batched_nms": _never, "box_area": _never},
    "torchvision.transforms": {"Normalize": _Nothing, "Resize": _Nothing, "ToTensor": _Nothing},
    "torchvision.transforms.functional": {
        "to_pil_image": PIL.Image.fromarray,
        # Of a Pillow picture, as torchvision does it; size is (rows, columns).
        "resize": lambda picture, size: picture.resize(size[::-1], PIL.Image.Resampling.BILINEAR),
    },
    "timm": {},
    "timm.models": {},
    "timm.models.layers": {
        "DropPath": _Nothing,
        "to_2tuple": lambda value: value if isinstance(value, tuple) else (value, value),
        "trunc_normal_": torch.nn.init.trunc_normal_,
    },
    "timm.models.registry": {"register_model": lambda function: function},
    "hydra": {
        "compose": _never,
        "initialize_config_module": _never,
        "core": types.SimpleNamespace(
            global_hydra=types.SimpleNamespace(
                GlobalHydra=types.SimpleNamespace(instance=lambda: types.SimpleNamespace(is_initialized=lambda: True))
            )
        ),
    },
    "hydra.utils": {"instantiate": _never},
    "hydra.core": {},
    "hydra.core.global_hydra": {
        "GlobalHydra": types.SimpleNamespace(instance=lambda: types.SimpleNamespace(is_initialized=lambda: True))
    },
    "omegaconf": {"OmegaConf": types.SimpleNamespace(resolve=_never)},
    "iopath": {},
    "iopath.common": {},
    "iopath.common.file_io": {"g_pathmgr": None},
}


@contextmanager
def _stand_ins() -> Iterator[None]:
    missing = {name: content for name, content in _STAND_INS.items() if name not in sys.modules}
    for name, content in missing.items():
        module = ModuleType(name)
        module.__dict__.update(content)
        sys.modules[name] = module
    try:
        yield
    finally:
        for name in missing:
            del sys.modules[name]


def original(name: str) -> ModuleType:
    """Import a module of an original: ``segment_anything``, ``segment_anything_hq``, ``mobile_sam``, ``sam2...``."""
    import transformers  # noqa: F401, PLC0415 - it looks for torchvision when first imported, and must not find ours

    with _stand_ins():
        return importlib.import_module(name)


def randomise(module: torch.nn.Module) -> torch.nn.Module:
    """Draw every weight and running statistic anew, so that none is left out of a comparison by being 0 or 1."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            if name.endswith("running_var"):
                tensor.copy_(0.5 + noise.abs())
            elif tensor.ndim == 1 and name.endswith("weight"):  # of a norm
                tensor.copy_(1 + 0.1 * noise)
            elif "positional_encoding" in name:
                tensor.copy_(noise)
            else:
                fan_in = max(1, tensor[0].numel() if tensor.ndim > 1 else 100)
                tensor.copy_(noise / fan_in**0.5)
    return module.eval()


# What originals and ours are asked: points, their labels, a box, and whether an earlier mask is given as well.
PROMPTS = {
    "point": ([(30.0, 40.0)], [1], None, False),
    "points": ([(30.0, 40.0), (60.0, 20.0), (10.0, 80.0)], [1, 0, 1], None, False),
    "box": ([], [], (20.0, 30.0, 80.0, 90.0), False),
    "box and points": ([(30.0, 40.0), (22.0, 33.0)], [1, 0], (20.0, 30.0, 80.0, 90.0), False),
    "mask": ([(30.0, 40.0)], [1], None, True),
    "box and mask": ([], [], (20.0, 30.0, 80.0, 90.0), True),
}


def asked(theirs: Any, name: str, *, mask_side: int, several: bool) -> tuple[Any, Any, Any]:
    """Ask an original's predictor one of ``PROMPTS``; return its logits and scores, and the earlier mask or None."""
    points, labels, box, with_mask = PROMPTS[name]
    shape = (1, mask_side, mask_side)
    mask = np.random.default_rng(1).normal(0, 4, shape).astype(np.float32) if with_mask else None
    _, scores, low = theirs.predict(
        point_coords=np.array(points) if points else None,
        point_labels=np.array(labels) if points else None,
        box=np.array(box) if box else None,
        mask_input=mask,
        multimask_output=several,
    )
    return low, scores, None if mask is None else mask[0]
