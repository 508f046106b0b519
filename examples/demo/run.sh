#!/usr/bin/env bash
# The demo: two private networks and an internet, one gateway between them, real programs on all sides.
#
#   run.sh [path of the rewire binary]        (or `make demo`, which builds it first)
#
# Every step says what it does and checks what it saw. The exit code is 0 only if all of it was as it should be.
# It takes root, for network namespaces; it leaves nothing behind, however it ends.
set -uo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.." || exit 1
binary=$(realpath "${1:-target/debug/rewire}")
[[ -x $binary ]] || {
    echo "there is no rewire at $binary: make demo builds it" >&2
    exit 1
}
if [[ $EUID -ne 0 ]]; then
    command -v sudo >/dev/null || {
        echo "the demo takes root, for network namespaces" >&2
        exit 1
    }
    # With nobody there to answer, sudo must not ask.
    [[ -t 0 && -z ${CI:-} ]] || exec sudo -n "$here/run.sh" "$binary"
    exec sudo "$here/run.sh" "$binary"
fi
exec 9>/run/lock/rewire-demo.lock
flock --nonblock 9 || {
    echo "the demo is running already" >&2
    exit 1
}

# What a demo that was killed has left behind: the lock says that it has ended.
rm -rf "${TMPDIR:-/tmp}"/rewire-demo.??????

# shellcheck source=examples/demo/lib.sh
source "$here/lib.sh"
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

export REWIRE_STORE=$work/rewire.db REWIRE_AUTHOR=demo
rewire() { "$binary" "$@"; }

site=198.51.100.1 # a site in the internet
wan=203.0.113.1   # the gateway's address there

# ---- what the checks ask -------------------------------------------------------------------------------------------

# ping_works HOST ADDRESS: every ping is answered.
ping_works() {
    local out
    out=$(on "$1" ping -n -c 3 -i 0.2 -W 2 "$2")
    grep -q ' 3 received' <<<"$out" || { echo "$out" && return 1; }
    awk -F/ '/^rtt/ { print "3 of 3 answered, in " $5 " ms" }' <<<"$out"
}

# ping_refused HOST ADDRESS ROUTER: no ping is answered, and the router says why.
ping_refused() {
    local out
    out=$(on "$1" ping -n -c 2 -i 0.2 -W 1 "$2")
    grep -q ' 0 received' <<<"$out" && grep -m 1 "^From $3 .* Unreachable" <<<"$out" || { echo "$out" && return 1; }
}

# ping_lost HOST ADDRESS: no ping is answered, and nobody says why.
ping_lost() {
    local out
    out=$(on "$1" ping -n -c 3 -i 0.2 -W 1 "$2")
    grep -q ' 0 received' <<<"$out" && ! grep -q '^From ' <<<"$out" || { echo "$out" && return 1; }
    echo "0 of 3 answered, in silence"
}

ping_unanswered() {
    local out
    out=$(on "$1" ping -n -c 1 -W 1 "$2")
    grep -o '1 packets transmitted, 0 received' <<<"$out"
}

# http_says HOST URL TEXT: the page is fetched and holds the text.
http_says() {
    local out
    out=$(on "$1" curl -sS --max-time 5 "$2" 2>&1)
    echo "$out"
    grep -qF "$3" <<<"$out"
}
http_fails() { ! on "$1" curl -sS --max-time 2 "$2"; }

# seen_from LOG ADDRESS: the web server's log has requests of this address, and of no other.
seen_from() {
    local senders
    senders=$(awk '/"GET / { print $1 }' "$work/$1.log" | sort -u | tr '\n' ' ')
    echo "its log knows ${senders:-nobody}"
    [[ ${senders% } == "$2" ]]
}

# tcp_flows HOST [IPERF-OPTION...]: a TCP transfer as fast as it goes.
tcp_flows() {
    local out
    out=$(on "$1" iperf3 --client $site --time 3 --json "${@:2}")
    jq -er 'if .end.sum_received.bytes > 1000000
        then "\(.end.sum_received.bits_per_second / 1e6 | round) Mbit/s"
        else error(.error // "hardly anything came") end' <<<"$out"
}

# udp_flows HOST: a UDP stream of fixed speed; at most 1 % may be lost.
udp_flows() {
    local out
    out=$(on "$1" iperf3 --client $site --time 2 --udp --bitrate 20M --length 1200 --json)
    jq -er 'if .end.sum.packets > 1000 and .end.sum.lost_percent < 1
        then "20 Mbit/s, \(.end.sum.lost_packets) of \(.end.sum.packets) packets lost"
        else error(.error // (.end.sum | tojson)) end' <<<"$out"
}

listening() { on "$1" ss -Hltn "sport = :$2" | grep -q .; }

# answers PING: how many it got so far.
answers() { grep -c 'bytes from' "$work/$1.log"; }
has_answers() { [[ $(answers "$1") -ge $2 ]]; }

# none_lost PING: every ping of it was answered.
none_lost() {
    grep 'packets transmitted' "$work/$1.log" | sed 's/, time.*//'
    grep -q ' 0% packet loss' "$work/$1.log"
}

# stopped_at PING TIME: it was answered before that time, and not after (100 ms are for what is on its way).
stopped_at() {
    local before after
    before=$(awk -F'[][]' -v t="$2" '/bytes from/ && $2 < t' "$work/$1.log" | wc -l)
    after=$(awk -F'[][]' -v t="$2" '/bytes from/ && $2 > t + 0.1' "$work/$1.log" | wc -l)
    echo "$before answers before the commit, $after after it"
    [[ $before -gt 0 && $after -eq 0 ]]
}

file_is_whole() {
    echo "$(stat -c %s "$2") of $(stat -c %s "$1") bytes"
    cmp "$1" "$2"
}

# points_at PLACE: the errors that the last command printed name this file, line and column.
points_at() { grep -F -B1 -- "--> $1" <<<"$output" | head -1; }

# head_is REVISION: the newest revision of the log.
head_is() {
    local head
    head=$(rewire log --number 1 | awk 'NR == 2 { print $1 }')
    echo "revision $head"
    [[ $head == "$1" ]]
}

# scrape: fetches the metrics, and prints those that are of interest here.
scrape() {
    on gateway curl -sS --max-time 5 -o "$work/metrics" http://127.0.0.1:9474/metrics || return 1
    grep -E '^rewire_(revision|(received|generated|transmitted|consumed)_packets_total|held_packets|nat_mappings) ' "$work/metrics"
    grep '^rewire_dropped_packets_total' "$work/metrics" | grep -v ' 0$'
}

# metric NAME: the sum of all its samples, of the last scrape.
metric() { awk -v name="rewire_$1" '$1 ~ "^" name "([{]|$)" { sum += $2 } END { printf "%d", sum }' "$work/metrics"; }

# account: what came is what went. A packet that is under way as the workers' counters are read is in neither.
account() {
    scrape >/dev/null || return 1
    local received generated transmitted dropped consumed held
    received=$(metric received_packets_total) generated=$(metric generated_packets_total)
    transmitted=$(metric transmitted_packets_total) dropped=$(metric dropped_packets_total)
    consumed=$(metric consumed_packets_total) held=$(metric held_packets)
    echo "$received in + $generated made = $transmitted out + $dropped dropped + $consumed taken in + $held held"
    [[ $received -gt 0 && $((received + generated)) -eq $((transmitted + dropped + consumed + held)) ]]
}

# ---- the demo ------------------------------------------------------------------------------------------------------

printf '%sRewire%s: a gateway whose whole behaviour is one committed revision of a database.\n' "$bold" "$plain"

step "Two private networks, an internet, and a gateway in between" \
    "Four network namespaces, three cables. Behind the gateway's ends is no kernel that could answer for it."
must "$here/network.sh" down # of a demo that was killed
must "$here/network.sh" up
mkdir "$work/site" "$work/web"
echo "hello from the internet" >"$work/site/index.html"
echo "hello from blue's web server" >"$work/web/index.html"
head -c 300000 /dev/urandom >"$work/site/file"
# The web servers look up their own names, which nobody here knows.
export RES_OPTIONS="timeout:1 attempts:1"
background site internet python3 -u -m http.server 80 --bind $site --directory "$work/site"
background web blue-host python3 -u -m http.server 80 --bind 10.1.0.10 --directory "$work/web"
background iperf internet iperf3 --server --bind $site
check "a web server and iperf3 listen in the internet" within 10 eval "listening internet 80 && listening internet 5201"
check "a web server listens in blue" within 10 listening blue-host 80
check "without a gateway, blue reaches nothing" ping_unanswered blue-host $site
must ip -n rw-blue-host neighbor flush all # or its kernel asks for the gateway only once a second

step "An empty store, and a gateway that follows it" \
    "The store is one file. The gateway forwards what its newest revision says: nothing, so far."
run 0 rewire init
show rewire run --metrics 127.0.0.1:9474 "&"
background gateway gateway "$binary" run --metrics 127.0.0.1:9474
within 10 eval "rewire status || not kill -0 ${pids[gateway]}"
must rewire status
run 0 rewire status

step "The first commit: two VPCs behind one address" \
    "Load a document, look at what it changes, commit it. The commit returns when every worker uses it."
run 0 rewire load examples/demo/01-two-vpcs.yaml
run 0 rewire diff
run 0 rewire commit -m "two VPCs behind one address"
check "the gateway is live with it" grep -q '^revision 1 live' <<<"$output"

step "Out: masquerade" \
    "Blue and red have private addresses. The internet sees one: $wan."
check "blue pings $site" ping_works blue-host $site
check "red pings $site" ping_works red-host $site
check "blue reads a page" http_says blue-host http://$site/ "hello from the internet"
check "red reads a page" http_says red-host http://$site/ "hello from the internet"
check "the web server saw only $wan" seen_from site $wan
check "TCP from blue, with iperf3" tcp_flows blue-host
check "TCP to blue" tcp_flows blue-host --reverse
check "UDP from red" udp_flows red-host

step "In: a port forward" \
    "Who asks $wan for port 8080 gets blue's web server."
check "the internet reads blue's page" http_says internet http://$wan:8080/ "hello from blue's web server"
check "blue's server sees who asks" seen_from web 203.0.113.2
check "port 8081 leads nowhere" http_fails internet http://$wan:8081/

step "Apart: blue, red and the internet" \
    "No route leads from one VPC into another. Who tries is told so, by the gateway."
check "blue cannot reach red" ping_refused blue-host 10.2.0.10 10.1.0.1
check "red cannot reach blue" ping_refused red-host 10.1.0.10 10.2.0.1
check "the internet cannot reach blue's hosts" ping_refused internet 10.1.0.10 $wan

step "A new policy, under running traffic" \
    "Red loses the internet, blue keeps it, the port forward goes. Pings, 20 a second, run all the while."
background ping-blue blue-host ping -n -D -i 0.05 -c 80 $site
background ping-red red-host ping -n -D -i 0.05 -c 80 $site
background download blue-host curl -sS --max-time 20 --limit-rate 100k -o "$work/file" http://$site/file
check "both are answered" within 5 eval "has_answers ping-blue 20 && has_answers ping-red 20"
run 0 rewire load examples/demo/02-policy.yaml
run 0 rewire diff
run 0 rewire commit -m "red stays inside; no more web server"
committed=$EPOCHREALTIME
finish ping-blue
finish ping-red
check "blue lost not one ping" none_lost ping-blue
check "red's pings stopped with the commit" stopped_at ping-red "$committed"
check "red is told so by the gateway" grep -m 1 "^.*From 10.2.0.1 .* Unreachable" "$work/ping-red.log"
ends_well "blue's download went on through it" download
check "and nothing of it is missing" file_is_whole "$work/site/file" "$work/file"
check "the port forward is gone" http_fails internet http://$wan:8080/

step "Documents that are wrong" \
    "All their errors at once, each at its place. Exit code 2, and nothing is changed."
run 2 rewire load examples/demo/03-malformed.yaml
check "host bits in a prefix" points_at examples/demo/03-malformed.yaml:6:7
check "an MTU that no interface has" points_at examples/demo/03-malformed.yaml:14:10
check "a field that does not exist" points_at examples/demo/03-malformed.yaml:15:5
run 2 rewire load examples/demo/03-dangling.yaml
check "an interface that does not exist" points_at examples/demo/03-dangling.yaml:8:24
check "a router that is on no link" points_at examples/demo/03-dangling.yaml:13:18
check "a VPC that does not exist" points_at examples/demo/03-dangling.yaml:25:12
check "the store is where it was" head_is 2
check "and so is the traffic" ping_works blue-host $site

step "A mistake that no check can see, and the way back" \
    "Well formed, committed, and blue is cut off. Any revision can be gone back to."
run 0 rewire load examples/demo/04-breaks-traffic.yaml
run 0 rewire diff
run 0 rewire commit -m "tidy up the routes"
check "blue is cut off" ping_lost blue-host $site
run 0 rewire rewind 2
check "blue is back" ping_works blue-host $site
check "blue reads a page again" http_says blue-host http://$site/ "hello from the internet"

step "What happened, and what was seen of it" \
    "History is never rewritten: the way back is a revision of its own, with the digest of the one it went back to."
run 0 rewire log
check "revisions 2 and 4 have the same digest" \
    jq -er '[.result.revisions[] | select(.revision == 2 or .revision == 4) | .digest]
        | if length == 2 and .[0] == .[1] then .[0] else false end' <<<"$(rewire log --json)"
run 0 rewire status
show curl http://127.0.0.1:9474/metrics "| grep …"
scrape | quote
check "the metrics know revision 4" test "$(metric revision)" -eq 4
within 5 account
check "every packet is accounted for" account

step "The end" \
    "SIGTERM: the gateway stops its workers, closes its ports, and leaves with exit code 0."
ends_well "the gateway ends with exit code 0" gateway TERM

summary
