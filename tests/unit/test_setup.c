/* SPDX-License-Identifier: ISC */
/*
 * From a configuration to relays: what each of several is told of the others.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "setup.h"

static const char text[] =
    "[smarthost]\nhostname = h.example.com\n"
    "[upstream]\nhost = one.example\ntls = none\n"
    "[upstream two]\nhost = two.example\ntls = none\n"
    "[upstream three]\nhost = three.example\ntls = none\n";

static char *
write_config(void)
{
	char *path = xstrdup("/tmp/test_setup.XXXXXX");
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	return path;
}

/* Whoever is the last resort has nobody behind it; and what is remembered of
 * the addresses of one says nothing of another. */
static void
test_relays(void **state)
{
	char *path = write_config();
	struct buf why = {0};
	struct setup s;

	(void)state;
	assert_true(setup_read(&s, path, &why));
	assert_true(setup_prepare(&s, &why));
	setup_relays(&s, -1, false);
	for (size_t i = 0; i < 3; i++) {
		assert_ptr_equal(s.relays[i].upstream, &s.config.upstreams[i]);
		assert_int_equal(s.relays[i].another, i < 2);
		assert_non_null(s.relays[i].favourite);
	}
	assert_ptr_not_equal(s.relays[0].favourite, s.relays[1].favourite);
	setup_free(&s);
	unlink(path);
	free(path);
	buf_free(&why);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_relays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
