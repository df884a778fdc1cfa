#!/usr/bin/env bash
# The GPU suite, by one command on a bare GPU machine: CUDA toolkit, CMake, PyTorch, and the pack of bench/gpu/pack.sh in .pack/ (a Java
# runtime, the jars and, where nvcc was at hand, the libraries and test programs). Builds what is missing, checks, sanitizes, measures; the
# report and the logs go to $OUT (report.md, report.json, logs.tar.gz).
#
#   bench/gpu/run.sh                     all steps
#   bench/gpu/run.sh check train report  only these
#
# Steps: build check exact sanitize java memory matmul attention train sample peers report. A step that fails is named and does not stop the
# rest; the exit status is the number of those that failed. No setting of the card is touched.
set -u
cd "$(dirname "$0")/../.."
OUT=${OUT:-bench/results/last}
WORK=${WORK:-/tmp/subtext-gpu-run}
PACK=$PWD/.pack
JAVA=$PACK/jre/bin/java
[ -e "$JAVA" ] || [ ! -e "$PACK/pack.tar.gz" ] || tar -C "$PACK" -xzf "$PACK/pack.tar.gz"
mkdir -p "$OUT" "$WORK"
rm -f "$WORK"/*.jsonl
failed=0
started=$SECONDS
if [ -e "$PACK/native/libsubtext_cuda.so" ]; then BUILD=$PACK/native; else BUILD=$WORK/build; fi
export BUILD

# step NAME SECONDS COMMAND...: with a limit; outcome to steps.jsonl, output to NAME.log, its end here
step() {
    local name=$1 limit=$2 from=$SECONDS status
    shift 2
    timeout -k 5 "$limit" "$@" >"$WORK/$name.log" 2>&1
    status=$?
    printf '{"step":"%s","status":%d,"seconds":%d}\n' "$name" "$status" "$((SECONDS - from))" >>"$WORK/steps.jsonl"
    printf '== %s: status %d, %d s\n' "$name" "$status" "$((SECONDS - from))"
    tail -n "${SHOW:-4}" "$WORK/$name.log" | cut -c1-400
    [ "$status" = 0 ] || failed=$((failed + 1))
}

# the first cuBLASLt of this machine, for the backward products
cublaslt() {
    local file
    for file in /usr/local/cuda/lib64/libcublasLt.so.1? $(python3 -c 'import site, glob
for s in site.getsitepackages(): print(*glob.glob(s + "/nvidia/*/lib/libcublasLt.so.1?"))' 2>/dev/null); do
        if [ -e "$file" ]; then
            printf '%s' "$file"
            return
        fi
    done
}
if [ -z "${SUBTEXT_CUBLASLT_PATH:-}" ] && [ -n "$(cublaslt)" ]; then
    SUBTEXT_CUBLASLT_PATH=$(cublaslt)
    export SUBTEXT_CUBLASLT_PATH
fi
export SUBTEXT_NATIVE_PATH=$BUILD

kernels() { OUT=$WORK SHOW=${SHOW:-4} step "kernels-$1" "$2" bash bench/gpu/kernels.sh "$1"; }
measure() { # measure NAME SECONDS FILE ARGUMENTS...
    local name=$1 limit=$2 file=$3
    shift 3
    SHOW=1 step "$name" "$limit" "$JAVA" -Xmx24g --enable-native-access=ALL-UNNAMED -cp "$PACK/benchmarks.jar" subtext.bench.Measure "$@" \
        --device cuda --dtype bf16
    grep '^{' "$WORK/$name.log" >>"$WORK/$file.jsonl"
}
peer() { # peer NAME SECONDS FILE SCRIPT ARGUMENTS...
    local name=$1 limit=$2 file=$3
    shift 3
    SHOW=1 step "$name" "$limit" python3 "$@"
    grep '^{' "$WORK/$name.log" >>"$WORK/$file.jsonl"
}

run_build() {
    if [ "$BUILD" = "$PACK/native" ]; then
        step build 10 ls -l "$BUILD"
    else
        step build 300 bash -c "cmake -S native -B '$BUILD' -DCMAKE_BUILD_TYPE=Release -DSUBTEXT_EMULATOR=OFF && cmake --build '$BUILD' -j \$(nproc) && \
            cmake --build '$BUILD' -j 4 --target cuda_bench attention_bench && find '$BUILD' -name libsubtext_cuda.so -exec cp -n {} '$BUILD' \;"
    fi
}
run_check() { SHOW=8 step check 90 "$BUILD/op_tests" test --lib "$BUILD/libsubtext_cuda.so"; }
run_exact() {
    SHOW=8 step exact 60 "$BUILD/op_tests" exact --lib "$BUILD/libsubtext_cuda.so"
    kernels exact 60
}
run_sanitize() {
    local tool
    # small shapes (a law of 4,000 draws below --largest 128); racecheck is the slow one: the ops that use shared memory, one by one
    for tool in memcheck initcheck synccheck; do
        SHOW=2 step "sanitize-$tool" 40 compute-sanitizer --tool "$tool" --error-exitcode 9 "$BUILD/op_tests" test --shapes 1 --largest 70 \
            --lib "$BUILD/libsubtext_cuda.so"
    done
    local op
    for op in matmul attention rmsnorm cross_entropy sample; do
        SHOW=2 step "sanitize-racecheck-$op" 20 compute-sanitizer --tool racecheck --error-exitcode 9 "$BUILD/op_tests" test --shapes 1 --largest 33 \
            --op $op --lib "$BUILD/libsubtext_cuda.so"
    done
}
run_java() {
    SHOW=20 step doctor 30 "$JAVA" -jar "$PACK/engine.jar" doctor
    rm -rf "$WORK/em-run"
    SHOW=3 step em 120 "$JAVA" -jar "$PACK/engine.jar" em --iterations 3 --device cuda --run "$WORK/em-run"
}
run_memory() { SHOW=24 kernels memory 60; }
run_matmul() { SHOW=2 kernels matmul 90; }
run_attention() { SHOW=24 kernels attention 150; }
run_train() {
    local matmul
    for matmul in own auto; do
        measure "train-1b-$matmul" 90 train train --shape tinyllama --sequences 8 --length 2048 --rounds 7 --matmul $matmul
        measure "train-124m-$matmul" 60 train train --shape gpt124m --sequences 32 --length 1024 --rounds 9 --matmul $matmul
    done
}
run_sample() {
    measure sample-1b 90 sample draw --shape tinyllama --prompts 32 --samples 8 --prompt 256 --tokens 256 --rounds 3 --score
}
run_peers() {
    peer train-1b-torch 150 train bench/peers/train_torch.py --shape tinyllama --sequences 8 --length 2048 --steps 7
    peer train-124m-torch 120 train bench/peers/train_torch.py --shape 124m --sequences 32 --length 1024 --steps 9
    peer sample-1b-torch 100 sample bench/peers/sample_torch.py --engine graph
    peer sample-1b-transformers 120 sample bench/peers/sample_torch.py --engine transformers --rounds 1
}
run_report() { SHOW=200 step report 30 python3 bench/gpu/report.py --work "$WORK" --out "$OUT" --seconds $((SECONDS - started)); }

for name in ${*:-build check exact sanitize java memory matmul attention train sample peers report}; do "run_$name"; done
tar -C "$WORK" -czf "$OUT/logs.tar.gz" --exclude=./build --exclude=./em-run . 2>/dev/null
exit "$failed"
