"""Dataset to batches with Grain: shuffled, sharded by host, exactly resumable.

(seed, epoch) determines one global order of examples. Host k of n takes the positions k, k + n,
k + 2n, ..., so that n hosts with batches of b together see the same examples as one host with
batches of n * b. Reading ahead does not affect the position: a restored iterator continues with
exactly the same batches. Batches are augmented on the devices, see `augment.py`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import grain
import numpy as np

from xr2mri_jax.data import records
from xr2mri_jax.errors import InputError
from xr2mri_jax.phantom.surfaces import STEPS
from xr2mri_jax.runtime import processor

PADDING = -1
# Entries that stay text.
_TEXTS = ("subject", "place")
# The entries of an example's partner in mixup, named other_xray and other_kl.
_OF_PARTNER = ("xray", "kl")
_VERSION = 3
# Grain's name of the next batch's number in an iterator's state.
_READER = "next_index"


class DatasetIterator(Iterator[dict[str, np.ndarray]]):
    """Yields batches; its position can be saved and restored.

    Attributes:
      examples: number of examples in the split, over all hosts.
      steps: number of batches on every host, None if the dataset repeats forever.
    """

    def __init__(
        self, batches: grain.IterDataset, steps: int | None, examples: int, stream: dict[str, Any]
    ) -> None:
        self.steps = steps
        self.examples = examples
        self._iterator = iter(batches)
        self._stream = stream

    def __next__(self) -> dict[str, np.ndarray]:
        return next(self._iterator)

    def get_state(self) -> dict[str, Any]:
        """The JSON-able position: number of batches taken, and the identity of the stream.

        It is the same on every host and does not depend on their number.
        """
        batches = int(self._iterator.get_state()[_READER])
        return {"version": _VERSION, "batches": batches, **self._stream}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continues after the batch that was the last one when the state was saved.

        Args:
          state: of `get_state`, on any host of any number of hosts with the same global batch, or
            of version 2, which has the batch size of one host.

        Raises:
          InputError: if the state belongs to another stream of batches (another seed, global batch
            size, number of examples, ...), which could not be continued exactly.
        """
        state = _without_hosts(state) if state.get("version") == 2 else state
        expected = {"version": _VERSION, **self._stream}
        for name, value in expected.items():
            if state.get(name) != value:
                raise InputError(
                    f"input position cannot be restored: its {name} is {state.get(name)!r}, here "
                    f"it is {value!r}"
                )
        self._iterator.set_state({_READER: int(state["batches"])})

    def close(self) -> None:
        """Stops reading ahead."""
        self._iterator.close()


def make_iterator(
    source: Any,
    split: str,
    *,
    batch_size: int,
    seed: int = 0,
    shuffle: bool = False,
    epochs: int | None = 1,
    shard_index: int = 0,
    shard_count: int = 1,
    fields: Sequence[str] | None = None,
    cache: bool = False,
    partners: bool = False,
    num_threads: int | None = None,
) -> DatasetIterator:
    """Batches of one split of a dataset.

    Args:
      source: a prepared TFDS builder, or a sequence of decoded examples (dicts, as the builder's
        data source yields them); then `split` is only a name.
      split: a split of the dataset; TFDS slicing (`train[:10%]`) is allowed.
      batch_size: examples per batch on this host.
      seed: determines the order, together with the epoch.
      shuffle: a new order in every epoch; False: the stored order.
      epochs: None: endless, without padding; batches cross the end of an epoch. A number: the
        iterator ends after that many epochs, and the last batches are padded so that every host
        takes the same number of steps.
      shard_index: this host's number, 0 <= shard_index < shard_count.
      shard_count: number of hosts.
      fields: entries to yield, from `records.FIELDS` and `records.EXTRA_FIELDS`; None: the FIELDS
        that the dataset has. Other fields are not decoded.
      cache: keeps decoded examples (uint16) in memory after their first use.
      partners: adds to every example the radiograph and grade of the one at the same place in the
        next batch of all hosts, for mixup, see `augment.apply`. Each example is read twice, so
        `cache` should be set too.
      num_threads: threads that prepare batches ahead of time; None: one per core, at most 8.

    Returns:
      An iterator of dicts of numpy arrays: xray f32[b, h, w, 1], mri f32[b, d, h, w, 1] and mask
      f32[b, d, h, w, 1] in [0, 1], labels u8[b, d, h, w], distances f32[b, k, d, h, w] in mm,
      side, kl i32[b], spacing f32[b, n] in mm, subject str[b]; always index i32[b], the position in
      the source or -1 for padding, and example_mask f32[b], 0 for padding; with `partners`
      other_xray f32[b, h, w, 1] and other_kl i32[b]; with a source of `selection` place str[b], the
      position in the split, for messages. Padding repeats an example, so that all values are
      finite.

    Raises:
      InputError: for an unknown or empty split, a field that the dataset lacks, a batch size
        below 1, a seed outside 0..2**32-1; during iteration, for an example that cannot be read,
        and for intensities that are not finite or outside [0, 1].
      ValueError: for a shard outside the shard count.
    """
    if not 0 <= shard_index < shard_count:
        raise ValueError(f"shard {shard_index} of {shard_count} does not exist")
    if batch_size < 1:
        raise InputError(f"data.batch_size: {batch_size} found, expected at least 1")
    if not 0 <= seed < 2**32:
        raise InputError(f"seed: {seed} found, expected 0..{2**32 - 1}")
    stored, fields = records.open_records(source, split, fields)
    threads = min(processor.cores(), 8) if num_threads is None else num_threads
    examples = len(stored)
    dataset = grain.MapDataset.source(records.Cached(stored) if cache else stored).seed(seed)
    dataset = dataset.map_with_index(
        _Select(fields, examples, str(split), getattr(source, "place", None))
    )
    if shuffle:
        dataset = dataset.shuffle()
    dataset = dataset.repeat(epochs)
    if partners:
        dataset = _with_partners(dataset, batch_size * shard_count)
    steps = None
    if epochs is not None:
        steps = -(-len(dataset) // (batch_size * shard_count))
        dataset = _padded(dataset, steps * batch_size * shard_count)
    dataset = dataset[shard_index::shard_count].batch(batch_size, batch_fn=collate)
    batches = dataset.to_iter_dataset(
        grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + 1 if threads else 0)
    )
    stream = {
        "examples": examples,
        "split": str(split),
        "seed": seed,
        "shuffle": shuffle,
        "epochs": epochs,
        "global_batch_size": batch_size * shard_count,
    }
    return DatasetIterator(batches, steps, examples, stream)


def _without_hosts(state: Mapping[str, Any]) -> dict[str, Any]:
    """A position of version 2, which belonged to a number of hosts, as one of version 3."""
    kept = {"examples", "split", "seed", "shuffle", "epochs"} & state.keys()
    return {
        "version": 3,
        "batches": state["reader"][_READER],
        "global_batch_size": state["batch_size"] * state["shard_count"],
        **{name: state[name] for name in kept},
    }


def collate(examples: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Stacks decoded examples into the batch that `make_iterator` describes."""
    batch: dict[str, np.ndarray] = {}
    for name, first in examples[0].items():
        values = [example[name] for example in examples]
        if name in _TEXTS:
            batch[name] = np.array([records.text(value) for value in values])
            continue
        stacked = np.empty((len(values), *np.shape(first)), records.batch_dtype(name))
        for row, value in enumerate(values):
            if name in ("xray", "mri", "other_xray") and value.dtype == np.uint16:
                np.divide(value, np.float32(65535), out=stacked[row, ...], dtype=np.float32)
            elif name == "distances":
                np.divide(value, np.float32(STEPS), out=stacked[row, ...], dtype=np.float32)
            else:
                stacked[row] = value
        batch[name] = stacked
    batch["example_mask"] = (batch["index"] != PADDING).astype(np.float32)
    return batch


def _padded(dataset: grain.MapDataset, length: int) -> grain.MapDataset:
    """Extends `dataset` to `length` by its last example, with the index that marks padding."""
    real = len(dataset)

    def example(position: int) -> dict[str, Any]:
        if position < real:
            return dataset[position]
        return {**dataset[real - 1], "index": PADDING}

    return grain.MapDataset.range(length).map(example)


def _with_partners(dataset: grain.MapDataset, apart: int) -> grain.MapDataset:
    """Adds to each example entries of the one `apart` positions later, before sharding by host."""
    length = len(dataset)

    def pair(position: int) -> dict[str, Any]:
        example, other = dataset[position], dataset[(position + apart) % length]
        return {**example, **{f"other_{name}": other[name] for name in _OF_PARTNER}}

    return grain.MapDataset.range(length).map(pair)


class _Select(grain.transforms.MapWithIndex):
    """Keeps the requested fields; adds the example's position, and its place in a selection."""

    def __init__(
        self,
        fields: Sequence[str],
        examples: int,
        split: str,
        place: Callable[[int], str] | None,
    ) -> None:
        self._fields = tuple(fields)
        self._examples = examples
        self._split = split
        self._place = place

    def map_with_index(self, index: int, element: Mapping[str, Any]) -> dict[str, Any]:
        chosen = {name: element[name] for name in self._fields}
        position = index % self._examples
        place = {} if self._place is None else {"place": self._place(position)}
        for name in records.INTENSITIES:
            if name in chosen:
                records.require_intensities(
                    chosen[name], name, self._split, place.get("place", position)
                )
        return {**chosen, "index": position, **place}
