#!/bin/sh
# tests/fuzz/coverage.sh PROGRAM...
# How much of the parsers the seeds of the fuzzers reach, as a table. The
# programs are built for it: see coverage-fuzz in the Makefile.
set -eu
parsers="access accounts address address_list aliases authenticate bdat buf
certificate chat command config_draft config_environment config_hosts
config_judge config_reader config_values content data der dsn fold header hello
identity message pem receive record repair reply session shacrypt smtp
stranger transaction utf8"

profiles='' objects='' files=''
for program in "$@"; do
	name=${program##*/fuzz_}
	LLVM_PROFILE_FILE=$program.profraw "$program" -runs=0 \
	    "tests/fuzz/seeds/$name" 2>"$program.log" ||
		{ cat "$program.log"; exit 1; }
	profiles="$profiles $program.profraw"
	objects="$objects -object $program"
done
for parser in $parsers; do
	[ ! -f "$parser.c" ] || files="$files $parser.c"
done
all=${1%/*}/all.profdata
# shellcheck disable=SC2086 # lists of names without blanks
{
	llvm-profdata merge -sparse $profiles -o "$all"
	llvm-cov report -show-region-summary=0 -instr-profile="$all" \
	    ${objects# -object } $files
}
