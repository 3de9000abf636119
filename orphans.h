/* SPDX-License-Identifier: ISC */
#ifndef ORPHANS_H
#define ORPHANS_H

/* How long the main thread may wait until it calls orphans_reap() again, in
 * milliseconds; -1 if it need not. */
int orphans_patience(void);

/* Takes away the orphans that have ended; for the main thread only. */
void orphans_reap(void);

#endif
