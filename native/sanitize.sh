#!/bin/sh
# AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer over every op of the CPU library, in every mode of op_tests.
#
#   native/sanitize.sh [BUILD_FOLDER] [-- OPTIONS OF op_tests]       e.g. native/sanitize.sh -- --op attention
#
# Needs CMake and a compiler with its sanitizer libraries (GCC and Clang bring them). Ends with the first finding, exit status not 0.
set -eu
source=$(cd "$(dirname "$0")" && pwd)
build="$source/target/sanitize"
if [ $# -gt 0 ] && [ "$1" != -- ]; then build=$1; shift; fi
if [ $# -gt 0 ]; then shift; fi

# -O1: with the sanitizers' checks in them the kernels take several times longer to compile at -O2
cmake -S "$source" -B "$build" -DSUBTEXT_SANITIZE=ON -DSUBTEXT_CUDA=OFF -DSUBTEXT_EMULATOR=OFF -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1 -g1"
cmake --build "$build" --target op_tests limits_tests --parallel "$(getconf _NPROCESSORS_ONLN)"

export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
for mode in test grad exact; do
    "$build/op_tests" "$mode" --lib "$build/libsubtext_cpu.so" "$@"
done
"$build/limits_tests"
for mode in test exact; do  # products by the matrix unit's arithmetic, which is the same in software
    SUBTEXT_AMX=emulated "$build/op_tests" "$mode" --lib "$build/libsubtext_cpu.so" --op matmul --matmul amx --shapes 12
done
echo "sanitizers: nothing found in op_tests test, grad, exact, those of products by the matrix unit, and limits_tests"
