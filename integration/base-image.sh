#!/usr/bin/env bash
# Makes a Debian base image without a registry: debootstrap, then docker import.
# Usage: base-image.sh SUITE SOURCES.LIST IMAGE. The image gets these package sources and
# the host's apt keys, proxy and date settings.
set -euo pipefail
suite=$1 sources=$2 image=$3
root=$(mktemp -d /var/tmp/gatepost-base.XXXXXX)
trap 'rm -rf --one-file-system "$root"' EXIT
mirror=$(awk -v s="$suite" '$3 == s {print $2; exit}' "$sources")
debootstrap --variant=minbase --include=ca-certificates "$suite" "$root" "$mirror"
cp "$sources" "$root/etc/apt/sources.list"
cp -a /etc/apt/trusted.gpg.d/. "$root/etc/apt/trusted.gpg.d/" 2>/dev/null || true
apt-config dump | grep -E '^Acquire::(https?::Proxy|Check-|Max-ValidTime|Retries)' >"$root/etc/apt/apt.conf.d/90host" || true
# No service starts while packages are installed, and no package files are kept.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
tar -C "$root" -c . | docker import - "$image"
