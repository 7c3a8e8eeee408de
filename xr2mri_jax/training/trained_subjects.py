"""Doubts about a result: subjects for evaluation that a model was trained on, unfinished runs.

Subjects are compared only if the training data are not the same: the splits of one dataset have no
subject in common. Equal names in datasets of different origin can be a coincidence, so an overlap
is a doubt and not an error.
"""

from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from xr2mri_jax import datasets, workdir
from xr2mri_jax.data import records, selection
from xr2mri_jax.datasets import examples
from xr2mri_jax.errors import InputError
from xr2mri_jax.stages import packaged_grader
from xr2mri_jax.training import resume_checks
from xr2mri_jax.training.loaded_model import LoadedModel

# Keys of config.data that select the examples of a split.
_SELECTION = ("train_split", "also", "grades", "held_out", "held_out_seed")


def doubts_of_evaluation(model: LoadedModel, builder: Any, split: str) -> list[str]:
    """Whether a run was trained on the subjects that it is evaluated on; one line per doubt.

    Args:
      model: the model of the run; without fingerprints (older checkpoints) nothing is compared.
      builder: builder of the evaluation dataset.
      split: the evaluated split of it.
    """
    data = model.config["data"]
    train_split = data["train_split"]
    if split == train_split and not data.get("held_out"):
        return [f"the split {split!r} is the training split: the knees are not unseen"]
    if not model.fingerprints:
        return []
    apart = not split_bases(split) & split_bases(train_split)
    same = _has_fingerprint(builder, train_split, model.fingerprints)
    if apart and same:
        return []

    def evaluated() -> dict[str, set[str]]:
        return {f"the split {split!r}": _subjects(builder, data, split, training=False)}

    def trained() -> set[str]:
        if same:
            return _subjects(builder, data, train_split, training=True)
        return _trained(data, model.fingerprints)

    return list(_overlaps("the run", trained, evaluated))


def doubts_of_start(config: Mapping[str, Any], builder: Any) -> list[str]:
    """Doubts about the earlier runs that a new run starts from, including their own doubts.

    Args:
      config: resolved plain config of the new run.
      builder: builder of its dataset.

    Raises:
      InputError: if the folder of an earlier run cannot be read.
    """
    found: list[str] = []
    for key in resume_checks.EARLIER:
        for folder in resume_checks.folders(config.get(key, "")):
            name = f"config.{key}={folder}"
            if packaged_grader.is_packaged(Path(folder)):
                found += _of_packaged(name, packaged_grader.training(Path(folder)), config["data"])
            else:
                found += _of_earlier(name, folder, config["data"], builder)
    return list(dict.fromkeys(found))


def _of_earlier(name: str, folder: str, data: Mapping[str, Any], builder: Any) -> Iterator[str]:
    yield from workdir.read_run(folder)["doubts"]
    earlier, last = workdir.read_config(folder), workdir.steps(folder)[-1:]
    if last and last[0] < earlier["steps"]:
        newest = f"step {last[0]} of {earlier['steps']}"
        yield f"{name} is not finished: the newest checkpoint is {newest}"
    known = workdir.fingerprints(folder)
    before = earlier["data"]
    same = all(before.get(one) == data.get(one) for one in _SELECTION)
    if not known or (same and _has_fingerprint(builder, data["train_split"], known)):
        return
    yield from _overlaps(name, lambda: _trained(before, known), lambda: _unseen(builder, data))


def _of_packaged(name: str, training: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[str]:
    """A packaged grader names no subjects, but the hash that held patients out."""
    theirs, ours = (
        tuple(x.get(k) for k in ("held_out", "held_out_seed")) for x in (training, data)
    )
    if ours[0] and None not in theirs and (theirs[1] != ours[1] or theirs[0] < ours[0]):
        yield (
            f"{name} held out patients by config.data.held_out={theirs[0]:g} and held_out_seed="
            f"{theirs[1]}, this run by {ours[0]:g} and {ours[1]}: it may have been trained on the "
            "held-out patients"
        )


def _overlaps(
    name: str,
    trained: Callable[[], Set[str]],
    evaluated: Callable[[], Mapping[str, Set[str]]],
) -> Iterator[str]:
    """Doubts about a run trained on the subjects `trained`, by evaluated part."""
    try:
        known, parts = trained(), evaluated()
    except InputError as error:
        yield (
            f"{name} was trained on other data, whose subjects cannot be compared with those for "
            f"evaluation ({error}): they may be the same"
        )
        return
    for part, subjects in parts.items():
        common = sorted(subjects & known)
        if common:
            yield (
                f"{name} was trained on {len(common)} of the {len(subjects)} subjects of {part} "
                f"(such as {common[0]!r}): results on them are not those of unseen patients"
            )


def _trained(data: Mapping[str, Any], known: Mapping[str, str]) -> set[str]:
    """The subjects of the training examples of a run's config.data."""
    split, folder = data["train_split"], data["data_dir"]
    builder = datasets.load_builder(data["dataset"], folder)
    if not _has_fingerprint(builder, split, known):
        raise InputError(f"the split {split!r} in {builder.data_dir} has changed")
    found = _subjects(builder, data, split, training=True)
    if data.get("also"):
        found |= _subjects(datasets.load_builder(data["also"], folder), {}, split, training=True)
    return found


def _unseen(builder: Any, data: Mapping[str, Any]) -> dict[str, set[str]]:
    """The subjects that a run with this config.data is not trained on, by part of the dataset."""
    train = data["train_split"]
    own = split_bases(train)
    found = {
        f"the split {split!r}": _subjects(builder, {}, split, training=False)
        for split in sorted({*builder.info.splits, data["eval_split"]} - {train, *own})
    }
    if data.get("held_out"):
        held_out = _subjects(builder, data, train, training=False)
        found[f"the held-out part of the split {train!r}"] = held_out
    return found


def split_bases(split: str) -> set[str]:
    """The splits of a dataset of which `split` is made: of "train[:50%]+test", train and test."""
    return {part.partition("[")[0] for part in split.split("+")}


def _subjects(builder: Any, data: Mapping[str, Any], split: str, training: bool) -> set[str]:
    source = selection.from_config(builder, data, split, ("subject",), training)
    stored, _ = records.open_records(source, split, ("subject",))
    return {records.text(stored[i]["subject"]) for i in range(len(stored))}


def _has_fingerprint(builder: Any, split: str, known: Mapping[str, str]) -> bool:
    try:
        return examples.fingerprint(builder, split) == known.get(split)
    except InputError:  # no such split
        return False
