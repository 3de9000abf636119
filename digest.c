/* SPDX-License-Identifier: ISC */
/*
 * A digest is plain text: RFC 3464 knows reports about one message only.
 */
#include "digest.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "message.h"
#include "notice.h"
#include "utf8.h"

enum {
	TEXT_MAX = 256 * 1024, /* what is beyond it is only counted */
	REPLY_MAX = 512,
};

struct digest {
	const struct notice_settings *settings;
	char *reader;
	struct buf text;
	size_t messages, left_out;
};

struct digest *
digest_new(const struct notice_settings *settings, const char *reader)
{
	struct digest *d = xcalloc(1, sizeof(*d));

	d->settings = settings;
	d->reader = xstrdup(reader);
	return d;
}

static void
add_recipient(struct buf *out, const struct recipient *r)
{
	const char *reply = r->reply ? r->reply : "";

	buf_adds(out, "    <");
	notice_add_address(out, r->address);
	buf_adds(out, ">\r\n        ");
	if (r->code)
		buf_addf(out, "%d ", r->code);
	buf_add_printable(out, reply, strlen(reply), REPLY_MAX);
	buf_adds(out, "\r\n");
	notice_add_hint(out, "       ", r);
}

void
digest_add(struct digest *d, const struct message *m)
{
	d->messages++;
	if (d->text.len > TEXT_MAX) {
		d->left_out++;
		return;
	}
	buf_addf(&d->text, "\r\n%s, accepted on ", m->id);
	clock_add_date(&d->text, m->arrived_at);
	buf_adds(&d->text, ", from\r\n<");
	notice_add_address(&d->text, m->sender);
	buf_adds(&d->text, ">, to\r\n");
	for (size_t i = 0; i < m->recipient_count; i++)
		if (m->recipients[i].outcome == NEVER &&
		    recipient_wants(&m->recipients[i], NOTIFY_FAILURE))
			add_recipient(&d->text, &m->recipients[i]);
}

static void
add_body(const struct digest *d, struct message *notice)
{
	struct buf *out = &notice->body.memory;

	buf_addf(out, "This is the mail system at %s. In the last hour %zu "
	    "more\r\nmessages could not be delivered. They will not be tried "
	    "again for the\r\nrecipients below. Each is listed with its queue "
	    "ID, as it stands in the\r\nlog, and with the last reply.\r\n",
	    d->settings->hostname, d->messages);
	buf_add(out, buf_text(&d->text), d->text.len);
	if (d->left_out)
		buf_addf(out, "\r\nAnd %zu messages more; the log has "
		    "them.\r\n", d->left_out);
	notice->body.size = out->len;
}

struct message *
digest_finish(struct digest *d)
{
	struct message *notice = message_new(NULL, UINT64_MAX);
	bool ascii = utf8_is_ascii(buf_text(&d->text));

	notice->eight_bit = !ascii;
	notice_address(notice, d->settings, d->reader);
	buf_addf(&notice->header, "Subject: %zu undelivered messages\r\n",
	    d->messages);
	notice_mark(notice, d->settings);
	buf_addf(&notice->header, "MIME-Version: 1.0\r\n"
	    "Content-Type: text/plain; charset=%s\r\n",
	    ascii ? "us-ascii"
		  : "utf-8\r\nContent-Transfer-Encoding: 8bit");
	add_body(d, notice);
	buf_free(&d->text);
	free(d->reader);
	free(d);
	return notice;
}
