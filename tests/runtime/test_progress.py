"""Progress on a terminal and in a file."""

import io
import sys

import pytest

from xr2mri_jax.runtime import progress as module
from xr2mri_jax.runtime.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_every_item_comes_in_order(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream())
    assert list(progress(iter("abc"), "reading", "letter", 3)) == list("abc")


def test_a_file_gets_a_plain_line_after_the_given_time(monkeypatch, capsys):
    now = iter([0.0, 30.0, 61.0, 61.0, 90.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(now))
    list(progress(range(3), "reading", "file", 3))
    assert capsys.readouterr().err == "reading: file 2 of 3\n"


def test_a_short_loop_of_many_is_announced_in_a_file(capsys):
    list(progress(range(3), "reading", "file", 3, announced=True))
    assert capsys.readouterr().err == "reading: file 0 of 3\n"
    list(progress(range(3), "reading", "file", 3))
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(monkeypatch):
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    list(progress(range(3), "reading", "file", 3))
    assert "reading: 100%" in shown.getvalue() and "3/3" in shown.getvalue()
