#!/bin/sh
# What a build of Subtext needs on the machine: a JDK 22 or newer (it may be elsewhere than on the PATH), CMake and a C++ compiler.
#
#   requirements.sh            prints the home of the JDK to use, or one line saying what to install (exit 2)
#   requirements.sh --run      the same, but a Java without compiler will do
#   requirements.sh --check    prints nothing; one line and exit 2 if something is missing
#   requirements.sh --maven 17 prints nothing; one line and exit 2 if Maven's own Java is too old to pack the modules

required=22
compiler=javac
[ "${1-}" != --run ] || compiler=java

# The feature version of the JDK in $1 (22, 25, ...), by its `release` file, which every JDK carries; 0 if there is none.
feature() {
    if [ -x "$1/bin/java" ] && [ -x "$1/bin/$compiler" ] && [ -r "$1/release" ]; then
        version=$(sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$1/release")
        echo "${version:-0}"
    else
        echo 0
    fi
}

jdk() {
    on_path=$(command -v $compiler 2>/dev/null) && on_path=$(dirname "$(dirname "$(readlink -f "$on_path")")")
    for home in "${SUBTEXT_JAVA_HOME-}" "${JAVA_HOME-}" "$on_path"; do
        if [ -n "$home" ] && [ "$(feature "$home")" -ge $required ]; then
            echo "$home"
            return 0
        fi
    done
    best=
    best_version=0
    for home in /usr/lib/jvm/* /usr/java/* /opt/* /opt/java/* "$HOME"/.sdkman/candidates/java/* "$HOME"/.jdks/*; do
        version=$(feature "$home")
        if [ "$version" -ge $required ] && [ "$version" -gt $best_version ]; then
            best=$home
            best_version=$version
        fi
    done
    [ -n "$best" ] && echo "$best"
}

fail() {
    echo "subtext: $1" >&2
    exit 2
}

home=$(jdk) || fail "no JDK $required or newer found: install one (Debian 13, Ubuntu 25.10 or newer: apt-get install openjdk-25-jdk-headless; elsewhere Eclipse Temurin) or set SUBTEXT_JAVA_HOME to it"
if [ "${1-}" = --maven ]; then
    [ "${2%%.*}" -ge $required ] || fail "Maven runs on Java $2, which cannot pack modules of Java $required: use ./mvnw, or set JAVA_HOME=$home"
    exit 0
fi
if [ "${1-}" != --check ]; then
    echo "$home"
    exit 0
fi
command -v cmake >/dev/null 2>&1 || fail "no cmake found: install it (apt-get install cmake)"
command -v "${CXX:-c++}" >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 || command -v clang++ >/dev/null 2>&1 ||
    fail "no C++ compiler found: install one (apt-get install g++) or set CXX to it"
