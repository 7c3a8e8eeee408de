"""Predicts every measured knee from its visible features and all other knees."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from xr2mri_jax.evaluation.real_pairs.knee import Bone
from xr2mri_jax.evaluation.real_pairs.mean_shape import bone_of
from xr2mri_jax.tools.frontal.regression import best_of_others, departures, mixtures
from xr2mri_jax.tools.frontal.samples import Reference, Sample

# The knees from which a prediction is mixed: the other measured ones, drawn ones, or both, always
# with smooth deformations of the reference. The mean is always that of the other measured knees.
OTHERS, DRAWN, BOTH = "others", "drawn", "both"
_DEFORMED = (0.0, 0.1, 0.3, 1.0)  # shares of the deformations, relative to 1 for knees
Features = Callable[[Sample], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Predicted:
    """Predictions of every measured knee from the other knees.

    Attributes:
      offset_mm: by bone f64[knees]: mean offset between the surfaces of prediction and truth beyond
        a similarity.
      bone: maps a knee's number and a bone's name to the predicted bone, in the reference's place.
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
        deformed: Sequence[Sample] = (),
    ) -> None:
        """`family_of` gives the number of the family that leaves a measured knee out."""
        self._reference, self._measured = reference, measured
        self._families = families
        self._number = [family_of(i) for i in range(len(measured))]
        self._names = list(measured[0].shapes)
        self._offsets = self._offsets_of(measured)
        self._deformed = deformed
        self._family_offsets = [self._offsets_of(family) for family in families]
        self._deformed_offsets = self._offsets_of(deformed) if deformed else {}

    def mean(self) -> Predicted:
        """The mean of all other measured knees."""
        return self._mixed(lambda _, own: np.zeros((1, len(own))), OTHERS)

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
        """Predicts every knee as a mixture of others from its visible features.

        Args:
          features: f[n] in mm of a sample.
          known: the knees to mix: OTHERS, DRAWN or BOTH.
          read: by knee, the same features from another source, such as a radiograph; the departures
            from their mean are used. Knees without an entry get the mean. None: the true features.
        """
        measured = _stacked(self._measured, features)
        families = [] if known == OTHERS else [_stacked(f, features) for f in self._families]
        deformed = _stacked(self._deformed, features) if self._deformed else None
        shares: list[tuple[float, ...]] = [(1.0,)]
        if known == BOTH:
            shares = [(1.0, 1.0)] if deformed is None else [(1.0, 1.0, s) for s in _DEFORMED]

        def mixed(i: int, own: np.ndarray) -> np.ndarray:
            if read is None:
                departed = measured[i] - measured[own].mean(axis=0)
            elif i in read:
                departed = read[i] - np.mean([one for j, one in read.items() if j != i], axis=0)
            else:
                departed = np.zeros(measured.shape[1])
            drawn = None if known == OTHERS else families[self._number[i]]
            return mixtures(_kinds(known, measured[own], drawn, deformed), shares, departed)

        return self._mixed(mixed, known)

    def _mixed(self, mixed: Callable[[int, np.ndarray], np.ndarray], known: str) -> Predicted:
        """The mixture for every knee, by the candidate that is best for the others."""
        count = len(self._measured)
        others = [np.delete(np.arange(count), i) for i in range(count)]
        mixes = [mixed(i, own) for i, own in enumerate(others)]
        chosen, offset_mm = {}, {}
        for name, offsets in self._offsets.items():
            errors = np.empty((count, len(mixes[0])))
            for i, own in enumerate(others):
                drawn = None if known == OTHERS else self._family_offsets[self._number[i]][name]
                kinds = _kinds(known, offsets[own], drawn, self._deformed_offsets.get(name))
                predicted = offsets[own].mean(axis=0) + mixes[i] @ departures(kinds)
                errors[i] = np.abs(predicted - offsets[i]).mean(axis=1)
            chosen[name] = best_of_others(errors)
            offset_mm[name] = errors[np.arange(count), chosen[name]]

        def bone(i: int, name: str) -> Bone:
            def shapes(knees: Sequence[Sample]) -> np.ndarray:
                return _stacked(knees, lambda one: one.shapes[name])

            own = shapes([self._measured[int(j)] for j in others[i]])
            drawn = None if known == OTHERS else shapes(self._families[self._number[i]])
            kinds = _kinds(known, own, drawn, shapes(self._deformed) if self._deformed else None)
            mean = own.mean(axis=0, dtype=np.float64)
            return self._bone(name, mean + mixes[i][chosen[name][i]] @ departures(kinds))

        return Predicted(offset_mm, bone)

    def _bone(self, name: str, values: np.ndarray) -> Bone:
        return bone_of(self._reference.whole(name, values))

    def _offsets_of(self, knees: Sequence[Sample]) -> dict[str, np.ndarray]:
        of = self._reference.offsets
        return {n: np.stack([of(n, one.shapes[n]) for one in knees]) for n in self._names}


def _stacked(samples: Sequence[Sample], features: Features) -> np.ndarray:
    return np.stack([np.atleast_1d(features(one)) for one in samples])


def _kinds(
    known: str, own: np.ndarray, drawn: np.ndarray | None, deformed: np.ndarray | None
) -> list[np.ndarray]:
    """The kinds of knees to mix."""
    if known == OTHERS or drawn is None:
        return [own]
    if known == DRAWN:
        return [drawn]
    return [own, drawn] if deformed is None else [own, drawn, deformed]
