#!/bin/sh
# The study of the chain world: seeds 0-4 for K = 1, 2, 4, 8, the baselines beside K = 4, then the table and its claims.
#
#   bench/chain-study.sh FOLDER [--set and device options for every em]
#
# FOLDER gets one run and one report for each K and the table, study.md; started again on the same folder it goes on where it stopped.
# Two runs go side by side, one thread each: K = 4 with its baselines costs about as much as the other three together.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
[ $# -ge 1 ] || { sed -n 's/^# \{0,1\}//; 2,7p' "$0" >&2; exit 2; }
folder=$1
shift
mkdir -p "$folder"

# em K OPTION...: starts the run of K in the background, or goes on with it; a finished one is left alone
em() {
    k=$1
    shift
    if [ -s "$folder/k$k.json" ]; then
        : &
        return
    fi
    [ ! -e "$folder/k$k/run.json" ] || set -- --resume "$@"
    "$root/subtext" em --seeds 0,1,2,3,4 --iterations 3 --samples "$k" --threads 1 --run "$folder/k$k" --json "$@" \
        >"$folder/k$k.new" 2>"$folder/k$k.log" &
}

# finish K PID: waits for a run; its report gets its name only when it is whole
finish() {
    wait "$2" || { tail -n 1 "$folder/k$1.log" >&2; return 1; }
    [ ! -e "$folder/k$1.new" ] || mv "$folder/k$1.new" "$folder/k$1.json"
}

four=
other=
# shellcheck disable=SC2086  # none or one word each
trap 'kill $four $other 2>/dev/null || :; exit 130' INT TERM

em 4 "$@"
four=$!
# the baselines do not depend on K but for their budget of FLOPs, which is that of K = 4
for k in 1 2 8; do
    em $k --set 'baselines=[]' "$@"
    other=$!
    finish $k $other || { kill $four 2>/dev/null || :; exit 1; }
done
finish 4 $four

"$root/subtext" study "1=$folder/k1.json" "2=$folder/k2.json" "4=$folder/k4.json" "8=$folder/k8.json" | tee "$folder/study.md"
