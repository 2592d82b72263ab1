/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Matrix products of our own for AVX-512, with and without its products of bf16; compiled once for each.
 *
 * A block of ROWS rows by two vectors of columns has its sums in registers while it goes along k: a step loads two vectors of
 * weights, and one number of a row (of bf16: a pair) meets both in one instruction each. A tile of rows goes through the
 * weights two vectors of columns at a time, which all its blocks read from the innermost caches; meanwhile the next two are
 * fetched: a model's weights are read once a picture and lie far away by then.
 *
 * Every sum starts with the bias (or 0) and takes k in ascending order, whatever block or tile its row is in. So tiles and
 * items of work may be cut as it suits the threads, and the rows of a batch are one long matrix.
 *
 * Weights are packed as [columns / VW][k][VW], columns beyond n being 0; of bf16 with pairs of k side by side.
 *
 * Measured (one thread on a Zen 4 core, whose multiplications alone reach 117 GFLOP/s, of bf16 twice that; best of 31):
 *   196x592x192  383 us, bf16 191    mlp (192, 512)  1021 us, bf16 523
 * which is what oneDNN takes for products alone as long as weights are in the caches: what is gained is that they need not be,
 * and the pass between an mlp's products. A frame of ViG-T 1.06 (bf16 1.04) times as fast.
 *   check-kernels --bench --kernel mlp --variant bf16 --threads 1
 */
#include "cpu/product.h"
#include "cpu/vec.h"

extern const VigProducts VARIANT (vig_products);

enum {
  ROWS = 14,     /* of a block: with two vectors of columns 28 of the 32 registers are sums */
  TILE = 7,      /* blocks of a tile: 98 rows, half a picture of 14 x 14 tokens */
  STEP = 4,      /* bytes of a row that a step takes: a float, or two of bf16 */
  PANEL = VW * STEP /* bytes of weights that a step takes for a vector of columns */
};

static int
steps (int k, VigType type)
{
  return type == VIG_TYPE_F32 ? k : k / 2;
}

static bool
takes (int k, VigType type)
{
#if defined __AVX512BF16__
  return type == VIG_TYPE_F32 || (type == VIG_TYPE_BF16 && k % 2 == 0);
#else
  return type == VIG_TYPE_F32;
#endif
}

static int
panels (int n)
{
  return (n + VW - 1) / VW;
}

static size_t
packed_size (int n, int k, VigType type)
{
  return (size_t) panels (n) * steps (k, type) * PANEL;
}

static void
pack (const VigMatmulDesc *d, void *to)
{
  int pair = d->type == VIG_TYPE_F32 ? 1 : 2;
  for (size_t i = 0, count = packed_size (d->n, d->k, d->type) / (STEP / pair); i < count; i++) {
    size_t column = i / d->k / VW * VW + i / pair % VW, k = i / (VW * pair) % (d->k / pair) * pair + i % pair;
    vig_set (to, i, d->type, column < (size_t) d->n ? d->weight[column * d->k + k] : 0);
  }
}

/* ---- a block ---- */

/* What a block does with its sums. */
typedef enum { STORE, ADD, SWIGLU } Finish;

typedef struct {
  const char *a; ptrdiff_t a_row;    /* bytes */
  int steps;
  const char *w[2];                  /* a panel of each vector of columns */
  const char *next; ptrdiff_t ahead; /* to be fetched, and how far it is to what the next step fetches: 0 or PANEL */
  const float *bias; int left[2];    /* of the first vector's columns, or NULL; columns there are of each vector */
  void *c; ptrdiff_t c_row;          /* elements */
} Block;

static inline Vec
multiply (const char *a, Vec w, Vec sum, VigType type)
{
#if defined __AVX512BF16__
  if (type == VIG_TYPE_BF16) {
    int both;
    memcpy (&both, a, sizeof both);
    return _mm512_dpbf16_ps (sum, (__m512bh) _mm512_set1_epi32 (both), (__m512bh) w);
  }
#endif
  float one;
  memcpy (&one, a, sizeof one);
  return v_fma (v_set (one), w, sum);
}

/* Three rows share a pointer: an address has room for one and for once or twice the distance between rows. */
TEMPLATE
row_sums (const char *a, ptrdiff_t row, int rows, int vectors, const Vec w[2], VigType type, Vec sum[][2])
{
#pragma GCC unroll 3
  for (int i = 0; i < rows && i < 3; i++)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++)
      sum[i][v] = multiply (a + i * row, w[v], sum[i][v], type);
}

/* a moves on by a step. The compiler must not see through it: it would keep a pointer for each row, more than there are
 * registers. */
#define NEXT(a) do { a += STEP; __asm__ ("" : "+r" (a)); } while (0)

/* The sums of rows x vectors. */
TEMPLATE
block_sums (const Block *b, int rows, int vectors, VigType type, Vec sum[ROWS][2])
{
  const char *w0 = b->w[0], *w1 = b->w[1], *next = b->next;
  ptrdiff_t row = b->a_row, ahead = b->ahead;
  const char *a0 = b->a, *a3 = a0 + 3 * row, *a6 = a0 + 6 * row, *a9 = a0 + 9 * row, *a12 = a0 + 12 * row;
#pragma GCC unroll 1
  for (int left = b->steps; left > 0; left--) {
    Vec w[2] = { v_load ((const float *) w0), vectors == 2 ? v_load ((const float *) w1) : v_set (0) };
    row_sums (a0, row, rows, vectors, w, type, sum);
    NEXT (a0);
    if (rows > 3) {
      row_sums (a3, row, rows - 3, vectors, w, type, sum + 3);
      NEXT (a3);
    }
    if (rows > 6) {
      row_sums (a6, row, rows - 6, vectors, w, type, sum + 6);
      NEXT (a6);
    }
    if (rows > 9) {
      row_sums (a9, row, rows - 9, vectors, w, type, sum + 9);
      NEXT (a9);
    }
    if (rows > 12) {
      row_sums (a12, row, rows - 12, vectors, w, type, sum + 12);
      NEXT (a12);
    }
    __builtin_prefetch (next, 0, 2);
    w0 += PANEL;
    w1 += PANEL;
    next += ahead;
  }
}

TEMPLATE
block (const Block *b, int rows, int vectors, Finish finish, VigType type, VigType to)
{
  int left[2] = { b->left[0], b->left[1] };
  ptrdiff_t row = b->c_row;
  void *c = b->c;
  Vec sum[ROWS][2];
#pragma GCC unroll 2
  for (int v = 0; v < vectors; v++) {
    Vec first = b->bias ? v_get_f (b->bias + v * VW, left[v]) : v_set (0);
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++)
      sum[i][v] = first;
  }
  block_sums (b, rows, vectors, type, sum);
#pragma GCC unroll 14
  for (int i = 0; i < rows; i++)
    if (finish == SWIGLU) {
      v_put (c, (size_t) (i * row), to, VW, v_mul (v_silu (sum[i][0], to), sum[i][1]));
    } else {
#pragma GCC unroll 2
      for (int v = 0; v < vectors; v++) {
        size_t at = (size_t) (i * row + v * VW);
        if (finish == ADD)
          sum[i][v] = v_add (sum[i][v], v_get (c, at, to, left[v]));
        v_put (c, at, to, left[v], sum[i][v]);
      }
    }
}

TEMPLATE
block_vectors (const Block *b, int rows, Finish finish, VigType type, VigType to)
{
  if (b->left[1] > 0)
    block (b, rows, 2, finish, type, to);
  else
    block (b, rows, 1, finish, type, to);
}

TEMPLATE
block_finish (const Block *b, int rows, Finish finish, VigType type, VigType to)
{
  if (finish == SWIGLU)
    block (b, rows, 2, SWIGLU, type, type);
  else if (finish == ADD)
    block_vectors (b, rows, ADD, type, VIG_TYPE_F32);
  else if (to == VIG_TYPE_F32)
    block_vectors (b, rows, STORE, type, VIG_TYPE_F32);
  else
    block_vectors (b, rows, STORE, type, type);
}

/* Rows of a block: as many of `left` as one has. */
static int
block_rows (int left)
{
  return left >= ROWS ? ROWS : left >= 7 ? 7 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

TEMPLATE
block_type (const Block *b, int rows, Finish finish, VigType to, VigType type)
{
  switch (rows) {
    case ROWS: block_finish (b, ROWS, finish, type, to); break;
    case 7: block_finish (b, 7, finish, type, to); break;
    case 4: block_finish (b, 4, finish, type, to); break;
    case 2: block_finish (b, 2, finish, type, to); break;
    default: block_finish (b, 1, finish, type, to); break;
  }
}

static void
block_f32 (const Block *b, int rows, Finish finish)
{
  block_type (b, rows, finish, VIG_TYPE_F32, VIG_TYPE_F32);
}

#if defined __AVX512BF16__
static void
block_bf16 (const Block *b, int rows, Finish finish, VigType to)
{
  block_type (b, rows, finish, to, VIG_TYPE_BF16);
}
#endif

/* ---- a tile ---- */

typedef struct {
  void *at;
  ptrdiff_t row; /* elements from one row to the next */
  VigType type;
} Matrix;

/* c [rows, n] = a [rows, k] * weight^T for columns first .. end - 1 (whole pairs of vectors but for n's last); SWIGLU: c
 * [rows, n / 2] from both halves of n, whole vectors each, and first .. end of the first half. */
static void
tile (const VigPacked *m, Matrix a, int rows, int first, int end, Finish finish, Matrix c)
{
  ptrdiff_t a_row = a.row * (ptrdiff_t) vig_type_size (a.type), panel = (ptrdiff_t) steps (m->k, m->type) * PANEL;
  int wide = finish == SWIGLU ? VW : 2 * VW, n = finish == SWIGLU ? m->n / 2 : m->n;
  for (int column = first; column < end; column += wide) {
    const char *w = (const char *) m->weight + column / VW * panel;
    ptrdiff_t other = finish == SWIGLU ? n / VW * panel : panel, next = wide / VW * panel;
    Block b = { .a_row = a_row, .steps = steps (m->k, m->type), .w = { w, w + other },
      .bias = m->bias ? m->bias + column : NULL, .left = { n - column, n - column - VW }, .c_row = c.row };
    for (int r = 0, i = 0, count; r < rows; r += count, i++) {
      count = block_rows (rows - r);
      b.a = (const char *) a.at + r * a_row;
      b.c = (char *) c.at + ((size_t) (r * c.row) + column) * vig_type_size (c.type);
      bool fetch = i < 2 && column + wide < end && (i == 0 || finish == SWIGLU || column + wide + VW < n);
      b.next = fetch ? b.w[i] + next : b.a;
      b.ahead = fetch ? PANEL : 0;
#if defined __AVX512BF16__
      if (m->type == VIG_TYPE_BF16) {
        block_bf16 (&b, count, finish, c.type);
        continue;
      }
#endif
      block_f32 (&b, count, finish);
    }
  }
}

/* ---- the operators ---- */

typedef struct {
  VigCpu *cpu;
  const VigPacked *m, *out; /* out: of an mlp */
  const void *a;            /* the operator's arguments */
  int rows, blocks, tiles;
  int parts;                /* that columns are cut into, where there are too few rows for the threads */
  size_t y, s;              /* of an mlp: where [rows, C] and [rows, I] of a tile end in the scratch space */
  ptrdiff_t s_row;          /* elements: rows of a power of two would all lie in the same places of the innermost cache */
} Job;

/* Cuts rows into tiles of whole blocks, as many for each thread. */
static void
cut (Job *job, int rows)
{
  int threads = job->cpu->n_threads;
  job->rows = rows;
  job->blocks = (rows + ROWS - 1) / ROWS;
  job->tiles = (job->blocks + TILE - 1) / TILE;
  job->tiles = (job->tiles + threads - 1) / threads * threads;
  if (job->tiles > job->blocks)
    job->tiles = job->blocks;
  job->parts = (threads + job->tiles - 1) / job->tiles;
}

static int
tile_first (const Job *job, int i)
{
  int row = ROWS * vig_cpu_cut (job->blocks, job->tiles, i);
  return row < job->rows ? row : job->rows;
}

static void
run_work (const void *data, int item, int thread)
{
  const Job *job = data;
  const VigMatmulRun *a = job->a;
  const VigPacked *m = job->m;
  int i = item / job->parts, part = item % job->parts, pairs = (m->n + 2 * VW - 1) / (2 * VW);
  int row = tile_first (job, i), first = 2 * VW * vig_cpu_cut (pairs, job->parts, part);
  int end = 2 * VW * vig_cpu_cut (pairs, job->parts, part + 1);
  Matrix from = { (char *) (uintptr_t) a->a + (size_t) row * m->k * vig_type_size (m->type), m->k, m->type };
  Matrix to = { (char *) a->c + (size_t) row * m->n * vig_type_size (a->type), m->n, a->type };
  tile (m, from, tile_first (job, i + 1) - row, first, end < m->n ? end : m->n, a->accumulate ? ADD : STORE, to);
}

static void
run (VigCpu *cpu, const VigPacked *m, const VigMatmulRun *a)
{
  Job job = { .cpu = cpu, .m = m, .a = a };
  cut (&job, a->batch * a->rows);
  vig_pool_run (cpu->pool, job.tiles * job.parts, run_work, &job);
}

static void
mlp_work (const void *data, int item, int thread)
{
  const Job *job = data;
  const VigMlp *a = job->a;
  VigType type = job->m->type;
  int row = tile_first (job, item), rows = tile_first (job, item + 1) - row, width = job->out->k;
  float *x = a->x + (size_t) row * a->c;
  char *y = job->cpu->scratch[thread], *s = y + job->y, *u = y + job->s;

  job->cpu->norm (&(VigNorm) { .rows = rows, .c = a->c, .x = x, .weight = a->norm_weight, .bias = a->norm_bias,
      .eps = a->eps, .y = y, .type = type }, 0, rows);
  Matrix my = { y, a->c, type }, ms = { s, job->s_row, type }, mx = { x, a->c, VIG_TYPE_F32 };
  if (width % VW == 0) {
    tile (job->m, my, rows, 0, width, SWIGLU, ms);
  } else {
    tile (job->m, my, rows, 0, 2 * width, STORE, (Matrix) { u, 2 * width, VIG_TYPE_F32 });
    job->cpu->swiglu (u, VIG_TYPE_F32, rows, width, s, type);
  }
  tile (job->out, ms, rows, 0, a->c, ADD, mx);
}

static size_t
aligned (size_t size)
{
  return (size + 63) / 64 * 64;
}

static void
mlp (VigCpu *cpu, const VigPacked *in, const VigPacked *out, const VigMlp *a)
{
  size_t size = vig_type_size (in->type), most = ROWS * TILE;
  Job job = { .cpu = cpu, .m = in, .out = out, .a = a, .y = aligned (most * a->c * size) };
  job.s_row = out->k % VW ? out->k : out->k + 64 / (ptrdiff_t) size;
  job.s = job.y + aligned (most * job.s_row * size);
  cut (&job, a->batch * a->rows);
  if (vig_cpu_scratch (cpu, job.s + (out->k % VW ? most * 2 * out->k * sizeof (float) : 0)))
    vig_pool_run (cpu->pool, job.tiles, mlp_work, &job);
}

const VigProducts VARIANT (vig_products) = { takes, packed_size, pack, run, mlp };
