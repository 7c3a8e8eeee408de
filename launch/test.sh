#!/usr/bin/env bash
# From a fresh clone: makes .venv, installs the package with its test extra and runs the tests.
#   bash launch/test.sh [pytest arguments]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. launch/environment.sh
make_environment test
exec "$PYTHON" -m pytest --numprocesses=2 --dist=loadfile "$@"
