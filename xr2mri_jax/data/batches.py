"""Dataset to batches with Grain: shuffled, augmented, sharded by host, exactly resumable.

(seed, epoch) determines one global order of examples. Host k of n takes the positions k, k + n,
k + 2n, ..., so that n hosts with batches of b together see the same examples as one host with
batches of n * b. Augmentation is drawn from (seed, epoch, example). Reading ahead does not affect
the position: a restored iterator continues with exactly the same batches.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import grain
import numpy as np

from xr2mri_jax.data import augment as augmentation
from xr2mri_jax.datasets.examples import StoredExamples
from xr2mri_jax.errors import InputError
from xr2mri_jax.phantom.surfaces import STEPS
from xr2mri_jax.runtime import processor

FIELDS = ("xray", "mri", "mask", "side", "kl")
EXTRA_FIELDS = ("labels", "distances", "spacing", "subject")
PADDING = -1
_INTENSITIES = ("xray", "mri", "mask")
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
    augment: Mapping[str, Any] | None = None,
    epochs: int | None = 1,
    shard_index: int = 0,
    shard_count: int = 1,
    fields: Sequence[str] | None = None,
    cache: bool = False,
    mixup: float = 0.0,
    num_threads: int | None = None,
    stand_back: bool = False,
) -> DatasetIterator:
    """Batches of one split of a dataset.

    Args:
      source: a prepared TFDS builder, or a sequence of decoded examples (dicts, as the builder's
        data source yields them); then `split` is only a name.
      split: a split of the dataset; TFDS slicing (`train[:10%]`) is allowed.
      batch_size: examples per batch on this host.
      seed: determines order and augmentation, together with epoch and example.
      shuffle: a new order in every epoch; False: the stored order.
      augment: strengths as in `augment.STRENGTHS`; None: no augmentation.
      epochs: None: endless, without padding; batches cross the end of an epoch. A number: the
        iterator ends after that many epochs, and the last batches are padded so that every host
        takes the same number of steps.
      shard_index: this host's number, 0 <= shard_index < shard_count.
      shard_count: number of hosts.
      fields: entries to yield, from `FIELDS` and `EXTRA_FIELDS`; None: the `FIELDS` that the
        dataset has. Other fields are not decoded.
      cache: keeps decoded examples (uint16) in memory after their first use.
      mixup: a > 0 mixes every radiograph with the one at the same place of the next batch, with
        shares from Beta(a, a), see `augment.mixed`; drawn from (seed, position). 0: none.
      num_threads: threads that prepare batches ahead of time; None: one per core, at most 8.
      stand_back: run these threads at low priority, see `processor.stand_back`; for training on
        the CPU, where processes sometimes wait for each other's sums.

    Returns:
      An iterator of dicts of numpy arrays: xray f32[b, h, w, 1], mri f32[b, d, h, w, 1] and mask
      f32[b, d, h, w, 1] in [0, 1], labels u8[b, d, h, w], distances f32[b, k, d, h, w] in mm,
      side, kl i32[b], spacing f32[b, n] in mm, subject str[b]; always index i32[b], the position in
      the split or -1 for padding, and example_mask f32[b], 0 for padding; with `mixup` share f32[b]
      and mixed_kl i32[b]. Padding repeats an example, so that all values are finite.

    Raises:
      InputError: for an unknown or empty split, a field that the dataset lacks, an unknown
        augmentation, a batch size below 1, a seed outside 0..2**32-1; during iteration, for an
        example that cannot be read, and for intensities that are not finite or outside [0, 1].
      ValueError: for a shard outside the shard count.
    """
    if not 0 <= shard_index < shard_count:
        raise ValueError(f"shard {shard_index} of {shard_count} does not exist")
    if batch_size < 1:
        raise InputError(f"data.batch_size: {batch_size} found, expected at least 1")
    if not 0 <= seed < 2**32:
        raise InputError(f"seed: {seed} found, expected 0..{2**32 - 1}")
    stored, fields = open_records(source, split, fields)
    strength = augmentation.strengths(augment)
    threads = min(processor.cores(), 8) if num_threads is None else num_threads
    examples = len(stored)
    dataset = grain.MapDataset.source(_Cached(stored) if cache else stored).seed(seed)
    dataset = dataset.map_with_index(_Select(fields, examples, str(split)))
    if any(strength.values()):
        dataset = dataset.random_map(_Augment(strength))
    if shuffle:
        dataset = dataset.shuffle()
    dataset = dataset.repeat(epochs)
    if mixup:
        # The batches in preparation, and the next batch, with which they are mixed.
        kept = (max(threads, 1) + 1) * batch_size
        dataset = _mixed(dataset, seed, mixup, batch_size * shard_count, kept)
    steps = None
    if epochs is not None:
        steps = -(-len(dataset) // (batch_size * shard_count))
        dataset = _padded(dataset, steps * batch_size * shard_count)
    batched = _LowPriority(collate) if stand_back and threads else collate
    dataset = dataset[shard_index::shard_count].batch(batch_size, batch_fn=batched)
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


def example_shapes(builder: Any) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Shape and dtype of one example as batches hold it, without the batch axis, by field.

    Text (`subject`) is left out.
    """
    shapes = {}
    for name, feature in builder.info.features.items():
        if name in (*FIELDS, *EXTRA_FIELDS) and name != "subject":
            shape = tuple(feature.shape)
            shapes[name] = shape, np.dtype(_batch_dtype(name))
    return shapes


def open_records(
    source: Any, split: str, fields: Sequence[str] | None = None
) -> tuple[Sequence[Any], tuple[str, ...]]:
    """The decoded examples of a split by position, and the requested fields.

    Args:
      source: as for `make_iterator`.
      split: as for `make_iterator`.
      fields: as for `make_iterator`; other features stay undecoded bytes.

    Returns:
      A sequence of dicts with random access, and the names of the requested entries.

    Raises:
      InputError: as `make_iterator`.
    """
    if not hasattr(source, "as_data_source"):
        if len(source) == 0:
            raise InputError(f"split {split!r} is empty")
        return source, _chosen(fields, source[0], "the examples")
    name = source.info.full_name
    _require_split(source, split)
    chosen = _chosen(fields, source.info.features, name)
    skip = _skip_decoding()
    unwanted = {f: skip for f in source.info.features if f not in chosen}
    return StoredExamples(source, split, unwanted or None), chosen


def collate(examples: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Stacks decoded examples into the batch that `make_iterator` describes."""
    batch: dict[str, np.ndarray] = {}
    for name, first in examples[0].items():
        values = [example[name] for example in examples]
        if name == "subject":
            batch[name] = np.array([text(value) for value in values])
            continue
        stacked = np.empty((len(values), *np.shape(first)), _batch_dtype(name))
        for row, value in enumerate(values):
            if name in ("xray", "mri") and value.dtype == np.uint16:
                np.divide(value, np.float32(65535), out=stacked[row, ...], dtype=np.float32)
            elif name == "distances":
                np.divide(value, np.float32(STEPS), out=stacked[row, ...], dtype=np.float32)
            else:
                stacked[row] = value
        batch[name] = stacked
    batch["example_mask"] = (batch["index"] != PADDING).astype(np.float32)
    return batch


def _batch_dtype(name: str) -> type:
    if name in ("xray", "mri", "mask", "distances", "spacing", "share"):
        return np.float32
    return np.uint8 if name == "labels" else np.int32


def text(value: Any) -> str:
    """A stored text, which TFDS hands out as bytes."""
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _padded(dataset: grain.MapDataset, length: int) -> grain.MapDataset:
    """Extends `dataset` to `length` by its last example, with the index that marks padding."""
    real = len(dataset)

    def example(position: int) -> dict[str, Any]:
        if position < real:
            return dataset[position]
        return {**dataset[real - 1], "index": PADDING}

    return grain.MapDataset.range(length).map(example)


def _mixed(
    dataset: grain.MapDataset, seed: int, concentration: float, apart: int, kept: int
) -> grain.MapDataset:
    """Mixes each example with the one `apart` positions later, before sharding by host.

    With `apart` a multiple of the global batch both belong to the same host, which computes each
    example once for both uses.
    """
    length = len(dataset)
    example = _PairCache(dataset.__getitem__, kept)

    def pair(position: int) -> tuple[Any, Any]:
        return example(position), example((position + apart) % length)

    # A random stream separate from that of the augmentation.
    positions = grain.MapDataset.range(length).map(pair).seed((seed + 1) % 2**32)
    return positions.random_map(_Mix(concentration))


class _PairCache:
    """Computes each entry once for two requests, from any thread."""

    def __init__(self, make: Callable[[int], Any], kept: int) -> None:
        """Takes the function, and the maximum number of entries kept for their second request."""
        self._make = make
        self._kept = kept
        self._open: OrderedDict[int, Future[Any]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, position: int) -> Any:
        with self._lock:
            found = self._open.pop(position, None)
            if found is None:
                made: Future[Any] = Future()
                self._open[position] = made
                # Evict entries that are never requested again, after a change of position.
                while len(self._open) > self._kept:
                    self._open.popitem(last=False)
        if found is not None:
            return found.result()
        try:
            made.set_result(self._make(position))
        except BaseException as error:
            made.set_exception(error)
            raise
        return made.result()


class _LowPriority:
    """A function that lowers the priority of each thread at its first call."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function
        self._thread = threading.local()

    def __call__(self, value: Any) -> Any:
        if not hasattr(self._thread, "stands_back"):
            processor.stand_back()
            self._thread.stands_back = True
        return self._function(value)


class _Select(grain.transforms.MapWithIndex):
    """Keeps the requested fields and adds the example's position in the split."""

    def __init__(self, fields: Sequence[str], examples: int, split: str) -> None:
        self._fields = tuple(fields)
        self._examples = examples
        self._split = split

    def map_with_index(self, index: int, element: Mapping[str, Any]) -> dict[str, Any]:
        chosen = {name: element[name] for name in self._fields}
        position = index % self._examples
        for name in _INTENSITIES:
            if name in chosen:
                _require_intensities(chosen[name], name, self._split, position)
        return {**chosen, "index": position}


def _require_intensities(array: np.ndarray, name: str, split: str, position: int) -> None:
    """Raises InputError unless all values are finite and in [0, 1]."""
    array = np.asarray(array)
    if name != "mask" and array.dtype == np.uint16:  # divided by 65535 afterwards
        return
    low, high = array.min(initial=0), array.max(initial=0)
    # A NaN makes both comparisons false.
    if not (low >= 0 and high <= 1):
        found = low if not low >= 0 else high
        raise InputError(
            f"the example at position {position} of the split {split!r}: its {name} has the value "
            f"{found:g}, expected finite values in [0, 1]"
        )


class _Augment(grain.transforms.RandomMap):
    def __init__(self, strength: Mapping[str, float]) -> None:
        self._strength = strength

    def random_map(self, element: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        return augmentation.apply(element, rng, self._strength)


class _Mix(grain.transforms.RandomMap):
    def __init__(self, concentration: float) -> None:
        self._concentration = concentration

    def random_map(self, element: Any, rng: np.random.Generator) -> dict[str, Any]:
        example, other = element
        return augmentation.mixed(example, other, rng, self._concentration)


class _Cached(Sequence):
    """A sequence that caches the items it has read."""

    def __init__(self, source: Sequence[Any]) -> None:
        self._source = source
        self._kept: dict[int, Any] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: Any) -> Any:
        found = self._kept.get(index)
        if found is None:
            found = self._source[index]
            with self._lock:
                self._kept[index] = found
        return found


def _skip_decoding() -> Any:
    import tensorflow_datasets as tfds

    return tfds.decode.SkipDecoding()


def _require_split(builder: Any, split: str) -> None:
    splits = builder.info.splits
    if not splits:
        raise InputError(
            f"dataset {builder.info.full_name} is not prepared in {builder.data_dir}: run "
            "launch/prepare.py first"
        )
    try:
        examples = splits[split].num_examples
    except (KeyError, ValueError) as error:
        raise InputError(
            f"dataset {builder.info.full_name} has no split {split!r}, expected one of "
            + ", ".join(splits)
        ) from error
    if examples == 0:
        raise InputError(f"split {split!r} of dataset {builder.info.full_name} is empty")


def _chosen(
    fields: Sequence[str] | None, available: Mapping[str, Any], where: str
) -> tuple[str, ...]:
    if fields is None:
        return tuple(name for name in FIELDS if name in available)
    wanted = tuple(f for f in fields if f not in ("index", "example_mask"))
    for field in wanted:
        known = (*FIELDS, *EXTRA_FIELDS)
        if field not in known:
            raise InputError(f"unknown field {field!r}, expected one of {', '.join(known)}")
        if field not in available:
            raise InputError(f"{where} has no {field!r}; it has {', '.join(sorted(available))}")
    return wanted
