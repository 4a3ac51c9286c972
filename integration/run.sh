#!/usr/bin/env bash
# Runs the tests with real sendmail and real Postfix in containers, and the relay beside
# them; those of tables with the programs that write them and the servers that keep them;
# those of the relay with clients that others wrote (which log in to it, guess passwords and
# look for weak TLS), and its spool killed at each system call. Leaves nothing running behind.
# Needs root and Go; what else is missing (Docker, Compose, debootstrap, redis-server, slapd,
# strace, swaks, gsasl, hydra, testssl.sh) is installed with apt-get. See README.md.
#
#   integration/run.sh [go test flags, such as -run 'TestDialogues/relay']
#   KEEP=1 integration/run.sh ...        leave the containers running to look at them
set -euo pipefail
cd "$(dirname "$0")/.."

project=gatepost-integration
suite=bookworm
images=(sendmail postfix tools)

say() { printf 'integration: %s\n' "$*"; }
fail() { printf 'integration: %s\n' "$*" >&2; exit 1; }

need() { # COMMAND PACKAGE...
	command -v "$1" >/dev/null && return
	shift
	install_packages "$@"
}

install_packages() {
	say "installing $*"
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >/dev/null ||
		{ apt-get update >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >/dev/null; } ||
		fail "cannot install $*"
}

compose() {
	if command -v docker-compose >/dev/null; then docker-compose -p "$project" "$@"; else docker compose -p "$project" "$@"; fi
}

# The servers that tables and DNS lists are kept on, and name servers. The tests start their own, so that Debian's
# services are not started when they are installed.
peers() {
	local policy=/usr/sbin/policy-rc.d
	command -v redis-server >/dev/null && command -v ldapmodify >/dev/null && [ -x /usr/sbin/slapd ] &&
		[ -x /usr/sbin/unbound ] && [ -x /usr/sbin/rbldnsd ] && return
	[ -e "$policy" ] && policy=
	[ -z "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod 755 "$policy"; }
	(need redis-server redis-server; need /usr/sbin/slapd slapd; need ldapmodify ldap-utils
		need /usr/sbin/unbound unbound; need /usr/sbin/rbldnsd rbldnsd) || { rm -f "$policy"; exit 1; }
	[ -z "$policy" ] || rm -f "$policy"
}

# Clients that log in to the relay.
clients() {
	need swaks swaks
	perl -MAuthen::SASL -MDigest::HMAC_MD5 -MNet::SSLeay -e 1 2>/dev/null ||
		install_packages libauthen-sasl-perl libdigest-hmac-perl libnet-ssleay-perl
	need gsasl gsasl
	need saslpasswd2 sasl2-bin
	need openssl openssl
	need /usr/bin/python3 python3
	need hydra hydra
	need testssl testssl.sh
	need hexdump bsdextrautils # for testssl.sh
}

tools() {
	[ "$(id -u)" = 0 ] || fail "needs root (containers, network namespaces)"
	command -v go >/dev/null || fail "needs Go"
	need docker docker.io
	need ip iproute2
	need strace strace
	clients
	peers
	docker compose version >/dev/null 2>&1 || need docker-compose docker-compose
	docker info >/dev/null 2>&1 && return
	say "starting the Docker daemon"
	systemctl start docker 2>/dev/null || service docker start >/dev/null 2>&1 || true
	for _ in $(seq 30); do docker info >/dev/null 2>&1 && return; sleep 1; done
	fail "the Docker daemon does not answer"
}

# The host's own Debian package sources of the suite, as sources.list lines. On a host
# with another release: its mirror, with our suite.
debian_sources() {
	local targets
	targets=$(apt-get indextargets --format '$(CREATED_BY)|$(COMPONENT)|$(RELEASE)|$(REPO_URI)' | grep '^Packages|main|' || true)
	targets=$(grep -i debian <<<"$targets" || echo "$targets") # others may have a suite of that name
	if grep -q "|$suite|" <<<"$targets"; then
		awk -F'|' -v s="$suite" 'index($3, s) == 1 && !seen[$3]++ {print "deb", $4, $3, "main"}' <<<"$targets"
	else
		awk -F'|' -v s="$suite" '$3 !~ /-/ {print "deb", $4, s, "main"; exit}' <<<"$targets"
	fi
}

# The base image: Docker Hub's where it and its package sources can be reached, else one
# made by debootstrap from the host's package sources.
base_image() {
	local tag
	tag=gatepost-test/base:$( { echo "$suite"; debian_sources; cat integration/base-image.sh; } | sha256sum | cut -c1-16)
	if ! docker image inspect "$tag" >/dev/null 2>&1; then
		say "making the base image"
		if timeout 90 docker pull -q "debian:$suite-slim" >/dev/null 2>&1 &&
			timeout 90 docker run --rm --network host "debian:$suite-slim" apt-get update >/dev/null 2>&1; then
			docker tag "debian:$suite-slim" "$tag"
		else
			need debootstrap debootstrap
			debian_sources >"$state/sources.list"
			[ -s "$state/sources.list" ] || fail "found no Debian package source in apt's configuration"
			integration/base-image.sh "$suite" "$state/sources.list" "$tag" >"$state/base.log" 2>&1 ||
				{ tail -n 30 "$state/base.log" >&2; fail "cannot make the base image"; }
		fi
	fi
	base=$tag
}

# An image is named after what it is made from, so that it is made once.
image_tag() { # NAME
	{ echo "$base"; (cd "packaging/images/$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum); } | sha256sum | cut -c1-16
}

build_images() {
	local name tag pids=() waiting=()
	for name in "${images[@]}"; do
		tag=$(image_tag "$name")
		export "GATEPOST_${name^^}_TAG=$tag"
		docker image inspect "gatepost-test/$name:$tag" >/dev/null 2>&1 && continue
		say "building the image $name"
		docker build --network host --build-arg "BASE=$base" -t "gatepost-test/$name:$tag" "packaging/images/$name" >"$state/build-$name.log" 2>&1 &
		pids+=($!) waiting+=("$name")
	done
	local i
	for i in "${!pids[@]}"; do
		wait "${pids[$i]}" || { tail -n 30 "$state/build-${waiting[$i]}.log" >&2; fail "cannot build the image ${waiting[$i]}"; }
	done
}

# The test network must not take over one that the host is in: the host would lose it.
check_subnets() {
	local subnet clash
	for subnet in $(grep -o 'subnet: [^}]*' docker-compose.yml | cut -d' ' -f2 | tr -d '"'); do
		clash=$(ip -o route show root "$subnet"; ip -o route show match "$subnet" | grep -v '^default' || true)
		[ -z "$clash" ] || fail "the test network $subnet overlaps a route of this host: $(head -n 1 <<<"$clash")"
	done
}

clean_up() {
	local status=$?
	trap - EXIT INT TERM
	if [ "$status" != 0 ] && [ -n "${up:-}" ]; then
		say "last lines of each container:"
		compose logs --no-color --tail 20 2>/dev/null || true
	fi
	if [ -n "${KEEP:-}" ] && [ -n "${up:-}" ]; then
		say "left running; state in $state; end it with: docker-compose -p $project down -v; rm -rf $state"
		exit "$status"
	fi
	compose down -v --remove-orphans -t 1 >/dev/null 2>&1 || true
	rm -rf "$state"
	exit "$status"
}

tools
exec 9>/run/lock/gatepost-integration
flock -w 900 9 || fail "another run does not end"
state=$(mktemp -d /tmp/gatepost-integration.XXXXXX)
trap clean_up EXIT
trap 'exit 130' INT TERM
mkdir -m 755 "$state/etc" "$state/run"
mkdir -m 700 "$state/spool"
mkdir -m 777 "$state/sink"
chmod 755 "$state"; chmod 777 "$state/sink"

say "unpacking makemap and postmap"
integration/peers.sh "$state/peers" >"$state/peers.log" 2>&1 || { tail -n 20 "$state/peers.log" >&2; fail "cannot unpack makemap and postmap"; }
export GATEPOST_PEERS=$state/peers GATEPOST_POSTMAP=$state/peers/postmap
base_image
build_images
say "building the programs"
CGO_ENABLED=0 go build -o "$state/" ./cmd/gatepost-milter ./cmd/gatepost-relay ./cmd/gatepost

export GATEPOST_BASE_IMAGE=$base GATEPOST_BIN=$state/gatepost-milter GATEPOST_RELAY_BIN=$state/gatepost-relay
export GATEPOST_ETC=$state/etc GATEPOST_RUN=$state/run GATEPOST_SINK=$state/sink GATEPOST_SPOOL=$state/spool
export GATEPOST_TOOL_BIN=$state/gatepost GATEPOST_SECRETS=$state/secrets COMPOSE_PROFILES=tests
export GATEPOST_INTEGRATION_PROJECT=$project GATEPOST_INTEGRATION_STATE=$state
: >"$state/etc/gatepost.toml" # a first, empty policy; each test brings its own
printf '[relay]\nlisten = ["0.0.0.0:25", "[::]:25"]\nsmart_host = "[198.51.100.27]"\n' >"$state/etc/relay.toml"
compose down -v --remove-orphans -t 1 >/dev/null 2>&1 || true
check_subnets
say "making the provider's account and certificate"
integration/secrets.sh "$state/secrets" >"$state/secrets.log" 2>&1 || { tail -n 20 "$state/secrets.log" >&2; fail "cannot make them"; }
say "starting the containers"
up=1
compose up -d --no-build >"$state/up.log" 2>&1 || { cat "$state/up.log" >&2; fail "cannot start the containers"; }
# Those that need the peers; all others are of "make test".
if [ $# = 0 ]; then
	set -- -run "^($(grep -rl '^//go:build integration' --include='*_test.go' cmd integration internal maps policy relay |
		xargs grep -hoE '^func Test[A-Za-z0-9_]+' | sed 's/^func //' | sort -u | paste -sd'|'))\$"
fi
go test -tags integration -count=1 -timeout 12m -p 1 -v ./integration ./maps/... ./internal/setup ./internal/dns ./policy/dnsbl ./relay/session ./relay/sasl/... ./relay/spool ./relay/tlspolicy ./relay/bounce ./relay/rewrite ./cmd/gatepost-relay "$@"
