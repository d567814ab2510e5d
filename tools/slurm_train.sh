#!/usr/bin/env bash
# Copyright (c) The mmlcr authors. All rights reserved.
# Train by Slurm: tools/slurm_train.sh PARTITION JOB CONFIG [ARGUMENTS]
# ARGUMENTS are those of tools/train.py. GPUS (8), GPUS_PER_NODE (8),
# CPUS_PER_TASK (5) and SRUN_ARGS as in MMAction2.
set -euo pipefail
if [ $# -lt 3 ]; then
    sed -n '3,5s/^# //p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
partition=$1 job=$2 config=$3
shift 3
# shellcheck disable=SC2086
exec srun -p "$partition" --job-name="$job" \
    --gres="gpu:${GPUS_PER_NODE:-8}" --ntasks="${GPUS:-8}" \
    --ntasks-per-node="${GPUS_PER_NODE:-8}" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} "${PYTHON:-python}" -u \
    "$(dirname "${BASH_SOURCE[0]}")/train.py" "$config" --launcher slurm "$@"
