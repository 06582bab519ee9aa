"""``python -m samaritan.cli``: the program without its script."""

from samaritan.cli import main

main()
