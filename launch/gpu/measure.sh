#!/usr/bin/env bash
# Everything that is measured on a GPU, in one call of less than 10 minutes and without a network:
#   bash launch/gpu/measure.sh [FOLDER] [benchmark flags, such as --seconds=300 or --tiny]
# Writes FOLDER/gpu.json and FOLDER/gpu.md (default: workdir/gpu). Needs jax, flax, optax and absl; PyTorch is measured
# where it is installed. Without a GPU it runs in tiny sizes on the CPU and says so. XR2MRI_PYTHON names the Python.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
folder="workdir/gpu"
if [ $# -gt 0 ] && [ "${1#--}" = "$1" ]; then
  folder="$1"
  shift
fi
python="${XR2MRI_PYTHON:-python3}"
[ -n "${XR2MRI_PYTHON:-}" ] || [ ! -x .venv/bin/python ] || python=".venv/bin/python"
mkdir -p "$folder"
# The package is taken from this checkout: it need not be installed.
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
# JAX and PyTorch share the GPU: JAX takes memory as it needs it, up to the end.
export XLA_PYTHON_CLIENT_PREALLOCATE=false
exec "$python" -m xr2mri_jax benchmark --suite=gpu --output="$folder/gpu.json" "$@"
