#!/usr/bin/env bash
# Makes what the provider's server of the tests has (peers/smarthost): a certificate, and an
# account "gatepost" with the password "o pen, \"sesame\"".
#
#   integration/secrets.sh DIRECTORY
set -euo pipefail
umask 022
mkdir -p "$1"
cd "$1"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=Test authority' -keyout ca.key -out ca.pem
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=smtp.isp.example' -keyout key.pem -out request.pem
printf 'subjectAltName = DNS:smtp.isp.example\n' >extensions
openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out cert.pem
printf 'o pen, "sesame"' | saslpasswd2 -p -c -f "$PWD/sasldb2" -u smtp.isp.example gatepost
chmod 644 sasldb2 key.pem # the server's user is another one in its container
