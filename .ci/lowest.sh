#!/usr/bin/env bash
# The lowest versions that setup.py allows, on Python 3.11: installed, and a smoke subset of the tests.
#   bash .ci/lowest.sh [PYTHON3.11]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
base="${1:-python3.11}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
"$base" -m venv "$work/venv"
python="$work/venv/bin/python"
"$python" -m pip install --quiet --disable-pip-version-check uv
"$work/venv/bin/uv" pip compile --quiet --python "$python" --resolution lowest-direct setup.py > "$work/lowest.txt"
"$work/venv/bin/uv" pip install --quiet --python "$python" -r "$work/lowest.txt" pytest hypothesis
"$python" -m pytest -p no:cacheprovider tests/test_files.py tests/test_workdir.py tests/runtime/test_lock.py \
  tests/io/test_nrrd.py tests/io/test_nifti.py tests/io/test_dicom.py tests/evaluation/test_volumes.py
export XDG_CACHE_HOME="$work/cache"
"$python" -m xr2mri_jax sample --output="$work/knee.png"
"$python" -m xr2mri_jax grade --xray="$work/knee.png" --output="$work/grades.csv"
"$python" -m xr2mri_jax predict --xray="$work/knee.png" --output="$work/volume.nii.gz" --dicom_dir="$work/dicom"
"$python" -m xr2mri_jax prepare --dataset=knee_phantom/smoke --data_dir="$work/data" --num_workers=1
"$python" -m xr2mri_jax train --config=cae:smoke --workdir="$work/cae" --config.data.data_dir="$work/data"
