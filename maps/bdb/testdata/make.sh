#!/usr/bin/env bash
# Makes the databases of this directory anew, and beside each what db_dump says of it.
# Needs db5.3-util and perl. The files of the other releases of Berkeley DB (hash version
# 7 and btree 8 of 4.0, 8 and 9 of 4.2, both 10 of 18.1) are made by the db_load and
# db_dump of a build of that release:
#
#   make.sh                       the files of release 5.3
#   make.sh RELEASE DIRECTORY     those of another one, such as hash-4.0.db
set -euo pipefail
cd "$(dirname "$0")"
load=db5.3_load dump=db5.3_dump

# Pairs as lines of hexadecimal: keys and values with the NUL of makemap, empty ones, a
# long value, a long key.
plain() {
	perl -e '
		sub hex_line { print " ", unpack("H*", $_), "\n" for @_ }
		sub numbers { join "", map "$_\n", $_[0] .. $_[1] }
		hex_line "host" . $_ * 7 . ".example.com\0", "RELAY\0" for 1 .. 40;
		hex_line "", "empty key", "Connect:10\0", "";
		hex_line "long value", numbers(1, 400), numbers(1, 200), "long key", numbers(200, 300), numbers(300, 600);'
}

# Some keys have a few values, one has two hundred.
duplicates() {
	perl -e '
		sub hex_line { print " ", unpack("H*", $_), "\n" for @_ }
		sub numbers { join "", map "$_\n", $_[0] .. $_[1] }
		hex_line "key $_", "only" for 1 .. 20;
		hex_line "few", "value $_" for 3, 1, 2;
		hex_line "many", "value " . $_ * 7 % 200 for 1 .. 200;
		hex_line "long ones", numbers($_, 200) for 2, 1;'
}

make() { # NAME TYPE CONTENT [db_load options]
	local name=$1 type=$2 content=$3
	shift 3
	rm -f "$name.db"
	{ printf 'VERSION=3\nformat=bytevalue\ntype=%s\ndb_pagesize=512\nHEADER=END\n' "$type"; $content; echo DATA=END; } | "$load" "$@" "$name.db"
	"$dump" "$name.db" | sed '1,/^HEADER=END$/d; /^DATA=END$/d' >"$name.dump"
}

if [ $# = 2 ]; then
	load=$2/db_load dump=$2/db_dump
	for type in hash btree; do
		make "$type-$1" "$type" plain
		make "$type-dup-$1" "$type" duplicates -c duplicates=1
	done
	exit
fi
for type in hash btree; do
	make "$type" "$type" plain
	make "$type-big-endian" "$type" plain -c db_lorder=4321
	make "$type-checksum" "$type" plain -c chksum=1
	make "$type-checksum-big-endian" "$type" plain -c chksum=1 -c db_lorder=4321
	make "$type-dup" "$type" duplicates -c duplicates=1
	make "$type-dup-big-endian" "$type" duplicates -c duplicates=1 -c db_lorder=4321
	make "$type-dup-sorted" "$type" duplicates -c duplicates=1 -c dupsort=1
	make "$type-empty" "$type" true
done

# What is refused.
mkdir -p refused
printf 'k\nv\n' | "$load" -T -t btree -c subdatabase=one -c db_pagesize=512 refused/subdatabases.db
printf 'k\nv\n' | "$load" -P secret -T -t hash -c db_pagesize=512 refused/encrypted.db
printf 'v\n' | "$load" -T -t recno -c db_pagesize=512 refused/recno.db
printf 'v\n' | "$load" -T -t queue -c re_len=4 -c db_pagesize=512 refused/queue.db
