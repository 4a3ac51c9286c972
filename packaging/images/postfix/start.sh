#!/bin/sh
set -eu
rm -f /var/spool/postfix/pid/*.pid
postsuper -d ALL >/dev/null 2>&1 || true
exec postfix start-fg
