/* SPDX-License-Identifier: ISC */
/*
 * The names that Debian's libbearssl.a and libinih.a, built for glibc with
 * _FORTIFY_SOURCE, ask the C library for and that musl does not have.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

void *__memcpy_chk(void *to, const void *from, size_t len, size_t room);
void *__memmove_chk(void *to, const void *from, size_t len, size_t room);
void *__memset_chk(void *to, int byte, size_t len, size_t room);

void *
__memcpy_chk(void *to, const void *from, size_t len, size_t room)
{
	return len <= room ? memcpy(to, from, len) : (abort(), to);
}

void *
__memmove_chk(void *to, const void *from, size_t len, size_t room)
{
	return len <= room ? memmove(to, from, len) : (abort(), to);
}

void *
__memset_chk(void *to, int byte, size_t len, size_t room)
{
	return len <= room ? memset(to, byte, len) : (abort(), to);
}
