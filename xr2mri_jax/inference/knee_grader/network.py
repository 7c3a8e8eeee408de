"""The network of a grader, compiled once for a fixed batch size."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from xr2mri_jax.inference.knee_grader.file_format import POSITIVE_GRADE, KneeGrader
from xr2mri_jax.metrics.calibration import AS_IS, Scaling
from xr2mri_jax.models import classifiers, siamese_gap, siamese_gap_inference, views

# Options of XLA's CPU backend.
_ONE_CORE: dict[str, str | bool] = {"xla_cpu_multi_thread_eigen": False}


class NetworkOutput(NamedTuple):
    """The output of a network for b radiographs.

    logits: f64[b, k]; features: f64[b, n]; maps: those of the requested kinds, see
    `siamese_gap_inference.program`; None where the network cannot compute them in the same pass.
    """

    logits: np.ndarray
    features: np.ndarray
    maps: dict[str, tuple[np.ndarray, ...]] | None


class Network:
    """Maps radiographs to logits and features, in batches of a fixed size.

    Attributes:
      batch_size: radiographs per batch; smaller batches are padded.
      one_core: runs on the core of the calling thread, so that batches of several threads do not
        wait for each other; otherwise on all cores.
    """

    def __init__(
        self,
        grader: KneeGrader,
        batch_size: int,
        map_kinds: Sequence[str] = (),
        many: bool = True,
        one_core: bool = False,
    ):
        """Does not compile; the first call or `compile` does.

        Args:
          grader: of the network.
          batch_size: radiographs per batch.
          map_kinds: maps that `predict` returns beside logits and features: of BLOCKS and
            BOUNDARIES of `siamese_gap_inference`.
          many: many radiographs will follow; for a few, the form for many takes longer to start
            than it saves, and there are no maps.
          one_core: see the class; takes effect in the form for many on a CPU.
        """
        self.batch_size = batch_size
        self._shape = (*grader.image_shape, 1)
        self._fast = many and _has_fast_form(grader)
        self.one_core = one_core and self._fast
        run: Callable[..., Any]
        if self._fast:
            spec = {name: value for name, value in grader.network.items() if name != "kind"}
            self._variables: Any = jax.device_put(
                siamese_gap_inference.folded(
                    siamese_gap.read_spec(spec), grader.params, grader.model_state
                )
            )
            run = siamese_gap_inference.program(spec, map_kinds)
        else:
            self._variables = jax.device_put(
                {"params": grader.params, "batch_stats": grader.model_state}
            )
            run = _general(grader)

        def in_float32(variables: Any, xray: Any) -> Any:
            # In float32 on every device, as when temperature and thresholds were determined. By
            # default TPUs multiply float32 in bfloat16 and GPUs in TF32 (jax.lax.Precision).
            with jax.default_matmul_precision("float32"):
                return run(variables, xray)

        self._program = jax.jit(in_float32)
        self._compiled: Callable[..., Any] | None = None

    def compile(self) -> None:
        """Compiles now, without running anything."""
        if self._compiled is None:
            xray = jax.ShapeDtypeStruct((self.batch_size, *self._shape), np.float32)
            options = _ONE_CORE if self.one_core else None
            self._compiled = self._program.lower(self._variables, xray).compile(options)

    def __call__(self, xray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits f64[b, k] and features f64[b, n]; arguments and errors as for `predict`."""
        output = self.predict(xray)
        return output.logits, output.features

    def predict(self, xray: np.ndarray) -> NetworkOutput:
        """The network's output for radiographs f32[b, h, w, 1] in [0, 1].

        Args:
          xray: at most `batch_size`, at least one.

        Raises:
          FloatingPointError: the network's output is not finite.
        """
        count = len(xray)
        padded = np.zeros((self.batch_size, *self._shape), np.float32)
        padded[:count] = xray
        self.compile()
        assert self._compiled is not None
        found = jax.device_get(self._compiled(self._variables, padded))
        logits, features = (np.asarray(value, np.float64)[:count] for value in found[:2])
        if not (np.isfinite(logits).all() and np.isfinite(features).all()):
            raise FloatingPointError("the network gives values that are not finite")
        maps = jax.tree.map(lambda value: value[:count], found[2]) if self._fast else None
        return NetworkOutput(logits, features, maps)


def _has_fast_form(grader: KneeGrader) -> bool:
    """Whether the network runs in the form of `siamese_gap_inference`, which is for CPUs."""
    kind = grader.network.get("kind", "siamese_gap")
    return kind == "siamese_gap" and not grader.views and jax.default_backend() == "cpu"


def _general(grader: KneeGrader) -> Callable[..., Any]:
    """Maps variables and xray f32[b, h, w, 1] to logits and features, on any device."""
    model = classifiers.make(grader.network)

    def logits_and_features(variables: Any, xray: Any) -> Any:
        features = model.apply(variables, xray, method="features")
        return model.apply(variables, features, method="classify"), features

    def predict(variables: Any, xray: Any) -> Any:
        if not grader.views:
            return logits_and_features(variables, xray)
        logits, features = views.over_views(functools.partial(logits_and_features, variables), xray)
        # The novelty score uses the first, unmoved view.
        return jnp.mean(logits, axis=0), features[0]

    return predict


def early_probability(
    logits: np.ndarray, grades: Sequence[int], scaling: Scaling = AS_IS
) -> np.ndarray:
    """Probability f64[b] of grade 2 or more against the lowest of the grades.

    It follows from the probabilities of the grades: (p2 + p3 + p4) / (1 - p1) for grades 0 to 4.
    It includes the higher grades because the odds of grade 2 alone decrease again when a higher
    grade is more likely still.

    Args:
      logits: f[b, k], of the grades.
      grades: k rising grades, with grade 2.
      scaling: how the logits become probabilities.
    """
    scaled = scaling.scaled(logits)
    place = list(grades).index(POSITIVE_GRADE)
    # From the logarithms, so that small probabilities lose no digits.
    return special.expit(special.logsumexp(scaled[:, place:], axis=1) - scaled[:, 0])
