# smarthost: sendmail replacement and SMTP forwarder
#
#   make                   ./smarthost (needs libbearssl-dev and libinih-dev)
#   make check             every test; installs what the tests need (Debian)
#   make demo              two messages through two daemons, under TLS, to files
#   make static            ./smarthost-static, one file for containers (musl)
#   make install           program, manual pages, service, sample configuration
#   make install-sendmail  and the names sendmail, mailq and newaliases
#   make asan, make tsan   the program and the unit tests with sanitizers
#   make sanitize          the same, and the end-to-end tests
#   make fuzz              each fuzzer for FUZZ_SECONDS
#   make coverage-fuzz     how much of the parsers the fuzzers' seeds reach
#   make soak              20,000 messages, clients that vanish, a relay that
#                          fails, reloads: is anything lost, does anything grow
#   make measure           the numbers of the code, against their limits
#
# Settings: CC CFLAGS CPPFLAGS LDFLAGS LDLIBS PREFIX SBINDIR MANDIR SYSCONFDIR
# DESTDIR PYTHON, and V= to see the commands. Other compiler, other flags: all
# is built again.

VERSION = 0.1.0

PREFIX = /usr/local
SBINDIR = $(PREFIX)/sbin
MANDIR = $(PREFIX)/share/man
SYSCONFDIR = /etc
LINKS = /usr/sbin/sendmail /usr/bin/mailq /usr/bin/newaliases
PAGES = $(wildcard man/*.[158])

ifeq ($(origin CC),default)
CC = gcc
endif
PYTHON = /usr/bin/python3
CFLAGS = -O2 -g
CPPFLAGS = -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
LDLIBS = -Wl,-Bstatic -lbearssl -linih -Wl,-Bdynamic

BUILD = build
BIN = smarthost
V = @
WARNINGS = -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes \
	-Wmissing-prototypes -Wpointer-arith -Wcast-qual -Wwrite-strings \
	-Wformat=2 -Wvla -Wundef -Wconversion -Wno-sign-conversion
HARDEN = -fPIE -fstack-protector-strong -fno-strict-overflow \
	$(foreach flag,-fcf-protection -mbranch-protection=standard \
	    -fstack-clash-protection,$(call supported,$(flag)))
HARDEN_LINK = -pie -Wl,-z,relro,-z,now,-z,noexecstack
supported = $(shell $(CC) -Werror $(1) -c -x c /dev/null -o /dev/null \
	2>/dev/null && echo $(1))

COMPILE := $(CC) -std=c11 -D_GNU_SOURCE -DSMARTHOST_VERSION=\"$(VERSION)\" -I. \
	$(CPPFLAGS) $(WARNINGS) $(HARDEN) $(CFLAGS) -pthread
LINK := $(HARDEN_LINK) $(LDFLAGS)

SOURCES = $(wildcard *.c)
OBJECTS = $(SOURCES:%.c=$(BUILD)/%.o)
PARTS = $(BUILD)/parts.a
UNITS = $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/test_*.c))
FUZZERS = $(patsubst %.c,$(BUILD)/%,$(wildcard tests/fuzz/fuzz_*.c))

MAKEFLAGS += --no-print-directory

all: $(BIN)

$(BIN): $(OBJECTS)
	@echo '  LINK  $@'
	$(V)$(COMPILE) $(LINK) -o $@ $(OBJECTS) $(LDLIBS)

$(BUILD)/%.o: %.c $(BUILD)/flags
	@echo '  CC    $@'
	$(V)$(COMPILE) -MMD -MP -c -o $@ $<

# Everything but main(), for the tests.
$(PARTS): $(filter-out $(BUILD)/smarthost.o,$(OBJECTS))
	@rm -f $@
	$(V)ar rcs $@ $^

$(BUILD)/tests/unit/%: tests/unit/%.c $(PARTS)
	@mkdir -p $(@D)
	@echo '  LINK  $@'
	$(V)$(COMPILE) $(LINK) -MMD -MP -MF $@.d -o $@ $< $(PARTS) $(LDLIBS) \
	    -lcmocka

$(BUILD)/tests/fuzz/%: tests/fuzz/%.c $(PARTS)
	@mkdir -p $(@D)
	@echo '  LINK  $@'
	$(V)$(COMPILE) $(LINK) -fsanitize=fuzzer -MMD -MP -MF $@.d -o $@ $< \
	    $(PARTS) $(LDLIBS)

# Written only when the command line differs from the last one.
$(BUILD)/flags: always
	@mkdir -p $(BUILD)
	@echo '$(COMPILE) $(LINK)' | cmp -s - $@ || \
	    echo '$(COMPILE) $(LINK)' >$@

-include $(OBJECTS:.o=.d) $(UNITS:=.d) $(FUZZERS:=.d)

check:
	@sh tests/setup.sh check
	@$(MAKE) -j$$(nproc) $(GCC) all units
	@$(MAKE) -j$$(nproc) $(CLANG) all units
	@$(MAKE) static
	@$(MAKE) measure
	@$(MAKE) $(GCC) unit
	@$(MAKE) $(GCC) e2e

GCC = BUILD=build/gcc BIN=build/gcc/smarthost CC=gcc \
	WARNINGS='$(WARNINGS) -Werror'
CLANG = BUILD=build/clang BIN=build/clang/smarthost CC=clang \
	WARNINGS='$(WARNINGS) -Werror'
ASAN = BUILD=build/asan BIN=build/asan/smarthost \
	CPPFLAGS=-DSMARTHOST_SANITIZED \
	CFLAGS='-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
	    -fno-sanitize-recover=undefined'
TSAN = BUILD=build/tsan BIN=build/tsan/smarthost \
	CPPFLAGS=-DSMARTHOST_SANITIZED \
	CFLAGS='-O1 -g -fno-omit-frame-pointer -fsanitize=thread'
FUZZ = BUILD=build/fuzz CC=clang CPPFLAGS= \
	CFLAGS='-O1 -g -fsanitize=fuzzer-no-link,address,undefined \
	    -fno-sanitize-recover=undefined'

COVERAGE = BUILD=build/coverage CC=clang CPPFLAGS= \
	CFLAGS='-O1 -g -fsanitize=fuzzer-no-link -fprofile-instr-generate \
	    -fcoverage-mapping'

units: $(UNITS)

unit: $(UNITS)
	@sh tests/unit/run.sh $(UNITS)

# All of the end-to-end tests, or some files of them.
E2E = tests/e2e
e2e: $(BIN)
	@SMARTHOST_BIN='$(abspath $(BIN))' sh tests/e2e/run.sh $(PYTHON) $(E2E)

asan:
	@$(MAKE) $(ASAN) all unit

tsan:
	@$(MAKE) $(TSAN) all unit

# With ThreadSanitizer, those in which threads meet; with AddressSanitizer all
# but those that only repeat what others do, or run other programs.
THREADED = $(patsubst %,tests/e2e/test_%.py,core reload limits routes service \
	login process)
REPEATED = $(patsubst %,tests/e2e/test_%.py,matrix matrix_kept messages \
	programs readme container podman)
CHECKED = $(filter-out $(REPEATED),$(wildcard tests/e2e/test_*.py))
tests-asan:
	@$(MAKE) $(ASAN) E2E='$(CHECKED)' unit e2e

tests-tsan:
	@$(MAKE) $(TSAN) E2E='$(THREADED)' unit e2e

sanitize:
	@sh tests/setup.sh check
	@$(MAKE) -j$$(nproc) $(TSAN) all units
	@$(MAKE) -j$$(nproc) $(ASAN) all units
	@sh tests/sanitize.sh

fuzz:
	@$(MAKE) -j$$(nproc) $(FUZZ) fuzzers

coverage-fuzz:
	@sh tests/setup.sh coverage
	@$(MAKE) -j$$(nproc) $(COVERAGE) coverage

coverage: $(FUZZERS)
	@sh tests/fuzz/coverage.sh $(FUZZERS)

FUZZ_SECONDS = 20
fuzzers: $(FUZZERS)
	@sh tests/fuzz/run.sh $(FUZZ_SECONDS) $(FUZZERS)

measure:
	@$(PYTHON) tests/measure.py

demo:
	@sh tests/setup.sh build
	@$(MAKE) all
	@bash tests/demo.sh

# Some of relay queue drain cpu start outage size big idle secure trips
# sendmail oneshot, or all of them.
BENCH =
$(BUILD)/tlssink: tests/bench/tlssink.c $(BUILD)/flags
	@echo '  LINK  $@'
	$(V)$(COMPILE) -Wno-conversion -o $@ $< -lssl -lcrypto

bench: $(BIN)
	@sh tests/setup.sh check
	@$(MAKE) static $(BUILD)/tlssink
	@SMARTHOST_BIN='$(abspath $(BIN))' \
	    BENCH_TLSSINK='$(abspath $(BUILD)/tlssink)' \
	    $(PYTHON) tests/bench/bench.py $(BENCH)

# With another program, SOAK_MESSAGES and more: see soak.py.
soak: $(BIN)
	@sh tests/setup.sh check
	@SMARTHOST_BIN='$(abspath $(BIN))' $(PYTHON) tests/soak/soak.py

# BearSSL and inih come from Debian, where they are built for glibc: fortify.c
# has the three names of glibc's that they ask for. Their tables for unwinding,
# which nobody reads in C, are left out.
SMALL = -Oz -flto -flto-partition=one -fno-pie -no-pie \
	-fno-asynchronous-unwind-tables -ffunction-sections -fdata-sections \
	-fno-jump-tables $(call supported,-malign-data=abi) \
	-Wl,--gc-sections -Wl,-z,noseparate-code
static:
	@sh tests/setup.sh static
	@mkdir -p $(BUILD)
	@for lib in bearssl inih; do objcopy -R .eh_frame \
	    $$($(CC) -print-file-name=lib$$lib.a) $(BUILD)/lib$$lib.a; done
	@echo '  LINK  smarthost-static'
	$(V)musl-gcc -static -s -std=c11 -D_GNU_SOURCE -DSMARTHOST_VERSION=\"$(VERSION)\" \
	    -idirafter /usr/include \
	    -idirafter /usr/include/$$($(CC) -print-multiarch) \
	    -fno-strict-overflow \
	    -fstack-protector-strong -Wl,-z,relro,-z,now,-z,noexecstack \
	    $(SMALL) -o smarthost-static $(SOURCES) conf/container/fortify.c \
	    $(BUILD)/libbearssl.a $(BUILD)/libinih.a

install: all
	install -D -m 755 $(BIN) $(PROGRAM)
	install -D -m 644 conf/smarthost.service $(UNIT)
	sed -i 's,/usr/local/sbin/,$(SBINDIR)/,' $(UNIT)
	install -D -m 644 conf/smarthost.socket $(SOCKET)
	install -D -m 644 conf/smarthost.sysusers $(USERS)
	install -D -m 644 conf/smarthost.tmpfiles $(TMPFILES)
	test -e $(SAMPLE) || install -D -m 644 conf/smarthost.conf $(SAMPLE)
	for page in $(PAGES); do install -D -m 644 $$page \
	    $(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/} || exit 1; done

PROGRAM = $(DESTDIR)$(SBINDIR)/smarthost
UNIT = $(DESTDIR)$(PREFIX)/lib/systemd/system/smarthost.service
SOCKET = $(UNIT:.service=.socket)
USERS = $(DESTDIR)$(PREFIX)/lib/sysusers.d/smarthost.conf
TMPFILES = $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/smarthost.conf
SAMPLE = $(DESTDIR)$(SYSCONFDIR)/smarthost/smarthost.conf

# Another mail system's sendmail is its own business: it is never overwritten.
install-sendmail: install
	@for link in $(LINKS); do \
	    test "$$(readlink $(DESTDIR)$$link)" = $(SBINDIR)/smarthost || \
	    { ! test -e $(DESTDIR)$$link && ! test -L $(DESTDIR)$$link; } || \
	    { echo "$(DESTDIR)$$link belongs to another mail system; remove or" \
	        "divert it, then run this again" >&2; exit 1; }; \
	done
	for link in $(LINKS); do install -d $(DESTDIR)$${link%/*} && \
	    ln -sfn $(SBINDIR)/smarthost $(DESTDIR)$$link || exit 1; done

# Configuration and spool stay.
uninstall:
	for link in $(LINKS); do \
	    test "$$(readlink $(DESTDIR)$$link)" != $(SBINDIR)/smarthost || \
	    rm $(DESTDIR)$$link; done
	for page in $(PAGES); do \
	    rm -f $(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/}; done
	rm -f $(PROGRAM) $(UNIT) $(SOCKET) $(USERS) $(TMPFILES)

format:
	clang-format -i $(SOURCES) $(wildcard *.h)

clean:
	rm -rf build smarthost smarthost-static

.PHONY: all always check units unit e2e asan tsan tests-asan tests-tsan \
	sanitize fuzz fuzzers coverage-fuzz coverage measure demo bench soak static \
	install install-sendmail uninstall format clean
