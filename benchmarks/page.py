"""Keep the tables of a Markdown page up to date: the parts between `<!-- NAME -->` and `<!-- end of NAME -->`."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path


def page_with(name: str) -> Callable[[str], Path]:
    """Return the type of an argument that names a page with the part `name`: refused before any work begins."""

    def page(text: str) -> Path:
        try:
            _around(Path(text), name)
        except OSError as error:
            message = f"{text}: {error.strerror}"
            raise ArgumentTypeError(message) from error
        except ValueError as error:
            raise ArgumentTypeError(str(error)) from error
        return Path(text)

    return page


def replace_part(page: Path, name: str, text: str) -> None:
    """Put `text` in the place of the part `name` of `page`; ValueError if the page has no such part."""
    before, after = _around(page, name)
    page.write_text(f"{before}\n{text.strip()}\n\n{after}", encoding="utf-8")


def _around(page: Path, name: str) -> tuple[str, str]:
    """Return what comes before the part `name` and after it, its marks included."""
    start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    head, found, rest = page.read_text(encoding="utf-8").partition(start)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        message = f"{page} has no part between '{start.strip()}' and '{end}'"
        raise ValueError(message)
    return head + start, end + tail
