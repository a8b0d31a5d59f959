#!/bin/sh
# Installs libcairn to an empty place and builds the examples there as a stranger would: with pkg-config alone.
# usage: test_installed.sh BUILD_DIR EXAMPLES_DIR
set -eu
build=$1
examples=$2
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT

cmake --install "$build" --component client --prefix "$prefix" >/dev/null
PKG_CONFIG_PATH=$(find "$prefix" -name pkgconfig -type d)
export PKG_CONFIG_PATH
cd "$prefix"
for example in producer consumer group_consumer; do
    # shellcheck disable=SC2046
    ${CC:-cc} -std=c11 -Wall -Wextra -Werror "$examples/$example.c" -o "$example" \
        $(pkg-config --define-variable=prefix="$prefix" --cflags --libs cairn)
    status=0
    LD_LIBRARY_PATH=$(pkg-config --define-variable=prefix="$prefix" --variable=libdir cairn) "./$example" >/dev/null 2>&1 ||
        status=$?
    test "$status" -eq 2 || { echo "$example: ended with $status, not with its usage"; exit 1; }
done

library=$(find "$prefix" -name 'libcairn.so.0' | head -n 1)
readelf -d "$library" | grep -q 'SONAME.*libcairn\.so\.0' || { echo "no SONAME"; exit 1; }
foreign=$(nm -D --defined-only "$library" | awk '{print $3}' | grep -v '^cairn_' || true)
test -z "$foreign" || { echo "exported by accident: $foreign"; exit 1; }
headers=$(cd "$prefix/include" && find . -type f | grep -v '^\./cairn/' || true)
test -z "$headers" || { echo "foreign headers: $headers"; exit 1; }
# Each public header stands alone, in C and C++.
for header in "$prefix"/include/cairn/*.h; do
    echo "#include <cairn/$(basename "$header")>" >one.c
    ${CC:-cc} -std=c99 -Wall -Wextra -Werror -I"$prefix/include" -fsyntax-only one.c
    if command -v c++ >/dev/null; then
        c++ -x c++ -std=c++11 -Wall -Wextra -Werror -I"$prefix/include" -fsyntax-only one.c
    fi
done
