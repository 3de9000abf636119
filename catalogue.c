/* SPDX-License-Identifier: ISC */
/*
 * What providers say, and what they mean by it. The first row that fits
 * decides, so that the order matters: what is as final as it sounds stands
 * first, what is known by a single word last. The comment of a row names who
 * says so.
 *
 * Words are as short as they can be: providers rewrite their replies, and a
 * reply of several lines is cut anywhere. The outcome of a row never makes
 * final what is not so by its code (see reply.c).
 */
#include "catalogue.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"

enum {
	SECOND = 1000,
	MINUTE = 60 * SECOND,
	HOUR = 60 * MINUTE,
};

/* Sets of stages. */
#define LOGIN AT(STAGE_AUTH)
#define RCPT AT(STAGE_RCPT)
#define CONTENT (AT(STAGE_DATA) | AT(STAGE_BODY) | AT(STAGE_END))
#define MAILING (AT(STAGE_MAIL) | RCPT | CONTENT)

/* Codes whose text is believed more than they are. */
#define SOME_5XX "550 553 554"

/* What most of the curable ones have in common. */
#define HOLD_UPSTREAM .outcome = HOLD, .scope = SCOPE_UPSTREAM, .pause = HOUR
#define HOLD_SENDER .outcome = HOLD, .scope = SCOPE_SENDER, .pause = HOUR
#define HOLD_MESSAGE .outcome = HOLD, .scope = SCOPE_MESSAGE, .pause = HOUR

/* A refused login, which has pauses of its own (health.h). */
#define HOLD_LOGIN .outcome = HOLD, .scope = SCOPE_UPSTREAM

static const char hint_address[] =
    "the recipient's address does not exist; check its spelling";
static const char hint_size[] =
    "the message is larger than the relay takes; send less, or a link to it";
static const char hint_loop[] =
    "the message goes round in a circle; look at its Received fields for who "
    "sends it back";
static const char hint_header[] =
    "the header of the message is malformed: it needs exactly one From, Date "
    "and Message-ID; mend the program that writes it";
static const char hint_suppressed[] =
    "the provider has this address on its suppression list, as mail to it "
    "bounced before; remove it there if it is right";
static const char hint_sender[] =
    "the provider does not let this account send as this sender; verify the "
    "address or its domain there, or have the program send from an address "
    "that is verified";
static const char hint_quota[] =
    "the provider's quota for this account is used up; mail waits until it "
    "is renewed, or until the plan is changed";
static const char hint_rate[] =
    "the provider wants mail more slowly; lower connections if this repeats";
static const char hint_account[] =
    "the provider has blocked or not yet enabled this account; see its "
    "console or ask its support";
static const char hint_connections[] =
    "too many connections at once for this account or address; lower "
    "connections, and see who else uses it";
static const char hint_reconnect[] =
    "the relay closes connections that it finds too old, idle or busy; lower "
    "idle or messages_per_connection if this repeats";
static const char hint_ehlo[] =
    "the relay does not like our name; set ehlo to a full host name of yours";
static const char hint_split[] =
    "the relay takes fewer recipients at once; lower recipients_per_message";
static const char hint_relay_rule[] =
    "the provider does not know whose mail this is; in its SMTP relay "
    "settings allow this host's address and the sender's domain, set ehlo to "
    "a name in that domain, or log in";
static const char hint_login_wanted[] =
    "the relay takes mail only after a login; check user, password, auth and "
    "port of this upstream";
static const char hint_no_basic[] =
    "passwords are switched off for SMTP in this tenant; have its "
    "administrator allow them, or set auth = xoauth2";
static const char hint_send_as[] =
    "the mailbox that logs in may not send as this sender; give it Send As "
    "there, or send from its own address";
static const char hint_connector[] =
    "the tenant takes no mail from this host; set up a connector for its "
    "address or certificate, or log in to smtp.office365.com";
static const char hint_full[] =
    "the recipient's mailbox is full";
static const char hint_passing[] =
    "the words of this refusal say that it may pass; see what the provider "
    "has against the message or the account";

const struct known_reply catalogue[] = {
	/* --- As final as it sounds --- */
	{/* ImprovMX */ MAILING, "5", "5.2.1", "previously bounced",
	    .outcome = NEVER, .hint = hint_suppressed},
	{/* any with such a list */ MAILING, "5", NULL, "suppression list",
	    .outcome = NEVER, .hint = hint_suppressed},
	{/* any */ MAILING, "5", "5.1.1-3 5.1.10",
	    .outcome = NEVER, .hint = hint_address},
	{/* any */ MAILING, "5", "5.3.4 5.2.3",
	    .outcome = NEVER, .hint = hint_size},
	{/* SES */ MAILING, "552", NULL, "too long",
	    .outcome = NEVER, .hint = hint_size},
	{/* Gmail, Postfix */ MAILING, "5", NULL, " hops",
	    .outcome = NEVER, .hint = hint_loop},
	{/* Exchange */ MAILING, "5", NULL, "hop count",
	    .outcome = NEVER, .hint = hint_loop},
	{/* any */ MAILING, "5", NULL, "mail loop",
	    .outcome = NEVER, .hint = hint_loop},
	{/* any */ MAILING, "5", NULL, "loops back",
	    .outcome = NEVER, .hint = hint_loop},
	{/* any */ MAILING, "5", NULL, "loop detected",
	    .outcome = NEVER, .hint = hint_loop},
	{/* Gmail */ CONTENT, "550", "5.7.1", "missing a valid",
	    .outcome = NEVER, .hint = hint_header},
	{/* Gmail */ CONTENT, "550", "5.7.1", "multiple addresses in",
	    .outcome = NEVER, .hint = hint_header},
	{/* Gmail */ CONTENT, "550", "5.7.1", "5322 compliant",
	    .outcome = NEVER, .hint = hint_header},
	{/* SES */ CONTENT, "554", NULL, "duplicate header",
	    .outcome = NEVER, .hint = hint_header},
	{/* Resend */ CONTENT, "550", NULL, "invalid+from+field",
	    .outcome = NEVER, .hint = "Resend wants a well-formed From, with "
	    "the address of the envelope's sender"},

	/* --- Greeting and connection --- */
	{/* MailerSend */ AT(STAGE_BANNER), "554", NULL,
	    "too many failed login",
	    .outcome = HOLD, .scope = SCOPE_UPSTREAM, .pause = 15 * MINUTE,
	    .pause_max = 6 * HOUR,
	    .hint = "wrong logins have got this host banned for a while; "
	    "check user and password of this upstream before the next try"},
	{/* Resend */ AT(STAGE_BANNER), "421", NULL, "talk too soon",
	    .outcome = LATER, .scope = SCOPE_UPSTREAM,
	    .hint = "something between here and the relay writes before its "
	    "greeting; look for a proxy or a firewall that reads along"},
	{/* Google */ AT(STAGE_HELLO), "421", "4.7.0", "try again+(ehlo)",
	    .outcome = LATER, .scope = SCOPE_UPSTREAM, .hint = hint_ehlo},
	{/* Google */ AT(STAGE_HELLO), "501", "5.5.4", "helo",
	    HOLD_UPSTREAM, .hint = hint_ehlo},
	{/* Postfix */ AT(STAGE_HELLO) | MAILING, "504", "5.5.2",
	    "helo command",
	    HOLD_UPSTREAM, .hint = hint_ehlo},
	{/* SES, Exim */ AT_ANY, "421", NULL, "too many concurrent",
	    .outcome = LATER, .scope = SCOPE_UPSTREAM, .pause = MINUTE,
	    .pause_max = 20 * MINUTE, .hint = hint_connections},
	{/* Gmail */ AT_ANY, "421", "4.7.0", "connection expired",
	    .outcome = LATER, .advice = ADVICE_RECONNECT,
	    .hint = hint_reconnect},
	{/* SES, Gmail */ AT_ANY, "451", "4.4.2", .outcome = LATER,
	    .advice = ADVICE_RECONNECT, .hint = hint_reconnect},
	{/* SES */ AT_ANY, "421", NULL, "too many messages in one",
	    .outcome = LATER, .advice = ADVICE_RECONNECT,
	    .hint = hint_reconnect},

	/* --- Login --- */
	{/* Gmail */ LOGIN, "5", NULL, "application-specific password",
	    HOLD_LOGIN,
	    .hint = "this account has two-step verification: make an app "
	    "password for smarthost in its security settings"},
	{/* Gmail */ LOGIN, "535", NULL, "username and password not",
	    HOLD_LOGIN,
	    .hint = "user is the full address, and password an app password, "
	    "not that of the account"},
	{/* SES */ LOGIN, "535", NULL, "credentials invalid", HOLD_LOGIN,
	    .hint = "SES wants SMTP credentials, made in its console for one "
	    "region; with a secret access key provider is ses-iam; check "
	    "region too"},
	{/* Exchange Online */ LOGIN, "535", "5.7.139",
	    "smtpclientauthentication is disabled", HOLD_LOGIN,
	    .hint = "SMTP AUTH is switched off: have the administrator enable "
	    "it for this mailbox, or use OAuth"},
	{/* Exchange Online */ LOGIN, "535", "5.7.139",
	    "basic authentication is disabled", HOLD_LOGIN,
	    .hint = hint_no_basic},
	{/* Exchange Online */ LOGIN | MAILING, "5", "5.7.30", HOLD_LOGIN,
	    .hint = hint_no_basic},
	{/* Exchange Online */ LOGIN, "535", "5.7.139", HOLD_LOGIN,
	    .hint = "a policy of the tenant refuses this login, and the reply "
	    "says which; ask its administrator"},
	{/* Exchange, Azure */ LOGIN, "535", "5.7.3", HOLD_LOGIN,
	    .hint = "a wrong password, a token for something else, or an "
	    "account without the permission"},
	{/* Brevo */ LOGIN, "525", NULL, "unauthorized ip", HOLD_LOGIN,
	    .hint = "add this host's address to the authorized IPs of the "
	    "account; if it is one of IPv6, family = ipv4 may do too"},
	{/* Exchange, high volume */ LOGIN, "501", "5.5.127", .outcome = LATER,
	    .scope = SCOPE_UPSTREAM,
	    .hint = "the OAuth token has too little time left"},
	{/* SendGrid */ LOGIN, "451", NULL, "maximum credits",
	    HOLD_UPSTREAM, .hint = hint_quota},
	{/* Gmail */ LOGIN, "454", "4.7.0", "too many login", .outcome = LATER,
	    .scope = SCOPE_UPSTREAM, .pause = 15 * MINUTE,
	    .hint = "too many connections, each with a login; lower "
	    "connections and raise messages_per_connection"},
	{/* SES, Postfix, Proton */ LOGIN, "454", NULL, "temporary authentic",
	    .outcome = LATER, .scope = SCOPE_UPSTREAM,
	    .hint = "the relay cannot check passwords just now; this passes"},

	/* --- Quotas and rates --- */
	{/* Yandex, each attempt adds a day */ MAILING, "4 5", NULL,
	    "limit+yandex", .outcome = HOLD, .scope = SCOPE_UPSTREAM,
	    .pause = 25 * HOUR, .hint = hint_quota},
	{/* Google */ MAILING, "5", "5.4.5", .outcome = HOLD,
	    .scope = SCOPE_UPSTREAM, .pause = HOUR, .pause_max = 4 * HOUR,
	    .hint = hint_quota},
	{/* Google, all of a customer */ MAILING, "5", NULL,
	    "daily smtp relay limit", HOLD_UPSTREAM, .hint = hint_quota},
	{/* Google, in 10 minutes */ MAILING, "450", NULL,
	    "peak smtp relay limit", .outcome = LATER,
	    .scope = SCOPE_UPSTREAM, .pause = 10 * MINUTE, .hint = hint_rate},
	{/* SES, in a second */ MAILING, "454", NULL, "maximum sending rate",
	    .outcome = LATER, .scope = SCOPE_UPSTREAM, .pause = 5 * SECOND,
	    .pause_max = 20 * MINUTE, .hint = hint_rate},
	{/* SES, Emailit */ MAILING, "4 5", NULL, "daily message",
	    HOLD_UPSTREAM, .hint = hint_quota},
	{/* Exchange Online */ MAILING, "554", NULL, "submissionquotaexceeded",
	    HOLD_UPSTREAM, .hint = hint_quota},
	{/* Mailgun, until a date */ MAILING, "421", NULL,
	    "recipient limit exceeded", .outcome = LATER,
	    .scope = SCOPE_UPSTREAM, .pause = HOUR, .hint = hint_quota},
	{/* Zoho, worse with each attempt */ MAILING, "5", NULL,
	    "unusual sending activity", .outcome = HOLD,
	    .scope = SCOPE_UPSTREAM, .pause = HOUR, .pause_max = 6 * HOUR,
	    .hint = "the provider takes a burst of mail for abuse; lower "
	    "connections, and unblock the account in its console if this "
	    "stays"},
	{/* Azure */ MAILING, "450", "4.5.127", .outcome = LATER,
	    .scope = SCOPE_UPSTREAM, .pause = HOUR, .hint = hint_rate},
	{/* Emailit, SocketLabs */ AT_ANY, "4", "4.4.5", .outcome = LATER,
	    .scope = SCOPE_UPSTREAM, .pause = 5 * SECOND,
	    .pause_max = 20 * MINUTE, .hint = hint_rate},
	{/* Gmail */ AT_ANY, "421", "4.7.28", "message-id", .outcome = LATER,
	    .pause = HOUR,
	    .hint = "the relay has seen this message too often; look for a "
	    "program that submits it again and again"},
	{/* Gmail */ AT_ANY, "421", "4.7.28", .outcome = LATER,
	    .scope = SCOPE_UPSTREAM, .pause = 10 * MINUTE, .hint = hint_rate},
	{/* Exchange Online */ LOGIN | MAILING, "432", "4.3.2",
	    .outcome = LATER,
	    .scope = SCOPE_UPSTREAM, .pause = MINUTE, .pause_max = 20 * MINUTE,
	    .hint = hint_connections},
	{/* Exchange */ LOGIN | MAILING, "421", "4.4.2", "submission rate",
	    .outcome = LATER, .scope = SCOPE_UPSTREAM, .pause = MINUTE,
	    .pause_max = 20 * MINUTE, .hint = hint_rate},
	{/* Exchange Online, port 25 */ MAILING, "4", "4.7.500-699 4.7.850-899",
	    .outcome = LATER, .scope = SCOPE_UPSTREAM, .pause = 10 * MINUTE,
	    .hint = "this host's address is new or not well thought of there; "
	    "a login to smtp.office365.com does not depend on it"},
	{/* Exchange, Postfix */ AT(STAGE_MAIL), "452", "4.3.1",
	    .outcome = LATER,
	    .scope = SCOPE_UPSTREAM,
	    .hint = "the relay has no room left; if it is yours, see to its "
	    "disk and memory"},

	/* --- Fewer recipients at once --- */
	{/* Google, Exchange, Cloudflare */ RCPT, "452", "4.5.3",
	    .outcome = LATER, .advice = ADVICE_SPLIT, .hint = hint_split},
	{/* any (RFC 5321 section 4.5.3.1.10) */ RCPT, "552", "5.5.3",
	    .outcome = LATER, .advice = ADVICE_SPLIT, .hint = hint_split},
	{/* the same */ RCPT, "552", NULL, "too many+recipients",
	    .outcome = LATER, .advice = ADVICE_SPLIT, .hint = hint_split},
	{/* Google */ RCPT, "4", NULL, "separate transaction",
	    .outcome = LATER, .advice = ADVICE_SPLIT, .hint = hint_split},
	{/* Google */ RCPT, "451", NULL, "multiple destination domains",
	    .outcome = LATER, .advice = ADVICE_SPLIT, .hint = hint_split},

	/* --- The account, and how it is used --- */
	{/* iCloud and others */ MAILING, "4 5", NULL, "daily+limit",
	    HOLD_UPSTREAM, .hint = hint_quota},
	{/* SparkPost */ MAILING, SOME_5XX, NULL, "sending limit",
	    HOLD_UPSTREAM, .hint = hint_quota},
	{/* Mailgun */ MAILING, "421", NULL, "sandbox", HOLD_MESSAGE,
	    .hint = "a sandbox domain sends to authorized recipients only: "
	    "authorize this one, or use a domain of yours"},
	{/* Mailgun */ MAILING, "421", NULL, "not allowed to send",
	    HOLD_UPSTREAM, .hint = hint_account},
	{/* Mailgun */ MAILING, "421", NULL, "account disabled",
	    HOLD_UPSTREAM, .hint = hint_account},
	{/* Brevo */ MAILING, "4 5", NULL, "not yet activated",
	    HOLD_UPSTREAM, .hint = hint_account},
	{/* any */ MAILING, SOME_5XX, NULL, "not activated",
	    HOLD_UPSTREAM, .hint = hint_account},
	{/* Zoho */ MAILING, "554", "5.1.8", "address blocked",
	    HOLD_UPSTREAM, .hint = hint_account},
	{/* Exchange Online */ MAILING, "550", "5.1.8", "bad outbound sender",
	    HOLD_UPSTREAM, .hint = hint_account},
	{/* Exchange Online */ MAILING, "5", "5.7.705 5.7.708 5.7.750",
	    HOLD_UPSTREAM, .hint = hint_account},
	{/* SendGrid */ MAILING, "550", NULL, "unauthenticated senders",
	    HOLD_UPSTREAM, .hint = hint_login_wanted},
	{/* SMTP2GO */ MAILING, "550", NULL, "please authenticate",
	    HOLD_UPSTREAM, .hint = hint_login_wanted},
	{/* Exchange Online */ MAILING, "5", "5.7.57",
	    HOLD_UPSTREAM, .hint = hint_login_wanted},
	/* It may mean this recipient alone, and others can be named by anybody
	 * on this host: no reason to stop the mail of all. */
	{/* Postfix */ RCPT, "454", "4.7.1", "relay access denied",
	    .outcome = HOLD, .pause = HOUR, .hint = hint_login_wanted},
	{/* Exchange Online */ MAILING, "451", "5.7.3", "starttls",
	    HOLD_UPSTREAM,
	    .hint = "the relay takes mail under TLS only; set tls = starttls"},
	{/* Exchange Online */ MAILING, "430", "4.2.0", "logon failure",
	    HOLD_UPSTREAM,
	    .hint = "the login has no right to this mailbox; give the "
	    "application full access to it, which takes up to an hour to work"},
	{/* Exchange Online */ MAILING, "5", "5.7.64 5.7.68",
	    HOLD_UPSTREAM, .hint = hint_connector},

	/* --- The sender --- */
	{/* Google */ MAILING, "550", NULL, "invalid credentials for relay",
	    HOLD_SENDER, .hint = hint_relay_rule},
	{/* Google */ MAILING, "550", NULL, "mail relay denied",
	    HOLD_SENDER, .hint = hint_relay_rule},
	{/* SES, of the null sender */ AT(STAGE_MAIL), "501", NULL,
	    "invalid mail from", HOLD_SENDER, .advice = ADVICE_OTHER_SENDER,
	    .hint = "the relay does not take this sender; SES never takes the "
	    "empty one, which notices have"},
	{/* SES */ MAILING, "554", NULL, "email address is not verified",
	    HOLD_SENDER,
	    .hint = "verify the address that the reply names, in the region "
	    "that it names; in the sandbox of SES also that of the recipient"},
	{/* SES */ MAILING, "554", NULL, "not authorized to perform",
	    HOLD_SENDER,
	    .hint = "the IAM policy of these credentials does not allow what "
	    "the reply names"},
	{/* Exchange Online */ MAILING, "5", "5.7.60 5.2.252",
	    HOLD_SENDER, .hint = hint_send_as},
	{/* Exchange Online */ MAILING, "5", NULL, "sendasdenied",
	    HOLD_SENDER, .hint = hint_send_as},
	{/* SendGrid */ MAILING, "403 550", NULL, "not authorized to send from",
	    HOLD_SENDER, .hint = hint_sender},
	{/* Fastmail */ MAILING, "551", NULL, "not authorised to send from",
	    HOLD_SENDER, .hint = hint_sender},
	{/* iCloud */ MAILING, "550", NULL, "not one of your addresses",
	    HOLD_SENDER, .hint = hint_sender},
	{/* Postfix */ MAILING, "5", "5.1.8",
	    HOLD_SENDER, .hint = hint_sender},
	{/* Resend, SMTP2GO */ MAILING, SOME_5XX, NULL, "not verified",
	    HOLD_SENDER, .hint = hint_sender},
	{/* Postfix, Yandex */ MAILING, SOME_5XX, NULL, "not owned",
	    HOLD_SENDER, .hint = hint_sender},
	{/* Zoho */ MAILING, SOME_5XX, NULL, "relaying disallowed",
	    HOLD_SENDER, .hint = hint_sender},
	{/* SparkPost */ MAILING, SOME_5XX, NULL, "sending domain",
	    HOLD_SENDER, .hint = hint_sender},
	{/* SendGrid */ MAILING, SOME_5XX, NULL, "sender identity",
	    HOLD_SENDER, .hint = hint_sender},

	/* --- A mailbox is full: whose? --- */
	{/* Exchange Online */ CONTENT, "554", "5.2.2", "storedrv.deliver",
	    .outcome = NEVER, .hint = hint_full},
	{/* Exchange Online */ CONTENT, "554", "5.2.2", HOLD_MESSAGE,
	    .hint = "the mailbox that sends is full; make room in it, Sent "
	    "Items first"},
	{/* any */ RCPT, "5", "5.2.2", .outcome = NEVER, .hint = hint_full},
	{/* any */ RCPT, "5", NULL, "mailbox", .outcome = NEVER},

	/* --- Words that promise that it may pass --- */
	{/* any */ MAILING, "5", "5.5.0-999 5.6.0-999", .outcome = NEVER},
	{/* any */ MAILING, SOME_5XX, NULL, "limit exceeded",
	    HOLD_MESSAGE, .hint = hint_passing},
	{/* any */ MAILING, SOME_5XX, NULL, "quota",
	    HOLD_MESSAGE, .hint = hint_passing},
	{/* any */ MAILING, SOME_5XX, NULL, "too many",
	    HOLD_MESSAGE, .hint = hint_passing},
	{/* any */ MAILING, SOME_5XX, NULL, "try again",
	    HOLD_MESSAGE, .hint = hint_passing},
	{.codes = NULL},
};

/* Whether one of the codes, or the class of one, is this. */
static bool
code_fits(const char *codes, int code)
{
	char *end;

	for (; *codes; codes = end) {
		long one = strtol(codes, &end, 10);

		if (one == code || one == code / 100)
			return true;
	}
	return false;
}

/* Reads "5.7.28" into one number, and steps behind it. */
static unsigned long
take_status(const char **at)
{
	unsigned long status = 0;
	char *end;

	for (int part = 0; part < 3; part++) {
		status = status * 1000 + strtoul(*at, &end, 10);
		*at = end + (*end == '.');
	}
	return status;
}

/* Whether the text begins with one of these enhanced codes; in a range, the
 * last number is one of many. */
static bool
status_fits(const char *list, const char *text)
{
	unsigned long status, first, last;

	if (!reply_enhanced(text))
		return false;
	status = take_status(&text);
	while (*list) {
		char *end;

		last = first = take_status(&list);
		if (*list == '-') {
			last = first / 1000 * 1000 +
			    strtoul(list + 1, &end, 10);
			list = end;
		}
		if (status >= first && status <= last)
			return true;
	}
	return false;
}

/* The text as it is searched: words in lower case, a blank before each. The
 * enhanced code is left out, since each line of a longer reply repeats it, and
 * so are addresses: they are not the provider's words. */
static void
simplify(struct buf *out, const char *text)
{
	const char *status = text;
	size_t status_len = reply_enhanced(text);

	while (*(text += strspn(text, " "))) {
		size_t len = strcspn(text, " ");

		if (!memchr(text, '@', len) &&
		    (len != status_len || strncmp(text, status, len) != 0)) {
			buf_addc(out, ' ');
			for (size_t i = 0; i < len; i++)
				buf_addc(out, (char)tolower(
				    (unsigned char)text[i]));
		}
		text += len;
	}
}

static bool
has_words(const struct buf *said, const char *words)
{
	while (*words) {
		size_t len = strcspn(words, "+");

		if (!memmem(buf_text(said), said->len, words, len))
			return false;
		words += len + (words[len] == '+');
	}
	return true;
}

const struct known_reply *
catalogue_find(unsigned stages, int code, const char *text)
{
	const struct known_reply *row = catalogue;
	struct buf said = {0};

	simplify(&said, text);
	while (row->codes &&
	    !(row->stages & stages && code_fits(row->codes, code) &&
		(!row->status || status_fits(row->status, text)) &&
		(!row->words || has_words(&said, row->words))))
		row++;
	buf_free(&said);
	return row->codes ? row : NULL;
}
