#!/bin/sh
# Makes a store of the production journal, and commits the proposed documents to it: the change as production would take it, with
# its checks, intents and probes. Nothing of production is touched.
#
#   propose.sh JOURNAL DOCUMENTS OUT
#
# OUT gets: proposed.db (the store), before and after (the two revisions), changes.diff.
# Where the documents are refused, that is said with file and line, and OUT/refused has the same.
set -eu
journal=${1:?usage: propose.sh JOURNAL DOCUMENTS OUT}
documents=${2:?usage: propose.sh JOURNAL DOCUMENTS OUT}
out=${3:?usage: propose.sh JOURNAL DOCUMENTS OUT}
rewire=${REWIRE:-rewire}
mkdir -p "$out"
rm -f "$out"/proposed.db* "$out"/before "$out"/after "$out"/changes.diff "$out"/refused
export REWIRE_STORE="$out/proposed.db"

"$rewire" journal import "$journal"
"$rewire" journal verify
"$rewire" tag before-proposal
if ! "$rewire" apply "$documents" --no-wait --message "${REWIRE_MESSAGE:-proposed}" 2> "$out/refused"; then
    cat "$out/refused" >&2
    exit 2
fi
cat "$out/refused" >&2
rm "$out/refused"
"$rewire" diff --color never before-proposal running > "$out/changes.diff"
cat "$out/changes.diff"
