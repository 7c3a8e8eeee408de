"""The stage of the classifier of early osteoarthritis: Kellgren-Lawrence grade of a radiograph."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xr2mri_jax import losses, workdir
from xr2mri_jax.errors import InputError
from xr2mri_jax.metrics import base as metrics
from xr2mri_jax.metrics import classification, grading
from xr2mri_jax.models import classifiers
from xr2mri_jax.stages import base, earlier_run, packaged_grader, sample_pictures

COMMAND = "python launch/train.py --config=configs/siamese_gap.py --workdir=DIR"
# Keys of the spec that may differ from those of the initial network; those in HEAD belong to the
# last layer.
HEAD = ("classes", "head")
FREE = ("image_shape", "dropout", *HEAD)
SPREADS = ("uniform", "beta")
DEFAULTS = {
    "model": {"classifier": {}},
    # Distribution of the smoothed label: "uniform", or "beta" for ordered grades.
    "loss": {"label_smoothing": 0.1, "label_spread": "uniform"},
    "classifier_workdir": "",
    # During training, patients held out from the training split are evaluated.
    "data": {
        "eval_split": "train",
        "grades": (0, 2),
        "balanced": True,
        "held_out": 0.15,
        "held_out_seed": 0,
        "mixup": 0.0,
        # Shares of the grades in the population that the probabilities are calibrated for; empty:
        # only a temperature is fitted.
        "prevalence": (),
    },
}


def resolve(config: dict[str, Any], stored: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The config with the network's full spec.

    Args:
      config: plain values.
      stored: the resolved config of the run to continue, with its earlier workdir; None for a new
        run. A new run starts from the network in classifier_workdir, if given: the folder of a run
        or of a packaged grader. The last layer is new if the classes or the head differ, or if the
        run is one of `branch_cae`.

    Raises:
      InputError: if the grades or a number are invalid, or a workdir has no run.
    """
    base.require_range(config, "loss.label_smoothing", 0, below=1)
    spread = config["loss"]["label_spread"]
    if spread not in SPREADS or (
        spread == "beta" and len(config["data"]["grades"]) not in losses.BETA
    ):
        raise InputError(
            f"config.loss.label_spread is {spread!r}, expected {' or '.join(map(repr, SPREADS))}, "
            f"the second with {' or '.join(map(str, losses.BETA))} grades"
        )
    base.require_range(config, "data.held_out", 0, below=1)
    base.require_range(config, "data.held_out_seed", 0)
    base.require_range(config, "data.mixup", 0)
    grades = config["data"]["grades"]
    _check_prevalence(config["data"]["prevalence"], grades)
    spec = classifiers.full_spec({"classes": len(grades), **config["model"]["classifier"]})
    if spec["classes"] != len(grades) or sorted(set(grades)) != list(grades):
        raise InputError(
            f"config.data.grades is {grades}, expected {spec['classes']} ascending grades, as many "
            "as config.model.classifier.classes"
        )
    folder = (
        config["classifier_workdir"] if stored is None else stored.get("classifier_workdir", "")
    )
    if folder and stored is None:
        source = _source(folder)
        found = _spec_of(source)
        # The network must have the same widths; the radiographs may have another size.
        fixed = {key: value for key, value in spec.items() if key not in FREE}
        earlier_run.require_same_spec(found, "classifier", fixed, source)
        folder = str(source.resolve())
    return {**config, "model": {"classifier": spec}, "classifier_workdir": folder}


def _check_prevalence(shares: Sequence[float], grades: Sequence[int]) -> None:
    """Raises InputError unless `shares` is empty or has one share per grade, three or more."""
    numbers = all(isinstance(x, int | float) and 0 < x < np.inf for x in shares)
    if shares and not (numbers and len(shares) == len(grades) > 2):
        raise InputError(
            f"config.data.prevalence is {tuple(shares)}, expected nothing, or one number above 0 "
            f"for each of the grades {tuple(grades)}, three or more"
        )


def _source(folder: str) -> Path:
    if packaged_grader.is_packaged(Path(folder)):
        return Path(folder)
    return earlier_run.workdir_of("classifier_workdir", folder, COMMAND)


def _spec_of(source: Path) -> dict[str, Any]:
    """The full spec of the classifier in a packaged grader or a run."""
    if packaged_grader.is_packaged(source):
        return classifiers.full_spec(packaged_grader.network(source))
    return classifiers.full_spec(earlier_run.model_spec(source, "classifier", {}))


class SiameseGapStage(base.AllTrained):
    """Classifies radiographs by grade; class i is config.data.grades[i].

    Attributes:
      spec, grades: see `base.Classifies`.
      chosen_by: the metric of `summarise` that selects the best checkpoint: "auc" with two grades,
        "quadratic_kappa" with more.
    """

    name = "siamese_gap"
    fields: tuple[str, ...] = ("xray", "kl")

    def __init__(self, config: Any):
        """Takes a config's model.classifier, data.grades, loss, precision, classifier_workdir."""
        self.spec = dict(config["model"]["classifier"])
        self.grades = tuple(config["data"]["grades"])
        self.chosen_by = "auc" if len(self.grades) == 2 else "quadratic_kappa"
        self.smoothing = config["loss"]["label_smoothing"]
        beta = config["loss"].get("label_spread", "uniform") == "beta"
        self.spread = losses.beta_labels(len(self.grades)) if beta else None
        self.classifier_workdir = config.get("classifier_workdir", "")
        dtype = base.compute_dtype(config["precision"])
        self.model = classifiers.make(self.spec, dtype, axis_name=base.AXIS)
        self._classify = jax.jit(self.classify)

    def create(self, rng: jax.Array) -> tuple[Any, Any]:
        """See `base.Stage`."""
        height, width = self.spec["image_shape"]
        variables = self.model.init(rng, np.zeros((1, height, width, 1), np.float32))
        return variables["params"], variables.get("batch_stats", {})

    def init(self, rng: jax.Array, batch: base.Batch) -> tuple[Any, Any]:
        """See `base.Stage`: the (averaged) network of classifier_workdir, if given."""
        shape = (*self.spec["image_shape"], 1)
        base.require_shape(batch, "xray", shape, "model.classifier.image_shape")
        base.require_shape(batch, "kl", (), "data.grades")
        made = base.initialise(self, rng)
        if not self.classifier_workdir:
            return made
        source = _source(self.classifier_workdir)
        if packaged_grader.is_packaged(source):
            params, model_state = packaged_grader.variables(source)
        else:
            state = workdir.load_state(source)
            params, model_state = state["ema_params"], state.get("model_state", {})
        before = _spec_of(source)
        if "head" not in params or any(before[key] != self.spec[key] for key in HEAD):
            params = {**params, "head": made[0]["head"]}
        # A run of `branch_cae` has a decoder, too.
        found = {name: params[name] for name in made[0] if name in params}, model_state
        workdir.require_shapes(source, found, made)
        return found

    def classify(self, params: Any, model_state: Any, xray: Any) -> jax.Array:
        """xray f32[b, h, w, 1] in [0, 1] to logits f32[b, classes], without noise."""
        return self.model.apply({"params": params, "batch_stats": model_state}, xray)

    def labels(self, kl: jax.Array) -> jax.Array:
        """Grades i32[b] to classes i32[b]; unknown grades become class 0."""
        return jnp.argmax(kl[:, None] == jnp.array(self.grades), axis=1)

    def loss(
        self, params: Any, model_state: Any, batch: base.Batch, rng: jax.Array, train: bool
    ) -> tuple[jax.Array, tuple[Any, base.Values]]:
        """See `base.Stage`: cross entropy with config.loss.label_smoothing and label_spread.

        A batch mixed by `augment.apply` has the weighted loss of both grades.
        """
        variables = {"params": params, "batch_stats": model_state}
        logits, changed = self.model.apply(
            variables, batch["xray"], train, rng, mutable=["batch_stats"] if train else []
        )
        label = self.labels(batch["kl"])
        value = losses.cross_entropy(logits, label, self.smoothing, self.spread)
        if "share" in batch:
            mixed = self.labels(batch["mixed_kl"])
            other = losses.cross_entropy(logits, mixed, self.smoothing, self.spread)
            value = batch["share"] * value + (1 - batch["share"]) * other
        correct = (jnp.argmax(logits, axis=1) == label).astype(jnp.float32)
        return value, (changed.get("batch_stats", model_state), {"accuracy": correct})

    def evaluate(self, params: Any, model_state: Any, batch: base.Batch) -> base.Values:
        """Cross entropy without smoothing, accuracy, and the histograms for the AUC."""
        logits = self.classify(params, model_state, batch["xray"])
        label = self.labels(batch["kl"])
        probability = jax.nn.softmax(logits)
        # With more than two classes: the upper half of the grades against the lower.
        upper = len(self.grades) // 2
        score = jnp.sum(probability[:, upper:], axis=1)
        called = jnp.argmax(logits, axis=1)
        values = {
            "loss": losses.cross_entropy(logits, label),
            "accuracy": (called == label).astype(jnp.float32),
            **classification.histogram(score, label >= upper),
        }
        if len(self.grades) > 2:
            values["confusion"] = grading.confusion_of_each(called, label, len(self.grades))
        return values

    def summarise(self, total: Mapping[str, metrics.Mean]) -> dict[str, float]:
        """The metrics of a split from the merged results of `evaluate`, with AUC.

        With more than two grades also those of `grading.from_confusion`; `balanced_accuracy` is
        then the mean recall of the grades.
        """
        counts = {name: np.asarray(total[name].sum) for name in ("positives", "negatives")}
        means = {n: mean for n, mean in total.items() if n not in (*counts, "confusion")}
        found = {**metrics.compute(means), **classification.from_histogram(**counts)}
        if "confusion" in total:
            size = len(self.grades)
            seen = np.asarray(total["confusion"].sum).reshape(size, size)
            found |= grading.from_confusion(seen)
        return found

    def pictures(self, params: Any, model_state: Any, batch: base.Batch) -> dict[str, np.ndarray]:
        """The radiographs in a row, with grades and probabilities of the highest class."""
        xray = np.asarray(batch["xray"][: base.PICTURED])
        logits = self._classify(params, model_state, xray)
        last = np.asarray(jax.nn.softmax(logits))[:, -1]
        caption = " ".join(
            f"KL{int(grade)}:{value:.2f}"
            for grade, value in zip(batch["kl"][: base.PICTURED], last, strict=True)
        )
        return {caption: sample_pictures.in_row([image[..., 0] for image in xray])}


STAGE = SiameseGapStage
