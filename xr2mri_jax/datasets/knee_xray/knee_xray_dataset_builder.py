"""TFDS builder of single knee radiographs from a folder per Kellgren-Lawrence grade."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from xr2mri_jax.datasets.knee_xray.layout import Knee, Listing, find_knees
from xr2mri_jax.errors import InputError
from xr2mri_jax.files import write_json
from xr2mri_jax.geometry import SIDES
from xr2mri_jax.io import read_radiograph
from xr2mri_jax.preprocess.radiograph import spread_over_box, standardise_radiograph


@dataclasses.dataclass
class KneeXrayConfig(tfds.core.BuilderConfig):
    """Size of the stored radiographs and how many unusable files are borne.

    image_shape: (h, w) in pixels; max_broken: share of a split's files, 0..1.
    """

    image_shape: tuple[int, int] = (128, 128)
    max_broken: float = 0.01


class Builder(tfds.core.GeneratorBasedBuilder):
    """Radiographs u16[h, w, 1] with side, grade and subject; the source is `manual_dir`."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
    BUILDER_CONFIGS: ClassVar[list[KneeXrayConfig]] = [
        KneeXrayConfig(name="square128", description="128 x 128 pixels", image_shape=(128, 128)),
        KneeXrayConfig(name="square224", description="224 x 224 pixels", image_shape=(224, 224)),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Give the folder with the folders per grade as --source=DIR."

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {
                "xray": tfds.features.Tensor(
                    shape=(*self.builder_config.image_shape, 1),
                    dtype=np.uint16,
                    encoding=tfds.features.Encoding.ZLIB,
                ),
                "side": tfds.features.Scalar(np.int32),
                "kl": tfds.features.Scalar(np.int32),
                "subject": tfds.features.Text(),
                "spacing": tfds.features.Tensor(shape=(2,), dtype=np.float32),
            }
        )
        return self.dataset_info_from_configs(
            features=features,
            homepage="https://doi.org/10.17632/56rmx5bjcr.1",
            disable_shuffling=False,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        try:
            source = dl_manager.manual_dir
        except AssertionError as error:  # TFDS's way to say: not given, not there, or empty
            raise InputError(
                "--source: found no folder with files, expected the one with the folders per grade"
            ) from error
        listings = find_knees(source)
        return {
            split: self._generate_examples(split, listing) for split, listing in listings.items()
        }

    def _generate_examples(
        self, split: str, listing: Listing
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields the split's usable files; at its end names the others and counts them.

        Raises:
          InputError: more files than `max_broken` allows cannot be used.
        """
        broken = [(str(path), reason) for path, reason in listing.broken]
        for knee in listing.knees:
            try:
                yield f"{knee.subject}_{knee.side}", self._example(knee)
            except InputError as error:
                broken.append((str(knee.path), str(error)))
        self._close_split(split, broken, len(listing.knees) + len(listing.broken))

    def _example(self, knee: Knee) -> dict[str, Any]:
        radiograph = spread_over_box(read_radiograph(knee.path, side=knee.side))
        standard = standardise_radiograph(radiograph, self.builder_config.image_shape)
        return {
            "xray": np.rint(standard.image * 65535).astype(np.uint16),
            "side": SIDES.index(knee.side),
            "kl": knee.kl,
            "subject": knee.subject,
            "spacing": np.zeros(2, np.float32),
        }

    def _close_split(self, split: str, broken: list[tuple[str, str]], count: int) -> None:
        for path, reason in broken:
            logging.warning("left out of %s: %s: %s", split, path, reason)
        if len(broken) > self.builder_config.max_broken * count:
            path, reason = broken[0]
            raise InputError(
                f"{split}: found {len(broken)} of {count} files unusable, expected at most "
                f"{self.builder_config.max_broken:.1%}; the first: {path}: {reason}"
            )
        if broken:
            content = [{"file": path, "reason": reason} for path, reason in broken]
            write_json(Path(self.data_path) / f"broken_files_{split}.json", content)
