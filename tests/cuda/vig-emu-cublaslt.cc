/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>

#include <vector>

#include "cublasLt.h"

extern "C" {
#include "numbers.h"
}

struct vig_emu_lt {
  int alive;
};

struct vig_emu_lt_layout {
  cudaDataType type;
  uint64_t rows, cols;
  int64_t ld;
  int32_t order, batch;
  int64_t stride;
};

struct vig_emu_lt_desc {
  cublasComputeType_t compute;
  cudaDataType scale;
  int32_t trans_a, trans_b;
  uint32_t epilogue;
  const void *bias;
};

struct vig_emu_lt_preference {
  uint64_t workspace;
  uint32_t reductions;
};

namespace {

enum Order { IN_ORDER, IN_ORDER_TOO, EVEN_AND_ODD, SPLIT_K };

const struct { cublasStatus_t status; const char *name; } statuses[] = {
  { CUBLAS_STATUS_SUCCESS, "CUBLAS_STATUS_SUCCESS" },
  { CUBLAS_STATUS_NOT_INITIALIZED, "CUBLAS_STATUS_NOT_INITIALIZED" },
  { CUBLAS_STATUS_ALLOC_FAILED, "CUBLAS_STATUS_ALLOC_FAILED" },
  { CUBLAS_STATUS_INVALID_VALUE, "CUBLAS_STATUS_INVALID_VALUE" },
  { CUBLAS_STATUS_EXECUTION_FAILED, "CUBLAS_STATUS_EXECUTION_FAILED" },
  { CUBLAS_STATUS_INTERNAL_ERROR, "CUBLAS_STATUS_INTERNAL_ERROR" },
  { CUBLAS_STATUS_NOT_SUPPORTED, "CUBLAS_STATUS_NOT_SUPPORTED" },
};

cublasStatus_t
enter (const char *call, cublasStatus_t usual)
{
  const char *name;
  if (!vig_emu_fails (call, &name))
    return CUBLAS_STATUS_SUCCESS;
  for (const auto &s : statuses)
    if (name && strcmp (s.name, name) == 0)
      return s.status;
  return usual;
}

template <typename T> cublasStatus_t
create (const char *call, T **to, const T &value)
{
  cublasStatus_t status = enter (call, CUBLAS_STATUS_ALLOC_FAILED);
  if (status != CUBLAS_STATUS_SUCCESS)
    return status;
  *to = new T (value);
  vig_emu_count (1);
  return status;
}

template <typename T> cublasStatus_t
destroy (T *it)
{
  if (it)
    vig_emu_count (-1);
  delete it;
  return CUBLAS_STATUS_SUCCESS;
}

template <typename T> cublasStatus_t
set (T *to, const void *value, size_t size)
{
  if (size != sizeof (T))
    return CUBLAS_STATUS_INVALID_VALUE;
  memcpy (to, value, size);
  return CUBLAS_STATUS_SUCCESS;
}

size_t
size_of (cudaDataType type)
{
  return type == CUDA_R_32F ? 4 : 2;
}

VigType
element (cudaDataType type)
{
  return type == CUDA_R_32F ? VIG_TYPE_F32 : type == CUDA_R_16F ? VIG_TYPE_F16 : VIG_TYPE_BF16;
}

float
get (const void *p, size_t i, cudaDataType type)
{
  return vig_get (p, i, element (type));
}

size_t
at (const vig_emu_lt_layout &l, uint64_t row, uint64_t col)
{
  return l.order == CUBLASLT_ORDER_COL ? col * (size_t) l.ld + row : row * (size_t) l.ld + col;
}

/* All that one product needs, copied when it was enqueued. */
struct Product {
  vig_emu_lt_desc desc;
  vig_emu_lt_layout a, b, c, d;
  const void *pa, *pb, *pc;
  void *pd;
  float alpha, beta;
  Order order;
  uint64_t m, n, k;
};

bool
valid (const vig_emu_lt_layout &l)
{
  uint64_t least = l.order == CUBLASLT_ORDER_COL ? l.rows : l.cols;
  return l.ld > 0 && (uint64_t) l.ld >= least && l.rows > 0 && l.cols > 0 && l.batch > 0;
}

/* Shapes and types, as cuBLASLt's table of supported ones has them for fp32 sums: the result is of fp32 or the type of
 * the factors. */
bool
valid (const Product &p)
{
  uint64_t ma = p.desc.trans_a ? p.a.cols : p.a.rows, ka = p.desc.trans_a ? p.a.rows : p.a.cols;
  uint64_t kb = p.desc.trans_b ? p.b.cols : p.b.rows, nb = p.desc.trans_b ? p.b.rows : p.b.cols;
  return valid (p.a) && valid (p.b) && valid (p.c) && valid (p.d) && ka == kb && ma == p.d.rows && nb == p.d.cols
      && p.c.rows == p.d.rows && p.c.cols == p.d.cols && p.a.type == p.b.type && p.c.type == p.d.type
      && (p.d.type == CUDA_R_32F || p.d.type == p.a.type) && p.desc.scale == CUDA_R_32F && p.desc.compute == CUBLAS_COMPUTE_32F
      && p.a.batch == p.d.batch && p.b.batch == p.d.batch && p.c.batch == p.d.batch
      && (p.desc.epilogue == CUBLASLT_EPILOGUE_DEFAULT || (p.desc.epilogue == CUBLASLT_EPILOGUE_BIAS && p.desc.bias));
}

/* sum[i] += products of k = first, first + step … below end; wa: [k, m] */
void
accumulate (const Product &p, const float *wa, const float *column, uint64_t first, uint64_t step, uint64_t end,
    float *sum)
{
  for (uint64_t k = first; k < end; k += step) {
    const float *row = wa + k * p.m, x = column[k];
    for (uint64_t i = 0; i < p.m; i++)
      sum[i] += row[i] * x;
  }
}

void
multiply (const Product &p, int batch)
{
  const char *pa = (const char *) p.pa + (size_t) batch * p.a.stride * size_of (p.a.type);
  const char *pb = (const char *) p.pb + (size_t) batch * p.b.stride * size_of (p.b.type);
  const char *pc = (const char *) p.pc + (size_t) batch * p.c.stride * size_of (p.c.type);
  char *pd = (char *) p.pd + (size_t) batch * p.d.stride * size_of (p.d.type);
  std::vector<float> wa (p.k * p.m), column (p.k), sum (p.m), more (p.m);

  for (uint64_t k = 0; k < p.k; k++)
    for (uint64_t i = 0; i < p.m; i++)
      wa[k * p.m + i] = get (pa, p.desc.trans_a ? at (p.a, k, i) : at (p.a, i, k), p.a.type);
  for (uint64_t j = 0; j < p.n; j++) {
    uint64_t half = p.order == SPLIT_K ? p.k / 2 : p.order == EVEN_AND_ODD ? 1 : 0, step = p.order == EVEN_AND_ODD ? 2 : 1;
    for (uint64_t k = 0; k < p.k; k++)
      column[k] = get (pb, p.desc.trans_b ? at (p.b, j, k) : at (p.b, k, j), p.b.type);
    sum.assign (p.m, 0);
    more.assign (p.m, 0);
    accumulate (p, wa.data (), column.data (), p.order == EVEN_AND_ODD ? 0 : half, step, p.k, sum.data ());
    if (half)
      accumulate (p, wa.data (), column.data (), p.order == EVEN_AND_ODD ? 1 : 0, step,
          p.order == EVEN_AND_ODD ? p.k : half, more.data ());
    for (uint64_t i = 0; i < p.m; i++) {
      float r = p.alpha * (sum[i] + more[i]);
      if (p.beta != 0)
        r += p.beta * get (pc, at (p.c, i, j), p.c.type);
      if (p.desc.epilogue == CUBLASLT_EPILOGUE_BIAS)
        r += get (p.desc.bias, i, p.d.type); /* of the result's type, unless told otherwise */
      vig_set (pd, at (p.d, i, j), element (p.d.type), r);
    }
  }
}

} /* namespace */

cublasStatus_t
cublasLtCreate (cublasLtHandle_t *handle)
{
  return create ("cublasLtCreate", handle, vig_emu_lt { 1 });
}

cublasStatus_t
cublasLtDestroy (cublasLtHandle_t handle)
{
  return destroy (handle);
}

const char *
cublasLtGetStatusName (cublasStatus_t status)
{
  for (const auto &s : statuses)
    if (s.status == status)
      return s.name;
  return "unknown";
}

cublasStatus_t
cublasLtMatrixLayoutCreate (cublasLtMatrixLayout_t *layout, cudaDataType type, uint64_t rows, uint64_t cols, int64_t ld)
{
  return create ("cublasLtMatrixLayoutCreate", layout,
      vig_emu_lt_layout { type, rows, cols, ld, CUBLASLT_ORDER_COL, 1, 0 });
}

cublasStatus_t
cublasLtMatrixLayoutDestroy (cublasLtMatrixLayout_t layout)
{
  return destroy (layout);
}

cublasStatus_t
cublasLtMatrixLayoutSetAttribute (cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t attribute,
    const void *value, size_t size)
{
  switch (attribute) {
    case CUBLASLT_MATRIX_LAYOUT_ORDER: return set (&layout->order, value, size);
    case CUBLASLT_MATRIX_LAYOUT_COLS: return set (&layout->cols, value, size);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT: return set (&layout->batch, value, size);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET: return set (&layout->stride, value, size);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t
cublasLtMatmulDescCreate (cublasLtMatmulDesc_t *desc, cublasComputeType_t compute, cudaDataType scale)
{
  return create ("cublasLtMatmulDescCreate", desc,
      vig_emu_lt_desc { compute, scale, CUBLAS_OP_N, CUBLAS_OP_N, CUBLASLT_EPILOGUE_DEFAULT, nullptr });
}

cublasStatus_t
cublasLtMatmulDescDestroy (cublasLtMatmulDesc_t desc)
{
  return destroy (desc);
}

cublasStatus_t
cublasLtMatmulDescSetAttribute (cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute, const void *value,
    size_t size)
{
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA: return set (&desc->trans_a, value, size);
    case CUBLASLT_MATMUL_DESC_TRANSB: return set (&desc->trans_b, value, size);
    case CUBLASLT_MATMUL_DESC_EPILOGUE: return set (&desc->epilogue, value, size);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER: return set (&desc->bias, value, size);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t
cublasLtMatmulPreferenceCreate (cublasLtMatmulPreference_t *preference)
{
  return create ("cublasLtMatmulPreferenceCreate", preference,
      vig_emu_lt_preference { 0, CUBLASLT_REDUCTION_SCHEME_MASK });
}

cublasStatus_t
cublasLtMatmulPreferenceDestroy (cublasLtMatmulPreference_t preference)
{
  return destroy (preference);
}

cublasStatus_t
cublasLtMatmulPreferenceSetAttribute (cublasLtMatmulPreference_t preference,
    cublasLtMatmulPreferenceAttributes_t attribute, const void *value, size_t size)
{
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES: return set (&preference->workspace, value, size);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK: return set (&preference->reductions, value, size);
    default: return size == sizeof (uint32_t) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
  }
}

/* A wide result: the order of k first. A narrow one: first those that would fill a GPU better. */
cublasStatus_t
cublasLtMatmulAlgoGetHeuristic (cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
    cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t preference,
    int requested, cublasLtMatmulHeuristicResult_t *results, int *found)
{
  static const Order wide[] = { IN_ORDER, EVEN_AND_ODD, SPLIT_K, IN_ORDER_TOO };
  static const Order narrow[] = { SPLIT_K, EVEN_AND_ODD, IN_ORDER_TOO, IN_ORDER };
  cublasStatus_t status = enter ("cublasLtMatmulAlgoGetHeuristic", CUBLAS_STATUS_NOT_SUPPORTED);
  *found = 0;
  if (status != CUBLAS_STATUS_SUCCESS)
    return status;
  for (Order order : d->cols >= 1024 ? wide : narrow) {
    if (*found == requested || (order == SPLIT_K && preference->reductions == CUBLASLT_REDUCTION_SCHEME_NONE))
      continue;
    cublasLtMatmulHeuristicResult_t *r = &results[(*found)++];
    *r = cublasLtMatmulHeuristicResult_t ();
    r->algo.data[0] = order;
    r->state = CUBLAS_STATUS_SUCCESS;
  }
  return *found ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t
cublasLtMatmulAlgoConfigGetAttribute (const cublasLtMatmulAlgo_t *algo, cublasLtMatmulAlgoConfigAttributes_t,
    void *value, size_t size, size_t *written)
{
  int32_t n = algo->data[0] == SPLIT_K ? 2 : 1;
  if (size != sizeof n)
    return CUBLAS_STATUS_INVALID_VALUE;
  memcpy (value, &n, sizeof n);
  *written = sizeof n;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t
cublasLtMatmul (cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha, const void *a,
    cublasLtMatrixLayout_t a_layout, const void *b, cublasLtMatrixLayout_t b_layout, const void *beta, const void *c,
    cublasLtMatrixLayout_t c_layout, void *d, cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *algo,
    void *workspace, size_t workspace_size, cudaStream_t stream)
{
  Product p = { *desc, *a_layout, *b_layout, *c_layout, *d_layout, a, b, c, d, *(const float *) alpha,
    *(const float *) beta, algo ? (Order) algo->data[0] : IN_ORDER, d_layout->rows, d_layout->cols, 0 };
  cublasStatus_t status = enter ("cublasLtMatmul", CUBLAS_STATUS_EXECUTION_FAILED);

  if (status != CUBLAS_STATUS_SUCCESS)
    return status;
  p.k = desc->trans_a ? a_layout->rows : a_layout->cols;
  if (!handle || handle->alive != 1 || !valid (p))
    return CUBLAS_STATUS_INVALID_VALUE;
  for (uintptr_t pointer : { (uintptr_t) a, (uintptr_t) b, (uintptr_t) c, (uintptr_t) d })
    if (pointer % 16) /* what the preferences promise */
      return CUBLAS_STATUS_INVALID_VALUE;
  return vig_emu_enqueue (stream, [=] {
    for (int batch = 0; batch < p.d.batch; batch++)
      multiply (p, batch);
  }) == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}
