#!/bin/sh
# rbldnsd.sh DIR: prints the path of rbldnsd. Where it is not installed, Debian's
# package is unpacked in DIR; nothing is installed.
set -eu
PATH=$PATH:/usr/sbin
command -v rbldnsd && exit
aside=$1/packages
if [ ! -x "$aside/usr/sbin/rbldnsd" ]; then
	mkdir -p "$aside"
	(cd "$aside" && apt-get download rbldnsd >&2 && dpkg -x rbldnsd_*.deb .)
fi
echo "$aside/usr/sbin/rbldnsd"
