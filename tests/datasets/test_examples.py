"""Reading the splits of a prepared dataset by name."""

from types import SimpleNamespace

import pytest

from xr2mri_jax.datasets import data_origin, examples
from xr2mri_jax.errors import InputError

BUILDER = SimpleNamespace(
    info=SimpleNamespace(
        full_name="knee_pairs/smoke/1.0.0",
        features={"record": None},
        splits={"train": SimpleNamespace(num_examples=1), "none": SimpleNamespace(num_examples=0)},
    ),
    data_dir="there",
    as_data_source=lambda split, decoders=None: {"train": [{"record": b"{}"}]}[split],
)
READERS = {
    "fingerprint": examples.fingerprint,
    "origin": lambda builder, split: data_origin.origin("knee_pairs/smoke", builder, split),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS.keys())
def test_a_split_that_is_not_there_is_refused_with_those_that_are(read):
    assert read(BUILDER, "train")
    with pytest.raises(InputError) as caught:
        read(BUILDER, "vaildation")
    assert str(caught.value) == (
        "dataset knee_pairs/smoke/1.0.0 has no split 'vaildation', expected one of train, none"
    )
    with pytest.raises(InputError, match=r"split .none. .* is empty"):
        read(BUILDER, "none")
