#!/usr/bin/env bash
# The wheel as a stranger uses it: a fresh virtual environment with the wheel alone, an empty folder outside the
# repository, each verb of the command, and the times that are promised.
#   bash .ci/check_wheel.sh [VERSION ...]      (default: Python 3.11 and 3.12, those that are installed)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
repository="$PWD"
. .ci/find_python.sh
unset PYTHONPATH

# Builds the wheel from a clone: a build folder of earlier builds would hide files that are missing.
build_wheel() {
  git clone --quiet . "$work/clone"
  "$1" -m venv "$work/build"
  "$work/build/bin/python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$work/wheel" \
    "$work/clone"
  rm -rf "$work/clone"
}

# The code of a command, its output in the file `said`: refused COMMAND ...   expects code 2 and one line.
refused() {
  local code=0
  "$@" > said 2>&1 || code=$?
  if [ "$code" != 2 ] || [ "$(wc -l < said)" != 1 ]; then
    echo "error: code $code, expected 2 and one line: $*" >&2
    cat said >&2
    return 1
  fi
  echo "refused: $(cat said)"
}

run() { echo "\$ $*"; "$@"; }

# All that is done in the empty folder with `xr2mri` of a fresh environment, whose interpreter is $1.
use_wheel() {
  local python="$1" verb
  run xr2mri --version
  "$python" "$repository/.ci/require_quick.py" --most=0.3 --runs=5 -- xr2mri --help
  for verb in $(xr2mri --help | awk '/^  [a-z]/ { print $1 }'); do
    [ "$verb" = completion ] || xr2mri "$verb" --help > help.txt
    [ "$verb" = completion ] || grep -q "^xr2mri $verb --" help.txt
  done
  refused xr2mri grad
  refused xr2mri grade --xrai=knee.png
  refused xr2mri train --config=none:smoke --workdir=none
  bash -c 'eval "$(xr2mri completion bash)" && complete -p xr2mri'

  run xr2mri sample --output=knee.png
  "$python" "$repository/.ci/require_quick.py" --most=10 --runs=3 --fresh_cache -- \
    xr2mri grade --xray=knee.png --output=grades.csv
  cat grades.csv

  "$python" "$repository/.ci/make_label_map.py" labels.nii.gz
  run xr2mri simulate --labels=labels.nii.gz --side=right --xray=x.png --mri=m.nii.gz

  run xr2mri prepare --dataset=knee_phantom/smoke --data_dir=data --num_workers=2
  run xr2mri train --config=cae:smoke --workdir=cae --config.data.data_dir=data
  cp "$repository/configs/cae.py" my.py
  run xr2mri train --config=my.py:smoke --workdir=own --config.data.data_dir=data --local_processes=2
  run xr2mri train --config=generator:smoke --workdir=generator --config.data.data_dir=data --config.cae_workdir=cae
  run xr2mri evaluate --workdir=generator --page=report.html
  refused xr2mri serve --port=0 # without the extra "serve"
  run xr2mri export --dataset=knee_phantom/smoke --data_dir=data --cases=0 --output=cases
  run xr2mri predict --model=generator --xray=knee.png --side=right --spacing=0.5 --output=volume.nii.gz
  "$python" -c 'import sys, nibabel; print(nibabel.load(sys.argv[1]).shape)' volume.nii.gz
  if [ -e "$repository/xr2mri_jax/inference/knee_generator/model.json" ]; then
    run xr2mri predict --xray=knee.png --output=shipped.nii.gz --labels=shipped_labels.nii.gz --meshes=meshes \
      --page=page.html
  else
    echo "note: no generator ships with this version: predict was tried with a trained one alone"
  fi
  "$python" -c 'import doctest, sys; from xr2mri_jax import api; sys.exit(doctest.testmod(api).failed)'
}

# Python version $1, its interpreter $2.
check() {
  local environment="$work/environment-$1" folder="$work/folder-$1"
  echo "== the wheel with Python $1"
  "$2" -m venv "$environment"
  "$environment/bin/python" -m pip install --quiet --disable-pip-version-check "$work"/wheel/*.whl
  mkdir "$folder"
  (
    cd "$folder"
    export PATH="$environment/bin:$PATH" XDG_CACHE_HOME="$work/cache-$1" JAX_PLATFORMS=cpu
    use_wheel "$environment/bin/python"
  )
  rm -rf "$environment" "$folder"
}

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
[ $# -gt 0 ] && wanted="$*" || wanted="3.11 3.12"
checked=""
for version in $wanted; do
  interpreter="$(find_python "$version")"
  if [ -z "$interpreter" ]; then
    echo "note: there is no Python $version here: the wheel was not tried with it"
    continue
  fi
  [ -d "$work/wheel" ] || build_wheel "$interpreter"
  check "$version" "$interpreter"
  checked="$checked $version"
done
if [ -z "$checked" ] || { [ $# -gt 0 ] && [ "$checked" != " $*" ]; }; then
  echo "error: the wheel was tried with Python${checked:- none}, expected $wanted" >&2
  exit 1
fi
echo "the wheel works with Python$checked"
