/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The operators: shapes, tensors, calls, tolerances. The shapes are those of ViG at 224 and awkward ones. */
#include <math.h>

#include "check.h"

/* Every tolerance below is some 4 to 10 times the largest error that rounding to fp32 explains for the operator:
 * 2^-24 = 6e-8 an operation, growing with the root of the number of terms in a sum. */

static CheckTensor *
add (CheckCase *c, CheckTensor t)
{
  c->t[c->n_tensors] = t;
  return &c->t[c->n_tensors++];
}

static int
any (GRand *random, int low, int high)
{
  return g_rand_int_range (random, low, high + 1);
}

static VigType
any_type (GRand *random)
{
  return any (random, VIG_TYPE_F32, VIG_TYPE_F16);
}

/* ---- im2col: exact copies, or one rounding that must be the reference's own ---- */

enum { I2C_H, I2C_W, I2C_C, I2C_KERNEL, I2C_STRIDE, I2C_PAD, I2C_PLANAR, I2C_TYPE, I2C_ZEROS /* at the end of a row */,
  I2C_Y };

static int
out_side (int in, const int *d)
{
  return (in + 2 * d[I2C_PAD] - d[I2C_KERNEL]) / d[I2C_STRIDE] + 1;
}

/* Rows of a slice that begins at I2C_Y: half of what is left, at least one. */
static int
slice_rows (const int *d)
{
  int left = out_side (d[I2C_H], d) - d[I2C_Y];
  return d[I2C_Y] ? (left + 1) / 2 : left;
}

static void
im2col_tensors (CheckCase *c)
{
  const int *d = c->d;
  size_t rows = (size_t) slice_rows (d) * out_side (d[I2C_W], d);
  add (c, (CheckTensor) { .name = "x", .size = (size_t) d[I2C_H] * d[I2C_W] * d[I2C_C], .range = 2 });
  add (c, (CheckTensor) { .name = "cols", .use = CHECK_OUT, .type = d[I2C_TYPE],
      .size = rows * (d[I2C_KERNEL] * d[I2C_KERNEL] * d[I2C_C] + d[I2C_ZEROS]) });
}

static void
im2col_call (VigKernels *k, const CheckCase *c, void *state, void *const p[], int batch)
{
  const int *d = c->d;
  k->im2col (k->ctx, &(VigIm2col) { .batch = batch, .h = d[I2C_H], .w = d[I2C_W], .c = d[I2C_C],
      .kernel = d[I2C_KERNEL], .stride = d[I2C_STRIDE], .pad = d[I2C_PAD], .out_h = slice_rows (d), .out_y = d[I2C_Y],
      .out_w = out_side (d[I2C_W], d), .planar = d[I2C_PLANAR], .x = p[0], .cols = p[1], .type = d[I2C_TYPE],
      .row = d[I2C_ZEROS] ? d[I2C_KERNEL] * d[I2C_KERNEL] * d[I2C_C] + d[I2C_ZEROS] : 0 });
}

static void
im2col_draw (int *d, GRand *random)
{
  d[I2C_KERNEL] = any (random, 0, 1) ? 3 : 9;
  d[I2C_STRIDE] = any (random, 1, 8);
  d[I2C_PAD] = any (random, 0, 1);
  d[I2C_H] = any (random, 9, 40);
  d[I2C_W] = any (random, 9, 40);
  d[I2C_C] = any (random, 1, 40);
  d[I2C_PLANAR] = any (random, 0, 1);
  d[I2C_ZEROS] = any (random, 0, 1) ? any (random, 1, 9) : 0;
  d[I2C_TYPE] = any_type (random);
  d[I2C_Y] = any (random, 0, 1) ? any (random, 0, out_side (d[I2C_H], d) - 1) : 0;
}

static const int im2col_shapes[][CHECK_DIMS] = {
  { 224, 224, 3, 9, 8, 1, 1, VIG_TYPE_F32 }, { 28, 28, 96, 3, 2, 1, 0, VIG_TYPE_F32 },
  { 28, 28, 96, 3, 2, 1, 0, VIG_TYPE_BF16 }, { 224, 224, 3, 3, 2, 1, 1, VIG_TYPE_F32 },
  { 28, 28, 96, 3, 2, 1, 0, VIG_TYPE_F16 }, { 224, 224, 3, 3, 2, 1, 1, VIG_TYPE_F16 },
  { 9, 9, 3, 9, 8, 1, 1, VIG_TYPE_BF16 }, { 1, 1, 5, 3, 2, 1, 0, VIG_TYPE_F32 }, { 7, 1, 3, 3, 2, 1, 1, VIG_TYPE_F32 },
  { 30, 30, 3, 9, 8, 1, 1, VIG_TYPE_BF16, 5 }, { 12, 12, 8, 3, 2, 1, 0, VIG_TYPE_BF16, 8 },
  { 66, 66, 3, 9, 8, 1, 1, VIG_TYPE_BF16, 5, 7 }, { 66, 66, 6, 9, 8, 1, 1, VIG_TYPE_BF16, 2 },
  { 10, 11, 6, 9, 8, 1, 1, VIG_TYPE_F32 }, { 11, 10, 1, 9, 2, 1, 1, VIG_TYPE_F16, 7 }, { 28, 28, 96, 3, 2, 1, 0, VIG_TYPE_BF16, 0, 9 },
};

/* ---- rmsnorm, layernorm: a sum of c squares, one root, four products ---- */

enum { NORM_ROWS, NORM_C, NORM_ACT, NORM_TYPE, NORM_IN_PLACE };

static void
norm_tensors (CheckCase *c)
{
  const int *d = c->d;
  size_t n = (size_t) d[NORM_ROWS] * d[NORM_C];
  add (c, (CheckTensor) { .name = "x", .use = d[NORM_IN_PLACE] ? CHECK_INOUT : CHECK_IN, .size = n, .range = 3,
      .offset = 0.5f, .outliers = true });
  add (c, (CheckTensor) { .name = "weight", .size = d[NORM_C], .range = 1, .offset = 1, .shared = true });
  add (c, (CheckTensor) { .name = "bias", .size = d[NORM_C], .range = 1, .shared = true });
  if (!d[NORM_IN_PLACE])
    add (c, (CheckTensor) { .name = "y", .use = CHECK_OUT, .type = d[NORM_TYPE], .size = n });
}

static void
norm_call (VigKernels *k, const CheckCase *c, void *state, void *const p[], int batch)
{
  const int *d = c->d;
  bool layer = c->op->slot == offsetof (VigKernels, layernorm);
  VigNorm a = { .rows = batch * d[NORM_ROWS], .c = d[NORM_C], .x = p[0], .weight = p[1], .bias = layer ? p[2] : NULL,
    .eps = layer ? 1e-5f : 1e-6f, .act = d[NORM_ACT], .y = d[NORM_IN_PLACE] ? p[0] : p[3], .type = d[NORM_TYPE] };
  (layer ? k->layernorm : k->rmsnorm) (k->ctx, &a);
}

static void
norm_draw (int *d, GRand *random)
{
  d[NORM_ROWS] = any (random, 1, 70);
  d[NORM_C] = any (random, 1, 200);
  d[NORM_ACT] = any (random, VIG_ACT_NONE, VIG_ACT_GELU);
  d[NORM_TYPE] = any_type (random);
  d[NORM_IN_PLACE] = d[NORM_TYPE] == VIG_TYPE_F32 && any (random, 0, 1);
}

static const int norm_shapes[][CHECK_DIMS] = {
  { 196, 192, VIG_ACT_NONE, VIG_TYPE_F32 }, { 196, 192, VIG_ACT_NONE, VIG_TYPE_BF16 },
  { 784, 96, VIG_ACT_SILU, VIG_TYPE_F32, 1 }, { 12544, 48, VIG_ACT_GELU, VIG_TYPE_F32, 1 },
  { 196, 192, VIG_ACT_NONE, VIG_TYPE_F16 },
  { 17, 1024, VIG_ACT_NONE, VIG_TYPE_F32 }, { 63, 384, VIG_ACT_NONE, VIG_TYPE_BF16 }, { 1, 768, VIG_ACT_GELU, 0, 1 },
};

/* ---- add_pos: one exact addition ---- */

enum { POS_TOKENS, POS_C };

static void
pos_tensors (CheckCase *c)
{
  size_t n = (size_t) c->d[POS_TOKENS] * c->d[POS_C];
  add (c, (CheckTensor) { .name = "x", .use = CHECK_INOUT, .size = n, .range = 2 });
  add (c, (CheckTensor) { .name = "pos", .size = n, .range = 2, .shared = true });
}

static void
pos_call (VigKernels *k, const CheckCase *c, void *state, void *const p[], int batch)
{
  k->add_pos (k->ctx, &(VigAddPos) { .batch = batch, .tokens = c->d[POS_TOKENS], .c = c->d[POS_C], .x = p[0],
      .pos = p[1] });
}

static void
rows_draw (int *d, GRand *random)
{
  d[0] = any (random, 1, 200);
  d[1] = any (random, 1, 200);
}

static const int pos_shapes[][CHECK_DIMS] = { { 196, 192 }, { 1, 1 }, { 17, 96 } };

/* ---- dwconv3x3: nine products ---- */

enum { DW_H, DW_W, DW_C, DW_ACT, DW_TYPE };

static void
dw_tensors (CheckCase *c)
{
  const int *d = c->d;
  size_t n = (size_t) d[DW_H] * d[DW_W] * d[DW_C];
  add (c, (CheckTensor) { .name = "x", .size = n, .range = 3, .outliers = true });
  add (c, (CheckTensor) { .name = "weight", .size = 9 * d[DW_C], .range = 1, .shared = true });
  add (c, (CheckTensor) { .name = "y", .use = CHECK_OUT, .type = d[DW_TYPE], .size = n });
}

static void
dw_call (VigKernels *k, const CheckCase *c, void *state, void *const p[], int batch)
{
  const int *d = c->d;
  k->dwconv3x3 (k->ctx, &(VigDwconv) { .batch = batch, .h = d[DW_H], .w = d[DW_W], .c = d[DW_C], .x = p[0],
      .weight = p[1], .act = d[DW_ACT], .y = p[2], .type = d[DW_TYPE] });
}

static void
dw_draw (int *d, GRand *random)
{
  d[DW_H] = any (random, 1, 20);
  d[DW_W] = any (random, 1, 20);
  d[DW_C] = any (random, 1, 100);
  d[DW_ACT] = any (random, VIG_ACT_NONE, VIG_ACT_GELU);
  d[DW_TYPE] = any_type (random);
}

static const int dw_shapes[][CHECK_DIMS] = {
  { 14, 14, 192, VIG_ACT_SILU, VIG_TYPE_F32 }, { 14, 14, 192, VIG_ACT_SILU, VIG_TYPE_BF16 },
  { 56, 56, 96, VIG_ACT_NONE, VIG_TYPE_F32 }, { 1, 1, 64, VIG_ACT_NONE, VIG_TYPE_F32 },
  { 1, 17, 33, VIG_ACT_SILU, VIG_TYPE_F32 }, { 7, 1, 768, VIG_ACT_NONE, VIG_TYPE_BF16 },
  { 2, 2, 384, VIG_ACT_GELU, VIG_TYPE_F32 }, { 14, 14, 192, VIG_ACT_SILU, VIG_TYPE_F16 },
};

/* ---- matmul: sums of k products of the given type, in fp32 in any order ---- */

enum { MM_ROWS, MM_N, MM_K, MM_TYPE, MM_BIAS, MM_ACCUMULATE, MM_OUT };

static void
mm_tensors (CheckCase *c)
{
  const int *d = c->d;
  add (c, (CheckTensor) { .name = "weight", .size = (size_t) d[MM_N] * d[MM_K], .range = 1, .shared = true,
      .host = true });
  add (c, (CheckTensor) { .name = "bias", .size = d[MM_N], .range = 1, .shared = true, .host = true });
  add (c, (CheckTensor) { .name = "a", .type = d[MM_TYPE], .size = (size_t) d[MM_ROWS] * d[MM_K], .range = 2 });
  add (c, (CheckTensor) { .name = "c", .use = d[MM_ACCUMULATE] ? CHECK_INOUT : CHECK_OUT,
      .type = d[MM_OUT], .size = (size_t) d[MM_ROWS] * d[MM_N], .range = 2 });
}

static void *
mm_open (VigKernels *k, const CheckCase *c, void *const p[])
{
  const int *d = c->d;
  return k->matmul_create (k->ctx, &(VigMatmulDesc) { .n = d[MM_N], .k = d[MM_K], .type = d[MM_TYPE], .weight = p[0],
      .bias = d[MM_BIAS] ? p[1] : NULL });
}

static void
mm_call (VigKernels *k, const CheckCase *c, void *state, void *const p[], int batch)
{
  k->matmul_run (k->ctx, state, &(VigMatmulRun) { .batch = batch, .rows = c->d[MM_ROWS], .a = p[2], .c = p[3],
      .type = c->d[MM_OUT], .accumulate = c->d[MM_ACCUMULATE] });
}

static void
mm_close (VigKernels *k, void *state)
{
  k->matmul_destroy (k->ctx, state);
}

static void
mm_draw (int *d, GRand *random)
{
  d[MM_ROWS] = any (random, 1, 260);
  d[MM_N] = any (random, 1, 200);
  d[MM_K] = any (random, 1, 300);
  d[MM_TYPE] = any_type (random);
  d[MM_BIAS] = any (random, 0, 1);
  d[MM_ACCUMULATE] = any (random, 0, 1);
}

static void
mm_16_draw (int *d, GRand *random)
{
  mm_draw (d, random);
  d[MM_TYPE] = d[MM_OUT] = any (random, VIG_TYPE_BF16, VIG_TYPE_F16);
  d[MM_ACCUMULATE] = 0;
}

static double
mm_work (const CheckCase *c)
{
  return 2.0 * c->d[MM_ROWS] * c->d[MM_N] * c->d[MM_K];
}

static const int mm_shapes[][CHECK_DIMS] = {
  { 196, 592, 192, VIG_TYPE_F32, 1 }, { 196, 1024, 192, VIG_TYPE_F32 }, { 196, 192, 512, VIG_TYPE_F32, 0, 1 },
  { 196, 192, 192, VIG_TYPE_F32, 0, 1 }, { 196, 192, 864, VIG_TYPE_F32, 1 }, { 729, 96, 243, VIG_TYPE_F32, 1 },
  { 1, 1000, 192, VIG_TYPE_F32, 1 },
  { 196, 592, 192, VIG_TYPE_BF16, 1 }, { 196, 1024, 192, VIG_TYPE_BF16 }, { 196, 192, 512, VIG_TYPE_BF16, 0, 1 },
  { 196, 192, 192, VIG_TYPE_BF16, 0, 1 }, { 196, 192, 864, VIG_TYPE_BF16, 1 }, { 729, 96, 243, VIG_TYPE_BF16, 1 },
  { 1, 1000, 192, VIG_TYPE_BF16, 1 },
  { 196, 592, 192, VIG_TYPE_F16, 1 }, { 196, 192, 512, VIG_TYPE_F16, 0, 1 },
  { 1, 7, 33, VIG_TYPE_F32 }, { 1, 7, 33, VIG_TYPE_BF16 }, { 17, 16, 384, VIG_TYPE_BF16 }, { 63, 1, 96, VIG_TYPE_F32, 1 },
  { 197, 768, 100, VIG_TYPE_F32, 1, 1 }, { 197, 100, 77, VIG_TYPE_BF16, 1, 1 }, { 3136, 48, 96, VIG_TYPE_F32 },
  { 17, 2752, 1024, VIG_TYPE_BF16, 0, 1 }, { 1, 7, 33, VIG_TYPE_F16 }, { 17, 16, 384, VIG_TYPE_F16 },
  { 197, 100, 77, VIG_TYPE_F16, 1, 1 },
  { 36864, 8, 8, VIG_TYPE_F32 }, /* a first stage of 192 x 192 tokens */
};

static const int mm_16_shapes[][CHECK_DIMS] = {
  { 196, 592, 192, VIG_TYPE_BF16, 1, 0, VIG_TYPE_BF16 }, { 196, 592, 192, VIG_TYPE_F16, 1, 0, VIG_TYPE_F16 },
  { 1, 7, 33, VIG_TYPE_BF16, 0, 0, VIG_TYPE_BF16 }, { 17, 16, 384, VIG_TYPE_F16, 0, 0, VIG_TYPE_F16 },
};

/* ---- log_decay: rank products, log1p (exp): near 0 the result is exp (-z) / 16, and must be right relatively ---- */

enum { LD_ROWS, LD_RANK, LD_C, LD_GAP };

static void
ld_tensors (CheckCase *c)
{
  const int *d = c->d;
  add (c, (CheckTensor) { .name = "low", .size = (size_t) d[LD_ROWS] * (d[LD_RANK] + d[LD_GAP]), .range = 2,
      .outliers = true, .row = d[LD_RANK] + d[LD_GAP], .used = d[LD_RANK] });
  add (c, (CheckTensor) { .name = "weight", .size = (size_t) d[LD_C] * d[LD_RANK], .range = 1, .shared = true });
  add (c, (CheckTensor) { .name = "bias", .size = d[LD_C], .range = 6, .shared = true });
  add (c, (CheckTensor) { .name = "gk", .use = CHECK_OUT, .size = (size_t) d[LD_ROWS] * d[LD_C] });
}

static void
ld_call (VigKernels *k, const CheckCase *c, void *state, void *const p[], int batch)
{
  const int *d = c->d;
  k->log_decay (k->ctx, &(VigLogDecay) { .rows = batch * d[LD_ROWS], .rank = d[LD_RANK], .c = d[LD_C], .low = p[0],
      .low_row = d[LD_RANK] + d[LD_GAP], .weight = p[1], .bias = p[2], .gk = p[3] });
}

static void
ld_draw (int *d, GRand *random)
{
  d[LD_ROWS] = any (random, 1, 200);
  d[LD_RANK] = any (random, 0, 2) ? 16 : any (random, 1, 40);
  d[LD_C] = any (random, 1, 200);
  d[LD_GAP] = any (random, 0, 40);
}

static const int ld_shapes[][CHECK_DIMS] = {
  { 196, 16, 192, 576 }, { 3136, 16, 96, 0 }, { 1, 16, 1024, 3 }, { 17, 1, 33, 1 },
};

/* ---- gla_bidir: at strong gates a handful of terms, at none L of them ---- */

enum { GLA_L, GLA_H, GLA_DK, GLA_DV, GLA_GAP, GLA_DIRECTIONS /* 1 forward, 2 backward, 3 */, GLA_STATE /* 1 in, 2 out */,
  GLA_GATES, GLA_TYPE };

/* Gates as a trained model has them, and every extreme. */
enum { GATES_MIXED, GATES_NONE, GATES_STRONG, GATES_NEAR_1, GATES_ALTERNATING, GATES_RESET, GATES_KINDS };

static void
gates_fill (float *values, size_t n, const int *dims, GRand *random)
{
  const float strong = logf (1e-6f);
  for (size_t i = 0; i < n; i++) {
    double u = g_rand_double (random);
    switch (dims[GLA_GATES]) {
      case GATES_MIXED: values[i] = (float) -exp (-9 + 8.5 * u); break;
      case GATES_NONE: values[i] = 0; break;
      case GATES_STRONG: values[i] = strong; break;
      case GATES_NEAR_1: values[i] = (float) (-3e-8 * u); break;
      case GATES_ALTERNATING: values[i] = i & 1 ? 0 : strong; break;
      default: values[i] = u < 0.02 ? -88 : u < 0.04 ? -200 : u < 0.05 ? -1e30f : -1e-3f; break;
    }
  }
}

static void
gla_tensors (CheckCase *c)
{
  const int *d = c->d;
  int hk = d[GLA_H] * d[GLA_DK], hv = d[GLA_H] * d[GLA_DV], row = 2 * hk + hv + d[GLA_GAP];
  size_t state = (size_t) hk * d[GLA_DV];
  add (c, (CheckTensor) { .name = "qkv", .size = (size_t) d[GLA_L] * row, .range = 2, .row = row, .used = 2 * hk + hv });
  add (c, (CheckTensor) { .name = "gk", .size = (size_t) d[GLA_L] * 2 * hk, .fill = gates_fill });
  add (c, (CheckTensor) { .name = "o", .use = CHECK_OUT, .size = (size_t) d[GLA_L] * hv });
  if (d[GLA_STATE] & 1)
    add (c, (CheckTensor) { .name = "state_fw", .size = state, .range = 2 });
  if (d[GLA_STATE] & 1)
    add (c, (CheckTensor) { .name = "state_bw", .size = state, .range = 2 });
  if (d[GLA_STATE] & 2 && d[GLA_DIRECTIONS] & 1)
    add (c, (CheckTensor) { .name = "end_fw", .use = CHECK_OUT, .size = state });
  if (d[GLA_STATE] & 2 && d[GLA_DIRECTIONS] & 2)
    add (c, (CheckTensor) { .name = "end_bw", .use = CHECK_OUT, .size = state });
}

static void *
named (const CheckCase *c, void *const p[], const char *name)
{
  for (int i = 0; i < c->n_tensors; i++)
    if (g_str_equal (c->t[i].name, name))
      return p[i];
  return NULL;
}

static void
gla_call (VigKernels *k, const CheckCase *c, void *state, void *const p[], int batch)
{
  const int *d = c->d;
  int hk = d[GLA_H] * d[GLA_DK], hv = d[GLA_H] * d[GLA_DV];
  const float *qkv = p[0], *gk = p[1];
  k->gla_bidir (k->ctx, &(VigGlaBidir) { .batch = batch, .tokens = d[GLA_L], .heads = d[GLA_H], .dk = d[GLA_DK],
      .dv = d[GLA_DV], .q = qkv, .k = qkv + hk, .v = qkv + 2 * hk, .row = 2 * hk + hv + d[GLA_GAP],
      .gk_fw = d[GLA_DIRECTIONS] & 1 ? gk : NULL, .gk_bw = d[GLA_DIRECTIONS] & 2 ? gk + hk : NULL, .gk_row = 2 * hk,
      .o = p[2], .scale = 0.25f / sqrtf ((float) d[GLA_DK]),
      .state_fw = named (c, p, "state_fw"), .state_bw = named (c, p, "state_bw"),
      .end_fw = named (c, p, "end_fw"), .end_bw = named (c, p, "end_bw"), .type = d[GLA_TYPE] });
}

static void
gla_draw (int *d, GRand *random)
{
  static const int dims[] = { 16, 32, 64, 1, 7, 24, 48 };
  d[GLA_L] = any (random, 1, 70);
  d[GLA_H] = any (random, 1, 5);
  d[GLA_DK] = dims[any (random, 0, G_N_ELEMENTS (dims) - 1)];
  d[GLA_DV] = dims[any (random, 0, G_N_ELEMENTS (dims) - 1)];
  d[GLA_GAP] = any (random, 0, 20);
  d[GLA_DIRECTIONS] = any (random, 1, 3);
  d[GLA_STATE] = any (random, 0, 3);
  d[GLA_GATES] = any (random, 0, GATES_KINDS - 1);
}

static void
gla_bf16_draw (int *d, GRand *random)
{
  gla_draw (d, random);
  d[GLA_TYPE] = VIG_TYPE_BF16;
}

static double
gla_work (const CheckCase *c)
{
  return (double) c->d[GLA_L] * c->d[GLA_H] * (c->d[GLA_DIRECTIONS] == 3 ? 2 : 1);
}

static const int gla_shapes[][CHECK_DIMS] = {
  { 196, 3, 32, 64, 208, 3, 0, GATES_MIXED }, { 3136, 3, 16, 32, 0, 3, 0, GATES_MIXED },
  { 1, 3, 32, 64, 0, 3, 3, GATES_MIXED }, { 17, 6, 32, 64, 0, 3, 3, GATES_RESET }, { 63, 2, 16, 32, 5, 3, 0, GATES_STRONG },
  { 197, 12, 32, 64, 0, 3, 0, GATES_NONE }, { 197, 3, 32, 64, 0, 3, 3, GATES_ALTERNATING },
  { 49, 24, 16, 32, 0, 3, 0, GATES_NEAR_1 }, { 197, 3, 32, 64, 1, 3, 3, GATES_RESET }, { 2, 1, 32, 64, 0, 1, 1, GATES_MIXED },
  { 3, 1, 32, 64, 0, 2, 2, GATES_MIXED }, { 197, 2, 31, 67, 3, 3, 3, GATES_MIXED },
  /* long ones, which have forms of their own */
  { 300, 2, 32, 64, 8, 3, 3, GATES_RESET }, { 257, 1, 16, 32, 1, 3, 3, GATES_MIXED }, { 320, 1, 32, 64, 0, 2, 2, GATES_NONE },
};

/* A chunk of the bf16 variant is 8 tokens. */
static const int gla_bf16_shapes[][CHECK_DIMS] = {
  { 196, 3, 32, 64, 208, 3, 0, GATES_MIXED, VIG_TYPE_BF16 }, { 1, 3, 32, 64, 0, 3, 3, GATES_MIXED, VIG_TYPE_BF16 },
  { 23, 6, 32, 64, 0, 3, 3, GATES_RESET, VIG_TYPE_BF16 }, { 197, 3, 32, 64, 0, 3, 0, GATES_NONE, VIG_TYPE_BF16 },
  { 197, 3, 32, 64, 0, 3, 3, GATES_ALTERNATING, VIG_TYPE_BF16 }, { 64, 2, 16, 32, 5, 3, 3, GATES_STRONG, VIG_TYPE_BF16 },
  { 61, 2, 31, 67, 3, 3, 3, GATES_NEAR_1, VIG_TYPE_BF16 },
};

/* ---- gla: as gla_bidir, in every form, layout, kind of gates and of results ---- */

enum { RUN_L, RUN_H, RUN_DK, RUN_DV, RUN_GAP /* behind a head of q */, RUN_DIRECTIONS, RUN_STATE /* 1 in, 2 out, 4 in place */,
  RUN_GATES, RUN_FORM, RUN_WIDTH /* of gates: 0 DK, 1 one, 2 none */, RUN_TYPE, RUN_OUT /* their types */,
  RUN_LAYOUT /* 0 [L, H, D], 1 [H, L, D] */, RUN_PARTS /* 0, or ragged sequences of an item, one of them empty */ };
G_STATIC_ASSERT ((int) RUN_GATES == (int) GLA_GATES); /* for gates_fill() */

static int
run_width (const int *d)
{
  return d[RUN_WIDTH] == 0 ? d[RUN_DK] : 2 - d[RUN_WIDTH];
}

static void
run_tensors (CheckCase *c)
{
  const int *d = c->d;
  size_t tokens = (size_t) d[RUN_L] * d[RUN_H];
  size_t state = (size_t) MAX (d[RUN_PARTS], 1) * d[RUN_H] * d[RUN_DK] * d[RUN_DV];
  bool in = d[RUN_STATE] & 1, out = d[RUN_STATE] & 2, same = d[RUN_STATE] & 4;
  add (c, (CheckTensor) { .name = "q", .type = d[RUN_TYPE], .size = tokens * (d[RUN_DK] + d[RUN_GAP]), .range = 2,
      .row = d[RUN_DK] + d[RUN_GAP], .used = d[RUN_DK] });
  add (c, (CheckTensor) { .name = "k", .type = d[RUN_TYPE], .size = tokens * d[RUN_DK], .range = 2 });
  add (c, (CheckTensor) { .name = "v", .type = d[RUN_TYPE], .size = tokens * d[RUN_DV], .range = 2 });
  add (c, (CheckTensor) { .name = "o_sum", .use = CHECK_OUT, .type = d[RUN_OUT], .size = tokens * d[RUN_DV] });
  for (int i = 0; i < 2; i++) {
    if (!(d[RUN_DIRECTIONS] & (1 << i)))
      continue;
    if (run_width (d))
      add (c, (CheckTensor) { .name = i ? "gate_bw" : "gate_fw", .size = tokens * run_width (d), .fill = gates_fill });
    add (c, (CheckTensor) { .name = i ? "o_bw" : "o_fw", .use = CHECK_OUT, .type = d[RUN_OUT], .size = tokens * d[RUN_DV] });
    if (in || same)
      add (c, (CheckTensor) { .name = i ? "state_bw" : "state_fw", .use = same ? CHECK_INOUT : CHECK_IN, .size = state,
          .range = 2 });
    if (out && !same)
      add (c, (CheckTensor) { .name = i ? "end_bw" : "end_fw", .use = CHECK_OUT, .size = state });
  }
}

static VigStrides
run_strides (const int *d, ptrdiff_t width)
{
  ptrdiff_t item = (ptrdiff_t) d[RUN_L] * d[RUN_H] * width;
  if (d[RUN_LAYOUT])
    return (VigStrides) { item, width, d[RUN_L] * width };
  return (VigStrides) { item, d[RUN_H] * width, width };
}

static int64_t *
run_offsets (const int *d, int batch)
{
  int parts = d[RUN_PARTS];
  int64_t *offsets = g_new0 (int64_t, batch * parts + 1);
  for (int i = 0; i < batch * parts; i++) /* two halves, or one that is empty and the others the same */
    offsets[i] = i / parts * d[RUN_L]
        + (parts < 3 ? d[RUN_L] * (i % parts) / parts : d[RUN_L] * MAX (i % parts - 1, 0) / (parts - 1));
  offsets[batch * parts] = batch * d[RUN_L];
  return offsets;
}

static void
run_call (VigKernels *k, const CheckCase *c, void *state, void *const p[], int batch)
{
  const int *d = c->d;
  bool ragged = d[RUN_PARTS], same = d[RUN_STATE] & 4;
  g_autofree int64_t *offsets = ragged ? run_offsets (d, batch) : NULL;
  VigGlaRun a = { .form = d[RUN_FORM], .batch = batch * MAX (d[RUN_PARTS], 1), .heads = d[RUN_H], .dk = d[RUN_DK],
    .dv = d[RUN_DV], .tokens = ragged ? batch * d[RUN_L] : d[RUN_L], .ragged = ragged, .offsets = offsets,
    .forward = d[RUN_DIRECTIONS] & 1, .backward = d[RUN_DIRECTIONS] & 2, .gate_width = run_width (d),
    .scale = 1 / sqrtf ((float) d[RUN_DK]), .type = d[RUN_TYPE], .o_type = d[RUN_OUT], .q = p[0], .k = p[1], .v = p[2],
    .q_at = run_strides (d, d[RUN_DK] + d[RUN_GAP]), .k_at = run_strides (d, d[RUN_DK]),
    .v_at = run_strides (d, d[RUN_DV]), .gate_at = run_strides (d, run_width (d)), .o_at = run_strides (d, d[RUN_DV]),
    .gate_fw = named (c, p, "gate_fw"), .gate_bw = named (c, p, "gate_bw"), .state_fw = named (c, p, "state_fw"),
    .state_bw = named (c, p, "state_bw"), .end_fw = named (c, p, same ? "state_fw" : "end_fw"),
    .end_bw = named (c, p, same ? "state_bw" : "end_bw"), .o_fw = named (c, p, "o_fw"), .o_bw = named (c, p, "o_bw"),
    .o_sum = p[3] };
  a.workspace = k->alloc (k->ctx, k->gla_plan (k->ctx, &a)); /* is in what is timed */
  k->gla (k->ctx, &a);
  const char *failure = k->finish (k->ctx);
  g_assert_cmpstr (failure, ==, NULL);
  k->free (k->ctx, a.workspace);
}

static void
run_shape (int *d, GRand *random, VigType type)
{
  static const int dims[] = { 16, 32, 64, 1, 7, 24, 100 };
  d[RUN_L] = any (random, 1, 200);
  d[RUN_H] = any (random, 1, 4);
  d[RUN_DK] = dims[any (random, 0, G_N_ELEMENTS (dims) - 1)];
  d[RUN_DV] = dims[any (random, 0, G_N_ELEMENTS (dims) - 1)];
  d[RUN_GAP] = any (random, 0, 9);
  d[RUN_DIRECTIONS] = any (random, 1, 3);
  d[RUN_STATE] = any (random, 0, 4);
  d[RUN_GATES] = any (random, 0, GATES_KINDS - 1);
  d[RUN_FORM] = any (random, VIG_SCAN_AUTO, VIG_SCAN_SPLIT);
  d[RUN_WIDTH] = any (random, 0, 2);
  d[RUN_LAYOUT] = any (random, 0, 1);
  d[RUN_PARTS] = d[RUN_LAYOUT] || any (random, 0, 1) ? 0 : any (random, 2, 4);
  d[RUN_TYPE] = (int) type;
  d[RUN_OUT] = any_type (random);
}

static void
run_draw (int *d, GRand *random)
{
  run_shape (d, random, VIG_TYPE_F32);
}

static void
run_16_draw (int *d, GRand *random)
{
  run_shape (d, random, any (random, VIG_TYPE_BF16, VIG_TYPE_F16));
}

static double
run_work (const CheckCase *c)
{
  return (double) c->d[RUN_L] * c->d[RUN_H] * (c->d[RUN_DIRECTIONS] == 3 ? 2 : 1);
}

static const int run_shapes[][CHECK_DIMS] = {
  { 196, 3, 32, 64, 0, 3, 0, GATES_MIXED },
  /* every form: alone and ragged, with states, in both layouts, dk and dv at their ends */
  { 333, 2, 32, 64, 3, 3, 3, GATES_RESET, VIG_SCAN_TOKENS }, { 333, 2, 32, 64, 3, 3, 3, GATES_RESET, VIG_SCAN_CHUNKS },
  { 333, 2, 32, 64, 3, 3, 3, GATES_RESET, VIG_SCAN_SPLIT }, { 333, 2, 32, 64, 3, 3, 4, GATES_RESET, VIG_SCAN_TOKENS, 0, 0, 0, 1 },
  { 333, 2, 32, 64, 3, 3, 4, GATES_RESET, VIG_SCAN_CHUNKS, 0, 0, 0, 1 },
  { 333, 2, 32, 64, 3, 3, 4, GATES_RESET, VIG_SCAN_SPLIT, 0, 0, 0, 1 },
  { 400, 2, 16, 32, 0, 3, 3, GATES_ALTERNATING, VIG_SCAN_SPLIT, 0, 0, 0, 0, 3 },
  { 400, 2, 16, 32, 0, 2, 3, GATES_NEAR_1, VIG_SCAN_SPLIT, 0, 0, 0, 0, 2 },
  { 400, 2, 16, 32, 0, 1, 4, GATES_STRONG, VIG_SCAN_AUTO, 0, 0, 0, 0, 4 },
  { 130, 1, 1, 1, 0, 3, 3, GATES_MIXED, VIG_SCAN_SPLIT, 1 }, { 130, 1, 256, 256, 0, 3, 3, GATES_MIXED, VIG_SCAN_SPLIT, 1 },
  { 33, 1, 256, 256, 0, 3, 3, GATES_MIXED, VIG_SCAN_CHUNKS }, { 5, 1, 256, 256, 0, 3, 4, GATES_MIXED, VIG_SCAN_TOKENS },
  { 5, 2, 1, 255, 0, 3, 3, GATES_MIXED, VIG_SCAN_TOKENS, 2 }, { 40, 2, 255, 1, 0, 3, 3, GATES_MIXED, VIG_SCAN_CHUNKS, 2 },
};

/* On tensor cores, what 16 bits are multiplied with has 8 or 11 bits. */
static const int run_16_shapes[][CHECK_DIMS] = {
  { 1024, 8, 64, 64, 0, 1, 0, GATES_MIXED, 0, 0, VIG_TYPE_BF16, VIG_TYPE_BF16 },
  { 1024, 8, 64, 64, 0, 3, 0, GATES_MIXED, 0, 0, VIG_TYPE_BF16, VIG_TYPE_BF16 },
  { 1024, 8, 64, 64, 0, 1, 0, GATES_MIXED, VIG_SCAN_SPLIT, 0, VIG_TYPE_BF16, VIG_TYPE_BF16 },
  { 1, 64, 64, 64, 0, 1, 5, GATES_MIXED, 0, 0, VIG_TYPE_BF16, VIG_TYPE_BF16 },
  { 200, 2, 32, 64, 0, 3, 3, GATES_MIXED, VIG_SCAN_SPLIT, 1, VIG_TYPE_F16, VIG_TYPE_F16, 1 },
  { 200, 2, 32, 64, 0, 3, 3, GATES_MIXED, VIG_SCAN_CHUNKS, 1, VIG_TYPE_F16, VIG_TYPE_F32, 0, 3 },
  { 7, 2, 32, 64, 0, 3, 3, GATES_MIXED, VIG_SCAN_TOKENS, 1, VIG_TYPE_BF16, VIG_TYPE_BF16, 0, 3 },
};

/* ---- gate_mix: two sums of dv squares, a sigmoid, an activation ---- */

enum { GM_ROWS, GM_H, GM_DV, GM_GAP, GM_ACT, GM_TYPE };

static void
gm_tensors (CheckCase *c)
{
  const int *d = c->d;
  int width = d[GM_H] * d[GM_DV];
  size_t n = (size_t) d[GM_ROWS] * width;
  add (c, (CheckTensor) { .name = "gate", .size = (size_t) d[GM_ROWS] * (width + d[GM_GAP]), .range = 4,
      .outliers = true, .row = width + d[GM_GAP], .used = width });
  add (c, (CheckTensor) { .name = "o", .size = n, .range = 10, .outliers = true });
  add (c, (CheckTensor) { .name = "l", .type = d[GM_TYPE], .size = n, .range = 2 });
  add (c, (CheckTensor) { .name = "g_norm", .size = d[GM_DV], .range = 1, .offset = 1, .shared = true });
  add (c, (CheckTensor) { .name = "l_norm", .size = d[GM_DV], .range = 1, .offset = 1, .shared = true });
  add (c, (CheckTensor) { .name = "m", .use = CHECK_OUT, .type = d[GM_TYPE], .size = n });
}

static void
gm_call (VigKernels *k, const CheckCase *c, void *state, void *const p[], int batch)
{
  const int *d = c->d;
  k->gate_mix (k->ctx, &(VigGateMix) { .rows = batch * d[GM_ROWS], .heads = d[GM_H], .dv = d[GM_DV], .gate = p[0],
      .gate_row = d[GM_H] * d[GM_DV] + d[GM_GAP], .o = p[1], .l = p[2], .g_norm = p[3], .l_norm = p[4], .eps = 1e-6f,
      .act = d[GM_ACT], .m = p[5], .type = d[GM_TYPE] });
}

static void
gm_shape (int *d, GRand *random, VigType type)
{
  d[GM_ROWS] = any (random, 1, 60);
  d[GM_H] = any (random, 1, 6);
  d[GM_DV] = any (random, 0, 1) ? 64 : any (random, 1, 70);
  d[GM_GAP] = any (random, 0, 20);
  d[GM_ACT] = any (random, VIG_ACT_NONE, VIG_ACT_GELU);
  d[GM_TYPE] = type;
}

static void
gm_draw (int *d, GRand *random)
{
  gm_shape (d, random, VIG_TYPE_F32);
}

static void
gm_16_draw (int *d, GRand *random)
{
  gm_shape (d, random, any (random, VIG_TYPE_BF16, VIG_TYPE_F16));
}

static const int gm_shapes[][CHECK_DIMS] = {
  { 196, 3, 64, 400, VIG_ACT_SILU, VIG_TYPE_F32 }, { 784, 6, 32, 0, VIG_ACT_NONE, VIG_TYPE_F32 },
  { 1, 12, 64, 0, VIG_ACT_NONE, VIG_TYPE_F32 },
};

static const int gm_16_shapes[][CHECK_DIMS] = {
  { 196, 3, 64, 400, VIG_ACT_SILU, VIG_TYPE_BF16 }, { 196, 3, 64, 400, VIG_ACT_SILU, VIG_TYPE_F16 },
  { 784, 6, 32, 0, VIG_ACT_NONE, VIG_TYPE_BF16 }, { 1, 12, 64, 0, VIG_ACT_GELU, VIG_TYPE_F16 },
};

/* ---- swiglu: a sigmoid and two products ---- */

enum { SG_ROWS, SG_WIDTH, SG_TYPE };

static void
sg_tensors (CheckCase *c)
{
  size_t n = (size_t) c->d[SG_ROWS] * c->d[SG_WIDTH];
  add (c, (CheckTensor) { .name = "u", .size = 2 * n, .range = 4, .outliers = true });
  add (c, (CheckTensor) { .name = "y", .use = CHECK_OUT, .type = c->d[SG_TYPE], .size = n });
}

static void
sg_call (VigKernels *k, const CheckCase *c, void *state, void *const p[], int batch)
{
  k->swiglu (k->ctx, &(VigSwiglu) { .rows = batch * c->d[SG_ROWS], .width = c->d[SG_WIDTH], .u = p[0], .y = p[1],
      .type = c->d[SG_TYPE] });
}

static void
sg_draw (int *d, GRand *random)
{
  d[SG_ROWS] = any (random, 1, 70);
  d[SG_WIDTH] = any (random, 1, 200);
  d[SG_TYPE] = any_type (random);
}

static const int sg_shapes[][CHECK_DIMS] = {
  { 196, 512, VIG_TYPE_F32 }, { 196, 512, VIG_TYPE_BF16 }, { 17, 352, VIG_TYPE_F32 }, { 1, 2752, VIG_TYPE_BF16 },
  { 196, 512, VIG_TYPE_F16 },
};

/* ---- norm_dwconv ---- */

enum { ND_H, ND_W, ND_C, ND_ACT, ND_TYPE, ND_LAYER };

static void
nd_tensors (CheckCase *c)
{
  const int *d = c->d;
  size_t n = (size_t) d[ND_H] * d[ND_W] * d[ND_C];
  add (c, (CheckTensor) { .name = "x", .size = n, .range = 3, .offset = 0.5f, .outliers = true });
  add (c, (CheckTensor) { .name = "norm_weight", .size = d[ND_C], .range = 1, .offset = 1, .shared = true });
  add (c, (CheckTensor) { .name = "norm_bias", .size = d[ND_C], .range = 1, .shared = true });
  add (c, (CheckTensor) { .name = "weight", .size = 9 * (size_t) d[ND_C], .range = 1, .shared = true });
  add (c, (CheckTensor) { .name = "y", .use = CHECK_OUT, .type = d[ND_TYPE], .size = n });
}

static void
nd_call (VigKernels *k, const CheckCase *c, void *state, void *const p[], int batch)
{
  const int *d = c->d;
  k->norm_dwconv (k->ctx, &(VigNormDwconv) { .batch = batch, .h = d[ND_H], .w = d[ND_W], .c = d[ND_C], .x = p[0],
      .norm_weight = p[1], .norm_bias = d[ND_LAYER] ? p[2] : NULL, .eps = 1e-6f, .weight = p[3], .act = d[ND_ACT],
      .y = p[4], .type = d[ND_TYPE] });
}

static void
nd_draw (int *d, GRand *random)
{
  d[ND_H] = any (random, 1, 20);
  d[ND_W] = any (random, 1, 20);
  d[ND_C] = any (random, 1, 100);
  d[ND_ACT] = any (random, VIG_ACT_NONE, VIG_ACT_GELU);
  d[ND_TYPE] = any_type (random);
  d[ND_LAYER] = any (random, 0, 1);
}

static const int nd_shapes[][CHECK_DIMS] = {
  { 14, 14, 192, VIG_ACT_SILU, VIG_TYPE_F32 }, { 14, 14, 192, VIG_ACT_SILU, VIG_TYPE_BF16 },
  { 56, 56, 96, VIG_ACT_NONE, VIG_TYPE_F32, 1 }, { 1, 1, 17, VIG_ACT_SILU, VIG_TYPE_F32 },
  { 1, 9, 33, VIG_ACT_NONE, VIG_TYPE_F16 }, { 9, 1, 16, VIG_ACT_SILU, VIG_TYPE_BF16, 1 },
};

/* ---- gla_mix ---- */

enum { MIX_L, MIX_H, MIX_DK, MIX_DV, MIX_GAP, MIX_ACT, MIX_TYPE, MIX_GATES /* range of z */,
  MIX_FRAME /* tokens, 0: no boundaries */ };

enum { MIX_RANK = 16 };

static void
mix_tensors (CheckCase *c)
{
  const int *d = c->d;
  int hk = d[MIX_H] * d[MIX_DK], hv = d[MIX_H] * d[MIX_DV], used = 2 * hk + 2 * hv + MIX_RANK, row = used + d[MIX_GAP];
  size_t n = (size_t) d[MIX_L] * hv;
  add (c, (CheckTensor) { .name = "joint", .type = d[MIX_TYPE], .size = (size_t) d[MIX_L] * row, .range = 2, .row = row,
      .used = used });
  add (c, (CheckTensor) { .name = "gk_weight", .size = 2 * (size_t) hk * MIX_RANK, .range = 1, .shared = true });
  add (c, (CheckTensor) { .name = "gk_bias", .size = 2 * (size_t) hk,
      .range = d[MIX_GATES] ? (float) d[MIX_GATES] : 6, .shared = true });
  add (c, (CheckTensor) { .name = "l", .type = d[MIX_TYPE], .size = n, .range = 2 });
  add (c, (CheckTensor) { .name = "g_norm", .size = d[MIX_DV], .range = 1, .offset = 1, .shared = true });
  add (c, (CheckTensor) { .name = "l_norm", .size = d[MIX_DV], .range = 1, .offset = 1, .shared = true });
  add (c, (CheckTensor) { .name = "m", .use = CHECK_OUT, .type = d[MIX_TYPE], .size = n });
  add (c, (CheckTensor) { .name = "boundary", .size = hk, .range = 2, .offset = -2, .shared = true });
}

static void
mix_call (VigKernels *k, const CheckCase *c, void *state, void *const p[], int batch)
{
  const int *d = c->d;
  size_t element = d[MIX_TYPE] == VIG_TYPE_F32 ? 4 : 2;
  int hk = d[MIX_H] * d[MIX_DK], hv = d[MIX_H] * d[MIX_DV];
  const char *joint = p[0];
  k->gla_mix (k->ctx, &(VigGlaMix) { .batch = batch, .tokens = d[MIX_L], .heads = d[MIX_H], .dk = d[MIX_DK],
      .dv = d[MIX_DV], .rank = MIX_RANK, .q = joint, .k = joint + hk * element, .v = joint + 2 * hk * element,
      .gate = joint + (2 * hk + hv) * element, .low = joint + (2 * hk + 2 * hv) * element,
      .row = 2 * hk + 2 * hv + MIX_RANK + d[MIX_GAP], .gk_weight = p[1], .gk_bias = p[2],
      .boundary = d[MIX_FRAME] ? p[7] : NULL, .frame = d[MIX_FRAME],
      .scale = 0.25f / sqrtf ((float) d[MIX_DK]), .l = p[3], .g_norm = p[4], .l_norm = p[5], .eps = 1e-6f,
      .act = d[MIX_ACT], .m = p[6], .type = d[MIX_TYPE] });
}

static void
mix_shape (int *d, GRand *random, VigType type)
{
  static const int dims[] = { 16, 32, 64, 1, 7, 24, 48 };
  d[MIX_L] = any (random, 1, 70);
  d[MIX_H] = any (random, 1, 5);
  d[MIX_DK] = dims[any (random, 0, G_N_ELEMENTS (dims) - 1)];
  d[MIX_DV] = dims[any (random, 0, G_N_ELEMENTS (dims) - 1)];
  d[MIX_GAP] = any (random, 0, 20);
  d[MIX_ACT] = any (random, VIG_ACT_NONE, VIG_ACT_GELU);
  d[MIX_TYPE] = type;
  d[MIX_GATES] = any (random, 0, 2) ? 0 : 3000; /* channels that forget nothing, and those that forget all */
}

/* Half of the time a window of frames, about as long as what was drawn. */
static void
mix_frames (int *d, GRand *random)
{
  int frames = any (random, 1, 9);
  if (any (random, 0, 1)) {
    d[MIX_FRAME] = (d[MIX_L] + frames - 1) / frames;
    d[MIX_L] = d[MIX_FRAME] * frames;
  }
}

static void
mix_draw (int *d, GRand *random)
{
  mix_shape (d, random, VIG_TYPE_F32);
  mix_frames (d, random);
}

static void
mix_16_draw (int *d, GRand *random)
{
  mix_shape (d, random, any (random, VIG_TYPE_BF16, VIG_TYPE_F16));
  d[MIX_DV] = MAX (d[MIX_DV], 7); /* the norm of one channel is its sign, whatever its error */
  if (any (random, 0, 1)) {        /* as models have them */
    d[MIX_L] = any (random, 1, 330);
    d[MIX_DK] = 16 * any (random, 1, 2);
    d[MIX_DV] = 2 * d[MIX_DK];
  }
  mix_frames (d, random);
}

static const int mix_shapes[][CHECK_DIMS] = {
  { 196, 3, 32, 64, 0, VIG_ACT_SILU, VIG_TYPE_F32 }, { 784, 6, 16, 32, 0, VIG_ACT_NONE, VIG_TYPE_F32 },
  { 1, 3, 32, 64, 3, VIG_ACT_SILU, VIG_TYPE_F32 }, { 197, 2, 31, 67, 3, VIG_ACT_NONE, VIG_TYPE_F32 },
  { 800, 3, 16, 32, 0, VIG_ACT_SILU, VIG_TYPE_F32, 0, 100 }, { 1600, 1, 15, 33, 1, VIG_ACT_NONE, VIG_TYPE_F32, 0, 1 },
};

static const int mix_16_shapes[][CHECK_DIMS] = {
  { 196, 3, 32, 64, 0, VIG_ACT_SILU, VIG_TYPE_BF16 }, { 784, 6, 16, 32, 0, VIG_ACT_NONE, VIG_TYPE_BF16 },
  { 196, 3, 32, 64, 0, VIG_ACT_SILU, VIG_TYPE_F16 }, { 1, 3, 32, 64, 0, VIG_ACT_SILU, VIG_TYPE_BF16 },
  { 197, 2, 31, 67, 3, VIG_ACT_NONE, VIG_TYPE_BF16 }, { 257, 1, 32, 64, 5, VIG_ACT_SILU, VIG_TYPE_BF16, 3000 },
  { 330, 2, 16, 32, 0, VIG_ACT_GELU, VIG_TYPE_F16 }, { 33, 3, 32, 64, 1, VIG_ACT_NONE, VIG_TYPE_F16, 100 },
  { 256, 1, 16, 32, 0, VIG_ACT_NONE, VIG_TYPE_BF16 }, { 64, 1, 32, 64, 0, VIG_ACT_NONE, VIG_TYPE_F16, 3000 },
  { 800, 3, 16, 32, 0, VIG_ACT_SILU, VIG_TYPE_BF16, 0, 100 }, { 1372, 1, 32, 64, 1, VIG_ACT_NONE, VIG_TYPE_BF16, 0, 196 },
};

/* ---- mlp ---- */

enum { MLP_ROWS, MLP_C, MLP_WIDTH, MLP_TYPE, MLP_LAYER };

static void
mlp_tensors (CheckCase *c)
{
  const int *d = c->d;
  size_t weights = (size_t) d[MLP_C] * d[MLP_WIDTH];
  add (c, (CheckTensor) { .name = "x", .use = CHECK_INOUT, .size = (size_t) d[MLP_ROWS] * d[MLP_C], .range = 3 });
  add (c, (CheckTensor) { .name = "norm_weight", .size = d[MLP_C], .range = 1, .offset = 1, .shared = true });
  add (c, (CheckTensor) { .name = "norm_bias", .size = d[MLP_C], .range = 1, .shared = true });
  add (c, (CheckTensor) { .name = "in", .size = 2 * weights, .range = 0.2f, .shared = true, .host = true });
  add (c, (CheckTensor) { .name = "out", .size = weights, .range = 0.2f, .shared = true, .host = true });
}

typedef struct {
  VigMatmul *in, *out;
} MlpProducts;

static void *
mlp_open (VigKernels *k, const CheckCase *c, void *const p[])
{
  const int *d = c->d;
  MlpProducts *m = g_new (MlpProducts, 1);
  m->in = k->matmul_create (k->ctx, &(VigMatmulDesc) { .n = 2 * d[MLP_WIDTH], .k = d[MLP_C], .type = d[MLP_TYPE],
      .weight = p[3] });
  m->out = k->matmul_create (k->ctx, &(VigMatmulDesc) { .n = d[MLP_C], .k = d[MLP_WIDTH], .type = d[MLP_TYPE],
      .weight = p[4] });
  return m;
}

static void
mlp_call (VigKernels *k, const CheckCase *c, void *state, void *const p[], int batch)
{
  const int *d = c->d;
  const MlpProducts *m = state;
  k->mlp (k->ctx, &(VigMlp) { .batch = batch, .rows = d[MLP_ROWS], .c = d[MLP_C], .x = p[0], .norm_weight = p[1],
      .norm_bias = d[MLP_LAYER] ? p[2] : NULL, .eps = 1e-6f, .in = m->in, .out = m->out });
}

static void
mlp_close (VigKernels *k, void *state)
{
  MlpProducts *m = state;
  k->matmul_destroy (k->ctx, m->in);
  k->matmul_destroy (k->ctx, m->out);
  g_free (m);
}

static void
mlp_shape (int *d, GRand *random, VigType type)
{
  d[MLP_ROWS] = any (random, 1, 260);
  d[MLP_C] = any (random, 1, 100);
  d[MLP_WIDTH] = any (random, 1, 200);
  d[MLP_TYPE] = type;
  d[MLP_LAYER] = any (random, 0, 1);
}

static void
mlp_draw (int *d, GRand *random)
{
  mlp_shape (d, random, VIG_TYPE_F32);
}

static void
mlp_16_draw (int *d, GRand *random)
{
  mlp_shape (d, random, any (random, VIG_TYPE_BF16, VIG_TYPE_F16));
  if (any (random, 0, 1)) { /* as models have them */
    d[MLP_C] = 16 * any (random, 1, 12);
    d[MLP_WIDTH] = 8 * any (random, 1, 40);
  }
}

static double
mlp_work (const CheckCase *c)
{
  return 6.0 * c->d[MLP_ROWS] * c->d[MLP_C] * c->d[MLP_WIDTH];
}

static const int mlp_shapes[][CHECK_DIMS] = {
  { 196, 192, 512, VIG_TYPE_F32 }, { 49, 96, 264, VIG_TYPE_F32, 1 }, { 1, 16, 48, VIG_TYPE_F32 },
};

static const int mlp_16_shapes[][CHECK_DIMS] = {
  { 196, 192, 512, VIG_TYPE_BF16 }, { 49, 96, 264, VIG_TYPE_BF16, 1 }, { 196, 192, 512, VIG_TYPE_F16 },
  { 1, 16, 48, VIG_TYPE_BF16 }, { 2100, 192, 40, VIG_TYPE_F16 }, { 2051, 112, 200, VIG_TYPE_F16, 1 },
  { 600, 48, 72, VIG_TYPE_BF16 }, /* 8 of them are many rows, 3 are few */
  { 2056, 16, 24, VIG_TYPE_BF16 }, /* many, and small */
};

/* ---- pool_mean: a sum of L values ---- */

static void
pool_tensors (CheckCase *c)
{
  add (c, (CheckTensor) { .name = "x", .size = (size_t) c->d[POS_TOKENS] * c->d[POS_C], .range = 2, .offset = 1 });
  add (c, (CheckTensor) { .name = "y", .use = CHECK_OUT, .size = c->d[POS_C] });
}

static void
pool_call (VigKernels *k, const CheckCase *c, void *state, void *const p[], int batch)
{
  k->pool_mean (k->ctx, &(VigPoolMean) { .batch = batch, .tokens = c->d[POS_TOKENS], .c = c->d[POS_C], .x = p[0],
      .y = p[1] });
}

static const int pool_shapes[][CHECK_DIMS] = { { 196, 192 }, { 49, 768 }, { 1, 17 }, { 4096, 7 } };

/* ---- softmax: exponentials and a sum of c values ---- */

static void
softmax_tensors (CheckCase *c)
{
  add (c, (CheckTensor) { .name = "x", .size = c->d[0], .range = 10, .outliers = true });
  add (c, (CheckTensor) { .name = "y", .use = CHECK_OUT, .size = c->d[0] });
}

static void
softmax_call (VigKernels *k, const CheckCase *c, void *state, void *const p[], int batch)
{
  k->softmax (k->ctx, &(VigSoftmax) { .rows = batch, .c = c->d[0], .x = p[0], .y = p[1] });
}

static const int softmax_shapes[][CHECK_DIMS] = { { 1000 }, { 1 }, { 10 }, { 17 } };

/* ---- class_map: a sum of C products ---- */

enum { MAP_FRAMES, MAP_TOKENS, MAP_C, MAP_CLASSES, MAP_MAPS };

/* Logits of which several are the greatest. */
static void
logits_fill (float *values, size_t n, const int *d, GRand *random)
{
  for (size_t i = 0; i < n; i++)
    values[i] = (float) any (random, -8, 8);
}

static void
which_fill (float *values, size_t n, const int *d, GRand *random)
{
  for (size_t i = 0; i < n; i++)
    values[i] = (float) MAX (any (random, -d[MAP_CLASSES] - 1, d[MAP_CLASSES] - 1), -2);
}

static void
map_tensors (CheckCase *c)
{
  const int *d = c->d;
  add (c, (CheckTensor) { .name = "x", .size = (size_t) d[MAP_FRAMES] * d[MAP_TOKENS] * d[MAP_C], .range = 2 });
  add (c, (CheckTensor) { .name = "weight", .size = (size_t) d[MAP_CLASSES] * d[MAP_C], .range = 1, .shared = true });
  add (c, (CheckTensor) { .name = "logits", .size = (size_t) d[MAP_FRAMES] * d[MAP_CLASSES], .fill = logits_fill });
  add (c, (CheckTensor) { .name = "which", .size = d[MAP_MAPS], .fill = which_fill });
  add (c, (CheckTensor) { .name = "y", .use = CHECK_OUT, .size = (size_t) d[MAP_MAPS] * d[MAP_TOKENS] });
  add (c, (CheckTensor) { .name = "chosen", .use = CHECK_OUT, .size = d[MAP_MAPS] });
}

static void
map_call (VigKernels *k, const CheckCase *c, void *state, void *const p[], int batch)
{
  const int *d = c->d;
  k->class_map (k->ctx, &(VigClassMap) { .batch = batch, .frames = d[MAP_FRAMES], .tokens = d[MAP_TOKENS], .c = d[MAP_C],
      .classes = d[MAP_CLASSES], .maps = d[MAP_MAPS], .x = p[0], .weight = p[1], .logits = p[2], .which = p[3], .y = p[4],
      .chosen = p[5] });
}

static void
map_draw (int *d, GRand *random)
{
  d[MAP_FRAMES] = any (random, 1, 5);
  d[MAP_TOKENS] = any (random, 1, 100);
  d[MAP_C] = any (random, 1, 200);
  d[MAP_CLASSES] = any (random, 1, 100);
  d[MAP_MAPS] = any (random, 1, 4);
}

static const int map_shapes[][CHECK_DIMS] = { { 1, 196, 192, 1000, 1 }, { 16, 49, 96, 14, 2 }, { 1, 1, 1, 1, 1 } };

/* ---- dwconv3x3x3: 27 products ---- */

enum { DWT_FRAMES, DWT_H, DWT_W, DWT_C, DWT_ACT, DWT_TYPE };

static void
dwt_tensors (CheckCase *c)
{
  const int *d = c->d;
  size_t n = (size_t) d[DWT_FRAMES] * d[DWT_H] * d[DWT_W] * d[DWT_C];
  add (c, (CheckTensor) { .name = "x", .size = n, .range = 2 });
  add (c, (CheckTensor) { .name = "weight", .size = 27 * (size_t) d[DWT_C], .range = 1, .shared = true });
  add (c, (CheckTensor) { .name = "y", .use = CHECK_OUT, .type = d[DWT_TYPE], .size = n });
}

static void
dwt_call (VigKernels *k, const CheckCase *c, void *state, void *const p[], int batch)
{
  const int *d = c->d;
  k->dwconv3x3x3 (k->ctx, &(VigDwconvTime) { .batch = batch, .frames = d[DWT_FRAMES], .h = d[DWT_H], .w = d[DWT_W],
      .c = d[DWT_C], .x = p[0], .weight = p[1], .act = d[DWT_ACT], .y = p[2], .type = d[DWT_TYPE] });
}

static void
dwt_draw (int *d, GRand *random)
{
  d[DWT_FRAMES] = any (random, 1, 6);
  d[DWT_H] = any (random, 1, 9);
  d[DWT_W] = any (random, 1, 9);
  d[DWT_C] = any (random, 1, 70);
  d[DWT_ACT] = any (random, VIG_ACT_NONE, VIG_ACT_SILU);
  d[DWT_TYPE] = any_type (random);
}

static const int dwt_shapes[][CHECK_DIMS] = { { 8, 10, 10, 96, VIG_ACT_SILU }, { 8, 10, 10, 96, VIG_ACT_SILU, VIG_TYPE_BF16 },
  { 1, 1, 1, 1 }, { 3, 2, 2, 36, VIG_ACT_NONE, VIG_TYPE_F16 } };

/* ---- add_boundary: one exact addition ---- */

enum { BND_FRAMES, BND_TOKENS, BND_C };

static void
bnd_tensors (CheckCase *c)
{
  const int *d = c->d;
  add (c, (CheckTensor) { .name = "gk", .use = CHECK_INOUT, .range = 1, .offset = -1,
      .size = (size_t) d[BND_FRAMES] * d[BND_TOKENS] * 2 * d[BND_C] });
  add (c, (CheckTensor) { .name = "boundary", .size = d[BND_C], .range = 100, .offset = -100, .shared = true });
}

static void
bnd_call (VigKernels *k, const CheckCase *c, void *state, void *const p[], int batch)
{
  k->add_boundary (k->ctx, &(VigAddBoundary) { .frames = batch * c->d[BND_FRAMES], .tokens = c->d[BND_TOKENS],
      .c = c->d[BND_C], .gk = p[0], .boundary = p[1] });
}

static void
bnd_draw (int *d, GRand *random)
{
  d[BND_FRAMES] = any (random, 1, 6);
  d[BND_TOKENS] = any (random, 1, 30);
  d[BND_C] = any (random, 1, 100);
}

static const int bnd_shapes[][CHECK_DIMS] = { { 8, 100, 48 }, { 1, 1, 1 }, { 3, 1, 7 } };

/* ---- cell_mean: a sum of a cell's tokens; cell_add: one exact addition ---- */

enum { CELL_H, CELL_W, CELL_C, CELL_GRID, CELL_TYPE };

static void
cell_mean_tensors (CheckCase *c)
{
  const int *d = c->d;
  add (c, (CheckTensor) { .name = "x", .size = (size_t) d[CELL_H] * d[CELL_W] * d[CELL_C], .range = 2, .offset = 1 });
  add (c, (CheckTensor) { .name = "y", .use = CHECK_OUT, .type = d[CELL_TYPE],
      .size = (size_t) d[CELL_GRID] * d[CELL_GRID] * d[CELL_C] });
}

static void
cell_mean_call (VigKernels *k, const CheckCase *c, void *state, void *const p[], int batch)
{
  const int *d = c->d;
  k->cell_mean (k->ctx, &(VigCellMean) { .batch = batch, .h = d[CELL_H], .w = d[CELL_W], .c = d[CELL_C],
      .grid = d[CELL_GRID], .x = p[0], .y = p[1], .type = d[CELL_TYPE] });
}

static void
cell_add_tensors (CheckCase *c)
{
  const int *d = c->d;
  add (c, (CheckTensor) { .name = "x", .use = CHECK_INOUT, .size = (size_t) d[CELL_H] * d[CELL_W] * d[CELL_C], .range = 2 });
  add (c, (CheckTensor) { .name = "y", .size = (size_t) d[CELL_GRID] * d[CELL_GRID] * d[CELL_C], .range = 2 });
}

static void
cell_add_call (VigKernels *k, const CheckCase *c, void *state, void *const p[], int batch)
{
  const int *d = c->d;
  k->cell_add (k->ctx, &(VigCellAdd) { .batch = batch, .h = d[CELL_H], .w = d[CELL_W], .c = d[CELL_C],
      .grid = d[CELL_GRID], .x = p[0], .y = p[1] });
}

static void
cell_draw (int *d, GRand *random)
{
  d[CELL_GRID] = any (random, 1, 5);
  d[CELL_H] = any (random, d[CELL_GRID], 20);
  d[CELL_W] = any (random, d[CELL_GRID], 20);
  d[CELL_C] = any (random, 1, 100);
  d[CELL_TYPE] = any_type (random);
}

static const int cell_shapes[][CHECK_DIMS] = { { 10, 10, 96, 4 }, { 10, 10, 96, 4, VIG_TYPE_BF16 }, { 4, 4, 300, 4 },
  { 14, 7, 33, 3, VIG_TYPE_F16 }, { 1, 1, 5, 1 }, { 5, 9, 8, 2 } };

/* ---- memory_step: exponentials of sums, DK products. An item is a few frames of a stream, one after the other. ---- */

enum { MEM_STEPS, MEM_CELLS, MEM_H, MEM_DK, MEM_DV, MEM_GAP, MEM_TYPE };
enum { MEM_RANK = 16 };

/* A fifth of them the first of a stream; a time that stands still; gaps up to a billion steps. */
static void
elapsed_fill (float *values, size_t n, const int *dims, GRand *random)
{
  for (size_t i = 0; i < n; i++) {
    double u = g_rand_double (random);
    values[i] = u < 0.2 ? -1 : u < 0.3 ? 0 : u < 0.4 ? 1e9f : (float) (4 * g_rand_double (random));
  }
}

static void
memory_tensors (CheckCase *c)
{
  const int *d = c->d;
  int hk = d[MEM_H] * d[MEM_DK], hv = d[MEM_H] * d[MEM_DV], used = 2 * hk + 2 * hv + MEM_RANK, row = used + d[MEM_GAP];
  size_t rows = (size_t) d[MEM_STEPS] * d[MEM_CELLS];
  add (c, (CheckTensor) { .name = "joint", .size = rows * row, .range = 2, .row = row, .used = used });
  add (c, (CheckTensor) { .name = "gk_weight", .size = (size_t) hk * MEM_RANK, .range = 1, .shared = true });
  add (c, (CheckTensor) { .name = "gk_bias", .size = hk, .range = 3, .shared = true });
  add (c, (CheckTensor) { .name = "g_norm", .size = d[MEM_DV], .range = 1, .offset = 1, .shared = true });
  add (c, (CheckTensor) { .name = "elapsed", .size = d[MEM_STEPS], .fill = elapsed_fill });
  add (c, (CheckTensor) { .name = "state", .use = CHECK_INOUT, .size = (size_t) d[MEM_CELLS] * hk * d[MEM_DV], .range = 2 });
  add (c, (CheckTensor) { .name = "o", .use = CHECK_OUT, .size = rows * hv, .type = d[MEM_TYPE] });
}

/* Where the memory of each frame is: `steps` frames of an item share one of `size` numbers. */
static float **
state_pointers (VigKernels *k, float *state, size_t size, int batch, int steps)
{
  g_autofree float **host = g_new (float *, batch * steps);
  float **pointers = k->alloc (k->ctx, sizeof *pointers * batch * steps);
  for (int i = 0; i < batch * steps; i++)
    host[i] = state + i / steps * size;
  k->upload (k->ctx, pointers, host, sizeof *pointers * batch * steps);
  return pointers;
}

static void
free_pointers (VigKernels *k, float **pointers)
{
  k->finish (k->ctx);
  k->free (k->ctx, pointers);
}

static void
memory_call (VigKernels *k, const CheckCase *c, void *state, void *const p[], int batch)
{
  const int *d = c->d;
  int hk = d[MEM_H] * d[MEM_DK], hv = d[MEM_H] * d[MEM_DV];
  const float *q = p[0];
  float **pointers = state_pointers (k, p[5], (size_t) d[MEM_CELLS] * hk * d[MEM_DV], batch, d[MEM_STEPS]);
  k->memory_step (k->ctx, &(VigMemoryStep) { .batch = batch * d[MEM_STEPS], .cells = d[MEM_CELLS], .heads = d[MEM_H],
      .dk = d[MEM_DK], .dv = d[MEM_DV], .rank = MEM_RANK, .q = q, .k = q + hk, .v = q + 2 * hk, .gate = q + 2 * hk + hv,
      .low = q + 2 * hk + 2 * hv, .row = 2 * hk + 2 * hv + MEM_RANK + d[MEM_GAP], .gk_weight = p[1], .gk_bias = p[2],
      .g_norm = p[3], .eps = 1e-6f, .scale = 1 / sqrtf ((float) d[MEM_DK]), .max_elapsed = 3, .elapsed = p[4],
      .state = pointers, .o = p[6], .type = d[MEM_TYPE] });
  free_pointers (k, pointers);
}

static void
memory_draw (int *d, GRand *random)
{
  static const int dims[] = { 16, 32, 64, 1, 7, 24, 48 };
  d[MEM_STEPS] = any (random, 1, 5);
  d[MEM_CELLS] = any (random, 1, 9);
  d[MEM_H] = any (random, 1, 4);
  d[MEM_DK] = dims[any (random, 0, G_N_ELEMENTS (dims) - 1)];
  d[MEM_DV] = dims[any (random, 0, G_N_ELEMENTS (dims) - 1)];
  d[MEM_GAP] = any (random, 0, 20);
  d[MEM_TYPE] = any_type (random);
}

static const int memory_shapes[][CHECK_DIMS] = { { 1, 16, 3, 16, 32 }, { 1, 16, 3, 16, 32, 0, VIG_TYPE_BF16 },
  { 12, 4, 1, 32, 64 }, { 3, 1, 2, 100, 200 } };

/* ---- difference: one exact subtraction, one product ---- */

enum { DIFF_STEPS, DIFF_SIZE };

static void
difference_tensors (CheckCase *c)
{
  const int *d = c->d;
  add (c, (CheckTensor) { .name = "x", .size = (size_t) d[DIFF_STEPS] * d[DIFF_SIZE], .range = 2 });
  add (c, (CheckTensor) { .name = "elapsed", .size = d[DIFF_STEPS], .fill = elapsed_fill });
  add (c, (CheckTensor) { .name = "state", .use = CHECK_INOUT, .size = d[DIFF_SIZE], .range = 2 });
  add (c, (CheckTensor) { .name = "y", .use = CHECK_OUT, .size = (size_t) d[DIFF_STEPS] * 2 * d[DIFF_SIZE] });
}

static void
difference_call (VigKernels *k, const CheckCase *c, void *state, void *const p[], int batch)
{
  const int *d = c->d;
  float **pointers = state_pointers (k, p[2], d[DIFF_SIZE], batch, d[DIFF_STEPS]);
  k->difference (k->ctx, &(VigDifference) { .batch = batch * d[DIFF_STEPS], .size = d[DIFF_SIZE], .x = p[0], .gain = 8,
      .limit = 4, .elapsed = p[1], .state = pointers, .y = p[3] });
  free_pointers (k, pointers);
}

static void
difference_draw (int *d, GRand *random)
{
  d[DIFF_STEPS] = any (random, 1, 5);
  d[DIFF_SIZE] = any (random, 1, 3000);
}

static const int difference_shapes[][CHECK_DIMS] = { { 1, 3 * 160 * 160 }, { 7, 5000 }, { 2, 4096 }, { 1, 1 } };

/* ---- the rows ---- */

#define ROW(op, prefix, names) .name = #op, .slot = offsetof (VigKernels, op), .dims = names, \
  .tensors = prefix##_tensors, .call = prefix##_call
#define SHAPES(table, bench) .shapes = table, .n_shapes = G_N_ELEMENTS (table), .n_bench = bench

const CheckOp check_ops[] = {
  { ROW (im2col, im2col, "h w c kernel stride pad planar type zeros y"), .draw = im2col_draw, SHAPES (im2col_shapes, 4),
    .tolerance = 0 },
  { ROW (rmsnorm, norm, "rows c act type in_place"), .draw = norm_draw, SHAPES (norm_shapes, 3),
    .rms_tolerance = 5e-7, .tolerance = 2e-6 },
  { ROW (layernorm, norm, "rows c act type in_place"), .draw = norm_draw, SHAPES (norm_shapes, 4),
    .rms_tolerance = 2e-6, .tolerance = 2e-6 },
  { ROW (add_pos, pos, "tokens c"), .draw = rows_draw, SHAPES (pos_shapes, 1), .tolerance = 0 },
  { ROW (dwconv3x3, dw, "h w c act type"), .draw = dw_draw, SHAPES (dw_shapes, 3),
    .rms_tolerance = 1e-6, .tolerance = 2e-6 },
  { ROW (matmul_run, mm, "rows n k type bias accumulate out"), .draw = mm_draw, SHAPES (mm_shapes, 16),
    .open = mm_open, .close = mm_close, .work = mm_work, .unit = 1e9, .unit_name = "GFLOP/s",
    .rms_tolerance = 2e-5, .tolerance = 2e-6 },
  { .name = "matmul_run_16", .slot = offsetof (VigKernels, matmul_run), .dims = "rows n k type bias accumulate out",
    .tensors = mm_tensors, .call = mm_call, .draw = mm_16_draw, SHAPES (mm_16_shapes, 2), .open = mm_open,
    .close = mm_close, .work = mm_work, .unit = 1e9, .unit_name = "GFLOP/s",
    .rms_tolerance = 4e-3, .tolerance = 2e-6 }, /* the bias may be rounded as well */
  { ROW (log_decay, ld, "rows rank c gap"), .draw = ld_draw, SHAPES (ld_shapes, 2),
    /* an error of 1e-5 in z = 100 is one of 1e-5 in exp (-z), relatively */
    .rms_tolerance = 1e-6, .tolerance = 3e-5 },
  { ROW (gla_bidir, gla, "tokens heads dk dv gap directions state gates type"), .draw = gla_draw, SHAPES (gla_shapes, 2),
    .work = gla_work, .unit = 1e6, .unit_name = "Mstep/s", .rms_tolerance = 1e-5, .tolerance = 2e-6 },
  { .name = "gla_bidir_bf16", .slot = offsetof (VigKernels, gla_bidir),
    .dims = "tokens heads dk dv gap directions state gates type", .tensors = gla_tensors, .call = gla_call,
    .draw = gla_bf16_draw, SHAPES (gla_bf16_shapes, 1), .work = gla_work, .unit = 1e6, .unit_name = "Mstep/s",
    .rms_tolerance = 2e-2, .tolerance = 1e-2 }, /* 2^-9 for each factor */
  { ROW (gla, run, "tokens heads dk dv gap directions state gates form width type out layout parts"), .draw = run_draw,
    SHAPES (run_shapes, 1), .work = run_work, .unit = 1e6, .unit_name = "Mstep/s",
    .rms_tolerance = 1e-5, .tolerance = 2e-6 },
  { .name = "gla_16", .slot = offsetof (VigKernels, gla),
    .dims = "tokens heads dk dv gap directions state gates form width type out layout parts", .tensors = run_tensors,
    .call = run_call, .draw = run_16_draw, SHAPES (run_16_shapes, 4), .work = run_work, .unit = 1e6, .unit_name = "Mstep/s",
    .rms_tolerance = 2e-2, .tolerance = 1e-2 }, /* as gla_bidir_bf16 */
  { ROW (gate_mix, gm, "rows heads dv gap act type"), .draw = gm_draw, SHAPES (gm_shapes, 1),
    .rms_tolerance = 1e-6, .tolerance = 2e-6 },
  { .name = "gate_mix_16", .slot = offsetof (VigKernels, gate_mix), .dims = "rows heads dv gap act type",
    .tensors = gm_tensors, .call = gm_call, .draw = gm_16_draw, SHAPES (gm_16_shapes, 2),
    /* two sigmoids good enough for 16 bits, 5e-4 each; where the two sides cancel, of what there was */
    .rms_tolerance = 1e-3, .tolerance = 1e-3 },
  { ROW (swiglu, sg, "rows width type"), .draw = sg_draw, SHAPES (sg_shapes, 2),
    .rms_tolerance = 1e-7, .tolerance = 2e-6 },
  { ROW (norm_dwconv, nd, "h w c act type layer"), .draw = nd_draw, SHAPES (nd_shapes, 2),
    .rms_tolerance = 4e-6, .tolerance = 2e-6 },
  { ROW (gla_mix, mix, "tokens heads dk dv gap act type gates frame"), .draw = mix_draw, SHAPES (mix_shapes, 1),
    .rms_tolerance = 2e-5, .tolerance = 2e-5 },
  { .name = "gla_mix_16", .slot = offsetof (VigKernels, gla_mix), .dims = "tokens heads dk dv gap act type gates frame",
    .tensors = mix_tensors, .call = mix_call, .draw = mix_16_draw, SHAPES (mix_16_shapes, 2),
    .rms_tolerance = 2e-2, .tolerance = 1e-2 }, /* as gla_bidir_bf16 */
  { ROW (mlp, mlp, "rows c width type layer"), .draw = mlp_draw, SHAPES (mlp_shapes, 1), .open = mlp_open,
    .close = mlp_close, .work = mlp_work, .unit = 1e9, .unit_name = "GFLOP/s", .rms_tolerance = 2e-5, .tolerance = 2e-6 },
  { .name = "mlp_16", .slot = offsetof (VigKernels, mlp), .dims = "rows c width type layer", .tensors = mlp_tensors,
    .call = mlp_call, .draw = mlp_16_draw, SHAPES (mlp_16_shapes, 1), .open = mlp_open, .close = mlp_close,
    .work = mlp_work, .unit = 1e9, .unit_name = "GFLOP/s",
    .rms_tolerance = 2e-2, .tolerance = 1e-3 }, /* u may be rounded: 2^-9 of each, and of what follows from it */
  { ROW (pool_mean, pool, "tokens c"), .draw = rows_draw, SHAPES (pool_shapes, 1),
    .rms_tolerance = 2e-6, .tolerance = 0 },
  { ROW (dwconv3x3x3, dwt, "frames h w c act type"), .draw = dwt_draw, SHAPES (dwt_shapes, 2),
    .rms_tolerance = 2e-6, .tolerance = 2e-6 },
  { ROW (add_boundary, bnd, "frames tokens c"), .draw = bnd_draw, SHAPES (bnd_shapes, 1), .tolerance = 0 },
  { ROW (cell_mean, cell_mean, "h w c grid type"), .draw = cell_draw, SHAPES (cell_shapes, 2),
    .rms_tolerance = 1e-6, .tolerance = 2e-7 },
  { ROW (cell_add, cell_add, "h w c grid type"), .draw = cell_draw, SHAPES (cell_shapes, 1), .tolerance = 0 },
  { ROW (memory_step, memory, "steps cells heads dk dv gap type"), .draw = memory_draw, SHAPES (memory_shapes, 2),
    /* of a billion steps only a decay near 1 leaves anything: an error of 1e-7 in it is one of a tenth there */
    .rms_tolerance = 2e-5, .tolerance = 2e-5 },
  { ROW (difference, difference, "steps size"), .draw = difference_draw, SHAPES (difference_shapes, 1), .tolerance = 0 },
  { ROW (class_map, map, "frames tokens c classes maps"), .draw = map_draw, SHAPES (map_shapes, 1),
    .rms_tolerance = 2e-6, .tolerance = 2e-6 },
  { ROW (softmax, softmax, "c"), .draw = rows_draw, SHAPES (softmax_shapes, 1),
    /* x - max is rounded once: 400 * 2^-24 in the exponent */
    .rms_tolerance = 1e-7, .tolerance = 3e-5 },
};

const int check_n_ops = G_N_ELEMENTS (check_ops);
