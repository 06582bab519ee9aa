"""``python -m samaritan``: the program without its script."""

from samaritan.cli import main

main()
