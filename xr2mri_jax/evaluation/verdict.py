"""The verdict: one sentence that states whether the radiograph matters, by the fixed rule `RULE`.

The functions are pure: they take numbers and return numbers and a sentence.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from xr2mri_jax.presentation.model_and_controls import MODEL

MEAN, OTHER = "mean", "other_radiograph"
CONTROLS = (MEAN, OTHER)
FEWEST_SUBJECTS = 8
LEAST_EFFECT = 0.2
LARGEST_EFFECT = 99.0
LEVEL = 0.95
SAMPLES = 4000
BLOCK = 1 << 20
RULE = (
    "A property has evidence if the model has less error in it than the mean and less than the "
    f"same model with another subject's radiograph. For both, the {LEVEL:.0%} interval of the "
    "paired difference (bootstrap with expanded percentiles, subjects resampled, Bonferroni over "
    "the properties) must lie above 0, and the effect size (mean over standard deviation of the "
    f"subjects' paired differences) must be at least {LEAST_EFFECT}. With fewer than "
    f"{FEWEST_SUBJECTS} subjects there is no evidence. The radiograph matters if at least one "
    "property has evidence."
)

Errors = Mapping[str, np.ndarray]


def judge(
    properties: Mapping[str, Errors | None],
    subjects: Sequence[Any],
    origin: str,
    mean_name: str = "the mean volume",
    seed: int = 0,
) -> dict[str, Any]:
    """The verdict on a model.

    Args:
      properties: by name (for example "bone shape"), the errors of `MODEL`, `MEAN` and `OTHER`:
        f64[n], 0 or more, NaN for a case that was not measured; None if the property was not
        measured at all.
      subjects: n names.
      origin: origin of the knees: "real", "simulated" or "unknown".
      mean_name: name of the mean in the sentence.
      seed: seed of the bootstrap.

    Returns:
      sentence, evidence (bool), origin, n, subjects, rule, and properties: None, or evidence, n,
      subjects and `against` by name. `against` has by control: gain (relative reduction of its
      error by the model), difference, their intervals, effect.

    Raises:
      ValueError: lengths differ, a value is infinite or negative, or `origin` has another value.
    """
    if origin not in ("real", "simulated", "unknown"):
        raise ValueError(f"origin {origin!r}, expected real, simulated or unknown")
    measured = [name for name, errors in properties.items() if _known(errors, subjects)]
    found: dict[str, Any] = {
        name: _property(properties[name], subjects, max(len(measured), 1), seed)
        if name in measured
        else None
        for name in properties
    }
    count = len(set(subjects))
    return {
        "sentence": _sentence(found, origin, mean_name),
        "evidence": any(one is not None and one["evidence"] for one in found.values()),
        "origin": origin,
        "n": len(subjects),
        "subjects": count,
        "properties": found,
        "rule": RULE,
    }


def _known(errors: Errors | None, subjects: Sequence[Any]) -> bool:
    if errors is None:
        return False
    for name in (MODEL, *CONTROLS):
        values = np.asarray(errors[name], np.float64)
        if values.shape != (len(subjects),):
            raise ValueError(f"{name}: {values.shape} errors for {len(subjects)} cases")
        if np.isinf(values).any() or (values < 0).any():
            raise ValueError(f"{name}: an error is infinite or negative")
    return bool(np.isfinite(errors[MODEL]).any())


def _property(errors: Any, subjects: Sequence[Any], tests: int, seed: int) -> dict[str, Any]:
    known = np.isfinite(sum(np.asarray(errors[name]) for name in (MODEL, *CONTROLS)))
    names = np.asarray(subjects)[known]
    of = {name: np.asarray(errors[name], np.float64)[known] for name in (MODEL, *CONTROLS)}
    count = len(set(names.tolist()))
    against = {
        control: compared(of[MODEL], of[control], names, 1 - (1 - LEVEL) / tests, seed)
        for control in CONTROLS
    }
    evidence = count >= FEWEST_SUBJECTS and all(map(_shown, against.values()))
    return {"evidence": evidence, "n": len(names), "subjects": count, "against": against}


def _shown(one: Mapping[str, Any]) -> bool:
    ends = one["difference_interval"]
    return ends is not None and ends[0] > 0 and one["effect"] >= LEAST_EFFECT


def compared(
    model: np.ndarray, control: np.ndarray, subjects: Any, level: float, seed: int = 0
) -> dict[str, Any]:
    """Compares the errors of the model and a control in pairs.

    Args:
      model, control: f64[n], n of 1 or more, finite, 0 or more.
      subjects: n names; cases with the same name are resampled together.
      level: level of the intervals, in (0, 1).
      seed: seed of the bootstrap.

    Returns:
      gain (1 - model / control, from the sums; 0 if both are 0), difference (mean of control -
      model), their intervals (see `expanded`; None with one subject), level, and effect (0 if the
      mean difference is 0; clipped to -99..99).
    """
    names, membership = np.unique(np.asarray(subjects), return_inverse=True)
    sums = np.stack([np.bincount(membership, weights=v) for v in (model, control)])
    counts = np.bincount(membership)
    own = (sums[1] - sums[0]) / counts
    result: dict[str, Any] = {
        "gain": float(_gain(*sums.sum(axis=1))),
        "difference": float(np.mean(control - model)),
        "gain_interval": None,
        "difference_interval": None,
        "level": level,
        "effect": _effect(own),
    }
    if len(names) > 1:
        totals, cases = _resampled(sums, counts, seed)
        ends = expanded(level, len(names))
        result["gain_interval"] = np.percentile(_gain(*totals), ends).tolist()
        result["difference_interval"] = np.percentile(
            (totals[1] - totals[0]) / cases, ends
        ).tolist()
    return result


def expanded(level: float, count: int) -> list[float]:
    """The two percentiles in [0, 100] of bootstrap samples that bound an interval of a mean.

    The percentiles (1 - level) / 2 and (1 + level) / 2 themselves give too short intervals for few
    subjects: like a normal approximation with the variance divided by n. The expanded percentiles
    correct for both (Hesterberg 2015, The American Statistician 69:371-386, section 4.4.3).

    Args:
      level: in (0, 1).
      count: resampled subjects, 2 or more.
    """
    t = stats.t.ppf((1 - level) / 2, count - 1)
    low = float(stats.norm.cdf(t * math.sqrt(count / (count - 1))))
    return [100 * low, 100 * (1 - low)]


def _resampled(sums: np.ndarray, counts: np.ndarray, seed: int) -> tuple[Any, Any]:
    """Sums f64[2, SAMPLES] and numbers of cases f64[SAMPLES] of resampled subjects."""
    rng, count = np.random.default_rng(seed), len(counts)
    totals, cases = np.empty((len(sums), SAMPLES)), np.empty(SAMPLES)
    block = max(1, BLOCK // count)
    for first in range(0, SAMPLES, block):
        part = slice(first, min(first + block, SAMPLES))
        times = rng.multinomial(count, np.full(count, 1 / count), part.stop - first)
        totals[:, part], cases[part] = sums @ times.T, times @ counts
    return totals, cases


def _gain(model: Any, control: Any) -> Any:
    safe = np.where(control > 0, control, 1.0)
    # A control error of 0 cannot be reduced; any model error then counts as a gain of -1.
    return np.where(control > 0, 1 - model / safe, -(np.asarray(model) > 0).astype(float))


def _effect(differences: np.ndarray) -> float:
    mean = float(differences.mean())
    spread = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    if mean == 0:
        return 0.0
    if spread * LARGEST_EFFECT <= abs(mean):
        return math.copysign(LARGEST_EFFECT, mean)
    return mean / spread


def _sentence(found: Mapping[str, Any], origin: str, mean_name: str) -> str:
    start = {"real": "Real knees: ", "simulated": "Simulated knees: ", "unknown": ""}[origin]
    shown = [name for name, one in found.items() if one is not None and one["evidence"]]
    silent = [name for name, one in found.items() if one is not None and not one["evidence"]]
    missing = [name for name, one in found.items() if one is None]
    # A property may be measured in fewer subjects than another.
    counts = sorted({found[name]["subjects"] for name in silent})
    subjects = " to ".join(str(count) for count in dict.fromkeys((*counts[:1], *counts[-1:])))
    unmeasured = f"; {_list(missing, 'and')} not measured" if missing else ""
    if not shown and not silent:
        text = "no evidence that the radiograph matters, because nothing could be measured"
    elif not shown and counts[-1] < FEWEST_SUBJECTS:
        text = (
            f"no evidence that the radiograph matters, because {subjects} "
            f"subject{' is' if counts == [1] else 's are'} too few ({FEWEST_SUBJECTS} or more are "
            f"needed){unmeasured}"
        )
    elif not shown:
        text = (
            f"no evidence that the radiograph matters: for {_list(silent, 'and')}, {subjects} "
            f"subjects do not show less error than both {mean_name} and the same model with "
            f"another subject's radiograph{unmeasured}"
        )
    else:
        mean, other = (
            _list([_percent(found[name]["against"][control]) for name in shown], "and")
            for control in CONTROLS
        )
        rest = f"; no evidence for {_list(silent, 'or')}" if silent else ""
        text = (
            f"the radiograph matters for {_list(shown, 'and')}, with less error than {mean_name} "
            f"({mean}) and less than with another subject's radiograph ({other}){rest}{unmeasured}"
        )
    whole = f"{start}{text}."
    return whole[0].upper() + whole[1:]


def _percent(one: Mapping[str, Any]) -> str:
    low, high = one["gain_interval"]
    return f"{100 * one['gain']:.0f} % [{100 * low:.0f} to {100 * high:.0f}]"


def _list(words: Sequence[str], last: str) -> str:
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def judge_reconstruction(
    model: np.ndarray, controls: Mapping[str, np.ndarray], subjects: Sequence[Any], seed: int = 0
) -> dict[str, Any]:
    """The verdict on an auto-encoder, by the same rule against every control.

    Args:
      model: f64[n], the error of every case, 0 or more.
      controls: errors f64[n] by the control's name in the sentence.
      subjects: n names.
      seed: seed of the bootstrap.

    Returns:
      sentence, evidence (better than every control), subjects, against.
    """
    level = 1 - (1 - LEVEL) / max(len(controls), 1)
    against = {
        name: compared(model, values, subjects, level, seed) for name, values in controls.items()
    }
    count = len(set(subjects))
    better = [name for name, one in against.items() if count >= FEWEST_SUBJECTS and _shown(one)]
    worse = [name for name in against if name not in better]
    gains = [f"{_percent(against[name])} less error than {name}" for name in better]
    claim = "the auto-encoder preserves more of a radiograph than"
    text = f"{claim} {_list(better, 'and')}: {_list(gains, 'and')}" if better else ""
    if worse:
        few = f"{count} subjects are too few"
        why = f", because {few}" if count < FEWEST_SUBJECTS else ""
        silent = f"no evidence that {claim} {_list(worse, 'or')}{why}"
        text = f"{text}; {silent}" if text else silent
    return {
        "sentence": f"{text[0].upper()}{text[1:]}.",
        "evidence": not worse,
        "subjects": count,
        "against": against,
    }


def judge_grading(
    auc: Mapping[str, Any], positive: Sequence[int], negative: Sequence[int], subjects: int
) -> dict[str, Any]:
    """The verdict on a classifier: whether the interval of its AUC lies above 0.5.

    Args:
      auc: mean and ci95.
      positive, negative: the two groups of grades that it distinguishes.
      subjects: number of subjects.

    Returns:
      sentence, evidence, subjects.
    """
    ends = auc["ci95"]
    evidence = subjects >= FEWEST_SUBJECTS and ends is not None and ends[0] > 0.5
    size = f"AUC {auc['mean']:.2f}" + (f" [{ends[0]:.2f} to {ends[1]:.2f}]" if ends else "")
    high, low = (_list([str(g) for g in grades], "or") for grades in (positive, negative))
    what = f"the radiograph distinguishes grade {high} from grade {low}"
    start = f"{what}: {size}" if evidence else f"no evidence that {what}: {size}"
    sentence = f"{start} (chance: 0.5)."
    return {
        "sentence": sentence[0].upper() + sentence[1:],
        "evidence": evidence,
        "subjects": subjects,
    }
