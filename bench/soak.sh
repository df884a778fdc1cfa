#!/bin/sh
# EM on the chain world over and over in one process: memory must stay flat, tokens per second within 5 %, every round's model the same.
#
#   bench/soak.sh [MINUTES] [--threads N] [--out FOLDER]      30 minutes, 1 thread, into bench/results/soak.md and soak.svg
#
# Exit code 1 if a figure is outside its bound. Builds bench/target/benchmarks.jar if it is missing or older than its sources.
set -u
root=$(dirname "$(dirname "$(readlink -f "$0")")")
jar=$root/bench/target/benchmarks.jar
stale() {
    [ -f "$jar" ] || return 0
    [ -n "$(find "$root/pom.xml" "$root/native" "$root/bindings" "$root/engine" "$root/trainer" "$root/bench/src" "$root/bench/pom.xml" \
        \( -name target -o -path '*/src/test' -o -path '*/native/test' \) -prune -o -type f -newer "$jar" -print -quit)" ]
}
home=$(sh "$root/.mvn/requirements.sh") || exit 2
if stale; then
    echo "bench/soak.sh: building $jar" >&2
    "$root/mvnw" -B -q -ntp -f "$root/pom.xml" -pl bench -am package -DskipTests -Dsubtext.cuda=OFF -Dsubtext.targets=libraries >&2 || exit 1
    touch "$jar"
fi
commit=$(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown)
# a heap of one size, touched at once, so that what grows is native; softly held objects go at every collection and what is freed goes back to
# the system, or memory would follow the clock; the Java machine counts its own, which is told apart
exec "$home/bin/java" -Xms192m -Xmx192m -XX:+AlwaysPreTouch -XX:+UseSerialGC -XX:SoftRefLRUPolicyMSPerMB=0 \
    -XX:TrimNativeHeapInterval=5000 -XX:NativeMemoryTracking=summary --enable-native-access=ALL-UNNAMED -cp "$jar" \
    subtext.bench.Soak --root "$root" --commit "$commit" "$@"
