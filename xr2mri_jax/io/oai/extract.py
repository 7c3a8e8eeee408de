"""Extracts archives of one series (tar, gzipped or not, zip) on demand, and removes them again."""

import contextlib
import gzip
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from xr2mri_jax.errors import InputError, printable
from xr2mri_jax.io.budget import MAX_BYTES, MAX_PIECE, Budget, BudgetReader
from xr2mri_jax.io.oai.unzip import member_name, opened_zip
from xr2mri_jax.io.records import MriSeries, RadiographFile

ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar", ".zip")
# Bytes after the last member; writers fill their last record of 10 KiB with zeros.
MAX_BEHIND = 1 << 20
_LONGEST_REASON = 100  # `zipfile` quotes whole names, which may be long if damaged
_BROKEN = (
    *(tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile),
    *(zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError),
)
# Names that macOS adds to archives (beside hidden files), and files beside the slices of a series.
_MACOS = "__MACOSX"
_BESIDE_NAMES = ("DICOMDIR", "README", "LICENSE")
_BESIDE = (
    *(".txt", ".csv", ".tsv", ".json", ".xml", ".pdf", ".html", ".htm", ".md", ".log", ".ini"),
    *(".db", ".bval", ".bvec"),
)


def is_archive(path: Path) -> bool:
    """Whether the name is that of a tar or zip archive."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


@contextlib.contextmanager
def opened(record: RadiographFile | MriSeries, scratch: str | Path) -> Iterator[Path]:
    """Yields the path to read a record from; an archive is extracted and removed afterwards.

    Args:
      record: a radiograph or a series.
      scratch: a folder for extracted files; every call uses a new subfolder, so that workers do
        not collide.

    Yields:
      For a radiograph the file, for a series the folder of its slices or the volume's file.

    Raises:
      InputError: the record has a `problem`, or its archive cannot be used (see `extract`).
    """
    if record.problem:
        raise InputError(record.problem)
    if not is_archive(record.path):
        yield record.path
        return
    scratch = Path(scratch)
    scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="series-", dir=scratch))
    try:
        files = extract(record.path, folder)
        if isinstance(record, MriSeries):
            yield files[0] if len(files) == 1 else files[0].parent
        elif len(files) == 1:
            yield files[0]
        else:
            raise InputError(f"{record.path}: found {len(files)} files, expected one radiograph")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def extract(archive: str | Path, folder: str | Path, max_bytes: int = MAX_BYTES) -> list[Path]:
    """Extracts an archive's files into `folder`, which must exist, in one pass.

    Only plain files and folders are extracted; a member that leads out of `folder`, a link or a
    device refuses the whole archive. Hidden files and the copies in macOS's folder __MACOSX are
    ignored. The files' modes and owners are not kept. On an error the files written so far are
    removed.

    Args:
      archive: a .tar.gz, .tgz, .tar or .zip file.
      folder: the destination.
      max_bytes: refuse archives whose files have more bytes in total.

    Returns:
      The files, sorted; all in one folder. Texts, tables and a DICOMDIR are left out unless there
      is nothing else.

    Raises:
      InputError: the archive is missing, truncated, not an archive or empty, has a refused member
        or files in several folders, or is too large.
    """
    archive, folder = Path(archive), Path(folder)
    files: list[Path] = []
    try:
        _extract(archive, folder, max_bytes, files)
        if not files:
            raise InputError(f"{archive}: found no file in it, expected the files of one series")
        found = [file for file in files if not _lies_beside(file)] or files
        folders = {file.parent for file in found}
        if len(folders) > 1:
            raise InputError(f"{archive}: found files in {len(folders)} folders, expected one")
    except BaseException:
        for file in files:
            file.unlink(missing_ok=True)
        raise
    return sorted(found)


def _is_hidden(name: str) -> bool:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return any(part.startswith(".") or part == _MACOS for part in parts)


def _lies_beside(file: Path) -> bool:
    return file.suffix.lower() in _BESIDE or file.name.upper() in _BESIDE_NAMES


def _extract(archive: Path, folder: Path, max_bytes: int, files: list[Path]) -> None:
    """Writes the archive's files and appends their paths to `files`; errors become InputError."""
    budget = Budget(archive, max_bytes + MAX_BEHIND)
    kind = "zip" if archive.suffix.lower() == ".zip" else "tar"
    members = _of_zip if kind == "zip" else _of_tar
    total = 0
    try:
        for name, size, source in members(archive, budget):
            _check_name(archive, name)
            total += size
            if total > max_bytes:
                raise InputError(f"{archive}: holds more than {max_bytes} bytes")
            if source is not None and not _is_hidden(name):
                _write(source, size, folder / name, files)
    except _BROKEN as error:
        reason = printable(str(error)[:_LONGEST_REASON]) or type(error).__name__
        raise InputError(f"{archive}: truncated or no {kind} archive ({reason})") from error
    except OSError as error:
        raise InputError(f"{archive}: cannot be extracted ({error.strerror or error})") from error


# A member's name, its size, and its stream; None for a folder.
_Member = tuple[str, int, IO[bytes] | None]


def _of_tar(archive: Path, budget: Budget) -> Iterator[_Member]:
    with _stream(archive) as raw:
        stream = BudgetReader(raw, budget)
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            for member in tar:
                budget.part()
                if not (member.isfile() or member.isdir()):
                    raise InputError(
                        f"{archive}: member {member.name!r} is a link or device, expected a plain "
                        "file"
                    )
                yield member.name, member.size, tar.extractfile(member)
                tar.members = []  # type: ignore[attr-defined]  # else all headers are kept
            _check_end(archive, stream, tar.offset)


def _of_zip(archive: Path, budget: Budget) -> Iterator[_Member]:
    with opened_zip(archive) as found:
        for member in found.infolist():
            budget.part()
            name = member_name(archive, member)
            if name.endswith("/"):
                yield name, 0, None
                continue
            with found.open(member) as source:
                yield name, member.file_size, BudgetReader(source, budget)  # type: ignore[misc]


@contextlib.contextmanager
def _stream(archive: Path) -> Iterator[IO[bytes]]:
    with archive.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if zipped:
            with gzip.GzipFile(fileobj=raw) as stream:
                yield stream  # type: ignore[misc]
        else:
            yield raw


def _check_end(archive: Path, stream: BudgetReader, offset: int) -> None:
    """Refuses an archive that stops before the zero block that ends a tar.

    tarfile accepts a file that was cut between two members; it has then read less than a block
    after the last member. Reading to the end makes gzip compare its checksum.
    """
    if stream.tell() - offset < tarfile.BLOCKSIZE:
        raise InputError(f"{archive}: truncated (the end of the tar archive is missing)")
    behind = 0
    while found := stream.read(MAX_PIECE):
        behind += len(found)
        if behind > MAX_BEHIND:
            raise InputError(f"{archive}: has more than {MAX_BEHIND} bytes after its end")


def _check_name(archive: Path, name: str) -> None:
    if name.startswith("/") or ".." in Path(name).parts or "\\" in name or "\0" in name:
        raise InputError(f"{archive}: member {name!r} leads out of the archive's folder")


def _write(source: IO[bytes], size: int, target: Path, files: list[Path]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as sink:
        files.append(target)
        shutil.copyfileobj(source, sink, MAX_PIECE)
        written = sink.tell()
    if written != size:
        raise EOFError(f"member {target.name!r} has {written} of {size} bytes")
