/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vig/window.h>

#include <math.h>
#include <string.h>

#include <ref/ref.h>

#include "backend.h"
#include "engine-private.h"
#include "forward.h"
#include "frame-private.h"
#include "state.h"

#define N_PLANS 4         /* input sizes kept ready */
#define N_PREPROCESSES 16 /* kinds of frames kept ready */
#define MAX_WINDOW 4096   /* frames: numbers of tokens stay well within 31 bits, as memory gives out long before */
#define MAX_RUN 16        /* frames handed to one preprocess call */

typedef struct {
  VigPreprocessDesc desc;
  VigPreprocess *preprocess; /* NULL: free */
  guint64 used;
} Preprocess;

struct VigEngine {
  VigModel *model;
  VigKernels *kernels;
  const char *device;
  VigPrecision precision;
  VigWeights *weights;
  gboolean borrowed; /* the weights are another engine's */
  VigPlan *plans[N_PLANS];
  Preprocess preprocesses[N_PREPROCESSES];
  guint64 clock; /* counts uses, for the two caches */
  guint expected; /* items that plans are made for; atomic */
  guint maps;     /* of an item: the most that there have been */
  VigTap tap;
  float *frame_results; /* of windows */
  gsize n_frame_results;
  VigStates states;
  guint64 batches;
  float *scratch;     /* [n_scratch]: inputs on the device, on their way to the host */
  gsize n_scratch;
  GPtrArray *items;   /* of const float: inputs of windows, on the host */
  GArray *places;     /* of guint: those of windows' results */
  /* A GPU that auto took and that has not given out a result yet: the CPU may step in. */
  gboolean on_trial;
  VigPrecision asked;
  guint n_threads;
  /* Where frames may lie but for the host's memory; NULL: nowhere. Atomic: cleared when the CPU steps in. */
  void *cuda_context;
  int cuda_device;
};

/* ---- life ---- */

static void
take_kernels (VigEngine *e, VigKernels *kernels)
{
  vig_states_move (&e->states, kernels, e->precision);
  e->kernels = kernels;
  e->cuda_context = kernels->context;
  e->cuda_device = kernels->device;
}

/* Everything that belongs to the kernels, and they themselves. */
static void
drop_kernels (VigEngine *e)
{
  vig_states_drop (&e->states);
  if (e->scratch)
    e->kernels->free (e->kernels->ctx, e->scratch);
  e->scratch = NULL;
  e->n_scratch = 0;
  for (guint i = 0; i < N_PREPROCESSES; i++) {
    if (e->preprocesses[i].preprocess)
      e->kernels->preprocess_destroy (e->kernels->ctx, e->preprocesses[i].preprocess);
    e->preprocesses[i] = (Preprocess) { .used = 0 };
  }
  for (guint i = 0; i < N_PLANS; i++)
    g_clear_pointer (&e->plans[i], vig_plan_free);
  if (!e->borrowed)
    vig_weights_free (e->weights);
  e->weights = NULL;
  if (e->kernels)
    e->kernels->close (e->kernels);
}

/* Without kernels. */
static VigEngine *
new_engine (VigModel *model)
{
  VigEngine *e = g_new0 (VigEngine, 1);

  e->model = vig_model_ref (model);
  vig_states_init (&e->states, e, model);
  e->items = g_ptr_array_new ();
  e->places = g_array_new (FALSE, FALSE, sizeof (guint));
  return e;
}

VigEngine *
vig_engine_new_with_kernels (VigModel *model, VigKernels *kernels, const char *device, VigPrecision precision,
    GError **error)
{
  VigEngine *e = new_engine (model);

  e->device = device;
  e->precision = precision;
  take_kernels (e, kernels);
  e->weights = vig_weights_new (model, kernels, vig_backend_type (precision), error);
  if (!e->weights)
    g_clear_pointer (&e, vig_engine_free);
  return e;
}

/* Whether the CPU took over from a GPU that failed with @failure, which is then freed. */
static gboolean
took_over (VigEngine *e, GError **failure)
{
  VigPrecision precision = e->asked;
  VigWeights *weights = NULL;
  const char *device;
  VigKernels *kernels;

  if (!e->on_trial || !(g_error_matches (*failure, VIG_ERROR, VIG_ERROR_FAILED)
          || g_error_matches (*failure, VIG_ERROR, VIG_ERROR_NO_MEMORY)))
    return FALSE;
  e->on_trial = FALSE;
  kernels = vig_backend_open ("cpu", e->n_threads, &device, &precision, NULL);
  if (kernels && !(weights = vig_weights_new (e->model, kernels, vig_backend_type (precision), NULL)))
    kernels->close (kernels);
  if (!weights)
    return FALSE;
  g_message ("device auto: cpu takes over: %s", (*failure)->message);
  g_clear_error (failure);
  g_atomic_pointer_set (&e->cuda_context, NULL);
  drop_kernels (e);
  e->kernels = kernels;
  e->device = device;
  e->precision = precision;
  e->weights = weights;
  vig_states_move (&e->states, kernels, precision);
  return TRUE;
}

VigEngine *
vig_engine_new (VigModel *model, const VigEngineOptions *options, GError **error)
{
  static const VigEngineOptions defaults;
  const VigEngineOptions *o = options ? options : &defaults;
  VigKernels *kernels;
  VigEngine *e;
  GError *failure = NULL;

  if (!model) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "model: expected one, found NULL");
    return NULL;
  }
  e = new_engine (model);
  e->precision = e->asked = o->precision;
  e->n_threads = o->n_threads;
  kernels = vig_backend_open (o->device, o->n_threads, &e->device, &e->precision, &failure);
  if (kernels) {
    take_kernels (e, kernels);
    e->on_trial = vig_backend_is_auto (o->device) && g_str_equal (e->device, "cuda");
    e->weights = vig_weights_new (model, e->kernels, vig_backend_type (e->precision), &failure);
    if (e->weights || took_over (e, &failure))
      return e;
  }
  g_propagate_error (error, failure);
  vig_engine_free (e);
  return NULL;
}

VigEngine *
vig_engine_new_beside (VigEngine *other, GError **error)
{
  VigEngine *e = new_engine (other->model);
  VigKernels *kernels;

  e->precision = e->asked = other->precision;
  e->n_threads = other->n_threads;
  kernels = vig_backend_open (other->device, e->n_threads, &e->device, &e->precision, error);
  if (!kernels) {
    vig_engine_free (e);
    return NULL;
  }
  take_kernels (e, kernels);
  e->weights = other->weights;
  e->borrowed = TRUE;
  return e;
}

void
vig_engine_set_spare_threads (VigEngine *e, guint n_threads)
{
  e->n_threads = n_threads;
}

void
vig_engine_free (VigEngine *e)
{
  if (!e)
    return;
  drop_kernels (e);
  vig_states_clear (&e->states);
  g_ptr_array_unref (e->items);
  g_array_unref (e->places);
  g_free (e->frame_results);
  vig_model_unref (e->model);
  g_free (e);
}

void
vig_engine_set_tap (VigEngine *e, VigTapFunc func, gpointer user_data)
{
  e->tap = (VigTap) { func, user_data };
}

VigModel *
vig_engine_get_model (VigEngine *engine)
{
  return engine->model;
}

const char *
vig_engine_get_device (const VigEngine *engine)
{
  return engine->device;
}

const char *
vig_engine_get_kernels (const VigEngine *engine)
{
  return engine->kernels->name;
}

gboolean
vig_engine_get_cuda (VigEngine *engine, int *device, void **context)
{
  void *found = g_atomic_pointer_get (&engine->cuda_context);

  if (device)
    *device = found ? engine->cuda_device : -1;
  if (context)
    *context = found;
  return found != NULL;
}

VigPrecision
vig_engine_get_precision (const VigEngine *engine)
{
  return engine->precision;
}

gsize
vig_engine_get_weight_bytes (const VigEngine *engine)
{
  return engine->weights->bytes;
}

gsize
vig_engine_get_workspace_bytes (const VigEngine *engine)
{
  const VigKernels *k = engine->kernels;
  gsize bytes = 0;
  for (guint i = 0; i < N_PLANS; i++) {
    const VigPlan *p = engine->plans[i];
    bytes += p ? p->workspace_bytes : 0;
    bytes += p && p->pipe ? k->pipe_bytes (k->ctx, p->pipe) : 0;
  }
  return bytes;
}

/* ---- what is kept from frame to frame ---- */

void
vig_engine_expect (VigEngine *e, guint n)
{
  g_atomic_int_set (&e->expected, n);
}

/* Inputs and how they come: what a plan is looked for with. */
typedef struct {
  guint n, h, w, window; /* n: items */
  guint chunk, expected; /* as they are for these */
  guint maps;            /* of an item */
} Need;

/* Any number of windows goes through a plan in pieces; of single frames, all inputs are to be made first. */
static gboolean
suits (const VigEngine *e, const VigPlan *p, const Need *need)
{
  if (!p || p->h != need->h || p->w != need->w || p->n_maps < need->maps || !vig_plan_takes (p, need->window))
    return FALSE;
  if (need->window > 1)
    return p->longest > need->window || (p->asked >= need->n && p->expected >= need->expected);
  return p->most >= MIN (need->n, need->chunk) && p->expected >= need->expected
      && p->most_room >= vig_plan_room (e->model, e->kernels, need->n, need->h, need->w, 1);
}

/* Where a new plan goes: in place of one that it makes needless, or of the one that was not used for longest. */
static VigPlan **
find_slot (VigEngine *e, const Need *need)
{
  VigPlan **slot = &e->plans[0];

  for (guint i = 0; i < N_PLANS; i++) {
    VigPlan *p = e->plans[i];
    if (p && p->h == need->h && p->w == need->w
        && (p->longest == need->window || (!p->pipe && p->longest < need->window)))
      return &e->plans[i];
    if (*slot && (!p || p->used < (*slot)->used))
      slot = &e->plans[i];
  }
  return slot;
}

/* For as many items as are expected, as there are, or as are one window: for as many as there is memory for. */
static VigPlan *
new_plan (VigEngine *e, const Need *need, GError **error)
{
  const guint windows = need->window > 1 ? need->chunk : G_MAXUINT; /* more than a chunk is of no use to them */
  const guint64 expected = (guint64) need->expected * need->window;
  const guint sizes[] = { (guint) MIN (MAX (need->n, expected), windows), need->n, need->window > 1 ? need->window : need->n };
  VigPlan *p = NULL;

  if (e->maps > 0 && !vig_weights_add_head_rows (e->weights, e->model, error))
    return NULL;
  for (guint i = 0; i < G_N_ELEMENTS (sizes) && !p; i++)
    if (i == 0 || sizes[i] < sizes[i - 1]) {
      g_clear_error (error);
      p = vig_plan_new (e->model, e->kernels, e->weights->type, sizes[i], need->h, need->w, need->window, e->maps,
          e->tap.func != NULL, error);
    }
  if (p) {
    p->expected = need->expected;
    p->asked = MAX (need->n, p->most);
    g_clear_error (error);
  }
  return p;
}

/* The plan of an input size and window, which takes @n items, and gives so many @maps of each. */
static VigPlan *
get_plan (VigEngine *e, guint n, guint h, guint w, guint window, guint maps, GError **error)
{
  const guint chunk = vig_plan_chunk (e->model, e->kernels, h, w, window);
  const Need need = { window > 1 ? MIN (n, chunk) : n, h, w, window, chunk, (guint) g_atomic_int_get (&e->expected), maps };
  VigPlan **slot = NULL;

  e->maps = MAX (e->maps, maps);
  for (guint i = 0; i < N_PLANS && !slot; i++)
    if (suits (e, e->plans[i], &need))
      slot = &e->plans[i];
  if (!slot) {
    slot = find_slot (e, &need);
    g_clear_pointer (slot, vig_plan_free);
    *slot = new_plan (e, &need, error);
  }
  if (!*slot || !vig_plan_set_window (*slot, e->model, window, error))
    return NULL;
  (*slot)->used = ++e->clock;
  return *slot;
}

static VigPreprocess *
get_preprocess (VigEngine *e, const VigPreprocessDesc *desc, GError **error)
{
  Preprocess *slot = &e->preprocesses[0];

  for (guint i = 0; i < N_PREPROCESSES; i++) {
    Preprocess *p = &e->preprocesses[i];
    if (p->preprocess && memcmp (&p->desc, desc, sizeof *desc) == 0) {
      slot = p;
      goto found;
    }
    if (p->used < slot->used)
      slot = p;
  }
  if (slot->preprocess)
    e->kernels->preprocess_destroy (e->kernels->ctx, slot->preprocess);
  memcpy (&slot->desc, desc, sizeof *desc);
  slot->preprocess = e->kernels->preprocess_create (e->kernels->ctx, desc);
  if (!slot->preprocess) {
    const char *why = e->kernels->finish (e->kernels->ctx);
    slot->used = 0;
    g_set_error (error, VIG_ERROR, VIG_ERROR_NO_MEMORY, "frame %dx%d: no memory to prepare its preprocessing%s%s",
        desc->width, desc->height, why ? ": " : "", why ? why : "");
    return NULL;
  }
found:
  slot->used = ++e->clock;
  return slot->preprocess;
}

/* ---- classifying ---- */

static gboolean
check_size (const VigEngine *e, guint h, guint w, GError **error)
{
  guint min = vig_model_get_min_size (e->model);
  if (h >= min && w >= min && h <= VIG_MAX_SIZE && w <= VIG_MAX_SIZE)
    return TRUE;
  g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "input: expected %u to %d pixels in width and height, found %ux%u",
      min, VIG_MAX_SIZE, w, h);
  return FALSE;
}

gboolean
vig_engine_check_maps (const VigEngine *e, const VigMaps *maps, GError **error)
{
  const int n_classes = (int) e->model->config.n_classes;

  if (maps->n > VIG_MAX_MAPS || (maps->n > 0 && !(maps->classes && maps->chosen && maps->shares))) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "maps: expected at most %d, with classes and memory for them, found %u%s",
        VIG_MAX_MAPS, maps->n, maps->n > VIG_MAX_MAPS ? "" : " without");
    return FALSE;
  }
  for (guint i = 0; i < maps->n; i++)
    if (maps->classes[i] < VIG_MAP_NONE || maps->classes[i] >= n_classes) {
      g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "map %u: expected a class from 0 to %d, VIG_MAP_TOP or VIG_MAP_NONE, "
          "found %d", i, n_classes - 1, maps->classes[i]);
      return FALSE;
    }
  return TRUE;
}

static gboolean
check_given (const VigEngine *e, const void *data, const char *what, guint n, const VigOutput *output, GError **error)
{
  if (data && n > 0 && output) {
    for (guint i = 0; output->maps && i < n; i++)
      if (!vig_engine_check_maps (e, &output->maps[i], error))
        return FALSE;
    return TRUE;
  }
  g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "%s: expected at least one and somewhere to put its results, "
      "found %s", what, !data ? "NULL" : n == 0 ? "none" : "no output");
  return FALSE;
}

/* Whether @failure, of the kernels, is none. */
static gboolean
check_failure (VigEngine *e, const char *failure, GError **error)
{
  if (failure)
    g_set_error (error, VIG_ERROR, VIG_ERROR_FAILED, "device %s: the computation failed: %s", e->device, failure);
  return !failure;
}

/* Whether the kernels can read where the planes are. Any thread. */
static gboolean
check_place (VigEngine *e, const VigFrame *frame, GError **error)
{
  void *context = g_atomic_pointer_get (&e->cuda_context);

  if (frame->memory != VIG_MEMORY_CUDA || (context && frame->device == e->cuda_device))
    return TRUE;
  if (!context)
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "memory is that of CUDA device %d: it must be the host's where the "
        "CPU computes", frame->device);
  else
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "memory is that of CUDA device %d: it must be the host's or that of "
        "CUDA device %d, which computes", frame->device, e->cuda_device);
  return FALSE;
}

static gboolean
describe (VigEngine *e, const VigFrame *frame, guint size, VigPreprocessDesc *desc, VigPlanes *planes, GError **error)
{
  return vig_frame_describe (frame, &e->model->preprocess, size, desc, planes, error) && check_place (e, frame, error);
}

/* The @n frames into [n, 3, size, size]; neighbours of one kind in one call. */
static gboolean
preprocess (VigEngine *e, const VigFrame *frames, guint first, guint n, guint size, float *out, GError **error)
{
  gsize item = (gsize) 3 * size * size;

  for (guint i = 0, run; i < n; i += run) {
    VigPreprocessDesc desc, next;
    VigPlanes planes[MAX_RUN];
    VigPreprocess *p;
    for (run = 0; i + run < n && run < MAX_RUN; run++) {
      if (!describe (e, &frames[first + i + run], size, run ? &next : &desc, &planes[run], error)) {
        g_prefix_error (error, "frame %u: ", first + i + run);
        return FALSE;
      }
      if (run && memcmp (&next, &desc, sizeof desc) != 0)
        break;
    }
    if (!(p = get_preprocess (e, &desc, error)))
      return FALSE;
    e->kernels->preprocess_run (e->kernels->ctx, p, planes, (int) run, out + i * item);
  }
  return TRUE;
}

/* Every frame's description, before any work is done. */
static gboolean
check_frames (VigEngine *e, const VigFrame *frames, guint n, guint size, GError **error)
{
  for (guint i = 0; i < n; i++) {
    VigPreprocessDesc desc;
    VigPlanes planes;
    if (!describe (e, &frames[i], size, &desc, &planes, error)) {
      g_prefix_error (error, "frame %u: ", i);
      return FALSE;
    }
  }
  return TRUE;
}

gboolean
vig_engine_check_state (VigEngine *e, const VigState *state, guint window, GError **error)
{
  const guint room = state ? state->ring.room : 0;

  if (state && state->engine != e)
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "state: expected one of this engine, found that of another");
  else if (window > room)
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "window: expected at most %u, as many frames as the stream's state has "
        "room for, found %u", room, window);
  else
    return TRUE;
  return FALSE;
}

gboolean
vig_engine_check_frame (VigEngine *e, const VigFrame *frame, guint size, GError **error)
{
  VigPreprocessDesc desc;
  VigPlanes planes;

  return check_size (e, size, size, error) && describe (e, frame, size, &desc, &planes, error);
}

/* ---- streams ---- */

VigState *
vig_engine_add_state (VigEngine *e, guint room, GError **error)
{
  const gboolean has_memory = vig_config_has_memory (&e->model->config);
  const gboolean has_windows = vig_config_has_windows (&e->model->config);

  if (!has_memory && !(has_windows && room > 0)) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "state: expected a model with a memory, found %s, which has none%s",
        e->model->name, has_windows ? " but that of the last frames: how many was not said" : "");
    return NULL;
  }
  if (!has_memory && room > MAX_WINDOW) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "state: expected 1 to %d frames, found %u", MAX_WINDOW, room);
    return NULL;
  }
  return vig_states_add (&e->states, has_memory ? 0 : room);
}

VigState *
vig_state_new (VigEngine *engine, GError **error)
{
  return vig_engine_add_state (engine, 0, error);
}

static gboolean
prepare_state (VigEngine *e, VigState *state, guint window, guint size, GError **error)
{
  if (state->ring.room == 0)
    return vig_state_prepare (state, size, size, error);
  return vig_ring_prepare (&state->ring, size, size, error)
      && (window == 0 || get_plan (e, window, size, size, window, 0, error));
}

gboolean
vig_engine_prepare_state (VigEngine *e, VigState *state, guint window, guint size, GError **error)
{
  GError *failure = NULL;

  vig_states_collect (&e->states);
  if (prepare_state (e, state, window, size, &failure)
      || (took_over (e, &failure) && prepare_state (e, state, window, size, &failure)))
    return TRUE;
  vig_state_forget (state);
  g_propagate_error (error, failure);
  return FALSE;
}

/* Whether frames may follow at these moments; before anything changes. @backwards: going back in time is allowed. */
static gboolean
check_moments (VigEngine *e, const VigMoment *moments, guint n, gboolean backwards, GError **error)
{
  e->batches++;
  for (guint i = 0; i < n; i++) {
    VigState *state = moments[i].state;
    gboolean same = i > 0 && state == moments[i - 1].state;
    if (!state || state->engine != e) {
      g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "moment %u: expected a state of this engine, found %s", i,
          state ? "that of another" : "none");
      return FALSE;
    }
    if (!same && state->batch == e->batches) {
      g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "moment %u: expected the frames of a stream side by side, found "
          "another between them", i);
      return FALSE;
    }
    if (!backwards && (same || state->n_seen) && moments[i].time < (same ? moments[i - 1].time : state->time)) {
      g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "moment %u: expected a time from %" G_GINT64_FORMAT " on, that of the "
          "frame before, found %" G_GINT64_FORMAT, i, same ? moments[i - 1].time : state->time, moments[i].time);
      return FALSE;
    }
    state->batch = e->batches;
  }
  return TRUE;
}

static void
reset_states (const VigMoment *moments, guint n)
{
  for (guint i = 0; moments && i < n; i++)
    vig_state_forget (moments[i].state);
}

/* What is classified: @n frames or tensors, as inputs [3, h, w]; none of them: what the plan's inputs hold already. */
typedef struct {
  const VigFrame *frames;
  const float *tensors;
  const float *const *items; /* tensors, each by itself */
  const guint *places;      /* (nullable): in the output, of each window */
  const VigMoment *moments; /* NULL: no item follows another */
  VigSeen *seen;            /* (out) (nullable): with moments */
  guint n, h, w;
  guint window;             /* items that are one sequence; 0: 1 */
  VigReadFunc read; /* (nullable) */
  gpointer data;
} Work;

/* Items of it that are computed together: those from @first on, in an input of the plan from item @at on. */
typedef struct {
  guint slot, at, first, n;
} Chunk;

/* Whether chunks may be in flight. What a tap is to see is computed at once. */
static gboolean
has_pipe (const VigEngine *e, const VigPlan *plan)
{
  return plan->pipe && !e->tap.func;
}

/* Tells the plan what the chunk's items follow. */
static gboolean
fill_states (VigEngine *e, VigPlan *plan, const Work *work, const Chunk *c, GError **error)
{
  VigMemoryBuffers *b = &plan->memory;

  for (guint i = 0; i < c->n; i++) {
    const VigMoment *m = work->moments ? &work->moments[c->first + i] : NULL;
    if (m && !vig_state_prepare (m->state, work->h, work->w, error))
      return FALSE;
    b->host_elapsed[i] = m ? vig_state_advance (m->state, m->time) : -1;
    b->host_states[i] = m ? m->state->memory : b->nobody;
    if (m && work->seen)
      work->seen[c->first + i] = (VigSeen) { m->state->first, m->state->n_seen };
  }
  vig_plan_upload_states (plan, c->slot, c->at, c->n);
  return TRUE;
}

/* What the caller wants of result @i. */
static const VigMaps *
maps_of (const Work *work, const VigOutput *output, guint i)
{
  return output->maps ? &output->maps[work->places ? work->places[i] : i] : NULL;
}

/* The most of any. */
static guint
count_maps (const Work *work, const VigOutput *output)
{
  guint n = 0;

  for (guint i = 0; output->maps && i < work->n / MAX (work->window, 1); i++)
    n = MAX (n, maps_of (work, output, i)->n);
  return n;
}

/* Tells the plan which maps are wanted of the chunk's items, or windows. */
static void
fill_which (VigPlan *plan, const Work *work, const Chunk *c, const VigOutput *output)
{
  const guint n = c->n / plan->window, first = c->first / plan->window;

  for (guint i = 0; i < n; i++) {
    const VigMaps *maps = maps_of (work, output, first + i);
    for (guint m = 0; m < plan->n_maps; m++)
      plan->host_which[i * plan->n_maps + m] = maps && m < maps->n ? (float) maps->classes[m] : VIG_WHICH_NONE;
  }
  vig_plan_upload_which (plan, c->slot, c->at, n);
}

static gboolean
fill (VigEngine *e, VigPlan *plan, const Work *work, const Chunk *c, VigOutput *output, GError **error)
{
  const gint64 begin = g_get_monotonic_time ();
  gsize item = (gsize) 3 * work->h * work->w;
  float *input = plan->inputs[c->slot] + c->at * item;

  if (has_pipe (e, plan))
    e->kernels->pipe_fill (e->kernels->ctx, plan->pipe);
  if (vig_config_has_memory (&e->model->config) && !fill_states (e, plan, work, c, error))
    return FALSE;
  if (plan->n_maps)
    fill_which (plan, work, c, output);
  if (work->tensors)
    e->kernels->upload (e->kernels->ctx, input, work->tensors + c->first * item, c->n * item * sizeof (float));
  for (guint i = 0; work->items && i < c->n; i++)
    e->kernels->upload (e->kernels->ctx, input + i * item, work->items[c->first + i], item * sizeof (float));
  if (!work->frames)
    return TRUE;
  if (!preprocess (e, work->frames, c->first, c->n, work->h, input, error))
    return FALSE;
  output->preprocess_us += g_get_monotonic_time () - begin;
  for (guint i = c->first; work->read && !e->on_trial && i < c->first + c->n; i++) /* the CPU that steps in reads again */
    if (work->frames[i].memory == VIG_MEMORY_HOST) /* and a GPU its own when it comes to it */
      work->read (work->data, i, 1);
  return TRUE;
}

typedef struct {
  VigEngine *engine;
  VigPlan *plan;
  guint n;
} Forward;

static void
forward (void *data)
{
  const Forward *f = data;
  vig_forward (f->engine->model, f->engine->weights, f->plan, f->n, &f->engine->tap);
}

/* Enqueues the forward pass over an input that is filled. */
static void
start (VigEngine *e, VigPlan *plan, const Chunk *c)
{
  VigResults r = vig_plan_use (plan, &e->model->config, c->slot, c->at, c->n);
  Forward f = { e, plan, c->n };
  const char *why;

  if (!has_pipe (e, plan)) {
    forward (&f);
    return;
  }
  why = e->kernels->pipe_run (e->kernels->ctx, plan->pipe, &(VigPipeRun) { .slot = (int) c->slot, .n = (int) c->n,
      .work = forward, .data = &f, .results = plan->results, .size = r.bytes });
  if (why)
    g_debug ("device %s: input %ux%u goes on without recordings: %s", e->device, plan->w, plan->h, why);
}

/* As a table's download, from the host's memory. */
static void
copy_on_host (void *ctx, void *to, const void *from, size_t size)
{
  memcpy (to, from, size);
}

/* The maps of result @i, which is number @nth of the chunk. */
static void
deliver_maps (VigEngine *e, VigPlan *plan, const VigMaps *maps, const VigResults *r, guint nth,
    void (*copy) (void *, void *, const void *, size_t))
{
  const VigGrid grid = plan->grids[e->model->config.n_stages - 1];
  const gsize tokens = (gsize) grid.h * grid.w, first = (gsize) nth * plan->n_maps;

  if (maps->n == 0)
    return;
  copy (e->kernels->ctx, maps->shares, r->maps + first * tokens, maps->n * tokens * sizeof (float));
  copy (e->kernels->ctx, plan->host_which, r->chosen + first, maps->n * sizeof (float));
  for (guint m = 0; m < maps->n; m++)
    maps->chosen[m] = (int) plan->host_which[m];
}

/* The chunk's results from memory that begins at @base to their places. */
static void
deliver (VigEngine *e, VigPlan *plan, const Work *work, const Chunk *c, void *base,
    void (*copy) (void *, void *, const void *, size_t), VigOutput *output)
{
  VigResults r = vig_plan_results (plan, &e->model->config, base, c->n);
  gsize classes = e->model->config.n_classes, features = vig_config_n_features (&e->model->config);
  void *ctx = e->kernels->ctx;

  if (output->logits)
    copy (ctx, output->logits + c->first * classes, r.logits, c->n * classes * sizeof (float));
  if (output->probabilities)
    copy (ctx, output->probabilities + c->first * classes, r.probabilities, c->n * classes * sizeof (float));
  if (output->features)
    copy (ctx, output->features + c->first * features, r.features, c->n * features * sizeof (float));
  for (guint i = 0; output->maps && i < c->n / plan->window; i++)
    deliver_maps (e, plan, maps_of (work, output, c->first / plan->window + i), &r, i, copy);
}

/* Waits for a chunk that was started. */
static gboolean
collect (VigEngine *e, VigPlan *plan, const Work *work, const Chunk *c, VigOutput *output, GError **error)
{
  const VigKernels *k = e->kernels;
  const char *failure;
  void *host;

  if (has_pipe (e, plan)) {
    failure = k->pipe_wait (k->ctx, plan->pipe, (int) c->slot, &host);
    if (!failure)
      deliver (e, plan, work, c, host, copy_on_host, output);
  } else {
    deliver (e, plan, work, c, plan->results, k->download, output);
    failure = k->finish (k->ctx);
  }
  if (!check_failure (e, failure, error))
    return FALSE;
  if (output->logits || output->probabilities || output->features)
    e->on_trial = FALSE;
  return TRUE;
}

/* Whether all of @n are numbers. */
static gboolean
are_finite (const float *x, gsize n)
{
  for (gsize i = 0; i < n; i++)
    if (!isfinite (x[i]))
      return FALSE;
  return TRUE;
}

/* A state that is not of numbers any more would stay so for ever: one whose frame has no answer in numbers (fp16 overflows,
 * say) is reset. */
static void
forget_broken (const VigEngine *e, const Work *work, const Chunk *c, const VigOutput *output)
{
  const gsize classes = e->model->config.n_classes;
  const float *answers = output->logits ? output->logits : output->probabilities;

  for (guint i = c->first; work->moments && answers && i < c->first + c->n; i++)
    if (!are_finite (answers + i * classes, classes))
      vig_state_forget (work->moments[i].state);
}

/* The chunk that begins with an item. */
static Chunk
chunk_at (const VigPlan *plan, const Work *work, guint slots, guint item)
{
  guint n = MIN (plan->batch, work->n - item);

  return (Chunk) { .slot = item / plan->room % slots, .at = item % plan->room, .first = item, .n = n };
}

/* Where the backend has a pipe, as many chunks as there are inputs are in flight: one is filled while another is
 * computed. Elsewhere as many as there is room for are filled before the first of them is computed. */
static gboolean
classify_here (VigEngine *e, const Work *work, VigOutput *output, GError **error)
{
  VigPlan *plan = get_plan (e, work->n, work->h, work->w, MAX (work->window, 1), count_maps (work, output), error);
  const gint64 begin = g_get_monotonic_time ();
  guint filled = 0, done = 0;
  gboolean ok = TRUE, pipe;

  if (!plan)
    return FALSE;
  pipe = has_pipe (e, plan);
  const guint slots = pipe ? plan->n_slots : 1;
  output->preprocess_us = 0;
  while (ok && done < work->n) {
    gboolean more = filled < work->n && filled - done < slots * plan->room;
    Chunk c = chunk_at (plan, work, slots, more ? filled : done);
    if (more)
      ok = fill (e, plan, work, &c, output, error);
    if (ok && more == pipe)
      start (e, plan, &c);
    if (!more)
      ok = collect (e, plan, work, &c, output, error);
    if (!more && ok)
      forget_broken (e, work, &c, output);
    *(more ? &filled : &done) += c.n;
  }
  output->inference_us = g_get_monotonic_time () - begin - output->preprocess_us;
  if (!ok)
    e->kernels->finish (e->kernels->ctx); /* for what else is in flight */
  return ok;
}

static gboolean
classify (VigEngine *e, const Work *work, VigOutput *output, GError **error)
{
  GError *failure = NULL;

  vig_states_collect (&e->states);
  if (classify_here (e, work, output, &failure)
      || (took_over (e, &failure) && classify_here (e, work, output, &failure)))
    return TRUE;
  reset_states (work->moments, work->n);
  g_propagate_error (error, failure);
  return FALSE;
}

gboolean
vig_engine_classify_frames (VigEngine *e, const VigFrame *frames, guint n, guint size, VigOutput *output,
    GError **error)
{
  const VigBatch batch = { .frames = frames, .n = n, .size = size ? size : vig_model_get_input_size (e->model) };

  return vig_engine_classify_batch (e, &batch, output, NULL, NULL, error);
}

gboolean
vig_engine_classify_tensors (VigEngine *e, const float *input, guint n, guint height, guint width, VigOutput *output,
    GError **error)
{
  return check_given (e, input, "tensors", n, output, error) && check_size (e, height, width, error)
      && classify (e, &(Work) { .tensors = input, .n = n, .h = height, .w = width }, output, error);
}

gboolean
vig_engine_classify_stream (VigEngine *e, const VigFrame *frames, const VigMoment *moments, guint n, guint size,
    VigOutput *output, GError **error)
{
  size = size ? size : vig_model_get_input_size (e->model);
  return check_given (e, frames, "frames", n, output, error) && check_given (e, moments, "moments", n, output, error)
      && check_size (e, size, size, error) && check_frames (e, frames, n, size, error)
      && check_moments (e, moments, n, FALSE, error)
      && classify (e, &(Work) { .frames = frames, .moments = moments, .n = n, .h = size, .w = size }, output, error);
}

gboolean
vig_engine_classify_stream_tensors (VigEngine *e, const float *input, const VigMoment *moments, guint n, guint height,
    guint width, VigOutput *output, GError **error)
{
  return check_given (e, input, "tensors", n, output, error) && check_given (e, moments, "moments", n, output, error)
      && check_size (e, height, width, error) && check_moments (e, moments, n, FALSE, error)
      && classify (e, &(Work) { .tensors = input, .moments = moments, .n = n, .h = height, .w = width }, output, error);
}

/* ---- windows ---- */

/* Rows of [n * window, columns] to their means [n, columns], in the host's memory. */
static void
mean_of_windows (const float *rows, guint n, guint window, gsize columns, float *means)
{
  vig_pool_mean_c (NULL, &(VigPoolMean) { .batch = (int) n, .tokens = (int) window, .c = (int) columns, .x = rows,
      .y = means });
}

/* The frames' results, kept from call to call: [n * window, …]. */
static float *
frame_results (VigEngine *e, gsize n, GError **error)
{
  if (n > e->n_frame_results) {
    g_free (e->frame_results);
    e->frame_results = g_try_new (float, n);
    e->n_frame_results = e->frame_results ? n : 0;
  }
  if (!e->frame_results)
    g_set_error (error, VIG_ERROR, VIG_ERROR_NO_MEMORY, "windows: no memory for the results of their frames");
  return e->frame_results;
}

/* Results of windows go to their places in @output. */
static gboolean
classify_windows (VigEngine *e, const Work *work, float *frame_logits, VigOutput *output, GError **error)
{
  gsize classes = e->model->config.n_classes, features = vig_config_n_features (&e->model->config);
  guint n = work->n / work->window;
  float *logits = frame_results (e, work->n * (classes + features) + n * classes, error);
  float *of_frames = logits + work->n * classes, *means = of_frames + work->n * features;
  VigOutput frames = { .logits = logits, .features = of_frames, .maps = output->maps };
  const guint *places = work->places;

  if (!logits || !classify (e, work, &frames, error))
    return FALSE;
  output->preprocess_us = frames.preprocess_us;
  output->inference_us = frames.inference_us;
  if (frame_logits)
    memcpy (frame_logits, logits, work->n * classes * sizeof (float));
  mean_of_windows (logits, n, work->window, classes, means);
  for (guint i = 0; i < n; i++) {
    const gsize to = places ? places[i] : i;
    if (output->logits)
      memcpy (output->logits + to * classes, means + i * classes, classes * sizeof (float));
    if (output->probabilities)
      vig_softmax_c (NULL, &(VigSoftmax) { .rows = 1, .c = (int) classes, .x = means + i * classes,
          .y = output->probabilities + to * classes });
    if (output->features)
      mean_of_windows (of_frames + i * work->window * features, 1, work->window, features, output->features + to * features);
  }
  return TRUE;
}

static gboolean
check_window (VigEngine *e, guint n, guint window, GError **error)
{
  if (!vig_config_has_windows (&e->model->config))
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "windows: expected a model that takes them, found %s, which does not",
        e->model->name);
  else if (window < 1 || window > MAX_WINDOW)
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "window: expected 1 to %d frames, found %u", MAX_WINDOW, window);
  else if (n > G_MAXINT / MAX_WINDOW)
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "windows: expected at most %d, found %u", G_MAXINT / MAX_WINDOW, n);
  else
    return TRUE;
  return FALSE;
}

gboolean
vig_engine_classify_windows (VigEngine *e, const VigFrame *frames, guint n, guint window, guint size, float *frame_logits,
    VigOutput *output, GError **error)
{
  size = size ? size : vig_model_get_input_size (e->model);
  return check_given (e, frames, "frames", n, output, error) && check_window (e, n, window, error)
      && check_size (e, size, size, error) && check_frames (e, frames, n * window, size, error)
      && classify_windows (e, &(Work) { .frames = frames, .n = n * window, .window = window, .h = size, .w = size },
          frame_logits, output, error);
}

gboolean
vig_engine_classify_windows_tensors (VigEngine *e, const float *input, guint n, guint window, guint height, guint width,
    float *frame_logits, VigOutput *output, GError **error)
{
  return check_given (e, input, "tensors", n, output, error) && check_window (e, n, window, error)
      && check_size (e, height, width, error)
      && classify_windows (e, &(Work) { .tensors = input, .n = n * window, .window = window, .h = height, .w = width },
          frame_logits, output, error);
}

gboolean
vig_engine_classify_resident (VigEngine *e, guint n, guint height, guint width, VigOutput *output, GError **error)
{
  return check_size (e, height, width, error)
      && classify_here (e, &(Work) { .n = n, .h = height, .w = width }, output, error);
}

/* ---- inputs, to the host ---- */

static gboolean
reserve_scratch (VigEngine *e, gsize n, guint size, GError **error)
{
  const VigKernels *k = e->kernels;

  if (n <= e->n_scratch)
    return TRUE;
  if (e->scratch)
    k->free (k->ctx, e->scratch);
  e->scratch = k->alloc (k->ctx, n * sizeof (float));
  e->n_scratch = e->scratch ? n : 0;
  if (!e->scratch) {
    const char *why = k->finish (k->ctx);
    g_set_error (error, VIG_ERROR, VIG_ERROR_NO_MEMORY, "input %ux%u: no memory for it%s%s", size, size, why ? ": " : "",
        why ? why : "");
  }
  return e->scratch != NULL;
}

/* The inputs [3, size, size] of @n frames, no more than MAX_RUN, each to its place. */
static gboolean
preprocess_to_host (VigEngine *e, const VigFrame *frames, guint first, guint n, guint size, float *const *to, GError **error)
{
  const VigKernels *k = e->kernels;
  const gsize item = (gsize) 3 * size * size;

  if (!reserve_scratch (e, n * item, size, error) || !preprocess (e, frames, first, n, size, e->scratch, error))
    return FALSE;
  for (guint i = 0; i < n; i++)
    k->download (k->ctx, to[i], e->scratch + i * item, item * sizeof (float));
  return check_failure (e, k->finish (k->ctx), error);
}

gboolean
vig_engine_preprocess (VigEngine *e, const VigFrame *frame, guint size, float *output, GError **error)
{
  size = size ? size : vig_model_get_input_size (e->model);
  if (!frame || !output) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "preprocess: expected a frame and an output, found NULL");
    return FALSE;
  }
  return check_size (e, size, size, error) && preprocess_to_host (e, frame, 0, 1, size, &output, error);
}

/* ---- windows of the last frames of streams ---- */

/* Puts the batch's frames into the rings of their streams. */
static gboolean
remember (VigEngine *e, const VigBatch *b, GError **error)
{
  float *places[MAX_RUN];

  for (guint first = 0, run; first < b->n; first += run) {
    run = MIN (b->n - first, MAX_RUN);
    for (guint i = 0; i < run; i++) {
      const VigMoment *m = &b->moments[first + i];
      VigRing *ring = &m->state->ring;
      if (!vig_ring_prepare (ring, b->size, b->size, error))
        return FALSE;
      places[i] = vig_ring_push (ring, m->time);
      guint n = b->windows[first + i] ? MIN (ring->n, b->windows[first + i]) : ring->n;
      b->seen[first + i] = (VigSeen) { vig_ring_get_time (ring, n, 0), n };
    }
    if (!preprocess_to_host (e, b->frames, first, run, b->size, places, error))
      return FALSE;
  }
  return TRUE;
}

/* Of the windows of this length, whichever streams they are of. */
static gboolean
classify_length (VigEngine *e, const VigBatch *b, guint window, VigOutput *output, GError **error)
{
  g_ptr_array_set_size (e->items, 0);
  g_array_set_size (e->places, 0);
  for (guint i = 0; i < b->n; i++) {
    if (!b->windows[i] || b->seen[i].n != window)
      continue;
    g_array_append_val (e->places, i);
    for (guint f = 0; f < window; f++)
      g_ptr_array_add (e->items, (gpointer) vig_ring_get (&b->moments[i].state->ring, window, f));
  }
  const Work work = { .items = (const float *const *) e->items->pdata, .n = e->items->len, .window = window, .h = b->size,
    .w = b->size, .places = (const guint *) (gpointer) e->places->data };
  return classify_windows (e, &work, NULL, output, error);
}

/* Whether an earlier frame of the batch has an answer of as many. */
static gboolean
is_done (const VigBatch *b, guint which)
{
  for (guint i = 0; i < which; i++)
    if (b->windows[i] && b->seen[i].n == b->seen[which].n)
      return TRUE;
  return FALSE;
}

static gboolean
classify_last (VigEngine *e, const VigBatch *b, VigOutput *output, VigReadFunc read, gpointer data, GError **error)
{
  const gint64 begin = g_get_monotonic_time ();
  GError *failure = NULL;
  gint64 inference = 0;

  vig_states_collect (&e->states);
  if (!remember (e, b, &failure)) {
    reset_states (b->moments, b->n);
    if (!took_over (e, &failure) || !remember (e, b, &failure)) {
      g_propagate_error (error, failure);
      return FALSE;
    }
  }
  const gint64 preprocess = g_get_monotonic_time () - begin;
  if (read)
    read (data, 0, b->n);
  for (guint i = 0; i < b->n; i++) {
    if (!b->windows[i] || is_done (b, i))
      continue;
    if (!classify_length (e, b, (guint) b->seen[i].n, output, error)) {
      reset_states (b->moments, b->n);
      return FALSE;
    }
    inference += output->inference_us;
  }
  output->preprocess_us = preprocess;
  output->inference_us = inference;
  return TRUE;
}

/* ---- batches ---- */

gboolean
vig_engine_classify_batch (VigEngine *e, const VigBatch *b, VigOutput *output, VigReadFunc read, gpointer data, GError **error)
{
  if (!check_given (e, b->frames, "frames", b->n, output, error) || !check_size (e, b->size, b->size, error)
      || !check_frames (e, b->frames, b->n, b->size, error)
      || (b->moments && !check_moments (e, b->moments, b->n, TRUE, error)))
    return FALSE;
  if (b->moments && vig_config_has_windows (&e->model->config))
    return classify_last (e, b, output, read, data, error);
  return classify (e, &(Work) { .frames = b->frames, .moments = b->moments, .seen = b->seen, .n = b->n, .h = b->size,
      .w = b->size, .read = read, .data = data }, output, error);
}

/* ---- ranking ---- */

guint
vig_top_k (const float *values, guint n, guint k, VigRank *ranks)
{
  guint found = 0;

  k = MIN (k, n);
  for (guint i = 0; i < n; i++) { /* insertion: k is small */
    guint at = found;
    if (found == k && (k == 0 || !(values[i] > ranks[k - 1].value)))
      continue;
    while (at > 0 && values[i] > ranks[at - 1].value)
      at--;
    found = MIN (found + 1, k);
    memmove (&ranks[at + 1], &ranks[at], (found - 1 - at) * sizeof *ranks);
    ranks[at] = (VigRank) { .index = i, .value = values[i] };
  }
  return found;
}
