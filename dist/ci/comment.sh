#!/bin/sh
# Writes what the steps before found as one comment in Markdown, to standard output.
#
#   comment.sh OUT
set -eu
out=${1:?usage: comment.sh OUT}

section() { # TITLE FILE LANGUAGE
    [ -s "$2" ] || return 0
    printf '### %s\n\n```%s\n' "$1" "$3"
    # What is longer than a comment may be is in the job's files.
    head -c 30000 "$2"
    printf '\n```\n\n'
}

printf '## Configuration\n\n'
if [ -e "$out/refused" ]; then
    section 'Refused' "$out/refused" text
    exit 0
fi
section 'What changes' "$out/changes.diff" diff
[ -s "$out/changes.diff" ] || printf 'Nothing changes.\n\n'
if [ -s "$out/packets.md" ]; then
    printf '### Packets\n\n'
    head -c 30000 "$out/packets.md"
    printf '\n'
fi
section 'Replay' "$out/replay.txt" text
