"""TFDS builder of knee radiographs paired with MRI, from a collection's files."""

import dataclasses
import functools
import os
from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from xr2mri_jax.datasets.files_builder import FilesBuilder, Work, zipped
from xr2mri_jax.datasets.knee_pairs.make_pairs import Settings, make_pairs, pair_key
from xr2mri_jax.datasets.knee_pairs.options import PairOptions
from xr2mri_jax.datasets.knee_pairs.plan import Plan, make_plan
from xr2mri_jax.datasets.outcomes import Tally
from xr2mri_jax.datasets.pairing_report import Pairing, Reason
from xr2mri_jax.datasets.splits import write_splits
from xr2mri_jax.io.sources import source_tables

SPLITS = "splits.json"


@dataclasses.dataclass
class KneePairsConfig(tfds.core.BuilderConfig):
    """Size of the volumes: (d, h, w) in voxels over the canonical box."""

    volume_shape: tuple[int, int, int] = (64, 128, 128)


class Builder(FilesBuilder):
    """Pairs in the canonical frame, like those of knee_phantom, with a record that maps back."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
    BUILDER_CONFIGS: ClassVar[list[KneePairsConfig]] = [
        KneePairsConfig(name="default", description="volumes of 64 x 128 x 128 voxels"),
        KneePairsConfig(
            name="quickstart",
            description="volumes of 32 x 64 x 64 voxels",
            volume_shape=(32, 64, 64),
        ),
        KneePairsConfig(
            name="smoke",
            description="volumes of 16 x 32 x 32 voxels, for tests",
            volume_shape=(16, 32, 32),
        ),
    ]
    OPTIONS = PairOptions
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Give an image release of the Osteoarthritis Initiative, a package of the NIMH Data "
        "Archive or a CSV manifest as --source=PATH."
    )
    _plan: Plan

    def _info(self) -> tfds.core.DatasetInfo:
        d, h, w = self.builder_config.volume_shape
        features = tfds.features.FeaturesDict(
            {
                "xray": zipped((h, w, 1), np.uint16),
                "mri": zipped((d, h, w, 1), np.uint16),
                "mask": zipped((d, h, w, 1), np.uint8),
                "side": tfds.features.Scalar(np.int32),
                "kl": tfds.features.Scalar(np.int32),
                "subject": tfds.features.Text(),
                "visit": tfds.features.Text(),
                "spacing": tfds.features.Tensor(shape=(3,), dtype=np.float32),
                "record": tfds.features.Text(),
            }
        )
        return self.dataset_info_from_configs(
            features=features,
            homepage="https://nda.nih.gov/oai",
            disable_shuffling=False,
        )

    def input_tables(self) -> dict[str, list[Path]]:
        """The source's tables, and those of given splits, places and grades."""
        options = self.options or PairOptions()
        given = {"splits": options.splits, "places": options.places}
        tables = {name: [Path(file)] for name, file in given.items() if file is not None}
        source = [] if self.source is None else source_tables(os.path.abspath(self.source))
        return {"source": source, **tables, "grades": [Path(file) for file in options.grades]}

    def plan(self, source: Path) -> Work:
        """Pairs and splits the collection's knees; see `plan.make_plan`."""
        self._plan = make_plan(source, self.options, self.report_path)
        settings = Settings(
            self.builder_config.volume_shape,
            self.options.contrast,
            self.options.spacing,
            self.scratch,
            self.options.echo,
        )
        return Work(
            functools.partial(make_pairs, settings),
            self._plan.tasks,
            len(self._plan.pairing.pairs),
            "pairs",
        )

    def write_report(self, path: Path, tally: Tally) -> str:
        """Writes the table of all knees, paired or rejected with the reason; returns its counts."""
        pairing = self._final_pairing(tally)
        knees = {pair_key(pair): pair.knee for pair in self._plan.pairing.pairs}
        doubts = {knees[key]: found for key, found in tally.doubts.items()}
        pairing.with_doubts(doubts).write_csv(path)
        return "\n".join(filter(None, (pairing.summary(), tally.summary())))

    def write_records(self, folder: Path) -> None:
        """Writes the split of every paired subject."""
        write_splits(folder / SPLITS, self._plan.splits)

    def _final_pairing(self, tally: Tally) -> Pairing:
        """The pairing after reading: unreadable pairs, and those not reached, are rejected."""
        knees = {pair_key(pair): pair.knee for pair in self._plan.pairing.pairs}
        failures = {knees[each.key]: (Reason(each.reason), each.detail) for each in tally.unusable}
        if not self.on_beam:
            for key in knees.keys() - tally.usable - {each.key for each in tally.unusable}:
                failures[knees[key]] = (Reason.NOT_REACHED, "the preparation ended before it")
        return self._plan.pairing.with_failures(failures)
