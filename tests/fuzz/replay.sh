#!/bin/sh
# Runs every fuzz target on its corpus: seeds, and inputs that were findings once.
set -eu
corpus=${srcdir:-.}/tests/fuzz/corpus

for dir in "$corpus"/*/; do
	name=$(basename "$dir")
	"tests/fuzz/fuzz_$name" "$dir"
done
