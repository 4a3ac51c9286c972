#!/bin/sh
# Gives the client container its addresses (root.zone says what is special about each),
# then stays.
set -eu
dev=$(ip -o addr show to 198.51.100.100 | awk '{print $2; exit}')
for last in 7 8 9 66 101 102 103 104; do ip addr add "198.51.100.$last/24" dev "$dev"; done
for a in 2001:db8:1::101 2001:db8:1::102 2001:db8:2::7; do ip -6 addr add "$a/32" dev "$dev" nodad; done
echo ready
exec sleep infinity
