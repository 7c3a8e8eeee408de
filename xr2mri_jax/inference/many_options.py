"""Options and outputs of `predict` for many radiographs."""

import dataclasses
import math
from pathlib import Path

from xr2mri_jax.errors import InputError
from xr2mri_jax.inference import earlier_outputs, many_page
from xr2mri_jax.inference.export import SUFFIXES, OutputFiles
from xr2mri_jax.inference.output_places import OutputPlace, require_separate
from xr2mri_jax.inference.row_file import partial_path

TABLE = "predictions.csv"
COLUMNS = (
    "file", "side", "volume", "labels", "meshes", "spacing_mm", "spacing_source", "unlike",
    "warnings", "error", "input",
)  # fmt: skip

Rows = list[dict[str, str]]


@dataclasses.dataclass(frozen=True)
class ManyOptions:
    """What to predict, and where to write it.

    Attributes:
      xray: a folder of radiographs, or a CSV table with the column `file` and, where known, `side`
        and `spacing`; paths are relative to the table.
      output: folder for NAME_SIDE.nii.gz with its record NAME_SIDE.json, and for TABLE.
      model: see `load_generator`.
      side: the knee meant in every file, or None: every knee that is found.
      spacing: mm per pixel in every file whose row states none, or None.
      force: use the middle of an image in which no knee is found.
      labels: folder for label maps NAME_SIDE.nii.gz, or None.
      meshes: folder for a folder NAME_SIDE of STL files, or None.
      pictures: whether NAME_SIDE.png is drawn too.
      page: folder of the page with a viewer, or None.

    Raises:
      InputError: a spacing that is not positive, or conflicting output folders.
    """

    xray: Path
    output: Path
    model: str | None = None
    side: str | None = None
    spacing: float | None = None
    force: bool = False
    labels: Path | None = None
    meshes: Path | None = None
    pictures: bool = False
    page: Path | None = None

    def __post_init__(self) -> None:
        if self.spacing is not None and not 0 < self.spacing < math.inf:
            raise InputError(
                f"--spacing: found {self.spacing:g}, expected a positive number, mm per pixel"
            )
        if self.labels is not None and self.labels.resolve() == self.output.resolve():
            raise InputError(
                f"--labels: found {self.labels}, the folder of the volumes, expected another one"
            )
        if self.page is not None:
            many_page.require_folder(self.page)
        table = self.output / TABLE
        own = [OutputPlace("--output", file) for file in (table, partial_path(table))]
        own.append(OutputPlace("--output", self.output / earlier_outputs.RUN))
        for flag, folder in self.folders().items():
            require_separate([*own, OutputPlace(flag, folder, shared=True)])

    def folders(self) -> dict[str, Path]:
        """The folders of the outputs by flag."""
        known = {
            "--output": self.output,
            "--labels": self.labels,
            "--meshes": self.meshes,
            "--page": self.page,
        }
        return {flag: folder for flag, folder in known.items() if folder is not None}

    def files(self, name: str) -> OutputFiles:
        """The files of a knee, whose NAME is that of its radiograph with its side."""
        volume = f"{name}{SUFFIXES[0]}"
        return OutputFiles(
            self.output / volume,
            self.output / f"{name}.json",
            self.output / f"{name}.png" if self.pictures else None,
            labels=None if self.labels is None else self.labels / volume,
            meshes=None if self.meshes is None else self.meshes / name,
        )

    def holds(self, path: Path) -> bool:
        """Whether a path lies in one of the outputs' folders."""
        # Of a link to a file, compare the location of the link itself.
        above = path.parent.resolve()
        parents = (above, *above.parents)
        return any(folder.resolve() in parents for folder in self.folders().values())
