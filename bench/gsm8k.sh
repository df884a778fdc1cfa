#!/bin/sh
# GSM8K by the preset gsm8k-small, and a small trained model of stories taught on it: prepares the corpus, runs two iterations of EM
# from scratch and a continued pretraining, and writes what came of it to bench/results/gsm8k-stories.md.
#
#   bench/gsm8k.sh GSM8K/train.jsonl STORIES260K [FOLDER]
#
# GSM8K is at github.com/openai/grade-school-math; the second is any small model in Hugging Face layout. NICE (10) goes before every run.
set -eu
root=$(dirname "$(dirname "$(readlink -f "$0")")")
gsm8k=$(readlink -f "$1")
model=$(readlink -f "$2")
folder=${3:-$(mktemp -d)}
mkdir -p "$folder"
cd "$folder"
page=$root/bench/results/gsm8k-stories.md
subtext() { nice -n "${NICE:-10}" "$root/subtext" "$@"; }
ln -sf "$gsm8k" train.jsonl
ln -sfn "$model" stories

step() { # a title, then a command whose output goes on the page
    title=$1
    shift
    printf '\n## %s\n\n```\n$ subtext %s\n' "$title" "$(echo "$*" | sed 's/{/'"'"'{/; s/}$/}'"'"'/')" >>new.md
    from=$(date +%s)
    subtext "$@" >out.txt 2>err.txt || { cat err.txt >&2; exit 1; }
    grep '^warning' err.txt >>new.md || true
    cat out.txt >>new.md
    printf '```\n\n%s seconds.\n' "$(($(date +%s) - from))" >>new.md
}

cat >new.md <<HEAD
# GSM8K, small

By \`bench/gsm8k.sh\` at commit $(git -C "$root" rev-parse --short HEAD), on $(nproc) cores that other work used too, so the seconds are upper bounds:
$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1). Whatever the numbers say is here as it came out; a
model of some hundred thousand parameters does not solve word problems.
HEAD
step "The corpus as shards for EM" prepare train.jsonl shards --preset gsm8k-small --held-out 0.03
step "Two iterations of EM from these" em --preset gsm8k-small --corpus shards --run em
step "The corpus as one text for a model of stories" prepare train.jsonl text-shards --from stories --held-out 0.03 \
    --set corpus.chunked=false --set 'corpus.text={question} {answer|drop:<<[^>]*>>}'
step "That model trained on it, before and after" train --from stories --corpus text-shards --run train \
    --set training.steps=300 --set training.learningRate=1e-3 --set training.warmup=20 --set training.tokens=4096 \
    --set training.microTokens=4096 --set model.context=512 --set corpus.heldOut=200
cp new.md "$page"
echo "$page"
