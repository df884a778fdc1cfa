#!/usr/bin/env bash
# The GPU suite, by one command on a bare GPU machine: CUDA toolkit, CMake, PyTorch, and a pack made by bench/gpu/pack.sh
# (Java runtime, jars; see there) in .pack/. Builds, checks, sanitizes, measures; writes report.md, report.json and logs.tar.gz to $OUT.
#
#   bench/gpu/run.sh                 all steps
#   bench/gpu/run.sh build optests   only these
#
# Steps: build optests exact java sanitize kernels attention train sample report. A failing step is reported and does not stop the rest; the exit code
# is the number of failed steps. No setting of the card is touched.
set -u
cd "$(dirname "$0")/../.."
OUT=${OUT:-bench/results/last}
WORK=${WORK:-/tmp/subtext-gpu}
PACK=${PACK:-.pack}
mkdir -p "$OUT" "$WORK"
BUILD=$WORK/build
failed=0
started=$(date +%s)

step() { # step NAME SECONDS COMMAND...: runs with a limit, logs, records the outcome
    local name=$1 limit=$2 from code
    shift 2
    from=$(date +%s)
    printf '== %s\n' "$name"
    timeout -k 5 "$limit" "$@" >"$WORK/$name.log" 2>&1
    code=$?
    printf '{"step":"%s","exit":%d,"seconds":%d}\n' "$name" "$code" "$(($(date +%s) - from))" >>"$WORK/steps.jsonl"
    [ "$code" = 0 ] || { failed=$((failed + 1)); printf 'FAILED (%s): %s\n' "$code" "$name"; }
    tail -n "${TAIL:-6}" "$WORK/$name.log" | cut -c1-300
}

cublaslt() { # the first cuBLASLt on this machine
    for f in /usr/local/cuda/lib64/libcublasLt.so.1? $(python3 -c 'import site, glob
for s in site.getsitepackages(): print(*glob.glob(s + "/nvidia/*/lib/libcublasLt.so.1?"))' 2>/dev/null); do
        [ -e "$f" ] && { printf '%s' "$f"; return; }
    done
}

JAVA=$PACK/runtime/bin/java
export SUBTEXT_CUBLASLT_PATH=${SUBTEXT_CUBLASLT_PATH:-$(cublaslt)}
[ -n "$SUBTEXT_CUBLASLT_PATH" ] || unset SUBTEXT_CUBLASLT_PATH
export SUBTEXT_NATIVE_PATH=$BUILD/lib

run_build() {
    if [ -e "$PACK/native/libsubtext_cuda.so" ]; then
        # built beforehand from the same sources by bench/gpu/pack.sh
        step build 60 bash -c "mkdir -p '$BUILD' && rm -rf '$BUILD/lib' && cp -r '$PACK/native' '$BUILD/lib' && ls -l '$BUILD/lib'"
    else
        step build 420 bash -c "cmake -S native -B '$BUILD' -DCMAKE_BUILD_TYPE=Release -DSUBTEXT_EMULATOR=OFF && \
            cmake --build '$BUILD' -j 16 && mkdir -p '$BUILD/lib' && find '$BUILD' -maxdepth 3 -type f \
            \( -name 'libsubtext_*.so' -o -name op_tests -o -name '*_bench' \) -exec cp {} '$BUILD/lib/' \;"
    fi
}
run_optests() { step optests 150 "$BUILD/lib/op_tests" test --lib "$BUILD/lib/libsubtext_cuda.so"; }
run_exact() { step exact 90 "$BUILD/lib/op_tests" exact --lib "$BUILD/lib/libsubtext_cuda.so"; }
run_sanitize() {
    for tool in memcheck racecheck initcheck synccheck; do
        step "sanitize-$tool" 60 compute-sanitizer --tool "$tool" --error-exitcode 9 "$BUILD/lib/op_tests" test --quick \
            --lib "$BUILD/lib/libsubtext_cuda.so"
    done
}
run_kernels() { step kernels 120 "$BUILD/lib/cuda_bench" --json "$WORK/kernels.jsonl"; }
run_attention() {
    step attention 60 "$BUILD/lib/attention_bench" --json "$WORK/attention.jsonl"
    step attention-torch 90 python3 bench/peers/attention_torch.py --json "$WORK/attention-torch.jsonl"
}
measure() { "$JAVA" -Xmx20g --enable-native-access=ALL-UNNAMED -cp "$PACK/benchmarks.jar" subtext.bench.Measure "$@" --device cuda --dtype bf16; }
run_train() {
    : >"$WORK/train.jsonl"
    for matmul in own auto; do
        step "train-1b-$matmul" 120 bash -c "$(declare -f measure); JAVA='$JAVA' PACK='$PACK'; measure train --shape tinyllama \
            --sequences 8 --length 2048 --rounds 7 --matmul $matmul | tee -a '$WORK/train.jsonl'"
        step "train-124m-$matmul" 60 bash -c "$(declare -f measure); JAVA='$JAVA' PACK='$PACK'; measure train --shape gpt124m \
            --sequences 32 --length 1024 --rounds 9 --matmul $matmul | tee -a '$WORK/train.jsonl'"
    done
    step train-1b-torch 150 bash -c "python3 bench/peers/train_torch.py --shape tinyllama --sequences 8 --length 2048 --steps 7 | tee -a '$WORK/train.jsonl'"
    step train-124m-torch 120 bash -c "python3 bench/peers/train_torch.py --shape 124m --sequences 32 --length 1024 --steps 9 | tee -a '$WORK/train.jsonl'"
}
run_sample() {
    : >"$WORK/sample.jsonl"
    step sample-1b 120 bash -c "$(declare -f measure); JAVA='$JAVA' PACK='$PACK'; measure draw --shape tinyllama --prompts 32 \
        --samples 8 --prompt 256 --tokens 256 --rounds 3 --score | tee -a '$WORK/sample.jsonl'"
    step sample-1b-graph 90 bash -c "python3 bench/peers/sample_torch.py --engine graph --compile | tee -a '$WORK/sample.jsonl'"
    step sample-1b-transformers 90 bash -c "python3 bench/peers/sample_torch.py --engine transformers --rounds 1 | tee -a '$WORK/sample.jsonl'"
}
run_java() {
    step doctor 30 "$JAVA" -jar "$PACK/engine.jar" doctor
    step em 120 "$JAVA" -jar "$PACK/engine.jar" em --iterations 1 --device cuda --run "$WORK/em-run" --json
}
run_report() { python3 bench/gpu/report.py --work "$WORK" --out "$OUT" --seconds $(($(date +%s) - started)); }

rm -f "$WORK/steps.jsonl"
steps=${*:-build optests exact java sanitize kernels attention train sample report}
for name in $steps; do "run_$name"; done
tar -C "$WORK" -czf "$OUT/logs.tar.gz" --exclude=build --exclude='em-run*' . 2>/dev/null
exit "$failed"
