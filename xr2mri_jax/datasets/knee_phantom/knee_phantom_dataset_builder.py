"""TFDS builder of the phantom: simulated knees with radiograph, MRI, mask and labels."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from xr2mri_jax.datasets.knee_phantom.pool import simulate_cases
from xr2mri_jax.phantom.surfaces import NAMES
from xr2mri_jax.runtime.progress import progress

SPLITS = ("train", "validation", "test")


@dataclasses.dataclass
class KneePhantomConfig(tfds.core.BuilderConfig):
    """Size of the volumes and of the splits.

    Attributes:
      volume_shape: (d, h, w) in voxels over the canonical box.
      subjects: number of subjects in (train, validation, test); each has two knees.
      seed: identifies the population.
      distances: whether the knees also have signed distances of their surfaces, from which a
        generator with `surfaces` learns label maps; half of d, a quarter of h and w.
    """

    volume_shape: tuple[int, int, int] = (64, 128, 128)
    subjects: tuple[int, int, int] = (1000, 100, 100)
    seed: int = 0
    distances: bool = False


class Builder(tfds.core.GeneratorBasedBuilder):
    """Simulated knees in the canonical frame; nothing is downloaded.

    Attributes:
      num_workers: number of simulating processes; set it before `download_and_prepare`.
      own_progress: this builder shows its own progress bar.
    """

    VERSION = tfds.core.Version("1.2.0")
    RELEASE_NOTES: ClassVar = {
        "1.0.0": "First version.",
        "1.1.0": "The quickstart has its own population, on which no choice was made.",
        "1.2.0": "The default configuration has signed distances.",
    }
    BUILDER_CONFIGS: ClassVar = [
        KneePhantomConfig(
            name="default", description="2400 knees of 64 x 128 x 128 voxels", distances=True
        ),
        KneePhantomConfig(
            name="quickstart",
            description="664 knees of 32 x 64 x 64 voxels",
            volume_shape=(32, 64, 64),
            subjects=(300, 12, 20),
            seed=1,
        ),
        KneePhantomConfig(
            name="smoke",
            description="32 knees of 16 x 32 x 32 voxels, for tests",
            volume_shape=(16, 32, 32),
            subjects=(8, 4, 4),
        ),
    ]
    num_workers = 1
    own_progress = True

    def _info(self) -> tfds.core.DatasetInfo:
        d, h, w = self.builder_config.volume_shape

        def zipped(shape: tuple[int, ...], dtype: Any) -> tfds.features.Tensor:
            return tfds.features.Tensor(
                shape=shape, dtype=dtype, encoding=tfds.features.Encoding.ZLIB
            )

        distances = {"distances": zipped((len(NAMES), d // 2, h // 4, w // 4), np.int8)}
        features = tfds.features.FeaturesDict(
            {
                "xray": zipped((h, w, 1), np.uint16),
                "mri": zipped((d, h, w, 1), np.uint16),
                "mask": zipped((d, h, w, 1), np.uint8),
                "labels": zipped((d, h, w), np.uint8),
                "side": tfds.features.Scalar(np.int32),
                "kl": tfds.features.Scalar(np.int32),
                "subject": tfds.features.Text(),
                "spacing": tfds.features.Tensor(shape=(3,), dtype=np.float32),
                **(distances if self.builder_config.distances else {}),
            }
        )
        return self.dataset_info_from_configs(features=features, disable_shuffling=False)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        del dl_manager
        config = self.builder_config
        # One stream for all splits, which TFDS reads in this order: the workers compile only once.
        knees = range(2 * sum(config.subjects))
        cases = progress(
            simulate_cases(
                config.seed, knees, config.volume_shape, self.num_workers, config.distances
            ),
            f"simulating {self.name}/{config.name}",
            "knee",
            len(knees),
        )
        return {
            split: self._generate_examples(itertools.islice(cases, 2 * subjects))
            for split, subjects in zip(SPLITS, config.subjects, strict=True)
        }

    def _generate_examples(
        self, cases: Iterator[tuple[int, dict[str, Any]]]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields the knees of a split under keys made of their numbers."""
        for index, case in cases:
            yield f"knee_{index:07d}", case
