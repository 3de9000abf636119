/* SPDX-License-Identifier: ISC */
/*
 * Hashes of crypt(3), made by another program, and who may send as whom.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "accounts.h"
#include "shacrypt.h"

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static const struct {
	const char *hash;
	const char *password; /* NULL: 300 times z */
} hashes[] = {
	{"$6$saltstring$.r0X7ub5wGR2v4Xz7svCIozfnlorFh19V89t8KC9Umd81uGhFgsyTRN"
	 "yzQDXDIm17fFcR9z3z7oBNdsyYBbtm/", "correct horse"},
	{"$5$rounds=1000$salt$qOfjCda6YN/JiGzcA4MkoJaIXdhJzf.qd.KJPQZ7TA/",
	    "correct horse"},
	{"$6$$yEiWmSXLOivTP7x65l2AI.YgJTlAunwR2QPiw0VRRf2zIWxZUDX3z3xHQJSMTa2JE"
	 "YNh2HqHqyB21N.1oL2df/",
	    "pppppppppppppppppppppppppppppppp"
	    "pppppppppppppppppppppppppppppppp"},
	{"$5$0123456789abcdef$hajtNYw8DHNSZtRBJwQEkuMbrLb98Dd8H2.LX8poYl4",
	    "gr\xc3\xbcn"},
	{"$6$rounds=5001$0123456789abcdef$26Ny5x0RJDHV8O.Ypg6.wbHJKAFZ/7NKH5BYP"
	 "31DobmGDol6rz2UtBXtva1PEA9OuYkgf7WmCpeUs29wlVduc0", NULL},
};

static void
test_hashes(void **state)
{
	char many[301];

	(void)state;
	memset(many, 'z', sizeof(many) - 1);
	many[sizeof(many) - 1] = '\0';
	for (size_t i = 0; i < COUNT(hashes); i++) {
		const char *password =
		    hashes[i].password ? hashes[i].password : many;
		size_t len = strlen(password);
		char *other = strdup(hashes[i].hash);

		assert_true(shacrypt_is_hash(hashes[i].hash));
		assert_true(shacrypt_fits(hashes[i].hash, password, len));
		assert_false(shacrypt_fits(hashes[i].hash, password, len - 1));
		assert_false(shacrypt_fits(hashes[i].hash, "x", 1));
		other[strlen(other) - 1] ^= 1;
		assert_false(shacrypt_fits(other, password, len));
		free(other);
	}
}

static void
test_no_hashes(void **state)
{
	static const char *const bad[] = {
		"", "x", "secret", "$", "$6", "$6$", "$6$x", "$6$x$", "$1$a$b",
		"$6$rounds=", "$6$rounds=10$x$", "$6$rounds=999$x$",
		"$6$rounds=5000x$", "$y$j9T$x$y",
		/* one digit too few, and too many */
		"$5$salt$qOfjCda6YN/JiGzcA4MkoJaIXdhJzf.qd.KJPQZ7TA",
		"$5$salt$qOfjCda6YN/JiGzcA4MkoJaIXdhJzf.qd.KJPQZ7TA/x",
		/* too much salt */
		("$5$01234567890123456$qOfjCda6YN/JiGzcA4MkoJaIXdhJzf.qd.KJPQZ7T"
		 "A/"),
	};

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		assert_false(shacrypt_is_hash(bad[i]));
		assert_false(shacrypt_fits(bad[i], "", 0));
	}
}

static void
test_too_long(void **state)
{
	char password[SHACRYPT_PASSWORD_MAX + 1] = {0};

	(void)state;
	assert_false(shacrypt_fits(hashes[0].hash, password,
	    sizeof(password)));
}

static void
test_senders(void **state)
{
	char list[] = "a@x.test, @y.test  b@z.test,";
	char user[] = "u";
	struct account account = {user, list}, free_account = {user, NULL};

	(void)state;
	assert_true(account_may_send(&account, ""));
	assert_true(account_may_send(&account, "a@x.test"));
	assert_true(account_may_send(&account, "A@X.TEST"));
	assert_true(account_may_send(&account, "any@y.test"));
	assert_true(account_may_send(&account, "\"a@b\"@y.test"));
	assert_true(account_may_send(&account, "b@z.test"));
	assert_false(account_may_send(&account, "c@z.test"));
	assert_false(account_may_send(&account, "y.test"));
	assert_false(account_may_send(&account, "a@sub.y.test"));
	assert_false(account_may_send(&account, "a@x.test.y"));
	assert_false(account_may_send(&account, "a"));
	assert_false(account_may_send(&account, "@y.test,"));
	assert_true(account_may_send(&free_account, "a"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hashes),
		cmocka_unit_test(test_no_hashes),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_senders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
