/* SPDX-License-Identifier: ISC */
/*
 * The text at the beginning of a message's file: envelope and marks.
 */
#include "record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "message.h"

enum { REPLY_WIDTH = 200, PIECE = 32 * 1024 };

/* Their lengths are those of all the fields before the address but the last,
 * which is a word of any length. */
enum { FIXED_WIDTH = 2 + 4 + REPLY_WIDTH + 1 + 2 };

/* The year 36000: enough, and no sum overflows. */
#define ARRIVED_MAX (UINT64_C(1) << 40)

static const char state_letters[] = "WSLHNR"; /* in the order of outcome */
static const char notify_digits[] = "0123456789abcdef"; /* sums of NOTIFY_ */

static void
add_recipient(struct buf *out, const struct recipient *r, bool fresh)
{
	char blanks[REPLY_WIDTH];
	size_t start;

	buf_addf(out, "recipient %c %03d ",
	    state_letters[fresh ? WAITING : r->outcome], fresh ? 0 : r->code);
	start = out->len;
	if (!fresh && r->reply)
		buf_add_printable(out, r->reply, strlen(r->reply),
		    REPLY_WIDTH);
	memset(blanks, ' ', sizeof(blanks));
	buf_add(out, blanks, REPLY_WIDTH - (out->len - start));
	buf_addc(out, ' ');
	buf_addc(out, notify_digits[r->notify]);
	buf_addc(out, ' ');
	buf_adds(out, r->original ? r->original : "-");
	buf_addc(out, ' ');
	buf_adds(out, r->address);
	buf_addc(out, '\n');
}

/* An ENVID that is a hyphen is written in the other way that it has. */
static const char *
envelope_id(const struct message *m)
{
	if (!m->envelope_id)
		return "-";
	return strcmp(m->envelope_id, "-") ? m->envelope_id : "+2D";
}

void
record_add(struct buf *out, const struct message *m, bool fresh)
{
	buf_addf(out, "smarthost 1\nid %s\narrived %lld\nowner ", m->id,
	    (long long)m->arrived_at);
	if (m->owner != NO_OWNER)
		buf_addf(out, "%u", (unsigned)m->owner);
	else
		buf_addc(out, '-');
	buf_addf(out, "\nsender %s\nenvelope-id %s\nreturn %c\nutf8 %d\n"
	    "eight-bit %d\nheader %zu\ncontent %020llu\n", m->sender,
	    envelope_id(m), m->returns ? m->returns : '-', m->utf8,
	    m->eight_bit, m->header.len,
	    (unsigned long long)message_size(m));
	for (size_t i = 0; i < m->recipient_count; i++)
		add_recipient(out, &m->recipients[i],
		    fresh && !m->recipients[i].known);
	buf_adds(out, "end\n");
}

/* Appends the next piece of the file and looks for the end of the envelope in
 * it. False when there is no more, or it is no text. */
static bool
read_piece(int fd, struct buf *text, char **end)
{
	char *piece = xmalloc(PIECE);
	size_t seen = text->len > 4 ? text->len - 4 : 0; /* half an end */
	ssize_t got = pread(fd, piece, PIECE, (off_t)text->len);

	if (got > 0)
		buf_add(text, piece, (size_t)got);
	free(piece);
	if (got <= 0)
		return false;
	*end = strstr(text->data + seen, "\nend\n");
	return *end || seen + strlen(text->data + seen) == text->len;
}

char *
record_load(int fd, size_t max, struct buf *start, size_t *len)
{
	char *end = NULL;

	while (!end && start->len < max && read_piece(fd, start, &end))
		;
	if (!end)
		return NULL;
	*len = (size_t)(end - start->data) + 5;
	return xstrndup(start->data, *len);
}

bool
record_is_other_version(int fd)
{
	static const char own[] = "smarthost 1\n";
	char start[sizeof(own)] = "";

	return pread(fd, start, sizeof(own) - 1, 0) > 10 &&
	    strncmp(start, own, 10) == 0 && start[10] >= '0' &&
	    start[10] <= '9' && atoi(start + 10) != 1;
}

/* Steps behind the next line that begins with this word and a blank, and
 * points to what is between. False if the next line is another. */
static bool
take_line(char **at, const char *word, char **value)
{
	size_t len = strlen(word);
	char *end = strchr(*at, '\n');

	if (!end || strncmp(*at, word, len) != 0 || (*at)[len] != ' ')
		return false;
	*end = '\0';
	*value = *at + len + 1;
	*at = end + 1;
	return true;
}

/* Only as record_add() writes it, since it is written in its place again. */
static bool
take_number(char **at, const char *word, uint64_t max, uint64_t *number)
{
	bool filled = strcmp(word, "content") == 0;
	char *value, *end;

	if (!take_line(at, word, &value) || *value < '0' || *value > '9')
		return false;
	if (filled ? strlen(value) != 20 : *value == '0' && value[1])
		return false;
	errno = 0;
	*number = strtoull(value, &end, 10);
	return *end == '\0' && !errno && *number <= max;
}

static bool
take_flag(char **at, const char *word, bool *flag)
{
	uint64_t number;

	if (!take_number(at, word, 1, &number))
		return false;
	*flag = number;
	return true;
}

/* "-" or one of these letters. */
static bool
take_letter(char **at, const char *word, const char *letters, char *letter)
{
	char *value;

	if (!take_line(at, word, &value) || strlen(value) != 1)
		return false;
	*letter = *value == '-' ? '\0' : *value;
	return *value == '-' || strchr(letters, *value);
}

static bool
take_owner(char **at, uid_t *owner)
{
	uint64_t number;
	bool nobody = strncmp(*at, "owner -\n", 8) == 0;

	if (nobody)
		*at += 8;
	else if (take_number(at, "owner", NO_OWNER - 1, &number))
		*owner = (uid_t)number;
	else
		return false;
	return true;
}

/* The part of a recipient line that is a reply, blanks at its end. */
static void
take_reply(struct recipient *r, char *value, enum outcome outcome)
{
	char *reply = value + 6;
	size_t len = REPLY_WIDTH;

	while (len && reply[len - 1] == ' ')
		len--;
	reply[len] = '\0';
	recipient_set(r, outcome, atoi(value + 2), reply);
	r->held = r->outcome == HOLD;
	r->reported = r->outcome == SENT || r->outcome >= NEVER;
	if (r->outcome == LATER || r->outcome == HOLD)
		r->outcome = WAITING;
}

/* One recipient line: STATE CODE REPLY NOTIFY ORIGINAL ADDRESS, of which all
 * but the last two have a fixed width. */
static bool
take_recipient(char **at, struct message *m)
{
	char *value, *letter, *notify, *original, *address;
	struct recipient *r;

	if (!take_line(at, "recipient", &value) ||
	    strlen(value) <= FIXED_WIDTH)
		return false;
	letter = memchr(state_letters, value[0], sizeof(state_letters) - 1);
	notify = strchr(notify_digits, value[FIXED_WIDTH - 2]);
	original = value + FIXED_WIDTH;
	address = strchr(original, ' ');
	if (!letter || value[1] != ' ' || value[5] != ' ' || !notify ||
	    value[FIXED_WIDTH - 3] != ' ' || value[FIXED_WIDTH - 1] != ' ' ||
	    !address || address == original || !address[1])
		return false;
	*address++ = '\0';
	message_add_recipient(m, address);
	r = &m->recipients[m->recipient_count - 1];
	r->notify = (unsigned)(notify - notify_digits);
	r->original = strcmp(original, "-") ? xstrdup(original) : NULL;
	take_reply(r, value, (enum outcome)(letter - state_letters));
	return true;
}

static bool
take_envelope(char **at, struct message *m)
{
	uint64_t arrived;
	char *value;

	if (!take_line(at, "smarthost", &value) || strcmp(value, "1") != 0 ||
	    !take_line(at, "id", &value) || strcmp(value, m->id) != 0 ||
	    !take_number(at, "arrived", ARRIVED_MAX, &arrived) ||
	    !take_owner(at, &m->owner) || !take_line(at, "sender", &value))
		return false;
	m->arrived_at = (time_t)arrived;
	message_set_sender(m, value);
	if (!take_line(at, "envelope-id", &value))
		return false;
	m->envelope_id = strcmp(value, "-") ? xstrdup(value) : NULL;
	return take_letter(at, "return", "FH", &m->returns) &&
	    take_flag(at, "utf8", &m->utf8) &&
	    take_flag(at, "eight-bit", &m->eight_bit);
}

bool
record_read(char *text, struct message *m, uint64_t *header,
    uint64_t *content)
{
	if (!take_envelope(&text, m) ||
	    !take_number(&text, "header", SIZE_MAX / 2, header) ||
	    !take_number(&text, "content", INT64_MAX, content))
		return false;
	/* One that cannot be read must not be forgotten: it is a person. */
	while (strcmp(text, "end\n") != 0)
		if (!take_recipient(&text, m))
			return false;
	return m->recipient_count > 0;
}
