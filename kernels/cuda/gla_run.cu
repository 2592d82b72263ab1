/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Gated linear attention as an operator of its own (kernels.h, gla): which form, what memory, what is launched. Never run on
 * a GPU. gla_run_tokens.cu and gla_run_chunks.cu are the kernels; gla.cu and gla_mix.cu what ViG's own layouts go through.
 *
 * A sequence's form and pieces depend on its length, heads, dk and dv, never on the batch: its bits are the same in any
 * company. Sequences that are ragged have launches of their own, one after the other in the same workspace.
 */
#include "cuda/device.cuh"

#include "cuda/gla_run.cuh"

enum {
  FEW_TOKENS = 16,     /* below: TOKENS */
  SPLIT_CHUNKS = 16,   /* from so many chunks on SPLIT, … */
  MIN_PIECE = 4,       /* …in pieces of so many at least, each of which costs some copies of S, … */
  MANY_TILES = 264     /* …until there are two tiles of S for each multiprocessor of an H100 */
};

/* ---- forms and memory ------------------------------------------------------------------------------------------------- */

static int
slices (int n, int of)
{
  return (n + of - 1) / of;
}

/* Of S, that states of a sequence go by side by side. */
static long
tiles_of (const VigGlaRun *a)
{
  return (long) a->heads * slices (a->dk, KEYS) * slices (a->dv, VALUES);
}

/* Pieces that are wanted of a sequence. */
static int
wanted (const VigGlaRun *a)
{
  const long tiles = tiles_of (a);
  return tiles < MANY_TILES ? slices (MANY_TILES, (int) tiles) : 1;
}

/* Devices before 8.0 have no tf32, and an empty sequence has no chunks. */
static VigScan
form_of (const VigCuda *cuda, const VigGlaRun *a)
{
  if (cuda->sm < 80 || a->tokens == 0)
    return VIG_SCAN_TOKENS;
  if (a->form != VIG_SCAN_AUTO)
    return a->form;
  if (a->tokens < FEW_TOKENS)
    return VIG_SCAN_TOKENS;
  return slices (a->tokens, CHUNK) >= SPLIT_CHUNKS && wanted (a) > 1 ? VIG_SCAN_SPLIT : VIG_SCAN_CHUNKS;
}

/* Lays out pieces; how many there are of a sequence that is split, of this length or a shorter one, at most. */
static int
cut (VigGlaJob *job)
{
  const int piece = slices (job->chunks, wanted (&job->a)), most = slices (job->chunks, MIN_PIECE);
  job->piece = piece < MIN_PIECE ? MIN_PIECE : piece;
  job->pieces = slices (job->chunks, job->piece);
  return most < wanted (&job->a) ? most : wanted (&job->a);
}

/* Whether n neighbours from a multiple of n on are one access, in every head of every token. */
static bool
aligned (const void *p, VigStrides at, VigType type, int n)
{
  const uintptr_t first = (uintptr_t) p / (type == VIG_TYPE_F32 ? 4 : 2);
  return (first | (uintptr_t) at.sequence | (uintptr_t) at.token | (uintptr_t) at.head) % (uintptr_t) n == 0;
}

/* The job of sequences of one length, laid out in memory (NULL: nowhere); how many bytes that takes, which grows with the
 * length. */
static size_t
job_in (const VigCuda *cuda, const VigGlaRun *a, char *memory, VigGlaJob *job)
{
  const VigScan form = form_of (cuda, a);
  const size_t items = (size_t) a->batch * a->heads;
  const int sixteen = a->type == VIG_TYPE_F32 ? 4 : 8; /* numbers in 16 bytes */

  *job = {};
  job->a = *a;
  job->directions = a->forward + a->backward;
  job->key_slices = slices (a->dk, KEYS);
  job->value_slices = slices (a->dv, VALUES);
  job->wide = aligned (a->q, a->q_at, a->type, sixteen) && aligned (a->k, a->k_at, a->type, sixteen)
      && aligned (a->v, a->v_at, a->type, sixteen);
  job->pairs = aligned (a->o_fw, a->o_at, a->o_type, 2) && aligned (a->o_bw, a->o_at, a->o_type, 2)
      && aligned (a->o_sum, a->o_at, a->o_type, 2);
  if (form == VIG_SCAN_TOKENS) {
    const bool apart = a->o_sum && job->directions == 2 && a->o_type != VIG_TYPE_F32;
    job->between = apart ? (float *) memory : NULL;
    return apart ? sizeof (float) * a->tokens * items * a->dv : 0;
  }
  job->chunks = job->piece = slices (a->tokens, CHUNK);
  job->pieces = 1;
  const size_t most = form == VIG_SCAN_SPLIT ? cut (job) : 0, heads = items * job->directions;
  const size_t tiles = (size_t) job->key_slices * job->value_slices * TILE;
  const size_t before = a->o_fw || a->o_bw || a->o_sum
      ? heads * job->chunks * tiles * (a->type == VIG_TYPE_F32 ? sizeof (float) : sizeof (vig_bf16)) : 0;
  const size_t own = heads * most * tiles, sums = heads * most * job->key_slices * KEYS;
  const size_t gone = most ? heads * job->chunks * job->key_slices * KEYS : 0;
  job->before = before ? memory : NULL;
  job->own = (float *) (memory + before);
  job->sums = job->own + own;
  job->gone = job->sums + sums;
  return before + sizeof (float) * (own + sums + gone);
}

static size_t
gla_plan (void *ctx, VigGlaRun *a)
{
  const VigCuda *cuda = static_cast<const VigCuda *> (ctx);
  VigGlaRun all = *a;
  VigGlaJob job;

  if (a->ragged)
    all.batch = 1; /* of all tokens, which takes as much as any */
  if (!a->ragged || cuda->sm < 80)
    a->form = form_of (cuda, a);
  return job_in (cuda, &all, NULL, &job);
}

/* ---- runs --------------------------------------------------------------------------------------------------------------- */

/* Element i of a tensor, or NULL where there is none. */
static void *
element (const void *p, ptrdiff_t i, VigType type)
{
  return p ? const_cast<char *> (static_cast<const char *> (p)) + i * (ptrdiff_t) (type == VIG_TYPE_F32 ? 4 : 2) : NULL;
}

/* Sequence b of those that are ragged, as a batch of its own. */
static VigGlaRun
sequence (const VigGlaRun *a, int b)
{
  VigGlaRun one = *a;
  const ptrdiff_t t = a->offsets[b], state = (ptrdiff_t) b * a->heads * a->dk * a->dv;
  one.batch = 1;
  one.tokens = (int) (a->offsets[b + 1] - t);
  one.q = element (a->q, t * a->q_at.token, a->type);
  one.k = element (a->k, t * a->k_at.token, a->type);
  one.v = element (a->v, t * a->v_at.token, a->type);
  for (void **o : { &one.o_fw, &one.o_bw, &one.o_sum })
    *o = element (*o, t * a->o_at.token, a->o_type);
  for (const float **gate : { &one.gate_fw, &one.gate_bw })
    *gate = static_cast<float *> (element (*gate, t * a->gate_at.token, VIG_TYPE_F32));
  for (const float **from : { &one.state_fw, &one.state_bw })
    *from = static_cast<float *> (element (*from, state, VIG_TYPE_F32));
  for (float **to : { &one.end_fw, &one.end_bw })
    *to = static_cast<float *> (element (*to, state, VIG_TYPE_F32));
  return one;
}

static void
run (VigCuda *cuda, const VigGlaRun *a)
{
  cudaStream_t stream = a->stream ? static_cast<cudaStream_t> (a->stream) : cuda->stream;
  VigGlaJob job;

  job_in (cuda, a, static_cast<char *> (a->workspace), &job);
  if (job.chunks)
    vig_cuda_gla_chunks (cuda, &job, stream);
  else
    vig_cuda_gla_tokens (cuda, &job, stream);
}

static void
gla (void *ctx, const VigGlaRun *a)
{
  VigCuda *cuda = static_cast<VigCuda *> (ctx);

  if (!vig_cuda_enter (cuda)) /* nobody else needs to have */
    return;
  cuda->elsewhere = a->stream;
  if (!a->ragged) {
    run (cuda, a);
    return;
  }
  for (int b = 0; b < a->batch; b++) {
    VigGlaRun one = sequence (a, b);
    run (cuda, &one);
  }
}

void
vig_cuda_use_gla_run (VigKernels *k)
{
  k->gla_plan = gla_plan;
  k->gla = gla;
}
