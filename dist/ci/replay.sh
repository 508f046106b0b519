#!/bin/sh
# Replays the production journal with the proposed change behind it, revision by revision, with all checks, on the virtual dataplane.
#
#   replay.sh OUT [OPTIONS OF rewire replay, such as captures]
#
# OUT is what propose.sh has made. OUT/replay.txt gets what is said, OUT/replay.xml the same as JUnit. Where a check fails,
# OUT/replay.bundle has what it takes to see that again: `rewire replay OUT/replay.bundle`. Exit codes: those of `rewire replay`.
set -eu
out=${1:?usage: replay.sh OUT [OPTIONS]}
shift
rm -rf "$out/replay.bundle"
code=0
"${REWIRE:-rewire}" replay --color never --store "$out/proposed.db" --junit "$out/replay.xml" \
    --bundle "$out/replay.bundle" "$@" > "$out/replay.txt" 2>&1 || code=$?
cat "$out/replay.txt"
exit "$code"
