#!/bin/sh
# build.sh OUTPUT: compiles peers.c. Where the headers of libdb and tinycdb are not
# installed, their Debian packages are unpacked beside OUTPUT; nothing is installed.
set -eu
here=$(dirname "$0")
out=$1
aside=$(dirname "$out")/packages

if ! printf '#include <db.h>\n#include <cdb.h>\n' | cc -E - >/dev/null 2>&1; then
	if [ ! -d "$aside" ]; then
		mkdir -p "$aside.tmp"
		(cd "$aside.tmp" && apt-get download libdb5.3-dev libdb5.3 libcdb-dev libcdb1 >&2 &&
			for p in *.deb; do dpkg -x "$p" . && rm "$p"; done)
		mv "$aside.tmp" "$aside"
	fi
	inc=$(dirname "$(find "$aside" -name db.h | head -1)")
	lib=$(dirname "$(find "$aside" -name libcdb.a | head -1)")
	set -- -I"$inc" -L"$lib"
else
	set --
fi
# Linked statically: the peers' calls do not go through a jump table either.
exec cc -O2 -Wall -o "$out" "$here/peers.c" "$@" -Wl,-Bstatic -ldb -lcdb -Wl,-Bdynamic -lpthread
