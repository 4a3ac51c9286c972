#!/usr/bin/env bash
# Unpacks sendmail, its rule sets and what they need into a directory, from the host's
# Debian package sources. Nothing is installed or configured there: the packages' scripts
# do not run. Usage: root.sh DIRECTORY
set -euo pipefail
suite=bookworm
directory=$1

# The mirror of the suite among the host's own package sources; on a host with another
# release, its mirror.
mirror() {
	local targets
	targets=$(apt-get indextargets --format '$(RELEASE)|$(REPO_URI)' 'Created-By: Packages' 'Component: main' | grep -i debian || true)
	{ grep "^$suite|" <<<"$targets" || grep -v '^[^|]*-' <<<"$targets" || echo "|http://deb.debian.org/debian"; } | head -n 1 | cut -d'|' -f2
}

new=$directory.new.$$
trap 'rm -rf --one-file-system "$new"' EXIT
debootstrap --foreign --variant=minbase --keyring=/usr/share/keyrings/debian-archive-keyring.gpg --include=sendmail-bin,sendmail-cf,m4,iproute2 "$suite" "$new" "$(mirror)"
for package in "$new"/var/cache/apt/archives/*.deb; do
	dpkg -x "$package" "$new"
done
rm -rf "$new/var/cache/apt/archives" "$new/var/lib/apt" "$new/debootstrap"
# Places for the files that each worker brings.
for file in hosts resolv.conf nsswitch.conf passwd group; do
	rm -f "$new/etc/$file"
	touch "$new/etc/$file"
done
mkdir -p "$new/gatepost"
version=$(chroot "$new" /usr/libexec/sendmail/sendmail -d0.1 -bv root 2>&1 </dev/null || true) # fails: no configuration yet
grep '^Version 8\.17\.1' <<<"$version"
mv -T "$new" "$directory"
