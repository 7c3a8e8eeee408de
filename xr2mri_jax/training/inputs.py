"""The inputs of a run: training batches, evaluation split, examples for fitting.

The loop uses data only through `Inputs`; `DatasetInputs` implements it for a prepared dataset.
"""

import contextlib
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import jax
import numpy as np

from xr2mri_jax import datasets
from xr2mri_jax.data import selection
from xr2mri_jax.data.batches import DatasetIterator, make_iterator
from xr2mri_jax.data.records import example_shapes
from xr2mri_jax.errors import InputError
from xr2mri_jax.stages.base import Stage, TrainsOnFewerFields
from xr2mri_jax.training import parallel, resume_checks

Batch = dict[str, np.ndarray]

# A mean over this many volumes is accurate enough and takes only seconds for any dataset.
FITTED = 512


class Position(Protocol):
    """Batches whose position can be saved and restored."""

    def __next__(self) -> Batch:
        """The next batch."""
        ...

    def get_state(self) -> Any:
        """JSON-able position after the last batch."""
        ...

    def set_state(self, state: Any) -> None:
        """Continues at a position."""
        ...

    def close(self) -> None:
        """Stops reading ahead."""
        ...


class Inputs(Protocol):
    """The data of a run on one host."""

    def example(self) -> Mapping[str, jax.ShapeDtypeStruct]:
        """Abstract shapes of a batch of one."""
        ...

    def training(self) -> Position:
        """Endless training batches of this host."""
        ...

    def evaluation(self) -> Iterable[Batch]:
        """One pass over the evaluation split, with the same number of batches on every host."""
        ...

    def fitted(self) -> Iterable[Batch]:
        """Training examples without augmentation, the same on every host, for `Stage.fitted`."""
        ...

    def fingerprints(self) -> Mapping[str, str]:
        """Fingerprints, by split, that identify the data beyond name and size."""
        ...


@dataclasses.dataclass(frozen=True)
class DatasetInputs:
    """`Inputs` of a prepared dataset.

    Attributes:
      builder: the prepared TFDS builder.
      data: config.data, resolved.
      seed: seed of the order.
      fields: the fields that the stage reads for fitting and evaluation.
      train_fields: the fields that it reads for training.
    """

    builder: Any
    data: Mapping[str, Any]
    seed: int
    fields: tuple[str, ...]
    train_fields: tuple[str, ...]

    @classmethod
    def from_config(cls, config: Mapping[str, Any], stage: Stage) -> "DatasetInputs":
        """The inputs of a resolved config.

        Raises:
          InputError: if the dataset is not prepared, or the hosts cannot share a batch evenly.
        """
        data, hosts = config["data"], parallel.host_count()
        if data["batch_size"] % hosts:
            raise InputError(
                f"config.data.batch_size is {data['batch_size']}, expected a multiple of the "
                f"{hosts} hosts"
            )
        builder = datasets.load_builder(data["dataset"], data["data_dir"])
        train_fields = (
            stage.train_fields if isinstance(stage, TrainsOnFewerFields) else stage.fields
        )
        return cls(builder, data, config["seed"], stage.fields, train_fields)

    def example(self) -> Mapping[str, jax.ShapeDtypeStruct]:
        """See `Inputs`: the fields that the dataset has."""
        shapes = example_shapes(self.builder)
        return {
            name: jax.ShapeDtypeStruct((1, *shapes[name][0]), shapes[name][1])
            for name in self.fields
            if name in shapes
        }

    def training(self) -> DatasetIterator:
        """See `Inputs`."""
        return self._batches(
            "train_split",
            **self._share(),
            shuffle=True,
            partners=self.data.get("mixup", 0.0) > 0,
            epochs=None,
            cache=self.data["cache"],
        )

    def evaluation(self) -> DatasetIterator:
        """See `Inputs`."""
        return self._batches("eval_split", **self._share())

    def fitted(self) -> Iterator[Batch]:
        """See `Inputs`: the first FITTED examples of the training split."""
        size = self.data["batch_size"]
        with contextlib.closing(self._batches("train_split", batch_size=size)) as every:
            yield from itertools.islice(every, -(-FITTED // size))

    def fingerprints(self) -> Mapping[str, str]:
        """See `Inputs`."""
        return resume_checks.fingerprints(self.builder, self.data)

    def _share(self) -> dict[str, int]:
        """This host's shard."""
        hosts = parallel.host_count()
        return {
            "batch_size": self.data["batch_size"] // hosts,
            "shard_index": parallel.host_index(),
            "shard_count": hosts,
        }

    def _batches(self, split: str, **options: Any) -> DatasetIterator:
        name, training = self.data[split], split == "train_split"
        # A stage may need fewer fields for training than for fitting and evaluation.
        learning = training and "shuffle" in options
        fields = self.train_fields if learning else self.fields
        source = selection.from_config(self.builder, self.data, name, fields, training)
        if learning and self.data.get("also"):
            # Examples of another dataset, which also has the stage's fields.
            other = datasets.load_builder(self.data["also"], self.data["data_dir"])
            parts = [selection.examples(part, name, fields) for part in (source, other)]
            names = self.data["dataset"], self.data["also"]
            source = selection.Joined(tuple(parts), names)
        return make_iterator(source, name, seed=self.seed, fields=fields, **options)
