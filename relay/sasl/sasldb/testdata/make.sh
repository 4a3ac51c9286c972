#!/usr/bin/env bash
# Makes sasldb2 anew. Needs sasl2-bin.
set -euo pipefail
cd "$(dirname "$0")"
rm -f sasldb2
set_password() { printf %s "$3" | saslpasswd2 -p -c -f sasldb2 -u "$2" "$1"; }
set_password joe mail.example.com 'secret of joe'
set_password ann example.org 'with, "quotes"'
set_password eve example.net 'pässword'
set_password gone mail.example.com 'x'
saslpasswd2 -d -f sasldb2 -u mail.example.com gone
chmod 644 sasldb2
