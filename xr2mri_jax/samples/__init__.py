"""A sample radiograph of a simulated right knee; `tools/make_sample.py` makes it."""

from pathlib import Path

# A right knee at 0.5 mm per pixel, as a display shows it.
KNEE = Path(__file__).parent / "knee.png"
