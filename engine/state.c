/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "state.h"

#include <math.h>
#include <string.h>

#include "plan.h"
#include "safetensors.h"

#define LARGEST 1e12f /* of a state's numbers: the squares of larger ones may be more than a float can be */

/* ---- those of an engine ---- */

void
vig_states_init (VigStates *states, VigEngine *engine, const VigModel *model)
{
  *states = (VigStates) { .engine = engine, .model = model, .there = g_ptr_array_new (), .gone = g_ptr_array_new () };
  pthread_mutex_init (&states->lock, NULL);
}

void
vig_states_clear (VigStates *states)
{
  vig_states_collect (states);
  g_ptr_array_unref (states->there);
  g_ptr_array_unref (states->gone);
  pthread_mutex_destroy (&states->lock);
}

VigState *
vig_states_add (VigStates *states, guint room)
{
  VigState *s = g_new (VigState, 1);

  pthread_mutex_lock (&states->lock);
  *s = (VigState) { .engine = states->engine, .states = states, .refs = 1, .model = states->model,
    .kernels = states->kernels, .precision = states->precision, .ring.room = room };
  g_ptr_array_add (states->there, s);
  pthread_mutex_unlock (&states->lock);
  return s;
}

static void
destroy (VigState *s)
{
  vig_state_drop (s);
  vig_ring_clear (&s->ring);
  g_free (s);
}

void
vig_states_collect (VigStates *states)
{
  pthread_mutex_lock (&states->lock);
  for (guint i = 0; i < states->gone->len; i++)
    destroy (states->gone->pdata[i]);
  g_ptr_array_set_size (states->gone, 0);
  pthread_mutex_unlock (&states->lock);
}

void
vig_states_drop (VigStates *states)
{
  vig_states_collect (states);
  pthread_mutex_lock (&states->lock);
  for (guint i = 0; i < states->there->len; i++)
    vig_state_drop (states->there->pdata[i]);
  pthread_mutex_unlock (&states->lock);
}

void
vig_states_move (VigStates *states, VigKernels *kernels, VigPrecision precision)
{
  pthread_mutex_lock (&states->lock);
  states->kernels = kernels;
  states->precision = precision;
  for (guint i = 0; i < states->there->len; i++) {
    VigState *s = states->there->pdata[i];
    s->kernels = kernels;
    s->precision = precision;
  }
  pthread_mutex_unlock (&states->lock);
}

VigState *
vig_state_ref (VigState *s)
{
  g_atomic_int_inc (&s->refs);
  return s;
}

void
vig_state_free (VigState *s)
{
  if (!s || !g_atomic_int_dec_and_test (&s->refs))
    return;
  VigStates *states = s->states;
  pthread_mutex_lock (&states->lock);
  g_ptr_array_remove_fast (states->there, s);
  g_ptr_array_add (states->gone, s);
  pthread_mutex_unlock (&states->lock);
}

/* ---- what is remembered ---- */

gboolean
vig_state_prepare (VigState *s, guint h, guint w, GError **error)
{
  if (s->memory && s->h == h && s->w == w)
    return TRUE;
  vig_state_drop (s);
  s->numbers = vig_plan_state_numbers (&s->model->config, h, w);
  s->memory = s->kernels->alloc (s->kernels->ctx, s->numbers * sizeof (float));
  if (!s->memory) {
    const char *why = s->kernels->finish (s->kernels->ctx);
    g_set_error (error, VIG_ERROR, VIG_ERROR_NO_MEMORY, "state: no memory for the %" G_GSIZE_FORMAT " bytes of a stream%s%s",
        s->numbers * sizeof (float), why ? ": " : "", why ? why : "");
    return FALSE;
  }
  s->h = h;
  s->w = w;
  return TRUE;
}

void
vig_state_drop (VigState *s)
{
  if (s->memory)
    s->kernels->free (s->kernels->ctx, s->memory);
  s->memory = NULL;
  s->n_seen = 0;
}

void
vig_state_forget (VigState *s)
{
  s->n_seen = 0;
  s->ring.n = 0;
}

float
vig_state_advance (VigState *s, gint64 time)
{
  gboolean follows = s->n_seen > 0 && time >= s->time;
  double elapsed = follows ? (double) ((guint64) time - (guint64) s->time) * 1e-9 / s->model->config.temporal.step : -1;

  if (!follows)
    s->first = time;
  s->n_seen = follows ? s->n_seen + 1 : 1;
  s->time = time;
  return (float) elapsed;
}

/* Has @func called by the engine's thread, when it computes nothing. */
static void
call (VigState *s, void (*func) (gpointer data), gpointer data)
{
  if (s->batcher)
    vig_batcher_call (s->batcher, s->lane, func, data);
  else
    func (data);
}

static void
reset (gpointer state)
{
  vig_state_forget (state);
}

void
vig_state_reset (VigState *s)
{
  call (s, reset, s);
}

gsize
vig_state_get_bytes (const VigModel *model, guint size)
{
  size = size ? size : vig_model_get_input_size (model);
  return vig_config_has_memory (&model->config) ? vig_plan_state_numbers (&model->config, size, size) * sizeof (float) : 0;
}

/* ---- saved and restored ---- */

static const char *const keys[] = { "vig_state_model", "vig_state_precision", "vig_state_height", "vig_state_width",
  "vig_state_time" };
enum { MODEL, PRECISION, HEIGHT, WIDTH, TIME, N_KEYS };

static GBytes *
save (VigState *s, GError **error)
{
  const gboolean seen = s->n_seen > 0;
  gsize n = seen ? s->numbers : 0;
  g_autofree float *numbers = g_try_new (float, n + 1);
  const VigKernels *k = s->kernels;
  g_autofree char *height = g_strdup_printf ("%u", seen ? s->h : 0);
  g_autofree char *width = g_strdup_printf ("%u", seen ? s->w : 0);
  g_autofree char *time = g_strdup_printf ("%" G_GINT64_FORMAT, seen ? s->time : 0);

  if (!numbers) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_NO_MEMORY, "state: no memory for %" G_GSIZE_FORMAT " numbers", n);
    return NULL;
  }
  if (n)
    k->download (k->ctx, numbers, s->memory, n * sizeof (float));
  const char *failure = k->finish (k->ctx);
  if (failure) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_FAILED, "state: it could not be read from the device: %s", failure);
    return NULL;
  }
  const VigTensor tensor = { .name = "state", .dtype = VIG_DTYPE_F32, .rank = 1, .shape = { n }, .count = n,
    .data = numbers };
  const char *const metadata[] = { keys[MODEL], s->model->hash, keys[PRECISION], vig_precision_to_string (s->precision),
    keys[HEIGHT], height, keys[WIDTH], width, keys[TIME], time, NULL };
  return g_byte_array_free_to_bytes (vig_safetensors_format (&tensor, 1, metadata));
}

static gboolean
bad_state (GError **error, const char *key, const char *expected, const char *found)
{
  g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "state: %s: expected %s, found %s", key, expected, found ? found : "none");
  return FALSE;
}

/* Metadata of one whole number. */
static gboolean
read_number (const VigSafetensors *file, int key, gint64 min, gint64 max, gint64 *number, GError **error)
{
  const char *text = g_hash_table_lookup (file->metadata, keys[key]);
  g_autofree char *expected = g_strdup_printf ("a whole number from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT, min, max);

  return (text && g_ascii_string_to_signed (text, 10, min, max, number, NULL)) || bad_state (error, keys[key], expected, text);
}

static gboolean
check_text (const VigSafetensors *file, int key, const char *expected, GError **error)
{
  const char *found = g_hash_table_lookup (file->metadata, keys[key]);

  return g_strcmp0 (found, expected) == 0 || bad_state (error, keys[key], expected, found);
}

/* The one tensor, of @n numbers that are not too large. */
static float *
read_numbers (const VigSafetensors *file, gsize n, GError **error)
{
  const VigTensor *t = vig_safetensors_get (file, "state");
  g_autofree char *expected = g_strdup_printf ("[%" G_GSIZE_FORMAT "]", n);
  g_autofree char *found = t ? vig_shape_to_string (t->shape, t->rank) : NULL;
  g_autofree float *numbers = NULL;

  if (!t || t->dtype != VIG_DTYPE_F32 || t->rank != 1 || t->count != n || file->tensors->len != 1) {
    bad_state (error, "tensors", expected, t && file->tensors->len == 1 ? found : "others");
    return NULL;
  }
  if (!(numbers = g_try_new (float, n + 1))) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_NO_MEMORY, "state: no memory for %" G_GSIZE_FORMAT " numbers", n);
    return NULL;
  }
  vig_tensor_to_float (t, numbers);
  for (gsize i = 0; i < n; i++)
    if (!(fabsf (numbers[i]) <= LARGEST)) {
      bad_state (error, "tensor state", "values from -1e12 to 1e12", "others");
      return NULL;
    }
  return g_steal_pointer (&numbers);
}

/* Of the inputs that a state is for; 0x0: of a stream that nothing has been seen of. */
static gboolean
check_size (const VigState *s, guint h, guint w, GError **error)
{
  const guint min = vig_config_min_size (&s->model->config);

  if (h == 0 && w == 0)
    return TRUE;
  if (h < min || w < min)
    g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "state: input: expected at least %u pixels in width and height, found "
        "%ux%u", min, w, h);
  else if (s->memory && (h != s->h || w != s->w))
    g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "state: input: expected %ux%u, as the stream has, found %ux%u", s->w, s->h,
        w, h);
  else
    return TRUE;
  return FALSE;
}

static gboolean
restore (VigState *s, const VigSafetensors *file, GError **error)
{
  VigState new = { .model = s->model, .kernels = s->kernels };
  g_autofree float *numbers = NULL;
  gint64 h, w, time;

  if (!check_text (file, MODEL, s->model->hash, error)
      || !check_text (file, PRECISION, vig_precision_to_string (s->precision), error)
      || !read_number (file, HEIGHT, 0, VIG_MAX_SIZE, &h, error) || !read_number (file, WIDTH, 0, VIG_MAX_SIZE, &w, error)
      || !check_size (s, (guint) h, (guint) w, error) || !read_number (file, TIME, G_MININT64, G_MAXINT64, &time, error)
      || !(numbers = read_numbers (file, h && w ? vig_plan_state_numbers (&s->model->config, (guint) h, (guint) w) : 0, error)))
    return FALSE;
  if (h && w) {
    const VigKernels *k = s->kernels;
    if (!vig_state_prepare (&new, (guint) h, (guint) w, error))
      return FALSE;
    k->upload (k->ctx, new.memory, numbers, new.numbers * sizeof (float));
    const char *failure = k->finish (k->ctx);
    if (failure) {
      k->free (k->ctx, new.memory);
      g_set_error (error, VIG_ERROR, VIG_ERROR_FAILED, "state: it could not be brought to the device: %s", failure);
      return FALSE;
    }
  }
  vig_state_drop (s);
  s->memory = new.memory;
  s->numbers = new.numbers;
  s->h = new.h;
  s->w = new.w;
  s->n_seen = new.memory ? 1 : 0;
  s->first = s->time = time;
  return TRUE;
}

/* ---- from the engine's thread ---- */

typedef struct {
  VigState *state;
  GBytes *saved;
  const VigSafetensors *file;
  gboolean restored;
  GError *error;
} Job;

static void
save_there (gpointer data)
{
  Job *job = data;
  job->saved = save (job->state, &job->error);
}

static void
restore_there (gpointer data)
{
  Job *job = data;
  job->restored = restore (job->state, job->file, &job->error);
}

static gboolean
check_kind (const VigState *s, GError **error)
{
  if (s->ring.room > 0)
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "state: expected that of a model with a memory, found the last frames "
        "for %s", s->model->name);
  return s->ring.room == 0;
}

GBytes *
vig_state_save (VigState *s, GError **error)
{
  Job job = { .state = s };

  if (!check_kind (s, error))
    return NULL;
  call (s, save_there, &job);
  if (job.error)
    g_propagate_error (error, job.error);
  return job.saved;
}

gboolean
vig_state_restore (VigState *s, const guint8 *data, gsize size, GError **error)
{
  g_autoptr (VigSafetensors) file = NULL;
  Job job = { .state = s };

  if (!check_kind (s, error) || !(file = vig_safetensors_parse (data, size, "state", error)))
    return FALSE;
  job.file = file;
  call (s, restore_there, &job);
  if (job.error)
    g_propagate_error (error, job.error);
  return job.restored;
}
