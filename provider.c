/* SPDX-License-Identifier: ISC */
/*
 * The presets: what is known of a relay before anybody configures it. Only
 * what its documentation promises to keep: names, ports, how it wants to be
 * used. No quotas and no prices, which change; and no behaviour, which is the
 * same for every relay.
 */
#include "provider.h"

#include <stddef.h>
#include <string.h>

static const struct provider providers[] = {
	{
		.name = "google-relay",
		.host = "smtp-relay.gmail.com",
		.port = 587,
		.other_ports = "465, 25",
		.credentials = "a Workspace user and an app password",
		.recipients_per_message = 100,
		.messages_per_connection = 50,
		.connections = 2,
	}, {
		.name = "gmail",
		.host = "smtp.gmail.com",
		.port = 465,
		.tls = TLS_MODE_IMPLICIT,
		.other_ports = "587",
		.credentials = "the full address and an app password",
		.needs_login = true,
		.recipients_per_message = 100,
		.messages_per_connection = 50,
		.connections = 2,
	}, {
		.name = "sendgrid",
		.host = "smtp.sendgrid.net",
		.port = 587,
		.other_ports = "465, 2525, 25",
		.user = "apikey",
		.credentials = "an API key as the password",
		.needs_login = true,
		.recipients_per_message = 1000,
		.messages_per_connection = 1000,
		.connections = 4,
	}, {
		.name = "mailgun",
		.host = "smtp.mailgun.org",
		.port = 587,
		.other_ports = "465, 2525, 25",
		.credentials = "the SMTP user of your domain "
		    "(name@your-domain) and its password",
		.needs_login = true,
		.recipients_per_message = 100,
		.messages_per_connection = 100,
		.connections = 4,
	}, {
		.name = "mailjet",
		.host = "in-v3.mailjet.com",
		.port = 587,
		.other_ports = "465, 2525, 588, 80, 25",
		.credentials = "the API key as the user and the secret key "
		    "as the password",
		.needs_login = true,
		.recipients_per_message = 50,
		.messages_per_connection = 50,
		.connections = 2,
	}, {
		.name = "ses",
		.host = "email-smtp.%s.amazonaws.com",
		.port = 587,
		.other_ports = "465, 2465, 2587, 25",
		.credentials = "the SMTP user name (an access key ID) and "
		    "the SMTP password made for that region",
		.needs_region = true,
		.needs_login = true,
		.recipients_per_message = 50,
		.messages_per_connection = 100,
		.connections = 2,
	}, {
		.name = "office365",
		.host = "smtp.office365.com",
		.port = 587,
		.other_ports = "25",
		.credentials = "the mailbox's address and its password",
		.needs_login = true,
		.recipients_per_message = 200,
		.messages_per_connection = 50,
		.connections = 1,
	}, {
		.name = "postfix",
		.other_ports = "465, 25",
		.recipients_per_message = 100,
		.messages_per_connection = 100,
		.connections = 2,
	}, {
		.name = "capture",
	},
};

const struct provider *
provider_at(unsigned index)
{
	if (index >= sizeof(providers) / sizeof(providers[0]))
		return NULL;
	return &providers[index];
}

const struct provider *
provider_find(const char *name)
{
	const struct provider *p;

	for (unsigned i = 0; (p = provider_at(i)); i++)
		if (!strcmp(p->name, name))
			return p;
	return NULL;
}

bool
provider_is_capture(const struct provider *provider)
{
	return provider && !strcmp(provider->name, "capture");
}
