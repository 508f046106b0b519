#!/bin/bash
# Fetches the headers that DPDK keeps for drivers, from Debian's source package, into the folder $1. They are what the card
# for tests is compiled with, and nothing else; the running system's sources of packages are left as they are.
set -euo pipefail

folder=$(mkdir -p "$1" && cd "$1" && pwd)
[ -e "$folder/ethdev_driver.h" ] && exit 0
version=$(dpkg-query -W -f '${source:Version}' libdpdk-dev)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
mkdir -p lists/partial cache/archives/partial
# Where the installed package is from.
apt-cache policy libdpdk-dev | awk '$2 ~ /^https?:/ { split($3, suite, "/"); print "deb-src", $2, suite[1], suite[2] }' |
    sort -u >sources.list
options=(-q=2 -o APT::Sandbox::User=root -o Dir::Etc::sourcelist="$scratch/sources.list" -o Dir::Etc::sourceparts=-
    -o Dir::State::lists="$scratch/lists" -o Dir::Cache="$scratch/cache")
apt-get "${options[@]}" update
apt-get "${options[@]}" source --download-only "dpdk=$version"
tar -xf dpdk_*.orig.tar.* --strip-components=1 --wildcards \
    '*/lib/ethdev/*.h' '*/lib/eal/include/*_driver.h' '*/drivers/bus/vdev/bus_vdev_driver.h'
cp lib/ethdev/ethdev_{driver,vdev}.h lib/eal/include/*_driver.h drivers/bus/vdev/bus_vdev_driver.h "$folder/"
