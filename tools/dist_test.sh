#!/usr/bin/env bash
# Copyright (c) The mmlcr authors. All rights reserved.
# Test: tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [ARGUMENTS]
# ARGUMENTS are those of tools/test.py. Several machines by NNODES, NODE_RANK,
# MASTER_ADDR and PORT, as in MMAction2. Without GPUs, gloo joins them.
set -euo pipefail
if [ $# -lt 3 ]; then
    sed -n '3,5s/^# //p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
config=$1 checkpoint=$2 processes=$3
shift 3
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    --nproc_per_node="$processes" \
    "$(dirname "${BASH_SOURCE[0]}")/test.py" "$config" "$checkpoint" \
    --launcher pytorch "$@"
