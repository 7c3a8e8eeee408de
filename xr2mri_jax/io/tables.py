"""Reads and writes delimited text tables: encoding, header case, broken rows, safe cells."""

import codecs
import csv
import dataclasses
import io
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from xr2mri_jax.errors import InputError, printable
from xr2mri_jax.files import atomic_path

# Spreadsheets interpret cells with these beginnings as formulas (OWASP, "CSV injection").
_FORMULA = ("=", "+", "-", "@")
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)")


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One row: `number` counts from 1 at the header's line; `cells` by lower-case column name."""

    table: Path
    number: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    def get(self, column: str, default: str = "") -> str:
        """The cell's text, or `default` if the table has no such column."""
        return self.cells.get(column, default)

    def spacing(self) -> float | None:
        """The column `spacing`, mm per pixel, with a decimal point or comma; None if empty.

        Raises:
          InputError: not a positive number.
        """
        text = self.get("spacing")
        if not text:
            return None
        try:
            value = float(text.replace(",", "."))
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise self.error("spacing", text, "a positive number, mm per pixel, or nothing")
        return value

    def path(self, column: str) -> Path:
        """The path in a cell: ~ is the home folder, others are relative to the table's folder.

        If the path does not exist as written, it is tried with slashes in place of Windows
        backslashes, and with accents composed or decomposed, in which file systems and
        spreadsheets differ.

        Raises:
          InputError: not a path, such as the home of an unknown user.
        """
        text = self.cells[column]
        turned = (text, text.replace("\\", "/"))
        written = [
            text,
            *(unicodedata.normalize(form, t) for form in ("NFC", "NFD") for t in turned),
        ]
        try:
            paths = [self.table.parent / Path(one).expanduser() for one in dict.fromkeys(written)]
            return next((path for path in paths if path.exists()), paths[0])
        except (OSError, RuntimeError, ValueError) as error:
            raise self.error(column, text, f"a path ({error})") from error

    def error(self, column: str, found: str, expected: str) -> InputError:
        """The error that names this row and a column."""
        return InputError(
            f"{self.table}, row {self.number}, column {column}: found {found!r}, "
            f"expected {expected}"
        )


def read_text(path: Path) -> str:
    """A table's text: UTF-8 or, with its byte order mark, UTF-16; Latin-1 if it is neither.

    The mark is dropped, and so is the line "sep=;" that spreadsheets put first.

    Latin-1 assigns every byte a character, so nothing is lost if a comment was typed in an old
    encoding; the columns used here are ASCII either way.

    Raises:
      InputError: the file cannot be read, or holds NUL bytes (it is not a text table).
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}), expected a table") from error
    try:
        text = raw.decode("utf-16" if raw.startswith(_UTF16) else "utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    if "\0" in text:
        raise InputError(f"{path}: found NUL bytes, expected a text table")
    return re.sub(r'\A"?sep=."?\r?\n', "", text)


def read_table(
    path: Path,
    *,
    required: Iterable[str],
    delimiters: str = ",",
    header_rows: int = 1,
) -> tuple[Row, ...]:
    """Reads a table with a header; names become lower case, cells are stripped of outer blanks.

    Args:
      path: the file.
      required: column names (lower case) that must exist.
      delimiters: one character, or several, of which the header line's most frequent one is used.
      header_rows: 2 if a row of descriptions follows the names (NIMH Data Archive).

    Returns:
      The rows in file order; blank lines are left out.

    Raises:
      InputError: not a readable table, a column missing or twice, a row with too few or too many
        cells, or a quote that never closes.
    """
    text = read_text(path)
    line = text.splitlines()[0] if text.strip() else ""
    delimiter = max(delimiters, key=line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    numbered = []
    try:
        for cells in reader:
            numbered.append((reader.line_num, cells))
    except csv.Error as error:
        raise InputError(
            f"{path}, line {reader.line_num}: not a valid table row ({error})"
        ) from error
    if not numbered:
        raise InputError(f"{path}: found an empty file, expected a header with columns")
    names = _column_names(path, numbered[0][1], required)
    return tuple(
        _row(path, number, names, cells)
        for number, cells in numbered[header_rows:]
        if any(cell.strip() for cell in cells)
    )


def _column_names(path: Path, header: Sequence[str], required: Iterable[str]) -> list[str]:
    names = [" ".join(name.split()).lower() for name in header]
    while names and not names[-1]:
        names.pop()
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: column {twice[0]!r} occurs twice, expected each once")
    missing = [name for name in required if name not in names]
    if missing:
        found = ", ".join(names[:12]) or "none"
        raise InputError(f"{path}: column {missing[0]!r} is missing, found the columns {found}")
    return names


def _row(path: Path, number: int, names: Sequence[str], cells: Sequence[str]) -> Row:
    extra = any(cell.strip() for cell in cells[len(names) :])
    if len(cells) < len(names) or extra:
        raise InputError(
            f"{path}, row {number}: found {len(cells)} cells, expected {len(names)} (the header's)"
        )
    return Row(path, number, dict(zip(names, map(_read_cell, cells), strict=False)))


def _read_cell(text: str) -> str:
    """A cell without blanks at its ends, and without the apostrophe that `cell` adds."""
    text = text.strip()
    return text[1:] if text[:1] == "'" and text[1:].startswith(_FORMULA) else text


def cell(value: Any) -> str:
    """A cell's text that spreadsheets do not take for a formula and that is safe in terminals.

    Text that begins with = + - @ and is not a number gets an apostrophe in front, which
    `read_table` removes; control characters are escaped as in `errors.printable`. None is "".
    """
    text = "" if value is None else printable(str(value))
    formula = text.lstrip().startswith(_FORMULA) and not _NUMBER.fullmatch(text.strip())
    return f"'{text}" if formula else text


def as_read(text: str) -> str:
    """What `read_table` returns for a text written by `cell`."""
    return _read_cell(cell(text))


def table_line(cells: Iterable[Any]) -> str:
    """One row of a CSV table with cells made by `cell`, with the line ending."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow([cell(value) for value in cells])
    return line.getvalue()


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """Writes a CSV table in UTF-8 with a header, atomically, with cells made by `cell`."""
    with atomic_path(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        stream.writelines(map(table_line, (columns, *rows)))
