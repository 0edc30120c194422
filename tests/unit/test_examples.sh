#!/bin/sh
# The examples compile against the installed library with pkg-config alone, and
# what one exports the other reads.
set -eu
: "${srcdir:=.}"
command -v pkg-config > /dev/null || exit 77
dir=$(mktemp -d)
exporter=
trap 'test -z "$exporter" || kill "$exporter" 2> /dev/null || :; rm -rf "$dir"' EXIT

make -s install-libLTLIBRARIES install-corincludeHEADERS install-pkgconfigDATA DESTDIR="$dir" > /dev/null
pc=$(find "$dir" -name libcor.pc)
PKG_CONFIG_PATH=$(dirname "$pc"); export PKG_CONFIG_PATH
PKG_CONFIG_SYSROOT_DIR=$dir; export PKG_CONFIG_SYSROOT_DIR
LD_LIBRARY_PATH=$(dirname "$PKG_CONFIG_PATH"); export LD_LIBRARY_PATH
if ldd "$LD_LIBRARY_PATH/libcor.so" | grep -q libasan; then
	echo "# the library has the address sanitizer in it: a plain program cannot load it"
	exit 77
fi
for one in export import; do
	# shellcheck disable=SC2046 # several words are meant
	${CC:-cc} -Wall -Wextra -Werror $(pkg-config --cflags libcor) \
		"$srcdir/examples/$one.c" -o "$dir/$one" $(pkg-config --libs libcor)
done

mkfifo "$dir/in" "$dir/out"
"$dir/export" 1000000 < "$dir/in" > "$dir/out" &
exporter=$!
exec 3> "$dir/in" 4< "$dir/out"
read -r ticket <&4

echo "# some of it, on reference"
"$dir/import" "$ticket" > "$dir/some"
cat "$dir/some"
grep -qx "every 65536th number: $(python3 -c 'print(sum(i*i for i in range(0, -(-8000000//4096)*512, 65536)))')" "$dir/some"
# who waited for the last page may go on before it is counted
grep -Eqx "1[56] pages came because they were touched, 0 ahead of that" "$dir/some"

echo "# all of it"
"$dir/import" "$ticket" all > "$dir/all"
grep -qx "all of them: $(python3 -c 'print(sum(i*i for i in range(-(-8000000//4096)*512)) % 2**64)')" "$dir/all"

echo "# the export ends with its input, and its ticket with it"
exec 3>&-
wait "$exporter"
exporter=
if "$dir/import" "$ticket" > /dev/null 2> "$dir/err"; then
	echo "a closed export could be imported"
	exit 1
fi
cat "$dir/err"
