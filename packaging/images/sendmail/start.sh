#!/bin/sh
# sendmail logs to syslog only: a small syslogd prints it, so that `docker logs` shows it.
set -eu
busybox syslogd -n -S -O /dev/stdout &
rm -f /var/spool/mqueue/*
mkdir -p /run/sendmail/mta
exec /usr/sbin/sendmail-mta -L sendmail -bD -q5s
