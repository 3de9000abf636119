/* SPDX-License-Identifier: ISC */
/*
 * Who may use the listener: networks, and the words for the usual ones. All
 * of it works on 16 bytes; IPv4 is taken into IPv6 first, so nobody gets
 * past a rule by writing his address another way. Names are not looked up.
 */
#include "access.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "buf.h"

enum { IPV6_BITS = 128, MAPPED_BITS = 96 };

static const char *const loopback_networks[] = {
	"127.0.0.0/8", "::1/128", NULL};
static const char *const private_networks[] = {
	"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10",
	"169.254.0.0/16", "fc00::/7", "fe80::/10", NULL};

static void
map_ipv4(uint8_t address[16], const void *ipv4)
{
	memset(address, 0, 10);
	memset(address + 10, 0xff, 2);
	memcpy(address + 12, ipv4, 4);
}

/* Reads an address of either family; sets how many bits come before its own
 * first one in the 16 bytes. */
static bool
read_address(const char *text, uint8_t address[16], unsigned *offset)
{
	uint8_t ipv4[4];

	*offset = 0;
	if (inet_pton(AF_INET6, text, address) == 1)
		return true;
	if (inet_pton(AF_INET, text, ipv4) != 1)
		return false;
	map_ipv4(address, ipv4);
	*offset = MAPPED_BITS;
	return true;
}

/* The digits behind the slash; false for anything but 0 to most. */
static bool
read_bits(const char *text, unsigned most, unsigned *bits)
{
	size_t len = strlen(text);

	*bits = 0;
	if (len < 1 || len > 3 || strspn(text, "0123456789") != len)
		return false;
	for (; *text; text++)
		*bits = *bits * 10 + (unsigned)(*text - '0');
	return *bits <= most;
}

static bool
bit_at(const uint8_t address[16], unsigned n)
{
	return address[n / 8] >> (7 - n % 8) & 1;
}

static bool
has_host_bits(const struct network *network)
{
	for (unsigned n = network->bits; n < IPV6_BITS; n++)
		if (bit_at(network->address, n))
			return true;
	return false;
}

static bool
contains(const struct network *network, const uint8_t address[16])
{
	for (unsigned n = 0; n < network->bits; n++)
		if (bit_at(network->address, n) != bit_at(address, n))
			return false;
	return true;
}

/* What is wrong with the word, or NULL. */
static const char *
read_network(const char *word, struct network *network)
{
	const char *slash = strchr(word, '/');
	size_t len = slash ? (size_t)(slash - word) : strlen(word);
	char text[INET6_ADDRSTRLEN] = "";
	unsigned offset;

	if (len >= sizeof(text))
		len = 0;
	memcpy(text, word, len);
	text[len] = '\0';
	if (!read_address(text, network->address, &offset))
		return "is not an address, a network such as 192.0.2.0/24, "
		       "private, loopback or anyone";
	network->bits = IPV6_BITS - offset;
	if (slash && !read_bits(slash + 1, network->bits, &network->bits))
		return offset ? "needs 0 to 32 behind the slash"
		              : "needs 0 to 128 behind the slash";
	network->bits += offset;
	if (slash && has_host_bits(network))
		return "has bits set behind its prefix: write the network's "
		       "first address, or one address without a slash";
	return NULL;
}

static bool
add_network(struct access *access, const char *word, struct buf *why)
{
	struct network network;
	const char *fault = read_network(word, &network);

	if (fault) {
		buf_adds(why, fault);
		return false;
	}
	access->networks = xrealloc(access->networks, access->count + 1,
	    sizeof(network));
	access->networks[access->count++] = network;
	return true;
}

static bool
add_networks(struct access *access, const char *const *words, struct buf *why)
{
	for (; *words; words++)
		if (!add_network(access, *words, why))
			return false;
	return true;
}

bool
access_add(struct access *access, const char *word, struct buf *why)
{
	if (!strcmp(word, "anyone"))
		return access->anyone = true;
	if (!strcmp(word, "loopback"))
		return add_networks(access, loopback_networks, why);
	if (!strcmp(word, "private"))
		return add_networks(access, private_networks, why);
	return add_network(access, word, why);
}

/* The peer's address as 16 bytes; false for a family without addresses. */
static bool
peer_address(const struct sockaddr *peer, uint8_t address[16])
{
	if (peer->sa_family == AF_INET) {
		struct sockaddr_in ipv4;

		memcpy(&ipv4, peer, sizeof(ipv4));
		map_ipv4(address, &ipv4.sin_addr);
		return true;
	}
	if (peer->sa_family == AF_INET6) {
		struct sockaddr_in6 ipv6;

		memcpy(&ipv6, peer, sizeof(ipv6));
		memcpy(address, &ipv6.sin6_addr, 16);
		return true;
	}
	return false;
}

bool
access_key(const struct sockaddr *peer, uint8_t key[16])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	if (!peer_address(peer, key))
		return false;
	if (memcmp(key, mapped, sizeof(mapped)) != 0)
		memset(key + 8, 0, 8);
	return true;
}

bool
access_is_loopback(const struct sockaddr *peer)
{
	struct network network;
	uint8_t address[16];

	if (!peer_address(peer, address))
		return peer->sa_family == AF_UNIX;
	for (const char *const *word = loopback_networks; *word; word++)
		if (!read_network(*word, &network) &&
		    contains(&network, address))
			return true;
	return false;
}

bool
access_allows(const struct access *access, const struct sockaddr *peer)
{
	uint8_t address[16];

	if (access->anyone || access_is_loopback(peer))
		return true;
	if (!peer_address(peer, address))
		return false;
	for (size_t i = 0; i < access->count; i++)
		if (contains(&access->networks[i], address))
			return true;
	return false;
}

static bool
is_wide(const struct network *n)
{
	if (n->bits >= MAPPED_BITS)
		return n->address[10] == 0xff && n->bits < MAPPED_BITS + 8;
	return n->bits < 16 && (n->address[0] & 0xfe) != 0xfc &&
	    n->address[0] != 0xfe;
}

bool
access_is_open(const struct access *access)
{
	for (size_t i = 0; i < access->count; i++)
		if (is_wide(&access->networks[i]))
			return true;
	return access->anyone;
}

void
access_free(struct access *access)
{
	free(access->networks);
	*access = (struct access){0};
}
