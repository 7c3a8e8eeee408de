"""The three networks of the suite `gpu`: their training steps, forward passes and inputs."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from xr2mri_jax import losses
from xr2mri_jax.models import cae, generator, siamese_gap
from xr2mri_jax.training import optimizer
from xr2mri_jax.training import state as states
from xr2mri_jax.training.step import Steps

NAMES = ("generator", "cae", "siamese_gap")
DTYPES: Mapping[str, Any] = {"bfloat16": jnp.bfloat16, "float32": jnp.float32}
OPTIMIZER = {
    "learning_rate": 1e-3,
    "muon_learning_rate": 0.0,
    "warmup_steps": 10,
    "weight_decay": 1e-4,
    "clip_norm": 1.0,
}
EMA = 0.999


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes of the inputs and networks.

    Attributes:
      volume: (d, h, w) of the generator; its radiograph is (h, w).
      image: (h, w) of the auto-encoder.
      grading: (h, w) of Siamese-GAP.
      generator: overrides of the generator's spec.
      cae: overrides of the auto-encoder's spec.
      siamese_gap: overrides of Siamese-GAP's spec.
      batches: batch sizes by network, each twice the one before.
      layer_batch: batch size at which layers are timed.
      options: of the compiler.
    """

    volume: tuple[int, int, int]
    image: tuple[int, int]
    grading: tuple[int, int]
    generator: Mapping[str, Any]
    cae: Mapping[str, Any]
    siamese_gap: Mapping[str, Any]
    batches: Mapping[str, tuple[int, ...]]
    layer_batch: int
    options: dict[str, Any]


def _doubled(first: int, last: int) -> tuple[int, ...]:
    return tuple(first * 2**i for i in range((last // first).bit_length()))


FULL = Sizes(
    (64, 128, 128),
    (128, 128),
    (224, 224),
    {},
    {},
    {},
    {
        "generator": _doubled(16, 512),
        "cae": _doubled(64, 4096),
        "siamese_gap": _doubled(64, 4096),
    },
    32,
    {},
)
TINY = Sizes(
    (8, 16, 16),
    (16, 16),
    (32, 32),
    {"channels": (3, 4), "widths": (6, 4), "blocks": (1, 1)},
    {"channels": (4, 8)},
    {"channels": (4, 4, 4, 4)},
    dict.fromkeys(NAMES, (1, 2)),
    2,
    {"xla_backend_optimization_level": 0},
)


@dataclasses.dataclass(frozen=True)
class Case:
    """A network with its training step.

    Attributes:
      name: one of `NAMES`.
      module: the Flax module.
      steps: the pure steps of a training run: AdamW, clipping, moving average.
      fresh: () -> TrainState, traceable.
      batch: size -> inputs, traceable.
      forward: (params, model_state, batch) -> outputs.
      inputs: batch -> the module's positional arguments.
    """

    name: str
    module: Any
    steps: Steps
    fresh: Callable[[], states.TrainState]
    batch: Callable[[int], dict[str, jax.Array]]
    forward: Callable[[Any, Any, Any], Any]
    inputs: Callable[[Any], tuple[Any, ...]]

    def new_state(self) -> states.TrainState:
        """A new state on the device; its initialisation is compiled without optimisation."""
        options: dict[str, Any] = {"xla_backend_optimization_level": 0}
        return jax.jit(self.fresh, compiler_options=options)()


class _Network:
    """The part of a stage that a step needs, without datasets and folders."""

    def __init__(self, apply: Callable[..., Any], loss: Callable[[Any, Any], jax.Array]):
        self._apply, self._loss = apply, loss

    def loss(self, params: Any, model_state: Any, batch: Any, rng: Any, train: bool) -> Any:
        """See `stages.base.Stage`."""
        found, model_state = self._apply(params, model_state, batch, rng, train)
        return self._loss(found, batch), (model_state, {})


def make(name: str, dtype: str, sizes: Sizes) -> Case:
    """The network of that name, computing in a dtype of `DTYPES`; parameters are f32."""
    makers = {"generator": _generator, "cae": _cae, "siamese_gap": _siamese_gap}
    return makers[name](DTYPES[dtype], sizes)


def _case(
    name: str, module: Any, batch: Any, inputs: Any, apply: Any, loss: Any, variables: Any
) -> Case:
    params = jax.eval_shape(variables)[0]
    trainable = jax.tree.map(lambda _: True, params)
    tx = optimizer.make(OPTIMIZER, 1000, trainable)
    network: Any = _Network(apply, loss)
    steps = Steps(network, tx, optimizer.schedule(OPTIMIZER, 1000), EMA, trainable)

    def fresh() -> states.TrainState:
        params, model_state = variables()
        return states.create(params, model_state, tx)

    def forward(params: Any, model_state: Any, batch: Any) -> Any:
        return apply(params, model_state, batch, None, False)[0]

    return Case(name, module, steps, fresh, batch, forward, inputs)


def _numbered(size: int) -> dict[str, jax.Array]:
    return {"index": jnp.arange(size), "example_mask": jnp.ones(size, jnp.float32)}


def _noise(number: int, shape: tuple[int, ...]) -> jax.Array:
    """f32 in [0, 1]; XLA compiles a sine faster than its random numbers."""
    places = jax.lax.iota(jnp.float32, math.prod(shape))
    return (0.5 + 0.5 * jnp.sin((number + 12.9898) * places)).reshape(shape)


def generator_spec(sizes: Sizes) -> dict[str, Any]:
    """The spec of the generator for `models.generator.make`."""
    return {"volume_shape": sizes.volume, **sizes.generator}


def hidden_shapes(sizes: Sizes) -> tuple[tuple[int, ...], ...]:
    """Shapes of the generator's inputs, finest first, without the batch axis."""
    overrides = {"channels": sizes.cae["channels"]} if sizes.cae else {}
    return cae.hidden_shapes({"preset": "compact", "image_shape": sizes.volume[1:], **overrides})


def _generator(dtype: Any, sizes: Sizes) -> Case:
    module, shapes = generator.make(generator_spec(sizes), dtype), hidden_shapes(sizes)

    def inputs(batch: Any) -> tuple[Any, ...]:
        return (tuple(batch[f"hidden{level}"] for level in range(len(shapes))),)

    def batch(size: int) -> dict[str, jax.Array]:
        made = {f"hidden{i}": _noise(i, (size, *shape)) for i, shape in enumerate(shapes)}
        return {**made, "mri": _noise(9, (size, *sizes.volume, 1)), **_numbered(size)}

    def apply(params: Any, model_state: Any, batch: Any, rng: Any, train: bool) -> Any:
        return module.apply({"params": params}, *inputs(batch)), model_state

    def variables() -> Any:
        return module.init(jax.random.key(0), *inputs(batch(1)))["params"], {}

    def loss(found: Any, batch: Any) -> jax.Array:
        return losses.l1(found, batch["mri"])

    return _case("generator", module, batch, inputs, apply, loss, variables)


def _cae(dtype: Any, sizes: Sizes) -> Case:
    spec = {"preset": "compact", "image_shape": sizes.image, **sizes.cae}
    module = cae.make(spec, dtype)

    def batch(size: int) -> dict[str, jax.Array]:
        return {"xray": _noise(0, (size, *sizes.image, 1)), **_numbered(size)}

    def apply(params: Any, model_state: Any, batch: Any, rng: Any, train: bool) -> Any:
        return module.apply({"params": params}, batch["xray"]), model_state

    def variables() -> Any:
        return module.init(jax.random.key(0), batch(1)["xray"])["params"], {}

    def loss(found: Any, batch: Any) -> jax.Array:
        return losses.l1(found, batch["xray"])

    return _case("cae", module, batch, lambda b: (b["xray"],), apply, loss, variables)


def _siamese_gap(dtype: Any, sizes: Sizes) -> Case:
    module = siamese_gap.make({"image_shape": sizes.grading, **sizes.siamese_gap}, dtype)

    def batch(size: int) -> dict[str, jax.Array]:
        made = {"xray": _noise(0, (size, *sizes.grading, 1)), "label": jnp.arange(size) % 2}
        return {**made, **_numbered(size)}

    def apply(params: Any, model_state: Any, batch: Any, rng: Any, train: bool) -> Any:
        variables = {"params": params, **model_state}
        if not train:
            return module.apply(variables, batch["xray"]), model_state
        changed: Any = ["batch_stats"]
        return module.apply(variables, batch["xray"], True, rng, mutable=changed)

    def variables() -> Any:
        made = dict(module.init(jax.random.key(0), batch(1)["xray"]))
        return made.pop("params"), made

    def loss(found: Any, batch: Any) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(found, batch["label"])

    return _case("siamese_gap", module, batch, lambda b: (b["xray"], True), apply, loss, variables)
