"""Holds what a quickstart left behind to its promises: margins over controls, retrieval, volumes.

python .ci/check_quickstart.py WORKDIR
"""

import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

LEAST_MARGIN_DB = {"mean_volume": 3.0, "shuffled_xray": 2.0}
LEAST_TOP1 = 0.5
LEAST_COVERED, MOST_COVERED = 0.85, 0.95
BOX_MM = 128.0
UNCERTAIN = "_uncertainty.nii.gz"


def main(workdir: Path) -> int:
    """Prints one line per promise and returns 1 if any is broken."""
    metrics = json.loads((workdir / "evaluation" / "metrics.json").read_text(encoding="utf-8"))
    checks: list[tuple[str, bool]] = []
    model = metrics["model"]["psnr"]
    for name, least in LEAST_MARGIN_DB.items():
        control = metrics["controls"][name]["psnr"]
        margin = model["mean"] - control["mean"]
        apart = model["ci95"][0] > control["ci95"][1]
        checks.append(
            (f"{name}: {margin:+.2f} dB, intervals apart: {apart}", margin >= least and apart)
        )
    for name, found in metrics["uncertainty"]["intensity"].items():
        share = found["coverage"]["mean"]
        told = f"{share:.1%} of {name} in the 90 % interval"
        checks.append((told, LEAST_COVERED <= share <= MOST_COVERED))
    top1 = metrics["retrieval"]["top1"]
    checks.append((f"own volume retrieved first: {top1:.2f}", top1 >= LEAST_TOP1))
    written = sorted((workdir / "predictions").glob("*.nii.gz"))
    volumes = [path for path in written if not path.name.endswith(UNCERTAIN)]
    checks.append((f"{len(volumes)} predicted volumes", len(volumes) > 0))
    for path in volumes:
        image = nib.load(path)
        extent = np.array(image.header.get_zooms()) * image.shape
        checks.append((f"{path.name}: extent {extent} mm", bool(np.allclose(extent, BOX_MM))))
        picture = path.with_name(path.name.removesuffix(".nii.gz") + ".png")
        spread = path.with_name(path.name.removesuffix(".nii.gz") + UNCERTAIN)
        for beside in (picture, spread):
            checks.append((f"{beside.name} beside it", beside.is_file()))
    checks.append(("a report", (workdir / "evaluation" / "index.html").is_file()))
    for line, kept in checks:
        print("kept  " if kept else "BROKEN", line)
    return 0 if all(kept for _, kept in checks) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
