#!/bin/sh
# Prints what sendmail -bt tells for /parse of each address, under three smart hosts:
# sh record.sh, where sendmail, its cf folder and makemap are (packaging/images/sendmail).
set -eu
here=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
makemap hash "$work/mailertable" < "$here/mailertable"
for smart in '' 'relay:[smart.isp.example]' 'smart1.isp.example:smart2.isp.example'; do
	cat > "$work/routes.mc" <<-EOF
		divert(0)dnl
		OSTYPE(\`debian')dnl
		DOMAIN(\`debian-mta')dnl
		undefine(\`confHOST_STATUS_DIRECTORY')dnl
		define(\`confDOMAIN_NAME', \`mx.example.com')dnl
		define(\`confDONT_PROBE_INTERFACES', \`True')dnl
		ifelse(\`$smart', \`', \`', \`define(\`SMART_HOST', \`$smart')')dnl
		FEATURE(\`nocanonify')dnl
		FEATURE(\`mailertable', \`hash -o $work/mailertable')dnl
		FEATURE(\`no_default_msa')dnl
		MAILER(\`local')dnl
		MAILER(\`smtp')dnl
		LOCAL_CONFIG
		Cw local.example
	EOF
	m4 /usr/share/sendmail/cf/m4/cf.m4 "$work/routes.mc" > "$work/routes.cf"
	sed 's/^/\/parse /' "$here/addresses" | sendmail -bt -C "$work/routes.cf" 2>&1 | grep '^mailer ' > "$work/answers"
	echo "SMART_HOST $smart"
	paste "$here/addresses" "$work/answers"
done
