/* SPDX-License-Identifier: ISC */
/*
 * Why TLS has failed, in one sentence that ends with what to do about it;
 * what is wrong with certificates is in chain_explain.c.
 */
#include "tls_internal.h"

#include <string.h>

#include "buf.h"

/* Behind the number of an alert (RFC 5246 section 7.2, RFC 6066). */
static const struct {
	int number;
	const char *text;
} alerts[] = {
	{BR_ALERT_CLOSE_NOTIFY, "close_notify"},
	{BR_ALERT_UNEXPECTED_MESSAGE, "unexpected_message"},
	{BR_ALERT_BAD_RECORD_MAC, "bad_record_mac"},
	{BR_ALERT_RECORD_OVERFLOW, "record_overflow"},
	{BR_ALERT_HANDSHAKE_FAILURE, "handshake_failure; the peer may want a "
	    "client certificate (set tls_cert), or accept only TLS 1.3, "
	    "Extended Master Secret, or cipher suites or keys (Ed25519) that "
	    "smarthost lacks; its log should say which"},
	{BR_ALERT_BAD_CERTIFICATE, "bad_certificate; the peer may want a "
	    "client certificate, or another one: see tls_cert"},
	{43, "unsupported_certificate; see tls_cert"},
	{45, "certificate_expired; renew tls_cert"},
	{46, "certificate_unknown; see tls_cert"},
	{BR_ALERT_ILLEGAL_PARAMETER, "illegal_parameter"},
	{BR_ALERT_UNKNOWN_CA, "unknown_ca; the peer does not trust the issuer "
	    "of tls_cert, or that file lacks the certificates in between"},
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
	{512 + BR_ALERT_HANDSHAKE_FAILURE, "there is no cipher suite or curve "
	    "that both sides have"},
	{512 + BR_ALERT_PROTOCOL_VERSION, "the peer does not speak TLS 1.2 but "
	    "an older version, which is not safe"},
};

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
	buf_adds(out, "\")");
	if (!tls->is_server)
		buf_adds(out, "; wrong port or tls mode: tls = implicit is for "
		    "port 465, tls = starttls for 587 and 25");
}

static void
explain_alert(const struct tls *tls, int alert, struct buf *out)
{
	const char *text = "see RFC 5246; the log of the peer should say why";

	for (size_t i = 0; i < sizeof(alerts) / sizeof(alerts[0]); i++)
		if (alerts[i].number == alert)
			text = alerts[i].text;
	add_name(tls, out);
	buf_addf(out, " %s with alert %d, ",
	    tls->ready ? "ended the connection" : "refused TLS", alert);
	/* The guesses are about handshakes, and relays. */
	buf_add(out, text, tls->ready || tls->is_server ? strcspn(text, ";")
	                                                : strlen(text));
}

static void
explain_error(const struct tls *tls, int error, struct buf *out)
{
	const char *text = NULL;

	buf_adds(out, "TLS with ");
	add_name(tls, out);
	buf_adds(out, " failed: ");
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].error == error)
			text = reasons[i].text;
	if (text)
		buf_adds(out, text);
	else
		buf_addf(out, "the peer does not keep to the protocol "
		    "(BearSSL error %d)", error);
	if (!tls->is_server)
		buf_adds(out, "; mend that at the peer, or at what is in "
		    "between");
}

static void
explain_end(const struct tls *tls, struct buf *out)
{
	int error = tls->write_error ? tls->write_error : tls->read_error;

	if (tls->is_server && !tls->saw_record && !error)
		return;
	buf_adds(out, "connection closed by ");
	add_name(tls, out);
	if (!tls->ready)
		buf_adds(out, " in the middle of the TLS handshake");
	if (error)
		buf_addf(out, ": %s", strerror(error));
	else if (!tls->saw_record)
		buf_adds(out, "; it may accept only TLS 1.3, or not speak TLS "
		    "on this port");
	else if (!tls->ready && !tls->is_server)
		buf_adds(out, "; its log should say why");
}

void
tls_explain(const struct tls *tls, struct buf *out)
{
	int error = br_ssl_engine_last_error(tls->engine);

	if (tls->text_len)
		explain_text(tls, out);
	else if (error == BR_ERR_OK)
		explain_end(tls, out);
	else if (error >= BR_ERR_RECV_FATAL_ALERT &&
	    error < BR_ERR_SEND_FATAL_ALERT)
		explain_alert(tls, error - BR_ERR_RECV_FATAL_ALERT, out);
	else if (!tls->is_server &&
	    (unsigned)error == tls->as.client.chain.error)
		chain_explain(&tls->as.client.chain, out);
	else
		explain_error(tls, error, out);
}
