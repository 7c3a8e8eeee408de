"""The input pipeline on a small TFDS dataset: order, padding, shards, position, fields, speed."""

import itertools
import json
import subprocess
import sys
import threading

import numpy as np
import pytest

from xr2mri_jax.data import batches as pipeline
from xr2mri_jax.data import records
from xr2mri_jax.errors import InputError

SHAPE = (3, 6, 8)
SIZES = {"train": 10, "test": 5}


def _example(index, paired=True):
    rng = np.random.default_rng(index)
    side, kl = index % 2, index % 5
    example = {
        "xray": rng.integers(0, 65536, (*SHAPE[1:], 1), dtype=np.uint16),
        "side": np.int32(side),
        "kl": np.int32(kl),
        "subject": f"case{index:03d}",
    }
    if paired:
        example["mri"] = rng.integers(0, 65536, (*SHAPE, 1), dtype=np.uint16)
        example["mask"] = np.ones((*SHAPE, 1), np.uint8)
        example["labels"] = rng.integers(0, 9, SHAPE, dtype=np.uint8)
        example["spacing"] = np.array([4.0, 2.0, 1.0], np.float32)
    return example


def _prepare(folder, paired):
    """A builder of the project's features, prepared and read without TensorFlow."""
    import tensorflow_datasets as tfds

    def tensor(shape, dtype):
        return tfds.features.Tensor(shape=shape, dtype=dtype, encoding="zlib")

    class TinyKnees(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """Random numbers in the form of knees."""

        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "xray": tensor((*SHAPE[1:], 1), np.uint16),
                "side": tfds.features.Scalar(np.int32),
                "kl": tfds.features.Scalar(np.int32),
                "subject": tfds.features.Text(),
            }
            if paired:
                features["mri"] = tensor((*SHAPE, 1), np.uint16)
                features["mask"] = tensor((*SHAPE, 1), np.uint8)
                features["labels"] = tensor(SHAPE, np.uint8)
                features["spacing"] = tensor((3,), np.float32)
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
            )

        def _split_generators(self, manager):
            del manager
            return {name: self._generate_examples(size) for name, size in SIZES.items()}

        def _generate_examples(self, size):
            for index in range(size):
                yield index, _example(index, paired)

    builder = TinyKnees(data_dir=str(folder), file_format="array_record")
    builder.download_and_prepare()
    return builder


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    return _prepare(tmp_path_factory.mktemp("paired"), paired=True)


def _batches(source, split="test", count=None, **options):
    iterator = pipeline.make_iterator(source, split, **{"batch_size": 2, **options})
    taken = list(itertools.islice(iterator, count))
    iterator.close()
    return taken


def _same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def test_values_shapes_and_dtypes(builder):
    batches = _batches(builder, fields=(*records.FIELDS, "labels", "spacing", "subject"))
    assert len(batches) == 3
    first, expected = batches[0], [_example(0), _example(1)]
    for name in ("xray", "mri"):
        stacked = np.stack([e[name] for e in expected]).astype(np.float64) / 65535
        assert first[name].dtype == np.float32
        np.testing.assert_allclose(first[name], stacked, atol=1e-7)
    assert first["mask"].dtype == np.float32 and first["mask"].shape == (2, *SHAPE, 1)
    np.testing.assert_array_equal(first["labels"], np.stack([e["labels"] for e in expected]))
    assert first["side"].tolist() == [0, 1] and first["side"].dtype == np.int32
    assert first["kl"].tolist() == [0, 1] and first["index"].dtype == np.int32
    assert first["subject"].tolist() == ["case000", "case001"]
    np.testing.assert_array_equal(first["spacing"], [[4, 2, 1]] * 2)


def test_full_scale_becomes_exactly_one():
    example = {"xray": np.full((2, 2, 1), 65535, np.uint16)}
    (batch,) = _batches([example], batch_size=1)
    assert np.all(batch["xray"] == 1.0)


def test_evaluation_pads_the_last_batch_and_says_so(builder):
    batches = _batches(builder)
    assert [b["index"].tolist() for b in batches] == [[0, 1], [2, 3], [4, -1]]
    assert [b["example_mask"].tolist() for b in batches] == [[1, 1], [1, 1], [1, 0]]
    assert batches[-1]["example_mask"].dtype == np.float32
    np.testing.assert_array_equal(batches[-1]["xray"][1], batches[-1]["xray"][0])


def test_training_repeats_without_padding_and_sees_every_record_once_an_epoch(builder):
    options = {"split": "train", "batch_size": 3, "shuffle": True, "epochs": None, "count": 10}
    order = np.concatenate([b["index"] for b in _batches(builder, seed=4, **options)])
    epochs = order.reshape(3, 10)
    for epoch in epochs:
        assert sorted(epoch) == list(range(10))
    assert len({tuple(epoch) for epoch in epochs}) == 3
    again = np.concatenate([b["index"] for b in _batches(builder, seed=4, **options)])
    other = np.concatenate([b["index"] for b in _batches(builder, seed=5, **options)])
    np.testing.assert_array_equal(order, again)
    assert order.tolist() != other.tolist()


def test_hosts_together_see_what_one_host_sees(builder):
    options = {
        "split": "train", "shuffle": True, "epochs": None, "seed": 1, "count": 4,
        "partners": True,
    }  # fmt: skip
    whole = _batches(builder, batch_size=4, **options)
    halves = [_batches(builder, shard_index=i, shard_count=2, **options) for i in (0, 1)]
    for one, left, right in zip(whole, *halves, strict=True):
        for name in one:
            mixed = np.stack([left[name], right[name]], axis=1).reshape(one[name].shape)
            np.testing.assert_array_equal(one[name], mixed)


@pytest.mark.parametrize("shards", [1, 2, 3])
def test_every_host_takes_equally_many_steps_and_nothing_is_lost(builder, shards):
    seen = []
    for shard in range(shards):
        batches = _batches(builder, shard_index=shard, shard_count=shards)
        assert len(batches) == -(-5 // (2 * shards))
        seen += [i for b in batches for i in b["index"] if i >= 0]
    assert sorted(seen) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("cache", [False, True])
def test_a_restored_position_continues_with_the_same_batches(builder, threads, cache):
    options = {
        "batch_size": 3, "seed": 7, "shuffle": True, "epochs": None, "cache": cache,
        "num_threads": threads, "partners": True,
    }  # fmt: skip
    iterator = pipeline.make_iterator(builder, "train", **options)
    before = [next(iterator) for _ in range(5)]
    state = json.loads(json.dumps(iterator.get_state()))
    after = [next(iterator) for _ in range(4)]
    restored = pipeline.make_iterator(builder, "train", **options)
    next(restored)
    restored.set_state(state)
    for batch in after:
        _same(batch, next(restored))
    iterator.set_state(state)
    _same(after[0], next(iterator))
    assert not np.array_equal(before[0]["xray"], after[0]["xray"])
    for one in (iterator, restored):
        one.close()


def test_the_partner_is_the_example_at_its_place_in_the_next_batch(builder):
    options = {"split": "train", "shuffle": True, "epochs": None, "seed": 2, "batch_size": 4}
    plain = _batches(builder, **options, count=3)
    paired = _batches(builder, **options, count=2, partners=True)
    order = {name: np.concatenate([b[name] for b in plain]) for name in ("index", "kl", "xray")}
    found = {name: np.concatenate([b[name] for b in paired]) for name in paired[0]}
    for name in ("index", "kl", "xray"):
        np.testing.assert_array_equal(found[name], order[name][:8])
    assert found["other_kl"].dtype == np.int32 and found["other_xray"].dtype == np.float32
    for name in ("kl", "xray"):
        np.testing.assert_array_equal(found[f"other_{name}"], order[name][4:12])


def test_an_example_that_cannot_be_made_is_told_wherever_it_is_used():
    class Broken(list):
        def __getitem__(self, index):
            if index == 9:
                raise OSError("the disk is gone")
            return super().__getitem__(index)

    records = Broken(_example(index) for index in range(16))
    with pytest.raises(OSError, match="the disk is gone"):
        _batches(records, batch_size=4, partners=True, num_threads=2)


def test_a_position_of_another_stream_is_refused(builder):
    first = pipeline.make_iterator(builder, "train", batch_size=2, seed=1)
    other = pipeline.make_iterator(builder, "train", batch_size=4, seed=1)
    with pytest.raises(InputError, match=r"batch_size is 2, here it is 4"):
        other.set_state(first.get_state())
    for iterator in (first, other):
        iterator.close()


def test_a_position_holds_for_any_number_of_hosts():
    """Taken on two hosts, restored on one and on four: the same examples in every global batch."""
    records = [_example(index) for index in range(10)]
    options = {"seed": 1, "shuffle": True, "epochs": None, "num_threads": 0}

    def hosts(count):
        shares = {"batch_size": 4 // count, "shard_count": count}
        made = [
            pipeline.make_iterator(records, "train", **options, **shares, shard_index=index)
            for index in range(count)
        ]
        return made, lambda: sorted(int(i) for one in made for i in next(one)["index"])

    two, batch = hosts(2)
    for _ in range(4):
        batch()
    states = [json.loads(json.dumps(one.get_state())) for one in two]
    assert states[0] == states[1]
    wanted = [batch() for _ in range(4)]
    old = {name: states[0][name] for name in ("examples", "split", "seed", "shuffle", "epochs")}
    old |= {"version": 2, "reader": {"next_index": 4}, "batch_size": 2, "shard_count": 2}
    for state in (states[0], old):
        for count in (1, 4):
            restored, batch = hosts(count)
            for one in restored:
                one.set_state(state)
            assert [batch() for _ in range(4)] == wanted


def test_fields_that_are_not_wanted_are_not_decoded(builder, monkeypatch):
    import zlib

    opened = []
    real = zlib.decompress

    def counted(data):
        # Iterators of other tests may still be reading ahead, in their own threads.
        opened.append(threading.current_thread() is threading.main_thread())
        return real(data)

    monkeypatch.setattr(zlib, "decompress", counted)
    (batch,) = _batches(builder, batch_size=5, fields=("xray", "kl"), num_threads=0)
    assert set(batch) == {"xray", "kl", "index", "example_mask"}
    assert sum(opened) == 5


def test_cache_reads_every_record_once():
    class Counting(list):
        reads = 0

        def __getitem__(self, index):
            self.reads += 1
            return super().__getitem__(index)

    source = Counting(_example(i) for i in range(5))
    _batches(source, epochs=3, cache=True, num_threads=0, partners=True)
    # one more for the look at the fields
    assert source.reads == 6


def test_radiographs_alone(tmp_path):
    builder = _prepare(tmp_path, paired=False)
    (batch,) = _batches(builder, batch_size=5)
    assert set(batch) == {"xray", "side", "kl", "index", "example_mask"}
    assert batch["xray"].dtype == np.float32
    with pytest.raises(InputError, match="has no 'mri'"):
        _batches(builder, fields=("xray", "mri"))


def test_example_shapes_are_those_of_batches(builder):
    (batch,) = _batches(builder, batch_size=5, fields=(*records.FIELDS, "labels", "spacing"))
    for name, (shape, dtype) in records.example_shapes(builder).items():
        assert batch[name].shape[1:] == shape and batch[name].dtype == dtype
    assert set(records.example_shapes(builder)) == {*records.FIELDS, "labels", "spacing"}


def test_parts_of_a_split(builder):
    batches = _batches(builder, split="train[:30%]")
    assert [i for b in batches for i in b["index"]] == [0, 1, 2, -1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "tset"}, "no split 'tset', expected one of"),
        ({"split": "train[:0]"}, "is empty"),
        ({"fields": ("ray",)}, "unknown field 'ray'"),
        ({"batch_size": 0}, "batch_size"),
        ({"seed": -1}, "seed"),
    ],
)
def test_wrong_input_is_refused_in_one_line(builder, options, message):
    with pytest.raises(InputError, match=message) as raised:
        _batches(builder, **options)
    assert "\n" not in str(raised.value)


def test_empty_sources_and_wrong_shards_are_refused(builder):
    with pytest.raises(InputError, match="empty"):
        _batches([])
    with pytest.raises(ValueError, match="shard 2 of 2"):
        _batches(builder, shard_index=2, shard_count=2)


def test_importing_needs_no_tensorflow_and_starts_no_backend():
    code = (
        "import sys, xr2mri_jax.data.batches, xr2mri_jax.data.augment\n"
        "from jax._src import xla_bridge\n"
        "assert 'tensorflow' not in sys.modules and not xla_bridge._backends"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
