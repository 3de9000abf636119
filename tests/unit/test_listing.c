/* SPDX-License-Identifier: ISC */
/*
 * The spool seen from outside: every state of a recipient as people and as
 * programs see it, who sees what, odd and damaged and vanishing files (CL-31,
 * CL-58), and the way out that is not delivery.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "catalog.h"
#include "drop.h"
#include "listing.h"
#include "message.h"
#include "spool.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { ALICE = 1000, BOB = 1001 };

/* --- A spool in a new directory ------------------------------------------ */

static char root[64];

static int
make_root(void **state)
{
	struct buf why = {0};
	struct spool *spool;

	snprintf(root, sizeof(root), "/tmp/sh-listing-XXXXXX");
	if (!mkdtemp(root))
		return -1;
	setenv("TZ", "UTC", 1);
	spool = spool_open(root, &why);
	*state = spool;
	buf_free(&why);
	return spool ? 0 : -1;
}

static int
remove_one(const char *path, const struct stat *file, int kind,
    struct FTW *walk)
{
	(void)file, (void)kind, (void)walk;
	return remove(path);
}

static int
remove_root(void **state)
{
	spool_close(*state);
	return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void
path_of(char path[128], const char *directory, const char *name)
{
	snprintf(path, 128, "%s/%s/%s", root, directory, name);
}

/* A message with that ID, its recipients as they are in it. */
static struct message *
new_message(const char *id, uid_t owner)
{
	struct message *m = message_new(NULL, UINT64_MAX);

	memcpy(m->id, id, QUEUE_ID_SIZE);
	m->owner = owner;
	m->arrived_at = 1767603600;
	message_set_sender(m, "a@example.test");
	buf_adds(&m->header, "Subject: x\r\n");
	body_write(&m->body, "one\r\n\r\ntwo\r\n", 12);
	return m;
}

static void
store(struct spool *spool, struct message *m)
{
	assert_true(spool_commit(spool, m));
	assert_true(spool_put_off(m, 1767607200));
	message_free(m);
}

static const char first[] = "00000000000000010000000000000000";
static const char second[] = "00000000000000020000000000000000";
static const char third[] = "00000000000000030000000000000000";

/* One that is simply waiting, for one recipient. */
static void
store_simple(struct spool *spool, const char *id, uid_t owner)
{
	struct message *m = new_message(id, owner);

	message_add_recipient(m, "b@example.test");
	store(spool, m);
}

static void
write_file(const char *directory, const char *name, const char *text)
{
	char path[128];
	FILE *file;

	path_of(path, directory, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

/* --- Asking -------------------------------------------------------------- */

static bool
keep(void *context, const char *text, size_t len)
{
	buf_add(context, text, len);
	return true;
}

static struct listing
everything(struct buf *out)
{
	return (struct listing){.spool = root, .write = keep, .context = out,
		.asker = {.everything = true, .name = "uid 0"},
		.standing.upstream = "default"};
}

static struct listing
of_owner(struct buf *out, uid_t uid)
{
	struct listing l = everything(out);

	l.asker = (struct asker){.uid = uid, .name = "somebody"};
	return l;
}

static void
check_list(const struct listing *l, enum listing_form form, bool failed,
    const char *expected)
{
	struct buf *out = l->context;
	size_t count;

	buf_clear(out);
	assert_true(listing_list(l, form, failed, &count));
	assert_string_equal(buf_text(out), expected);
}

#define HEAD "-Queue ID-                         --Size-- ---Arrival Time--- " \
	     "-Sender/Recipient-------\n"
#define SIMPLE(n) "000000000000000" n "0000000000000000        26 Mon Jan  5 " \
		  "09:00:00  a@example.test\n" \
		  "                b@example.test\n        (due now)\n\n"

static void
nothing_is_nothing(void **state)
{
	struct buf out = {0};
	struct listing l = everything(&out);

	(void)state;
	check_list(&l, LISTING_TEXT, false, "Mail queue is empty\n");
	check_list(&l, LISTING_JSON, false, "[]\n");
	check_list(&l, LISTING_BRIEF, false, "");
	l.spool = "/nonexistent/spool";
	check_list(&l, LISTING_TEXT, false, "Mail queue is empty\n");
	assert_false(listing_show(&l, first));
	l.spool = NULL;
	check_list(&l, LISTING_JSON, false, "[]\n");
	assert_false(listing_show(&l, first));
	assert_false(listing_has(&l, first));
	buf_free(&out);
}

static void
in_order_of_arrival(void **state)
{
	struct buf out = {0};
	struct listing l = everything(&out);

	store_simple(*state, third, ALICE);
	store_simple(*state, first, ALICE);
	store_simple(*state, second, BOB);
	l.notes = "upstream default: away\n";
	check_list(&l, LISTING_TEXT, false, HEAD SIMPLE("1") SIMPLE("2")
	    SIMPLE("3") "upstream default: away\n"
	    "-- 1 Kbytes in 3 Requests.\n");
	buf_free(&out);
}

static void
own_messages_only(void **state)
{
	struct buf out = {0};
	struct listing alice = of_owner(&out, ALICE);
	struct listing nobody = of_owner(&out, NO_OWNER);

	store_simple(*state, first, ALICE);
	store_simple(*state, second, BOB);
	store_simple(*state, third, NO_OWNER);
	write_file("queue", "00000000000000040000000000000000", "damaged");
	check_list(&alice, LISTING_TEXT, false, HEAD SIMPLE("1")
	    "-- 1 Kbytes in 1 Request. (only your own messages are shown)\n");
	check_list(&nobody, LISTING_TEXT, false,
	    "Mail queue is empty (only your own messages are shown)\n");
	check_list(&nobody, LISTING_BRIEF, false, "");
	assert_true(listing_has(&alice, first));
	assert_false(listing_has(&alice, second));
	assert_false(listing_has(&nobody, third));
	assert_false(listing_show(&alice, second));
	assert_false(listing_show(&nobody, third));
	assert_int_equal(drop_message(*state, second, &alice.asker),
	    LOAD_GONE);
	assert_int_equal(drop_message(*state, third, &nobody.asker),
	    LOAD_GONE);
	assert_true(spool_has(*state, second) && spool_has(*state, third));
	buf_free(&out);
}

/* Every state there is, in one message. */
static struct message *
new_varied(void)
{
	static const struct {
		const char *address;
		enum outcome outcome;
		int code;
		const char *reply;
	} rows[] = {
		{"waiting@example.test", WAITING, 0, NULL},
		{"later@example.test", LATER, 450, "4.2.1 busy"},
		{"lost@example.test", LATER, 0, "connection lost"},
		{"sent@example.test", SENT, 250, "2.0.0 \"ok\""},
		{"owed@example.test", NEVER, 550, "5.1.1 no"},
		{"told@example.test", REPORTED, 550, "5.1.1 no"},
	};
	struct message *m = new_message(first, ALICE);

	for (size_t i = 0; i < COUNT(rows); i++) {
		message_add_recipient(m, rows[i].address);
		if (rows[i].reply)
			recipient_set(&m->recipients[i], rows[i].outcome,
			    rows[i].code, rows[i].reply);
	}
	return m;
}

static void
every_state_for_programs(void **state)
{
	struct message *m = new_varied();
	struct buf out = {0};
	struct listing l = everything(&out);

	store(*state, m);
	check_list(&l, LISTING_JSON, false,
	    "[\n{\"id\":\"00000000000000010000000000000000\","
	    "\"arrived\":\"2026-01-05T09:00:00Z\",\"size\":26,"
	    "\"sender\":\"a@example.test\",\"recipients\":[\n"
	    "{\"address\":\"waiting@example.test\",\"state\":\"waiting\","
	    "\"reply\":null},\n"
	    "{\"address\":\"later@example.test\",\"state\":\"waiting\","
	    "\"reply\":\"450 4.2.1 busy\"},\n"
	    "{\"address\":\"lost@example.test\",\"state\":\"waiting\","
	    "\"reply\":\"connection lost\"},\n"
	    "{\"address\":\"sent@example.test\",\"state\":\"sent\","
	    "\"reply\":\"250 2.0.0 \\\"ok\\\"\"},\n"
	    "{\"address\":\"owed@example.test\",\"state\":\"refused\","
	    "\"reply\":\"550 5.1.1 no\"},\n"
	    "{\"address\":\"told@example.test\",\"state\":\"refused\","
	    "\"reply\":\"550 5.1.1 no\"}],\n"
	    "\"next_attempt\":\"2026-01-05T10:00:00Z\",\"outcome\":\"later\","
	    "\"hint\":null,\"upstream\":\"default\"}\n]\n");
	buf_free(&out);
}

static void
every_state_for_people(void **state)
{
	struct message *m = new_varied();
	struct buf out = {0};
	struct listing l = everything(&out);

	store(*state, m);
	check_list(&l, LISTING_TEXT, false, HEAD
	    "00000000000000010000000000000000        26 Mon Jan  5 09:00:00  "
	    "a@example.test\n"
	    "                waiting@example.test\n"
	    "        (450 4.2.1 busy)\n"
	    "                later@example.test\n"
	    "        (connection lost)\n"
	    "                lost@example.test\n"
	    "        (sent: 250 2.0.0 \"ok\")\n"
	    "                sent@example.test\n"
	    "        (refused: 550 5.1.1 no)\n"
	    "                owed@example.test\n"
	    "                told@example.test\n"
	    "        (due now)\n\n"
	    "-- 1 Kbytes in 1 Request.\n");
	buf_free(&out);
}

static void
held_by_its_own_reply(void **state)
{
	struct message *m = new_message(first, ALICE);
	struct buf out = {0};
	struct listing l = everything(&out);

	message_add_recipient(m, "b@example.test");
	recipient_set(&m->recipients[0], HOLD, 550, "5.7.1 not verified");
	store(*state, m);
	check_list(&l, LISTING_TEXT, false, HEAD
	    "00000000000000010000000000000000!       26 Mon Jan  5 09:00:00  "
	    "a@example.test\n"
	    "        (550 5.7.1 not verified)\n"
	    "                b@example.test\n"
	    "        (due now)\n"
	    "        (the provider does not let this account send as this "
	    "sender; verify the address or its domain there, or have the "
	    "program send from an address that is verified)\n\n"
	    "-- 1 Kbytes in 1 Request.\n");
	buf_clear(&out);
	assert_true(listing_show(&l, first));
	assert_non_null(strstr(out.data, "\nState: hold\n"));
	buf_free(&out);
}

/* While the upstream is away, its trouble is that of those who were told
 * nothing else. */
static void
held_by_the_upstream(void **state)
{
	struct message *m = new_varied();
	struct buf out = {0};
	struct listing l = everything(&out);

	store(*state, m);
	l.standing = (struct standing){.upstream = "default", .paused = true,
		.hold = true, .until = 1767610800,
		.hint = "mend it", .reason = "535 wrong"};
	assert_true(listing_list(&l, LISTING_JSON, false,
	    &(size_t){0}));
	assert_non_null(strstr(out.data, "{\"address\":\"waiting@example.test\""
	    ",\"state\":\"waiting\",\"reply\":\"535 wrong\"}"));
	assert_non_null(strstr(out.data, "{\"address\":\"later@example.test\","
	    "\"state\":\"waiting\",\"reply\":\"450 4.2.1 busy\"}"));
	assert_non_null(strstr(out.data, "\"reply\":\"550 5.1.1 no\"}],\n"
	    "\"next_attempt\":\"2026-01-05T11:00:00Z\","
	    "\"outcome\":\"hold\",\"hint\":\"mend it\""));
	buf_free(&out);
}

/* The words of others stay words, on one line. */
static void
odd_words(void **state)
{
	struct message *m = new_message(first, ALICE);
	struct buf out = {0};
	struct listing l = everything(&out);

	message_set_sender(m, "");
	message_add_recipient(m, "\"\\\"\x1b[2J\"@example.test");
	message_add_recipient(m, "\xc3\xbc\xff@example.test");
	recipient_set(&m->recipients[0], LATER, 450, "\x1b[2J\n\x80)");
	store(*state, m);
	check_list(&l, LISTING_TEXT, false, HEAD
	    "00000000000000010000000000000000        26 Mon Jan  5 09:00:00  "
	    "MAILER-DAEMON\n"
	    "        (450 ?[2J?" "?))\n"
	    "                \"\\\"?[2J\"@example.test\n"
	    "                \xc3\xbc?@example.test\n"
	    "        (due now)\n\n"
	    "-- 1 Kbytes in 1 Request.\n");
	buf_clear(&out);
	assert_true(listing_list(&l, LISTING_JSON, false, &(size_t){0}));
	assert_non_null(strstr(out.data,
	    "\"address\":\"\\\"\\\\\\\"\\u001b[2J\\\"@example.test\""));
	assert_non_null(strstr(out.data,
	    "\"address\":\"\\u00fc\\ufffd@example.test\""));
	assert_non_null(strstr(out.data, "\"sender\":\"\""));
	for (size_t i = 0; i < out.len; i++)
		assert_true(out.data[i] == '\n' ||
		    (out.data[i] >= ' ' && out.data[i] <= '~'));
	buf_free(&out);
}

static void
shown_as_it_will_be_sent(void **state)
{
	struct buf out = {0};
	struct listing l = everything(&out);

	store_simple(*state, first, ALICE);
	assert_true(listing_show(&l, first));
	assert_string_equal(out.data,
	    "ID: 00000000000000010000000000000000\n"
	    "State: later\n"
	    "Arrived: Mon, 5 Jan 2026 09:00:00 +0000\n"
	    "Owner: uid 1000\n"
	    "Sender: <a@example.test>\n"
	    "Recipient: <b@example.test> waiting\n"
	    "Plan: due now\n"
	    "\n"
	    "Subject: x\n"
	    "\n"
	    "one\n\ntwo\n");
	assert_false(listing_show(&l, second));
	assert_false(listing_show(&l, "../queue"));
	assert_false(listing_show(&l, ""));
	buf_free(&out);
}

/* What is in failed/ has the name of its notice, or of a digest, or its own. */
static void
failed_ones_have_other_names(void **state)
{
	char digest[64];
	struct buf out = {0};
	struct listing l = everything(&out);

	for (int i = 0; i < 3; i++) {
		const char *id = i == 0 ? first : i == 1 ? second : third;
		struct message *m = new_message(id, ALICE);

		message_add_recipient(m, "b@example.test");
		recipient_set(&m->recipients[0], REPORTED, 550, "5.1.1 no");
		store(*state, m);
	}
	snprintf(digest, sizeof(digest), "%.31s9.2", first);
	assert_true(spool_set_aside(*state, first, digest));
	snprintf(digest, sizeof(digest), "%.31s9", first);
	assert_true(spool_set_aside(*state, second, digest));
	assert_true(spool_set_aside(*state, third, third));
	check_list(&l, LISTING_JSON, false, "[]\n");
	assert_true(listing_list(&l, LISTING_JSON, true, &(size_t){0}));
	assert_non_null(strstr(out.data, "{\"id\":\"0000000000000001"
	    "0000000000000000\",\"arrived\""));
	assert_non_null(strstr(out.data, "\"next_attempt\":null,\"outcome\":"
	    "\"failed\",\"hint\":\"the recipient's address does not exist; "
	    "check its spelling\",\"upstream\":null,\"notice\":"
	    "\"00000000000000010000000000000009\"}"));
	assert_non_null(strstr(out.data, "\"upstream\":null}\n]\n"));
	buf_clear(&out);
	assert_true(listing_show(&l, first));
	assert_non_null(strstr(out.data, "ID: 00000000000000010000000000000000"
	    "\nNotice: 00000000000000010000000000000009\nState: failed\n"));
	buf_clear(&out);
	assert_true(listing_show(&l, digest));
	assert_non_null(strstr(out.data, "ID: 00000000000000020"));
	assert_true(listing_show(&l, third));
	assert_false(listing_has(&l, first));
	buf_free(&out);
}

/* --- What is no message -------------------------------------------------- */

#define ODD(n) "0000000000000000000000000000000" n

static void
make_odd_files(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char path[128];
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	write_file("queue", ODD("1"), "");
	write_file("queue", ODD("2"), "smarthost 1\nid ");
	write_file("queue", ODD("3"), "smarthost 2\nid " ODD("3") "\n");
	write_file("queue", ODD("4"), "\x1b]0;x\a\nend\n");
	write_file("queue", "foreign", "x");
	write_file("queue", ".hidden", "x");
	write_file("queue", ODD("1") ".1", "numbered");
	path_of(path, "queue", ODD("5"));
	assert_int_equal(mkfifo(path, 0600), 0);
	path_of(path, "queue", ODD("6"));
	assert_int_equal(mkdir(path, 0700), 0);
	path_of(path, "queue", ODD("7"));
	assert_int_equal(symlink("/etc/passwd", path), 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/queue/%s",
	    root, ODD("8"));
	assert_int_equal(bind(fd, (struct sockaddr *)&address,
	    sizeof(address)), 0);
	close(fd);
}

static void
one_line_for_each_odd_file(void **state)
{
	struct buf out = {0};
	struct listing l = everything(&out);
	size_t count;

	make_odd_files();
	store_simple(*state, first, ALICE);
	assert_true(listing_list(&l, LISTING_TEXT, false, &count));
	assert_int_equal(count, 9);
	assert_null(strchr(out.data, '\x1b'));
	assert_non_null(strstr(out.data, SIMPLE("1")));
	assert_non_null(strstr(out.data, ODD("3") "!"));
	assert_non_null(strstr(out.data, "(this file is of a version that "));
	assert_non_null(strstr(out.data, "(this file is damaged)"));
	buf_clear(&out);
	assert_true(listing_list(&l, LISTING_JSON, false, &count));
	assert_int_equal(count, 9);
	assert_non_null(strstr(out.data, "{\"id\":\"" ODD("1") "\",\"arrived\""
	    ":null,\"size\":0,\"sender\":null,\"recipients\":[],\n"
	    "\"next_attempt\":null,\"outcome\":\"hold\",\"hint\":"
	    "\"this file is damaged\",\"upstream\":\"default\"}"));
	buf_clear(&out);
	assert_true(listing_show(&l, ODD("4")));
	assert_string_equal(out.data, "ID: " ODD("4") "\nState: hold\n"
	    "Hint: this file is damaged\n");
	buf_free(&out);
}

/* A whole message under a name that is not its own is not that message. */
static void
a_message_under_another_name(void **state)
{
	char from[128], to[128];
	struct buf out = {0};
	struct listing l = everything(&out);

	store_simple(*state, first, ALICE);
	path_of(from, "queue", first);
	path_of(to, "queue", second);
	assert_int_equal(rename(from, to), 0);
	assert_true(listing_list(&l, LISTING_TEXT, false, &(size_t){0}));
	assert_non_null(strstr(out.data, second));
	assert_null(strstr(out.data, first));
	assert_non_null(strstr(out.data, "(this file is damaged)"));
	buf_free(&out);
}

/* Removes the next message each time that one was written. */
static bool
remove_next(void *context, const char *text, size_t len)
{
	char path[128];

	path_of(path, "queue", second);
	unlink(path);
	buf_add(context, text, len);
	return true;
}

static void
files_that_vanish(void **state)
{
	struct buf out = {0};
	struct listing l = everything(&out);
	size_t count;

	store_simple(*state, first, ALICE);
	store_simple(*state, second, ALICE);
	store_simple(*state, third, ALICE);
	l.write = remove_next;
	assert_true(listing_list(&l, LISTING_TEXT, false, &count));
	assert_int_equal(count, 2);
	assert_string_equal(out.data, HEAD SIMPLE("1") SIMPLE("3")
	    "-- 1 Kbytes in 2 Requests.\n");
	buf_free(&out);
}

static bool
refuse(void *context, const char *text, size_t len)
{
	(void)text, (void)len;
	++*(int *)context;
	return false;
}

static void
who_reads_no_more_is_told_no_more(void **state)
{
	struct buf out = {0};
	struct listing l = everything(&out);
	int calls = 0;

	store_simple(*state, first, ALICE);
	store_simple(*state, second, ALICE);
	l.write = refuse;
	l.context = &calls;
	assert_true(listing_list(&l, LISTING_TEXT, false, &(size_t){0}));
	assert_int_equal(calls, 1);
	calls = 0;
	assert_true(listing_show(&l, first));
	assert_int_equal(calls, 1);
}

/* --- Locks and the way out ----------------------------------------------- */

/* To look at a message takes no lock, and needs none. */
static void
looking_is_no_locking(void **state)
{
	struct message *m = NULL;
	struct buf out = {0};
	struct listing l = everything(&out);

	store_simple(*state, first, ALICE);
	assert_int_equal(spool_load(*state, first, &m), LOADED);
	check_list(&l, LISTING_TEXT, false, HEAD SIMPLE("1")
	    "-- 1 Kbytes in 1 Request.\n");
	assert_int_equal(drop_message(*state, first, &l.asker), LOAD_BUSY);
	assert_true(spool_has(*state, first));
	message_free(m);
	assert_int_equal(drop_message(*state, first, &l.asker), LOADED);
	assert_false(spool_has(*state, first));
	assert_int_equal(drop_message(*state, first, &l.asker), LOAD_GONE);
	assert_int_equal(drop_message(*state, "../queue", &l.asker),
	    LOAD_GONE);
	buf_free(&out);
}

static void
the_owner_may_drop(void **state)
{
	struct buf out = {0};
	struct listing alice = of_owner(&out, ALICE);

	store_simple(*state, first, ALICE);
	assert_int_equal(drop_message(*state, first, &alice.asker), LOADED);
	assert_false(spool_has(*state, first));
}

static void
the_damaged_stay(void **state)
{
	struct buf out = {0};
	struct listing l = everything(&out);

	write_file("queue", first, "smarthost 1\nid ");
	assert_int_equal(drop_message(*state, first, &l.asker), LOAD_DAMAGED);
	assert_true(spool_has(*state, first));
}

/* The word behind the ID is another one after each try. */
static void
brief_words_change(void **state)
{
	struct buf before = {0}, after = {0};
	struct listing l = everything(&before);
	struct message *m = NULL;

	store_simple(*state, first, ALICE);
	store_simple(*state, second, ALICE);
	assert_true(listing_list(&l, LISTING_BRIEF, false, &(size_t){0}));
	do {
		assert_int_equal(spool_load(*state, second, &m), LOADED);
		assert_true(spool_put_off(m, 1767607200));
		message_free(m);
		buf_clear(&after);
		l.context = &after;
		assert_true(listing_list(&l, LISTING_BRIEF, false,
		    &(size_t){0}));
	} while (strcmp(before.data, after.data) == 0); /* a coarse clock */
	assert_memory_equal(before.data, first, 32);
	assert_memory_equal(before.data, after.data,
	    (size_t)(strchr(before.data, '\n') - before.data));
	buf_free(&before);
	buf_free(&after);
}

#define T(f) cmocka_unit_test_setup_teardown(f, make_root, remove_root)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(nothing_is_nothing),
		T(in_order_of_arrival),
		T(own_messages_only),
		T(every_state_for_programs),
		T(every_state_for_people),
		T(held_by_its_own_reply),
		T(held_by_the_upstream),
		T(odd_words),
		T(shown_as_it_will_be_sent),
		T(failed_ones_have_other_names),
		T(one_line_for_each_odd_file),
		T(a_message_under_another_name),
		T(files_that_vanish),
		T(who_reads_no_more_is_told_no_more),
		T(looking_is_no_locking),
		T(the_owner_may_drop),
		T(the_damaged_stay),
		T(brief_words_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
