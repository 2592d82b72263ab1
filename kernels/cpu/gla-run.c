/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Gated linear attention as an operator of its own (kernels.h, gla), in all its forms; compiled once for each instruction
 * set. docs/gla.md derives what is computed here.
 *
 * A sequence is one piece, or some (SPLIT); a head of a piece, or some slices of its values, is an item of work:
 *   own states   (SPLIT alone) what each piece would leave in S, had S been 0 before it, and its decays
 *   joining      (SPLIT alone) S before each piece, piece after piece
 *   outputs      each piece from the S before it: chunks of C tokens in the order of the direction, forward and then
 *                backward. With d_i = exp of the log decays of token i, products elementwise over DK:
 *                  o_i = sum over j <= i of A_ij v_j + (q_i d_1 .. d_i)^T S,  A_ij = sum over DK of q_i k_j d_(j+1) .. d_i
 *                  S   = diag(exp sum of log decays) S + sum over j of (k_j d_(j+1) .. d_C) v_j^T
 *                or, token after token, S = diag(d) S + k v^T, o = q^T S.
 * Three products make up a chunk, all through one loop (add_products) that keeps ROWS x SV vectors of the result in
 * registers. Every factor is a product of decays: nothing is divided, no gate can overflow.
 *
 * A decay that S is multiplied with is two floats: 1 - 4e-8 is not one, and a state that remembers 65,536 tokens would
 * be off by a thousandth. Token by token it is the difference to 1, times S and added to S. Of as many tokens one by one,
 * what S loses is kept as well: numbers of 16 bits have products of so few digits that adding them to S rounds all small
 * decays away.
 *
 * How items are cut, and so the number of threads, changes no sum.
 */
#include "cpu/cpu.h"
#include "cpu/vec.h"

enum {
  C = 16,                       /* tokens in a chunk */
  SV = 2,                       /* vectors in a slice of DV */
  SLICE = SV * VW,
  ROWS = VW == 16 ? 8 : 4,      /* of a tile of results, in registers */
  WIDE = 32,                    /* values of a slice as the choice of a form counts them: the same on every machine */
  FEW_TOKENS = 8,               /* below: TOKENS */
  MANY_TOKENS = 8192,           /* from here on SPLIT, where there is little else to share out */
  MANY_SLICES = 16,
  TOKEN_VECTORS = 256 / VW,     /* of a row of S, token by token: the widest whole */
  TOKEN_BLOCK = 1024,           /* numbers of S, in whole rows, that stay in the innermost cache until all are done */
  CAREFUL = 64,                 /* tokens from which on, one by one, what sums lose is kept */
  GROUPS = 32,                  /* of items for each thread, at least: a decoding step has many that are short */
  PIECE = 64,                   /* tokens of the shortest pieces */
  JOINED = 16                   /* rows of S that one item joins */
};

/* A sequence of the call. */
typedef struct {
  int64_t token;                /* its first, in q (0 unless ragged) */
  int64_t first;                /* its first piece among all */
  int64_t split;                /* likewise, among those that have states of their own */
  int tokens, piece, pieces;    /* piece: tokens of each but the last */
  bool by_token;
} Sequence;

/* What a thread works in. */
typedef struct {
  float *q, *k, *d;             /* [C, padded DK] */
  float *high, *low, *sum;      /* [padded DK]: the decay of a chunk, and the sum of its logs; by token high: token_decay() */
  float *A;                     /* [C, C] */
  float *v, *o;                 /* [C, SLICE]; by token [DV] */
  float *S;                     /* [slices][padded DK, SLICE]; by token [DK, DV] */
  float *lost;                  /* by token, of many: [DK, DV], what S lacks */
  float *apart;                 /* [tokens of a piece, DV]: what the first direction leaves to the second */
} Scratch;

typedef struct {
  const VigGlaRun *a;
  VigCpu *cpu;
  int slices, parts;            /* of a head; items that they are cut into */
  int items, group;             /* of outputs; how many of them are shared out at once */
  Sequence *sequences;          /* [B] */
  float *states;                /* [pieces that have them, H, 2, DK, DV] */
  float *sums;                  /* [pieces that have them, H, 2, DK]: of log decays */
  float *scratch;               /* [threads] of scratch_size */
  size_t scratch_size;
} Job;

/* ---- sizes, forms and memory ---------------------------------------------------------------------------------------- */

static int
round_up (int n, int to)
{
  return (n + to - 1) / to * to;
}

static int
padded_dk (const VigGlaRun *a)
{
  return round_up (a->dk, 16); /* whole vectors, and whole rows of tiles */
}

static int
slices_of (const VigGlaRun *a)
{
  return (a->dv + SLICE - 1) / SLICE;
}

static VigScan
form_of (const VigGlaRun *a, int tokens)
{
  if (a->form != VIG_SCAN_AUTO)
    return a->form;
  if (tokens < FEW_TOKENS)
    return VIG_SCAN_TOKENS;
  return tokens >= MANY_TOKENS && a->heads * ((a->dv + WIDE - 1) / WIDE) < MANY_SLICES ? VIG_SCAN_SPLIT : VIG_SCAN_CHUNKS;
}

/* Tokens of the pieces of a sequence that is split: about 16 pieces, but none too small to be worth it. */
static int
piece_of (int tokens)
{
  return PIECE * (tokens < 2 * 16 * PIECE ? 1 : tokens < 16 * 16 * PIECE ? tokens / (16 * PIECE) : 16);
}

/* How many pieces with states of their own there can be. */
static size_t
most_split (const VigGlaRun *a)
{
  size_t tokens = (size_t) a->tokens;
  if (a->ragged && a->form == VIG_SCAN_AUTO)
    return form_of (a, a->tokens) == VIG_SCAN_SPLIT ? tokens / piece_of (MANY_TOKENS) + tokens / MANY_TOKENS + 1 : 0;
  if (form_of (a, a->tokens) != VIG_SCAN_SPLIT)
    return 0;
  return a->ragged ? tokens / PIECE + (size_t) a->batch
                   : (size_t) a->batch * ((tokens + (size_t) piece_of (a->tokens) - 1) / (size_t) piece_of (a->tokens));
}

/* Whether the directions are added up in numbers that are not those of the result. */
static bool
sums_apart (const VigGlaRun *a)
{
  return a->o_sum && a->forward && a->backward && a->o_type != VIG_TYPE_F32;
}

/* Whether many tokens may go by one by one. */
static bool
careful (const VigGlaRun *a, int tokens)
{
  return tokens >= CAREFUL && form_of (a, tokens) == VIG_SCAN_TOKENS;
}

/* How many floats a thread works in; where, if memory is not NULL. */
static size_t
scratch_in (const VigGlaRun *a, float *memory, Scratch *s)
{
  size_t dk = (size_t) padded_dk (a), dv = (size_t) slices_of (a) * SLICE, used = 0;
  size_t longest = form_of (a, a->tokens) == VIG_SCAN_SPLIT && !a->ragged ? (size_t) piece_of (a->tokens) : (size_t) a->tokens;
  size_t tile = C * SLICE > dv ? C * SLICE : dv;
  size_t sizes[] = { C * dk, C * dk, C * dk, dk, dk, dk, C * C, tile, tile, dk * dv,
    careful (a, a->tokens) ? (size_t) a->dk * (size_t) a->dv : 0,
    sums_apart (a) ? longest * (size_t) a->dv : 0 };
  float **at[] = { &s->q, &s->k, &s->d, &s->high, &s->low, &s->sum, &s->A, &s->v, &s->o, &s->S,
    &s->lost, &s->apart };
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    *at[i] = memory ? memory + used : NULL;
    used += (sizes[i] + 15) / 16 * 16;
  }
  return used;
}

/* Lays out the workspace; its size in bytes. */
static size_t
job_in (VigCpu *cpu, const VigGlaRun *a, char *memory, Job *job)
{
  Scratch s;
  size_t split = most_split (a) * (size_t) a->heads * 2, dk = (size_t) a->dk;
  size_t sequences = ((size_t) a->batch * sizeof (Sequence) + 63) / 64 * 64;
  size_t sums = (split * dk + 15) / 16 * 16, states = (split * dk * (size_t) a->dv + 15) / 16 * 16;

  *job = (Job) { .a = a, .cpu = cpu, .slices = slices_of (a), .parts = 1, .scratch_size = scratch_in (a, NULL, &s) };
  if (memory) {
    job->sequences = (Sequence *) memory;
    job->sums = (float *) (memory + sequences);
    job->states = job->sums + sums;
    job->scratch = job->states + states;
  }
  return sequences + sizeof (float) * (sums + states + job->scratch_size * (size_t) cpu->n_threads);
}

static size_t
gla_plan (void *ctx, VigGlaRun *a)
{
  Job job;
  size_t size = job_in (ctx, a, NULL, &job);
  if (!a->ragged)
    a->form = form_of (a, a->tokens);
  return size;
}

/* Fills in the sequences; how many pieces there are, and how many of them have states of their own. */
static int64_t
sequences_of (Job *job, int64_t *split)
{
  const VigGlaRun *a = job->a;
  int64_t pieces = 0;
  *split = 0;
  for (int b = 0; b < a->batch; b++) {
    Sequence *s = &job->sequences[b];
    int tokens = a->ragged ? (int) (a->offsets[b + 1] - a->offsets[b]) : a->tokens;
    VigScan form = form_of (a, tokens);
    *s = (Sequence) { .token = a->ragged ? a->offsets[b] : 0, .first = pieces, .split = *split, .tokens = tokens,
      .piece = tokens, .pieces = 1, .by_token = form == VIG_SCAN_TOKENS };
    if (form == VIG_SCAN_SPLIT && tokens > piece_of (tokens)) {
      s->piece = piece_of (tokens);
      s->pieces = (tokens + s->piece - 1) / s->piece;
      *split += s->pieces;
    }
    pieces += s->pieces;
  }
  return pieces;
}

/* ---- one head of one piece in one direction ------------------------------------------------------------------------------ */

typedef struct {
  const VigGlaRun *a;
  const Sequence *s;
  int b, head, piece;
  bool backward;
  int t, step, tokens;          /* the first of the piece in the order of the direction (of the sequence); 1 or -1; how many */
  int first, end;               /* slices */
} Walk;

static Walk
walk_of (const Job *job, int b, int head, int piece, bool backward, int part)
{
  const Sequence *s = &job->sequences[b];
  int begin = piece * s->piece, n = s->tokens - begin < s->piece ? s->tokens - begin : s->piece;
  return (Walk) { .a = job->a, .s = s, .b = b, .head = head, .piece = piece, .backward = backward,
    .t = backward ? begin + n - 1 : begin, .step = backward ? -1 : 1, .tokens = n,
    .first = job->slices * part / job->parts, .end = job->slices * (part + 1) / job->parts };
}

/* The element where the head begins at a token of the sequence. */
static inline size_t
at (const Walk *w, VigStrides to, int t)
{
  ptrdiff_t token = (ptrdiff_t) (w->s->token + t);
  return (size_t) ((w->a->ragged ? 0 : w->b) * to.sequence + token * to.token + w->head * to.head);
}

TEMPLATE
widen_row (const void *from, size_t first, int n, int padded, float *to, VigType type)
{
  for (int i = 0; i < padded; i += VW)
    v_store (to + i, i < n ? v_get (from, first + i, type, n - i) : v_set (0));
}

/* n numbers of type, and zeros up to padded, which is whole vectors. */
static inline void
widen (const void *from, size_t first, VigType type, int n, int padded, float *to)
{
  FOR_TYPE (type, widen_row, from, first, n, padded, to);
}

/* The log decays of one token. */
static inline void
load_gates (const Walk *w, int t, int padded, float *to)
{
  const VigGlaRun *a = w->a;
  const float *gates = w->backward ? a->gate_bw : a->gate_fw;
  if (a->gate_width == a->dk)
    widen (gates, at (w, a->gate_at, t), VIG_TYPE_F32, a->dk, padded, to);
  else
    for (int r = 0; r < padded; r += VW)
      v_store (to + r, v_set (a->gate_width ? gates[at (w, a->gate_at, t)] : 0));
}

/* exp g, infinite where f32 ends */
static inline Vec
decay (Vec g)
{
  return v_exp (v_min (v_set (150), g));
}

/* exp g = high + low, to more digits than a float has where it is near 1; sum and exponent are then of one size. */
static inline void
decay_parts (Vec g, float *high, float *low)
{
  Vec f = v_mul (g, v_set (V_LOG2E)), less = v_mul (f, v_exp2_slope (f)), h = v_add (v_set (1), less);
  Vec is_near = v_sub (v_abs (f), v_set (0.5f)); /* negative where it is */
  v_store (high, v_if_negative (is_near, h, decay (g)));
  v_store (low, v_if_negative (is_near, v_sub (less, v_sub (h, v_set (1))), v_set (0)));
}

/* Slices of S [DK, DV] of a head in memory (NULL: zeros) and as the chunks use them. */
static void
state_load (const Walk *w, const float *state, float *S)
{
  const VigGlaRun *a = w->a;
  for (int slice = w->first; slice < w->end; slice++)
    for (int r = 0; r < padded_dk (a); r++, S += SLICE) {
      int left = a->dv - slice * SLICE;
      for (int s = 0; s < SV; s++)
        v_store (S + s * VW, state && r < a->dk && left > s * VW ?
            v_get_f (state + (size_t) r * a->dv + slice * SLICE + s * VW, left - s * VW) : v_set (0));
    }
}

static void
state_store (const Walk *w, const float *S, float *state)
{
  const VigGlaRun *a = w->a;
  for (int slice = w->first; slice < w->end; slice++)
    for (int r = 0; r < padded_dk (a); r++, S += SLICE)
      for (int s = 0; s < SV && r < a->dk; s++) {
        int left = a->dv - slice * SLICE - s * VW;
        if (left > 0)
          v_put (state + (size_t) r * a->dv + slice * SLICE + s * VW, 0, VIG_TYPE_F32, left, v_load (S + s * VW));
      }
}

/* ---- outputs */

/* Where the directions are added up. */
typedef struct {
  void *own, *sum;              /* results of o_type, or NULL */
  float *between;               /* [tokens of the piece, dv], or NULL: in sum itself, which is f32 */
  bool first, last;             /* of the directions */
} Output;

static Output
output_of (const Walk *w, const Scratch *s)
{
  const VigGlaRun *a = w->a;
  return (Output) { .own = w->backward ? a->o_bw : a->o_fw, .sum = a->o_sum, .between = sums_apart (a) ? s->apart : NULL,
    .first = !w->backward || !a->forward, .last = w->backward || !a->backward };
}

/* o [n] of one token from value `first` on */
TEMPLATE
put_token (const Walk *w, const Output *to, int t, int first, int n, const float *o, VigType type)
{
  size_t place = at (w, w->a->o_at, t) + (size_t) first;
  float *between = to->between ? to->between + (size_t) (t - w->piece * w->s->piece) * w->a->dv + first
      : type == VIG_TYPE_F32 ? (float *) to->sum + place : NULL;
  Vec scale = v_set (w->a->scale);
  for (int c = 0; c < n; c += VW) {
    Vec x = v_mul (scale, v_load (o + c));
    if (to->own)
      v_put (to->own, place + c, type, n - c, x);
    if (to->sum && !to->first)
      x = v_add (v_get_f (between + c, n - c), x);
    if (to->sum && to->last)
      v_put (to->sum, place + c, type, n - c, x);
    else if (to->sum)
      v_put (between + c, 0, VIG_TYPE_F32, n - c, x);
  }
}

static inline void
put (const Walk *w, const Output *to, int t, int first, int n, const float *o)
{
  FOR_TYPE (w->a->o_type, put_token, w, to, t, first, n, o);
}

/* ---- in chunks */

/* sum[i] += M[i, from .. n - 1] X[from .. n - 1]: rows of M are `row` apart and its columns `column`, rows of X SLICE */
static inline __attribute__ ((always_inline)) void
add_products (Vec sum[ROWS][SV], const float *M, int row, int column, const float *X, int n)
{
  for (int j = 0; j < n; j++) {
    Vec x[SV];
    for (int s = 0; s < SV; s++)
      x[s] = v_load (X + (size_t) j * SLICE + s * VW);
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++) {
      Vec m = v_set (M[i * row + j * column]);
      for (int s = 0; s < SV; s++)
        sum[i][s] = v_fma (m, x[s], sum[i][s]);
    }
  }
}

/* The same where M is a square of ROWS on a diagonal: tokens see none that come later, NaN or not. */
static inline __attribute__ ((always_inline)) void
add_triangle (Vec sum[ROWS][SV], const float *M, int row, const float *X)
{
#pragma GCC unroll 8
  for (int j = 0; j < ROWS; j++) {
    Vec x[SV];
    for (int s = 0; s < SV; s++)
      x[s] = v_load (X + j * SLICE + s * VW);
#pragma GCC unroll 8
    for (int i = j; i < ROWS; i++)
      for (int s = 0; s < SV; s++)
        sum[i][s] = v_fma (v_set (M[i * row + j]), x[s], sum[i][s]);
  }
}

/* Token i of the walk will be wanted soon: rows of a head lie too far apart for the hardware to see it coming. */
static inline void
fetch_token (const Walk *w, const Output *to, int i)
{
  const VigGlaRun *a = w->a;
  int t = w->t + i * w->step, first = w->first * SLICE, columns = w->end * SLICE < a->dv ? w->end * SLICE - first : a->dv - first;
  if (i >= w->tokens)
    return;
  prefetch (a->k, at (w, a->k_at, t), a->dk, a->type);
  prefetch (a->v, at (w, a->v_at, t) + (size_t) first, columns, a->type);
  if (a->gate_width)
    prefetch (w->backward ? a->gate_bw : a->gate_fw, at (w, a->gate_at, t), a->gate_width, VIG_TYPE_F32);
  if (!to)
    return;
  prefetch (a->q, at (w, a->q_at, t), a->dk, a->type);
  if (to->own)
    prefetch (to->own, at (w, a->o_at, t) + (size_t) first, columns, a->o_type);
  if (to->sum && (to->last || !to->between))
    prefetch (to->sum, at (w, a->o_at, t) + (size_t) first, columns, a->o_type);
  if (to->between)
    prefetch (to->between, (size_t) (t - w->piece * w->s->piece) * (size_t) a->dv + (size_t) first, columns, VIG_TYPE_F32);
}

/* q, k and d of the chunk's n tokens from t on, and the sum of their log decays; of tokens that are missing d is 1, and nobody
 * looks at q and k. */
static void
chunk_load (const Walk *w, int t, int n, bool queries, Scratch *s)
{
  const VigGlaRun *a = w->a;
  int padded = padded_dk (a);
  for (int i = 0; i < n; i++) {
    int token = t + i * w->step;
    if (queries)
      widen (a->q, at (w, a->q_at, token), a->type, a->dk, padded, s->q + i * padded);
    widen (a->k, at (w, a->k_at, token), a->type, a->dk, padded, s->k + i * padded);
    load_gates (w, token, padded, s->d + i * padded);
  }
  memset (s->d + n * padded, 0, sizeof (float) * (size_t) ((C - n) * padded));
  for (int r = 0; r < padded; r += VW) {
    Vec sum = v_set (0);
    for (int i = 0; i < C; i++) {
      float *d = s->d + i * padded + r;
      Vec g = v_load (d);
      sum = v_add (sum, g);
      v_store (d, decay (g));
    }
    v_store (s->sum + r, sum);
  }
}

/* What `vectors` vectors of channels from r on give to A, and what becomes of q there. */
static inline __attribute__ ((always_inline)) void
pairs_of (int vectors, int r, int padded, int n, Scratch *s)
{
  for (int i = 0; i < n; i++) {
    float *at_q = s->q + i * padded + r, *A = s->A + i * C;
    Vec q[4], sum[C];
    for (int l = 0; l < vectors; l++)
      q[l] = v_load (at_q + l * VW);
    for (int j = i; j >= 0; j--) {
      const float *k = s->k + j * padded + r, *d = s->d + j * padded + r;
      sum[j] = v_mul (q[0], v_load (k));
      q[0] = v_mul (q[0], v_load (d));
      for (int l = 1; l < vectors; l++) {
        sum[j] = v_fma (q[l], v_load (k + l * VW), sum[j]);
        q[l] = v_mul (q[l], v_load (d + l * VW));
      }
    }
    for (int j = i + 1; j % 4; j++)
      sum[j] = v_set (0);
    for (int j = 0; j <= i; j += 4) {
      float four[4];
      v_sum4 (sum[j], sum[j + 1], sum[j + 2], sum[j + 3], four);
      for (int l = 0; l < 4; l++)
        A[j + l] = (r ? A[j + l] : 0) + four[l];
    }
    for (int l = 0; l < vectors; l++)
      v_store (at_q + l * VW, q[l]);
  }
}

/* A, up to the diagonal, and in the place of q what q_i is to S before the chunk. */
static void
chunk_pairs (const Walk *w, int n, Scratch *s)
{
  int padded = padded_dk (w->a), r = 0;
  for (; r + 4 * VW <= padded; r += 4 * VW)
    pairs_of (4, r, padded, n, s);
  for (; r + 2 * VW <= padded; r += 2 * VW)
    pairs_of (2, r, padded, n, s);
  for (; r < padded; r += VW)
    pairs_of (1, r, padded, n, s);
}

/* In the place of k what k_j is to S after the chunk; the decay of S. */
static void
chunk_decays (const Walk *w, Scratch *s)
{
  int padded = padded_dk (w->a);
  for (int r = 0; r < padded; r += VW) {
    Vec rest = v_set (1);
    for (int j = C - 1; j >= 0; j--) {
      float *k = s->k + j * padded + r;
      v_store (k, v_mul (v_load (k), rest));
      rest = v_mul (rest, v_load (s->d + j * padded + r));
    }
    decay_parts (v_load (s->sum + r), s->high + r, s->low + r);
  }
}

/* o [n, SLICE] of one slice */
static void
chunk_outputs (const VigGlaRun *a, int n, const float *S, Scratch *s)
{
  int padded = padded_dk (a);
  for (int block = 0; block < n; block += ROWS) {
    Vec sum[ROWS][SV];
    for (int i = 0; i < ROWS; i++)
      for (int j = 0; j < SV; j++)
        sum[i][j] = v_set (0);
    add_products (sum, s->A + block * C, C, 1, s->v, block);
    add_triangle (sum, s->A + block * C + block, C, s->v + block * SLICE);
    add_products (sum, s->q + block * padded, padded, 1, S, a->dk);
    for (int i = 0; i < ROWS; i++)
      for (int j = 0; j < SV; j++)
        v_store (s->o + (block + i) * SLICE + j * VW, sum[i][j]);
  }
}

/* S of one slice after the chunk. On the way the tokens of the next one are fetched, a few at a time: not more than the
 * processor waits for anyway. */
static void
chunk_state (const Walk *w, const Output *to, int done, int n, int slice, float *S, const Scratch *s)
{
  const VigGlaRun *a = w->a;
  int padded = padded_dk (a), blocks = (a->dk + ROWS - 1) / ROWS;
  int steps = (w->end - w->first) * blocks, step = (slice - w->first) * blocks;
  for (int r = 0; r < a->dk; r += ROWS, step++) {
    for (int i = C * step / steps; i < C * (step + 1) / steps; i++)
      fetch_token (w, to, done + C + i);
    Vec sum[ROWS][SV];
    for (int i = 0; i < ROWS; i++)
      for (int j = 0; j < SV; j++)
        sum[i][j] = v_mul (v_set (s->low[r + i]), v_load (S + (r + i) * SLICE + j * VW));
    add_products (sum, s->k + r, 1, padded, s->v, n);
    for (int i = 0; i < ROWS; i++)
      for (int j = 0; j < SV; j++) {
        float *x = S + (r + i) * SLICE + j * VW;
        v_store (x, v_fma (v_set (s->high[r + i]), v_load (x), sum[i][j]));
      }
  }
}

/* All chunks of the walk from S in s->S on, which ends as what follows. to: NULL where only the state counts. sums [DK]:
 * of all log decays, or NULL. */
static void
walk_chunks (const Walk *w, const Output *to, float *sums, Scratch *s)
{
  const VigGlaRun *a = w->a;
  int padded = padded_dk (a);
  for (int done = 0; done < w->tokens; done += C) {
    int t = w->t + done * w->step, n = w->tokens - done < C ? w->tokens - done : C;
    chunk_load (w, t, n, to != NULL, s);
    if (to)
      chunk_pairs (w, n, s);
    chunk_decays (w, s);
    for (int r = 0; sums && r < a->dk; r++)
      sums[r] = (done ? sums[r] : 0) + s->sum[r];
    for (int slice = w->first; slice < w->end; slice++) {
      float *S = s->S + (size_t) (slice - w->first) * (size_t) padded * SLICE;
      int first = slice * SLICE, columns = a->dv - first < SLICE ? a->dv - first : SLICE;
      for (int i = 0; i < n; i++)
        widen (a->v, at (w, a->v_at, t + i * w->step) + (size_t) first, a->type, columns, SLICE, s->v + i * SLICE);
      if (to) {
        chunk_outputs (a, n, S, s);
        for (int i = 0; i < n; i++)
          put (w, to, t + i * w->step, first, columns, s->o + i * SLICE);
      }
      chunk_state (w, to, done, n, slice, S, s);
    }
  }
}

/* ---- token by token */

/* The decay of a token, exp g, as it acts on S: near 1 as S + factor S, kept being VW; else as factor S alone, kept being 0. */
static inline void
token_decay (Vec g, float *factor, float *kept)
{
  Vec f = v_mul (g, v_set (V_LOG2E)), is_near = v_sub (v_abs (f), v_set (0.5f)); /* negative where it is */
  v_store (factor, v_if_negative (is_near, v_mul (f, v_exp2_slope (f)), decay (g)));
  v_store (kept, v_if_negative (is_near, v_set (VW), v_set (0)));
}

/* S + y, less what that lacks, which is for the next time */
static inline Vec
add_carefully (Vec S, Vec y, Vec *lost)
{
  Vec sum = v_add (S, y), of_y = v_sub (sum, S);
  *lost = v_add (v_sub (S, v_sub (sum, of_y)), v_sub (y, of_y));
  return sum;
}

/* `rows` rows of S from r on, some vectors of columns of which n exist: S = diag(d) S + k v^T, o += q^T S; rows are dv apart.
 * lost: what S lacks, or NULL: nobody counts that. */
static inline __attribute__ ((always_inline)) void
token_block (const VigGlaRun *a, int vectors, int n, int r, int rows, int first, const float *from, float *to, float *lost,
    const Scratch *s)
{
  Vec v[TOKEN_VECTORS], o[TOKEN_VECTORS];
  for (int c = 0; c < vectors; c++) {
    v[c] = v_load (s->v + first + c * VW);
    o[c] = v_load (s->o + first + c * VW);
  }
  size_t place = (size_t) r * (size_t) a->dv + (size_t) first;
  for (int end = r + rows; r < end; r++, place += (size_t) a->dv) {
    Lanes kept = v_lanes ((int) s->high[r]);
    Vec q = v_set (s->q[r]), k = v_set (s->k[r]), factor = v_set (s->d[r]);
    for (int c = 0; c < vectors; c++) {
      Vec old = v_get_f (from + place + c * VW, n - c * VW), x = v_fma (factor, old, v_mul (k, v[c]));
      if (lost) {
        Vec less = v_get_f (lost + place + c * VW, n - c * VW), rest = v_fma (factor, less, v_zero_beyond (kept, less));
        x = add_carefully (v_zero_beyond (kept, old), v_add (x, rest), &less);
        v_put (lost + place + c * VW, 0, VIG_TYPE_F32, n - c * VW, less);
      } else
        x = v_add_lanes (kept, x, old);
      v_put (to + place + c * VW, 0, VIG_TYPE_F32, n - c * VW, x);
      o[c] = v_fma (q, x, o[c]);
    }
  }
  for (int c = 0; c < vectors; c++)
    v_store (s->o + first + c * VW, o[c]);
}

/* All of S of one token, in blocks of rows that stay in the innermost cache until all their columns have come; of these as many
 * at once as there are: a decoding step, which reads S from memory, takes half as long as in strips of four vectors
 * (tests/bench/gla, 128/128 and 128/256). */
static inline __attribute__ ((always_inline)) void
token_state (const VigGlaRun *a, int columns, const float *from, float *to, float *lost, const Scratch *s)
{
  int block = TOKEN_BLOCK / a->dv;
#define COLUMNS(vectors) \
  for (; first + (vectors) * VW <= columns; first += (vectors) * VW) \
    token_block (a, vectors, (vectors) * VW, r, rows, first, from, to, lost, s)
  for (int r = 0; r < a->dk; r += block) {
    int rows = a->dk - r < block ? a->dk - r : block, first = 0;
    COLUMNS (TOKEN_VECTORS);
    COLUMNS (TOKEN_VECTORS / 2);
    COLUMNS (TOKEN_VECTORS / 4);
    COLUMNS (TOKEN_VECTORS / 8);
    for (; first < columns; first += VW)
      token_block (a, 1, columns - first, r, rows, first, from, to, lost, s);
  }
#undef COLUMNS
}

/* Some columns of a [DK, DV] become 0. */
static void
clear_rows (const VigGlaRun *a, int columns, float *rows)
{
  for (int r = 0; r < a->dk; r++, rows += a->dv)
    memset (rows, 0, sizeof *rows * (size_t) columns);
}

/* All tokens of the walk; state and end as in VigGlaRun, at the head's. */
static void
walk_tokens (const Walk *w, const Output *out, const float *state, float *end, Scratch *s)
{
  const VigGlaRun *a = w->a;
  int padded = padded_dk (a), first = w->first * SLICE, last = w->end * SLICE < a->dv ? w->end * SLICE : a->dv;
  int columns = last - first;
  float *lost = careful (a, w->tokens) ? s->lost + first : NULL, *to = (end ? end : s->S) + first;
  const float *from = state ? state + first : to;

  if (!state)
    clear_rows (a, columns, to);
  if (lost)
    clear_rows (a, columns, lost);
  for (int i = 0; i < w->tokens; i++) {
    int t = w->t + i * w->step;
    widen (a->q, at (w, a->q_at, t), a->type, a->dk, padded, s->q);
    widen (a->k, at (w, a->k_at, t), a->type, a->dk, padded, s->k);
    widen (a->v, at (w, a->v_at, t) + (size_t) first, a->type, columns, round_up (columns, VW), s->v);
    load_gates (w, t, padded, s->d);
    for (int j = 0; j < padded; j += VW)
      token_decay (v_load (s->d + j), s->d + j, s->high + j);
    for (int c = 0; c < columns; c += VW)
      v_store (s->o + c, v_set (0));
    if (lost)
      token_state (a, columns, from, to, lost, s);
    else
      token_state (a, columns, from, to, NULL, s);
    put (w, out, t, first, columns, s->o);
    from = to;
  }
}

/* ---- items ---------------------------------------------------------------------------------------------------------- */

/* The last sequence that begins at or before a piece: with first as the place that is compared, or split. */
static int
sequence_of (const Job *job, int64_t piece, bool split)
{
  int low = 0, high = job->a->batch;
  if (!job->a->ragged)
    return job->sequences->pieces == 1 ? (int) piece : (int) piece / job->sequences->pieces;
  while (high - low > 1) {
    int middle = low + (high - low) / 2;
    const Sequence *s = &job->sequences[middle];
    if ((split ? s->split : s->first) <= piece)
      low = middle;
    else
      high = middle;
  }
  return low;
}

static Scratch
scratch_of (const Job *job, int thread)
{
  Scratch s;
  scratch_in (job->a, job->scratch + (size_t) thread * job->scratch_size, &s);
  return s;
}

/* Which of the states (and sums) that pieces have of their own. */
static size_t
own_state (const Job *job, const Walk *w)
{
  return ((size_t) (w->s->split + w->piece) * (size_t) job->a->heads + (size_t) w->head) * 2 + w->backward;
}

static void
own_work (const void *data, int item, int thread)
{
  const Job *job = data;
  const VigGlaRun *a = job->a;
  Scratch s = scratch_of (job, thread);
  int part = item % job->parts, head = item / job->parts % a->heads;
  int64_t piece = item / job->parts / a->heads;
  int b = sequence_of (job, piece, true);
  for (int backward = !a->forward; backward <= a->backward; backward++) {
    Walk w = walk_of (job, b, head, (int) (piece - job->sequences[b].split), backward, part);
    size_t own = own_state (job, &w);
    state_load (&w, NULL, s.S);
    walk_chunks (&w, NULL, w.first == 0 ? job->sums + own * (size_t) a->dk : NULL, &s);
    state_store (&w, s.S, job->states + own * (size_t) a->dk * (size_t) a->dv);
  }
}

/* One row of S of a head in one direction, through all pieces: what each would leave becomes what is there before it. */
static void
join_row (const Job *job, int b, int head, bool backward, int r, Scratch *s)
{
  const VigGlaRun *a = job->a;
  const float *state = backward ? a->state_bw : a->state_fw;
  float *end = backward ? a->end_bw : a->end_fw, *S = s->o;
  size_t place = (((size_t) b * (size_t) a->heads + (size_t) head) * (size_t) a->dk + (size_t) r) * (size_t) a->dv;
  int n = a->dv, pieces = job->sequences[b].pieces;

  for (int c = 0; c < n; c += VW)
    v_store (S + c, state ? v_get_f (state + place + c, n - c) : v_set (0));
  for (int i = 0; i < pieces; i++) {
    Walk w = walk_of (job, b, head, backward ? pieces - 1 - i : i, backward, 0);
    size_t own = own_state (job, &w) * (size_t) a->dk + (size_t) r;
    float *row = job->states + own * (size_t) n, high[VW], low[VW];
    decay_parts (v_set (job->sums[own]), high, low);
    for (int c = 0; c < n; c += VW) {
      Vec before = v_load (S + c), x = v_fma (v_load (low), before, v_get_f (row + c, n - c));
      v_store (S + c, v_fma (v_load (high), before, x));
      v_put (row + c, 0, VIG_TYPE_F32, n - c, before);
    }
  }
  for (int c = 0; end && c < n; c += VW)
    v_put (end + place + c, 0, VIG_TYPE_F32, n - c, v_load (S + c));
}

static void
join_work (const void *data, int item, int thread)
{
  const Job *job = data;
  const VigGlaRun *a = job->a;
  Scratch s = scratch_of (job, thread);
  int blocks = (a->dk + JOINED - 1) / JOINED, first = item % blocks * JOINED;
  int head = item / blocks % a->heads, b = item / blocks / a->heads;
  for (int backward = !a->forward; job->sequences[b].pieces > 1 && backward <= a->backward; backward++)
    for (int r = first; r < first + JOINED && r < a->dk; r++)
      join_row (job, b, head, backward, r, &s);
}

static Walk
output_walk (const Job *job, int item, bool backward)
{
  int part = item % job->parts, rest = item / job->parts, head = rest % job->a->heads, piece = rest / job->a->heads;
  int b = sequence_of (job, piece, false);
  return walk_of (job, b, head, (int) (piece - job->sequences[b].first), backward, part);
}

static void
output_item (const Job *job, int item, Scratch *s)
{
  const VigGlaRun *a = job->a;
  for (int backward = !a->forward; backward <= a->backward; backward++) {
    Walk w = output_walk (job, item, backward);
    Output to = output_of (&w, s);
    const float *state = backward ? a->state_bw : a->state_fw;
    float *end = backward ? a->end_bw : a->end_fw;
    size_t size = (size_t) a->dk * (size_t) a->dv, place = ((size_t) w.b * (size_t) a->heads + (size_t) w.head) * size;
    bool split = w.s->pieces > 1;
    state = split ? job->states + own_state (job, &w) * size : state ? state + place : NULL;
    end = split || !end ? NULL : end + place;
    if (w.s->by_token && w.tokens) {
      walk_tokens (&w, &to, state, end, s);
      continue;
    }
    state_load (&w, state, s->S);
    walk_chunks (&w, &to, NULL, s);
    if (end)
      state_store (&w, s->S, end);
  }
}

static void
output_work (const void *data, int group, int thread)
{
  const Job *job = data;
  Scratch s = scratch_of (job, thread);
  int end = (group + 1) * job->group < job->items ? (group + 1) * job->group : job->items;
  for (int item = group * job->group; item < end; item++) {
    if (item + 1 < end) {
      Walk next = output_walk (job, item + 1, !job->a->forward);
      Output to = output_of (&next, &s);
      fetch_token (&next, &to, 0);
    }
    output_item (job, item, &s);
  }
}

static void
gla (void *ctx, const VigGlaRun *a)
{
  VigCpu *cpu = ctx;
  Job job;
  int64_t split;

  job_in (cpu, a, a->workspace, &job);
  int64_t pieces = sequences_of (&job, &split);
  if (pieces * a->heads < cpu->n_threads)
    job.parts = job.slices;
  if (split) {
    vig_pool_run (cpu->pool, (int) split * a->heads * job.parts, own_work, &job);
    vig_pool_run (cpu->pool, a->batch * a->heads * ((a->dk + JOINED - 1) / JOINED), join_work, &job);
  }
  job.items = (int) pieces * a->heads * job.parts;
  job.group = job.items / (cpu->n_threads * GROUPS) + 1;
  vig_pool_run (cpu->pool, (job.items + job.group - 1) / job.group, output_work, &job);
}

void VARIANT (vig_cpu_use_gla) (VigKernels *k);

void
VARIANT (vig_cpu_use_gla) (VigKernels *k)
{
  k->gla_plan = gla_plan;
  k->gla = gla;
}
