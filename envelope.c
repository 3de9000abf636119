/* SPDX-License-Identifier: ISC */
/*
 * The envelope as a relay hears it: each parameter only where its extension
 * is offered.
 */
#include "envelope.h"

#include "cargo.h"
#include "dsn.h"
#include "hello.h"
#include "message.h"
#include "utf8.h"

bool
envelope_can_be_said(const struct message *m, const struct recipient *r,
    unsigned features)
{
	return features & HAS_SMTPUTF8 ||
	    (utf8_is_ascii(m->sender) && utf8_is_ascii(r->address));
}

bool
envelope_is_utf8(const struct message *m, struct recipient *const *recipients,
    size_t count, unsigned features)
{
	bool needed = !utf8_is_ascii(m->sender) ||
	    (m->utf8 && !utf8_is_ascii(buf_text(&m->header)));

	for (size_t i = 0; i < count && !needed; i++)
		needed = !utf8_is_ascii(recipients[i]->address);
	return needed && features & HAS_SMTPUTF8;
}

void
envelope_add_mail(struct buf *out, const struct message *m, unsigned features,
    bool utf8)
{
	buf_addf(out, "MAIL FROM:<%s>", m->sender);
	if (features & HAS_SIZE)
		buf_addf(out, " SIZE=%llu",
		    (unsigned long long)cargo_size(m));
	if (features & HAS_8BITMIME && m->eight_bit)
		buf_adds(out, " BODY=8BITMIME");
	if (utf8)
		buf_adds(out, " SMTPUTF8");
	if (features & HAS_DSN && m->returns)
		buf_adds(out, m->returns == 'F' ? " RET=FULL" : " RET=HDRS");
	if (features & HAS_DSN && m->envelope_id)
		buf_addf(out, " ENVID=%s", m->envelope_id);
}

void
envelope_add_rcpt(struct buf *out, const struct recipient *r,
    unsigned features, bool utf8)
{
	buf_adds(out, "RCPT TO:<");
	recipient_add_address(out, r);
	buf_addc(out, '>');
	if (!(features & HAS_DSN))
		return;
	if (r->notify) {
		buf_adds(out, " NOTIFY=");
		dsn_add_notify(out, r->notify);
	}
	if (r->original && (utf8 || utf8_is_ascii(r->original)))
		buf_addf(out, " ORCPT=%s", r->original);
}
