#!/bin/bash
# Packs what a GPU machine without a JDK needs to run engine.jar into .pack/pack.tar.gz (under 60 MiB): a Java runtime of the modules in use,
# the jars, a start script and, where nvcc is at hand, the libraries with their test programs, so that bench/gpu/run.sh need not build.
# bench/gpu/run.sh unpacks it beside itself; by hand: tar -C .pack -xzf .pack/pack.tar.gz.
#
#   here:   bench/gpu/pack.sh [--no-cuda]
#   there:  bench/gpu/run.sh
# or
#   there:  cmake -S native -B /tmp/native -DCMAKE_BUILD_TYPE=Release && cmake --build /tmp/native -j
#           SUBTEXT_NATIVE_PATH=/tmp/native .pack/subtext em --device cuda
#
# With nvcc here, SUBTEXT_NATIVE_PATH is only needed to use other libraries than those packed.
set -euo pipefail
cd "$(dirname "$0")/../.."

cuda=AUTO
[ "${1-}" != --no-cuda ] || cuda=OFF
home=$(sh .mvn/requirements.sh)
./mvnw -q -B -ntp -pl cli,bench -am package -DskipTests -Dsubtext.cuda=$cuda -Dsubtext.targets=libraries
build=native/target/build
if [ -e $build/libsubtext_cuda.so ] || [ -e $build/cuda/libsubtext_cuda.so ]; then
    cmake --build $build --parallel 2 --target op_tests cuda_bench attention_bench
fi

rm -rf .pack
mkdir .pack
# Jackson wants java.xml; it looks for java.desktop and java.sql too, and does without
"$home/bin/jlink" --module-path "$home/jmods" --add-modules java.base,java.logging,java.management,java.xml,jdk.unsupported --strip-debug --no-header-files --no-man-pages \
    --compress zip-9 --output .pack/jre
# half of a runtime's size is symbols of the VM
strip .pack/jre/lib/server/libjvm.so
cp cli/target/engine.jar bench/target/benchmarks.jar .pack/
git rev-parse HEAD > .pack/commit
if [ -e $build/op_tests ] && [ "$cuda" != OFF ]; then
    mkdir .pack/native
    for name in libsubtext_cpu.so libsubtext_cuda.so op_tests cuda_bench attention_bench; do
        find $build -maxdepth 2 -type f -name $name -exec cp {} .pack/native/ \;
    done
    strip .pack/native/*
    # the libraries once, not in each jar as well
    for jar in .pack/engine.jar .pack/benchmarks.jar; do
        python3 - "$jar" <<'DROP'
import sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as old, zipfile.ZipFile(sys.argv[1] + ".part", "w", zipfile.ZIP_DEFLATED) as new:
    for entry in old.infolist():
        if not entry.filename.startswith("META-INF/native/"):
            new.writestr(entry, old.read(entry))
DROP
        mv "$jar.part" "$jar"
    done
fi
cat > .pack/subtext <<'START'
#!/bin/sh
# engine.jar with the runtime beside it
here=$(dirname "$(readlink -f "$0")")
[ ! -d "$here/native" ] || export SUBTEXT_NATIVE_PATH="${SUBTEXT_NATIVE_PATH:-$here/native}"
exec "$here/jre/bin/java" ${SUBTEXT_JAVA_OPTS:-} -jar "$here/engine.jar" "$@"
START
chmod +x .pack/subtext

tar -C .pack -czf pack.tar.gz.part --exclude=./pack.tar.gz .
rm -rf .pack
mkdir .pack
mv pack.tar.gz.part .pack/pack.tar.gz
size=$(du -sm .pack | cut -f1)
echo ".pack/pack.tar.gz: $size MiB"
if [ "$size" -ge 60 ]; then
    echo "pack.sh: .pack is too large to carry" >&2
    exit 1
fi
