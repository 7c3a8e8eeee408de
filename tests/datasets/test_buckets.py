"""A split larger than the memory of TFDS is prepared without TensorFlow, in the same order."""

import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core import shuffle
from tensorflow_datasets.core.utils import shard_utils

from xr2mri_jax import datasets
from xr2mri_jax.data import batches
from xr2mri_jax.datasets import buckets

KNEES = 23


class Knees(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Radiographs of 8 x 8 pixels whose grey level is their number."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "xray": tfds.features.Tensor(shape=(8, 8, 1), dtype=np.uint16),
            "side": tfds.features.Scalar(np.int32),
            "kl": tfds.features.Scalar(np.int32),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for number in range(KNEES):
            xray = np.full((8, 8, 1), number, np.uint16)
            yield f"knee_{number}", {"xray": xray, "side": 0, "kl": number}


def _prepared(folder) -> tfds.core.DatasetBuilder:
    builder = Knees(data_dir=str(folder))
    datasets._build(builder, str(folder), 1, None, None, ())
    return builder


def test_on_disk_as_in_memory(tmp_path, monkeypatch):
    """All in memory, then from the tenth example on disk, divided into several files."""
    first = _prepared(tmp_path / "memory").as_data_source(split="train")
    monkeypatch.setattr(shuffle, "MAX_MEM_BUFFER_SIZE", 10 * first[0]["xray"].nbytes)
    monkeypatch.setattr(shard_utils.ShardConfig, "min_shard_size", 1000, raising=False)
    builder = _prepared(tmp_path / "disk")
    second = builder.as_data_source(split="train")
    assert [int(knee["kl"]) for knee in second] == [int(knee["kl"]) for knee in first]
    assert sorted(int(knee["kl"]) for knee in second) == list(range(KNEES))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one["xray"], other["xray"])
    assert not list(tmp_path.rglob("*.tmp")), "the buckets are left"
    read = batches.make_iterator(builder, "train", batch_size=5, shuffle=False, epochs=1)
    numbers = [kl for batch in read for kl in batch["kl"][batch["example_mask"] > 0]]
    assert numbers == [int(knee["kl"]) for knee in first]
    assert len(list((tmp_path / "disk").rglob("*array_record-*"))) > 1
    assert "tensorflow" not in sys.modules


def test_a_bucket_gives_back_what_it_was_given(tmp_path):
    bucket = buckets.Bucket(tmp_path / "new" / "bucket_1.tmp")
    assert list(bucket.read_values()) == [] and len(bucket) == 0
    given = [(2**128 - 1, b""), (0, b"a" * 1000), (5, bytes(range(256)))]
    for key, data in given:
        bucket.add(key, data)
    assert list(bucket.read_values()) == given
    assert (len(bucket), bucket.size) == (3, 1256)
    bucket.del_file()
    bucket.del_file()
    assert not list(tmp_path.rglob("*.tmp"))


def test_the_library_is_as_it_was_afterwards():
    before = shuffle._Bucket
    with pytest.raises(KeyError), buckets.without_tensorflow():
        assert shuffle._Bucket is buckets.Bucket
        raise KeyError
    assert shuffle._Bucket is before
