/* SPDX-License-Identifier: ISC */
/*
 * The one way out of the queue that is neither delivery nor a notice.
 */
#include "drop.h"

#include <errno.h>
#include <string.h>

#include "buf.h"
#include "listing.h"
#include "log.h"
#include "message.h"
#include "queue_id.h"

enum { RECIPIENTS_SHOWN = 400 };

static void
report(const struct message *m, const struct asker *asker)
{
	struct buf recipients = {0};

	message_add_recipients_text(m, &recipients, RECIPIENTS_SHOWN);
	log_event(LEVEL_WARNING, "dropped", "id", m->id, "from",
	    *m->sender ? m->sender : "<>", "to", buf_text(&recipients),
	    "client", asker->name, NULL);
	buf_free(&recipients);
}

/* Should the machine stop before the name is gone for good, the marks say
 * that it is done. */
static enum load_result
remove_message(struct spool *spool, struct message *m)
{
	for (size_t i = 0; i < m->recipient_count; i++)
		recipient_set(&m->recipients[i], SENT, 0, "dropped");
	return spool_remove(spool, m) ? LOADED : LOAD_TROUBLE;
}

enum load_result
drop_message(struct spool *spool, const char *id, const struct asker *asker)
{
	struct queue_id ignored;
	struct message *m = NULL;
	enum load_result result;
	int error;

	if (!queue_id_read(&ignored, id))
		return LOAD_GONE;
	result = spool_load(spool, id, &m);
	if (result != LOADED)
		return result;
	result = asker_may_see(asker, m) ? remove_message(spool, m)
					 : LOAD_GONE;
	error = errno;
	if (result == LOADED)
		report(m, asker);
	message_free(m);
	errno = error;
	return result;
}

void
drop_explain(struct buf *out, const char *id, enum load_result result)
{
	int error = errno;

	buf_add_printable(out, id, strlen(id), QUEUE_ID_SIZE - 1);
	if (result == LOADED)
		buf_adds(out, " is dropped");
	else if (result == LOAD_BUSY)
		buf_adds(out, " is in delivery, or about to be; try again "
		    "later");
	else if (result == LOAD_TROUBLE)
		buf_addf(out, " cannot be removed now: %s", strerror(error));
	else if (result == LOAD_GONE)
		buf_adds(out, " is no message of the queue");
	else
		buf_adds(out, " is damaged, or of another version; remove the "
		    "file itself");
}
