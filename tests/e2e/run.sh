#!/bin/sh
# tests/e2e/run.sh PYTHON WHAT...
# The end-to-end tests of those files. Up to three that fail are run once more,
# by themselves: with hundreds of daemons started one upon the other a test may
# have judged too early, and a fault of the program fails again. Those that pass
# only then are named: each is a test to be mended.
set -u
python=$1
shift

failed=$(mktemp) || exit 1
trap 'rm -f "$failed"' EXIT
E2E_FAILED=$failed "$python" -m pytest "$@" && exit
count=$(grep -c . "$failed")
[ "$count" -ge 1 ] && [ "$count" -le 3 ] || exit 1
echo "Once more, by themselves:"
sed 's/^/    /' "$failed"
cd tests/e2e || exit # which the names are relative to
xargs -d '\n' -a "$failed" "$python" -m pytest
