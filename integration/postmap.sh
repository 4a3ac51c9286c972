#!/usr/bin/env bash
# Unpacks Debian's postmap with its cdb, lmdb and socketmap tables into a directory, beside
# whatever mail server the host has: Postfix is not installed, its libraries and the
# tools cdb and mdb_dump are. Needs root. DIRECTORY/postmap is the command.
#
#   integration/postmap.sh DIRECTORY
#   GATEPOST_POSTMAP=DIRECTORY/postmap go test -tags integration ./maps/...
set -euo pipefail
mkdir -p "$1"
directory=$(cd "$1" && pwd)
packages=(postfix postfix-cdb postfix-lmdb)

install() { DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >/dev/null; }
libraries() { apt-cache depends "${packages[@]}" | awk '$1 == "Depends:" && $2 ~ /^lib/ && !seen[$2]++ {print $2}'; }

[ -n "$(libraries)" ] || apt-get update >/dev/null
mapfile -t needed < <(libraries)
needed+=(tinycdb lmdb-utils)
install "${needed[@]}" || { apt-get update >/dev/null && install "${needed[@]}"; }

chmod 755 "$directory"
mkdir -p "$directory/deb" "$directory/root" "$directory/conf" "$directory/queue"
(cd "$directory/deb" && apt-get download "${packages[@]}" >/dev/null 2>&1)
for package in "$directory"/deb/*.deb; do dpkg -x "$package" "$directory/root"; done
rm -rf "$directory/deb"

# Users of other Debian packages, since there is no user postfix.
cat >"$directory/conf/main.cf" <<-END
	compatibility_level = 3.6
	mail_owner = daemon
	setgid_group = mail
	inet_protocols = ipv4
	meta_directory = $directory/conf
	queue_directory = $directory/queue
	data_directory = $directory/queue
	shlib_directory = $directory/root/usr/lib/postfix
	daemon_directory = $directory/root/usr/lib/postfix/sbin
	command_directory = $directory/root/usr/sbin
END
for kind in cdb lmdb; do
	echo "$kind $directory/root/usr/lib/postfix/postfix-$kind.so dict_${kind}_open mkmap_${kind}_open"
done >"$directory/conf/dynamicmaps.cf"
cat >"$directory/postmap" <<-END
	#!/bin/sh
	LD_LIBRARY_PATH=$directory/root/usr/lib/postfix exec $directory/root/usr/sbin/postmap -c $directory/conf "\$@"
END
chmod 755 "$directory/postmap"
"$directory/postmap" -q key static:works >/dev/null
