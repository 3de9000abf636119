#!/bin/sh
# tests/fuzz/run.sh SECONDS PROGRAM...
# Runs each fuzzer for so long, from its seeds (tests/fuzz/seeds/NAME); what
# it learns stays in the build directory, beside what broke it.
set -u
seconds=$1
shift
status=0
for program in "$@"; do
	name=${program##*/fuzz_}
	corpus=$program.corpus
	mkdir -p "$corpus"
	set -- "$corpus"
	[ ! -d "tests/fuzz/seeds/$name" ] || set -- "$@" "tests/fuzz/seeds/$name"
	if "$program" -max_total_time="$seconds" -timeout=10 \
	    -artifact_prefix="$program." "$@" >"$program.log" 2>&1; then
		echo "$name: $(grep '^Done' "$program.log")"
	else
		echo "$name: FAILED"
		cat "$program.log"
		status=1
	fi
done
exit "$status"
