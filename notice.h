/* SPDX-License-Identifier: ISC */
#ifndef NOTICE_H
#define NOTICE_H

struct buf;
struct message;
struct recipient;

/* What a delivery status notification needs to know besides the message. */
struct notice_settings {
	const char *hostname;    /* ours, for Reporting-MTA and Message-ID */
	const char *bounce_to;   /* who gets it; NULL: the sender */
	const char *bounce_from; /* its envelope sender; NULL: null */
};

/* Makes a notice (RFC 3464, 3461, 6522) about the recipients of this message
 * that are refused (NEVER), and of whose failure the sender wants to hear: a
 * new message to the sender, or to bounce_to, with the null sender or
 * bounce_from, and marked as Auto-Submitted (RFC 3834). It has the header of
 * the original, or, where the sender asked for that (RET=FULL), all of a small
 * one. The caller owns it; it needs no file, and making it cannot fail.
 *
 * NULL when there is nothing to tell, and when nobody may be told:
 *
 *     sender of the message   Auto-Submitted   told
 *     null                    auto-replied     nobody
 *     null                    other, none      bounce_to; nobody without one
 *     bounce_from             auto-replied     nobody
 *     bounce_from             other, none      bounce_to, else the sender
 *     any other               whatever         bounce_to, else the sender
 *
 * So there is never a notice about a notice of ours, while lost mail that
 * merely has the null sender is still reported where bounce_to asks for that.
 *
 * Everybody whose outcome is NEVER is in it, up to 1000, and whoever was told
 * of before is so again: see to that before the call. */
struct message *notice_make(const struct message *failed,
    const struct notice_settings *);

/* The same about the recipients that are relayed (see struct recipient), for
 * the sender, who has asked for it. NULL if there is none. */
struct message *notice_make_relayed(const struct message *,
    const struct notice_settings *);

/* Who gets it, as in the table; NULL: nobody. */
const char *notice_reader(const struct message *failed,
    const struct notice_settings *);

/* Appends what a person can do about the recipient's reply, if that is known,
 * on lines that begin with the indent and a blank. */
void notice_add_hint(struct buf *, const char *indent,
    const struct recipient *);

/* What every notice has, this one or a digest: envelope, From and To; and,
 * behind a Subject, Date, Message-ID and the mark of a machine's reply. */
void notice_address(struct message *, const struct notice_settings *,
    const char *reader);
void notice_mark(struct message *, const struct notice_settings *);

/* Appends an address to a field or a line, harmless whatever it is. */
void notice_add_address(struct buf *, const char *address);

#endif
