/* SPDX-License-Identifier: ISC */
/*
 * Is it well? The configuration is judged as the daemon judges it; then comes
 * each relay (check_relay.h).
 */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "address.h"
#include "check_relay.h"
#include "config.h"
#include "owner.h"
#include "setup.h"

struct options {
	bool config_only;
	bool send;
	bool json;
	const char *to; /* or NULL */
};

/* Root looks with the eyes of the daemon: as the user that it would be. */
static bool
become(const struct config *config, struct buf *why)
{
	const char *name = config->run_as, *spool = config->queue.directory;
	uid_t uid;
	gid_t gid;

	if (name && !setup_find_user(name, &uid, &gid, why))
		return false;
	if (name && geteuid() == 0 && !setup_become(name, uid, gid, why))
		return false;
	return !spool || owner_become(spool, why);
}

/* Sentences, one a line, each as a step of its own. */
static void
report_sentences(struct check *c, enum check_mark mark, const char *line)
{
	while (*line) {
		size_t len = strcspn(line, "\n");
		char *text = xstrndup(line, len);

		check_report_line(&c->report,
		    &(struct check_line){mark, "config", -1, text, NULL});
		free(text);
		line += len + (line[len] != '\0');
	}
}

/* Everything that can be judged without a network. */
static bool
judge(struct check *c, struct setup *s, const char *path, bool config_only)
{
	struct buf why = {0};
	bool ok = setup_read(s, path, &why);

	if (ok) {
		ok = become(&s->config, &why) && setup_prepare(s, &why) &&
		    setup_prepare_listener(s, &why);
		if (ok)
			setup_read_aliases(s, &s->config.warnings,
			    &s->config.warnings);
		if (c->report.json)
			report_sentences(c, CHECK_WARNING,
			    buf_text(&s->config.warnings));
		else
			setup_print(stdout, "warning: ", &s->config.warnings);
	}
	if (c->report.json)
		report_sentences(c, CHECK_FAILED, buf_text(&why));
	else
		setup_print(stderr, "smarthost: ", &why);
	if (!ok && !c->report.json && path && access(path, F_OK) != 0)
		fprintf(stderr, "smarthost: name another file with -c, or "
		    "write this one: smarthost.conf(5) shows how\n");
	path = path ? path : "environment";
	if (ok && config_only && !c->report.json)
		printf("%s: ok\n", path);
	else if (ok)
		check_report_line(&c->report, &(struct check_line){CHECK_OK,
			"config", -1, path, NULL});
	buf_free(&why);
	return ok;
}

static bool
read_options(struct options *o, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--config") == 0)
			o->config_only = true;
		else if (strcmp(argv[i], "--send") == 0)
			o->send = true;
		else if (strcmp(argv[i], "--json") == 0)
			o->json = true;
		else if (strcmp(argv[i], "--to") == 0 && i + 1 < argc)
			o->to = argv[++i];
		else
			return false;
	}
	return !o->send || (o->to && !o->config_only);
}

static bool
is_address(const char *text)
{
	enum address_status status = address_check(text, strlen(text));
	struct buf shown = {0};

	if (address_is_good(status))
		return true;
	buf_add_printable(&shown, text, strlen(text), 100);
	fprintf(stderr, "smarthost: --to \"%s\" %s; write one such as "
	    "you@example.com\n", buf_text(&shown),
	    address_status_text(status));
	buf_free(&shown);
	return false;
}

static void
check_relays(struct check *c, struct setup *s)
{
	config_complete_hostname(&s->config);
	c->config = &s->config;
	for (size_t i = 0; i < s->config.upstream_count; i++)
		check_relay(c, &s->config.upstreams[i], s->trusts[i]);
}

int
check_command(int argc, char **argv, const char *config)
{
	struct options o = {0};
	struct check c = {0};
	struct setup s;

	if (!read_options(&o, argc, argv)) {
		fprintf(stderr, "smarthost: usage: smarthost check [--config] "
		    "[--to ADDRESS [--send]] [--json]\n");
		return EX_USAGE;
	}
	if (o.to && !is_address(o.to))
		return EX_USAGE;
	setup_forbid_core_files();
	c.report.json = o.json;
	c.to = o.to;
	c.send = o.send;
	check_report_begin(&c.report);
	if (!judge(&c, &s, setup_config_path(config), o.config_only))
		c.status = EX_CONFIG;
	else if (!o.config_only)
		check_relays(&c, &s);
	check_report_end(&c.report);
	setup_free(&s);
	if (fflush(stdout) != 0 || ferror(stdout))
		return EX_IOERR;
	return c.status;
}
