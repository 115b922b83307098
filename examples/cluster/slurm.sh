#!/usr/bin/env bash
# One run on a SLURM cluster: ./slurm.sh RECIPE RUN N [options of sbatch for the jobs with a GPU, such as --gres=gpu:1]
# Submits an array of N jobs for each stage that is shared, and single jobs for the others, each after the one before.
# RUN and the data lie on a file system that all nodes see. Submit again what failed: nothing is computed twice.
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: $0 RECIPE RUN N [options of sbatch]" >&2; exit 2; }
recipe=$1 run=$2 count=$3
shift 3
before=()

submit() { # NAME COMMAND [options of sbatch]
  local name=$1 command=$2
  shift 2
  local job
  job=$(sbatch --parsable --job-name="posesyn-$name" "${before[@]}" "$@" --wrap="$command")
  before=("--dependency=afterok:${job%%;*}")
  echo "$name: job $job"
}

shared() { # STAGE [options of posesyn]
  submit "$1" "posesyn $1 '$run' ${*:2} --shard \$SLURM_ARRAY_TASK_ID/$count" --array="0-$((count - 1))" "${gpu[@]}"
}

gpu=("$@")
shared score --recipe "'$recipe'"
submit select "posesyn select '$run'"
shared caption
shared synthesize
shared animate # the reference people: each shard that is done before the others ends here,
shared animate # and comes back for the clips
shared filter
submit rest "posesyn run '$recipe' --run '$run'" "${gpu[@]}"
