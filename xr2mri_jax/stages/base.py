"""The protocols of a stage, and functions shared by the stages."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.metrics.base import Mean
from xr2mri_jax.models.sharding import BATCH

Params = Any
ModelState = Any
Batch = Mapping[str, Any]
Values = dict[str, jax.Array]

PICTURED = 4
# The axis over which the devices of a pmapped step share a batch.
AXIS = BATCH


@runtime_checkable
class Stage(Protocol):
    """A unit of training: initialisation, loss, metrics and pictures.

    `batch` is a batch of `data.batches.make_iterator`: xray f32[b, h, w, 1], mri f32[b, d, h, w,
    1], mask f32[b, d, h, w, 1], index i32[b], example_mask f32[b]; a stage reads only its `fields`.

    Attributes:
      name: the stage's name in the config.
      fields: the batch entries that it reads.
    """

    name: str
    fields: tuple[str, ...]

    def create(self, rng: jax.Array) -> tuple[Params, ModelState]:
        """New parameters and model state, with shapes from the config alone; traceable."""
        ...

    def init(self, rng: jax.Array, batch: Batch) -> tuple[Params, ModelState]:
        """Initial parameters and model state: `create`, then the parameters of earlier stages.

        Args:
          rng: key of the initial parameters.
          batch: arrays or abstract shapes of one batch, to check the config.

        Raises:
          InputError: if the batch does not fit the config or an earlier stage is missing.
        """
        ...

    def fitted(self, params: Params, batches: Iterable[Batch]) -> Params:
        """The parameters with values computed from training examples before the first step.

        Args:
          params: parameters from `init`.
          batches: a pass over training examples without augmentation; padding has mask 0.
        """
        ...

    def trainable(self, params: Params) -> Any:
        """A pytree of bool like `params`: False for frozen parameters."""
        ...

    def loss(
        self, params: Params, model_state: ModelState, batch: Batch, rng: jax.Array, train: bool
    ) -> tuple[jax.Array, tuple[ModelState, Values]]:
        """The loss of every example.

        Args:
          params: the parameters.
          model_state: other variables of the model, such as running statistics.
          batch: see the class.
          rng: key[b], one per example, derived from step and example index, so that the result does
            not depend on the number of devices.
          train: False disables noise such as dropout.

        Returns:
          f32[b], and (new model state, metrics f32[b] by name).
        """
        ...

    def evaluate(self, params: Params, model_state: ModelState, batch: Batch) -> Values:
        """Metrics of every example, f32[b] by name, without noise."""
        ...

    def pictures(
        self, params: Params, model_state: ModelState, batch: Batch
    ) -> dict[str, np.ndarray]:
        """Pictures of a batch by name: [h, w] or [h, w, 3] in [0, 1]."""
        ...


@runtime_checkable
class Predicts(Protocol):
    """A stage that predicts volumes from radiographs."""

    def predict(self, params: Params, model_state: ModelState, xray: Any) -> jax.Array:
        """xray f32[b, h, w, 1] in [0, 1] to f32[b, d, h, w, 1] in [0, 1]."""
        ...


@runtime_checkable
class Surfaces(Predicts, Protocol):
    """A stage that can also predict the surfaces of the knee, depending on its config."""

    def surfaces(self, params: Params, model_state: ModelState, xray: Any) -> tuple[Any, Any]:
        """xray f32[b, h, w, 1] to f32[b, d, h, w, 1], and signed distances in mm or None.

        The distances are f32[b, k, d / 2, h / 4, w / 4], negative inside the structure k.
        """
        ...


@runtime_checkable
class Reconstructs(Protocol):
    """A stage that encodes radiographs and reconstructs them."""

    def reconstruct(self, params: Params, xray: Any) -> jax.Array:
        """xray f32[b, h, w, 1] in [0, 1] to its reconstruction of the same shape and range."""
        ...


@runtime_checkable
class Encodes(Protocol):
    """A stage that encodes radiographs as hidden variables."""

    def hidden(self, params: Params, xray: Any) -> jax.Array:
        """xray f32[b, h, w, 1] in [0, 1] to the bottleneck's hidden variables f32[b, ...]."""
        ...


@runtime_checkable
class Classifies(Protocol):
    """A stage that classifies radiographs by grade.

    Attributes:
      grades: the Kellgren-Lawrence grade of each class, ascending.
      spec: spec of the network for `models.classifiers.make`.
    """

    grades: tuple[int, ...]
    spec: dict[str, Any]

    def classify(self, params: Params, model_state: ModelState, xray: Any) -> jax.Array:
        """xray f32[b, h, w, 1] in [0, 1] to logits f32[b, k], one class per entry of `grades`."""
        ...


@runtime_checkable
class Summarises(Protocol):
    """A stage with metrics of a split that are not means over its examples."""

    def summarise(self, total: Mapping[str, Mean]) -> dict[str, float]:
        """The metrics of a split from the merged results of `Stage.evaluate`."""
        ...


@runtime_checkable
class TrainsOnFewerFields(Protocol):
    """A stage whose training reads fewer batch entries than its fitting and evaluation.

    Attributes:
      train_fields: the batch entries that `Stage.loss` reads in training.
    """

    train_fields: tuple[str, ...]


@runtime_checkable
class SelectsCheckpoint(Protocol):
    """A stage whose best checkpoint is used instead of the last one.

    Attributes:
      chosen_by: the evaluation metric whose highest value selects the checkpoint.
    """

    chosen_by: str


class AllTrained:
    """Base of a stage with neither fitted nor frozen parameters."""

    def fitted(self, params: Params, batches: Iterable[Batch]) -> Params:
        """The parameters unchanged."""
        del batches
        return params

    def trainable(self, params: Params) -> Any:
        """All parameters."""
        return constant(params, True)


def initialise(stage: Stage, rng: jax.Array) -> tuple[Params, ModelState]:
    """`stage.create` compiled without optimisation.

    The initialisation of all kernels is one large program that runs only once. On the CPU,
    compiling it with optimisation takes ten times as long (21 s instead of 2 s for a small
    auto-encoder).
    """
    options: dict[str, Any] = {"xla_backend_optimization_level": 0}
    return jax.jit(stage.create, compiler_options=options)(rng)


def compute_dtype(precision: str) -> Any:
    """The dtype of a model's arithmetic; parameters are always f32.

    'auto' is bfloat16 on GPU and TPU and float32 on the CPU, where bfloat16 is emulated.
    """
    if precision == "auto":
        precision = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    return {"float32": jnp.float32, "bfloat16": jnp.bfloat16}[precision]


def require_shape(batch: Batch, field: str, wanted: Sequence[int], key: str) -> None:
    """Checks the shape of a batch entry against the config.

    Raises:
      InputError: if the shape of `batch[field]`, without its first axis, is not `wanted`.
    """
    if field not in batch:
        raise InputError(f"the dataset has no {field!r}, which this stage needs")
    found = tuple(batch[field].shape[1:])
    if found != tuple(wanted):
        raise InputError(
            f"the dataset's {field} has shape {found}, expected {tuple(wanted)} from config.{key}: "
            "choose another dataset or size"
        )


def require_range(
    config: Mapping[str, Any], key: str, least: float, below: float = math.inf
) -> None:
    """Checks the number at a dotted key, as in "data.held_out", against least <= value < below.

    Raises:
      InputError: naming the key, its value and the limit.
    """
    value: Any = config
    for part in key.split("."):
        value = value[part]
    if not value >= least:
        raise InputError(f"config.{key} is {value!r}, expected at least {least:g}")
    if not value < below:
        raise InputError(f"config.{key} is {value!r}, expected less than {below:g}")


def plain_fields(spec: Any) -> dict[str, Any]:
    """The JSON-able fields of a frozen spec, with lists instead of tuples."""
    fields = dataclasses.asdict(spec).items()
    return {name: list(v) if isinstance(v, tuple) else v for name, v in fields}


def constant(params: Params, value: bool) -> Any:
    """A pytree like `params` with `value` at every leaf."""
    return jax.tree.map(lambda _: value, params)
