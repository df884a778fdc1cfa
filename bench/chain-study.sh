#!/bin/sh
# The study of the chain world: seeds 0-4 for K = 1, 2, 4, 8, the baselines beside K = 4, then the table and its claims.
#
#   bench/chain-study.sh FOLDER [--set and device options for every em]
#
# FOLDER gets one run and one report for each K and the table, study.md; started again on the same folder it goes on where it stopped.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
[ $# -ge 1 ] || { sed -n 's/^# \{0,1\}//; 2,6p' "$0" >&2; exit 2; }
folder=$1
shift
mkdir -p "$folder"

for k in 4 1 2 8; do
    report=$folder/k$k.json
    [ -s "$report" ] && continue
    resume=
    [ -e "$folder/k$k/run.json" ] && resume=--resume
    # the baselines do not depend on K but for their budget of FLOPs, which is that of K = 4
    baselines=
    [ "$k" = 4 ] || baselines="--set baselines=[]"
    # shellcheck disable=SC2086  # none or one word each
    "$root/subtext" em --seeds 0,1,2,3,4 --iterations 3 --samples $k --run "$folder/k$k" --json $baselines $resume "$@" >"$report.new"
    mv "$report.new" "$report"
done

"$root/subtext" study "1=$folder/k1.json" "2=$folder/k2.json" "4=$folder/k4.json" "8=$folder/k8.json" | tee "$folder/study.md"
