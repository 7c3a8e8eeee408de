# Sourced by the other scripts: a virtual environment in .venv with this checkout installed in it.
# make_environment [EXTRA]   sets PYTHON to its interpreter; installs again only when setup.py or the extra changed.

make_environment() {
  local extra="${1:-}" target="." stamp wanted candidate base=""
  [ -n "$extra" ] && target=".[$extra]"
  for candidate in "${XR2MRI_PYTHON:-}" python3.12 python3.11 python3.13 python3; do
    if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      base="$candidate"
      break
    fi
  done
  if [ -z "$base" ]; then
    echo "error: no Python of version 3.11 or later was found; name one in XR2MRI_PYTHON" >&2
    return 2
  fi
  [ -x .venv/bin/python ] || "$base" -m venv .venv
  PYTHON="$PWD/.venv/bin/python"
  stamp=".venv/installed-${extra:-base}"
  wanted="$(cksum < setup.py) $PWD"
  if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    echo "installing xr2mri_jax${extra:+ with the extra '$extra'} into .venv (some minutes the first time) ..."
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --editable "$target"
    echo "$wanted" > "$stamp"
  fi
}
