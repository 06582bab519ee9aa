"""How fast synthetic scenes are made: `python -m benchmarks.synthesis_speed`, on one core."""

from __future__ import annotations

import time

import cv2
import numpy as np

from samaritan.data.synthesis import APPEARANCES, draw_scene

SIDE, SCENES = 256, 40


def main() -> None:
    """Print the median time of a scene by appearance, and of the mixture that training draws."""
    cv2.setNumThreads(1)
    for name in (*APPEARANCES, None):
        seconds = []
        for seed in range(SCENES):
            rng = np.random.default_rng(seed)
            started = time.perf_counter()
            draw_scene(SIDE, rng, appearance=name)
            seconds.append(time.perf_counter() - started)
        print(f"{name or 'mixture':<22}{1000 * float(np.median(seconds)):6.1f} ms")


if __name__ == "__main__":
    main()
