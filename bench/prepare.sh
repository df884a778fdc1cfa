#!/bin/sh
# A large corpus through `prepare` in a small heap, twice side by side: undisturbed, and killed and resumed. The shards must be the same
# bytes. Writes bench/results/prepare.md.
#
#   bench/prepare.sh [SIZE] [FOLDER]             10g, a new folder under /tmp
#
# SIZE is of JSON lines, made by bench/corpus/SyntheticCorpus.java; one and a half times as much again is needed beside it. One run is
# killed with SIGKILL three times: while it reads the corpus for the first time, when its first shard is there, and when about half of them are.
# HEAP (512m) is Java's; NICE (10) goes before every run. All but the figures is removed at the end, unless KEEP is set.
set -eu
root=$(dirname "$(dirname "$(readlink -f "$0")")")
size=${1:-10g}
folder=$(readlink -f "${2:-$(mktemp -d)}")
heap=${HEAP:-512m}
page=$root/bench/results/prepare.md
home=$(sh "$root/.mvn/requirements.sh" --run)
"$root/subtext" --version >&2 # builds the jar where it is not there
mkdir -p "$folder"
corpus=$folder/corpus-$size.jsonl
[ -f "$corpus" ] || nice -n "${NICE:-10}" "$home/bin/java" "$root/bench/corpus/SyntheticCorpus.java" "$size" "$corpus"
bytes=$(stat -c %s "$corpus")
options="--bad-records skip --held-out 0.001 --set corpus.vocabulary=8192"
whole=$folder/whole
killed=$folder/killed

# Starts a run in the background; its process is $pid.
start() {
    # shellcheck disable=SC2086  # options are words
    nice -n "${NICE:-10}" "$home/bin/java" "-Xmx$heap" "-Xlog:gc:file=$1.gc" -jar "$root/cli/target/engine.jar" \
        prepare "$corpus" "$1" $options >"$1.txt" 2>"$1.err" &
    pid=$!
}

shards() { find "$1" -name 'shard-*.tok' 2>/dev/null | wc -l; }
since() { echo $(($(date +%s) - $1)); }

# Watches the undisturbed run to its end: seconds, seconds of the first reading, most resident KiB.
watch_whole() {
    most=0
    scanned=0
    while kill -0 "$pid" 2>/dev/null; do
        now=$(awk '/VmHWM/ {print $2}' "/proc/$pid/status" 2>/dev/null || true)
        [ "${now:-0}" -gt "$most" ] && most=$now
        [ "$scanned" = 0 ] && [ -f "$whole/scan/scan.json" ] && scanned=$(since "$1")
        sleep 1
    done
    echo "$(since "$1") $scanned $most" >"$folder/whole.figures"
}

# Kills the other run when a command holds; says what was there.
kill_when() {
    begun=$(date +%s)
    start "$killed"
    until "$@"; do
        kill -0 "$pid" 2>/dev/null || { cat "$killed.err" >&2; echo "prepare.sh: the run ended before it could be killed" >&2; exit 1; }
        sleep 0.2
    done
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null || true
    reading="was read"
    [ -f "$killed/scan/scan.json" ] || reading="was being read for the first time"
    echo "| $(since "$begun") s | the corpus $reading, $(shards "$killed") shards were there |" >>"$folder/kills"
}
reads() { grep -q '^scan: ' "$killed.err"; } # it says so after some seconds
has() { [ "$(shards "$killed")" -ge "$1" ]; }

if [ ! -f "$folder/whole.figures" ]; then
    rm -rf "$whole"
    start "$whole"
    watch_whole "$(date +%s)" &
fi
rm -rf "$killed" "$folder/kills"
kill_when reads
kill_when has 1
half=$((bytes / 250000000)) # of some 80 shards of 64 MiB in 10 GB
kill_when has $((half > 2 ? half : 2))
begun=$(date +%s)
start "$killed"
wait "$pid" || { cat "$killed.err" >&2; exit 1; }
last=$(since "$begun")
while [ ! -f "$folder/whole.figures" ]; do sleep 1; done
read -r seconds scanned most <"$folder/whole.figures"
[ -f "$whole/prepared.json" ] || { cat "$whole.err" >&2; exit 1; }

(cd "$whole" && find . -name '*.tok' -o -name tokenizer.json -o -name prepared.json | sort | xargs sha256sum) >"$folder/whole.sums"
(cd "$killed" && sha256sum --quiet -c "$folder/whole.sums" && [ "$(shards .)" = "$(shards "$whole")" ])
peak=$(sed -n 's/.* \([0-9]*\)M->.*/\1/p' "$whole.gc" "$killed.gc" | sort -n | tail -1)

{
    cat <<PAGE
# A large corpus through prepare

By \`bench/prepare.sh $size\` at commit $(git -C "$root" rev-parse --short HEAD), two runs side by side on $(nproc) cores that other work used too, so the seconds
are upper bounds: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1).

\`\`\`
$ java -Xmx$heap -jar engine.jar prepare corpus-$size.jsonl whole $options
$(sed "s|$folder/||g" "$whole.txt")
\`\`\`

| | |
|---|---|
| corpus | $((bytes / 1000000)) MB of JSON lines |
| wall time | $seconds s, of which $scanned s the first reading: $((bytes / seconds / 1000)) kB of corpus a second in all |
| heap | at most $peak MB before a collection, $heap allowed |
| resident memory | at most $((most / 1024)) MiB |

The same again, killed with SIGKILL three times and each time given again:

| killed after | when |
|---|---|
PAGE
    cat "$folder/kills"
    echo
    echo "The fourth time it ended, after $last s, with the same $(wc -l <"$folder/whole.sums") files as the undisturbed run, by SHA-256: shards, tokenizer and"
    echo "statistics."
} >"$page"
cat "$page"
[ -n "${KEEP-}" ] || rm -rf "$whole" "$killed" "$corpus"
