#!/usr/bin/env bash
# Installs what building, testing and the demo need and this machine lacks. Says nothing when nothing is missing.
#
# Debian 12 packages come from apt (through sudo where you are not root; never with a question), cargo-nextest from
# cargo. Rust itself is yours to install: this only says when it is missing or too old.
set -euo pipefail

packages=(
    # to build: DPDK 22.11, a C compiler, and libclang for the bindings
    build-essential pkgconf libdpdk-dev clang-14 libclang-14-dev
    # to test and show: namespaces, traffic, and a look at both
    iproute2 iputils-ping iperf3 curl ethtool python3 tcpdump jq
    # to learn routes from (Debian starts its zebra and staticd, which do nothing until they are configured)
    frr
    # to count the instructions that a packet takes
    valgrind
    # to judge NAT by: a STUN client and server, and packets that nobody here wrote
    coturn python3-scapy traceroute
    # to read flows back that are exported
    nfdump nfdump-sflow tshark
    # to be scraped by, and to try the alerts: promtool comes with it
    prometheus
    # to look at the web console
    chromium
)
rust_at_least=1.95

say() { echo "dependencies: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

as_root() {
    if [[ $EUID -eq 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        # With a terminal sudo may ask; without one (a CI job) it must not wait for an answer.
        if [[ -t 0 && -z ${CI:-} ]]; then sudo "$@"; else sudo -n "$@"; fi
    else
        return 1
    fi
}

install_packages() {
    command -v dpkg-query >/dev/null ||
        fail "this is not Debian: install by hand what is called there ${packages[*]}"
    local package missing=()
    for package in "${packages[@]}"; do
        [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
            missing+=("$package")
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    as_root apt-get update -q </dev/null &&
        as_root apt-get install -q -y --no-install-recommends "${missing[@]}" </dev/null ||
        fail "could not install them; as root: apt-get install ${missing[*]}"
    # Debian starts coturn's server, which the tests run by themselves, in a namespace.
    if [[ " ${missing[*]} " == *" coturn "* && -d /run/systemd/system ]]; then
        as_root systemctl disable --quiet --now coturn.service
    fi
    # Its collector likewise.
    if [[ " ${missing[*]} " == *" nfdump "* && -d /run/systemd/system ]]; then
        as_root systemctl disable --quiet --now nfdump.service
    fi
    if [[ " ${missing[*]} " == *" prometheus "* && -d /run/systemd/system ]]; then
        as_root systemctl disable --quiet --now prometheus.service
    fi
}

check_rust() {
    command -v cargo >/dev/null || fail "no cargo: install Rust $rust_at_least or later with rustup" \
        "(https://rustup.rs); Debian's own rustc is too old"
    local version
    version=$(rustc --version | cut -d' ' -f2)
    [[ $(printf '%s\n' "$rust_at_least" "$version" | sort --version-sort | head -1) == "$rust_at_least" ]] ||
        fail "Rust $version is too old, $rust_at_least or later is needed: rustup update stable"
}

install_nextest() {
    cargo nextest --version >/dev/null 2>&1 && return
    say "installing cargo-nextest (once; this takes some minutes)"
    cargo install --locked --quiet cargo-nextest </dev/null || fail "could not: cargo install --locked cargo-nextest"
}

# What decodes OTLP in the tests, and is not in Debian. Where it cannot be had, the test that uses it is skipped, and says so.
install_python_packages() {
    local to=${CARGO_TARGET_DIR:-target}/python
    [[ -d $to/opentelemetry/proto ]] && return
    python3 -m pip install --quiet --target "$to" opentelemetry-proto >/dev/null 2>&1 ||
        say "no opentelemetry-proto from PyPI (python3 -m pip): OTLP is not tried with a collector"
}

install_packages
check_rust
install_nextest
install_python_packages
