/* SPDX-License-Identifier: ISC */
/*
 * The text at the beginning of a message's file: envelope and marks.
 */
#include "record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"

enum { REPLY_WIDTH = 200 };

/* The year 36000: enough, and no sum overflows. */
#define ARRIVED_MAX (UINT64_C(1) << 40)

static const char state_letters[] = "WSLHNR"; /* in the order of outcome */

static void
add_recipient(struct buf *out, const struct recipient *r, bool fresh)
{
	struct buf reply = {0};

	if (!fresh && r->reply)
		buf_add_printable(&reply, r->reply, strlen(r->reply),
		    REPLY_WIDTH);
	buf_addf(out, "recipient %c %03d %-*s %s\n",
	    state_letters[fresh ? WAITING : r->outcome], fresh ? 0 : r->code,
	    REPLY_WIDTH, buf_text(&reply), r->address);
	buf_free(&reply);
}

void
record_add(struct buf *out, const struct message *m, bool fresh)
{
	buf_addf(out,
	    "smarthost 1\nid %s\narrived %lld\nsender %s\neight-bit %d\n"
	    "header %zu\ncontent %llu\n",
	    m->id, (long long)m->arrived_at, m->sender, m->eight_bit,
	    m->header.len, (unsigned long long)message_size(m));
	for (size_t i = 0; i < m->recipient_count; i++)
		add_recipient(out, &m->recipients[i], fresh);
	buf_adds(out, "end\n");
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

static bool
take_number(char **at, const char *word, uint64_t max, uint64_t *number)
{
	char *value, *end;

	if (!take_line(at, word, &value) || *value < '0' || *value > '9')
		return false;
	errno = 0;
	*number = strtoull(value, &end, 10);
	return *end == '\0' && !errno && *number <= max;
}

/* One recipient line: STATE CODE REPLY ADDRESS, all but the last of fixed
 * width. */
static bool
take_recipient(char **at, struct message *m)
{
	char *value, *letter, *reply;
	struct recipient *r;
	size_t fixed = 2 + 4 + REPLY_WIDTH + 1, len = REPLY_WIDTH;

	if (!take_line(at, "recipient", &value) || strlen(value) <= fixed)
		return false;
	letter = memchr(state_letters, value[0], sizeof(state_letters) - 1);
	if (!letter || value[1] != ' ' || value[5] != ' ' ||
	    value[fixed - 1] != ' ')
		return false;
	message_add_recipient(m, value + fixed);
	r = &m->recipients[m->recipient_count - 1];
	reply = value + 6;
	while (len && reply[len - 1] == ' ')
		len--;
	reply[len] = '\0';
	recipient_set(r, (enum outcome)(letter - state_letters),
	    atoi(value + 2), reply);
	if (r->outcome == LATER || r->outcome == HOLD)
		r->outcome = WAITING;
	return true;
}

bool
record_read(char *text, struct message *m, uint64_t *header,
    uint64_t *content)
{
	uint64_t arrived, eight_bit;
	char *value;

	if (!take_line(&text, "smarthost", &value) || strcmp(value, "1") != 0 ||
	    !take_line(&text, "id", &value) || strcmp(value, m->id) != 0 ||
	    !take_number(&text, "arrived", ARRIVED_MAX, &arrived) ||
	    !take_line(&text, "sender", &value))
		return false;
	m->arrived_at = (time_t)arrived;
	message_set_sender(m, value);
	if (!take_number(&text, "eight-bit", 1, &eight_bit) ||
	    !take_number(&text, "header", SIZE_MAX / 2, header) ||
	    !take_number(&text, "content", INT64_MAX, content))
		return false;
	m->eight_bit = eight_bit;
	while (take_recipient(&text, m))
		;
	return m->recipient_count > 0 && strcmp(text, "end\n") == 0;
}
