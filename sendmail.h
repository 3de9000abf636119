/* SPDX-License-Identifier: ISC */
#ifndef SENDMAIL_H
#define SENDMAIL_H

/* The sendmail command: a message from stdin, to the daemon, or, where there
 * is none, to the relay from this process. argv[0] is the name it was called
 * by; config is the -c option or NULL. Returns the exit status: 0 only when
 * the message is at the relay. */
int sendmail_main(int argc, char **argv, const char *config);

#endif
