"""TFDS builder of a family of simulated knees derived from a folder of label maps."""

import dataclasses
import functools
from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from xr2mri_jax.datasets.files_builder import FilesBuilder, Work, zipped
from xr2mri_jax.datasets.knee_family.make_knee import (
    FamilyOptions,
    make_knee,
    make_radiographs,
    map_files,
    prepared_atlas,
)
from xr2mri_jax.phantom.surfaces import NAMES
from xr2mri_jax.simulation.family import STORED_SHAPE
from xr2mri_jax.simulation.family_radiographs import GRADES

SPLITS = ("train", "validation", "test")


@dataclasses.dataclass
class KneeFamilyConfig(tfds.core.BuilderConfig):
    """Size of the volumes, number of knees in (train, validation, test), and the family's seed.

    With `pixels` there are no volumes: each knee gives one radiograph per grade, `pixels` high and
    wide, framed and mirrored as for a grader.
    """

    volume_shape: tuple[int, int, int] = (64, 128, 128)
    pixels: int = 0
    knees: tuple[int, int, int] = (1000, 40, 60)
    seed: int = 0


class Builder(FilesBuilder):
    """Framed simulated radiographs with MRI, labels and signed distances."""

    VERSION = tfds.core.Version("2.6.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {
        "1.0.0": "First version.",
        "2.0.0": "Shapes, sizes, poses and cartilage follow measured knees; contrast of real DESS.",
        "2.1.0": "Septa in the fat, fascia, streaks in the muscles, smaller vessels.",
        "2.2.0": "Cartilage covers as much bone as in measured knees.",
        "2.3.0": "Radiographs nearer to real ones: pose of the femur, bone, soft tissue, film.",
        "2.4.0": "Frames lie to the knee as real ones do; bone is denser under the joint.",
        "2.5.0": "Signs of grades 1 and 2 as a grader of real radiographs sees them.",
        "2.6.0": "Sharp tubercles of the tibial spines; medial osteophytes further at the margin.",
    }
    BUILDER_CONFIGS: ClassVar[list[KneeFamilyConfig]] = [
        KneeFamilyConfig(name="default", description="1100 knees of 64 x 128 x 128 voxels"),
        KneeFamilyConfig(
            name="few", description="360 knees of 64 x 128 x 128 voxels", knees=(280, 40, 40)
        ),
        KneeFamilyConfig(
            name="smoke",
            description="12 knees of 16 x 32 x 32 voxels, for tests",
            volume_shape=(16, 32, 32),
            knees=(4, 4, 4),
        ),
        KneeFamilyConfig(
            name="radiographs128",
            description="1000 radiographs of 128 x 128 pixels, 200 of each grade",
            pixels=128,
            knees=(200, 16, 0),
        ),
        KneeFamilyConfig(
            name="radiographs224",
            description="1000 radiographs of 224 x 224 pixels, 200 of each grade",
            pixels=224,
            knees=(200, 16, 0),
        ),
        KneeFamilyConfig(
            name="smoke_radiographs",
            description="10 radiographs of 32 x 32 pixels, for tests",
            pixels=32,
            knees=(1, 1, 0),
        ),
    ]
    OPTIONS = FamilyOptions
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Give the folder of label maps as --source=DIR."

    def _info(self) -> tfds.core.DatasetInfo:
        pixels = self.builder_config.pixels
        d, h, w = self.builder_config.volume_shape
        if pixels:
            arrays = {"xray": zipped((pixels, pixels, 1), np.uint16)}
        else:
            arrays = {
                "xray": zipped((h, w, 1), np.uint16),
                "mri": zipped((d, h, w, 1), np.uint16),
                "mask": zipped((d, h, w, 1), np.uint8),
                "labels": zipped((d, h, w), np.uint8),
                "distances": zipped((len(NAMES), *STORED_SHAPE), np.int8),
            }
        features = tfds.features.FeaturesDict(
            {
                **arrays,
                "side": tfds.features.Scalar(np.int32),
                "kl": tfds.features.Scalar(np.int32),
                "subject": tfds.features.Text(),
                "spacing": tfds.features.Tensor(shape=(2 if pixels else 3,), dtype=np.float32),
            }
        )
        return self.dataset_info_from_configs(features=features, disable_shuffling=False)

    def plan(self, source: Path) -> Work:
        """Every knee of every split; the measurements of the maps are kept beside the dataset."""
        config, options = self.builder_config, self.options
        kept = prepared_atlas(map_files(source), Path(self._data_dir_root), options.side)
        function = functools.partial(
            make_knee, kept, config.seed, config.volume_shape, config.knees[0], options.departures
        )
        if config.pixels:
            function = functools.partial(
                make_radiographs, kept, config.seed, config.pixels, options.departures
            )
        tasks, first = {}, 0
        for split, count in zip(SPLITS, config.knees, strict=True):
            if count:
                tasks[split] = range(first, first + count)
            first += count
        each, what = (len(GRADES), "radiographs") if config.pixels else (1, "knees")
        return Work(function, tasks, each * first, what)
