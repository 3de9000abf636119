/* SPDX-License-Identifier: ISC */
#ifndef SPOOL_H
#define SPOOL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "lock.h"

struct buf;
struct message;
struct spool;

/*
 * The durable store: one file a message. Calling sequence:
 *
 *     spool = spool_open("/var/spool/smarthost", &why);
 *     if (spool_commit(spool, message))        from here on it is safe
 *             ...answer yes, attempt...
 *     spool_put_off(message, next_try);        or
 *     spool_remove(spool, message);
 *     message_free(message);                   gives up the lock
 *
 * and later, or in another process:
 *
 *     spool_list(spool, found, context);       names and due times
 *     message = spool_load(spool, id, &why);   locked, or NULL
 *
 * Nothing is ever deleted because of an error.
 */

/* Opens or makes the directory and what belongs into it. NULL with a sentence
 * in why. */
struct spool *spool_open(const char *directory, struct buf *why);

/* Takes the lock of the one daemon on this spool, for life, or of a run through
 * the queue, and removes what crashed writers left in incoming/. A daemon waits
 * for a run, half a minute at most. False with a sentence in why. */
bool spool_own(struct spool *, enum lock_role, struct buf *why);

/* Whether a daemon waits for us to leave. */
bool spool_is_wanted(const struct spool *);
void spool_close(struct spool *);

/* Begins the file of a message that is still coming in, because its body is
 * too large for the memory: header and envelope must be complete, but for what
 * has a fixed width. Returns a descriptor of it, which stands at *base, where
 * the body belongs; -1 with errno set. Until the commit message_free() removes
 * the file. */
int spool_begin(struct spool *, struct message *, uint64_t *base);

/* Writes the message, its recipients as waiting unless their results are known,
 * and makes it durable: file, name and directory. On success its file is locked
 * by the message. False with errno set, and then nothing of it is left. */
bool spool_commit(struct spool *, struct message *);

/* Writes the message into an empty file as the spool has it, and waits for the
 * disk. False with errno set. */
bool spool_write(int fd, const struct message *);

/* Whether a daemon has the spool now, or a run through the queue. */
bool spool_is_owned(const struct spool *);

enum load_result {
	LOADED,
	LOAD_GONE,    /* not there any more */
	LOAD_BUSY,    /* somebody else has it */
	LOAD_TROUBLE, /* cannot be read now: errno */
	LOAD_FOREIGN, /* belongs to another user than the queue */
	LOAD_UNKNOWN, /* of a version that we do not know */
	LOAD_DAMAGED, /* is no message of ours, or not a whole one */
};

/* Reads a queued message under its lock. The caller frees it. */
enum load_result spool_load(struct spool *, const char *id,
    struct message **);

/* Fills a message that has its ID, and its file of that size open, locked or
 * only to look at, from there. LOADED, LOAD_UNKNOWN, LOAD_DAMAGED or
 * LOAD_TROUBLE. */
enum load_result spool_read(struct message *, off_t size);

/* Writes the recipients' results and the time of the next try into the file,
 * in place, and makes them durable. Needs no space on the disk. False with
 * errno set. */
bool spool_put_off(struct message *, time_t next_try);

/* The same but for the time. */
bool spool_mark(struct message *);

/* Writes it anew, with recipients that have changed, in place of its file,
 * which it goes on having the lock of: a crash leaves the one or the other.
 * False with errno set. */
bool spool_rewrite(struct spool *, struct message *);

/* Takes a message out of the queue for good; its marks are written first, so
 * that a crash in between does not send it again. That somebody has removed its
 * file already is no failure. */
bool spool_remove(struct spool *, struct message *);

/* The same for one that has reached everybody: if it is a notice, what is in
 * failed/ because of it goes first. */
bool spool_complete(struct spool *, struct message *);

/* There is nothing to do for a while: gives up what is only kept for speed. */
void spool_rest(struct spool *);

/* Removes what is in failed/ because of the notice with this ID, if anything
 * is. */
void spool_forget_failed(struct spool *, const char *id);

/* Moves a file from the queue, or from another directory, into failed/, under
 * the name as. False with errno set; EEXIST if there is one of that name. */
bool spool_set_aside(struct spool *, const char *id, const char *as);
bool spool_set_aside_from(struct spool *, int directory, const char *name,
    const char *as);

/* Changes when a name in the queue does; 0 if that cannot be seen. */
int64_t spool_changed(const struct spool *);

/* Whether a message with this ID is in the queue. */
bool spool_has(struct spool *, const char *id);

/* When it is to be tried; false if it is not there. */
bool spool_next_try(struct spool *, const char *id, time_t *when);

/* Calls found for each message file in the queue; names that are none of ours
 * are counted in the result. -1 with errno set when it cannot be read. It ends
 * early when found returns false. */
typedef bool spool_found(void *context, const char *id, time_t next_try);
long spool_list(struct spool *, spool_found *, void *context);

/* Whether the disk has room for need more bytes and some to spare. */
bool spool_has_room(const struct spool *, uint64_t need);

/* Whether a message could be written now, in the directory that has the
 * spool's name now; a sentence in why if not. */
bool spool_check(struct spool *, struct buf *why);

/* Bytes that there is room for; 0 if for no other file. */
uint64_t spool_room(const struct spool *);

#endif
