/* SPDX-License-Identifier: ISC */
#ifndef SMTP_H
#define SMTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct addrinfo;
struct buf;
struct conn;
struct favourite;
struct message;
struct observer;
struct tls_peer;
struct tls_trust;
struct upstream;
struct verdict;

/*
 * One SMTP client conversation with one relay:
 *
 *     s = smtp_new(upstream, trust, stop_fd);
 *     if (smtp_open(s, 0, &verdict))            greet, hello, secure, login
 *             smtp_deliver(s, message, &terms, &verdict);  envelope, body
 *     smtp_close(s);                            finish
 *
 * Knows no queue and no configuration file. One thread at a time.
 */
struct smtp;

/* Never fails; connects nothing yet. upstream and trust must outlive it;
 * trust may be NULL for tls = none. */
struct smtp *smtp_new(const struct upstream *, const struct tls_trust *,
    int stop_fd);

/* Shows the dialogue on stderr, without secrets. */
void smtp_set_trace(struct smtp *, bool);

/* Has somebody told of each stage that is passed; NULL: nobody. */
void smtp_set_observer(struct smtp *, struct observer *);

/* Which address to try first, or NULL; and whether, when none of them opens
 * soon, there is another relay to ask. */
void smtp_set_others(struct smtp *, struct favourite *, bool another_relay);

/* Tries the relay's addresses in turn until one of them is greeted, greets
 * back and is secured, each but the last resort within half a minute; then
 * logs in, once. deadline (0: none) is for all of it. False with a verdict on
 * the upstream, or on this message if the trouble is our own. */
bool smtp_open(struct smtp *, int64_t deadline, struct verdict *);

/* The two halves of it, for who wants to see each address: one address of the
 * relay as far as EHLO under TLS, and the login. */
bool smtp_open_address(struct smtp *, const struct addrinfo *,
    struct verdict *);
bool smtp_login(struct smtp *, struct verdict *);

/* The same over a connection that is there already; takes it over. */
bool smtp_open_on(struct smtp *, struct conn *, int64_t deadline,
    struct verdict *);

struct smtp_terms {
	int64_t deadline;    /* up to the final dot; 0: none */
	bool all_or_nothing; /* one refused recipient means that nobody gets
	                      * it: for a message that cannot be kept */
	bool envelope_only;  /* MAIL and RCPT are said and no DATA: the verdict
	                      * SENT then says that it would be let in */
	size_t recipients_max; /* in one transaction; 0: all. The others stay
	                        * WAITING */
};

/* Offers the message's waiting recipients to the relay. Each of them that was
 * told something gets its own result, for the others the verdict holds; it
 * sums up: SENT if somebody got it, else the refusal, 5xx before 4xx. Where the
 * relay spoke of itself (SCOPE_UPSTREAM), at whatever command, those without a
 * final result are waiting still. */
void smtp_deliver(struct smtp *, struct message *, const struct smtp_terms *,
    struct verdict *);

/* Whether the fault of the last smtp_deliver() was that a connection kept
 * from earlier messages had died: no attempt at all, open a new one. */
bool smtp_was_stale(const struct smtp *);

/* Whether it may carry another message: healthy, in step, not worn out. */
bool smtp_is_usable(struct smtp *);

/* To be called between two messages, when the verdict on the first is in safe
 * hands: takes back a transaction that was left open. Returns whether the
 * connection may carry another. */
bool smtp_rest(struct smtp *);

/* "TLSv1.2 ..." or NULL. */
const char *smtp_tls(const struct smtp *);

/* What the relay's certificate says, see tls_peer(); false without TLS. */
bool smtp_peer(const struct smtp *, struct tls_peer *);

/* QUIT if the connection is healthy, without waiting long. Frees. */
void smtp_close(struct smtp *);

#endif
