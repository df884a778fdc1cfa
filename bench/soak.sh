#!/bin/sh
# EM on the chain world over and over in one process: memory must stay flat, tokens per second within 5 %, every round's model the same.
#
#   bench/soak.sh [MINUTES] [--threads N] [--out FOLDER]      30 minutes, 1 thread, into bench/results/soak.md and soak.svg
#
# Exit code 1 if a figure is outside its bound. Builds bench/target/benchmarks.jar if it is missing or older than its sources.
set -u
root=$(dirname "$(dirname "$(readlink -f "$0")")")
. "$root/bench/benchmarks.sh"
commit=$(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown)
# a heap of one size, touched at once, so that what grows is native; softly held objects go at every collection and what is freed goes back to
# the system, or memory would follow the clock; the Java machine counts its own, which is told apart
exec "$home/bin/java" -Xms192m -Xmx192m -XX:+AlwaysPreTouch -XX:+UseSerialGC -XX:SoftRefLRUPolicyMSPerMB=0 \
    -XX:TrimNativeHeapInterval=5000 -XX:NativeMemoryTracking=summary --enable-native-access=ALL-UNNAMED -cp "$jar" \
    subtext.bench.Soak --root "$root" --commit "$commit" "$@"
