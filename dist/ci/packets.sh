#!/bin/sh
# Tries packets under production and under the proposed change, and says which of them go another way.
#
#   packets.sh PACKETS OUT
#
# PACKETS has one a line, as `rewire trace` takes them; lines that begin with # are left out. OUT is what propose.sh has made.
# OUT/packets.md gets the packets that changed their way, and where they part. Exit code 0, whether there are any or not: a way
# may be meant to change. With REWIRE_PACKETS_MUST_STAY=1 it is 1 where one does.
set -eu
packets=${1:?usage: packets.sh PACKETS OUT}
out=${2:?usage: packets.sh PACKETS OUT}
rewire=${REWIRE:-rewire}
export REWIRE_STORE="$out/proposed.db"

tried=0
changed=0
: > "$out/packets.parts"
while IFS= read -r packet || [ -n "$packet" ]; do
    case $packet in '' | '#'*) continue ;; esac
    tried=$((tried + 1))
    code=0
    "$rewire" trace --color never --diff before-proposal running "$packet" > "$out/packet" 2>&1 < /dev/null || code=$?
    case $code in
        0) ;;
        1)
            changed=$((changed + 1))
            printf '\n<details><summary><code>%s</code></summary>\n\n```text\n' "$packet" >> "$out/packets.parts"
            cat "$out/packet" >> "$out/packets.parts"
            printf '```\n\n</details>\n' >> "$out/packets.parts"
            ;;
        *)
            echo "packets.sh: $packet" >&2
            cat "$out/packet" >&2
            exit "$code"
            ;;
    esac
done < "$packets"
{
    printf '%s of %s packets change their way.\n' "$changed" "$tried"
    cat "$out/packets.parts"
} > "$out/packets.md"
rm -f "$out/packets.parts" "$out/packet"
head -n 1 "$out/packets.md"
[ "$changed" -eq 0 ] || [ "${REWIRE_PACKETS_MUST_STAY:-0}" != 1 ]
