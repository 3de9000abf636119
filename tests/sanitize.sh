#!/bin/sh
# The tests with ThreadSanitizer and with AddressSanitizer and
# UndefinedBehaviorSanitizer, side by side, since they wait more than they work;
# what they say comes when they are done. For `make sanitize`, which builds.
set -u
make tests-tsan >build/tsan/log 2>&1 &
make tests-asan >build/asan/log 2>&1
asan=$?
wait $!
tsan=$?
echo "ThreadSanitizer:"
cat build/tsan/log
echo "AddressSanitizer, UndefinedBehaviorSanitizer:"
cat build/asan/log
[ "$tsan" -eq 0 ] && [ "$asan" -eq 0 ]
