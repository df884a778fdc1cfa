#!/bin/sh
# A large corpus through `prepare` in a small heap, whole, and killed and resumed: the shards must be the same bytes.
#
#   bench/prepare.sh [SIZE] [KILLS] [FOLDER]     10g, 5 kills, a new folder under /tmp
#
# SIZE is of JSON lines, made by bench/corpus/SyntheticCorpus.java; about as much again is needed beside it. Says wall seconds, the
# most memory the process took, and whether the shards are equal. HEAP (512m) is Java's; NICE (10) goes before every run.
set -eu
root=$(dirname "$(dirname "$(readlink -f "$0")")")
size=${1:-10g}
kills=${2:-5}
folder=${3:-$(mktemp -d)}
home=$(sh "$root/.mvn/requirements.sh" --run)
"$root/subtext" --version >&2 # builds the jar where it is not there
java="nice -n ${NICE:-10} $home/bin/java -Xmx${HEAP:-512m} -jar $root/cli/target/engine.jar"
mkdir -p "$folder"
corpus=$folder/corpus-$size.jsonl
[ -f "$corpus" ] || nice -n "${NICE:-10}" "$home/bin/java" "$root/bench/corpus/SyntheticCorpus.java" "$size" "$corpus"

prepare() {
    $java prepare "$corpus" "$1" --bad-records skip --held-out 0.001 --set corpus.vocabulary=8192 ${2:-} >"$1.txt" 2>"$1.err"
}

# the most resident memory, looked at while it runs
watch_memory() {
    most=0
    while kill -0 "$1" 2>/dev/null; do
        now=$(awk '/VmHWM/ {print $2}' "/proc/$1/status" 2>/dev/null || true)
        [ "${now:-0}" -gt "$most" ] && most=$now
        sleep 1
    done
    echo "$most"
}

whole=$folder/whole
rm -rf "$whole" "$folder/killed"
from=$(date +%s)
prepare "$whole" &
pid=$!
sleep 1
most=$(watch_memory "$(pgrep -P $pid java || echo $pid)")
wait $pid
to=$(date +%s)
cat "$whole.txt"
echo "whole: $((to - from)) s, heap ${HEAP:-512m}, most resident $((most / 1024)) MiB, corpus $(($(stat -c %s "$corpus") / 1000000)) MB"

each=$(((to - from) / (kills + 1) + 1))
for kill in $(seq "$kills"); do
    timeout -s KILL "$each" $java prepare "$corpus" "$folder/killed" --bad-records skip --held-out 0.001 --set corpus.vocabulary=8192 \
        >/dev/null 2>&1 || true
    echo "killed after $each s: $(find "$folder/killed" -name 'shard-*.tok' 2>/dev/null | wc -l) shards"
done
prepare "$folder/killed"
cd "$whole" && find . -name '*.tok' -o -name tokenizer.json -o -name prepared.json | sort | xargs sha256sum >"$folder/whole.sums"
cd "$folder/killed" && sha256sum --quiet -c "$folder/whole.sums" && echo "killed $kills times and resumed: the same $(wc -l <"$folder/whole.sums") files"
