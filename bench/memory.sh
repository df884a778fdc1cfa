#!/bin/sh
# What --dry-run states beforehand against the most that the process held (VmHWM): trainings and drawings of random models, and whole runs
# by the command line. Writes bench/results/memory.md.
#
#   bench/memory.sh [ROWS]      all rows, or those whose number matches this pattern, such as '[3-7]'; others are kept from the page that is there
#
# A row that would not fit into what is free now is left out, and said to be. NICE (10) goes before every run.
set -eu
root=$(dirname "$(dirname "$(readlink -f "$0")")")
rows=${1:-*}
page=$root/bench/results/memory.md
. "$root/bench/benchmarks.sh"
"$root/subtext" --version >&2 # builds engine.jar where it is not there
folder=$(mktemp -d) # row 11 wants 20 GB there: TMPDIR names another place
trap 'rm -rf "$folder"' EXIT
commit=$(git -C "$root" rev-parse --short HEAD)

java=$home/bin/java
number() { sed -n "s/.*\"$1\" *: *\([0-9]*\).*/\1/p" | head -1; }
mb() { echo $((($1 + 500000) / 1000000)); }
fits() { [ "$1" -lt $(($(awk '/MemAvailable/ {print $2}' /proc/meminfo) * 1024 / 10 * 9)) ]; }

# a row of the table: number, name, stated bytes, held bytes or nothing
line() {
    if [ -z "$4" ]; then
        echo "| $1 | $2 | $(mb "$3") MB | not run: too little was free | |"
    else
        echo "| $1 | $2 | $(mb "$3") MB | $(mb "$4") MB | $(awk -v s="$3" -v h="$4" 'BEGIN {printf "%+.1f %%", 100 * (h - s) / s}') |"
    fi >>"$folder/rows"
    tail -1 "$folder/rows" >&2
}

wanted() {
    # shellcheck disable=SC2254  # a pattern
    case $1 in $rows) return 0 ;; esac
    sed -n "/^| $1 |/p" "$page" 2>/dev/null >>"$folder/rows" || true
    return 1
}

light="-Xmx256m -XX:+UseSerialGC --enable-native-access=ALL-UNNAMED"

# Measure on random weights: number, name, arguments
random() {
    row=$1 name=$2
    shift 2
    echo "$row. measure $*" >>"$folder/commands"
    wanted "$row" || return 0
    measure="nice -n ${NICE:-10} $java $light -cp $jar subtext.bench.Measure"
    stated=$($measure "$@" --rounds 1 --dry-run | number statedBytes)
    held=
    if fits "$stated"; then held=$($measure "$@" --rounds 1 | grep '"resident"' | number peakBytes); fi
    line "$row" "$name" "$stated" "$held"
}

# A run by the command line, in a heap of the size that was stated: number, name, arguments
run() {
    row=$1 name=$2
    shift 2
    echo "$row. subtext $*" >>"$folder/commands"
    wanted "$row" || return 0
    plan=$(nice -n "${NICE:-10}" "$java" -jar "$root/cli/target/engine.jar" "$@" --run "$folder/run" --dry-run --json 2>/dev/null)
    stated=$(echo "$plan" | number processBytes)
    heap=$(echo "$plan" | number heap)
    held=
    if fits "$stated"; then
        nice -n "${NICE:-10}" "$java" "-Xmx$((heap / 1048576 + 1))m" -jar "$root/cli/target/engine.jar" "$@" --run "$folder/run" \
            >"$folder/out" 2>&1 &
        pid=$!
        most=0
        while kill -0 "$pid" 2>/dev/null; do
            now=$(awk '/VmHWM/ {print $2}' "/proc/$pid/status" 2>/dev/null || true)
            [ "${now:-0}" -gt "$most" ] && most=$now
            sleep 0.2
        done
        wait "$pid" || { cat "$folder/out" >&2; exit 1; }
        rm -rf "$folder/run"
        held=$((most * 1024))
    fi
    line "$row" "$name" "$stated" "$held"
}

random 1 "1.1B, a training step, f32, AdamW, blocks recomputed, 64 tokens" train --shape TINYLLAMA --dtype F32 --recompute --sequences 1 --length 64
random 2 "1.1B, 8 samples of 64 tokens behind a prompt of 32, bf16 weights" draw --shape TINYLLAMA --dtype BF16 --prompts 1 --samples 8 --prompt 32 --tokens 64
random 3 "124M, 12 layers, a training step of 8 x 256 tokens, f32" train --shape GPT124M --dtype F32 --sequences 8 --length 256
random 4 "124M, a training step of 4 x 512 tokens, bf16 weights, blocks recomputed" train --shape GPT124M --dtype BF16 --sequences 4 --length 512 --recompute
random 5 "110M, untied, a training step of 1 x 1024 tokens, f32" train --shape STORIES110M --dtype F32 --sequences 1 --length 1024
random 6 "10M, 6 layers of 384, a training step of 64 x 128 tokens, f32" train --shape SMALL --dtype F32 --sequences 64 --length 128
random 7 "110M, K = 32 samples of 64 tokens of each of 4 prompts of 256, f32" draw --shape STORIES110M --dtype F32 --prompts 4 --samples 32 --prompt 256 --tokens 64
random 8 "124M, K = 4 samples of 32 tokens of each of 16 prompts of 512, bf16" draw --shape GPT124M --dtype BF16 --prompts 16 --samples 4 --prompt 512 --tokens 32
size="--set model.width=768 --set model.layers=8 --set model.heads=12 --set model.kvHeads=12 --set model.headDim=64 --set model.hidden=2048"
short="--set training.steps=2 --set training.warmup=1 --set evaluation.resamples=100 --set world.dev=10"
# shellcheck disable=SC2086  # options are words
run 9 "57M, em whole: warm start, E-step of K = 4, M-step, 32 sequences at once" em --preset chain --iterations 1 $size $short \
    --set baselines= --set world.documents=40 --set world.heldOut=20 --set device.slots=32
# shellcheck disable=SC2086
run 10 "57M, train whole, with its checkpoint and model" train --preset chain $size $short --set world.documents=200 --set world.heldOut=40 --set device.slots=8

echo "11. measure model --shape TINYLLAMA --dtype BF16 tinyllama" >>"$folder/commands"
# shellcheck disable=SC2254,SC2086  # a pattern; options are words
case 11 in $rows) nice -n "${NICE:-10}" "$java" $light -cp "$jar" subtext.bench.Measure model --shape TINYLLAMA --dtype BF16 "$folder/tinyllama" ;; esac
# shellcheck disable=SC2086
cd "$folder" && run 11 "1.1B, train whole from a model that is there, f32, blocks recomputed, 64 tokens, with its checkpoint and model" \
    train --preset smoke --from tinyllama --set world.rendering=text --set model.context=64 --set device.recompute=true --set device.slots=1 \
    --set world.heldOut=2 --set em.maxThought=16 --set training.steps=2 --set training.tokens=64 --set training.microTokens=64 --set training.checkpointEvery=0

{
    cat <<PAGE
# Memory stated and held

By \`bench/memory.sh\`, the rows measured last at commit $commit, on the CPU: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(nproc) cores shared with other work,
$(awk '/MemTotal/ {printf "%d", $2 / 1024}' /proc/meminfo) MiB. Stated before anything is allocated, which \`--dry-run\` prints alone, and the most that the process held (VmHWM).

| | | stated | held | difference |
|---|---|---|---|---|
$(sort -t '|' -k 2 -n "$folder/rows")

Stated are the tensors to the byte, Java's heap in rows 9 to 11, and 64 MiB for the Java machine and the library.

\`\`\`sh
measure() { java -Xmx256m -XX:+UseSerialGC --enable-native-access=ALL-UNNAMED -cp bench/target/benchmarks.jar subtext.bench.Measure "\$@" --rounds 1; }
$(cat "$folder/commands")
\`\`\`
PAGE
} >"$folder/page"
mv "$folder/page" "$page"
cat "$page"
