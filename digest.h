/* SPDX-License-Identifier: ISC */
#ifndef DIGEST_H
#define DIGEST_H

struct message;
struct notice_settings;

/*
 * One notice about many messages, for whoever would otherwise get a storm of
 * them:
 *
 *     d = digest_new(&settings, reader);
 *     digest_add(d, message);     each with its refused recipients (NEVER)
 *     notice = digest_finish(d);  a new message, to be freed; frees d
 *
 * Making it cannot fail.
 */
struct digest;
struct digest *digest_new(const struct notice_settings *, const char *reader);
void digest_add(struct digest *, const struct message *);
struct message *digest_finish(struct digest *);

#endif
