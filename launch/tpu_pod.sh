#!/usr/bin/env bash
# Trains a stage on all hosts of a Cloud TPU pod slice; JAX finds the other hosts by itself.
#   TPU=NAME ZONE=ZONE bash launch/tpu_pod.sh --config=configs/generator.py --workdir=DIR \
#     --config.data.data_dir=DATA --config.cae_workdir=CAE --config.data.batch_size=N
# N is a multiple of the chips of all hosts.
# DIR, DATA and CAE must be on a file system that all hosts mount (Filestore), and this checkout lies in
# ~/xr2mri_jax on each, installed with: pip install -e '.[tpu]'
set -euo pipefail
: "${TPU:?expected TPU=NAME, the name of the slice}" "${ZONE:?expected ZONE=ZONE, where it is}"
exec gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all \
  --command="cd ~/xr2mri_jax && python3 launch/train.py --distributed $(printf '%q ' "$@")"
