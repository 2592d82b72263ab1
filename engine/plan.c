/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plan.h"
#include "weights.h"

#include <numbers.h>

/* A bigger batch is computed in chunks of about this many numbers in the widest buffer (u of the MLP): enough rows
 * for the matrix products to be efficient, few enough to stay in the caches. Results do not depend on it. 4 items for
 * ViG-T at 224: on two cores 2 to 4 took 3 to 20% less time than 8 or 16 (fp32 and bf16, a busy machine). */
#define CHUNK_NUMBERS (800 << 10)
#define MAX_CHUNK 16
#define MAX_GPU_CHUNK 256

/* Most bytes of inputs that are made before the first chunk is computed. */
#define ROOM_BYTES (256u << 20)

static gsize
tokens (VigGrid grid)
{
  return (gsize) grid.h * grid.w;
}

guint
vig_plan_chunk (const VigModel *model, const VigKernels *kernels, guint h, guint w, guint window)
{
  VigGrid stem, grids[VIG_MAX_STAGES];
  gsize widest = 1;

  vig_config_grids (&model->config, h, w, &stem, grids);
  for (guint s = 0; s < model->config.n_stages; s++)
    widest = MAX (widest, tokens (grids[s]) * 2 * vig_config_mlp_width (&model->config, s));
  guint items = kernels->chunk ? (guint) CLAMP (kernels->chunk / widest, 1, MAX_GPU_CHUNK)
      : (guint) CLAMP (CHUNK_NUMBERS / widest, 1, MAX_CHUNK);
  return MAX (items / window, 1) * window;
}

/* Bytes: where the stem's patches were all made at once, they and what comes of them would take more memory than any block
 * does; and slices stay in a GPU's L2. A single picture of 224x224 is one slice (of ViG-H-B in fp32 two). On a CPU as many
 * pictures are one slice as stay in its own caches. */
#define PATCHES (6 << 20)
#define CPU_PATCHES (1 << 20)

VigSlice
vig_plan_slice (const VigKernels *kernels, VigGrid grid, gsize patch, guint n)
{
  gsize row = grid.w * patch, item = grid.h * row;
  guint cuts = (guint) ((item + PATCHES - 1) / PATCHES), rows = (grid.h + cuts - 1) / cuts;

  if (cuts > 1)
    return (VigSlice) { 1, rows, rows * row };
  n = (guint) MIN (n, MAX ((kernels->chunk ? PATCHES : CPU_PATCHES) / item, 1));
  return (VigSlice) { n, grid.h, n * item };
}

/* On a GPU a chunk, which is large: the next one's input is made while it is computed. Elsewhere the inputs of all chunks
 * are made first, so that nobody's picture is looked at for as long as others' are computed. */
guint
vig_plan_room (const VigModel *model, const VigKernels *kernels, guint n, guint h, guint w, guint window)
{
  guint chunk = vig_plan_chunk (model, kernels, h, w, window), room = MIN (n, chunk);
  gsize most = ROOM_BYTES / ((gsize) 3 * h * w * sizeof (float));

  if (!kernels->pipe_create)
    while (room < n && 2 * (gsize) room <= most)
      room *= 2; /* a batch that is a little larger than the last one makes no new plan */
  return room;
}

/* Hands out pieces of the workspace, and remembers how far they reach. A NULL base only measures. */
typedef struct {
  char *base;
  gsize at, end;
} Arena;

static void *
take (Arena *arena, gsize bytes)
{
  void *memory = arena->base ? arena->base + arena->at : NULL;
  arena->at += (bytes + 63) & ~(gsize) 63;
  arena->end = MAX (arena->end, arena->at);
  return memory;
}

/* One behind the other, whatever n, so that one copy fetches them. */
VigResults
vig_plan_results (const VigPlan *p, const VigConfig *config, float *base, guint n)
{
  Arena arena = { .base = (char *) base };
  const gsize maps = (gsize) n / p->window * p->n_maps;
  VigResults r;

  r.features = take (&arena, n * vig_config_n_features (config) * sizeof (float));
  r.logits = take (&arena, n * config->n_classes * sizeof (float));
  r.probabilities = take (&arena, n * config->n_classes * sizeof (float));
  r.maps = take (&arena, maps * tokens (p->grids[config->n_stages - 1]) * sizeof (float));
  r.chosen = take (&arena, maps * sizeof (float));
  r.bytes = arena.end;
  return r;
}

VigResults
vig_plan_use (VigPlan *p, const VigConfig *config, guint slot, guint at, guint n)
{
  VigResults r = vig_plan_results (p, config, p->results, n);

  p->input = p->inputs[slot] + (gsize) at * 3 * p->h * p->w;
  p->memory.now_elapsed = p->memory.elapsed[slot] + at;
  p->memory.now_states = p->memory.states[slot] + at;
  p->features = r.features;
  p->logits = r.logits;
  p->probabilities = r.probabilities;
  p->now_which = p->which[slot] + (gsize) at * p->n_maps;
  p->maps = r.maps;
  p->chosen = r.chosen;
  return r;
}

gsize
vig_plan_state_numbers (const VigConfig *config, guint h, guint w)
{
  gsize picture = config->temporal.difference > 0 ? (gsize) 3 * h * w : 0;
  return config->temporal.n_after * vig_config_memory_size (config) + picture;
}

/* What is there from input to input. */
static void
lay_states_out (VigPlan *p, const VigConfig *c, Arena *arena)
{
  VigMemoryBuffers *m = &p->memory;

  m->picture = c->temporal.n_after * vig_config_memory_size (c);
  m->numbers = vig_plan_state_numbers (c, p->h, p->w);
  m->nobody = take (arena, m->numbers * sizeof (float));
  for (guint i = 0; i < p->n_slots; i++) {
    m->elapsed[i] = take (arena, p->room * sizeof *m->elapsed[i]);
    m->states[i] = take (arena, p->room * sizeof *m->states[i]);
  }
}

/* What a module over time needs; all of it is free again behind it. */
static void
lay_memory_out (VigPlan *p, const VigConfig *c, VigType type, Arena *arena)
{
  VigMemoryBuffers *m = &p->memory;
  gsize rows = (gsize) p->batch * c->temporal.grid * c->temporal.grid, d = c->dims[0], w = c->temporal.width;

  m->cells = take (arena, rows * d * vig_type_size (type));
  m->joint = take (arena, rows * (3 * w + VIG_GATE_RANK) * sizeof (float));
  m->o = take (arena, rows * w * vig_type_size (type));
  m->y = take (arena, rows * d * sizeof (float));
}

void
vig_plan_upload_states (VigPlan *p, guint slot, guint at, guint n)
{
  VigMemoryBuffers *m = &p->memory;

  p->kernels->upload (p->kernels->ctx, m->elapsed[slot] + at, m->host_elapsed, n * sizeof *m->host_elapsed);
  p->kernels->upload (p->kernels->ctx, m->states[slot] + at, m->host_states, n * sizeof *m->host_states);
}

void
vig_plan_upload_which (VigPlan *p, guint slot, guint at, guint n)
{
  p->kernels->upload (p->kernels->ctx, p->which[slot] + (gsize) at * p->n_maps, p->host_which,
      (gsize) n * p->n_maps * sizeof *p->host_which);
}

/* No item follows another, for now. */
static void
begin_states (VigPlan *p)
{
  VigMemoryBuffers *m = &p->memory;

  m->host_elapsed = g_new (float, p->room);
  m->host_states = g_new (float *, p->room);
  for (guint i = 0; i < p->room; i++) {
    m->host_elapsed[i] = -1;
    m->host_states[i] = m->nobody;
  }
  for (guint i = 0; i < p->n_slots; i++)
    vig_plan_upload_states (p, i, 0, p->room);
}

/* Gives every buffer its place; returns how many bytes they take together. */
static gsize
layout (VigPlan *p, const VigConfig *c, VigType type, void *base)
{
  Arena arena = { .base = base };
  const gsize f32 = sizeof (float), any = vig_type_size (type), B = p->batch;
  guint first = c->hierarchical ? 3 : 9, half = c->dims[0] / 2, features = vig_config_n_features (c);
  VigSlice stem = vig_plan_slice (p->kernels, p->stem, vig_conv_row (first, vig_config_in_chans (c)) * any, p->batch);
  gsize widest = 0;

  for (guint s = 0; s < c->n_stages; s++)
    widest = MAX (widest, tokens (p->grids[s]) * c->dims[s]);
  for (guint i = 0; i < p->n_slots; i++)
    p->inputs[i] = take (&arena, (gsize) p->room * 3 * p->h * p->w * f32);
  p->x = take (&arena, B * widest * f32);
  p->results = take (&arena, vig_plan_results (p, c, NULL, p->batch).bytes);
  for (guint i = 0; i < p->n_slots; i++)
    p->which[i] = take (&arena, (gsize) p->room * p->n_maps * f32);
  if (vig_config_has_memory (c))
    lay_states_out (p, c, &arena);

  gsize shared = arena.at; /* from here on the parts of the network follow one another in the same memory */
  p->stem_out = take (&arena, B * tokens (p->stem) * half * f32);
  gsize cols = arena.at;
  p->cols[0] = take (&arena, stem.bytes);
  if (c->temporal.difference > 0)
    p->memory.views = take (&arena, (gsize) stem.items * 6 * p->h * p->w * f32);
  arena.at = cols;
  p->cols[1] = take (&arena, vig_plan_slice (p->kernels, p->grids[0], vig_conv_row (3, half) * any, p->batch).bytes);
  for (guint s = 0; s < c->n_stages; s++) {
    VigStageBuffers *b = &p->stages[s];
    gsize n = B * tokens (p->grids[s]), d = c->dims[s], hidden = vig_config_mlp_width (c, s);
    arena.at = shared;
    b->l = take (&arena, n * d * any);
    b->joint = take (&arena, n * (3 * d + VIG_GATE_RANK) * (p->fused ? any : f32));
    b->m = take (&arena, n * d * any);
    b->mixer_bytes = arena.at - shared;
    b->a = b->joint;
    if (!p->fused) {
      b->a = take (&arena, n * d * f32);
      b->gk = take (&arena, n * d * f32);
      arena.at = shared;
      b->y = take (&arena, n * d * any);
      b->u = take (&arena, n * 2 * hidden * f32);
      b->s = take (&arena, n * hidden * any);
    }
    arena.at = shared;
    if (s + 1 < c->n_stages)
      b->cols = take (&arena, B * tokens (p->grids[s + 1]) * vig_conv_row (3, d) * any);
  }
  arena.at = shared;
  p->normed = take (&arena, B * tokens (p->grids[c->n_stages - 1]) * features * f32);
  if (vig_config_has_memory (c))
    lay_memory_out (p, c, type, &arena);
  return arena.end;
}

/* Row t of the temporal position embedding for a window of so many frames: linear between the two nearest, to out [D]. */
static void
position_in_time (const VigModel *model, guint t, guint window, float *out)
{
  const float *rows = vig_model_get_weight (model, "temporal_pos_embed");
  guint n = model->config.temporal.frames, d = model->config.dims[0];
  double at = CLAMP ((t + 0.5) * n / window - 0.5, 0, n - 1);
  guint first = (guint) at, second = MIN (first + 1, n - 1);

  for (guint c = 0; c < d; c++)
    out[c] = (float) ((1 - (at - first)) * rows[(gsize) first * d + c] + (at - first) * rows[(gsize) second * d + c]);
}

/* Of windows of the length that is now. */
static gboolean
upload_position_embedding (VigPlan *p, const VigModel *model)
{
  const VigConfig *c = &model->config;
  gsize d = c->dims[0], frame = tokens (p->grids[0]) * d, n = p->window * frame;
  guint side = vig_config_native_side (c);
  g_autofree float *host = g_try_new (float, n), *when = g_try_new (float, d);

  if (!host || !when)
    return FALSE;
  vig_resize_pos (vig_model_get_weight (model, "pos_embed"), (int) side, (int) side, (int) d, host, (int) p->grids[0].h,
      (int) p->grids[0].w);
  for (guint t = p->window; vig_config_has_windows (c) && t-- > 0;) { /* the first frame's, which the others begin with, last */
    position_in_time (model, t, p->window, when);
    for (gsize i = 0; i < frame; i++)
      host[t * frame + i] = host[i] + when[i % d];
  }
  p->kernels->upload (p->kernels->ctx, p->pos, host, n * sizeof (float));
  return TRUE;
}

static gboolean
make_position_embedding (VigPlan *p, const VigModel *model)
{
  gsize frame = tokens (p->grids[0]) * model->config.dims[0];

  p->pos = p->kernels->alloc (p->kernels->ctx, p->longest * frame * sizeof (float));
  return p->pos && upload_position_embedding (p, model);
}

gboolean
vig_plan_takes (const VigPlan *p, guint window)
{
  return p->longest == window || (!p->pipe && p->longest > window);
}

gboolean
vig_plan_set_window (VigPlan *p, const VigModel *model, guint window, GError **error)
{
  if (p->window == window)
    return TRUE;
  p->window = window;
  p->batch = MIN (p->most / window * window, vig_plan_chunk (model, p->kernels, p->h, p->w, window));
  p->room = p->most_room / p->batch * p->batch;
  if (!p->pos || upload_position_embedding (p, model))
    return TRUE;
  p->window = 0; /* none: it is tried again */
  g_set_error (error, VIG_ERROR, VIG_ERROR_NO_MEMORY, "window: no memory for the position embedding of %u frames", window);
  return FALSE;
}

VigPlan *
vig_plan_new (const VigModel *model, VigKernels *kernels, VigType type, guint n, guint h, guint w, guint window,
    guint maps, gboolean tapped, GError **error)
{
  VigPlan *p = g_new0 (VigPlan, 1);
  guint batch = MIN (n, vig_plan_chunk (model, kernels, h, w, window));

  *p = (VigPlan) { .kernels = kernels, .h = h, .w = w, .batch = batch, .window = window,
    .room = vig_plan_room (model, kernels, n, h, w, window),
    .fused = !tapped && kernels->mlp, .longest = window, .most = batch, .n_maps = maps,
    .n_slots = kernels->pipe_create ? VIG_SLOTS : 1 };
  p->most_room = p->room;
  vig_config_grids (&model->config, h, w, &p->stem, p->grids);
  p->workspace_bytes = layout (p, &model->config, type, NULL);
  p->workspace = kernels->alloc (kernels->ctx, p->workspace_bytes);
  if (kernels->pipe_create)
    p->pipe = kernels->pipe_create (kernels->ctx, vig_plan_results (p, &model->config, NULL, batch).bytes);
  if (!p->workspace || (kernels->pipe_create && !p->pipe)
      || (!model->config.hierarchical && !make_position_embedding (p, model))) {
    const char *why = kernels->finish (kernels->ctx);
    g_set_error (error, VIG_ERROR, VIG_ERROR_NO_MEMORY, "input %ux%u: no memory for the %" G_GSIZE_FORMAT
        " bytes of workspace that a batch of %u needs%s%s", w, h, p->workspace_bytes, batch, why ? ": " : "",
        why ? why : "");
    vig_plan_free (p);
    return NULL;
  }
  layout (p, &model->config, type, p->workspace);
  if (vig_config_has_memory (&model->config))
    begin_states (p);
  p->host_which = g_new (float, (gsize) p->room * maps);
  return p;
}

void
vig_plan_free (VigPlan *plan)
{
  if (!plan)
    return;
  if (plan->pipe)
    plan->kernels->pipe_destroy (plan->kernels->ctx, plan->pipe);
  plan->kernels->free (plan->kernels->ctx, plan->workspace);
  plan->kernels->free (plan->kernels->ctx, plan->pos);
  g_free (plan->memory.host_elapsed);
  g_free (plan->memory.host_states);
  g_free (plan->host_which);
  g_free (plan);
}
