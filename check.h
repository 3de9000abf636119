/* SPDX-License-Identifier: ISC */
#ifndef CHECK_H
#define CHECK_H

/* `smarthost check`: the configuration, and unless --config says to stop
 * there, each upstream and each of its addresses, by the code that delivers.
 * argv[0] is the word check; config is the -c option or NULL. Returns the exit
 * status. */
int check_command(int argc, char **argv, const char *config);

#endif
