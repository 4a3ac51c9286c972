#!/usr/bin/env bash
# Compares Gatepost with real sendmail on generated policies and sessions. Needs root and
# Go; what else is missing (debootstrap and its keys, to unpack sendmail once) is installed with
# apt-get. See README.md.
#
#   integration/differential/run.sh
#   SEED=1234 integration/differential/run.sh          the same policies as before
#   SESSIONS=1000 integration/differential/run.sh      fewer than 20,000 sessions
#   integration/differential/run.sh -again FILE        flags go to the program
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."

say() { printf 'differential: %s\n' "$*"; }
fail() { printf 'differential: %s\n' "$*" >&2; exit 2; }

SEED=${SEED:-$((RANDOM << 30 | RANDOM << 15 | RANDOM | 1))} # printed first, so that nothing that follows can lose it
say "SEED=$SEED"
[ "$(id -u)" = 0 ] || fail "needs root (namespaces)"
command -v go >/dev/null || fail "needs Go"
need() { # FILE PACKAGE
	[ -e "$1" ] && return
	say "installing $2"
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$2" >/dev/null ||
		{ apt-get update >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$2" >/dev/null; } ||
		fail "cannot install $2"
}
need /usr/sbin/debootstrap debootstrap
need /usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring

# The unpacked packages are kept, named after what made them.
root=${SENDMAIL_ROOT:-/var/tmp/gatepost-sendmail-$(sha256sum <"$here/root.sh" | cut -c1-12)}
exec 9>"$root.lock"
flock 9
if [ ! -d "$root" ]; then
	say "unpacking sendmail into $root"
	"$here/root.sh" "$root" >"$root.log" 2>&1 || { tail -n 20 "$root.log" >&2; fail "cannot unpack sendmail"; }
fi
flock -u 9

out=run/differential
mkdir -p "$out"
CGO_ENABLED=0 go build -o "$out/gatepost" ./cmd/gatepost
CGO_ENABLED=0 go build -o "$out/differential" ./integration/differential

# First the recorder itself: what was recorded long ago must come out again.
"$out/differential" -root "$root" -out "$out" -smtp 1 -again integration/testdata/oracle/named.jsonl.gz
exec "$out/differential" -root "$root" -out "$out" -gatepost "$out/gatepost" \
	-cases "$here/testdata/cases/*.jsonl" -seed "$SEED" -sessions "${SESSIONS:-20000}" "$@"
