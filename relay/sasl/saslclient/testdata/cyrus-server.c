/*
 * A SASL server of Cyrus SASL, as Postfix and sendmail are: each line in is a response in
 * base64 ("-" for no initial one), each line out a challenge, or "OK USER" or "NO WHY" at
 * the end.
 *
 *   cyrus-server MECHANISM SASLDB HOST [BINDING HEX]
 */
#include <sasl/sasl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *database;

static int option(void *context, const char *plugin, const char *name, const char **result, unsigned *length)
{
	if (!strcmp(name, "sasldb_path"))
		*result = database;
	else if (!strcmp(name, "pwcheck_method"))
		*result = "auxprop";
	else if (!strcmp(name, "auxprop_plugin"))
		*result = "sasldb";
	else
		return SASL_FAIL;
	if (length)
		*length = strlen(*result);
	return SASL_OK;
}

int main(int argc, char **argv)
{
	sasl_callback_t callbacks[] = {
		{SASL_CB_GETOPT, (int (*)(void))option, 0},
		{SASL_CB_LIST_END, 0, 0},
	};
	/* PLAIN and LOGIN are had where TLS is */
	sasl_security_properties_t security = {0, 0, 0, SASL_SEC_NOANONYMOUS, 0, 0};
	static char line[32768], text[32768], binding[1024];
	sasl_channel_binding_t bound = {0};
	const char *out = 0;
	unsigned length = 0, in = 0;
	sasl_conn_t *conn;
	int first = 1, result;

	if (argc != 4 && argc != 6)
		return 2;
	database = argv[2];
	if (sasl_server_init(callbacks, "gatepost-test") != SASL_OK ||
	    sasl_server_new("smtp", argv[3], argv[3], 0, 0, callbacks, 0, &conn) != SASL_OK)
		return 2;
	sasl_setprop(conn, SASL_SEC_PROPS, &security);
	if (argc == 6) {
		bound.name = argv[4];
		bound.data = (unsigned char *)binding;
		for (; argv[5][2 * bound.len] && bound.len < sizeof binding; bound.len++)
			sscanf(argv[5] + 2 * bound.len, "%2hhx", (unsigned char *)binding + bound.len);
		sasl_setprop(conn, SASL_CHANNEL_BINDING, &bound);
	}
	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = 0;
		int none = first && !strcmp(line, "-");
		if (!none && sasl_decode64(line, strlen(line), text, sizeof text, &in) != SASL_OK)
			return 2;
		out = 0, length = 0;
		result = first ? sasl_server_start(conn, argv[1], none ? 0 : text, none ? 0 : in, &out, &length)
			       : sasl_server_step(conn, text, in, &out, &length);
		first = 0;
		if (result == SASL_CONTINUE || result == SASL_OK && out && length) {
			/* what comes with success is a challenge in SMTP, answered by nothing */
			if (sasl_encode64(out ? out : "", out ? length : 0, line, sizeof line, 0) != SASL_OK)
				return 2;
			puts(line);
			fflush(stdout);
		}
		if (result == SASL_OK) {
			const void *user = 0;
			if (out && length && (!fgets(line, sizeof line, stdin) || line[0] != '\n')) {
				puts("NO the client does not take the proof");
				return 1;
			}
			sasl_getprop(conn, SASL_USERNAME, &user);
			printf("OK %s\n", user ? (const char *)user : "");
			return 0;
		}
		if (result != SASL_CONTINUE) {
			printf("NO %s\n", sasl_errstring(result, 0, 0));
			return 1;
		}
	}
	return 2;
}
