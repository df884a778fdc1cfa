#!/usr/bin/env bash
# The GPU suite, by one command on a bare GPU machine: CUDA toolkit, CMake, PyTorch, and the pack of bench/gpu/pack.sh in .pack/ (a Java
# runtime, the jars, the JUnit suite and, where nvcc was at hand, the libraries and test programs). Builds what is missing, checks,
# measures, sanitizes; the report and the logs go to $OUT (report.md, report.json, logs.tar.gz).
#
#   bench/gpu/run.sh                     all steps
#   bench/gpu/run.sh check train report  only these
#   bench/gpu/run.sh --dry               without a GPU: unpacks, runs the CPU suite, lists the device steps; bench/results/dry-run.md
#
# Steps, most valuable first: build exact parity train sample matmul attention check memory java peers sanitize report. All of them take at
# most BUDGET seconds (480): a step has a usual time, of an H100, and a limit; one whose usual time is not left any more is cut and named,
# and none runs past the end. (A build from source takes a third of it.) A step that fails is named and does not stop the rest; the exit
# status is the number of those that failed. No setting of the card is touched.
set -u
cd "$(dirname "$0")/../.."
BUDGET=${BUDGET:-480}
RESERVE=15 # of it for the report
DRY=
if [ "${1-}" = --dry ]; then
    DRY=yes
    shift
fi
OUT=${OUT:-bench/results/last}
WORK=${WORK:-/tmp/subtext-gpu-run}
PACK=$PWD/.pack
[ -z "$DRY" ] || PACK=$WORK/pack
mkdir -p "$OUT" "$WORK"
rm -f "$WORK"/*.jsonl
if [ -n "$DRY" ]; then # from the archive, into an empty folder
    rm -rf "$PACK"
    mkdir -p "$PACK"
    tar -C "$PACK" -xzf .pack/pack.tar.gz || exit 1
elif [ ! -e "$PACK/jre/bin/java" ] && [ -e "$PACK/pack.tar.gz" ]; then
    tar -C "$PACK" -xzf "$PACK/pack.tar.gz"
fi
JAVA=$PACK/jre/bin/java
failed=0
cut=
started=$SECONDS
usual=0
if [ -e "$PACK/native/libsubtext_cuda.so" ]; then BUILD=$PACK/native; else BUILD=$WORK/build; fi
LIBRARY=$BUILD/libsubtext_cuda.so

record() { printf '{"step":"%s","status":"%s","seconds":%d,"usual":%d,"limit":%d}\n' "$@" >>"$WORK/steps.jsonl"; }

# step NAME USUAL LIMIT COMMAND...: outcome to steps.jsonl, output to NAME.log, its end here; listed only in a dry run
step() {
    local name=$1 takes=$2 limit=$3 from=$SECONDS left status
    shift 3
    usual=$((usual + takes))
    if [ -n "$DRY" ]; then
        record "$name" device 0 "$takes" "$limit"
        return
    fi
    left=$((BUDGET - RESERVE - (SECONDS - started)))
    if [ "$left" -lt "$takes" ]; then
        record "$name" cut 0 "$takes" "$limit"
        echo "== $name: cut, $left s left of the $takes s it takes"
        cut="$cut $name"
        return
    fi
    [ "$limit" -le "$left" ] || limit=$left
    run_step "$name" "$takes" "$limit" "$@"
}

# run_step NAME USUAL LIMIT COMMAND...: without asking what is left
run_step() {
    local name=$1 takes=$2 limit=$3 from=$SECONDS status
    shift 3
    timeout -k 5 "$limit" "$@" >"$WORK/$name.log" 2>&1
    status=$?
    record "$name" "$status" "$((SECONDS - from))" "$takes" "$limit"
    printf '== %s: status %d, %d s%s\n' "$name" "$status" "$((SECONDS - from))" "$([ $status != 124 ] || echo ", its time limit")"
    tail -n "${SHOW:-4}" "$WORK/$name.log" | cut -c1-400
    [ "$status" = 0 ] || failed=$((failed + 1))
    return "$status"
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

measure() { # measure NAME USUAL LIMIT FILE ARGUMENTS...
    local name=$1 takes=$2 limit=$3 file=$4
    shift 4
    SHOW=1 step "$name" "$takes" "$limit" "$JAVA" -Xmx24g --enable-native-access=ALL-UNNAMED -cp "$PACK/benchmarks.jar" subtext.bench.Measure "$@" \
        --device cuda --dtype bf16
    [ ! -e "$WORK/$name.log" ] || grep '^{' "$WORK/$name.log" >>"$WORK/$file.jsonl"
}
peer() { # peer NAME USUAL LIMIT FILE SCRIPT ARGUMENTS...
    local name=$1 takes=$2 limit=$3 file=$4
    shift 4
    SHOW=1 step "$name" "$takes" "$limit" python3 "$@"
    [ ! -e "$WORK/$name.log" ] || grep '^{' "$WORK/$name.log" >>"$WORK/$file.jsonl"
}
run_build() {
    if [ "$BUILD" = "$PACK/native" ]; then
        step build 1 10 ls -l "$BUILD"
    else
        step build 150 300 bash -c "cmake -S native -B '$BUILD' -DCMAKE_BUILD_TYPE=Release -DSUBTEXT_EMULATOR=OFF && cmake --build '$BUILD' -j \$(nproc) && \
            cmake --build '$BUILD' -j 4 --target cuda_bench attention_bench && find '$BUILD' -name libsubtext_cuda.so -exec cp -n {} '$BUILD' \;"
    fi
}
run_exact() {
    SHOW=8 step exact 10 40 "$BUILD/op_tests" exact --lib "$LIBRARY"
    SHOW=8 step exact-rows 4 30 "$BUILD/cuda_bench" exact
    # weight gradients cut along k: off until this has passed on a GPU
    SHOW=8 step exact-split 4 30 env SUBTEXT_CUDA_SPLIT=1 "$BUILD/cuda_bench" exact
    SHOW=8 step exact-split-ops 10 40 env SUBTEXT_CUDA_SPLIT=1 "$BUILD/op_tests" exact --op matmul --lib "$LIBRARY"
    SHOW=8 step exact-portable 4 30 env SUBTEXT_CUDA_PATH=portable "$BUILD/cuda_bench" exact
}
run_parity() {
    local name chosen=()
    for name in generate.Exactness model.PyTorchParity model.FamilyParity generate.SamplingLaw model.Memory engine.Engine; do
        chosen+=(--select-class "subtext.${name}Test")
    done
    SHOW=14 step parity 25 60 "$PACK/junit" -Dsubtext.test.backend=cuda --fail-if-no-tests "${chosen[@]}"
}
run_train() {
    local matmul
    for matmul in auto own; do
        measure "train-1b-$matmul" 11 60 train train --shape tinyllama --sequences 8 --length 2048 --rounds 7 --matmul $matmul
        measure "train-124m-$matmul" 4 40 train train --shape gpt124m --sequences 32 --length 1024 --rounds 9 --matmul $matmul
    done
    SUBTEXT_CUDA_SPLIT=1 measure train-1b-split 11 60 train-split train --shape tinyllama --sequences 8 --length 2048 --rounds 7 --matmul own
}
run_sample() { measure sample-1b 6 60 sample draw --shape tinyllama --prompts 32 --samples 8 --prompt 256 --tokens 256 --rounds 3 --score; }
run_matmul() {
    SHOW=2 step matmul 12 60 "$BUILD/cuda_bench" matmul --json "$WORK/matmul.json"
    # 8192^3 in turns, three times, in clusters of two blocks and alone: whether the layouts differ, or the clock does
    SHOW=18 step matmul-square 8 40 "$BUILD/cuda_bench" square --json "$WORK/matmul_square.json"
    SHOW=18 step matmul-square-alone 8 40 env SUBTEXT_CUDA_CLUSTER=1 "$BUILD/cuda_bench" square --json "$WORK/matmul_square_alone.json"
    SHOW=2 step matmul-split 12 60 env SUBTEXT_CUDA_SPLIT=1 "$BUILD/cuda_bench" matmul --json "$WORK/matmul_split.json"
}
run_attention() {
    SHOW=24 step attention 10 40 "$BUILD/attention_bench" --lib "$LIBRARY" --json "$WORK/attention_lengths.json"
    SHOW=24 step attention-torch 12 60 python3 bench/peers/attention_torch.py --json "$WORK/attention_torch.json"
}
run_check() { SHOW=8 step check 25 90 "$BUILD/op_tests" test --lib "$LIBRARY" --shapes 10; }
run_memory() { SHOW=24 step memory 2 30 "$BUILD/cuda_bench" memory --json "$WORK/memory.json"; }
run_java() {
    SHOW=20 step doctor 2 20 "$JAVA" -jar "$PACK/engine.jar" doctor
    rm -rf "$WORK/em-run"
    SHOW=3 step em 23 60 "$JAVA" -jar "$PACK/engine.jar" em --iterations 3 --device cuda --run "$WORK/em-run"
}
run_peers() {
    peer train-1b-torch 55 100 train bench/peers/train_torch.py --shape tinyllama --sequences 8 --length 2048 --steps 7
    peer sample-1b-torch 35 80 sample bench/peers/sample_torch.py --engine graph
    peer train-124m-torch 35 80 train bench/peers/train_torch.py --shape 124m --sequences 32 --length 1024 --steps 9
    peer sample-1b-transformers 25 80 sample bench/peers/sample_torch.py --engine transformers --rounds 1
}
run_sanitize() {
    local tool op
    # small shapes (a law of 4,000 draws below --largest 128); racecheck is the slow one: the ops that use shared memory, one by one
    for tool in memcheck synccheck initcheck; do
        SHOW=2 step "sanitize-$tool" 12 40 compute-sanitizer --tool "$tool" --error-exitcode 9 "$BUILD/op_tests" test --shapes 1 --largest 70 \
            --lib "$LIBRARY"
    done
    for op in matmul attention rmsnorm cross_entropy sample; do
        SHOW=2 step "sanitize-racecheck-$op" 8 20 compute-sanitizer --tool racecheck --error-exitcode 9 "$BUILD/op_tests" test --shapes 1 \
            --largest 33 --op $op --lib "$LIBRARY"
    done
}
run_report() {
    SHOW=200 run_step report 1 $RESERVE python3 bench/gpu/report.py --work "$WORK" --out "$OUT" --seconds $((SECONDS - started)) --pack "$PACK"
}

# Without a GPU: everything that the pack carries, on the CPU, by its own Java runtime and no other.
dry_steps() {
    local packed=(env -u JAVA_HOME -u SUBTEXT_JAVA_HOME PATH=/usr/bin:/bin) native=$PACK/native
    SHOW=3 run_step ops 20 900 "$native/op_tests" test --lib "$native/libsubtext_cpu.so" --shapes 10
    SHOW=3 run_step ops-exact 20 900 "$native/op_tests" exact --lib "$native/libsubtext_cpu.so" --shapes 5 --largest 97
    # unpacking from a jar, and jextract's compiler, need what the pack does without; EXCEPT=Name|Name leaves out more, and the page says so
    local except="NativeLibrary|Jextract${EXCEPT:+|$EXCEPT}"
    echo "$except" >"$WORK/except"
    SHOW=14 run_step junit 120 1800 "${packed[@]}" "$PACK/junit" -Dsubtext.test.backend=cpu --fail-if-no-tests --scan-class-path "$PACK/tests/classes" \
        --exclude-classname ".*[.]($except)Test"
    SHOW=20 run_step doctor 3 300 "${packed[@]}" "$PACK/subtext" doctor
    rm -rf "$WORK/em-run"
    SHOW=3 run_step em 5 900 "${packed[@]}" "$PACK/subtext" em --preset smoke --device cpu --run "$WORK/em-run"
    SHOW=2 run_step verify 2 300 "${packed[@]}" "$PACK/subtext" verify "$WORK/em-run"
    # without a GPU it has to fail in one line with exit code 4
    SHOW=2 run_step em-cuda 2 300 "${packed[@]}" bash -c "said=\$('$PACK/subtext' em --preset smoke --device cuda --run '$WORK/no-run' 2>&1)
        status=\$?; echo \"\$said\"; test \$status = 4 && test \$(echo \"\$said\" | wc -l) = 1"
}

[ -z "$DRY" ] || dry_steps
for name in ${*:-build exact parity train sample matmul attention check memory java peers sanitize}; do
    [ "$name" = report ] || "run_$name"
done
if [ -n "$DRY" ]; then
    echo "== device steps: some $usual s on an H100 of $BUDGET s"
    SHOW=200 run_step report 1 60 python3 bench/gpu/report.py --dry --work "$WORK" --out "$WORK" --pack "$PACK" --budget "$BUDGET"
    [ $failed != 0 ] || cp "$WORK/dry-run.md" bench/results/dry-run.md
    exit "$failed"
fi
case " ${*:-report} " in *" report "*) run_report ;; esac
[ -z "$cut" ] || echo "== cut, out of time:$cut"
tar -C "$WORK" -czf "$OUT/logs.tar.gz" --exclude=./build --exclude=./em-run . 2>/dev/null
exit "$failed"
