"""Suite `generator`: the generator's forward pass and training step, JAX beside PyTorch."""

import dataclasses
import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from xr2mri_jax.models import cae, generator
from xr2mri_jax.tools.benchmarks import operations, timing

LEARNING_RATE = 1e-3
MISSING = "PyTorch is not installed (extra [bench]): JAX was measured alone"


def run(
    volume_shape: tuple[int, int, int] = (64, 128, 128),
    repeats: int = 5,
    batch_size: int = 2,
    overrides: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Measures the default generator at `volume_shape`, and its PyTorch twin if torch is installed.

    Both have the same weights and inputs; outputs and gradients are compared first. The forward
    pass has batch 1, the training step (loss, gradients, Adam update) `batch_size`; float32.

    Args:
      volume_shape: (d, h, w); the radiograph is (h, w).
      repeats: timed calls of each function, taking turns.
      batch_size: of the training step.
      overrides: sizes of the generator that differ from the default.

    Returns:
      JSON-able: "machine", "spec", "torch" (its version, or that it is missing), "agreement",
      "seconds" by function, "ratios" JAX / PyTorch of the medians.
    """
    spec = {"volume_shape": volume_shape, **(overrides or {})}
    model = generator.make(spec)
    assert isinstance(model, generator.Generator)  # the default form is "pyramid"
    hidden = _hidden(volume_shape, batch_size)
    target = np.random.default_rng(1).random((batch_size, *volume_shape, 1), np.float32)
    params = _noise(model, hidden)
    functions = _jax_functions(model, params, hidden, target)
    report: dict[str, Any] = {
        "suite": "generator",
        "machine": timing.machine(),
        "device": jax.devices()[0].device_kind,
        "spec": dataclasses.asdict(model.spec),
        "parameters": sum(int(np.prod(p.shape)) for p in jax.tree.leaves(params)),
        "training_batch_size": batch_size,
    }
    torch_missing = importlib.util.find_spec("torch") is None
    report["torch"] = MISSING if torch_missing else report["machine"]["versions"]["torch"]
    if not torch_missing:
        twin = _Twin(model.spec, params, hidden, target)
        report["agreement"] = _agreement(model, params, hidden, target, twin)
        functions |= {"torch forward": twin.forward, "torch training step": twin.training_step}
    report["seconds"] = timing.interleaved(functions, repeats)
    report["operations"] = operations.run(model.spec, repeats, with_torch=not torch_missing)
    if not torch_missing:
        medians = {name: times["median_s"] for name, times in report["seconds"].items()}
        report["ratios"] = {
            kind: medians[f"jax {kind}"] / medians[f"torch {kind}"]
            for kind in ("forward", "training step")
        }
    return report


def table(report: Mapping[str, Any]) -> str:
    """The report as lines for the screen."""
    machine = report["machine"]
    lines = [
        f"generator {tuple(report['spec']['volume_shape'])}, {report['parameters']:,} parameters, "
        f"{machine['cores']} cores, load {machine['load_average'][0]:.1f}",
        f"torch: {report['torch']}",
    ]
    seconds = report["seconds"] | report["operations"]["seconds"]
    lines += timing.rows("function", seconds, "ms", digits=1)
    for kind, ratio in report.get("ratios", {}).items():
        lines.append(f"JAX / PyTorch, {kind}: {ratio:.2f}")
    for name, value in report.get("agreement", {}).items():
        lines.append(f"{name}: {value:.1e}")
    return "\n".join(lines)


def _hidden(volume_shape: tuple[int, int, int], batch: int) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(0)
    shapes = cae.hidden_shapes({"preset": "compact", "image_shape": volume_shape[1:]})
    return tuple(random.standard_normal((batch, *shape), np.float32) for shape in shapes)


def _noise(model: generator.Generator, hidden: Any) -> Any:
    """Noise as parameters, at an initialisation's scale: zeros would hide a difference."""
    random = np.random.default_rng(2)

    def values(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        fan_in = max(int(np.prod(leaf.shape[:-1])), 100)
        return random.standard_normal(leaf.shape, np.float32) / np.float32(fan_in**0.5)

    shapes = jax.eval_shape(model.init, jax.random.key(0), hidden)["params"]
    return jax.device_put(jax.tree.map(values, shapes))


def _loss(model: generator.Generator, params: Any, hidden: Any, target: Any) -> jax.Array:
    return jnp.mean(jnp.abs(model.apply({"params": params}, hidden) - target))


def _jax_functions(
    model: generator.Generator, params: Any, hidden: Any, target: np.ndarray
) -> dict[str, Callable[[], Any]]:
    optimizer = optax.adam(LEARNING_RATE)
    hidden, target = jax.device_put((hidden, target))
    one = tuple(h[:1] for h in hidden)
    state = jax.tree.map(jnp.copy, (params, optimizer.init(params)))
    forward = jax.jit(model.apply)

    def step(state: Any, hidden: Any, target: Any) -> Any:
        params, moments = state
        grads = jax.grad(lambda p: _loss(model, p, hidden, target))(params)
        updates, moments = optimizer.update(grads, moments)
        return optax.apply_updates(params, updates), moments

    step = jax.jit(step, donate_argnums=0)

    def training_step() -> None:
        nonlocal state
        state = jax.block_until_ready(step(state, hidden, target))

    return {
        "jax forward": lambda: jax.block_until_ready(forward({"params": params}, one)),
        "jax training step": training_step,
    }


class _Twin:
    """The PyTorch generator with the same weights and inputs; torch is imported here."""

    def __init__(
        self, spec: generator.GeneratorSpec, params: Any, hidden: Any, target: np.ndarray
    ) -> None:
        import torch

        from xr2mri_jax.tools.benchmarks import torch_generator

        self.from_flax = lambda tree: torch_generator.from_flax(tree, spec)
        self.no_grad = torch.no_grad
        self.model = torch_generator.TorchGenerator(spec, tuple(h.shape[-1] for h in hidden))
        self.model.load_state_dict(self.from_flax(params))
        self.hidden = tuple(
            torch.tensor(np.ascontiguousarray(h.transpose(0, 3, 1, 2))) for h in hidden
        )
        self.target = torch.tensor(np.ascontiguousarray(np.moveaxis(target, -1, 1)))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=LEARNING_RATE)

    def forward(self) -> Any:
        with self.no_grad():
            return self.model(tuple(h[:1] for h in self.hidden))

    def gradients(self) -> Any:
        """Leaves the gradients of the loss on the parameters; returns the output."""
        self.optimizer.zero_grad()
        output = self.model(self.hidden)
        (output - self.target).abs().mean().backward()
        return output

    def training_step(self) -> None:
        self.gradients()
        self.optimizer.step()


def _agreement(
    model: generator.Generator, params: Any, hidden: Any, target: np.ndarray, twin: _Twin
) -> dict[str, float]:
    """Largest difference of the outputs, and of the gradients relative to each one's maximum."""
    output = np.asarray(jax.jit(model.apply)({"params": params}, hidden))
    gradient = jax.jit(jax.grad(lambda p: _loss(model, p, hidden, target)))
    grads = twin.from_flax(gradient(params))
    reference = np.moveaxis(twin.gradients().detach().numpy(), 1, -1)
    worst = 0.0
    for name, parameter in twin.model.named_parameters():
        assert parameter.grad is not None
        expected = parameter.grad.numpy()
        error = np.abs(grads[name].numpy() - expected).max() / max(np.abs(expected).max(), 1e-12)
        worst = max(worst, float(error))
    return {
        "largest output difference": float(np.abs(output - reference).max()),
        "largest relative gradient difference": worst,
    }
