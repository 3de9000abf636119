/* SPDX-License-Identifier: ISC */
#ifndef TLS_H
#define TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "buf.h"

/*
 * TLS 1.2 for a client or a server, without waiting and without a socket of
 * its own. Whoever owns the descriptor calls tls_pump(), waits for what it asks
 * for, and calls it again:
 *
 *     tls = tls_client_new(trust, "relay.example");
 *     while (!((state = tls_pump(tls, fd)) & TLS_READY) &&
 *         !(state & TLS_FAILED))
 *             ...poll fd for what TLS_WANTS_READ and TLS_WANTS_WRITE say...
 *     tls_give(tls, "EHLO host\r\n", 11);
 *     tls_flush(tls);
 *     ...pump and wait until TLS_TAKES_OUTPUT is set again...
 *
 * A certificate is accepted only if its chain leads to a trusted anchor, it
 * is valid now, its subjectAltName holds the name, no signature on the way is
 * SHA-1 and no RSA key is shorter than 2048 bits; or if it is exactly the one
 * that was pinned. There is no way to turn that off.
 *
 * What lies behind: trust.c holds the anchors, certificate.c and der.c read
 * certificates, chain.c judges those of the peer, chain_explain.c says why
 * not, profile.c says what we offer, keypair.c is what we show, tls_session.c
 * keeps a session. Only they and tls*.c know BearSSL.
 */

/* A certificate of our own and its key. */
struct tls_keypair;

/* Reads both from PEM files, which may be the same one: RSA or EC, the
 * certificate with those that lead to its CA behind it. NULL on failure
 * (unreadable, no PEM, protected by a passphrase, of a kind that cannot be
 * used, in the wrong order, or no pair), and then a sentence is appended to
 * why. The caller frees it with tls_keypair_free(). */
struct tls_keypair *tls_keypair_load(const char *certificate, const char *key,
    struct buf *why);
void tls_keypair_free(struct tls_keypair *);

/* What a listener shows to its clients: a certificate and its key, taken anew
 * when their files have changed. Thread safe. */
struct tls_server;

/* As tls_keypair_load(). The caller frees it with tls_server_free(), when
 * there is no connection any more. */
struct tls_server *tls_server_load(const char *certificate, const char *key,
    struct buf *why);
void tls_server_free(struct tls_server *);

/* The trust between us and one relay: whose certificates we take, what we
 * show, and the session that the next connection may resume. Threads share
 * it. */
struct tls_trust;

/* Loads the system's bundle (SSL_CERT_FILE, else the usual places) and adds
 * the PEM file ca_file, which may be NULL. Anchors whose keys BearSSL cannot
 * use and junk between PEM blocks are skipped and counted. NULL on failure
 * (a file named by somebody is missing, unreadable, not PEM or without a
 * usable anchor; or there is no anchor at all), and then a sentence is
 * appended to why. The caller frees it with tls_trust_free(). */
struct tls_trust *tls_trust_load(const char *ca_file, struct buf *why);

/* The same for a process of one thread that makes a connection or two: where
 * ca_file is enough the system's bundle is not even read, which takes longer
 * than all the rest. */
struct tls_trust *tls_trust_load_late(const char *ca_file, struct buf *why);

/* No anchors: exactly the certificate with this SHA-256 is accepted, whoever
 * issued it, for whatever name and time, if its key is one that we can use. */
enum { TLS_FINGERPRINT_SIZE = 32 };
struct tls_trust *
tls_trust_pin(const unsigned char fingerprint[TLS_FINGERPRINT_SIZE]);

/* The same with the first certificate in a PEM file; nothing is accepted if
 * there is none. */
struct tls_trust *tls_trust_pin_file(const char *path);

/* What to show to a relay that asks for a certificate; takes it over. */
void tls_trust_show(struct tls_trust *, struct tls_keypair *);

void tls_trust_free(struct tls_trust *);
size_t tls_trust_anchors(const struct tls_trust *);
size_t tls_trust_skipped(const struct tls_trust *);

struct tls;

/* A connection that expects a certificate for name, a DNS name that is not
 * empty; it is also sent as SNI, without a trailing dot. An IP address is
 * looked for among the iPAddresses of the certificate, and never sent. trust
 * must outlive the connection. Never fails; the caller frees it with
 * tls_free(). */
struct tls *tls_client_new(const struct tls_trust *, const char *name);

/* A connection from a client, who is asked for no certificate. When the files
 * have changed, this one gets the new pair; a new pair that cannot be used is
 * logged, once, and the old one stays. */
struct tls *tls_server_new(struct tls_server *);

/* Overwrites the keys and frees. Sends nothing. */
void tls_free(struct tls *);

enum tls_state {
	TLS_WANTS_READ = 1,    /* records may arrive: poll for POLLIN */
	TLS_WANTS_WRITE = 2,   /* records wait to be sent: poll for POLLOUT */
	TLS_READY = 4,         /* the handshake is done; stays set */
	TLS_HAS_INPUT = 8,     /* tls_take() would return bytes */
	TLS_TAKES_OUTPUT = 16, /* tls_give() would take bytes */
	TLS_CLOSED = 32,       /* the peer said goodbye (close_notify) or hung
	                        * up; input that came before is still there */
	TLS_FAILED = 64,       /* nothing more will work; see tls_explain().
	                        * Input decrypted before is still there */
};

/* Moves whatever the socket takes and gives right now, in both directions,
 * without ever blocking (MSG_DONTWAIT, MSG_NOSIGNAL), and returns a set of
 * enum tls_state. One call moves a bounded amount, and reads no further while
 * decrypted input waits to be taken. After a send has failed it goes on
 * reading, so that a reply that came before the reset is not lost: pump and
 * take until there is no TLS_HAS_INPUT. */
unsigned tls_pump(struct tls *, int fd);

/* Takes up to max decrypted bytes; 0 when there are none now. */
size_t tls_take(struct tls *, void *data, size_t max);

/* Hands over bytes to encrypt; returns how many fitted into the record. */
size_t tls_give(struct tls *, const void *data, size_t len);

/* Ends the record, so that the next tls_pump() sends what was given. */
void tls_flush(struct tls *);

/* Queues a close_notify on a healthy connection, for one last tls_pump(). */
void tls_goodbye(struct tls *);

/* Appends one sentence about why the connection failed; nothing for a client
 * that has hung up without a word. For a relay with a hint: unknown
 * issuer (which, and how many anchors are loaded), wrong name (which names it
 * has), expired or not yet valid (with our clock), no subjectAltName, short
 * key, SHA-1 signature, plain text where TLS was expected (with that text),
 * an alert and what it usually means (TLS 1.3 only, for one). */
void tls_explain(const struct tls *, struct buf *sentence);

/* For the log: "TLSv1.2 ECDHE-RSA-AES128-GCM-SHA256"; "" before TLS_READY. */
const char *tls_description(const struct tls *);

/* What the certificate of the peer says, for a person. */
struct tls_peer {
	struct buf issuer; /* "CN=..., O=..." */
	struct buf names;  /* "relay.example, *.example and 3 more" */
	time_t not_after;
};

/* Whatever became of it. False, and nothing in it, if the peer has sent none
 * that can be read, or if the session was resumed. The caller hands it over
 * zeroed, and frees it with tls_peer_free() either way. */
bool tls_peer(const struct tls *, struct tls_peer *);
void tls_peer_free(struct tls_peer *);

/* Writes HMAC-MD5(key, text) to digest, for CRAM-MD5 (RFC 2195); here because
 * BearSSL stays behind this header. */
void tls_hmac_md5(const void *key, size_t key_len, const void *text,
    size_t text_len, unsigned char digest[16]);

/* The same with SHA-256 and a text that is a string; digest may be key. */
enum { TLS_SHA256_SIZE = 32 };
void tls_hmac_sha256(const void *key, size_t key_len, const char *text,
    unsigned char digest[TLS_SHA256_SIZE]);

#endif
