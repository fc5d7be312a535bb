"""Files that take the place of others only once they are whole."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from featkit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a file to write in, which takes the place of `path` only once it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".featkit-") as folder:
        yield Path(folder, path.name)
        Path(folder, path.name).replace(path)


def write_text(text: str, path: str | PathLike[str]) -> None:
    """Write a text file, and the folder that it is in where there is none.

    Raises
    ------
    InputError
        It cannot be written.
    """
    try:
        with replacing(Path(path)) as file:
            file.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        msg = f"{path} cannot be written: {error}"
        raise InputError(msg) from error
