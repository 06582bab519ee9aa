"""Ask what limits the default model: `python -m training.tiny.limits --data DATA --cache CACHE [--only NAME]`.

Which of a lone click's masks is meant (ranking), how well the IoU of an answer can be foreseen (predicted IoU), what a
second look at an answer gives, what clicks would give if the object's place were known (windows), what the resolution
allows (ceiling), whether a mask that is right is heeded (right mask), what a click finds of all that it may mean
(meanings), how often a box would do for another object too (same box), what each kind of prompt gives (kinds), what
other windows would find (searches), and whether a stroke around its middle tells where the object is (strokes); on the
held-out families, and on some pictures of each training family. It opens no case that is meant for evaluation.
"""

from __future__ import annotations

import argparse

import torch

from samaritan.models.tiny import FOLDER
from samaritan.models.tiny.network import NETWORK_FILE
from training.arguments import cache_file, cases_folder, count, run_script, weights_file
from training.tiny.cases import load_views, split
from training.tiny.checkpoint import read_network
from training.tiny.limits.experiments import EXPERIMENTS, tables
from training.tiny.limits.shared import Subject
from training.tiny.quick_check import TorchGraph, some_of_each


def main() -> None:
    """Read the command line and print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m training.tiny.limits",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=cases_folder, required=True, help="folder with cases.jsonl")
    parser.add_argument("--cache", type=cache_file, required=True, help="decoded views, as train.py writes them")
    parser.add_argument(
        "--weights", type=weights_file, default=FOLDER / "weights" / NETWORK_FILE,
        help="checkpoint.pt of a run, or a .safetensors; by default what ships",
    )  # fmt: skip
    parser.add_argument("--most", type=count, default=4, help="pictures of each training family; held-out: all")
    parser.add_argument("--only", choices=EXPERIMENTS, action="append", help="this experiment only; may be repeated")
    options = parser.parse_args()
    torch.set_num_threads(1)
    trained, held = split(load_views(options.data, options.cache))
    subject = Subject(TorchGraph(read_network(options.weights)), [*held, *some_of_each(trained, options.most)])
    for table in tables(subject, options.only or tuple(EXPERIMENTS)):
        print(table, end="\n\n", flush=True)


if __name__ == "__main__":
    run_script(main)
