/* SPDX-License-Identifier: ISC */
#ifndef STRANGER_H
#define STRANGER_H

#include <stdbool.h>
#include <stdint.h>

struct message;

/* Reads a message's file (see spool.c) that anybody may have written into a new
 * message: its sender, its recipients and what they ask of notices are taken
 * over if they can be sent, its content is read as if it came from stdin;
 * nothing else in it counts, neither its ID nor its owner. size is that of the
 * file, which may change meanwhile. The message has a fault if it is larger
 * than its limit, and then not all of its content, or if something in its
 * header is refused. False if it is no message, or not a whole one. */
bool stranger_read(struct message *, int fd, uint64_t size);

#endif
