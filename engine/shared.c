/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The engines of this process that users share. One lock guards the list and what its entries count; it is not held
 * while anything is loaded, computed or freed. An entry is in the list from the moment somebody begins to load it: who
 * asks for the same meanwhile waits, and is told what came of it.
 */
#include <vig/shared.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "batcher.h"
#include "engine-private.h"
#include "model-private.h"
#include "state.h"

#define N_WARM 8 /* input sizes whose times are remembered */
#define WARM_RUNS 16 /* timed at most, */
#define WARM_TIME (G_USEC_PER_SEC / 5) /* and until this is over */

typedef enum { LOADING, READY, MERGED, FAILED } State;

typedef struct Entry Entry;
struct Entry {
  guint refs; /* users, those who wait, and an entry merged into this one */
  State state;
  gboolean alone; /* in no list */
  char *hash;     /* of the model's file */
  VigEngineOptions asked;
  guint n_parallel;
  /* READY */
  VigModel *model;
  VigEngine *engine;
  GPtrArray *lanes; /* of VigEngine: it and those beside it, one for each batch that is computed at once */
  VigBatcher *batcher;
  const char *device;
  VigPrecision precision;
  GPtrArray *users; /* of VigShared */
  guint n_users_ever;
  struct { guint size, window, batch; gint64 us; } warm[N_WARM]; /* up to which batch, and of one frame */
  guint n_warm;
  guint max_batch;
  /* MERGED: the same came of two descriptions (auto and cpu, say) */
  Entry *into;
  /* FAILED */
  GError *error;
};

struct VigShared {
  Entry *entry;
  guint lane; /* of its states */
  char *name;
  guint max_batch;
  gboolean has_batch_delay;
  gint64 batch_delay;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t loaded = PTHREAD_COND_INITIALIZER;
static pthread_mutex_t reading = PTHREAD_MUTEX_INITIALIZER; /* held by who has a whole file in memory to find its entry */
static GPtrArray *entries; /* NULL: none */

/* ---- the list; under the lock ---- */

static void
list_entry (Entry *entry)
{
  if (!entries)
    entries = g_ptr_array_new ();
  g_ptr_array_add (entries, entry);
}

static void
unlist_entry (Entry *entry)
{
  if (entries && g_ptr_array_remove_fast (entries, entry) && entries->len == 0)
    g_clear_pointer (&entries, g_ptr_array_unref);
}

static gboolean
same_name (const char *a, const char *b)
{
  return g_str_equal (g_str_equal (a, "cuda:0") ? "cuda" : a, g_str_equal (b, "cuda:0") ? "cuda" : b);
}

/* Whether the device of @asked is that of @entry, as it was described or as it turned out. */
static gboolean
same_device (const Entry *entry, const VigEngineOptions *asked)
{
  return same_name (entry->asked.device, asked->device)
      || (entry->state == READY && same_name (entry->device, asked->device));
}

static gboolean
same_precision (const Entry *entry, const VigEngineOptions *asked)
{
  return entry->asked.precision == asked->precision
      || (entry->state == READY && entry->precision == asked->precision);
}

static Entry *
find_entry (const char *hash, const VigEngineOptions *asked, guint n_parallel, const Entry *other_than)
{
  for (guint i = 0; entries && i < entries->len; i++) {
    Entry *e = entries->pdata[i];
    if (e != other_than && g_str_equal (e->hash, hash) && e->asked.n_threads == asked->n_threads
        && e->n_parallel == n_parallel && same_device (e, asked) && same_precision (e, asked))
      return e;
  }
  return NULL;
}

/* ---- an entry ---- */

static Entry *
entry_new (const char *hash, const VigEngineOptions *asked, guint n_parallel, gboolean alone)
{
  Entry *e = g_new0 (Entry, 1);

  *e = (Entry) { .refs = 1, .state = LOADING, .alone = alone, .hash = g_strdup (hash), .asked = *asked,
    .n_parallel = n_parallel, .users = g_ptr_array_new (), .lanes = g_ptr_array_new () };
  return e;
}

/* What was loaded. */
static void
entry_unload (Entry *e)
{
  g_clear_pointer (&e->batcher, vig_batcher_free);
  for (guint i = e->lanes->len; i-- > 0;) /* the first, whose weights the others have, last */
    vig_engine_free (e->lanes->pdata[i]);
  g_ptr_array_set_size (e->lanes, 0);
  e->engine = NULL;
  g_clear_pointer (&e->model, vig_model_unref);
}

/* Under the lock, which is let go of meanwhile. */
static void
entry_unref (Entry *e)
{
  Entry *into = e->into;

  if (--e->refs > 0)
    return;
  unlist_entry (e);
  pthread_mutex_unlock (&lock);
  entry_unload (e);
  g_ptr_array_unref (e->users);
  g_ptr_array_unref (e->lanes);
  g_clear_error (&e->error);
  g_free (e->hash);
  g_free (e);
  pthread_mutex_lock (&lock);
  if (into)
    entry_unref (into);
}

/* @data: the entry. Engines side by side take the same frames, and each the states that are its own. */
static gboolean
check (gpointer data, const VigRequest *r, GError **error)
{
  Entry *e = data;
  VigEngine *engine = r->state && g_ptr_array_find (e->lanes, r->state->engine, NULL) ? r->state->engine : e->engine;

  return vig_engine_check_frame (engine, &r->frame, r->size, error)
      && vig_engine_check_state (engine, r->state, r->window, error) && vig_engine_check_maps (engine, &r->maps, error);
}

static guint
get_lane (gpointer data, const VigRequest *r)
{
  return r->state->lane;
}

static gboolean
prepare (gpointer data, const VigRequest *r, GError **error)
{
  return !r->state || vig_engine_prepare_state (data, r->state, r->window, r->size, error);
}

static gboolean
run (gpointer data, const VigBatch *batch, VigOutput *output, VigReadFunc read, gpointer read_data, GError **error)
{
  return vig_engine_classify_batch (data, batch, output, read, read_data, error);
}

/* Those beside the first. A GPU computes one batch at a time. */
static gboolean
add_lanes (Entry *e, GError **error)
{
  VigEngine *beside;

  g_ptr_array_add (e->lanes, e->engine);
  if (g_str_equal (e->device, "cuda")) {
    vig_engine_set_spare_threads (e->engine, e->asked.n_threads * e->n_parallel);
    return TRUE;
  }
  for (guint i = 1; i < e->n_parallel; i++) {
    if (!(beside = vig_engine_new_beside (e->engine, error)))
      return FALSE;
    g_ptr_array_add (e->lanes, beside);
  }
  return TRUE;
}

/* Nobody else looks at these fields of an entry that is LOADING. */
static gboolean
entry_load (Entry *e, const char *path, VigModelFile *file, GError **error)
{
  e->model = file->data ? vig_model_file_load (file, path, error) : vig_model_load (path, error);
  vig_model_file_clear (file);
  if (!e->model || !(e->engine = vig_engine_new (e->model, &e->asked, error)))
    return FALSE;
  e->device = vig_engine_get_device (e->engine);
  e->precision = vig_engine_get_precision (e->engine);
  if (!add_lanes (e, error))
    return FALSE;
  const VigBatcherWork work = { .check = check, .prepare = prepare, .run = run, .lane = get_lane,
    .data = e, .lanes = e->lanes->pdata, .n_lanes = e->lanes->len, .windows = vig_model_has_windows (e->model), .n_classes = vig_model_get_n_classes (e->model),
    .size = vig_model_get_input_size (e->model) };
  e->batcher = vig_batcher_new (&work, VIG_SHARED_DEFAULT_BATCH, VIG_SHARED_DEFAULT_DELAY);
  return vig_batcher_start (e->batcher, error);
}

/* Under the lock: what came of loading. The same as what is there already under another description is not kept. */
static void
entry_loaded (Entry *e, GError *error)
{
  if (error) {
    e->state = FAILED;
    e->error = error;
  } else {
    const VigEngineOptions found = { .device = e->device, .precision = e->precision, .n_threads = e->asked.n_threads };
    g_free (e->hash);
    e->hash = g_strdup (vig_model_get_hash (e->model)); /* the file may have changed since it was first looked at */
    if (!e->alone && (e->into = find_entry (e->hash, &found, e->n_parallel, e)) && e->into->state == READY)
      e->into->refs++;
    else
      e->into = NULL;
    e->state = e->into ? MERGED : READY;
  }
  if (e->state != READY)
    unlist_entry (e);
  pthread_cond_broadcast (&loaded);
}

/* Under the lock, which is let go of while loading and waiting. @file: empty, or what @path is; is cleared. Returns a
 * reference, to one that is READY or FAILED. */
static Entry *
get_entry (const char *path, VigModelFile *file, const char *hash, const VigEngineOptions *asked, guint n_parallel,
    gboolean alone)
{
  Entry *e = alone ? NULL : find_entry (hash, asked, n_parallel, NULL);
  GError *error = NULL;

  if (e) {
    e->refs++;
    vig_model_file_clear (file);
    while (e->state == LOADING)
      pthread_cond_wait (&loaded, &lock);
  } else {
    e = entry_new (hash, asked, n_parallel, alone);
    if (!alone)
      list_entry (e);
    pthread_mutex_unlock (&lock);
    if (!entry_load (e, path, file, &error))
      entry_unload (e);
    pthread_mutex_lock (&lock);
    entry_loaded (e, error);
  }
  if (e->state == MERGED) {
    Entry *into = e->into;
    into->refs++;
    entry_unref (e);
    e = into;
  }
  return e;
}

/* ---- options that users of an engine have in common; under the lock ---- */

static gboolean
check_agreement (const VigShared *one, const VigShared *other, GError **error)
{
  if (one->max_batch && other->max_batch && one->max_batch != other->max_batch) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "max-batch: expected %u, as %s has set it, whose engine %s shares "
        "(or no sharing), found %u", other->max_batch, other->name, one->name, one->max_batch);
    return FALSE;
  }
  if (one->has_batch_delay && other->has_batch_delay && one->batch_delay != other->batch_delay) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "batch-delay: expected %g ms, as %s has set it, whose engine %s "
        "shares (or no sharing), found %g ms", other->batch_delay / 1e3, other->name, one->name, one->batch_delay / 1e3);
    return FALSE;
  }
  return TRUE;
}

static void
apply_options (Entry *e)
{
  guint max_batch = 0;
  gint64 delay = -1;

  for (guint i = 0; i < e->users->len; i++) {
    const VigShared *user = e->users->pdata[i];
    max_batch = MAX (max_batch, user->max_batch);
    delay = user->has_batch_delay ? user->batch_delay : delay;
  }
  e->max_batch = max_batch ? max_batch : VIG_SHARED_DEFAULT_BATCH;
  for (guint i = 0; i < e->lanes->len; i++)
    vig_engine_expect (e->lanes->pdata[i], e->max_batch);
  vig_batcher_set_limits (e->batcher, e->max_batch, delay >= 0 ? delay : VIG_SHARED_DEFAULT_DELAY);
}

static gboolean
add_user (Entry *e, VigShared *user, GError **error)
{
  if (e->state == FAILED) {
    if (error)
      *error = g_error_copy (e->error);
    return FALSE;
  }
  for (guint i = 0; i < e->users->len; i++)
    if (!check_agreement (user, e->users->pdata[i], error))
      return FALSE;
  user->lane = e->n_users_ever++ % e->lanes->len;
  g_ptr_array_add (e->users, user);
  apply_options (e);
  return TRUE;
}

/* ---- users ---- */

static void
shared_free (VigShared *shared)
{
  g_free (shared->name);
  g_free (shared);
}

static gboolean
check_options (const VigSharedOptions *o, GError **error)
{
  if (o->max_batch > VIG_SHARED_MAX_BATCH) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "max-batch: expected at most %d, found %u", VIG_SHARED_MAX_BATCH,
        o->max_batch);
    return FALSE;
  }
  if (o->has_batch_delay && (o->batch_delay < 0 || o->batch_delay > VIG_SHARED_MAX_DELAY)) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "batch-delay: expected 0 to %d microseconds, found %"
        G_GINT64_FORMAT, VIG_SHARED_MAX_DELAY, o->batch_delay);
    return FALSE;
  }
  if (o->n_parallel > VIG_SHARED_MAX_PARALLEL) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "parallel-batches: expected at most %d, found %u",
        VIG_SHARED_MAX_PARALLEL, o->n_parallel);
    return FALSE;
  }
  return TRUE;
}

static VigShared *
acquire (const char *path, VigModelFile *file, const char *hash, const VigSharedOptions *o, GError **error)
{
  VigEngineOptions asked = o->engine;
  VigShared *shared = g_new0 (VigShared, 1);

  asked.device = g_intern_string (asked.device ? asked.device : "auto");
  *shared = (VigShared) { .name = g_strdup (o->user ? o->user : "another user"), .max_batch = o->max_batch,
    .has_batch_delay = o->has_batch_delay, .batch_delay = o->batch_delay };

  pthread_mutex_lock (&lock);
  shared->entry = get_entry (path, file, hash, &asked, MAX (o->n_parallel, 1), o->alone);
  gboolean added = add_user (shared->entry, shared, error);
  if (!added)
    entry_unref (shared->entry);
  pthread_mutex_unlock (&lock);
  if (!added)
    g_clear_pointer (&shared, shared_free);
  return shared;
}

/* The file's hash; and the file itself, which is then neither read nor hashed again if nobody has loaded it, but only one
 * at a time: sixteen elements that start together are not to have it in memory sixteen times. */
static char *
look_at (const char *path, VigModelFile *file, gboolean *holds, GError **error)
{
  *holds = pthread_mutex_trylock (&reading) == 0;
  if (!*holds)
    return vig_model_hash_file (path, error);
  return vig_model_file_read (file, path, error) ? g_strdup (file->hash) : NULL;
}

VigShared *
vig_shared_acquire (const char *path, const VigSharedOptions *options, GError **error)
{
  static const VigSharedOptions defaults;
  const VigSharedOptions *o = options ? options : &defaults;
  g_auto (VigModelFile) file = { 0 };
  g_autofree char *hash = NULL;
  VigShared *shared = NULL;
  gboolean holds;

  if (!check_options (o, error))
    return NULL;
  if ((hash = look_at (path, &file, &holds, error)))
    shared = acquire (path, &file, hash, o, error);
  if (holds)
    pthread_mutex_unlock (&reading);
  return shared;
}

void
vig_shared_release (VigShared *shared)
{
  if (!shared)
    return;
  pthread_mutex_lock (&lock);
  g_ptr_array_remove_fast (shared->entry->users, shared);
  apply_options (shared->entry);
  entry_unref (shared->entry);
  pthread_mutex_unlock (&lock);
  shared_free (shared);
}

VigModel *
vig_shared_get_model (VigShared *shared)
{
  return shared->entry->model;
}

const char *
vig_shared_get_device (VigShared *shared)
{
  return shared->entry->device;
}

gboolean
vig_shared_get_cuda (VigShared *shared, int *device, void **context)
{
  return vig_engine_get_cuda (shared->entry->engine, device, context);
}

VigPrecision
vig_shared_get_precision (VigShared *shared)
{
  return shared->entry->precision;
}

guint
vig_shared_get_n_users (VigShared *shared)
{
  pthread_mutex_lock (&lock);
  guint n = shared->entry->users->len;
  pthread_mutex_unlock (&lock);
  return n;
}

guint
vig_shared_get_n_parallel (VigShared *shared)
{
  return shared->entry->lanes->len;
}

gint64
vig_shared_get_batch_delay (VigShared *shared)
{
  return vig_batcher_get_delay (shared->entry->batcher);
}

VigStream *
vig_stream_new (VigShared *shared)
{
  return vig_batcher_add_stream (shared->entry->batcher);
}

VigState *
vig_shared_state_new (VigShared *shared, guint room, GError **error)
{
  VigState *state = vig_engine_add_state (shared->entry->lanes->pdata[shared->lane], room, error);

  if (state) {
    state->batcher = shared->entry->batcher;
    state->lane = shared->lane;
  }
  return state;
}

/* ---- warming up ---- */

static gboolean
is_warm (Entry *e, guint size, guint window, gint64 *us)
{
  gboolean found = FALSE;

  pthread_mutex_lock (&lock);
  for (guint i = 0; i < e->n_warm; i++)
    if (e->warm[i].size == size && e->warm[i].window == window) {
      *us = e->warm[i].us;
      found = e->warm[i].batch >= e->max_batch;
    }
  pthread_mutex_unlock (&lock);
  return found;
}

static void
remember_warm (Entry *e, guint size, guint window, guint batch, gint64 us)
{
  guint i = 0;

  pthread_mutex_lock (&lock);
  while (i < e->n_warm && (e->warm[i].size != size || e->warm[i].window != window))
    i++;
  if (i < N_WARM) {
    e->warm[i].size = size;
    e->warm[i].window = window;
    e->warm[i].batch = batch;
    e->warm[i].us = us;
    e->n_warm = MAX (e->n_warm, i + 1);
  }
  pthread_mutex_unlock (&lock);
}

/* For no result. @state is NULL but for a window, which it remembers the last frames for. */
static gboolean
classify_once (VigStream *stream, const VigFrame *frame, guint size, VigState *state, guint window, gint64 *us, GError **error)
{
  VigRequest request = { .size = size, .frame = *frame, .state = state, .window = window };

  if (!vig_stream_submit (stream, &request, error))
    return FALSE;
  vig_stream_hurry (stream);
  vig_stream_wait (stream, &request);
  *us = request.preprocess_us + request.inference_us;
  if (request.error)
    g_propagate_error (error, request.error);
  return !request.error;
}

static int
compare_times (const void *a, const void *b)
{
  gint64 x = *(const gint64 *) a, y = *(const gint64 *) b;

  return (x > y) - (x < y);
}

/* A grey picture such as cameras give, again and again. The first makes what is kept and is not timed. */
static gboolean
time_frames (VigShared *shared, guint size, guint window, gint64 *us, GError **error)
{
  enum { W = 1280, H = 720 };
  g_autoptr (VigStream) stream = vig_stream_new (shared);
  g_autoptr (VigState) state = NULL;
  g_autofree guint8 *grey = g_malloc (W * H * 3 / 2);
  const VigFrame frame = { .format = VIG_FORMAT_NV12, .width = W, .height = H, .data = { grey, grey + W * H },
    .stride = { W, W } };
  gint64 times[WARM_RUNS], end;
  guint n = 0;

  memset (grey, 128, W * H * 3 / 2);
  if (window && !(state = vig_shared_state_new (shared, window, error)))
    return FALSE;
  for (guint i = 1; i < window; i++)
    if (!classify_once (stream, &frame, size, state, 0, us, error))
      return FALSE;
  if (!classify_once (stream, &frame, size, state, window, us, error))
    return FALSE;
  end = g_get_monotonic_time () + WARM_TIME;
  do {
    if (!classify_once (stream, &frame, size, state, window, &times[n], error))
      return FALSE;
    n++;
  } while (n < WARM_RUNS && g_get_monotonic_time () < end);
  qsort (times, n, sizeof *times, compare_times);
  *us = times[(n * 99 + 99) / 100 - 1];
  return TRUE;
}

/* A lane's part of it, on its thread. */
typedef struct {
  VigEngine *engine;
  guint size, window;
  GError *error;
} Warming;

static void
warm_lane (gpointer data)
{
  Warming *w = data;
  g_autofree guint8 *grey = g_malloc ((gsize) 3 * w->size * w->size);
  const VigFrame frame = { .format = VIG_FORMAT_RGB, .width = w->size, .height = w->size, .data = { grey },
    .stride = { 3 * (int) w->size } };
  const VigBatch batch = { .frames = &frame, .n = 1, .size = w->size };
  g_autoptr (VigState) state = w->window ? vig_engine_add_state (w->engine, w->window, &w->error) : NULL;
  VigOutput output = { 0 };

  memset (grey, 128, (gsize) 3 * w->size * w->size);
  if (state)
    vig_engine_prepare_state (w->engine, state, w->window, w->size, &w->error);
  else if (!w->error)
    vig_engine_classify_batch (w->engine, &batch, &output, NULL, NULL, &w->error);
}

/* Each makes what it keeps for a size; what took part in the timing has it already. */
static gboolean
warm_lanes (Entry *e, guint size, guint window, GError **error)
{
  for (guint i = 0; e->lanes->len > 1 && i < e->lanes->len; i++) {
    Warming w = { .engine = e->lanes->pdata[i], .size = size, .window = window };
    vig_batcher_call (e->batcher, i, warm_lane, &w);
    if (w.error) {
      g_propagate_error (error, w.error);
      return FALSE;
    }
  }
  return TRUE;
}

gboolean
vig_shared_warm_up (VigShared *shared, guint size, guint window, gint64 *us, GError **error)
{
  Entry *e = shared->entry;

  size = size ? size : vig_model_get_input_size (e->model);
  if (is_warm (e, size, window, us))
    return TRUE;
  pthread_mutex_lock (&lock);
  guint batch = e->max_batch;
  pthread_mutex_unlock (&lock);
  if (!time_frames (shared, size, window, us, error) || !warm_lanes (e, size, window, error))
    return FALSE;
  remember_warm (e, size, window, batch, *us);
  return TRUE;
}
