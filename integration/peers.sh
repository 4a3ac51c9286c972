#!/usr/bin/env bash
# Unpacks Debian's sendmail and Postfix into a directory, for the tests that hold tables
# against files and answers of other programs: neither mail server is installed, the
# libraries of both are, and db5.3-util, sasl2-bin, tinycdb, lmdb-utils, and clients for AUTH:
# gsasl, libsasl2-dev, libauthen-sasl-perl. swaks is unpacked too. Needs root.
# DIRECTORY/usr/libexec/sendmail/makemap and DIRECTORY/postmap are the commands.
#
#   integration/peers.sh DIRECTORY
#   GATEPOST_PEERS=DIRECTORY GATEPOST_POSTMAP=DIRECTORY/postmap go test -tags integration ./maps/...
set -euo pipefail
mkdir -p "$1"
directory=$(cd "$1" && pwd)
packages=(sendmail-bin postfix postfix-cdb postfix-lmdb swaks)
tools=(db5.3-util sasl2-bin tinycdb lmdb-utils gsasl libsasl2-dev libauthen-sasl-perl)

libraries() { apt-cache depends --no-recommends --no-suggests "${packages[@]}" | awk '$1 == "Depends:" && $2 ~ /^lib/ && !seen[$2]++ {print $2}'; }
fetch() {
	mapfile -t needed < <(libraries)
	[ "${#needed[@]}" -gt 0 ] &&
		DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${tools[@]}" "${needed[@]}" &&
		(cd "$directory/deb" && apt-get download "${packages[@]}")
}

chmod 755 "$directory"
mkdir -p "$directory/deb" "$directory/conf" "$directory/queue"
fetch || { apt-get update && fetch; }
for package in "$directory"/deb/*.deb; do dpkg -x "$package" "$directory"; done
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
	shlib_directory = $directory/usr/lib/postfix
	daemon_directory = $directory/usr/lib/postfix/sbin
	command_directory = $directory/usr/sbin
END
for kind in cdb lmdb; do
	echo "$kind $directory/usr/lib/postfix/postfix-$kind.so dict_${kind}_open mkmap_${kind}_open"
done >"$directory/conf/dynamicmaps.cf"
cat >"$directory/postmap" <<-END
	#!/bin/sh
	LD_LIBRARY_PATH=$directory/usr/lib/postfix exec $directory/usr/sbin/postmap -c $directory/conf "\$@"
END
chmod 755 "$directory/postmap"
"$directory/postmap" -q key static:works >/dev/null
