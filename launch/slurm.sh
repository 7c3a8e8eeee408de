#!/usr/bin/env bash
#SBATCH --job-name=xr2mri
#SBATCH --nodes=2
#SBATCH --gpus-per-node=8
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@180
#SBATCH --requeue
#SBATCH --open-mode=append
# Trains a stage on a Slurm cluster, one task a GPU; at the time limit it saves and queues itself again.
#   sbatch launch/slurm.sh --config=configs/generator.py --workdir=DIR --config.data.data_dir=DATA \
#     --config.cae_workdir=CAE --config.data.batch_size=16
# The batch size is that of all tasks together, a multiple of nodes x tasks.
# DIR, DATA and CAE must be seen by all nodes, and so must .venv, made once with:
#   python3 -m venv .venv && .venv/bin/pip install -e '.[gpu]'
set -uo pipefail
cd "${SLURM_SUBMIT_DIR:?expected to be started by sbatch}"
srun --kill-on-bad-exit=0 .venv/bin/python launch/train.py "$@"
code=$?
# 143: stopped by SIGTERM after a checkpoint.
if [ "$code" -eq 143 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
