/* SPDX-License-Identifier: ISC */
/*
 * The presets: what is known of a relay before anybody configures it. Only
 * what its documentation promises to keep: names, ports, how it wants to be
 * used. No quotas and no prices, which change; and no behaviour, which is the
 * same for every relay. smarthost.conf(5) has the same table.
 */
#include "provider.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "buf.h"
#include "tls.h"

/* Words of several rows. */
static const char app_password[] = "the full address and an app password";
static const char mailbox[] = "the mailbox's address and its password";
static const char smtp_user[] =
    "the SMTP user of your domain (name@your-domain) and its password";
static const char api_key[] = "an API key as the password";
static const char postmark[] =
    "a server's API token as the user and the password, or an SMTP token's "
    "access key and secret key";

enum { STARTTLS = TLS_MODE_STARTTLS, IMPLICIT = TLS_MODE_IMPLICIT };

/* Name, host, other ports; port and TLS; connections, messages over one,
 * recipients of one; whether there has to be a login. */
static const struct provider providers[] = {
	{"google-relay", "smtp-relay.gmail.com", "465, 25", 587, STARTTLS,
	    2, 50, 100, false,
	    .credentials = "a Workspace user and an app password"},
	{"gmail", "smtp.gmail.com", "587", 465, IMPLICIT, 2, 50, 100, true,
	    .credentials = app_password},
	{"sendgrid", "smtp.sendgrid.net", "465, 2525, 25", 587, STARTTLS,
	    4, 1000, 1000, true, .credentials = api_key, .user = "apikey"},
	{"sendgrid-eu", "smtp.eu.sendgrid.net", "465, 2525, 25", 587, STARTTLS,
	    4, 1000, 1000, true, .credentials = api_key, .user = "apikey"},
	{"mailgun", "smtp.mailgun.org", "465, 2525, 25", 587, STARTTLS,
	    4, 100, 100, true, .credentials = smtp_user},
	{"mailgun-eu", "smtp.eu.mailgun.org", "465, 2525, 25", 587, STARTTLS,
	    4, 100, 100, true, .credentials = smtp_user},
	{"mailjet", "in-v3.mailjet.com", "465, 2525, 588, 80, 25", 587,
	    STARTTLS, 2, 50, 50, true, .credentials =
	    "the API key as the user and the secret key as the password"},
	{"ses", "email-smtp.%s.amazonaws.com", "465, 2465, 2587, 25", 587,
	    STARTTLS, 2, 100, 50, true, .region = "eu-west-1", .credentials =
	    "the SMTP user name (an access key ID) and the SMTP password made "
	    "for that region"},
	{"ses-iam", "email-smtp.%s.amazonaws.com", "465, 2465, 2587, 25", 587,
	    STARTTLS, 2, 100, 50, true, .region = "eu-west-1",
	    .derives_password = true, .credentials =
	    "an access key ID as the user and its secret access key as the "
	    "password"},
	{"office365", "smtp.office365.com", "25", 587, STARTTLS,
	    1, 50, 200, true, .credentials = mailbox},
	{"outlook", "smtp-mail.outlook.com", NULL, 587, STARTTLS,
	    1, 10, 100, true, .takes_tokens_only = true, .credentials =
	    "the address and an OAuth token, by password_command"},
	{"m365-hve", "smtp.hve.mx.microsoft", NULL, 587, STARTTLS,
	    1, 50, 50, true, .login_first = true, .credentials = mailbox},
	{"m365-direct", "%s.mail.protection.outlook.com", NULL, 25, STARTTLS,
	    1, 20, 200, false, .region = "example-com"},
	{"azure-acs", "smtp.azurecomm.net", "25", 587, STARTTLS,
	    1, 10, 50, true, .login_first = true, .credentials =
	    "resource|app-id|tenant-id or an SmtpUsername as the user, and a "
	    "client secret"},
	{"postmark", "smtp.postmarkapp.com", "2525, 25", 587, STARTTLS,
	    4, 100, 50, true, .credentials = postmark},
	{"postmark-broadcast", "smtp-broadcasts.postmarkapp.com", "2525, 25",
	    587, STARTTLS, 4, 100, 50, true, .credentials = postmark},
	{"brevo", "smtp-relay.brevo.com", "465, 2525", 587, STARTTLS,
	    2, 50, 50, true, .credentials =
	    "the SMTP login of the account and an SMTP key (no API key)"},
	{"sparkpost", "smtp.sparkpostmail.com", "2525", 587, STARTTLS,
	    4, 100, 100, true, .login_first = true, .credentials = api_key,
	    .user = "SMTP_Injection"},
	{"sparkpost-eu", "smtp.eu.sparkpostmail.com", "2525", 587, STARTTLS,
	    4, 100, 100, true, .login_first = true, .credentials = api_key,
	    .user = "SMTP_Injection"},
	{"resend", "smtp.resend.com", "2465, 587, 2587, 25", 465, IMPLICIT,
	    1, 20, 50, true, .credentials = api_key, .user = "resend"},
	{"mandrill", "smtp.mandrillapp.com", "465, 2525, 25", 587, STARTTLS,
	    4, 100, 100, true, .credentials = api_key, .user = "smarthost"},
	{"smtp2go", "mail.smtp2go.com", "465, 8465, 443, 2525, 8025, 80, 25",
	    587, STARTTLS, 2, 50, 100, true,
	    .credentials = "an SMTP user and its password"},
	{"zoho", "smtp.zoho.%s", "587", 465, IMPLICIT, 1, 5, 50, true,
	    .credentials = app_password, .region = "eu"},
	{"fastmail", "smtp.fastmail.com", "587", 465, IMPLICIT,
	    2, 50, 100, true, .credentials = app_password},
	{"yandex", "smtp.yandex.com", "587", 465, IMPLICIT, 1, 20, 35, true,
	    .credentials = app_password},
	{"icloud", "smtp.mail.me.com", NULL, 587, STARTTLS, 1, 20, 100, true,
	    .credentials = app_password},
	{"ovh", "ssl0.ovh.net", "587", 465, IMPLICIT, 1, 50, 100, true,
	    .credentials = mailbox},
	{"scaleway", "smtp.tem.scaleway.com", "2465, 587, 2587, 25", 465,
	    IMPLICIT, 2, 50, 10, true, .credentials =
	    "the project ID as the user and an API secret key"},
	{"cloudflare", "smtp.mx.cloudflare.net", NULL, 465, IMPLICIT,
	    1, 10, 50, true, .credentials = "an API token as the password",
	    .user = "api_token"},
	{"postfix", NULL, "465, 25", 587, STARTTLS, 2, 100, 100, false,
	    .user = NULL},
	{"exchange", NULL, "25", 587, STARTTLS, 1, 20, 200, false,
	    .login_first = true},
	{.name = "capture"},
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

/* Amazon's derivation for SES: a chain of keyed digests, and a version. */
void
provider_derive_password(const char *region, struct buf *secret)
{
	const char *links[] = {"11111111", region, "ses", "aws4_request",
		"SendRawEmail"};
	unsigned char key[1 + TLS_SHA256_SIZE] = {0x04};
	struct buf first = {0};

	buf_addf(&first, "AWS4%s", buf_text(secret));
	tls_hmac_sha256(first.data, first.len, links[0], key + 1);
	for (size_t i = 1; i < sizeof(links) / sizeof(links[0]); i++)
		tls_hmac_sha256(key + 1, TLS_SHA256_SIZE, links[i], key + 1);
	buf_wipe(&first);
	buf_wipe(secret);
	buf_add_base64(secret, key, sizeof(key));
	explicit_bzero(key, sizeof(key));
}
