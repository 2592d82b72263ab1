/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernels of ViG: one table of functions per backend, the same struct for all of them.
 *
 * kernels/ref/ fills every entry with short scalar C, the definition of each operator. kernels/cpu/ (SIMD, oneDNN) and
 * kernels/cuda/ start from the same contract. tests/kernels/ walks the table and holds every backend against ref.
 *
 * Terms (as in ViG, arXiv 2405.18425, and GLA, arXiv 2312.06635):
 *   B batch, L tokens (grid h x w, row by row), C channels, H heads, DK/DV key/value channels of one head
 *
 * Rules for every operator:
 *   - Pointers are memory of the backend (from alloc), but for those marked "host". Tensors are dense and row-major
 *     unless a row distance is given; a row distance counts elements. Nothing overlaps unless it says "in place".
 *   - Arguments are valid: the engine checks once, kernels only assert.
 *   - An operator only enqueues; failures surface in finish().
 *   - The result for one item of a batch has the same bits whatever the batch size, the other items, and the number
 *     of threads: every sum runs in an order that depends on the item's own shape alone.
 *   - A backend is used by one thread at a time (its own threads inside aside).
 */
#ifndef VIG_KERNELS_H
#define VIG_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VIG_KERNELS_ABI 6

/* Element type of the tensors that feed a matrix product. bf16 and f16 (IEEE half) are stored as uint16_t, rounded to
 * nearest even; what f16 cannot hold is infinite. */
typedef enum { VIG_TYPE_F32, VIG_TYPE_BF16, VIG_TYPE_F16 } VigType;

typedef enum { VIG_ACT_NONE, VIG_ACT_SILU, VIG_ACT_GELU /* the erf form */ } VigAct;

/* ---- pictures ------------------------------------------------------------------------------------------------- */

/* Where one colour component lies. Sample (x, y) of the component is the 1 or 2 bytes (little endian) at
 * plane[plane] + y * stride[plane] + offset + x * step; its value is (sample >> shift) & ((1 << depth) - 1). */
typedef struct {
  uint8_t plane, offset, step, shift, depth; /* depth 8: one byte a sample; more: two */
} VigComponent;

typedef enum { VIG_COLOR_RGB, VIG_COLOR_YUV, VIG_COLOR_GRAY } VigColorKind;

/* Anything that stays the same from frame to frame of a stream. */
typedef struct {
  bool on_device;              /* the planes are memory of the backend's device, else the host's */
  int width, height;           /* of the planes, luma samples */
  VigColorKind kind;
  VigComponent component[3];   /* R G B (8 bits), or Y U V (8 to 10), or gray only (8) */
  int sub_x, sub_y;            /* log2 of chroma subsampling: 4:2:0 is 1, 1 */
  int site_x, site_y;          /* chroma position: 0 on the even luma sample, 1 midway between two (in half samples) */
  float kr, kb;                /* YUV: weights of red and blue in luma (BT.601: 0.299, 0.114) */
  bool full_range;             /* YUV and gray: 0..max, else 16..235 / 16..240 scaled to the depth */
  int crop_x, crop_y, crop_width, crop_height; /* the part of the picture that counts */
  int orientation;             /* EXIF 1..8: how the crop must be turned to stand upright; 1 = as it is */
  int resize_width, resize_height;             /* the upright crop is resized to this */
  int out_x, out_y, out_width, out_height;     /* and this window of it is the result; may not exceed it */
  float mean[3], std[3];       /* result = (rgb / 255 - mean) / std */
} VigPreprocessDesc;

typedef struct {
  const uint8_t *plane[4];
  ptrdiff_t stride[4];     /* bytes, may be negative */
  void *ready;             /* on_device: NULL, or the event (cudaEvent_t) from which on they may be read */
} VigPlanes;

typedef struct VigPreprocess VigPreprocess; /* tap tables and scratch memory for one desc */

/* ---- operators ------------------------------------------------------------------------------------------------ */

/* Patches of a k x k convolution as rows of a matrix (zero padding), so that the convolution is a matrix product with
 * weights [out, k, k, C] for x [B, h, w, C], or [out, C, k, k] for x [B, C, h, w] if planar: what lies together in x does
 * so in a row. cols may be made in slices: of the result's rows those from out_y on, out_h of them. */
typedef struct {
  int batch, h, w, c, kernel, stride, pad;
  int out_h, out_w, out_y;
  bool planar;
  const float *x;
  void *cols; /* [B, out_h * out_w, row] of type: kernel * kernel * C numbers, then zeros */
  int row;    /* 0: without zeros */
  VigType type;
} VigIm2col;

/* y = x / sqrt(mean(x^2) + eps) * weight (rmsnorm), or the LayerNorm with biased variance (layernorm); then act. */
typedef struct {
  int rows, c;
  const float *x;      /* [rows, C] */
  const float *weight; /* [C] */
  const float *bias;   /* [C]; layernorm only */
  float eps;
  VigAct act;
  void *y;             /* [rows, C] of type; in place if type is f32 and y == x */
  VigType type;
} VigNorm;

/* x[b, t, :] += pos[t, :] */
typedef struct {
  int batch, tokens, c;
  float *x;
  const float *pos;
} VigAddPos;

/* 3x3 depthwise convolution, stride 1, zero padding 1, no bias; then act. */
typedef struct {
  int batch, h, w, c;
  const float *x;      /* [B, h, w, C] */
  const float *weight; /* [3 * 3, C]: tap by tap, (ky, kx) row by row */
  VigAct act;
  void *y;             /* [B, h, w, C] of type */
  VigType type;
} VigDwconv;

/* Norm of every token, over its C channels, then dwconv3x3 of the grid. */
typedef struct {
  int batch, h, w, c;
  const float *x;           /* [B, h, w, C] */
  const float *norm_weight; /* [C] */
  const float *norm_bias;   /* [C]: a layernorm; NULL: an rmsnorm */
  float eps;
  const float *weight;      /* [3 * 3, C] */
  VigAct act;
  void *y;                  /* [B, h, w, C] of type */
  VigType type;
} VigNormDwconv;

/* c = a * weight^T + bias. Packed once by create, run for any number of rows. Each item's rows go through the same
 * products in the same order whatever the batch. Sums are fp32 or wider; type says what a and the weights are
 * rounded to. */
typedef struct {
  int n, k;
  VigType type;
  const float *weight; /* host, [n, k]; not needed after create */
  const float *bias;   /* host, [n], or NULL; not needed after create */
} VigMatmulDesc;

typedef struct {
  int batch, rows;  /* rows of one item */
  const void *a;    /* [B * rows, k] of the desc's type */
  void *c;          /* [B * rows, n] of type */
  VigType type;     /* F32 or the desc's, to which then the bias may be rounded as well */
  bool accumulate;  /* c += instead of c =; type F32 */
} VigMatmulRun;

typedef struct VigMatmul VigMatmul;

/* Log decay of gated linear attention: gk = logsigmoid(low * weight^T + bias) / 16, elementwise <= 0. */
typedef struct {
  int rows, rank, c;
  const float *low; ptrdiff_t low_row; /* [rows, rank] */
  const float *weight;                 /* [c, rank] */
  const float *bias;                   /* [c] */
  float *gk;                           /* [rows, c] */
} VigLogDecay;

/*
 * Gated linear attention in one or both directions (GLA paper eq. 3 with a decay for each key channel; official
 * code: fused recurrent kernel). For each item and head, with S [DK, DV]:
 *   forward,  t = 0 .. L-1:  S = diag(exp gk_fw[t]) S + k[t] v[t]^T;  o_fw[t] = q[t]^T S
 *   backward, t = L-1 .. 0:  the same with gk_bw
 *   o[t] = scale * (o_fw[t] + o_bw[t])
 * type bf16 allows factors of products (q, k, v, S, each with decays) to be rounded to it; sums and S itself stay f32.
 * Head j uses channels j*DK.. of q, k, gk_* and j*DV.. of v, o. A direction whose gk is NULL is left out.
 */
typedef struct {
  int batch, tokens, heads, dk, dv;
  const float *q, *k, *v; ptrdiff_t row;     /* all three with one row distance */
  const float *gk_fw, *gk_bw; ptrdiff_t gk_row;
  float *o;                                  /* [B, L, H * DV] */
  float scale;
  const float *state_fw, *state_bw;          /* [B, H, DK, DV], or NULL for zeros */
  float *end_fw, *end_bw;                    /* [B, H, DK, DV] after the last token of the direction, or NULL */
  VigType type;
} VigGlaBidir;

/* Per row and head, over its DV channels:
 *   m = act(sigmoid(gate) * rms(o) * g_norm + (1 - sigmoid(gate)) * rms(l) * l_norm) */
typedef struct {
  int rows, heads, dv;
  const float *gate; ptrdiff_t gate_row; /* [rows, H * DV], before the sigmoid */
  const float *o;                        /* [rows, H * DV] */
  const void *l;                         /* [rows, H * DV] of type */
  const float *g_norm, *l_norm;          /* [DV] */
  float eps;
  VigAct act;
  void *m;                               /* [rows, H * DV] of type */
  VigType type;
} VigGateMix;

/* The token mixer behind its products, in one: gk = log_decay (low), to which add_boundary adds if there is one,
 * o = gla_bidir (q, k, v, gk) in both directions, m = gate_mix (gate, o, l). Nothing between them is rounded to type. */
typedef struct {
  int batch, tokens, heads, dk, dv, rank;
  const void *q, *k, *v, *gate, *low; ptrdiff_t row; /* all of type, with one row distance; low [rows, rank] */
  const float *gk_weight;                /* [2 * H * DK, rank]: forward, backward */
  const float *gk_bias;                  /* [2 * H * DK] */
  const float *boundary; int frame;      /* [H * DK]; tokens of a frame, of which L is a multiple. NULL: none */
  float scale;                           /* of o */
  const void *l;                         /* [rows, H * DV] of type */
  const float *g_norm, *l_norm;          /* [DV] */
  float eps;
  VigAct act;
  void *m;                               /* [rows, H * DV] of type */
  VigType type;
} VigGlaMix;

/* x += W_out (silu (u1) * u2), [u1 | u2] = W_in norm (x): norm (x) and silu (u1) * u2 are rounded to the products' type,
 * u may be. Each item's rows go the same way whatever the batch. */
typedef struct {
  int batch, rows, c;       /* rows of one item */
  float *x;                 /* [B * rows, C] */
  const float *norm_weight; /* [C] */
  const float *norm_bias;   /* [C]: a layernorm; NULL: an rmsnorm */
  float eps;
  VigMatmul *in, *out;      /* [2 I, C] and [C, I], of one type, without bias */
  void *spare;              /* spare_size bytes that it may use meanwhile, or NULL */
  size_t spare_size;
} VigMlp;

/* y = silu(u[:, :width]) * u[:, width:] */
typedef struct {
  int rows, width;
  const float *u; /* [rows, 2 * width] */
  void *y;        /* [rows, width] of type */
  VigType type;
} VigSwiglu;

/* y[b, :] = mean over tokens of x[b, t, :] */
typedef struct {
  int batch, tokens, c;
  const float *x;
  float *y;
} VigPoolMean;

/* y = softmax(x) over each row, the maximum subtracted first. */
typedef struct {
  int rows, c;
  const float *x;
  float *y;
} VigSoftmax;

/*
 * Where in the picture a class comes from. The head is linear over the mean of the tokens, so every token has an exact share
 * of a class's logit; with the bias they add up to it. For each item, a window of frames, and each m, with c = which[b, m]:
 *   y[b, m, t] = weight[c] . x[b, the last frame, t] / (frames * L)
 * VIG_WHICH_TOP: c is the class of the greatest logit, the first of equals; logits are the means of those of the frames, and
 * no number is the least. VIG_WHICH_NONE: y is 0. chosen[b, m] is c. (Classes are in floats, as all that is uploaded.)
 */
#define VIG_WHICH_TOP (-1.0f)
#define VIG_WHICH_NONE (-2.0f)

typedef struct {
  int batch, frames, tokens, c, classes, maps;
  const float *x;      /* [B, frames, L, C]: what the head takes the mean of */
  const float *weight; /* [classes, C] */
  const float *logits; /* [B, frames, classes] */
  const float *which;  /* [B, maps] */
  float *y;            /* [B, maps, L] */
  float *chosen;       /* [B, maps] */
} VigClassMap;

/* ---- windows of frames (docs/temporal.md) ----------------------------------------------------------------------- */

/* 3x3x3 depthwise convolution over time, rows and columns, stride 1, zero padding 1, no bias; then act. */
typedef struct {
  int batch, frames, h, w, c;
  const float *x;      /* [B, frames, h, w, C] */
  const float *weight; /* [3 * 3 * 3, C]: tap by tap, (kt, ky, kx) */
  VigAct act;          /* NONE or SILU */
  void *y;             /* [B, frames, h, w, C] of type */
  VigType type;
} VigDwconvTime;

/* What a scan multiplies its state by where it enters another frame: gk_fw += boundary at the first token of each frame,
 * gk_bw += boundary at the last. */
typedef struct {
  int frames, tokens, c;  /* of all items; of a frame; key channels of a direction */
  float *gk;              /* [frames, tokens, 2 * c]: forward, backward */
  const float *boundary;  /* [c], <= 0 */
} VigAddBoundary;

/* ---- models with a memory (docs/temporal.md) ------------------------------------------------------------------- */

/*
 * What a stream remembers is memory of its own: state[b], an array of pointers in memory of the backend, says where that of
 * item b is. Items of one stream follow one another in time and lie side by side in a batch. elapsed[b] is the time since
 * the item before, in steps of the model; negative: there is none, and what lies in the memory is not read.
 */

/* y[b, i, :] = the mean of x over the tokens of cell i: token (row, column) is in cell (row * grid / h, column * grid / w),
 * cells row by row. */
typedef struct {
  int batch, h, w, c, grid;
  const float *x; /* [B, h, w, C] */
  void *y;        /* [B, grid * grid, C] of type */
  VigType type;
} VigCellMean;

/* x[b, row, column, :] += y[b, its cell, :] */
typedef struct {
  int batch, h, w, c, grid;
  const float *y; /* [B, grid * grid, C] */
  float *x;       /* [B, h, w, C] */
} VigCellAdd;

/*
 * A step of gated linear attention over time, for each item, cell and head, with r = elapsed (1 if negative):
 *   S = diag(exp (r gk)) S + min (r, max_elapsed) k v^T (S = 0 before the first)
 *   o = sigmoid(gate) * rms(scale q^T S) * g_norm
 * where gk = log_decay (low). S stays f32 throughout.
 */
typedef struct {
  int batch, cells, heads, dk, dv, rank;
  const float *q, *k, *v, *gate, *low; ptrdiff_t row; /* rows [B, cells]; with one row distance; gate before the sigmoid */
  const float *gk_weight;                             /* [H * DK, rank] */
  const float *gk_bias;                               /* [H * DK] */
  const float *g_norm;                                /* [DV] */
  float eps, scale, max_elapsed;
  const float *elapsed;                               /* [B] */
  float *const *state; size_t offset;                 /* S of item b: [cells, H, DK, DV] at state[b] + offset */
  void *o;                                            /* [B, cells, H * DV] of type */
  VigType type;
} VigMemoryStep;

/* y[b] = x[b], then limited gain * (x[b] - the item before), 0 for the first; and x[b] is what is remembered. */
typedef struct {
  int batch, size;                    /* numbers of an item */
  const float *x;                     /* [B, size] */
  float gain, limit;                  /* the result is within -limit .. limit */
  const float *elapsed;               /* [B] */
  float *const *state; size_t offset; /* the item before: [size] at state[b] + offset */
  float *y;                           /* [B, 2 * size] */
} VigDifference;

/* ---- gated linear attention as an operator of its own (docs/gla.md) -------------------------------------------- */

/*
 * How the tokens of a sequence go by. All forms are the same function:
 *   TOKENS  one after the other: for a few of them
 *   CHUNKS  some at a time, chunk after chunk
 *   SPLIT   the sequence is cut into pieces that are computed side by side: their states, then those combined in order,
 *           then their outputs. Half as much work again, for a long sequence with few heads
 *   AUTO    one of these for each sequence, by its length, heads, dk and dv
 */
typedef enum { VIG_SCAN_AUTO, VIG_SCAN_TOKENS, VIG_SCAN_CHUNKS, VIG_SCAN_SPLIT } VigScan;

/* Head h of token t of sequence b begins at element b * sequence + t * token + h * head; its channels lie side by side. */
typedef struct { ptrdiff_t sequence, token, head; } VigStrides;

/*
 * For each sequence and head, with S [DK, DV] and a[t] = exp gate[t], of each channel, of the head, or 1:
 *   forward,  t = 0 .. L-1:  S = diag(a_fw[t]) S + k[t] v[t]^T;  o_fw[t] = scale * q[t]^T S
 *   backward, t = L-1 .. 0:  the same with a_bw, o_bw
 *   o_sum[t] = o_fw[t] + o_bw[t], rounded once; with one direction that one
 * Sums and S are f32 (ref: double). A sequence may be empty: its end is its state. NaN and infinity stay within their
 * sequence and head; where the recurrence gives infinity there may be NaN. o of a token depends on no token that its
 * direction has not come to. Gates above 0 let S grow, as long as the sum of any 64 in a row stays below 88.
 */
typedef struct {
  VigScan form;
  int batch, heads, dk, dv;
  int tokens;                        /* of each sequence; ragged: of all together */
  bool ragged;                       /* sequence b is tokens offsets[b] .. offsets[b + 1] - 1; VigStrides.sequence is unused */
  const int64_t *offsets;            /* host, [B + 1], rising from 0 on */
  bool forward, backward;
  int gate_width;                    /* numbers of a head and token: DK; 1; 0: no gates */
  float scale;
  VigType type, o_type;              /* of q, k, v; of o_* */

  const void *q, *k, *v;             /* [B, L, H, DK], DK, DV */
  const float *gate_fw, *gate_bw;    /* [B, L, H, gate_width], log decays */
  VigStrides q_at, k_at, v_at, gate_at, o_at;
  const float *state_fw, *state_bw;  /* [B, H, DK, DV] before the first token of the direction, or NULL for zeros */
  float *end_fw, *end_bw;            /* [B, H, DK, DV] after the last one, or NULL; may be the states' memory */
  void *o_fw, *o_bw, *o_sum;         /* [B, L, H, DV] each, or NULL */
  void *workspace;                   /* as many bytes as gla_plan said, 64-byte aligned */
  void *stream;                      /* of a GPU, where it is enqueued; NULL: the backend's */
} VigGlaRun;

/* ---- batches in flight ---------------------------------------------------------------------------------------- */

/*
 * A backend that works while its caller goes on can prepare one batch's input while it computes another. A VigPipe holds
 * up to VIG_SLOTS batches in flight, each in a slot with its own input and results:
 *   pipe_fill  what is enqueued from here to pipe_run makes the slot's input, beside the batches that were run before
 *   pipe_run   computes it after those, and copies the results to the host
 *   pipe_wait  waits for the slot's batch alone
 * A slot's input is made again only when its last batch was waited for. finish() waits for all pipes, and ends a fill.
 */
enum { VIG_SLOTS = 2 };

typedef struct VigPipe VigPipe;

/* What work enqueues, arguments and all, depends on slot and n alone as long as the pipe lives: it may be recorded and
 * repeated without calling work. Until then work is called before pipe_run returns. */
typedef struct {
  int slot, n;             /* n: items */
  void (*work)(void *data);
  void *data;
  const void *results;     /* where work leaves them; depends on slot and n, too */
  size_t size;
} VigPipeRun;

/* ---- the table ------------------------------------------------------------------------------------------------ */

typedef struct VigKernels VigKernels;
struct VigKernels {
  int abi;           /* VIG_KERNELS_ABI */
  const char *name;  /* "ref", "avx512+amx", … for logs and tests */
  VigType fastest;   /* of matrix products: a narrow type where the hardware multiplies it itself */
  size_t chunk;      /* how many numbers of the widest tensor are best computed at once; 0: as many as suit a CPU */
  const char *no_bf16; /* why bf16 is refused, or NULL */
  void *context;     /* where pictures may lie on_device: the primary context of CUDA's device, a CUcontext; NULL: nowhere */
  int device;        /* CUDA's number of it */
  void *ctx;         /* first argument of everything below */

  void (*close)(VigKernels *self);
  void *(*alloc)(void *ctx, size_t size);          /* 64-byte aligned; NULL when there is no memory */
  void (*free)(void *ctx, void *memory);           /* NULL is allowed */
  void (*upload)(void *ctx, void *to, const void *host, size_t size);
  void (*download)(void *ctx, void *host, const void *from, size_t size);
  const char *(*finish)(void *ctx);                /* waits; NULL, or the first error since the last one */

  /* The host's planes are the caller's again when preprocess_run returns; the device's when its result is there. */
  VigPreprocess *(*preprocess_create)(void *ctx, const VigPreprocessDesc *desc);   /* NULL: no memory */
  /* out: [n, 3, h, w]. The pictures, in host memory, have been read when it returns. */
  void (*preprocess_run)(void *ctx, VigPreprocess *p, const VigPlanes *frames, int n, float *out);
  void (*preprocess_destroy)(void *ctx, VigPreprocess *p);

  VigMatmul *(*matmul_create)(void *ctx, const VigMatmulDesc *desc);               /* NULL: finish() says why */
  void (*matmul_run)(void *ctx, VigMatmul *m, const VigMatmulRun *a);
  void (*matmul_destroy)(void *ctx, VigMatmul *m);
  size_t (*matmul_bytes)(void *ctx, const VigMatmul *m);                           /* packed weights and bias */

  void (*im2col)(void *ctx, const VigIm2col *a);
  void (*rmsnorm)(void *ctx, const VigNorm *a);
  void (*layernorm)(void *ctx, const VigNorm *a);
  void (*add_pos)(void *ctx, const VigAddPos *a);
  void (*dwconv3x3)(void *ctx, const VigDwconv *a);
  void (*log_decay)(void *ctx, const VigLogDecay *a);
  void (*gla_bidir)(void *ctx, const VigGlaBidir *a);
  /* Bytes of workspace for calls with these sizes, types and outputs; no memory is looked at. Sets a form that the backend
   * lacks to one that it has, and AUTO to what it stands for, but of ragged sequences, of which each has its own. */
  size_t (*gla_plan)(void *ctx, VigGlaRun *a);
  void (*gla)(void *ctx, const VigGlaRun *a);
  void (*gate_mix)(void *ctx, const VigGateMix *a);
  void (*swiglu)(void *ctx, const VigSwiglu *a);
  void (*pool_mean)(void *ctx, const VigPoolMean *a);
  void (*softmax)(void *ctx, const VigSoftmax *a);
  void (*class_map)(void *ctx, const VigClassMap *a);

  /* Several of the above in one, so that what lies between stays in caches or registers. */
  void (*norm_dwconv)(void *ctx, const VigNormDwconv *a);
  void (*gla_mix)(void *ctx, const VigGlaMix *a);
  void (*mlp)(void *ctx, const VigMlp *a);

  void (*dwconv3x3x3)(void *ctx, const VigDwconvTime *a);
  void (*add_boundary)(void *ctx, const VigAddBoundary *a);
  void (*cell_mean)(void *ctx, const VigCellMean *a);
  void (*cell_add)(void *ctx, const VigCellAdd *a);
  void (*memory_step)(void *ctx, const VigMemoryStep *a);
  void (*difference)(void *ctx, const VigDifference *a);

  /* All or none: NULL in a backend that has done the work when a call returns. */
  VigPipe *(*pipe_create)(void *ctx, size_t results); /* bytes at most; NULL: finish() says why */
  void (*pipe_fill)(void *ctx, VigPipe *p);
  const char *(*pipe_run)(void *ctx, VigPipe *p, const VigPipeRun *a); /* NULL, or once: why it is not recorded */
  const char *(*pipe_wait)(void *ctx, VigPipe *p, int slot, void **results); /* NULL, or as finish(); *results: on the
                                                                               host, until the slot's next run */
  size_t (*pipe_bytes)(void *ctx, const VigPipe *p);  /* operators' own memory, less the workspace of libraries */
  void (*pipe_destroy)(void *ctx, VigPipe *p);        /* NULL is allowed; nothing is in flight */
};

/* The reference: scalar, one thread, no library. Never NULL but for want of memory. Close with k->close(k). */
VigKernels *vig_kernels_ref_open (void);

/* Instruction sets the CPU backend may use, lowest first; a mask for tests and for VIG_CPU_MASK. */
enum {
  VIG_CPU_AVX2 = 1 << 0,
  VIG_CPU_AVX512 = 1 << 1,
  VIG_CPU_BF16 = 1 << 2, /* avx512_bf16, amx_bf16 */
  VIG_CPU_ALL = (1 << 3) - 1
};

/* The CPU backend: the best variant of every operator that this machine has and mask allows, over `threads` threads
 * (0: all that this process may use). Always works: what has no faster variant here is ref's. Matrix products are
 * oneDNN's, which looks at the machine itself (mask 0: ref's; f16 and, without VIG_CPU_BF16, bf16 are multiplied as
 * fp32). */
VigKernels *vig_kernels_cpu_open (int threads, unsigned mask);

/* Position embedding for another grid (host memory, once per size): separable bicubic with a = -0.75, half-pixel
 * centres, taps clamped to the edge, no antialiasing, computed in double. pos [n_h * n_w, C] -> out [h * w, C].
 * Original: torch.nn.functional.interpolate(mode="bicubic") in vig.py. */
void vig_resize_pos (const float *pos, int n_h, int n_w, int c, float *out, int h, int w);

#endif
