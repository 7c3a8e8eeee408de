"""TFDS builder of single knee radiographs from a folder per Kellgren-Lawrence grade."""

import dataclasses
import functools
from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from xr2mri_jax.datasets.files_builder import FilesBuilder, Work, zipped
from xr2mri_jax.datasets.knee_xray.layout import MORE, Listing, list_knees
from xr2mri_jax.datasets.knee_xray.make_radiograph import ListedFile, XrayOptions, make_radiograph


@dataclasses.dataclass
class KneeXrayConfig(tfds.core.BuilderConfig):
    """Size of the stored radiographs.

    Attributes:
      image_shape: (h, w) in pixels.
      boxed: whether a radiograph is placed in the canonical box, as for the generator.
      more: whether the folder train_more, if it exists, belongs to the training split too, for
        five grades.
    """

    image_shape: tuple[int, int] = (128, 128)
    boxed: bool = False
    more: bool = False


class Builder(FilesBuilder):
    """Radiographs u16[h, w, 1] with side, grade and subject."""

    VERSION = tfds.core.Version("1.2.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {
        "1.2.0": "`box128`: the joint's centre in the middle, the plateau at its usual width.",
        "1.1.0": "Images with dark bone are inverted.",
        "1.0.0": "First version.",
    }
    BUILDER_CONFIGS: ClassVar[list[KneeXrayConfig]] = [
        KneeXrayConfig(name="square128", description="128 x 128 pixels", image_shape=(128, 128)),
        KneeXrayConfig(name="square224", description="224 x 224 pixels", image_shape=(224, 224)),
        KneeXrayConfig(name="grades128", description="128 x 128 pixels, train_more too", more=True),
        KneeXrayConfig(
            name="grades224",
            description="224 x 224 pixels, train_more too",
            image_shape=(224, 224),
            more=True,
        ),
        KneeXrayConfig(name="box128", description="in the canonical box", boxed=True),
        KneeXrayConfig(
            name="grades_box128",
            description="in the canonical box, train_more too",
            boxed=True,
            more=True,
        ),
    ]
    OPTIONS = XrayOptions
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Give the folder with the folders per grade as --source=DIR."

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {
                "xray": zipped((*self.builder_config.image_shape, 1), np.uint16),
                "side": tfds.features.Scalar(np.int32),
                "kl": tfds.features.Scalar(np.int32),
                "subject": tfds.features.Text(),
                "spacing": tfds.features.Tensor(shape=(2,), dtype=np.float32),
                "inverted": tfds.features.Scalar(np.int32),
            }
        )
        return self.dataset_info_from_configs(
            features=features,
            homepage="https://doi.org/10.17632/56rmx5bjcr.1",
            disable_shuffling=False,
        )

    def plan(self, source: Path) -> Work:
        """Every file of every split; files without a knee's name are unusable from the start."""
        listings = list_knees(source, self.builder_config.more)
        if self.builder_config.more and "train" in listings and not (source / MORE).is_dir():
            count = len(listings["train"].knees)
            logging.warning(
                "%s: no folder %s, train has %d radiographs without it", source, MORE, count
            )
        tasks = {split: _files(listing) for split, listing in listings.items()}
        function = functools.partial(
            make_radiograph,
            self.builder_config.image_shape,
            self.options.contrast,
            boxed=self.builder_config.boxed,
        )
        return Work(function, tasks, sum(map(len, tasks.values())), "files")


def _files(listing: Listing) -> tuple[ListedFile, ...]:
    return (
        *(ListedFile(knee.path, knee) for knee in listing.knees),
        *(ListedFile(path, None, reason) for path, reason in listing.broken),
    )
