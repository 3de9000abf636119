#!/bin/sh
# Runs unit test programs (cmocka) and prints one line for each, the whole
# output of those that fail, and the sum of all as the last line. A test that
# a crash or a hang kept from its result counts as failed.
passed=0 failed=0 skipped=0
output=$(mktemp) || exit 1
trap 'rm -f "$output"' EXIT

for program in "$@"; do
	timeout 600 "$program" >"$output" 2>&1 </dev/null
	status=$?
	counts=$(awk '
		/^\[==========\] Running / { all += $3 }
		/^\[  PASSED  \]/ { ok += $4 }
		/^\[  SKIPPED \] [0-9]+ test/ { out += $4 }
		END { print ok + 0, out + 0, all - ok - out }' "$output")
	# shellcheck disable=SC2086 # three numbers
	set -- $counts
	ok=$1 out=$2 bad=$3
	if [ "$bad" -eq 0 ] &&
	    { [ "$status" -ne 0 ] || [ "$((ok + out))" -eq 0 ]; }; then
		bad=1
	fi
	passed=$((passed + ok)) skipped=$((skipped + out))
	failed=$((failed + bad))
	echo "${program##*/}: $ok passed, $bad failed (status $status)"
	[ "$bad" -eq 0 ] || cat "$output"
done

if [ "$skipped" -gt 0 ]; then
	echo "$passed passed, $failed failed, $skipped skipped"
else
	echo "$passed passed, $failed failed"
fi
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
