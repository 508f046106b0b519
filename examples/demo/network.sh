#!/usr/bin/env bash
# The demo's little world: four network namespaces and three cables.
#
#   rw-blue-host 10.1.0.10 ──── rw-blue ┐
#   rw-red-host  10.2.0.10 ──── rw-red  ├ rw-gateway
#   rw-internet  203.0.113.2 ── rw-wan  ┘
#
# `network.sh up` makes it, `network.sh down` takes it away, with whatever still runs in it. Both take root. The kernel
# has no address on the gateway's side: whoever answers there is the gateway.
set -euo pipefail

namespaces=(rw-gateway rw-blue-host rw-red-host rw-internet)

up() {
    local namespace
    for namespace in "${namespaces[@]}"; do
        ip netns add "$namespace"
        # Only what the demo sends shall be on the cables.
        ip netns exec "$namespace" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
        ip -n "$namespace" link set lo up
    done
    cable rw-blue rw-blue-host 10.1.0.10/24
    cable rw-red rw-red-host 10.2.0.10/24
    cable rw-wan rw-internet 203.0.113.2/24
    ip -n rw-blue-host route add default via 10.1.0.1
    ip -n rw-red-host route add default via 10.2.0.1
    # A site somewhere in the internet, and someone there who believes to know a way to blue's hosts. The internet has no
    # other routes: it can answer 203.0.113.0/24 and nobody else.
    ip -n rw-internet address add 198.51.100.1/32 dev lo
    ip -n rw-internet route add 10.1.0.0/24 via 203.0.113.1
}

# cable PORT HOST ADDRESS: from a port of the gateway to a host.
cable() {
    local port=$1 host=$2 address=$3
    ip -n rw-gateway link add "$port" type veth peer name eth0 netns "$host"
    # A veth hands over frames without checksums, and frames larger than any wire takes: no card ever gets to see such.
    ip netns exec "$host" ethtool -K eth0 tx off gso off tso off gro off >/dev/null
    ip -n "$host" address add "$address" dev eth0
    ip -n "$host" link set eth0 up
    ip -n rw-gateway link set "$port" up
}

down() {
    local namespace pids
    for namespace in "${namespaces[@]}"; do
        [[ -e /run/netns/$namespace ]] || continue
        pids=$(ip netns pids "$namespace")
        # shellcheck disable=SC2086 # several
        [[ -z $pids ]] || kill $pids 2>/dev/null || true
        ip netns delete "$namespace"
    done
}

case ${1:-} in
up) up ;;
down) down ;;
*)
    echo "usage: network.sh up|down" >&2
    exit 2
    ;;
esac
