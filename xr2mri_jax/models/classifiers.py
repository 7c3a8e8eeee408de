"""Selects the classifier named by a config: Siamese-GAP or one of its baselines."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

import jax.numpy as jnp

from xr2mri_jax.errors import InputError
from xr2mri_jax.models import classifier_baselines, siamese_gap
from xr2mri_jax.models.layers import Dtype


class _Kind(Protocol):
    """A module of this package that makes one kind of network."""

    def read_spec(self, spec: Mapping[str, Any]) -> Any: ...

    def make(self, spec: Mapping[str, Any], dtype: Dtype, axis_name: str | None) -> Any: ...


KINDS: dict[str, _Kind] = {"siamese_gap": siamese_gap, **classifier_baselines.KINDS}


def full_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A classifier's spec with its kind and every size written out, with lists for tuples.

    Args:
      spec: `kind`, a key of KINDS ("siamese_gap" by default), and the kind's own fields.

    Raises:
      InputError: an unknown kind or key, a wrong type or value.
    """
    kind, sizes = _divided(spec)
    fields = dataclasses.asdict(KINDS[kind].read_spec(sizes))
    plain = {name: list(v) if isinstance(v, tuple) else v for name, v in fields.items()}
    return {"kind": kind, **plain}


def make(spec: Mapping[str, Any], dtype: Dtype = jnp.float32, axis_name: str | None = None) -> Any:
    """The network of a spec: a Flax module from radiographs f32[b, h, w, 1] to logits f32[b, k].

    Called as module(xray, train=False, keys=None); collections "params" and "batch_stats"; the
    method `features` returns the f32[b, n] that the last layer takes.
    """
    kind, sizes = _divided(spec)
    return KINDS[kind].make(sizes, dtype, axis_name)


def _divided(spec: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    kind = spec.get("kind", "siamese_gap")
    if kind not in KINDS:
        raise InputError(
            f"config.model.classifier.kind is {kind!r}, expected one of {', '.join(KINDS)}"
        )
    return kind, {name: value for name, value in spec.items() if name != "kind"}
