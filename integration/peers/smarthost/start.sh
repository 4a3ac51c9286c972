#!/bin/sh
# Starts the Postfix of the image as a provider's server: port 587 instead of 25.
set -eu
cp /etc/peers/smarthost/main.cf /etc/postfix/main.cf
sed -i 's/^smtp  *inet .*/submission inet n - n - - smtpd/' /etc/postfix/master.cf
mkdir -p /etc/postfix/sasl
cp /etc/peers/smarthost/smtpd.conf /etc/postfix/sasl/smtpd.conf
exec sh /usr/local/sbin/start-postfix
