#!/bin/sh
# Measures the CPU: kernels, training, generation, the E-step, how cost grows; beside the peers of bench/peers that are
# installed. Builds bench/target/benchmarks.jar if it is missing or older than its sources, and writes bench/results/cpu.md, cpu.json,
# roofline.md and the figures.
#
#   bench/cpu.sh                          everything
#   bench/cpu.sh matmul train             these parts: matmul train threads decode estep scaling roofline
#   bench/cpu.sh train --shape tiny --rounds 7 --out /tmp/results
#
# Nothing else should run meanwhile; how much did is written down. Where something does, root can put this before it:
#   echo -20 > /proc/self/autogroup; nice -n -20 bench/cpu.sh ...     in a shell of its own (setsid)
# but not by a real-time class, under which OpenBLAS's waiting threads starve its working ones.
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
    echo "bench/cpu.sh: building $jar" >&2
    "$root/mvnw" -B -q -ntp -f "$root/pom.xml" -pl bench -am package -DskipTests -Dsubtext.cuda=OFF -Dsubtext.targets=libraries >&2 || exit 1
    touch "$jar"
fi
# these slow OpenBLAS down where they are set
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
# threads of a library that has done its round must not spin into the next one's
export OMP_WAIT_POLICY=passive KMP_BLOCKTIME=0
exec "$home/bin/java" -Xmx4g --enable-native-access=ALL-UNNAMED -cp "$jar" subtext.bench.Cpu --root "$root" "$@"
