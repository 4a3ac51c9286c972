/* peers KIND make TEXT DATABASE: makes a database of an access table's lines.
 * peers KIND get DATABASE KEYS SECONDS: looks up the keys of a file, over and over.
 * KIND is libdb (hash, 128 MiB cache while it is made, the default when read) or
 * cdb. Each prints one line, "name=number ...": seconds it took; or p50_ns of
 * batches of ten lookups, mean_ns, and found, the share of keys that are there. */
#include <cdb.h>
#include <db.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 10, MOST = 4000000 };

struct database {
	int is_libdb, fd;
	DB *db;
	struct cdb cdb;
};

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static DB *open_libdb(const char *file, int make)
{
	DB *db;
	if (db_create(&db, NULL, 0) != 0)
		fail("db_create");
	if (make && db->set_cachesize(db, 0, 128 << 20, 1) != 0)
		fail("set_cachesize");
	if (db->open(db, NULL, file, NULL, DB_HASH, make ? DB_CREATE | DB_TRUNCATE : DB_RDONLY, 0644) != 0)
		fail(file);
	return db;
}

static DBT dbt(void *data, size_t size)
{
	DBT d;
	memset(&d, 0, sizeof d);
	d.data = data;
	d.size = size;
	return d;
}

static void put_libdb(DB *db, char *key, char *value)
{
	DBT k = dbt(key, strlen(key)), v = dbt(value, strlen(value));
	if (db->put(db, NULL, &k, &v, 0) != 0)
		fail("put");
}

static void make(int is_libdb, const char *text, const char *file)
{
	char line[2048];
	struct cdb_make cdb;
	DB *db = NULL;
	int fd = -1;
	double start = now();
	FILE *in = fopen(text, "r");
	if (in == NULL)
		fail(text);
	unlink(file);
	if (is_libdb)
		db = open_libdb(file, 1);
	else if ((fd = open(file, O_RDWR | O_CREAT | O_TRUNC, 0644)) < 0 || cdb_make_start(&cdb, fd) != 0)
		fail(file);
	while (fgets(line, sizeof line, in) != NULL) {
		char *value = strchr(line, '\t');
		if (value == NULL)
			continue;
		*value++ = 0;
		value[strcspn(value, "\n")] = 0;
		if (is_libdb)
			put_libdb(db, line, value);
		else if (cdb_make_add(&cdb, line, strlen(line), value, strlen(value)) != 0)
			fail("cdb_make_add");
	}
	if (is_libdb ? db->close(db, 0) != 0 : cdb_make_finish(&cdb) != 0 || close(fd) != 0)
		fail(file);
	printf("seconds=%f\n", now() - start);
}

static int get(struct database *d, char *key, size_t size)
{
	char value[2048];
	if (d->is_libdb) {
		DBT k = dbt(key, size), v = dbt(value, 0);
		v.ulen = sizeof value;
		v.flags = DB_DBT_USERMEM;
		return d->db->get(d->db, NULL, &k, &v, 0) == 0;
	}
	if (cdb_find(&d->cdb, key, size) <= 0)
		return 0;
	if (cdb_datalen(&d->cdb) > sizeof value || cdb_read(&d->cdb, value, cdb_datalen(&d->cdb), cdb_datapos(&d->cdb)) != 0)
		fail("cdb_read");
	return 1;
}

static char **read_keys(const char *file, size_t **sizes, long *count)
{
	char line[2048], **keys = malloc(1000000 * sizeof *keys);
	FILE *in = fopen(file, "r");
	*sizes = malloc(1000000 * sizeof **sizes);
	if (in == NULL || keys == NULL || *sizes == NULL)
		fail(file);
	for (*count = 0; *count < 1000000 && fgets(line, sizeof line, in) != NULL; ++*count) {
		line[strcspn(line, "\n")] = 0;
		keys[*count] = strdup(line);
		(*sizes)[*count] = strlen(line);
	}
	if (*count == 0)
		fail(file);
	return keys;
}

static int compare(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;
	return (x > y) - (x < y);
}

static void lookups(int is_libdb, const char *file, const char *key_file, double seconds)
{
	struct database d = {.is_libdb = is_libdb};
	size_t *sizes;
	long count, at = 0, batches = 0, found = 0;
	char **keys = read_keys(key_file, &sizes, &count);
	float *took = malloc(MOST * sizeof *took);
	double start, end, last;

	if (took == NULL)
		fail("malloc");
	memset(took, 0, MOST * sizeof *took);
	if (is_libdb)
		d.db = open_libdb(file, 0);
	else if ((d.fd = open(file, O_RDONLY)) < 0 || cdb_init(&d.cdb, d.fd) != 0)
		fail(file);
	for (at = 0; at < count; at++) /* once to have it all in memory */
		get(&d, keys[at], sizes[at]);
	at = 0;
	for (start = last = now(), end = start + seconds; last < end && batches < MOST; batches++) {
		double before = last;
		for (int i = 0; i < BATCH; i++) {
			found += get(&d, keys[at], sizes[at]);
			at = at + 1 == count ? 0 : at + 1;
		}
		last = now();
		took[batches] = (last - before) * 1e9 / BATCH;
	}
	qsort(took, batches, sizeof *took, compare);
	printf("p50_ns=%.1f mean_ns=%.1f found=%.3f\n", took[batches / 2], (last - start) * 1e9 / BATCH / batches,
	       (double)found / BATCH / batches);
}

int main(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[2], "make") == 0)
		make(strcmp(argv[1], "libdb") == 0, argv[3], argv[4]);
	else if (argc == 6 && strcmp(argv[2], "get") == 0)
		lookups(strcmp(argv[1], "libdb") == 0, argv[3], argv[4], atof(argv[5]));
	else {
		fprintf(stderr, "usage: peers libdb|cdb make TEXT DATABASE | get DATABASE KEYS SECONDS\n");
		return 2;
	}
	return 0;
}
