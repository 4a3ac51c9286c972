#!/bin/sh
# Gives the client container its addresses (integration/peers/root.zone says what is
# special about each), then stays.
set -eu
dev() { ip -o addr show to "$1" | awk '{print $2; exit}'; }
mail=$(dev 198.18.2.100)
for a in 198.18.2.101 198.18.2.102 198.18.2.103 198.18.2.104; do ip addr add "$a/24" dev "$mail"; done
for a in 2001:db8:1::101 2001:db8:1::102; do ip -6 addr add "$a/64" dev "$mail" nodad; done
for a in 198.51.100.7 198.51.100.8; do ip addr add "$a/24" dev "$(dev 198.51.100.100)"; done
for a in 198.18.113.5 198.18.113.9; do ip addr add "$a/24" dev "$(dev 198.18.113.100)"; done
echo ready
exec sleep infinity
