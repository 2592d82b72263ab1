/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef VIG_POOL_H
#define VIG_POOL_H

/* Threads that share the items of one job after the other. Used by one thread at a time, which works too. */
typedef struct VigPool VigPool;

/* Does item `item` of the job; thread is 0 .. n_threads - 1, and no two items run with one number at a time. */
typedef void VigWork (const void *job, int item, int thread);

/* n_threads with the caller; 0: one for each processor this process may run on. start (may be NULL) runs first on
 * every thread but the caller's. NULL: no memory. Fewer threads than asked for if the system gives no more. */
VigPool *vig_pool_new (int n_threads, void (*start) (void));
void vig_pool_free (VigPool *pool); /* NULL is allowed */
int vig_pool_n_threads (const VigPool *pool);

/* Does items 0 .. n - 1, each once, in any order, on any thread; returns when all are done. job must outlive only the
 * call. Neighbouring items go to the same thread as long as all keep pace, and to the same one in the next job of as
 * many items: so that a row of a tensor stays in one core's cache. */
void vig_pool_run (VigPool *pool, int n, VigWork *work, const void *job);

#endif
