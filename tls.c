/* SPDX-License-Identifier: ISC */
/*
 * TLS 1.2 on BearSSL's engine, driven by hand: br_sslio_close() can spin for
 * ever on a connection that has failed. The engine takes no further record
 * while decrypted bytes wait in it, so neither a broken record nor the end of
 * the stream behind them can spoil those; that is why there is no buffer of
 * our own for them.
 */
#include "tls.h"

#include <bearssl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "buf.h"
#include "chain.h"
#include "profile.h"

enum {
	NAME_SIZE = 256, /* as in the engine */
	TEXT_SIZE = 60,  /* of what is no TLS at all */
	PUMP_STEPS = 64, /* a peer that never stops must not hold us */
};

struct tls {
	br_ssl_client_context client;
	struct chain chain;
	bool ready;      /* the handshake was completed */
	bool hung_up;    /* the stream has ended */
	bool saw_record;
	int read_error, write_error; /* errno */
	char name[NAME_SIZE];
	unsigned char text[TEXT_SIZE];
	size_t text_len;
	unsigned char input[BR_SSL_BUFSIZE_INPUT];
	unsigned char output[BR_SSL_BUFSIZE_OUTPUT];
};

/* Behind the number of an alert (RFC 5246 section 7.2, RFC 6066). */
static const struct {
	int number;
	const char *text;
} alerts[] = {
	{BR_ALERT_CLOSE_NOTIFY, "close_notify"},
	{BR_ALERT_UNEXPECTED_MESSAGE, "unexpected_message"},
	{BR_ALERT_BAD_RECORD_MAC, "bad_record_mac"},
	{BR_ALERT_RECORD_OVERFLOW, "record_overflow"},
	{BR_ALERT_HANDSHAKE_FAILURE, "handshake_failure; the peer may accept "
	    "only TLS 1.3, require Extended Master Secret or a client "
	    "certificate, or have only cipher suites or keys (Ed25519) that "
	    "smarthost lacks"},
	{BR_ALERT_BAD_CERTIFICATE, "bad_certificate; the peer may require a "
	    "client certificate"},
	{BR_ALERT_ILLEGAL_PARAMETER, "illegal_parameter"},
	{BR_ALERT_UNKNOWN_CA, "unknown_ca"},
	{BR_ALERT_ACCESS_DENIED, "access_denied"},
	{BR_ALERT_DECODE_ERROR, "decode_error"},
	{BR_ALERT_DECRYPT_ERROR, "decrypt_error"},
	{BR_ALERT_PROTOCOL_VERSION, "protocol_version; the peer may accept "
	    "only TLS 1.3, and smarthost speaks TLS 1.2"},
	{BR_ALERT_INSUFFICIENT_SECURITY, "insufficient_security; the peer may "
	    "accept only TLS 1.3 or require Extended Master Secret"},
	{BR_ALERT_INTERNAL_ERROR, "internal_error"},
	{112, "unrecognized_name; the peer has no certificate for that name, "
	    "check host or set tls_name"},
};

/* Other ends of a connection, behind the name of the peer. */
static const struct {
	int error;
	const char *text;
} reasons[] = {
	{BR_ERR_BAD_MAC, "a record was damaged or forged on the way (bad MAC)"},
	{BR_ERR_UNSUPPORTED_VERSION, "something came that is not a TLS record"},
	{BR_ERR_BAD_VERSION, "a record came with another version than TLS 1.2"},
	{BR_ERR_BAD_CIPHER_SUITE, "the peer chose a cipher suite that was not "
	    "offered"},
	{BR_ERR_BAD_SIGNATURE, "the peer does not have the key of its "
	    "certificate"},
	{BR_ERR_INVALID_ALGORITHM, "the peer wants a curve or a hash, such as "
	    "SHA-1, that is not accepted"},
	{BR_ERR_WRONG_KEY_USAGE, "the key usage of the certificate does not "
	    "allow signatures"},
	{BR_ERR_BAD_FINISHED, "the handshake was tampered with"},
	{BR_ERR_NO_RANDOM, "the system gives no randomness"},
	{512 + BR_ALERT_PROTOCOL_VERSION, "the peer does not speak TLS 1.2 but "
	    "an older version, which is not safe"},
};

/* Keeps name without its trailing dot. One that is too long for DNS stays
 * empty, which no certificate is for. */
static void
keep_name(struct tls *tls, const char *name)
{
	size_t len = strlen(name);

	if (len && name[len - 1] == '.')
		len--;
	if (len < NAME_SIZE)
		memcpy(tls->name, name, len);
}

struct tls *
tls_client_new(const struct tls_trust *trust, const char *name)
{
	struct tls *tls = xcalloc(1, sizeof(*tls));
	br_ssl_engine_context *engine = &tls->client.eng;
	unsigned char address[16];

	keep_name(tls, name);
	profile_apply(&tls->client);
	chain_init(&tls->chain, trust, tls->name);
	br_ssl_engine_set_x509(engine, &tls->chain.vtable);
	/* Not br_ssl_engine_set_buffer(): the two halves that it makes of one
	 * buffer overlap in BearSSL 0.6. */
	br_ssl_engine_set_buffers_bidi(engine, tls->input, sizeof(tls->input),
	    tls->output, sizeof(tls->output));
	/* SNI is for names only (RFC 6066 section 3). */
	br_ssl_client_reset(&tls->client, certificate_ip_address(tls->name,
	    address) ? NULL : tls->name, 0);
	return tls;
}

void
tls_free(struct tls *tls)
{
	if (!tls)
		return;
	chain_free(&tls->chain);
	explicit_bzero(tls, sizeof(*tls));
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
	br_ssl_engine_context *engine = &tls->client.eng;
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
	br_ssl_engine_context *engine = &tls->client.eng;
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
	return br_ssl_engine_current_state(&tls->client.eng);
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
	if (br_ssl_engine_last_error(&tls->client.eng) != BR_ERR_OK)
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

unsigned
tls_pump(struct tls *tls, int fd)
{
	for (int i = 0; i < PUMP_STEPS; i++) {
		bool sent = send_records(tls, fd);
		bool received = receive_records(tls, fd);

		if (engine_state(tls) & (BR_SSL_SENDAPP | BR_SSL_RECVAPP))
			tls->ready = true;
		if (!sent && !received)
			break;
	}
	return state_of(tls);
}

size_t
tls_take(struct tls *tls, void *data, size_t max)
{
	br_ssl_engine_context *engine = &tls->client.eng;
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
	br_ssl_engine_context *engine = &tls->client.eng;
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
	br_ssl_engine_flush(&tls->client.eng, 0);
}

void
tls_goodbye(struct tls *tls)
{
	if (tls->ready && !(state_of(tls) & (TLS_CLOSED | TLS_FAILED)))
		br_ssl_engine_close(&tls->client.eng);
}

static void
add_name(const struct tls *tls, struct buf *out)
{
	buf_add_printable(out, tls->name, strlen(tls->name), NAME_SIZE);
}

static void
explain_text(const struct tls *tls, struct buf *out)
{
	size_t len = 0;

	while (len < tls->text_len && !strchr("\r\n", tls->text[len]))
		len++;
	add_name(tls, out);
	buf_adds(out, " answered in plain text where TLS was expected (\"");
	buf_add_printable(out, (const char *)tls->text, len, TEXT_SIZE);
	buf_adds(out, "\"); wrong port or tls mode: tls = implicit is for port "
	    "465, tls = starttls for 587 and 25");
}

static void
explain_alert(const struct tls *tls, int alert, struct buf *out)
{
	const char *text = "see RFC 5246";

	for (size_t i = 0; i < sizeof(alerts) / sizeof(alerts[0]); i++)
		if (alerts[i].number == alert)
			text = alerts[i].text;
	add_name(tls, out);
	buf_addf(out, " %s with alert %d, ",
	    tls->ready ? "ended the connection" : "refused TLS", alert);
	/* The guesses are about handshakes. */
	buf_add(out, text, tls->ready ? strcspn(text, ";") : strlen(text));
}

static void
explain_error(const struct tls *tls, int error, struct buf *out)
{
	buf_adds(out, "TLS with ");
	add_name(tls, out);
	buf_adds(out, " failed: ");
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].error == error) {
			buf_adds(out, reasons[i].text);
			return;
		}
	buf_addf(out, "the peer does not keep to the protocol (BearSSL error "
	    "%d)", error);
}

static void
explain_end(const struct tls *tls, struct buf *out)
{
	int error = tls->write_error ? tls->write_error : tls->read_error;

	buf_adds(out, "connection closed by ");
	add_name(tls, out);
	if (!tls->ready)
		buf_adds(out, " in the middle of the TLS handshake");
	if (error)
		buf_addf(out, ": %s", strerror(error));
	else if (!tls->saw_record)
		buf_adds(out, "; it may accept only TLS 1.3, or not speak TLS "
		    "on this port");
}

void
tls_explain(const struct tls *tls, struct buf *out)
{
	int error = br_ssl_engine_last_error(&tls->client.eng);

	if (tls->text_len)
		explain_text(tls, out);
	else if (error == BR_ERR_OK)
		explain_end(tls, out);
	else if (error >= BR_ERR_RECV_FATAL_ALERT &&
	    error < BR_ERR_SEND_FATAL_ALERT)
		explain_alert(tls, error - BR_ERR_RECV_FATAL_ALERT, out);
	else if (tls->chain.error && (unsigned)error == tls->chain.error)
		chain_explain(&tls->chain, out);
	else
		explain_error(tls, error, out);
}

const char *
tls_description(const struct tls *tls)
{
	return tls->ready ? profile_suite(&tls->client) : "";
}

void
tls_hmac_md5(const void *key, size_t key_len, const void *text,
    size_t text_len, unsigned char digest[16])
{
	br_hmac_key_context prepared;
	br_hmac_context hmac;

	br_hmac_key_init(&prepared, &br_md5_vtable, key, key_len);
	br_hmac_init(&hmac, &prepared, 0);
	br_hmac_update(&hmac, text, text_len);
	br_hmac_out(&hmac, digest);
	explicit_bzero(&prepared, sizeof(prepared));
	explicit_bzero(&hmac, sizeof(hmac));
}
