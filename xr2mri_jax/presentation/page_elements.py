"""The elements of a page: sections of lines, tables, pictures and a viewer, without their HTML."""

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
    """Sentences, as a list."""

    kind: ClassVar[str] = "lines"
    lines: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Terms:
    """Terms and what they mean."""

    kind: ClassVar[str] = "terms"
    terms: Sequence[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure that is embedded in the page.

    Attributes:
      content: SVG, PNG or JPEG.
      caption: the text below it.
      alternative: what a screen reader says in its place.
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
      source, target: relative URLs of the picture and of what it links to.
      alternative: what a screen reader says in its place.
    """

    source: str
    target: str
    alternative: str


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a table: its text, and a smaller one below it, such as an interval."""

    text: str
    small: str = ""


def share(found: Mapping[str, Any], digits: int = 0) -> Cell:
    """A share with its interval, `statistics.interval`'s mean and ci95, in percent."""
    ends = found["ci95"]
    small = "one subject" if ends is None else f"({ends[0]:.{digits}%} to {ends[1]:.{digits}%})"
    return Cell(f"{found['mean']:.{digits}%}", small)


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
      label: its first cell, which names it.
      cells: the others.
      emphasised: whether it is written in bold.
      case: name of the viewer's case that it is about, or "".
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
      heads: of all columns, the rows' labels first.
      rows: as many cells each as there are heads but one.
      sortable: whether a reader can sort it by a column.
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
      title: what a reader chooses it by.
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
      cases: all that can be shown; the first one is shown at once.
      chosen: (text, name) of cases with buttons of their own, such as the worst one.
      gallery: names of cases whose thumbnails are shown, such as failures.
      gallery_title: what they are.
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
      title: its heading.
      notices: warnings below the heading.
      sections: those without parts are left out.
      verdict: the sentence that the page opens with, or "".
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
    """A picture as a data URL; ValueError where it is neither SVG, PNG nor JPEG."""
    media = next((m for start, m in _MEDIA.items() if content.startswith(start)), None)
    if media is None:
        raise ValueError(f"found a picture that begins with {content[:4]!r}, expected SVG or PNG")
    return f"data:{media};base64,{base64.b64encode(content).decode('ascii')}"
