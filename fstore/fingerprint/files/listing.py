"""Which files of a folder are its data: all that other readers would find there, or a refusal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from fstore.errors import InvalidRequest, SourceChanged


def parquet_files(path: Path) -> list[Path]:
    """List the Parquet files of a folder in the order of their relative paths, or the file itself.

    Raises ``SourceChanged`` where there is none or a part cannot be listed, and ``InvalidRequest`` for what other readers
    would read otherwise.
    """
    if not path.is_dir():
        return [path]
    found = []
    for file in visible_files(path):
        name = file.relative_to(path).as_posix()
        if name.endswith(".parquet"):
            refuse_set_aside(name, path)
            found.append(file)
        elif not file.name.startswith("_") and _is_parquet(file):
            raise misnamed(name, path)
    if not found:
        raise SourceChanged(str(path), "the folder holds no *.parquet file")
    keyed = {part for file in found for part in file.relative_to(path).parts[:-1] if "=" in part}
    if keyed:
        raise InvalidRequest(
            "raw_data",
            f"{path} holds folders such as {min(keyed)!r}, whose names are values of a column that no file holds, and "
            "only what files hold is read: write that column into the files, or pass "
            "pyarrow.dataset.dataset(path, partitioning='hive').to_table()",
        )
    return found


def visible_files(path: Path) -> list[Path]:
    """List the files of a folder and of all folders in it, linked ones too, by their relative paths.

    Names that begin with a dot are left out: writers keep there what is not finished. A folder that its writer moves
    away meanwhile holds nothing. Raises ``SourceChanged`` for what cannot be listed and for links to nothing, since a
    part of the data must not be taken for all of it, and ``InvalidRequest`` for links that lead round in a circle.
    """

    found = _visible_below(path, path, (os.path.realpath(path),))
    return sorted(found, key=lambda file: file.relative_to(path).as_posix())


def _visible_below(folder: Path, source: Path, reached: tuple[str, ...]) -> Iterator[Path]:
    """Yield the files below a folder; ``reached`` are the real paths of it and of those that lead to it."""
    try:
        with os.scandir(folder) as opened:
            entries = [entry for entry in opened if not entry.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise SourceChanged(str(source), f"{folder} cannot be listed: {error.strerror or error}") from error
    for entry in entries:
        place = folder / entry.name
        try:
            is_folder = entry.is_dir()
            is_file = not is_folder and _is_there(place, source)
        except OSError as error:
            raise SourceChanged(str(source), f"{place} cannot be looked at: {error.strerror or error}") from error
        if is_folder:
            real = os.path.realpath(place) if entry.is_symlink() else f"{reached[-1]}/{entry.name}"
            if real in reached:
                raise InvalidRequest("raw_data", f"{place} is a link to a folder that holds it; take it away")
            yield from _visible_below(place, source, (*reached, real))
        elif is_file:
            yield place


def refuse_set_aside(name: str, source: object) -> None:
    """Raise ``InvalidRequest`` for a path with a name that begins with an underscore.

    Spark and its like keep there what is not finished or not data, and ``pandas.read_parquet`` leaves it out.
    """
    aside = next((part for part in name.split("/") if part.startswith("_")), None)
    if aside is not None:
        raise InvalidRequest(
            "raw_data",
            f"{source} holds {name}, and what is called {aside!r} is not data for other readers: move it elsewhere, or "
            "rename it if it is; read tables of Delta or Iceberg with their library, and pass the table",
        )


def misnamed(name: str, source: object) -> InvalidRequest:
    """Return the refusal of a Parquet file among those of a folder that would not be read."""
    return InvalidRequest(
        "raw_data", f"{source} holds {name}, a Parquet file of another name: rename it to end in .parquet, or move it"
    )


def _is_there(file: Path, source: Path) -> bool:
    """Tell whether it is a file; one that goes while it is looked at is none."""
    if file.is_file():
        return True
    if file.is_symlink() and not file.exists():
        raise SourceChanged(str(source), f"{file} is a link to nothing; put back what it leads to, or take it away")
    return False


def _is_parquet(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(4) == b"PAR1"
    except FileNotFoundError:
        return False
    except OSError as exc:
        raise SourceChanged(str(file), f"cannot be read: {exc.strerror or exc}") from exc
