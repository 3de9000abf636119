/* SPDX-License-Identifier: ISC */
/*
 * Who is at the other end of a connection.
 */
#include "peer.h"

#include <stdio.h>
#include <sys/socket.h>

#include "buf.h"
#include "config.h"
#include "dial.h"
#include "message.h"
#include "session.h"

static void
identify_local(struct client *client, int fd)
{
	struct ucred peer = {.uid = (uid_t)-1};
	socklen_t len = sizeof(peer);

	(void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
	client->uid = message_owner(peer.uid);
	snprintf(client->name, sizeof(client->name), "uid %u",
	    (unsigned)peer.uid);
	client->may_relay = client->local = client->loopback = true;
}

void
peer_identify(struct client *client, int fd, const struct sockaddr *peer,
    const struct listen_config *config)
{
	struct buf name = {0};

	if (peer->sa_family == AF_UNIX) {
		identify_local(client, fd);
		return;
	}
	client->uid = NO_OWNER;
	dial_add_address(&name, peer);
	snprintf(client->name, sizeof(client->name), "%s", name.data);
	(void)access_key(peer, client->key);
	client->loopback = access_is_loopback(peer);
	client->may_relay = access_allows(&config->allow, peer);
	buf_free(&name);
}
