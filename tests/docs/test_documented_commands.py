"""Documented commands are run here or by CI, or are marked as needing data or an accelerator."""

import functools
import re
import shlex
import subprocess
from pathlib import Path
from typing import NamedTuple

import command_process
import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")],
    key=lambda path: str(path),
)
NEEDS = "data|accelerator|network"
MARK = re.compile(rf"<!-- (run|runs: (?P<script>[\w./]+)|needs: (?:{NEEDS})) -->\s*$")


class Block(NamedTuple):
    """One shell block: where it is, its marker, its commands with continued lines joined."""

    place: str
    marker: str
    commands: tuple[str, ...]


def blocks(page: Path) -> list[Block]:
    """The `bash` blocks of a page, each with the marker in the line above it ("" where none is)."""
    found, lines = [], page.read_text(encoding="utf-8").splitlines()
    starts = [i for i, line in enumerate(lines) if line.strip().startswith("```bash")]
    for start in starts:
        end = next(i for i in range(start + 1, len(lines)) if lines[i].strip() == "```")
        text = "\n".join(lines[start + 1 : end]).replace("\\\n", " ")
        commands = [shlex.join(shlex.split(line, comments=True)) for line in text.splitlines()]
        mark = MARK.match(lines[start - 1].strip()) if start else None
        marker = mark.group(0)[5:-4].strip() if mark else ""
        place = f"{page.relative_to(ROOT)}:{start + 1}"
        found.append(Block(place, marker, tuple(command for command in commands if command)))
    return found


ALL = [block for page in PAGES for block in blocks(page)]
RUN = [page for page in PAGES if any(block.marker == "run" for block in blocks(page))]


def commands_that_run(page: Path) -> list[str]:
    """The commands of a page that are run here."""
    return [c for block in blocks(page) if block.marker == "run" for c in block.commands]


# Pages with the same commands as an earlier one are not run again.
RUN = [
    page
    for i, page in enumerate(RUN)
    if commands_that_run(page) not in [commands_that_run(earlier) for earlier in RUN[:i]]
]


def test_every_block_is_marked():
    assert len(ALL) > 10
    assert [block.place for block in ALL if not block.marker] == []


def test_scripts_that_run_a_block_name_its_commands():
    for block in ALL:
        if block.marker.startswith("runs: "):
            script = (ROOT / block.marker.removeprefix("runs: ")).read_text(encoding="utf-8")
            for command in block.commands:
                key = command.split(" ")[-1] if command.startswith("bash ") else command
                assert key in script, f"{block.place}: {block.marker} does not run {command!r}"


@pytest.mark.parametrize("block", ALL, ids=lambda block: block.place)
def test_commands_have_verbs_and_flags_that_exist(block):
    for command in block.commands:
        words = shlex.split(command)
        if words[0] != "xr2mri" or words[1].startswith("-"):
            continue
        done = _help(words[1])
        assert done.returncode == 0, f"{block.place}: {done.stderr}"
        for flag in re.findall(r"--([a-z_]+)", command):
            if not re.search(rf"--config\.\S*{flag}", command):
                assert f"--{flag}" in done.stdout or f"--[no]{flag}" in done.stdout, (
                    f"{block.place}: {words[1]} has no --{flag}"
                )


@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_that_are_marked_run(page, tmp_path):
    for block in blocks(page):
        if block.marker != "run":
            continue
        for command in block.commands:
            words = shlex.split(command)
            assert words[0] == "xr2mri", f"{block.place}: only xr2mri commands are run"
            done = _run(words[2:], words[1], tmp_path)
            assert done.returncode == 0, f"{block.place}: {command}\n{done.stderr[-2000:]}"
    assert any(tmp_path.iterdir())


@functools.cache
def _help(verb: str) -> subprocess.CompletedProcess:
    return _run(["--help"], verb)


def _run(arguments: list[str], verb: str, folder: Path = ROOT) -> subprocess.CompletedProcess:
    return command_process.run(verb, *arguments, folder=folder)
