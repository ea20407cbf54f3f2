"""Staged files in a folder: renamed into place, reserved by their time of change."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from fstore.errors import SourceNotAllowed, StorageUnavailable
from fstore.storage import layout
from fstore.storage.durable import OpenFile, make_folder, make_one_folder, read_whole, translated, write_pieces
from fstore.storage.file_system import unlink
from fstore.storage.folder.listing import is_there, list_folder, remove_unless_touched
from fstore.storage.folder.root import CLOCK_STEP_S
from fstore.storage.interface import Capabilities, Listing, StagedResult
from fstore.storage.layout import SHARDS, FoundFile
from fstore.storage.packed.raw_parts import LastRead, ReadPart, in_files, raw_part
from fstore.storage.parquet import write_arrow, write_result
from fstore.storage.verify import raw_gone, raw_in, result_gone, result_in


class FolderStaging:
    """What is staged in a store whose root is a folder.

    See ``StagingArea`` for what each method promises.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.capabilities = Capabilities(location=str(root), folder=root, clock_step_s=CLOCK_STEP_S)

    def reserve(self, digest: str) -> str | None:
        """Touch raw data that are staged already, so that upkeep leaves them alone."""
        path = _raw_path(digest)
        try:
            os.utime(self._root / path)
        except OSError:
            return None
        return path

    def write(self, digest: str, table: pa.Table) -> str:
        """Write raw data beside their place and rename them."""
        path = _raw_path(digest)

        def write(temporary: Path) -> None:
            write_arrow(table, temporary, batch_rows=1 << 20)
            temporary.chmod(0o440)

        self._place(path, write)
        return path

    def write_together(self, raw: Iterable[tuple[str, pa.Table]]) -> list[str]:
        """Write each file beside its place and rename it."""
        return [path for some in in_files(raw) for path in self._write_file(some)]

    def _write_file(self, parts: Sequence[tuple[str, pa.Buffer]]) -> list[str]:
        path, paths, pieces = layout.new_raw_parts(parts)

        def write(temporary: Path) -> None:
            write_pieces(temporary, pieces)
            temporary.chmod(0o440)

        self._place(path, write)
        return paths

    def read(self, path: str, *, last: LastRead | None = None) -> pa.Table:
        """Read staged raw data."""
        layout.check_staged_raw(path)
        if (part := layout.raw_part_at(path)) is not None:
            with translated(path):
                return raw_part(path, part, self._opened, last)
        found = self._staged(path)
        with translated(path):
            try:
                data = read_whole(found)
            except FileNotFoundError as error:
                raise raw_gone(path) from error
        return raw_in(path, data)

    def _opened(self, path: str) -> ReadPart:
        """Open a file that several share; each is read by itself, into memory that the one before gave back."""
        found = self._staged(path)
        try:
            return OpenFile(found)
        except FileNotFoundError as error:
            raise raw_gone(path) from error

    def write_result(self, key: str, table: pa.Table) -> str:
        """Write a result beside its place and rename it."""
        path = layout.new_result_path(key)

        def write(temporary: Path) -> None:
            write_result(table, temporary)
            temporary.chmod(0o440)  # whatever the umask: the worker that publishes it may be another user of the group

        self._place(path, write)
        return path

    def read_result(self, path: str, *, digest: str | None = None) -> StagedResult:
        """Read a staged result with its page checksums."""
        layout.check_staged_result(path)
        staged = self._staged(path)
        with translated(path):
            try:
                data = read_whole(staged)
            except FileNotFoundError as error:
                raise result_gone(error) from error
        table, found = result_in(data, digest)
        return StagedResult(table, data, found)

    def exists(self, path: str) -> bool:
        """Return whether something is staged there now."""
        file = layout.staged_file_of(path)
        self._staged(file)
        return is_there(self._root, file)

    def discard(self, path: str) -> None:
        """Unlink a staged file if that is possible now."""
        if layout.raw_part_at(path) is not None:
            return
        with suppress(OSError, StorageUnavailable):
            unlink(self._staged(path), missing_ok=True)

    def list_staged(self) -> Iterator[Listing]:
        """List the folders below ``staging``, one at a time, and unfinished files in the root."""
        for folder in (layout.STAGED_RESULTS, *(f"{layout.STAGED_RAW}/{shard}" for shard in SHARDS)):
            yield list_folder(self._root, folder, layout.STAGED_NAME)
        yield Listing(temporary=list_folder(self._root, "", layout.STAGED_NAME).temporary)

    def drop_unless_reserved(self, file: FoundFile) -> bool:
        """Put a file aside and remove it, or put it back if it was touched since it was listed."""
        return remove_unless_touched(self._root, file)

    def _staged(self, path: str) -> Path:
        """Return where a path of the staged form lies, itself no link and below none.

        Raises ``SourceNotAllowed``.
        """
        layout.check_staged(path)
        found = self._root / path
        with translated(path):
            if _leads_away(self._root, path):
                raise SourceNotAllowed(path, [str(self._root / layout.STAGED_RAW)])
        return found

    def _place(self, path: str, write: Callable[[Path], None]) -> None:
        final = self._root / path
        temporary = final.with_name(f"{layout.TEMPORARY}{layout.new_token()}")
        with translated(final.parent):
            if not final.parent.is_dir():
                _make_passing_folder(final.parent)
            try:
                write(temporary)
                temporary.replace(final)
            except BaseException:
                unlink(temporary, missing_ok=True)
                raise


def _make_passing_folder(folder: Path) -> None:
    """Make a folder that need not outlive a crash of its host any more than what will lie in it.

    Nothing is flushed.
    """
    with suppress(FileExistsError):
        try:
            make_one_folder(folder)
        except FileNotFoundError:
            make_folder(folder.parent)
            make_one_folder(folder)


def _leads_away(root: Path, path: str) -> bool:
    """Tell whether a path below a root, without dots, is a link or below one."""
    if os.name != "posix":  # elsewhere there is more than links that leads to other places
        return (root / path).is_symlink() or (root / path).parent.resolve() != (root.resolve() / path).parent
    at = str(root)
    for part in path.split("/"):
        at = f"{at}/{part}"
        if os.path.islink(at):  # noqa: PTH114 as text: paths take longer to make than the look
            return True
    return False


def _raw_path(digest: str) -> str:
    return f"{layout.STAGED_RAW}/{layout.shard_of(digest)}/{digest}.arrow"
