#!/bin/bash
# Builds the CUDA and CPU libraries on a GPU machine, checks every op, then measures the kernels.
#   OUT=results bench/gpu/kernels.sh [build|check|exact|memory|matmul|attention|report ...]     nothing named: all
# Needs nvcc, CMake and a C++ compiler; cuBLASLt (the yardstick) is looked for on the loader's path and in Python's nvidia packages. Each
# step has its own time limit and its own file under $OUT; the end of each is shown. The exit status is 1 if any step failed.
set -u
cd "$(dirname "$0")/../.."
out=$(realpath "${OUT:-.}")
build=${BUILD:-/tmp/subtext-gpu}
steps=${*:-build check exact memory matmul attention report}
mkdir -p "$out"
failed=0

# step NAME SECONDS COMMAND...: runs with a time limit, output to $out/NAME.txt, the last lines here
step() {
    local name=$1 limit=$2 begin=$SECONDS status
    shift 2
    timeout -k 5 "$limit" "$@" >"$out/$name.txt" 2>&1
    status=$?
    echo "== $name: status $status, $((SECONDS - begin)) s"
    tail -n "${SHOW:-6}" "$out/$name.txt"
    [ $status -eq 0 ] || failed=1
    return $status
}
asked() { [[ " $steps " == *" $1 "* ]]; }

if asked build; then
    step configure 60 cmake -S native -B "$build" -DCMAKE_BUILD_TYPE=Release -DSUBTEXT_EMULATOR=OFF
    SHOW=12 step build 240 cmake --build "$build" -j "$(nproc)" || exit 1
    SHOW=12 step build_bench 60 cmake --build "$build" -j 2 --target cuda_bench attention_bench || exit 1
fi
library=$(find "$build" -name libsubtext_cuda.so | head -1)
bench=$(find "$build" -name cuda_bench -type f | head -1)
tests=$(find "$build" -name op_tests -type f | head -1)

if asked exact; then
    SHOW=12 step exact 60 "$bench" exact
    SHOW=12 step exact_split 60 env SUBTEXT_CUDA_SPLIT=1 "$bench" exact
    SHOW=12 step exact_portable 60 env SUBTEXT_CUDA_PATH=portable "$bench" exact
fi
if asked check && [ -n "$tests" ]; then
    SHOW=15 step op_tests_test 100 "$tests" test --lib "$library"
    SHOW=15 step op_tests_exact 60 "$tests" exact --lib "$library"
    SHOW=15 step op_tests_test_portable 100 env SUBTEXT_CUDA_PATH=portable "$tests" test --lib "$library"
fi
asked memory && SHOW=40 step memory 60 "$bench" memory --json "$out/memory.json"
if asked matmul; then
    SHOW=90 step matmul 120 "$bench" matmul --json "$out/matmul.json"
    SHOW=4 step matmul_split 90 env SUBTEXT_CUDA_SPLIT=1 "$bench" matmul --json "$out/matmul_split.json"
    SHOW=4 step matmul_no_cluster 90 env SUBTEXT_CUDA_CLUSTER=1 "$bench" matmul --json "$out/matmul_no_cluster.json"
fi
if asked attention; then
    SHOW=20 step attention 60 "$bench" attention --json "$out/attention.json"
    SHOW=25 step attention_lengths 60 "$build/attention_bench" --lib "$library" --json "$out/attention_lengths.json"
    SHOW=25 step attention_mma 60 env SUBTEXT_CUDA_ATTENTION=mma "$build/attention_bench" --lib "$library" --json "$out/attention_mma.json"
    python3 -c 'import torch' 2>/dev/null && SHOW=30 step attention_torch 90 python3 bench/peers/attention_torch.py --json "$out/attention_torch.json"
fi
if asked report && command -v cuobjdump >/dev/null; then
    step resources 60 cuobjdump --dump-resource-usage "$library"
    # which kernels hold which tensor-core, tensor-copy and spill instructions
    step instructions 120 bash -c "cuobjdump -sass '$library' | awk '/Function :/ {f = \$3} /arch =/ {a = \$3}
        match(\$0, /(HGMMA|HMMA|UTMALDG|LDGSTS|LDSM|STL|LDL|USETMAXREG)/) {n[a \" \" f \" \" substr(\$0, RSTART, RLENGTH)]++} END {for (i in n) print n[i], i}' | sort -k2 | c++filt"
fi
nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.mem,power.draw,temperature.gpu --format=csv >"$out/gpu.txt" 2>&1
exit $failed
