#!/usr/bin/env bash
# From a fresh clone to knee MRI volumes from radiographs, on a simulated dataset: prepare, train the auto-encoder,
# train the generator, evaluate against controls, predict held-out radiographs.
#   bash launch/quickstart.sh [WORKDIR]        (default: workdir/quickstart; started again, it continues)
set -euo pipefail
start_folder="$PWD"
cd "$(dirname "${BASH_SOURCE[0]}")/.."
workdir="${1:-workdir/quickstart}"
[ $# -gt 1 ] && { echo "error: unexpected argument '$2': expected quickstart.sh [WORKDIR]" >&2; exit 2; }
case "$workdir" in
  -*) echo "error: '$workdir' is not a folder name: expected quickstart.sh [WORKDIR]" >&2; exit 2 ;;
  /*) ;;
  *) [ $# -gt 0 ] && workdir="$start_folder/$workdir" ;;
esac
. launch/environment.sh
make_environment
mkdir -p "$workdir"

SECONDS=0
step() { echo; echo "[$((SECONDS / 60)):$(printf %02d $((SECONDS % 60)))] $*"; }

step "1/5 simulate paired radiographs and MRI volumes"
"$PYTHON" launch/prepare.py --dataset=knee_phantom/quickstart --data_dir="$workdir/data" --num_workers="$(nproc)"

step "2/5 the auto-encoder learns the radiographs"
"$PYTHON" launch/train.py --config=configs/cae.py:quickstart --workdir="$workdir/cae" \
  --config.data.data_dir="$workdir/data"

step "3/5 the generator learns to turn hidden variables into MRI volumes"
"$PYTHON" launch/train.py --config=configs/generator.py:quickstart --workdir="$workdir/generator" \
  --config.data.data_dir="$workdir/data" --config.cae_workdir="$workdir/cae"

step "4/5 the generator's uncertainty, and its evaluation on the test knees, with controls"
"$PYTHON" launch/calibrate.py --workdir="$workdir/generator"
# Beside the next step: neither keeps two cores busy.
"$PYTHON" launch/evaluate.py --workdir="$workdir/generator" --split=test --output="$workdir/evaluation" \
  > "$workdir/evaluation.log" 2>&1 &
evaluation=$!
trap 'kill "$evaluation" 2> /dev/null || true' EXIT

step "5/5 held-out radiographs become volumes"
"$PYTHON" launch/export.py --dataset=knee_phantom/quickstart --data_dir="$workdir/data" --split=test \
  --cases=0,1 --output="$workdir/radiographs"
while IFS=, read -r name side spacing _; do
  "$PYTHON" launch/predict.py --model="$workdir/generator" --xray="$workdir/radiographs/$name.png" \
    --side="$side" --spacing="$spacing" --output="$workdir/predictions/$name.nii.gz"
done < <(tail -n +2 "$workdir/radiographs/cases.csv")
code=0
wait "$evaluation" || code=$?
cat "$workdir/evaluation.log"
[ "$code" = 0 ] || exit "$code"

step "done"
echo "  report       $workdir/evaluation/index.html"
echo "  volumes      $workdir/predictions/*.nii.gz, a picture beside each"
echo "  your own     .venv/bin/python launch/predict.py --model=$workdir/generator --xray=FILE --output=OUT.nii.gz"
