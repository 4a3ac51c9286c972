/*
 * A SASL client of Cyrus SASL, as Postfix is one: each line out is a response in base64
 * ("-" for none), each line in a challenge, or "OK" or "NO" at the end.
 *
 *   cyrus-client MECHANISM USER PASSWORD HOST
 */
#include <sasl/sasl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *user, *password;

static int name(void *context, int id, const char **result, unsigned *length)
{
	*result = id == SASL_CB_USER ? "" : user;
	if (length)
		*length = strlen(*result);
	return SASL_OK;
}

static int secret(sasl_conn_t *conn, void *context, int id, sasl_secret_t **result)
{
	*result = calloc(1, sizeof **result + strlen(password) + 1);
	(*result)->len = strlen(password);
	strcpy((char *)(*result)->data, password);
	return SASL_OK;
}

static int realm(void *context, int id, const char **offered, const char **result)
{
	*result = offered ? offered[0] : "";
	return SASL_OK;
}

int main(int argc, char **argv)
{
	sasl_callback_t callbacks[] = {
		{SASL_CB_USER, (int (*)(void))name, 0},
		{SASL_CB_AUTHNAME, (int (*)(void))name, 0},
		{SASL_CB_PASS, (int (*)(void))secret, 0},
		{SASL_CB_GETREALM, (int (*)(void))realm, 0},
		{SASL_CB_LIST_END, 0, 0},
	};
	sasl_security_properties_t security = {0, 0, 0, SASL_SEC_NOANONYMOUS, 0, 0};
	static char line[16384], text[16384];
	const char *out = 0, *mechanism;
	unsigned length = 0;
	sasl_conn_t *conn;

	if (argc != 5)
		return 2;
	user = argv[2];
	password = argv[3];
	if (sasl_client_init(callbacks) != SASL_OK || sasl_client_new("smtp", argv[4], 0, 0, callbacks, 0, &conn) != SASL_OK)
		return 2;
	sasl_setprop(conn, SASL_SEC_PROPS, &security);
	int result = sasl_client_start(conn, argv[1], 0, &out, &length, &mechanism);
	for (;;) {
		if (result != SASL_OK && result != SASL_CONTINUE) {
			fprintf(stderr, "%s\n", sasl_errdetail(conn));
			return 1;
		}
		if (out && sasl_encode64(out, length, line, sizeof line, 0) != SASL_OK)
			return 2;
		puts(out ? line : "-");
		fflush(stdout);
		if (!fgets(line, sizeof line, stdin))
			return 2;
		line[strcspn(line, "\n")] = 0;
		if (!strcmp(line, "OK"))
			return result == SASL_OK ? 0 : 1;
		if (!strcmp(line, "NO"))
			return 1;
		if (sasl_decode64(line, strlen(line), text, sizeof text, &length) != SASL_OK)
			return 2;
		result = sasl_client_step(conn, text, length, 0, &out, &length);
	}
}
