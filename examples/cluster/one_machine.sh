#!/usr/bin/env bash
# One run shared by N processes of this machine: ./one_machine.sh RECIPE RUN N
# With N GPUs each process gets its own. A killed or failed run goes on where it stopped: start the script again.
set -euo pipefail
[ $# -eq 3 ] || { echo "usage: $0 RECIPE RUN N" >&2; exit 2; }
recipe=$1 run=$2 count=$3
gpus=$(nvidia-smi --list-gpus 2>/dev/null | wc -l) || gpus=0

shards=()
trap 'kill "${shards[@]}" 2>/dev/null || true' INT TERM
for ((shard = 0; shard < count; shard++)); do
  if ((gpus > 0)); then
    CUDA_VISIBLE_DEVICES=$((shard % gpus)) posesyn run "$recipe" --run "$run" --device cuda --shard "$shard/$count" &
  else
    posesyn run "$recipe" --run "$run" --shard "$shard/$count" &
  fi
  shards+=($!)
done
for shard in "${shards[@]}"; do wait "$shard"; done
