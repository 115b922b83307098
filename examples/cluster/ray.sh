#!/usr/bin/env bash
# One run on a Ray cluster of this machine alone, to try it: ./ray.sh RECIPE RUN
# On several machines, `ray start --head` runs on the first and `ray start --address=FIRST:6379` on the others; then
# the third command is the same. Needs `pip install 'posesyn[ray]'` on each.
set -euo pipefail
[ $# -eq 2 ] || { echo "usage: $0 RECIPE RUN" >&2; exit 2; }
export RAY_USAGE_STATS_ENABLED=0

ray start --head --port=0 --include-dashboard=false --disable-usage-stats
trap 'ray stop' EXIT
posesyn run "$1" --run "$2" --executor ray --address auto
