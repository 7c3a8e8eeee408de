"""The elements of a page, independent of HTML: sections of lines, tables, pictures, a viewer."""

import base64
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

_MEDIA = {b"\x89PNG": "image/png", b"\xff\xd8": "image/jpeg", b"<": "image/svg+xml"}


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """One paragraph of text."""

    kind: ClassVar[str] = "paragraph"
    text: str


@dataclasses.dataclass(frozen=True)
class Lines:
    """A list of sentences."""

    kind: ClassVar[str] = "lines"
    lines: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Terms:
    """Terms and their definitions."""

    kind: ClassVar[str] = "terms"
    terms: Sequence[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure that is embedded in the page.

    Attributes:
      content: SVG, PNG or JPEG.
      caption: the text below it.
      alternative: alternative text for screen readers.
    """

    kind: ClassVar[str] = "picture"
    content: bytes
    caption: str
    alternative: str

    @property
    def source(self) -> str:
        """The picture as a data URL."""
        return data_url(self.content)


@dataclasses.dataclass(frozen=True)
class LinkedPicture:
    """A picture in a file beside the page, which links to another file.

    Attributes:
      source, target: relative URLs of the picture and of the linked file.
      alternative: alternative text for screen readers.
    """

    source: str
    target: str
    alternative: str


@dataclasses.dataclass(frozen=True)
class Cell:
    """A table cell: text, and smaller text below it, such as an interval."""

    text: str
    small: str = ""


def share(found: Mapping[str, Any], digits: int = 0) -> Cell:
    """A share in percent with its interval, from mean and ci95 of `statistics.estimate`."""
    ends = found["ci95"]
    small = "one subject" if ends is None else f"({ends[0]:.{digits}%} to {ends[1]:.{digits}%})"
    return Cell(f"{found['mean']:.{digits}%}", small)


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
      label: the first cell.
      cells: the other cells.
      emphasised: whether the row is bold.
      case: name of the row's case in the viewer, or "".
      pictures: shown below the row, over all columns.
    """

    label: str
    cells: Sequence[Cell | str]
    emphasised: bool = False
    case: str = ""
    pictures: Sequence[LinkedPicture] = ()


@dataclasses.dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
      caption: its title.
      heads: headings of all columns; the first column has the rows' labels.
      rows: rows with one cell fewer than there are headings.
      sortable: whether a reader can sort the table by a column.
      wrapped: whether long words are broken, for file names and warnings.
    """

    kind: ClassVar[str] = "table"
    caption: str
    heads: Sequence[Cell | str]
    rows: Sequence[Row]
    sortable: bool = False
    wrapped: bool = False


@dataclasses.dataclass(frozen=True)
class Shown:
    """A case in the viewer's list.

    Attributes:
      name: letters, digits, "-" and "_"; its data are in cases/NAME.js.
      title: its text in the list.
      thumbnail: a small PNG, or None.
    """

    name: str
    title: str
    thumbnail: bytes | None = None

    @property
    def source(self) -> str:
        """The thumbnail as a data URL, "" without one."""
        return "" if self.thumbnail is None else data_url(self.thumbnail)


@dataclasses.dataclass(frozen=True)
class Viewer:
    """The viewer of volumes.

    Attributes:
      cases: all cases; the first one is shown initially.
      chosen: (text, name) of cases with their own buttons, such as the worst one.
      gallery: names of cases whose thumbnails are shown, such as failures.
      gallery_title: title of the gallery.
    """

    kind: ClassVar[str] = "viewer"
    cases: Sequence[Shown]
    chosen: Sequence[tuple[str, str]] = ()
    gallery: Sequence[str] = ()
    gallery_title: str = ""

    def in_gallery(self) -> list[Shown]:
        """The gallery's cases in its order."""
        by_name = {case.name: case for case in self.cases}
        return [by_name[name] for name in self.gallery]


Part = Paragraph | Lines | Terms | Picture | Table | Viewer


@dataclasses.dataclass(frozen=True)
class Section:
    """One section of a page."""

    title: str
    parts: Sequence[Part]


@dataclasses.dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
      title: the heading.
      notices: warnings below the heading.
      sections: the sections; empty ones are omitted.
      verdict: the sentence at the top of the page, or "".
    """

    title: str
    notices: Sequence[str]
    sections: Sequence[Section]
    verdict: str = ""

    @property
    def viewer(self) -> Viewer | None:
        """The viewer of the page, or None."""
        parts = [part for section in self.sections for part in section.parts]
        return next((part for part in parts if isinstance(part, Viewer)), None)


def data_url(content: bytes) -> str:
    """A picture as a data URL; raises ValueError if it is not SVG, PNG or JPEG."""
    media = next((m for start, m in _MEDIA.items() if content.startswith(start)), None)
    if media is None:
        raise ValueError(
            f"found a picture that begins with {content[:4]!r}, expected SVG, PNG or JPEG"
        )
    return f"data:{media};base64,{base64.b64encode(content).decode('ascii')}"
