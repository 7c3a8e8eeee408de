"""What a stage is: the protocol that training knows, and what the stages share."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from xr2mri_jax import workdir
from xr2mri_jax.errors import InputError

Params = Any
ModelState = Any
Batch = Mapping[str, Any]
Values = dict[str, jax.Array]

PICTURED = 4
# The axis over which the devices of a pmapped step share a batch.
AXIS = "batch"


@runtime_checkable
class Stage(Protocol):
    """One thing that is trained: how it starts, its loss, its metrics, its pictures.

    `batch` is what `input.make_iterator` yields: xray f32[b, h, w, 1], mri f32[b, d, h, w, 1], mask
    f32[b, d, h, w, 1], index i32[b], example_mask f32[b]; a stage reads only `fields` of it.

    Attributes:
      name: the stage's name in the config.
      fields: the batch entries that it reads.
    """

    name: str
    fields: tuple[str, ...]

    def create(self, rng: jax.Array) -> tuple[Params, ModelState]:
        """From-scratch parameters and model state, shapes from the config alone; traceable."""
        ...

    def init(self, rng: jax.Array, batch: Batch) -> tuple[Params, ModelState]:
        """What training starts from: `create`, then the earlier stages' parameters.

        Args:
          rng: key of the initial parameters.
          batch: arrays or abstract shapes of one batch, against which the config is checked.

        Raises:
          InputError: where the batch does not fit the config or an earlier stage is missing.
        """
        ...

    def fitted(self, params: Params, batches: Iterable[Batch]) -> Params:
        """What `init` gave, with what is set from training examples before the first step.

        Args:
          params: from `init`.
          batches: a pass over training examples without augmentation; padding has mask 0.
        """
        ...

    def trainable(self, params: Params) -> Any:
        """A pytree of bool like `params`: False where a parameter must stay as it is."""
        ...

    def loss(
        self, params: Params, model_state: ModelState, batch: Batch, rng: jax.Array, train: bool
    ) -> tuple[jax.Array, tuple[ModelState, Values]]:
        """The loss of every example.

        Args:
          params: the parameters.
          model_state: what else the model carries (running statistics).
          batch: see the class.
          rng: key[b], one an example, derived from the step and the example's index and never from
            the device, so that any number of devices gives the same numbers.
          train: False switches noise such as dropout off.

        Returns:
          f32[b], and the new model state with metrics f32[b] by name.
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


class Predicts(Protocol):
    """A stage that turns radiographs into volumes."""

    def predict(self, params: Params, model_state: ModelState, xray: Any) -> jax.Array:
        """xray f32[b, h, w, 1] in [0, 1] to f32[b, d, h, w, 1] in [0, 1]."""
        ...


def created(stage: Stage, rng: jax.Array) -> tuple[Params, ModelState]:
    """`stage.create` compiled without optimisation.

    The random numbers of every kernel are unrolled into one program that runs once: on the CPU
    optimising it takes ten times as long (21 s against 2 s for a small auto-encoder).
    """
    options: dict[str, Any] = {"xla_backend_optimization_level": 0}
    return jax.jit(stage.create, compiler_options=options)(rng)


def compute_dtype(precision: str) -> Any:
    """The dtype of a model's arithmetic; parameters are f32 always.

    'auto' is bfloat16 on GPU and TPU and float32 on the CPU, where bfloat16 is emulated.
    """
    if precision == "auto":
        precision = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    return {"float32": jnp.float32, "bfloat16": jnp.bfloat16}[precision]


def require_shape(batch: Batch, field: str, wanted: Sequence[int], key: str) -> None:
    """Holds a batch entry to the size that the config names.

    Raises:
      InputError: where `batch[field]`, without its first axis, is not of shape `wanted`.
    """
    if field not in batch:
        raise InputError(f"the dataset has no {field!r}, which this stage needs")
    found = tuple(batch[field].shape[1:])
    if found != tuple(wanted):
        raise InputError(
            f"the dataset's {field} has shape {found}, config.{key} asks for {tuple(wanted)}: "
            "choose another dataset or size"
        )


def earlier_workdir(key: str, value: str, command: str) -> Path:
    """The workdir of an earlier stage that `config[key]` names.

    Args:
      key: the config's key.
      value: its value, a folder.
      command: what trains that stage.

    Raises:
      InputError: where the value is empty or no run is in the folder; the line tells the command.
    """
    if not value:
        raise InputError(
            f"config.{key} is empty: train that stage first with `{command}` and name its folder "
            f"with --config.{key}=DIR"
        )
    if not (Path(value) / "config.json").is_file():
        raise InputError(
            f"config.{key}={value} has no config.json in it: train it first with `{command}`"
        )
    return Path(value)


def model_spec(directory: Path, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """config.model[name] of the run in `directory`, which a spec that is given must agree with.

    Raises:
      InputError: where that run's config has none, or a key of `given` has another value there.
    """
    found = workdir.read_config(directory).get("model", {}).get(name)
    if not found:
        raise InputError(f"{directory}/config.json: it has no model.{name}")
    return agreed(found, name, given, directory)


def agreed(
    found: Mapping[str, Any], name: str, given: Mapping[str, Any], where: Any
) -> dict[str, Any]:
    """The spec `found`, after holding the keys of `given` to it.

    Raises:
      InputError: where a key of `given` is another in `found`, which comes from `where`.
    """
    for key in sorted(given):
        if key not in found or given[key] != found[key]:
            raise InputError(
                f"config.model.{name}.{key} is {given[key]!r}, but {where} was trained with "
                f"{found.get(key)!r}: leave config.model.{name} empty to take it from there"
            )
    return dict(found)


def plain_fields(spec: Any) -> dict[str, Any]:
    """The fields of a frozen spec as JSON holds them, lists for tuples."""
    fields = dataclasses.asdict(spec).items()
    return {name: list(v) if isinstance(v, tuple) else v for name, v in fields}


def averaged_params(directory: Path) -> dict[str, Any]:
    """The averaged parameters of the newest checkpoint in `directory`."""
    return workdir.load_state(directory)["ema_params"]


def replaced(params: dict[str, Any], name: str, loaded: Any, source: Path) -> dict[str, Any]:
    """`params` with the part `name` taken from an earlier stage.

    Raises:
      InputError: where the two trees differ in structure or in a shape.
    """
    ours, theirs = (jax.tree_util.tree_leaves_with_path(tree) for tree in (params[name], loaded))
    shapes = [{jax.tree_util.keystr(k): np.shape(v) for k, v in tree} for tree in (ours, theirs)]
    if shapes[0] != shapes[1]:
        keys = sorted(shapes[0].keys() | shapes[1].keys())
        key = next(k for k in keys if shapes[0].get(k) != shapes[1].get(k))
        raise InputError(
            f"{source}: its {name}{key} has shape {shapes[1].get(key)}, this config's has "
            f"{shapes[0].get(key)}"
        )
    return {**params, name: loaded}


def constant(params: Params, value: bool) -> Any:
    """A pytree like `params` with `value` at every leaf."""
    return jax.tree.map(lambda _: value, params)


def in_row(images: Sequence[Any]) -> np.ndarray:
    """2D images side by side, each stretched to the largest height and its width by nearest pixel.

    Args:
      images: each [h, w]; values outside [0, 1] are clipped.

    Returns:
      f32[h, w] in [0, 1].
    """
    arrays = [np.clip(np.asarray(image, np.float32), 0.0, 1.0) for image in images]
    size = max(max(array.shape) for array in arrays)
    return np.concatenate([_stretched(array, size) for array in arrays], axis=1)


def middle_planes(volume: Any) -> list[np.ndarray]:
    """The coronal [h, w], sagittal [h, d] and axial [d, w] middle planes of [d, h, w].

    The canonical box is a cube, so `in_row` gives the three their true proportions.
    """
    volume = np.asarray(volume, np.float32)
    d, h, w = (size // 2 for size in volume.shape)
    return [volume[d], volume[:, :, w].T, volume[:, h]]


def _stretched(image: np.ndarray, size: int) -> np.ndarray:
    rows, columns = (np.arange(size) * n // size for n in image.shape)
    return image[rows][:, columns]
