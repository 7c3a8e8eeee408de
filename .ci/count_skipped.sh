#!/usr/bin/env bash
# How many tests on real files were skipped, by pytest's summary (-ra): bash .ci/count_skipped.sh LOG
set -euo pipefail
awk '/^SKIPPED \[[0-9]+\]/ && /XR2MRI_REAL_DATA|real/ { gsub(/[^0-9]/, "", $2); n += $2 } END { print n + 0 }' "$1"
