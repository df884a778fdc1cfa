#!/bin/bash
# Packs what a GPU machine without a JDK needs to run engine.jar into .pack/pack.tar.gz (under 60 MiB): a Java runtime of the modules in use,
# the jars, the JUnit suite, start scripts, and the libraries with their test programs, those for CUDA where nvcc is at hand, so that
# bench/gpu/run.sh need not build. bench/gpu/run.sh unpacks it beside itself; by hand: tar -C .pack -xzf .pack/pack.tar.gz.
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
programs=op_tests
if [ "$cuda" != OFF ] && [ -e $build/libsubtext_cuda.so ]; then
    programs="op_tests cuda_bench attention_bench"
fi
cmake --build $build --parallel 2 --target $programs

rm -rf .pack
mkdir .pack
# the reader of parquet wants jdk.jfr; Jackson wants java.xml, and does
# without java.desktop and java.sql, which it looks for; JUnit finds tests in jars by jdk.zipfs
"$home/bin/jlink" --module-path "$home/jmods" --strip-debug --no-header-files --no-man-pages --compress zip-9 --output .pack/jre \
    --add-modules java.base,java.logging,java.management,java.xml,jdk.httpserver,jdk.jfr,jdk.management,jdk.unsupported,jdk.zipfs
# half of a runtime's size is symbols of the VM
strip .pack/jre/lib/server/libjvm.so
cp cli/target/engine.jar bench/target/benchmarks.jar .pack/
git rev-parse HEAD > .pack/commit
mkdir .pack/native
for name in libsubtext_cpu.so ${programs%% *} ${programs#op_tests}; do
    cp $build/$name .pack/native/
done
[ "$programs" = op_tests ] || cp $build/libsubtext_cuda.so .pack/native/
strip .pack/native/*
# the libraries once, not in each jar as well; of compression libraries those of this platform alone
for jar in .pack/engine.jar .pack/benchmarks.jar; do
    python3 - "$jar" <<'DROP'
import sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as old, zipfile.ZipFile(sys.argv[1] + ".part", "w", zipfile.ZIP_DEFLATED) as new:
    for entry in old.infolist():
        name = entry.filename
        foreign = name.endswith((".so", ".dylib", ".jnilib", ".dll", ".a")) and not any(
            part in name for part in ("linux/amd64/", "Linux/x86_64/"))
        if not foreign and not name.startswith("META-INF/native/"):
            new.writestr(entry, old.read(entry))
DROP
    mv "$jar.part" "$jar"
done

# the tests of the three modules that compute, and what runs them
# (in folders: they read what lies beside them as files)
mkdir -p .pack/tests/classes
for module in bindings engine trainer; do
    cp -r $module/target/test-classes/. .pack/tests/classes/
done
version() { sed -n "s:.*<$1.version>\(.*\)</.*:\1:p" pom.xml; }
junit=$(version junit)
for artifact in org.junit.platform:junit-platform-console-standalone:1.${junit#5.} org.assertj:assertj-core:"$(version assertj)" \
    com.google.protobuf:protobuf-java:"$(version protobuf)"; do
    ./mvnw -q -B -ntp -N org.apache.maven.plugins:maven-dependency-plugin:3.9.0:copy -Dartifact="$artifact" -DoutputDirectory="$PWD/.pack/tests"
done
cat > .pack/junit <<'START'
#!/bin/sh
# the JUnit suite by the runtime beside it, from the root of the source tree: junit [-Dname=value ...] ARGUMENTS OF JUNIT'S LAUNCHER
here=$(dirname "$(readlink -f "$0")")
export SUBTEXT_NATIVE_PATH="${SUBTEXT_NATIVE_PATH:-$here/native}"
options=
while [ "${1#-D}" != "${1-}" ]; do
    options="$options $1"
    shift
done
root=$PWD
cd trainer || exit # some tests look beside their module
exec "$here/jre/bin/java" --enable-native-access=ALL-UNNAMED -Djava.awt.headless=true -Dsubtext.root="$root" $options \
    -cp "$here/tests/classes:$here/tests/*:$here/engine.jar" org.junit.platform.console.ConsoleLauncher execute --disable-banner --details summary \
    --exclude-tag slow --exclude-tag gpu "$@"
START
cat > .pack/subtext <<'START'
#!/bin/sh
# engine.jar with the runtime beside it
here=$(dirname "$(readlink -f "$0")")
[ ! -d "$here/native" ] || export SUBTEXT_NATIVE_PATH="${SUBTEXT_NATIVE_PATH:-$here/native}"
exec "$here/jre/bin/java" ${SUBTEXT_JAVA_OPTS:-} -jar "$here/engine.jar" "$@"
START
chmod +x .pack/subtext .pack/junit

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
