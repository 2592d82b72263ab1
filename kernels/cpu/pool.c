/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A forward pass is a hundred short jobs (5 to 300 us each), so starting one must cost about a microsecond, and a
 * thread that the system holds up must not hold up the job.
 *
 * Each thread has a range of the items of the job in one atomic word: generation, next, end. Taking an item is a
 * compare-and-swap of that word; a thread whose own range is empty takes from the others'. The generation makes a take
 * fail that was prepared during an earlier job. A job is over when all its items are done, whether or not all threads
 * have noticed it: the caller never waits for a thread to wake up.
 *
 * Idle threads spin for some tenths of a millisecond (longer than between two jobs of a pass, or two pictures that follow each
 * other) and then sleep; so does the caller when the last items are with others.
 */
#include "cpu/pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { SPINS = 8000 }; /* a pause takes 40 to 140 cycles; 0.2 ms on Zen 4, where it is 25 ns */

/* generation << 32 | next << 16 | end, in units of the job's step */
typedef struct {
  alignas (64) atomic_uint_fast64_t word;
} Range;

typedef struct {
  VigPool *pool;
  int index;
  pthread_t thread;
} Worker;

struct VigPool {
  int n_threads; /* with the caller's */
  Range *ranges; /* [n_threads] */
  Worker *workers; /* [n_threads], 0 unused */
  void (*start) (void);

  /* the job: written before its ranges, read only by who has taken an item that is not yet done */
  VigWork *work;
  const void *job;
  int n, step, n_units;
  alignas (64) atomic_int done; /* units */

  alignas (64) atomic_uint generation;
  atomic_int sleeping;
  atomic_bool waiting; /* the caller sleeps */
  atomic_bool stop;
  pthread_mutex_t lock; /* for sleeping only */
  pthread_cond_t wake, finished;
};

static inline void
pause_cpu (void)
{
#if defined __x86_64__
  __builtin_ia32_pause ();
#endif
}

/* One unit of a range; -1 if it is empty. */
static int
take (Range *range)
{
  uint_fast64_t word = atomic_load_explicit (&range->word, memory_order_acquire);
  for (;;) {
    uint32_t next = word >> 16 & 0xffff, end = word & 0xffff;
    if (next >= end)
      return -1;
    if (atomic_compare_exchange_weak_explicit (&range->word, &word, word + (1 << 16), memory_order_acq_rel,
            memory_order_acquire))
      return (int) next;
  }
}

/* Works until no range has a unit left: first the own one, then the others'. */
static void
work_all (VigPool *pool, int thread)
{
  for (int i = 0; i < pool->n_threads; i++) {
    Range *range = &pool->ranges[(thread + i) % pool->n_threads];
    for (int unit; (unit = take (range)) >= 0;) {
      int n_units = pool->n_units, end = (unit + 1) * pool->step;
      for (int item = unit * pool->step; item < end && item < pool->n; item++)
        pool->work (pool->job, item, thread);
      if (atomic_fetch_add (&pool->done, 1) + 1 == n_units && atomic_load (&pool->waiting)) {
        pthread_mutex_lock (&pool->lock);
        pthread_cond_signal (&pool->finished);
        pthread_mutex_unlock (&pool->lock);
      }
    }
  }
}

/* Until another generation than seen or the end. */
static void
wait_for_job (VigPool *pool, unsigned seen)
{
  for (int i = 0; i < SPINS; i++) {
    if (atomic_load_explicit (&pool->generation, memory_order_acquire) != seen)
      return;
    pause_cpu ();
  }
  pthread_mutex_lock (&pool->lock);
  atomic_fetch_add (&pool->sleeping, 1);
  while (atomic_load (&pool->generation) == seen && !atomic_load (&pool->stop))
    pthread_cond_wait (&pool->wake, &pool->lock);
  atomic_fetch_sub (&pool->sleeping, 1);
  pthread_mutex_unlock (&pool->lock);
}

static void *
worker (void *data)
{
  Worker *self = data;
  VigPool *pool = self->pool;
  if (pool->start)
    pool->start ();
  for (unsigned seen = 0; !atomic_load (&pool->stop);) {
    wait_for_job (pool, seen);
    seen = atomic_load_explicit (&pool->generation, memory_order_acquire);
    work_all (pool, self->index);
  }
  return NULL;
}

static int
processors (void)
{
  cpu_set_t set;
  return sched_getaffinity (0, sizeof set, &set) == 0 ? CPU_COUNT (&set) : 1;
}

/* Signals of the process are not for our threads. */
static void
start_workers (VigPool *pool, int n_threads)
{
  sigset_t all, before;
  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &before);
  for (int i = 1; i < n_threads; i++) {
    Worker *w = &pool->workers[i];
    *w = (Worker) { .pool = pool, .index = i };
    if (pthread_create (&w->thread, NULL, worker, w))
      break;
    char name[16];
    snprintf (name, sizeof name, "vig-%d", i);
    pthread_setname_np (w->thread, name);
    pool->n_threads = i + 1;
  }
  pthread_sigmask (SIG_SETMASK, &before, NULL);
}

VigPool *
vig_pool_new (int n_threads, void (*start) (void))
{
  if (n_threads <= 0)
    n_threads = processors ();
  if (n_threads > 1024)
    n_threads = 1024;

  VigPool *pool = NULL;
  if (posix_memalign ((void **) &pool, alignof (VigPool), sizeof *pool))
    return NULL;
  *pool = (VigPool) { .n_threads = 1, .start = start };
  pool->workers = calloc ((size_t) n_threads, sizeof *pool->workers);
  if (posix_memalign ((void **) &pool->ranges, alignof (Range), sizeof *pool->ranges * (size_t) n_threads))
    pool->ranges = NULL;
  if (!pool->workers || !pool->ranges) {
    free (pool->workers);
    free (pool->ranges);
    free (pool);
    return NULL;
  }
  for (int i = 0; i < n_threads; i++)
    atomic_init (&pool->ranges[i].word, 0);
  pthread_mutex_init (&pool->lock, NULL);
  pthread_cond_init (&pool->wake, NULL);
  pthread_cond_init (&pool->finished, NULL);
  start_workers (pool, n_threads);
  return pool;
}

void
vig_pool_free (VigPool *pool)
{
  if (!pool)
    return;
  pthread_mutex_lock (&pool->lock);
  atomic_store (&pool->stop, true);
  pthread_cond_broadcast (&pool->wake);
  pthread_mutex_unlock (&pool->lock);
  for (int i = 1; i < pool->n_threads; i++)
    pthread_join (pool->workers[i].thread, NULL);
  pthread_cond_destroy (&pool->finished);
  pthread_cond_destroy (&pool->wake);
  pthread_mutex_destroy (&pool->lock);
  free (pool->workers);
  free (pool->ranges);
  free (pool);
}

int
vig_pool_n_threads (const VigPool *pool)
{
  return pool->n_threads;
}

static void
wait_for_done (VigPool *pool)
{
  for (int i = 0; i < SPINS; i++) {
    if (atomic_load_explicit (&pool->done, memory_order_acquire) == pool->n_units)
      return;
    pause_cpu ();
  }
  pthread_mutex_lock (&pool->lock);
  atomic_store (&pool->waiting, true);
  while (atomic_load (&pool->done) != pool->n_units)
    pthread_cond_wait (&pool->finished, &pool->lock);
  atomic_store (&pool->waiting, false);
  pthread_mutex_unlock (&pool->lock);
}

void
vig_pool_run (VigPool *pool, int n, VigWork *work, const void *job)
{
  if (n == 1 || pool->n_threads == 1) {
    for (int i = 0; i < n; i++)
      work (job, i, 0);
    return;
  }
  int step = n / 0x8000 + 1; /* so that units fit 16 bits */
  pool->work = work;
  pool->job = job;
  pool->n = n;
  pool->step = step;
  pool->n_units = (n + step - 1) / step;
  atomic_store_explicit (&pool->done, 0, memory_order_relaxed);

  unsigned generation = atomic_load_explicit (&pool->generation, memory_order_relaxed) + 1;
  for (int i = 0; i < pool->n_threads; i++) {
    uint_fast64_t first = (uint_fast64_t) pool->n_units * i / pool->n_threads;
    uint_fast64_t end = (uint_fast64_t) pool->n_units * (i + 1) / pool->n_threads;
    atomic_store_explicit (&pool->ranges[i].word, (uint_fast64_t) generation << 32 | first << 16 | end,
        memory_order_release);
  }
  atomic_store (&pool->generation, generation);
  if (atomic_load (&pool->sleeping) > 0) {
    pthread_mutex_lock (&pool->lock);
    pthread_cond_broadcast (&pool->wake);
    pthread_mutex_unlock (&pool->lock);
  }
  work_all (pool, 0);
  wait_for_done (pool);
}
