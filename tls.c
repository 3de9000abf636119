/* SPDX-License-Identifier: ISC */
/*
 * TLS 1.2 on BearSSL's engine, driven by hand: br_sslio_close() can spin for
 * ever on a connection that has failed. The engine takes no further record
 * while decrypted bytes wait in it, so neither a broken record nor the end of
 * the stream behind them can spoil those; that is why there is no buffer of
 * our own for them.
 */
#include "tls_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "buf.h"
#include "profile.h"

enum { PUMP_STEPS = 64 }; /* a peer that never stops must not hold us */

struct tls *
tls_new(size_t output_size)
{
	size_t size = sizeof(struct tls) + output_size;
	struct tls *tls = xcalloc(1, size);

	tls->size = size;
	tls->output = (unsigned char *)(tls + 1);
	tls->output_size = output_size;
	return tls;
}

/* Not br_ssl_engine_set_buffer(): the two halves that it makes of one buffer
 * overlap in BearSSL 0.6. */
void
tls_set_buffers(struct tls *tls)
{
	br_ssl_engine_set_buffers_bidi(tls->engine, tls->input,
	    sizeof(tls->input), tls->output, tls->output_size);
}

void
tls_free(struct tls *tls)
{
	if (!tls)
		return;
	if (!tls->is_server)
		tls_client_end(tls);
	tls_keypair_free(tls->pair);
	explicit_bzero(tls, tls->size);
	free(tls);
}

static bool
is_temporary(int error)
{
	return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

/* Whether nothing more can be had from the socket. */
static bool
is_cut(const struct tls *tls)
{
	return tls->hung_up || tls->read_error || tls->text_len;
}

static bool
send_records(struct tls *tls, int fd)
{
	br_ssl_engine_context *engine = tls->engine;
	const unsigned char *records;
	size_t len;
	ssize_t put;

	records = br_ssl_engine_sendrec_buf(engine, &len);
	if (!records || tls->write_error || is_cut(tls))
		return false;
	put = send(fd, records, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (put > 0)
		br_ssl_engine_sendrec_ack(engine, (size_t)put);
	else if (put < 0 && !is_temporary(errno))
		tls->write_error = errno;
	return put > 0;
}

/* Whether the first byte that came can begin a record: change_cipher_spec,
 * alert or handshake. If not, it is text, most likely SMTP. */
static bool
is_record(struct tls *tls, int fd, const unsigned char *data, size_t len)
{
	ssize_t more;

	if (tls->saw_record || (data[0] >= 0x14 && data[0] <= 0x16)) {
		tls->saw_record = true;
		return true;
	}
	memcpy(tls->text, data, len);
	more = recv(fd, tls->text + len, TEXT_SIZE - len, MSG_DONTWAIT);
	tls->text_len = len + (more > 0 ? (size_t)more : 0);
	return false;
}

static bool
receive_records(struct tls *tls, int fd)
{
	br_ssl_engine_context *engine = tls->engine;
	unsigned char *room;
	size_t len;
	ssize_t got;

	room = br_ssl_engine_recvrec_buf(engine, &len);
	if (!room || is_cut(tls))
		return false;
	got = recv(fd, room, len, MSG_DONTWAIT);
	if (got == 0)
		tls->hung_up = true;
	else if (got < 0 && !is_temporary(errno))
		tls->read_error = errno;
	if (got <= 0 || !is_record(tls, fd, room, (size_t)got))
		return false;
	br_ssl_engine_recvrec_ack(engine, (size_t)got);
	return true;
}

static unsigned
engine_state(const struct tls *tls)
{
	return br_ssl_engine_current_state(tls->engine);
}

/* After the handshake the engine has input for us or wants a record, unless
 * a close_notify has come; also while our own waits to be sent. */
static bool
was_dismissed(const struct tls *tls)
{
	return tls->ready &&
	    !(engine_state(tls) & (BR_SSL_RECVREC | BR_SSL_RECVAPP));
}

static bool
has_failed(const struct tls *tls)
{
	if (br_ssl_engine_last_error(tls->engine) != BR_ERR_OK)
		return true;
	if (!tls->ready && (is_cut(tls) || engine_state(tls) == BR_SSL_CLOSED))
		return true;
	return tls->read_error || (tls->write_error && !was_dismissed(tls));
}

static unsigned
state_of(const struct tls *tls)
{
	unsigned engine = engine_state(tls);
	unsigned state = tls->ready ? TLS_READY : 0;

	if (engine & BR_SSL_RECVAPP)
		state |= TLS_HAS_INPUT;
	if (has_failed(tls))
		return state | TLS_FAILED;
	if (tls->hung_up || was_dismissed(tls))
		return state | TLS_CLOSED;
	if (engine & BR_SSL_RECVREC)
		state |= TLS_WANTS_READ;
	if (engine & BR_SSL_SENDREC)
		state |= TLS_WANTS_WRITE;
	if (engine & BR_SSL_SENDAPP)
		state |= TLS_TAKES_OUTPUT;
	return state;
}

static bool
is_ready(const struct tls *tls)
{
	return engine_state(tls) & (BR_SSL_SENDAPP | BR_SSL_RECVAPP);
}

unsigned
tls_pump(struct tls *tls, int fd)
{
	for (int i = 0; i < PUMP_STEPS; i++) {
		bool sent = send_records(tls, fd);
		bool received = receive_records(tls, fd);

		if (!tls->ready && is_ready(tls)) {
			tls->ready = true;
			if (!tls->is_server)
				tls_client_ready(tls);
		}
		if (!sent && !received)
			break;
	}
	return state_of(tls);
}

size_t
tls_take(struct tls *tls, void *data, size_t max)
{
	br_ssl_engine_context *engine = tls->engine;
	const unsigned char *input;
	size_t len;

	input = br_ssl_engine_recvapp_buf(engine, &len);
	if (!input || !max)
		return 0;
	if (len > max)
		len = max;
	memcpy(data, input, len);
	br_ssl_engine_recvapp_ack(engine, len);
	return len;
}

size_t
tls_give(struct tls *tls, const void *data, size_t len)
{
	br_ssl_engine_context *engine = tls->engine;
	unsigned char *output;
	size_t room;

	if (!len || !(state_of(tls) & TLS_TAKES_OUTPUT))
		return 0;
	output = br_ssl_engine_sendapp_buf(engine, &room);
	if (len > room)
		len = room;
	memcpy(output, data, len);
	br_ssl_engine_sendapp_ack(engine, len);
	return len;
}

void
tls_flush(struct tls *tls)
{
	br_ssl_engine_flush(tls->engine, 0);
}

void
tls_goodbye(struct tls *tls)
{
	if (tls->ready && !(state_of(tls) & (TLS_CLOSED | TLS_FAILED)))
		br_ssl_engine_close(tls->engine);
}

const char *
tls_description(const struct tls *tls)
{
	return tls->ready ? profile_suite(tls->engine) : "";
}

/* HMAC with that hash. */
static void
keyed_digest(const br_hash_class *hash, struct bytes key, struct bytes text,
    unsigned char *digest)
{
	br_hmac_key_context prepared;
	br_hmac_context hmac;

	br_hmac_key_init(&prepared, hash, key.data, key.len);
	br_hmac_init(&hmac, &prepared, 0);
	br_hmac_update(&hmac, text.data, text.len);
	br_hmac_out(&hmac, digest);
	explicit_bzero(&prepared, sizeof(prepared));
	explicit_bzero(&hmac, sizeof(hmac));
}

void
tls_hmac_md5(const void *key, size_t key_len, const void *text,
    size_t text_len, unsigned char digest[16])
{
	keyed_digest(&br_md5_vtable, (struct bytes){key, key_len},
	    (struct bytes){text, text_len}, digest);
}

void
tls_hmac_sha256(const void *key, size_t key_len, const char *text,
    unsigned char digest[TLS_SHA256_SIZE])
{
	keyed_digest(&br_sha256_vtable, (struct bytes){key, key_len},
	    (struct bytes){(const void *)text, strlen(text)}, digest);
}
