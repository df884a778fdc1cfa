# For scripts of bench/ to source: sets `home`, a JDK that will do, and `jar`, the benchmarks, built first if it is missing or older than its
# sources. Wants `root`. Tests are left to `./mvnw verify`: nobody who measures wants them run first.
jar=$root/bench/target/benchmarks.jar
stale() {
    [ -f "$jar" ] || return 0
    [ -n "$(find "$root/pom.xml" "$root/native" "$root/bindings" "$root/engine" "$root/trainer" "$root/bench/src" "$root/bench/pom.xml" \
        \( -name target -o -path '*/src/test' -o -path '*/native/test' \) -prune -o -type f -newer "$jar" -print -quit)" ]
}
home=$(sh "$root/.mvn/requirements.sh") || exit 2
if stale; then
    echo "bench: building $jar" >&2
    "$root/mvnw" -B -q -ntp -f "$root/pom.xml" -pl bench -am package -DskipTests -Dsubtext.cuda=OFF -Dsubtext.targets=libraries >&2 || exit 1
    touch "$jar"
fi
