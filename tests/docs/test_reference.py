"""The reference of the commands is what their help says."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_of_the_commands_is_made_from_their_help(tmp_path):
    made = tmp_path / "commands.md"
    subprocess.run(
        [sys.executable, "docs/reference_commands.py", made],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    page = ROOT / "docs" / "reference" / "commands.md"
    assert page.read_text(encoding="utf-8") == made.read_text(encoding="utf-8"), (
        "run python docs/reference_commands.py"
    )
