/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Matrix products through cuBLASLt. Never run on a GPU.
 *
 * cuBLASLt counts columns first: c [rows, n] = a [rows, k] * weight [n, k]^T is, read column by column,
 * C [n, rows] = W^T [n, k] * A [k, rows], with W [k, n] of leading dimension k. The bias, one number for each row of C, and
 * c += (beta = 1) are done in the product's epilogue. fp32 is CUBLAS_COMPUTE_32F, which is never TF32; sums are fp32, and
 * come out as they are or rounded to the type of what goes in. The bias has the type of the result: that is all there is.
 *
 * The same item has to give the same bits in any batch, but the library likes another algorithm for another number of
 * rows, and algorithms sum over k in different orders. So: none that splits k is taken. The first that the library
 * proposes for MANY rows is the shape's own. For each other number of rows (powers of two up to MANY) the proposals are
 * tried, once, on random numbers, and the first one with the same bits as the shape's own is kept; if there is none,
 * the shape's own does it. All matrices of a shape and type of result share these plans. A quarter of the sums
 * are made to be 0 but for their rounding: what is left differs from order to order in its first digits, which a result
 * of 16 bits has too.
 *
 * libcublasLt, half a gigabyte, is opened at run time: only then does a program without a GPU not need it.
 *
 * Counted for an H100 (798 TFLOP/s of bf16, 3 TB/s), batch 128 at 224: the products of ViG-B are 4.4 TFLOP, 5.5 ms at the
 * full rate, and bound by it; the joint one of a block of ViG-T, [25088, 192] x [192, 592], is 5.7 GFLOP, 7 us, beside 39 MB,
 * 13 us, and bound by those.
 */
#include "cuda/cuda.h"

#include <cublasLt.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>

#include "numbers.h"

enum {
  MANY = 4096,          /* rows */
  FEW = 16,             /* rows: fewer go with the plan of so many */
  PROPOSALS = 16,
  WORKSPACE = 32 << 20, /* bytes; what the library advises for Hopper */
  ALIGNMENT = 16        /* bytes: of all that operators are given */
};

#define LIBRARY_CALLS(CALL) \
  CALL (cublasLtCreate) \
  CALL (cublasLtDestroy) \
  CALL (cublasLtGetStatusName) \
  CALL (cublasLtMatrixLayoutCreate) \
  CALL (cublasLtMatrixLayoutDestroy) \
  CALL (cublasLtMatrixLayoutSetAttribute) \
  CALL (cublasLtMatmulDescCreate) \
  CALL (cublasLtMatmulDescDestroy) \
  CALL (cublasLtMatmulDescSetAttribute) \
  CALL (cublasLtMatmulPreferenceCreate) \
  CALL (cublasLtMatmulPreferenceDestroy) \
  CALL (cublasLtMatmulPreferenceSetAttribute) \
  CALL (cublasLtMatmulAlgoGetHeuristic) \
  CALL (cublasLtMatmulAlgoConfigGetAttribute) \
  CALL (cublasLtMatmul)

struct Library {
#define MEMBER(name) decltype (&::name) name;
  LIBRARY_CALLS (MEMBER)
#undef MEMBER
};

/* The algorithm for a shape and up to so many rows. */
struct Plan {
  Plan *next;
  int n, k, rows;
  VigType type, out;
  bool bias;
  cublasLtMatmulAlgo_t algorithm;
};

struct VigCudaLt {
  Library call;
  cublasLtHandle_t handle;
  cublasLtMatmulPreference_t preference;
  Plan *plans;
};

/* A product whose result is of one of the types. */
struct Result {
  VigType type;
  void *bias;                          /* [n] of type, or NULL */
  cublasLtMatmulDesc_t desc;
  cublasLtMatrixLayout_t c;
};

struct VigMatmul {
  int n, k;
  VigType type;
  void *weight;                        /* [n, k] of type */
  Result result[2];                    /* f32, and of type if that is another */
  size_t bytes;
  cublasLtMatrixLayout_t w, a;         /* a, and c of the results: of the last run's number of rows */
  int rows;
};

/* ---- the library ---- */

#ifdef VIG_EMULATE
static bool
load (VigCuda *cuda, Library *library)
{
#define TAKE(name) library->name = ::name;
  LIBRARY_CALLS (TAKE)
#undef TAKE
  return true;
}
#else
#define STRING_OF(x) #x
#define STRING(x) STRING_OF (x)

/* Where the loader finds it, or in the toolkit. Never closed: other backends of the process use it too. */
static bool
load (VigCuda *cuda, Library *library)
{
  static const char *const places[] = { "", "/usr/local/cuda/lib64/" };
  char path[80], reason[200] = "";
  void *file = NULL;

  for (size_t i = 0; i < sizeof places / sizeof *places && !file; i++) {
    snprintf (path, sizeof path, "%slibcublasLt.so." STRING (CUBLAS_VER_MAJOR), places[i]);
    file = dlopen (path, RTLD_NOW | RTLD_LOCAL);
    if (!file && !reason[0])
      snprintf (reason, sizeof reason, "%s", dlerror ());
  }
  if (!file) {
    vig_cuda_fail (cuda, "expected cuBLASLt of CUDA " STRING (CUBLAS_VER_MAJOR) ", cannot load it: %s", reason);
    return false;
  }
#define TAKE(name) \
  if (!(library->name = (decltype (library->name)) dlsym (file, #name))) { \
    vig_cuda_fail (cuda, "expected " #name " in %s, found no such function", path); \
    return false; \
  }
  LIBRARY_CALLS (TAKE)
#undef TAKE
  return true;
}
#endif

/* Notes the first failure, as vig_cuda_ok. */
static bool
ok (VigCuda *cuda, cublasStatus_t status, const char *doing, int n, int k)
{
  if (status == CUBLAS_STATUS_SUCCESS)
    return true;
  vig_cuda_fail (cuda, "%s while %s matrix products with weights [%d, %d]",
      cuda->lt->call.cublasLtGetStatusName (status), doing, n, k);
  return false;
}

static cudaDataType
data_type (VigType type)
{
  return type == VIG_TYPE_F32 ? CUDA_R_32F : type == VIG_TYPE_BF16 ? CUDA_R_16BF : CUDA_R_16F;
}

/* ---- one product ---- */

static cublasStatus_t
set_rows (VigCuda *cuda, VigMatmul *m, int rows)
{
  const uint64_t columns = (uint64_t) rows;

  if (m->rows == rows)
    return CUBLAS_STATUS_SUCCESS;
  m->rows = 0; /* until all are */
  for (cublasLtMatrixLayout_t layout : { m->a, m->result[0].c, m->result[1].c }) {
    if (!layout)
      continue;
    cublasStatus_t status = cuda->lt->call.cublasLtMatrixLayoutSetAttribute (layout, CUBLASLT_MATRIX_LAYOUT_COLS,
        &columns, sizeof columns);
    if (status != CUBLAS_STATUS_SUCCESS)
      return status;
  }
  m->rows = rows;
  return CUBLAS_STATUS_SUCCESS;
}

bool
vig_cuda_matmul_reserve (VigCuda *cuda, VigCudaMemory *memory)
{
  if (!memory->workspace)
    memory->workspace = vig_cuda_alloc (cuda, WORKSPACE);
  return memory->workspace != NULL;
}

static const Result *
result_of (const VigMatmul *m, VigType out)
{
  return &m->result[out != VIG_TYPE_F32];
}

/* c = a * weight^T + bias, or c += that */
static cublasStatus_t
multiply (VigCuda *cuda, VigMatmul *m, const Result *r, const void *weight, const void *a, void *c, int rows,
    bool accumulate, const cublasLtMatmulAlgo_t *algorithm)
{
  const float one = 1, beta = accumulate ? 1 : 0;
  cublasStatus_t status = set_rows (cuda, m, rows);

  if (status == CUBLAS_STATUS_SUCCESS && !vig_cuda_matmul_reserve (cuda, cuda->memory))
    status = CUBLAS_STATUS_ALLOC_FAILED;
  if (status != CUBLAS_STATUS_SUCCESS)
    return status;
  return cuda->lt->call.cublasLtMatmul (cuda->lt->handle, r->desc, &one, weight, m->w, a, m->a, &beta, c, r->c, c, r->c,
      algorithm, cuda->memory->workspace, WORKSPACE, cuda->stream);
}

/* ---- choosing algorithms ---- */

/* The library's proposals for so many rows, best first, less those that split k. */
static int
propose (VigCuda *cuda, VigMatmul *m, const Result *r, int rows, cublasLtMatmulAlgo_t *proposals)
{
  const Library *call = &cuda->lt->call;
  cublasLtMatmulHeuristicResult_t results[PROPOSALS];
  int found = 0, n = 0;

  if (set_rows (cuda, m, rows) != CUBLAS_STATUS_SUCCESS
      || call->cublasLtMatmulAlgoGetHeuristic (cuda->lt->handle, r->desc, m->w, m->a, r->c, r->c, cuda->lt->preference,
          PROPOSALS, results, &found) != CUBLAS_STATUS_SUCCESS)
    return 0;
  for (int i = 0; i < found; i++) {
    int32_t parts = 1;
    size_t written;
    if (results[i].state == CUBLAS_STATUS_SUCCESS
        && call->cublasLtMatmulAlgoConfigGetAttribute (&results[i].algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &parts,
            sizeof parts, &written) == CUBLAS_STATUS_SUCCESS
        && parts <= 1)
      proposals[n++] = results[i].algo;
  }
  return n;
}

/* Random numbers [rows, k] of a type in device memory, between -1 and 1; of every nth row the second half is the first
 * once more, times sign, and a last odd number 0. So products with such rows of two matrices, one of each sign, are 0
 * but for rounding. NULL: the error is noted. */
static void *
random_matrix (VigCuda *cuda, int rows, int k, VigType type, int nth, int sign)
{
  size_t size = (size_t) rows * k * vig_type_size (type);
  void *host = malloc (size), *memory = host ? vig_cuda_alloc (cuda, size) : NULL;
  uint32_t state = 1;

  for (size_t i = 0; memory && i < (size_t) rows * k; i++) {
    int r = (int) (i / k), c = (int) (i % k), half = k / 2;
    state = state * 1664525 + 1013904223; /* Numerical Recipes' generator */
    double x = (double) (state >> 8) / (1 << 23) - 1;
    if (r % nth == 0 && c >= half)
      x = c < 2 * half ? sign * (double) vig_get (host, i - half, type) : 0;
    vig_set (host, i, type, x);
  }
  if (memory)
    vig_cuda_upload (cuda, memory, host, size);
  free (host);
  return memory;
}

/* What a trial needs: [rows, k], [n, k], [rows, n], a bias of zeros on the device, and results of the shape's own
 * algorithm. */
struct Trial {
  int rows;
  size_t size;                  /* bytes of c */
  void *a, *weight, *c, *bias;
  char *own[2], *other;         /* host: with c = and, in fp32, with c += */
};

static bool
try_algorithm (VigCuda *cuda, VigMatmul *m, const Result *r, const Trial *t, const cublasLtMatmulAlgo_t *algorithm, bool accumulate,
    char *result)
{
  /* every number of an fp32 c 0.747… beforehand */
  if (!vig_cuda_ok (cuda, cudaMemsetAsync (t->c, 0x3f, t->size, cuda->stream), "trying matrix products"))
    return false;
  if (multiply (cuda, m, r, t->weight, t->a, t->c, t->rows, accumulate, algorithm) != CUBLAS_STATUS_SUCCESS)
    return false;
  vig_cuda_download (cuda, result, t->c, t->size);
  return !cuda->error[0];
}

static bool
same_bits (VigCuda *cuda, VigMatmul *m, const Result *r, const Trial *t, const cublasLtMatmulAlgo_t *algorithm)
{
  for (int accumulate = 0; accumulate < (r->type == VIG_TYPE_F32 ? 2 : 1); accumulate++)
    if (!try_algorithm (cuda, m, r, t, algorithm, accumulate, t->other) || memcmp (t->own[accumulate], t->other, t->size) != 0)
      return false;
  return true;
}

static bool
set_bias (VigCuda *cuda, const Result *r, void *bias)
{
  return cuda->lt->call.cublasLtMatmulDescSetAttribute (r->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias)
      == CUBLAS_STATUS_SUCCESS;
}

/* The first of the proposals that has the bits of the shape's own algorithm; or that one. */
static cublasLtMatmulAlgo_t
try_all (VigCuda *cuda, VigMatmul *m, const Result *r, Trial *t, const cublasLtMatmulAlgo_t *proposals, int n,
    const cublasLtMatmulAlgo_t *own)
{
  const bool f32 = r->type == VIG_TYPE_F32;

  if (!t->a || !t->weight || !t->c || !t->own[0] || !t->own[1] || !t->other
      || (r->bias && (!t->bias || !vig_cuda_ok (cuda, cudaMemsetAsync (t->bias, 0, m->n * sizeof (float), cuda->stream),
                                       "trying matrix products") || !set_bias (cuda, r, t->bias)))
      || !try_algorithm (cuda, m, r, t, own, false, t->own[0])
      || (f32 && !try_algorithm (cuda, m, r, t, own, true, t->own[1])))
    return *own;
  for (int i = 0; i < n; i++)
    if (memcmp (&proposals[i], own, sizeof *own) == 0 || same_bits (cuda, m, r, t, &proposals[i]))
      return proposals[i];
  return *own;
}

/* The algorithm for so many rows. */
static cublasLtMatmulAlgo_t
choose (VigCuda *cuda, VigMatmul *m, const Result *r, int rows, const cublasLtMatmulAlgo_t *own)
{
  cublasLtMatmulAlgo_t proposals[PROPOSALS], chosen;
  int n = propose (cuda, m, r, rows, proposals);
  Trial t = { rows, (size_t) rows * m->n * vig_type_size (r->type), NULL, NULL, NULL, NULL, { NULL, NULL }, NULL };

  if (n == 0 || memcmp (&proposals[0], own, sizeof *own) == 0)
    return *own;
  t.a = random_matrix (cuda, rows, m->k, m->type, 2, 1);
  t.weight = random_matrix (cuda, m->n, m->k, m->type, 2, -1);
  t.c = vig_cuda_alloc (cuda, t.size);
  t.bias = r->bias ? vig_cuda_alloc (cuda, m->n * sizeof (float)) : NULL;
  t.own[0] = (char *) malloc (t.size);
  t.own[1] = (char *) malloc (t.size);
  t.other = (char *) malloc (t.size);
  chosen = try_all (cuda, m, r, &t, proposals, n, own);
  if (r->bias && !set_bias (cuda, r, r->bias))
    vig_cuda_fail (cuda, "cuBLASLt took no bias");
  for (void *memory : { t.a, t.weight, t.c, t.bias })
    vig_cuda_free (cuda, memory);
  for (void *memory : { t.own[0], t.own[1], t.other })
    free (memory);
  return chosen;
}

static const Plan *
find_plan (const VigCuda *cuda, const VigMatmul *m, const Result *r, int rows)
{
  for (const Plan *p = cuda->lt->plans; p; p = p->next)
    if (p->n == m->n && p->k == m->k && p->rows == rows && p->type == m->type && p->out == r->type
        && p->bias == (r->bias != NULL))
      return p;
  return NULL;
}

static const Plan *
add_plan (VigCuda *cuda, const VigMatmul *m, const Result *r, int rows, const cublasLtMatmulAlgo_t *algorithm)
{
  Plan *p = (Plan *) malloc (sizeof *p);
  if (!p) {
    vig_cuda_fail (cuda, "no memory for a plan");
    return NULL;
  }
  *p = Plan { cuda->lt->plans, m->n, m->k, rows, m->type, r->type, r->bias != NULL, *algorithm };
  return cuda->lt->plans = p;
}

/* The plan for so many rows, made when first met. NULL: the error is noted. */
static const Plan *
get_plan (VigCuda *cuda, VigMatmul *m, const Result *r, int rows)
{
  int bucket = FEW;
  while (bucket < rows && bucket < MANY)
    bucket *= 2;
  if (const Plan *p = find_plan (cuda, m, r, bucket))
    return p;

  const Plan *own = find_plan (cuda, m, r, MANY);
  if (!own) {
    cublasLtMatmulAlgo_t proposals[PROPOSALS];
    if (propose (cuda, m, r, MANY, proposals) == 0) {
      vig_cuda_fail (cuda, "matmul: cuBLASLt has no algorithm for weights [%d, %d]", m->n, m->k);
      return NULL;
    }
    own = add_plan (cuda, m, r, MANY, &proposals[0]);
  }
  if (!own || bucket == MANY)
    return own;
  cublasLtMatmulAlgo_t chosen = choose (cuda, m, r, bucket, &own->algorithm);
  return cuda->error[0] ? NULL : add_plan (cuda, m, r, bucket, &chosen);
}

/* ---- the operator ---- */

static void
matmul_destroy (void *ctx, VigMatmul *m)
{
  VigCuda *cuda = (VigCuda *) ctx;
  const Library *call = &cuda->lt->call;

  if (!m)
    return;
  vig_cuda_free (ctx, m->weight);
  for (Result &r : m->result) {
    vig_cuda_free (ctx, r.bias);
    if (r.desc)
      call->cublasLtMatmulDescDestroy (r.desc);
  }
  for (cublasLtMatrixLayout_t layout : { m->w, m->a, m->result[0].c, m->result[1].c })
    if (layout)
      call->cublasLtMatrixLayoutDestroy (layout);
  free (m);
}

static bool
describe_result (VigCuda *cuda, VigMatmul *m, Result *r)
{
  const Library *call = &cuda->lt->call;
  const int32_t transposed = CUBLAS_OP_T;
  const uint32_t bias = CUBLASLT_EPILOGUE_BIAS;
  const char *doing = "describing";

  return ok (cuda, call->cublasLtMatmulDescCreate (&r->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F), doing, m->n, m->k)
      && ok (cuda, call->cublasLtMatmulDescSetAttribute (r->desc, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
             sizeof transposed), doing, m->n, m->k)
      && (!r->bias
          || (ok (cuda, call->cublasLtMatmulDescSetAttribute (r->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &bias, sizeof bias),
                  doing, m->n, m->k)
              && ok (cuda, call->cublasLtMatmulDescSetAttribute (r->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &r->bias,
                     sizeof r->bias), doing, m->n, m->k)))
      && ok (cuda, call->cublasLtMatrixLayoutCreate (&r->c, data_type (r->type), m->n, 1, m->n), doing, m->n, m->k);
}

static bool
describe (VigCuda *cuda, VigMatmul *m)
{
  const Library *call = &cuda->lt->call;
  const uint64_t n = (uint64_t) m->n, k = (uint64_t) m->k;
  const char *doing = "describing";

  return ok (cuda, call->cublasLtMatrixLayoutCreate (&m->w, data_type (m->type), k, n, m->k), doing, m->n, m->k)
      && ok (cuda, call->cublasLtMatrixLayoutCreate (&m->a, data_type (m->type), k, 1, m->k), doing, m->n, m->k)
      && describe_result (cuda, m, &m->result[0])
      && (m->type == VIG_TYPE_F32 || describe_result (cuda, m, &m->result[1]));
}

/* n numbers of the host as a type in device memory. NULL: the error is noted. */
static void *
rounded (VigCuda *cuda, const float *from, size_t n, VigType type)
{
  size_t size = n * vig_type_size (type);
  void *host = malloc (size), *memory = host ? vig_cuda_alloc (cuda, size) : NULL;

  if (!host)
    vig_cuda_fail (cuda, "no memory to prepare the weights of a matrix product");
  for (size_t i = 0; memory && i < n; i++)
    vig_set (host, i, type, from[i]);
  if (memory)
    vig_cuda_upload (cuda, memory, host, size);
  free (host);
  return memory;
}

static VigMatmul *
matmul_create (void *ctx, const VigMatmulDesc *desc)
{
  VigCuda *cuda = (VigCuda *) ctx;
  size_t numbers = (size_t) desc->n * desc->k;
  VigMatmul *m = (VigMatmul *) calloc (1, sizeof *m);
  bool made = m != NULL;

  if (!m) {
    vig_cuda_fail (cuda, "no memory to prepare the weights of a matrix product");
    return NULL;
  }
  m->n = desc->n;
  m->k = desc->k;
  m->type = m->result[1].type = desc->type;
  m->rows = 1;
  m->bytes = numbers * vig_type_size (m->type);
  m->weight = rounded (cuda, desc->weight, numbers, m->type);
  made = m->weight != NULL;
  for (Result &r : m->result)
    if (made && desc->bias && (&r == m->result || r.type != VIG_TYPE_F32)) {
      r.bias = rounded (cuda, desc->bias, (size_t) m->n, r.type);
      m->bytes += (size_t) m->n * vig_type_size (r.type);
      made = r.bias != NULL;
    }
  if (made && describe (cuda, m))
    return m;
  matmul_destroy (ctx, m);
  return NULL;
}

static void
matmul_run (void *ctx, VigMatmul *m, const VigMatmulRun *a)
{
  VigCuda *cuda = (VigCuda *) ctx;
  const Result *r = result_of (m, a->type);
  int rows = a->batch * a->rows;

  if (const Plan *plan = get_plan (cuda, m, r, rows))
    ok (cuda, multiply (cuda, m, r, m->weight, a->a, a->c, rows, a->accumulate, &plan->algorithm), "enqueueing", m->n,
        m->k);
}

/* ---- mlp ---- */

/* Activations in slices of the rows: together they stay in L2, and a long sequence needs no more memory than a short
 * one. No bit depends on where they are cut. */
enum {
  SLICE = 16 << 20, /* bytes that a slice may take … */
  SLICE_ROWS = 1024 /* … but at least so many rows, which a product needs to be fast */
};

static size_t
whole (size_t bytes)
{
  return (bytes + 255) & ~(size_t) 255;
}

static void
mlp_in_slices (VigCuda *cuda, const VigMlp *a)
{
  const VigType type = a->in->type;
  const int width = a->out->k, all = a->batch * a->rows;
  const size_t size = vig_type_size (type), row = size * (a->c + 3 * width), gaps = 3 * whole (1);
  const int spare = a->spare_size > gaps ? (int) std::min ((a->spare_size - gaps) / row, (size_t) all) : 0;
  int rows = all < SLICE_ROWS ? all : (int) std::max ((size_t) SLICE_ROWS, SLICE / row / SLICE_ROWS * SLICE_ROWS);
  const bool enough = spare >= rows || spare >= SLICE_ROWS;
  rows = std::min (rows, all);
  if (enough && spare < rows)
    rows = spare / SLICE_ROWS * SLICE_ROWS;
  char *memory = enough ? (char *) a->spare : (char *) vig_cuda_scratch (cuda, rows * row + gaps);
  char *u = memory + whole (rows * a->c * size), *s = u + whole (rows * 2 * width * size);

  if (!memory)
    return;
  for (int first = 0; first < all; first += rows) {
    const int n = std::min (rows, all - first);
    float *x = a->x + (size_t) first * a->c;
    const VigNorm norm = { n, a->c, x, a->norm_weight, a->norm_bias, a->eps, VIG_ACT_NONE, memory, type };
    const VigMatmulRun in = { 1, n, memory, u, type, false }, out = { 1, n, s, x, VIG_TYPE_F32, true };
    vig_cuda_norm (cuda, &norm);
    matmul_run (cuda, a->in, &in);
    vig_cuda_swiglu (cuda, u, type, n, width, s, type);
    matmul_run (cuda, a->out, &out);
  }
}

static void
mlp (void *ctx, const VigMlp *a)
{
  VigCuda *cuda = (VigCuda *) ctx;

  if (!vig_cuda_mlp (cuda, a, a->in->weight, a->out->weight, a->out->k, a->in->type))
    mlp_in_slices (cuda, a);
}

static size_t
matmul_bytes (void *ctx, const VigMatmul *m)
{
  return m->bytes;
}

/* ---- the backend ---- */

static bool
prefer (VigCuda *cuda)
{
  const Library *call = &cuda->lt->call;
  const uint64_t workspace = WORKSPACE;
  const uint32_t none = CUBLASLT_REDUCTION_SCHEME_NONE, alignment = ALIGNMENT;
  cublasLtMatmulPreference_t p;
  bool done = call->cublasLtMatmulPreferenceCreate (&cuda->lt->preference) == CUBLAS_STATUS_SUCCESS;

  p = cuda->lt->preference;
  done = done && call->cublasLtMatmulPreferenceSetAttribute (p, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
      sizeof workspace) == CUBLAS_STATUS_SUCCESS
      && call->cublasLtMatmulPreferenceSetAttribute (p, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &none, sizeof none)
          == CUBLAS_STATUS_SUCCESS;
  for (auto which : { CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
           CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES })
    done = done && call->cublasLtMatmulPreferenceSetAttribute (p, which, &alignment, sizeof alignment)
        == CUBLAS_STATUS_SUCCESS;
  if (!done)
    vig_cuda_fail (cuda, "cuBLASLt took none of the preferences");
  return done;
}

void
vig_cuda_matmul_close (VigCuda *cuda)
{
  VigCudaLt *lt = cuda->lt;

  if (!lt)
    return;
  while (Plan *p = lt->plans) {
    lt->plans = p->next;
    free (p);
  }
  if (lt->preference)
    lt->call.cublasLtMatmulPreferenceDestroy (lt->preference);
  if (lt->handle)
    lt->call.cublasLtDestroy (lt->handle);
  free (lt);
  cuda->lt = NULL;
}

bool
vig_cuda_use_matmul (VigKernels *k)
{
  VigCuda *cuda = (VigCuda *) k->ctx;
  cublasStatus_t status;

  cuda->lt = (VigCudaLt *) calloc (1, sizeof *cuda->lt);
  if (!cuda->lt) {
    vig_cuda_fail (cuda, "no memory to open cuBLASLt");
    return false;
  }
  if (!load (cuda, &cuda->lt->call))
    return false;
  status = cuda->lt->call.cublasLtCreate (&cuda->lt->handle);
  if (status != CUBLAS_STATUS_SUCCESS) {
    vig_cuda_fail (cuda, "%s while opening cuBLASLt", cuda->lt->call.cublasLtGetStatusName (status));
    return false;
  }
  k->matmul_create = matmul_create;
  k->matmul_run = matmul_run;
  k->matmul_destroy = matmul_destroy;
  k->matmul_bytes = matmul_bytes;
  k->mlp = mlp;
  return prefer (cuda);
}
