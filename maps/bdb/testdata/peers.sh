#!/usr/bin/env bash
# Unpacks sendmail and Postfix into a directory for the tests with real peers, and installs
# the libraries they need, db5.3-util and sasl2-bin. Needs root and a Debian-like system.
# Neither mail server is installed, nor do their packages' scripts run.
#
#   peers.sh DIRECTORY
#   GATEPOST_PEERS=DIRECTORY go test -tags integration ./maps/bdb
set -euo pipefail
mkdir -p "$1"
cd "$1"
libraries() { apt-cache depends --no-recommends --no-suggests sendmail-bin postfix | awk '/Depends: lib/ {print $2}' | sort -u; }
fetch() {
	# shellcheck disable=SC2046 # a list of words
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends db5.3-util sasl2-bin $(libraries) &&
		apt-get download sendmail-bin postfix
}
fetch >fetch.log 2>&1 || { apt-get update >/dev/null && fetch >fetch.log 2>&1; } ||
	{ tail -n 20 fetch.log >&2; exit 1; }
for package in ./*.deb; do dpkg -x "$package" .; done
