"""Lines of a run on the screen and in metrics.jsonl."""

import json
import re

from xr2mri_jax.training.run_log import RunLog


def test_a_step_that_was_not_timed_has_no_speed(tmp_path, capsys):
    with RunLog(tmp_path, 2, 9) as log:
        log.stepped(4)
        log.restart_clock(3)
        log.train(3, {"loss": 0.25})
        log.stepped(4)
        log.train(4, {"loss": 0.125})
    first, second = capsys.readouterr().out.splitlines()
    assert first == "step 3/9  loss 0.25"
    assert re.fullmatch(r"step 4/9  loss 0\.125  \S+ examples/s  \d+:\d\d left", second)
    lines = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert ["examples_per_s" in line for line in lines] == [False, True]
