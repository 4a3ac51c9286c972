#!/bin/sh
set -eu
# sendmail logs to syslog only: a small syslogd prints it, so that `docker logs` shows it.
busybox syslogd -n -S -O /dev/stdout &
rm -f /var/spool/mqueue/*
mkdir -p /run/sendmail/mta
: >/etc/mail/aliases
/usr/sbin/sendmail-mta -bi >/dev/null
# sendmail does not wait for an IPv6 address that the kernel is still checking.
for _ in $(seq 50); do
	ip -6 -o addr show | grep -q tentative || break
	sleep 0.1
done
exec /usr/sbin/sendmail-mta -L sendmail -bD -q5s
