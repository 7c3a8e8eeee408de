"""The output files of grading (table, pictures, page), checked before any work is done."""

import dataclasses
import os
from pathlib import Path

from xr2mri_jax.errors import InputError
from xr2mri_jax.inference.output_places import OutputPlace, require_separate
from xr2mri_jax.inference.row_file import partial_path
from xr2mri_jax.output_paths import require_apart, require_writable


@dataclasses.dataclass(frozen=True)
class GradeOutput:
    """The outputs.

    Attributes:
      table: the CSV file.
      pictures: folder of one PNG per knee, or None.
      page: HTML file, or None.
    """

    table: Path
    pictures: Path | None = None
    page: Path | None = None

    @classmethod
    def of(
        cls,
        output: str | os.PathLike[str],
        gradcam_dir: str | os.PathLike[str] | None = None,
        html: str | os.PathLike[str] | None = None,
    ) -> "GradeOutput":
        """Checks the names; a page without `gradcam_dir` has its pictures in PAGE_pictures.

        Raises:
          InputError: wrong file ending, a path that is a folder, one that cannot be written, or two
            outputs in one place.
        """
        table = _file(output, "--output", ".csv")
        page = None if html is None else _file(html, "--html", ".html")
        pictures = None if gradcam_dir is None else Path(gradcam_dir)
        if pictures is None and page is not None:
            pictures = page.with_name(f"{page.stem}_pictures")
        if pictures is not None:
            if pictures.exists() and not pictures.is_dir():
                raise InputError(f"--gradcam_dir: {pictures} is a file, expected a folder's name")
            require_writable(pictures, "--gradcam_dir")
        places = [OutputPlace("--output", file) for file in (table, partial_path(table))]
        if page is not None:
            places.append(OutputPlace("--html", page))
        if pictures is not None:
            places.append(OutputPlace("--gradcam_dir", pictures, shared=True))
        require_separate(places)
        return cls(table, pictures, page)

    def holds(self, path: Path) -> bool:
        """Whether a path is one of the outputs, of this run or of an earlier one."""
        # Of a link to a file, compare the location of the link itself.
        place = path.parent.resolve() / path.name
        files = [self.table, partial_path(self.table)]
        files += [] if self.page is None else [self.page]
        if place in [file.parent.resolve() / file.name for file in files]:
            return True
        return self.pictures is not None and self.pictures.resolve() in place.parents

    def require_apart(self, xray: Path | None) -> None:
        """Raises InputError if an output would overwrite the radiograph."""
        for flag, file in (("--output", self.table), ("--html", self.page)):
            if xray is not None and file is not None:
                require_apart(file, [xray], flag, "the radiograph")


def _file(path: str | os.PathLike[str], flag: str, suffix: str) -> Path:
    file = Path(path)
    if file.suffix.lower() != suffix or not file.stem.strip("."):
        raise InputError(f"{flag}: found {file}, expected a name ending in {suffix}")
    if file.is_dir():
        raise InputError(f"{flag}: {file} is a folder, expected a file's name")
    require_writable(file.parent, flag)
    return file
