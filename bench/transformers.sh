#!/bin/sh
# Exported folders held against Hugging Face's transformers itself, and folders that it saved against our import: stories260K, models
# trained here, a tiny model of each family, in f32, bf16 and f16. Writes bench/results/transformers.md; exit code 1 if anything differs.
#
#   PYTHON=venv/bin/python bench/transformers.sh
#
# PYTHON (python3) has torch and transformers 5. NICE (10) goes before every run.
set -eu
root=$(dirname "$(dirname "$(readlink -f "$0")")")
python=${PYTHON:-python3}
page=$root/bench/results/transformers.md
check=$root/bench/peers/check_transformers.py
polite="nice -n ${NICE:-10}"
export OMP_NUM_THREADS=1
if ! "$python" -c 'import torch, transformers' 2>/dev/null; then
    echo "bench: $python has no torch and transformers; name one that has: PYTHON=venv/bin/python bench/transformers.sh" >&2
    exit 1
fi
"$root/subtext" --version >&2 # builds engine.jar where it is not there
home=$(sh "$root/.mvn/requirements.sh" --run)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
commit=$(git -C "$root" rev-parse --short HEAD)
work=$folder/work

subtext() { $polite "$home/bin/java" -jar "$root/cli/target/engine.jar" "$@" >&2; }
mkdir "$work"
set -- # our models for the plan, by name, kind of texts, type and folder to export, the last two empty where that is done

stories=$root/../shared/data/stories260K
if [ -d "$stories" ]; then
    subtext import "$stories" "$folder/stories"
    subtext export --model "$folder/stories" --format hf --out "$work/stories260K"
    set -- "$@" "stories260K" words "" ""
    set -- "$@" "stories260K, bf16" words BF16 "$stories"
    set -- "$@" "stories260K, f16" words F16 "$stories"
else
    echo "bench: no $stories: left out" >&2
fi

subtext em --preset smoke --run "$folder/smoke"
subtext export --model "$folder/smoke/seeds/0/iterations/02/model" --format hf --type bf16 --out "$work/chain world, em, bf16"
set -- "$@" "chain world, em, bf16" symbols "" ""
set -- "$@" "chain world, em" symbols F32 "$folder/smoke/seeds/0/iterations/02/model"
set -- "$@" "chain world, em, f16" symbols F16 "$folder/smoke/seeds/0/iterations/02/model"

subtext train --preset chain-text --run "$folder/text" --set training.steps=8 --set training.warmup=2 --set training.tokens=1024 \
    --set world.documents=60 --set world.heldOut=20 --set world.dev=20 --set world.warmStart=40 --set model.layers=2 --set model.width=64
text=$(find "$folder/text" -path '*model/config.json' | head -1)
set -- "$@" "chain world in sentences, train" words F32 "${text%/config.json}"
set -- "$@" "chain world in sentences, train, bf16" words BF16 "${text%/config.json}"

$polite "$python" "$check" make "$work" "$root" "$@"
$polite "$home/bin/java" --enable-native-access=ALL-UNNAMED -cp "$root/cli/target/engine.jar" "$root/bench/peers/ExportAndRun.java" \
    "$work/plan.json" >&2

failed=0
$polite "$python" "$check" check "$work" >"$folder/table" || failed=1
grep -q '^## Saved by transformers and refused' "$folder/table" || exit 1 # the checks themselves failed: the page stays
{
    cat <<PAGE
# Exported folders in transformers

By \`PYTHON=venv/bin/python bench/transformers.sh\` at commit $commit, on the CPU. What is compared, and within what, stands at the head of
[check_transformers.py](../peers/check_transformers.py); the engine's side is [ExportAndRun.java](../peers/ExportAndRun.java).

PAGE
    sed "s|$folder/||g" "$folder/table"
} >"$folder/page"
mv "$folder/page" "$page"
cat "$page"
exit $failed
