#!/bin/sh
# tests/fuzz/run.sh SECONDS PROGRAM...
# Runs each fuzzer for so long, two at a time, from its seeds
# (tests/fuzz/seeds/NAME) and with its words (tests/fuzz/NAME.dict). What it
# learns stays in the build directory, beside what broke it. The last line is
# how many found nothing and how many something. With FUZZ_RUNS in the
# environment each makes so many runs instead, the same ones each time: a change
# is then judged by what it does, and not by luck.
set -u
seconds=$1
shift

run_one() {
	name=${1##*/fuzz_}
	corpus=$1.corpus
	log=$1.log
	mkdir -p "$corpus"
	set -- "$1" "$corpus"
	[ ! -d "tests/fuzz/seeds/$name" ] || set -- "$@" "tests/fuzz/seeds/$name"
	[ ! -f "tests/fuzz/$name.dict" ] ||
		set -- "$@" "-dict=tests/fuzz/$name.dict"
	if [ -n "${FUZZ_RUNS-}" ]; then
		set -- "$@" -runs="$FUZZ_RUNS" -seed=1 -reload=0
	else
		set -- "$@" -max_total_time="$seconds"
	fi
	if "$@" -timeout=60 \
	    -artifact_prefix="${corpus%corpus}" >"$log" 2>&1; then
		echo "$name: $(sed -n 's/^Done //p' "$log")"
	else
		echo "$name: FAILED, see $log"
		return 1
	fi
}

if [ $# -eq 1 ]; then
	run_one "$1"
	exit
fi

lines=$(mktemp) || exit 1
trap 'rm -f "$lines"' EXIT
printf '%s\n' "$@" | xargs -n 1 -P 2 sh "$0" "$seconds" | tee "$lines"
passed=$(grep -c ': [0-9]* runs in ' "$lines")
sed -n 's/.*: FAILED, see //p' "$lines" | while read -r log; do
	echo "--- $log"
	tail -n 60 "$log"
done
failed=$(($# - passed))
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
