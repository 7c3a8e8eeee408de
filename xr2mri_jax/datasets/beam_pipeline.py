"""Prepares a dataset on Apache Beam, through the Beam path of TFDS; needs the extra [beam]."""

import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from xr2mri_jax.datasets.outcomes import Outcome
from xr2mri_jax.errors import InputError


def pipeline_options(
    runner: str, num_workers: int, options: Sequence[str] = ()
) -> tuple[str, PipelineOptions]:
    """The runner's name and Beam's options for a preparation.

    Args:
      runner: "DirectRunner", "DataflowRunner", "FlinkRunner", "SparkRunner", ...
      num_workers: worker processes of the DirectRunner, unless `options` sets them.
      options: Beam's own, "name=value" or "name", without the leading dashes.

    Raises:
      InputError: a runner unknown to Beam, or an option that it does not understand.
    """
    words = [option.strip().lstrip("-") for option in options]
    if runner == "DirectRunner":
        names = {word.partition("=")[0] for word in words}
        if "direct_num_workers" not in names:
            words.append(f"direct_num_workers={num_workers}")
        if "direct_running_mode" not in names:
            words.append("direct_running_mode=multi_processing")
    try:
        beam.runners.create_runner(runner)
        found = PipelineOptions([f"--{word}" for word in words])
        unknown = sorted({word.partition("=")[0] for word in words} - set(found.get_all_options()))
    except (ValueError, ImportError, AttributeError, SystemExit) as error:
        raise InputError(
            f"--beam_runner={runner}, --beam_options={','.join(words)}: not understood by Apache "
            f"Beam {beam.__version__} ({error})"
        ) from error
    if unknown:
        raise InputError(
            f"--beam_options: found {unknown[0]!r}, expected options of Apache Beam "
            f"{beam.__version__}"
        )
    return runner, found


def examples(
    tasks: Sequence[Any], function: Callable[[Any], list[Outcome]], failures: str
) -> beam.PTransform:
    """The transform that makes (key, example) of the tasks, and files of failures and doubts.

    Args:
      tasks: of one split.
      function: returns the outcomes of a task; runs on Beam's workers.
      failures: path prefix of the files with the outcomes that have no example, or doubts; one
        JSON object per line, without the example itself.
    """
    return _Examples(tasks, function, failures)


class _Examples(beam.PTransform):
    def __init__(self, tasks: Sequence[Any], function: Any, failures: str) -> None:
        super().__init__()
        self._tasks = list(tasks)
        self._function = function
        self._failures = failures

    def expand(self, pipeline: Any) -> Any:
        outcomes = (
            pipeline
            | "Tasks" >> beam.Create(self._tasks, reshuffle=True)
            | "Work" >> beam.FlatMap(self._function)
        )
        _ = (
            outcomes
            | "Failures" >> beam.Filter(_is_reported)
            | "AsJson" >> beam.Map(_as_json)
            | "WriteFailures" >> beam.io.WriteToText(self._failures, file_name_suffix=".jsonl")
        )
        return outcomes | "Examples" >> beam.FlatMap(_keyed)


def _is_reported(outcome: Outcome) -> bool:
    return outcome.example is None or bool(outcome.doubts)


def _as_json(outcome: Outcome) -> str:
    example: dict[str, Any] | None = None if outcome.example is None else {}
    content = dataclasses.asdict(dataclasses.replace(outcome, example=example))
    return json.dumps(content, default=os.fspath)


def _keyed(outcome: Outcome) -> list[tuple[str, Mapping[str, Any]]]:
    return [] if outcome.example is None else [(outcome.key, outcome.example)]
