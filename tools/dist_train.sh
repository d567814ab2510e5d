#!/usr/bin/env bash
# Copyright (c) The mmlcr authors. All rights reserved.
# Train with several processes: tools/dist_train.sh CONFIG PROCESSES [ARGUMENTS]
# ARGUMENTS are those of tools/train.py. Several machines by NNODES, NODE_RANK,
# MASTER_ADDR and PORT, as in MMAction2. Without GPUs, gloo joins them.
set -euo pipefail
if [ $# -lt 2 ]; then
    sed -n '3,5s/^# //p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
config=$1 processes=$2
shift 2
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    --nproc_per_node="$processes" \
    "$(dirname "${BASH_SOURCE[0]}")/train.py" "$config" --launcher pytorch "$@"
