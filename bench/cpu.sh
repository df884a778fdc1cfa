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
. "$root/bench/benchmarks.sh"
# these slow OpenBLAS down where they are set
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
# threads of a library that has done its round must not spin into the next one's
export OMP_WAIT_POLICY=passive KMP_BLOCKTIME=0
exec "$home/bin/java" -Xmx4g --enable-native-access=ALL-UNNAMED -cp "$jar" subtext.bench.Cpu --root "$root" "$@"
