"""Predicts every measured knee from what is seen of it and from all other knees."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from xr2mri_jax.evaluation.real_pairs.knee import Bone
from xr2mri_jax.evaluation.real_pairs.mean_shape import bone_of
from xr2mri_jax.tools.frontal.regression import departures, mixtures, strengths_of_others
from xr2mri_jax.tools.frontal.samples import Reference, Sample

# From which knees a prediction is mixed: the other measured ones, drawn ones, or both. The mean is
# always that of the other measured knees.
OTHERS, DRAWN, BOTH = "others", "drawn", "both"
Features = Callable[[Sample], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Predicted:
    """Every measured knee, predicted without itself.

    Attributes:
      offset_mm: by bone f64[knees]: mean offset between the surfaces of prediction and truth beyond
        a similarity.
      bone: of a knee's number and a name the predicted bone, where the reference lies.
    """

    offset_mm: dict[str, np.ndarray]
    bone: Callable[[int, str], Bone]


class Ceiling:
    """Measured knees, and for each of them drawn knees whose statistics leave it out."""

    def __init__(
        self,
        reference: Reference,
        measured: Sequence[Sample],
        families: Sequence[Sequence[Sample]],
        family_of: Callable[[int], int],
    ) -> None:
        """`family_of` gives the number of the family that leaves a measured knee out."""
        self._reference, self._measured = reference, measured
        self._families = families
        self._number = [family_of(i) for i in range(len(measured))]
        self._names = list(measured[0].shapes)
        self._offsets = self._offsets_of(measured)
        self._family_offsets = [self._offsets_of(family) for family in families]

    def mean(self) -> Predicted:
        """The mean of all other measured knees."""
        return self._mixed(lambda i, own: np.zeros((1, len(own))), OTHERS)

    def family_mean(self) -> Predicted:
        """The mean of the drawn knees."""
        means = [
            {name: np.mean([one.shapes[name].astype(float) for one in family], axis=0)
             for name in self._names}
            for family in self._families
        ]  # fmt: skip
        offset_mm = {
            name: np.array([
                np.abs(of_bone[i] - self._family_offsets[number][name].mean(axis=0)).mean()
                for i, number in enumerate(self._number)
            ])
            for name, of_bone in self._offsets.items()
        }  # fmt: skip
        return Predicted(offset_mm, lambda i, name: self._bone(name, means[self._number[i]][name]))

    def seen(
        self, features: Features, known: str, read: Mapping[int, np.ndarray] | None = None
    ) -> Predicted:
        """What is seen of every knee tells how others are mixed.

        Args:
          features: f[n] in mm of a sample.
          known: which are mixed: OTHERS, DRAWN or BOTH.
          read: by knee the same features as somebody else reads them, say in a radiograph; of each
            counts how it departs from the mean of the rest. Knees that are not in it get the mean.
            None: the true ones.
        """
        measured = _stacked(self._measured, features)
        families = [] if known == OTHERS else [_stacked(f, features) for f in self._families]

        def departed(i: int, own: np.ndarray) -> np.ndarray:
            if read is None:
                return measured[i] - measured[own].mean(axis=0)
            if i not in read:
                return np.zeros(measured.shape[1])
            return read[i] - np.mean([one for j, one in read.items() if j != i], axis=0)

        def mixed(i: int, own: np.ndarray) -> np.ndarray:
            nothing, seen = measured[:0], departed(i, own)
            if known == OTHERS:
                return mixtures(measured[own], nothing, seen)
            drawn = families[self._number[i]]
            if known == BOTH:
                return mixtures(measured[own], drawn, seen)
            found = mixtures(drawn, nothing, seen)
            return np.concatenate([np.zeros((len(found), len(own))), found], axis=1)

        return self._mixed(mixed, known)

    def _mixed(self, mixed: Callable[[int, np.ndarray], np.ndarray], known: str) -> Predicted:
        """The mixture of every knee, as strong as is best for the others."""
        count = len(self._measured)
        others = [np.delete(np.arange(count), i) for i in range(count)]
        mixes = [mixed(i, own) for i, own in enumerate(others)]
        chosen, offset_mm = {}, {}
        for name, offsets in self._offsets.items():
            errors = np.empty((count, len(mixes[0])))
            for i, own in enumerate(others):
                drawn = self._family_offsets[self._number[i]][name] if known != OTHERS else ()
                left = departures(offsets[own], np.reshape(drawn, (-1, offsets.shape[1])))
                predicted = offsets[own].mean(axis=0) + mixes[i] @ left
                errors[i] = np.abs(predicted - offsets[i]).mean(axis=1)
            chosen[name] = strengths_of_others(errors)
            offset_mm[name] = errors[np.arange(count), chosen[name]]

        def bone(i: int, name: str) -> Bone:
            own = [self._measured[int(j)] for j in others[i]]
            shapes = _stacked(own, lambda one: one.shapes[name])
            family = self._families[self._number[i]] if known != OTHERS else []
            drawn = [one.shapes[name] for one in family]
            left = departures(shapes, np.reshape(drawn, (-1, shapes.shape[1])))
            mean = shapes.mean(axis=0, dtype=np.float64)
            return self._bone(name, mean + mixes[i][chosen[name][i]] @ left)

        return Predicted(offset_mm, bone)

    def _bone(self, name: str, values: np.ndarray) -> Bone:
        return bone_of(self._reference.whole(name, values))

    def _offsets_of(self, knees: Sequence[Sample]) -> dict[str, np.ndarray]:
        of = self._reference.offsets
        return {n: np.stack([of(n, one.shapes[n]) for one in knees]) for n in self._names}


def _stacked(samples: Sequence[Sample], features: Features) -> np.ndarray:
    return np.stack([np.atleast_1d(features(one)) for one in samples])
