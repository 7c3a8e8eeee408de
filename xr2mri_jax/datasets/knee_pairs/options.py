"""Options of the preparation of knee_pairs."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from xr2mri_jax.datasets.outcomes import checked_share
from xr2mri_jax.datasets.pairing import DUPLICATES, sequence_name
from xr2mri_jax.datasets.splits import FRACTIONS, split_of
from xr2mri_jax.errors import InputError
from xr2mri_jax.io.records import visit_months
from xr2mri_jax.preprocess.contrast import contrast_with_clahe


@dataclasses.dataclass(frozen=True)
class PairOptions:
    """The options, recorded with the dataset; InputError for an invalid one.

    Attributes:
      sequence: the MRI's, as `pairing.sequence_name` understands it.
      visit_tolerance: maximum months between the visits of a pair's radiograph and MRI.
      duplicates: "choose" or "reject", see `pairing.pair_source`.
      grades: files of KL tables outside the source.
      visit: the visit code if the collection does not state it.
      places: CSV file of given positions of knees in radiographs, instead of finding them.
      spacing: mm per pixel of radiographs that do not state it; None rejects these.
      echo: which of several echoes of an MRI series, 1 for the shortest; None takes the first.
      clahe: (clip limit, size of the tiles in mm) of adaptive histogram equalisation, or None.
      splits: CSV or JSON file of given splits by subject, instead of the hash.
      split_seed: of the hash that splits by subject.
      split_shares: expected share of the subjects by split, sum 1.
      max_broken: maximum fraction of the pairs that may be unusable.
    """

    sequence: str = "dess"
    visit_tolerance: int = 0
    duplicates: str = "choose"
    grades: tuple[str, ...] = ()
    visit: str | None = None
    places: str | None = None
    spacing: float | None = None
    echo: int | None = None
    clahe: tuple[float, float] | None = None
    splits: str | None = None
    split_seed: int = 0
    split_shares: Mapping[str, float] = dataclasses.field(default_factory=lambda: dict(FRACTIONS))
    max_broken: float = 0.05

    def __post_init__(self) -> None:
        object.__setattr__(self, "sequence", sequence_name(self.sequence))
        if self.visit_tolerance < 0:
            raise InputError(
                f"--visit_tolerance: found {self.visit_tolerance}, expected 0 months or more"
            )
        if self.duplicates not in DUPLICATES:
            expected = " or ".join(DUPLICATES)
            raise InputError(f"--duplicates: found {self.duplicates!r}, expected {expected}")
        if self.visit is not None and visit_months(self.visit) is None:
            raise InputError(f"--visit: found {self.visit!r}, expected a code such as V00")
        if self.spacing is not None and not (math.isfinite(self.spacing) and self.spacing > 0):
            raise InputError(f"--spacing: found {self.spacing}, expected mm per pixel above 0")
        if self.echo is not None and self.echo < 1:
            raise InputError(f"--echo: found {self.echo}, expected 1 or more")
        contrast_with_clahe(self.clahe)
        split_of("", self.split_seed, self.split_shares)
        checked_share(self.max_broken)

    @property
    def contrast(self) -> dict[str, Any]:
        """The radiographs' contrast settings for `standardise_radiograph`."""
        return contrast_with_clahe(self.clahe)
