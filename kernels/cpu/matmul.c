/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Matrix products: our own (product.c) where the machine has AVX-512, but bf16 where it has AMX, and through oneDNN elsewhere,
 * as one-thread primitives over tiles of rows that our own threads share.
 *
 * A library's product may sum in another order for another number of rows or threads. Here the tiles of an item follow from
 * its number of rows alone, every tile of a size goes through the same primitive, and a primitive runs on one thread: so
 * each row meets the same instructions in any batch and with any number of threads.
 *
 * Weights are packed once, into the layout that oneDNN prefers for a tile of TILE rows; every primitive of that n, k and
 * type uses this layout. Primitives are shared by all matrices of a shape. What runs is chosen by oneDNN from the
 * instruction sets of the machine (less those that ONEDNN_MAX_CPU_ISA forbids), not by our mask; but bf16 without
 * hardware for it is widened to fp32 here, since oneDNN would emulate it slowly, and so is f16.
 *
 * oneDNN may be built on OpenMP. It asks OpenMP for the number of threads when a primitive is made and when it runs;
 * set_threads() has it answer 1, so that no team of OpenMP's is ever started.
 *
 * Measured, oneDNN (rows x n x k of ViG-T; one thread on a Zen 4 core, best of 31):
 *                fp32            bf16
 *   196x592x192  116 GFLOP/s     230 GFLOP/s
 *   196x192x192  116             228
 *   196x1024x192 116             228
 *   196x192x512  117             233
 *   1x1000x192   9.4 us          4.9 us
 * Two threads take half the time (196x192x512: 165 us and 85 us for 330 us and 166 us).
 *   check-kernels --bench --kernel matmul_run --threads 1
 */
#include <dlfcn.h>
#include <oneapi/dnnl/dnnl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "cpu/product.h"

enum { TILE = 98 }; /* rows: two tiles for the 14 x 14 tokens of a picture of 224, and enough to reuse the weights */

/* The memory objects of one thread for one primitive: only their pointers change. */
typedef struct {
  dnnl_memory_t source, result, scratch;
} Slot;

typedef struct Primitive Primitive;
struct Primitive {
  Primitive *next;
  int rows, n, k;
  VigType type; /* of a and the weights */
  VigType to;   /* of c: type or F32 */
  bool bias, accumulate;
  dnnl_primitive_t primitive;
  size_t scratch_size;
  Slot *slots; /* [n_threads] */
};

struct VigDnnl {
  dnnl_engine_t engine;
  dnnl_stream_t *streams; /* [n_threads] */
  Primitive *primitives;
};

struct VigMatmul {
  int n, k;
  VigType type;     /* of a */
  VigType multiply; /* what oneDNN multiplies: type, or F32 where the hardware lacks it */
  dnnl_memory_t weight, bias; /* bias NULL if there is none */
  size_t bytes;
  bool own;         /* instead: */
  VigPacked packed;
};

typedef struct {
  VigCpu *cpu;
  const VigMatmul *m;
  const VigMatmulRun *a;
  int tile, tiles;            /* rows of a tile, tiles of an item */
  const Primitive *full, *last; /* last: for the last tile of an item */
  atomic_bool *failed;
} Job;

/* ---- OpenMP ---- */

static struct {
  pthread_once_t once;
  int (*get_max_threads) (void);
  void (*set_num_threads) (int n);
} openmp = { .once = PTHREAD_ONCE_INIT };

/* The runtime that oneDNN itself was linked with, if any. */
static void
find_openmp (void)
{
  Dl_info info;
  void *address, *dnnl;
  const dnnl_version_t *(*function) (void) = dnnl_version;
  memcpy (&address, &function, sizeof address);
  if (!dladdr (address, &info) || !(dnnl = dlopen (info.dli_fname, RTLD_LAZY | RTLD_NOLOAD)))
    return;
  void *get = dlsym (dnnl, "omp_get_max_threads"), *set = dlsym (dnnl, "omp_set_num_threads");
  if (get && set) {
    memcpy (&openmp.get_max_threads, &get, sizeof get);
    memcpy (&openmp.set_num_threads, &set, sizeof set);
  }
  dlclose (dnnl);
}

/* OpenMP's number of threads is a setting of each thread: ours have 1 for good, the caller's is put back. */
static int
set_threads (int n)
{
  pthread_once (&openmp.once, find_openmp);
  if (!openmp.set_num_threads)
    return 1;
  int before = openmp.get_max_threads ();
  if (before != n)
    openmp.set_num_threads (n);
  return before;
}

void
vig_cpu_dnnl_start_thread (void)
{
  set_threads (1);
}

/* ---- primitives ---- */

static dnnl_data_type_t
dnnl_type (VigType type)
{
  return type == VIG_TYPE_BF16 ? dnnl_bf16 : dnnl_f32;
}

/* A product of rows x k with k x n. weights: the layout to use, or NULL: any. NULL on failure. */
static dnnl_primitive_desc_t
describe (dnnl_engine_t engine, int rows, int n, int k, VigType type, VigType to, bool bias, bool accumulate,
    const_dnnl_memory_desc_t weights)
{
  dnnl_dims_t a_dims = { rows, k }, w_dims = { k, n }, c_dims = { rows, n }, b_dims = { 1, n };
  dnnl_memory_desc_t a = NULL, w = NULL, b = NULL, c = NULL;
  dnnl_post_ops_t post = NULL;
  dnnl_primitive_attr_t attr = NULL;
  dnnl_primitive_desc_t desc = NULL;

  bool ok = !dnnl_memory_desc_create_with_tag (&a, 2, a_dims, dnnl_type (type), dnnl_ab) &&
            !dnnl_memory_desc_create_with_tag (&w, 2, w_dims, dnnl_type (type), dnnl_format_tag_any) &&
            !dnnl_memory_desc_create_with_tag (&b, 2, b_dims, dnnl_f32, dnnl_ab) &&
            !dnnl_memory_desc_create_with_tag (&c, 2, c_dims, dnnl_type (to), dnnl_ab) &&
            !dnnl_primitive_attr_create (&attr) &&
            !dnnl_primitive_attr_set_scratchpad_mode (attr, dnnl_scratchpad_mode_user) &&
            !dnnl_primitive_attr_set_fpmath_mode (attr, dnnl_fpmath_mode_strict) && !dnnl_post_ops_create (&post) &&
            (!accumulate || !dnnl_post_ops_append_sum (post, 1, 0, dnnl_f32)) &&
            !dnnl_primitive_attr_set_post_ops (attr, post);
  if (!ok || dnnl_matmul_primitive_desc_create (&desc, engine, a, weights ? weights : w, bias ? b : NULL, c, attr))
    desc = NULL;
  dnnl_memory_desc_destroy (a);
  dnnl_memory_desc_destroy (w);
  dnnl_memory_desc_destroy (b);
  dnnl_memory_desc_destroy (c);
  dnnl_post_ops_destroy (post);
  dnnl_primitive_attr_destroy (attr);
  return desc;
}

static void
primitive_free (Primitive *p, int n_threads)
{
  for (int i = 0; p->slots && i < n_threads; i++) {
    dnnl_memory_destroy (p->slots[i].source);
    dnnl_memory_destroy (p->slots[i].result);
    dnnl_memory_destroy (p->slots[i].scratch);
  }
  free (p->slots);
  dnnl_primitive_destroy (p->primitive);
  free (p);
}

static bool
primitive_fill (Primitive *p, VigCpu *cpu, const_dnnl_primitive_desc_t desc)
{
  const_dnnl_memory_desc_t source = dnnl_primitive_desc_query_md (desc, dnnl_query_src_md, 0);
  const_dnnl_memory_desc_t result = dnnl_primitive_desc_query_md (desc, dnnl_query_dst_md, 0);
  const_dnnl_memory_desc_t scratch = dnnl_primitive_desc_query_md (desc, dnnl_query_scratchpad_md, 0);
  p->scratch_size = dnnl_memory_desc_get_size (scratch);
  p->slots = calloc ((size_t) cpu->n_threads, sizeof *p->slots);
  if (!p->slots || dnnl_primitive_create (&p->primitive, desc))
    return false;
  for (int i = 0; i < cpu->n_threads; i++)
    if (dnnl_memory_create (&p->slots[i].source, source, cpu->dnnl->engine, DNNL_MEMORY_NONE) ||
        dnnl_memory_create (&p->slots[i].result, result, cpu->dnnl->engine, DNNL_MEMORY_NONE) ||
        dnnl_memory_create (&p->slots[i].scratch, scratch, cpu->dnnl->engine, DNNL_MEMORY_NONE))
      return false;
  return true;
}

/* The primitive for tiles of that many rows; made when first met. NULL: finish() says why. */
static const Primitive *
primitive_get (VigCpu *cpu, const VigMatmul *m, int rows, VigType to, bool accumulate)
{
  for (Primitive *p = cpu->dnnl->primitives; p; p = p->next)
    if (p->rows == rows && p->n == m->n && p->k == m->k && p->type == m->multiply && p->to == to &&
        p->bias == (m->bias != NULL) && p->accumulate == accumulate)
      return p;

  Primitive *p = calloc (1, sizeof *p);
  const_dnnl_memory_desc_t weights = NULL;
  dnnl_primitive_desc_t desc = NULL;
  if (p && !dnnl_memory_get_memory_desc (m->weight, &weights)) {
    *p = (Primitive) { .rows = rows, .n = m->n, .k = m->k, .type = m->multiply, .to = to,
      .bias = m->bias != NULL, .accumulate = accumulate };
    desc = describe (cpu->dnnl->engine, rows, m->n, m->k, m->multiply, to, p->bias, accumulate, weights);
  }
  if (desc && primitive_fill (p, cpu, desc)) {
    p->next = cpu->dnnl->primitives;
    cpu->dnnl->primitives = p;
  } else {
    if (p)
      primitive_free (p, cpu->n_threads);
    p = NULL;
    vig_host_fail (&cpu->host, "matmul: oneDNN could not make a product of this shape");
  }
  dnnl_primitive_desc_destroy (desc);
  return p;
}

/* ---- the operator ---- */

/* The weights in the layout that a tile's product prefers. */
static bool
pack (VigCpu *cpu, VigMatmul *m, const VigMatmulDesc *desc)
{
  dnnl_dims_t dims = { m->k, m->n }, strides = { 1, m->k };
  dnnl_engine_t engine = cpu->dnnl->engine;
  dnnl_memory_desc_t plain_desc = NULL;
  dnnl_memory_t plain = NULL;
  dnnl_primitive_desc_t product = NULL, reorder_desc = NULL;
  dnnl_primitive_t reorder = NULL;
  float *rounded = NULL;
  bool ok = false;

  /* a type that the hardware does not multiply: the same rounded weights, kept as fp32 */
  const float *weight = desc->weight;
  if (m->type != m->multiply) {
    size_t size = (size_t) m->n * m->k;
    rounded = malloc (sizeof *rounded * size);
    if (!rounded)
      return false;
    for (size_t i = 0; i < size; i++)
      rounded[i] = vig_round_to (desc->weight[i], m->type);
    weight = rounded;
  }

  product = describe (engine, TILE, m->n, m->k, m->multiply, VIG_TYPE_F32, desc->bias, false, NULL);
  if (!product || dnnl_memory_desc_create_with_strides (&plain_desc, 2, dims, dnnl_f32, strides))
    goto out;
  const_dnnl_memory_desc_t packed = dnnl_primitive_desc_query_md (product, dnnl_query_weights_md, 0);
  if (dnnl_memory_create (&plain, plain_desc, engine, (void *) (uintptr_t) weight) ||
      dnnl_memory_create (&m->weight, packed, engine, DNNL_MEMORY_ALLOCATE) ||
      dnnl_reorder_primitive_desc_create (&reorder_desc, plain_desc, engine, packed, engine, NULL) ||
      dnnl_primitive_create (&reorder, reorder_desc))
    goto out;
  dnnl_exec_arg_t args[] = { { DNNL_ARG_FROM, plain }, { DNNL_ARG_TO, m->weight } };
  ok = !dnnl_primitive_execute (reorder, cpu->dnnl->streams[0], 2, args) && !dnnl_stream_wait (cpu->dnnl->streams[0]);
  m->bytes = dnnl_memory_desc_get_size (packed);

out:
  dnnl_primitive_destroy (reorder);
  dnnl_primitive_desc_destroy (reorder_desc);
  dnnl_primitive_desc_destroy (product);
  dnnl_memory_destroy (plain);
  dnnl_memory_desc_destroy (plain_desc);
  free (rounded);
  return ok;
}

static bool
copy_bias (VigCpu *cpu, VigMatmul *m, const float *bias)
{
  dnnl_dims_t dims = { 1, m->n };
  dnnl_memory_desc_t desc;
  void *data = NULL;
  if (dnnl_memory_desc_create_with_tag (&desc, 2, dims, dnnl_f32, dnnl_ab))
    return false;
  bool ok = !dnnl_memory_create (&m->bias, desc, cpu->dnnl->engine, DNNL_MEMORY_ALLOCATE) &&
            !dnnl_memory_get_data_handle (m->bias, &data);
  if (ok)
    memcpy (data, bias, sizeof *bias * (size_t) m->n);
  dnnl_memory_desc_destroy (desc);
  m->bytes += sizeof *bias * (size_t) m->n;
  return ok;
}

static void
matmul_destroy (void *ctx, VigMatmul *m)
{
  VigCpu *cpu = ctx;
  if (!m)
    return;
  dnnl_memory_destroy (m->weight);
  dnnl_memory_destroy (m->bias);
  vig_pages_give (&cpu->pages, m->packed.weight);
  free (m->packed.bias);
  free (m);
}

static bool
pack_own (VigCpu *cpu, VigMatmul *m, const VigMatmulDesc *desc)
{
  size_t size = cpu->products->size (desc->n, desc->k, desc->type), bias = sizeof *desc->bias * (size_t) desc->n;
  m->packed = (VigPacked) { .n = desc->n, .k = desc->k, .type = desc->type };
  if (!(m->packed.weight = vig_pages_take (&cpu->pages, size)))
    return false;
  cpu->products->pack (desc, m->packed.weight);
  m->bytes = size;
  if (!desc->bias)
    return true;
  m->bytes += bias;
  m->packed.bias = malloc (bias);
  if (m->packed.bias)
    memcpy (m->packed.bias, desc->bias, bias);
  return m->packed.bias;
}

static bool
pack_dnnl (VigCpu *cpu, VigMatmul *m, const VigMatmulDesc *desc)
{
  return pack (cpu, m, desc) && (!desc->bias || copy_bias (cpu, m, desc->bias));
}

static VigMatmul *
matmul_create (void *ctx, const VigMatmulDesc *desc)
{
  VigCpu *cpu = ctx;
  VigMatmul *m = calloc (1, sizeof *m);
  int before = set_threads (1);
  if (m)
    *m = (VigMatmul) { .n = desc->n, .k = desc->k, .type = desc->type,
      .multiply = cpu->bf16 && desc->type == VIG_TYPE_BF16 ? VIG_TYPE_BF16 : VIG_TYPE_F32 };
  if (m)
    m->own = cpu->products && cpu->products->takes (desc->k, desc->type);
  if (!m || !(m->own ? pack_own : pack_dnnl) (cpu, m, desc)) {
    matmul_destroy (ctx, m);
    m = NULL;
    vig_host_fail (&cpu->host, "matmul_create: the weights could not be packed");
  }
  set_threads (before);
  return m;
}

static size_t
matmul_bytes (void *ctx, const VigMatmul *m)
{
  return m->bytes;
}

/* Rows of a tile, and how many of them: an even number near TILE rows each, so that two threads get the same; a few rows
 * stay together. Of very many rows the last tile would have none left, so there it may be an odd number. */
static int
tile_rows (int rows, int *tiles)
{
  int pairs = (rows + TILE) / (2 * TILE), wanted = pairs > 0 ? 2 * pairs : rows > 24 ? 2 : 1;
  int tile = (rows + wanted - 1) / wanted;
  *tiles = (rows + tile - 1) / tile;
  return tile;
}

/* What oneDNN can write of the type wanted: the rest is narrowed here. */
static VigType
result_type (const VigMatmul *m, VigType wanted)
{
  return wanted == m->multiply ? wanted : VIG_TYPE_F32;
}

static size_t
aligned (size_t size)
{
  return (size + 63) / 64 * 64;
}

/* Bytes that run_tile() needs beside a and c. */
static size_t
tile_scratch (const VigMatmul *m, const Primitive *p, VigType type)
{
  return aligned (p->scratch_size) + (m->type == m->multiply ? 0 : aligned (sizeof (float) * p->rows * m->k)) +
         (p->to == type ? 0 : aligned (sizeof (float) * p->rows * m->n));
}

/* c (of type) = a * weight^T for the rows of one tile, on this thread. */
static bool
run_tile (VigCpu *cpu, const VigMatmul *m, const Primitive *p, int thread, const void *a, void *c, VigType type,
    char *scratch)
{
  const Slot *slot = &p->slots[thread];
  float *wide = (float *) (scratch + aligned (p->scratch_size)), *result = c;

  if (m->type != m->multiply) {
    cpu->widen (a, m->type, (size_t) p->rows * m->k, wide);
    a = wide;
    wide += aligned (sizeof *wide * p->rows * m->k) / sizeof *wide;
  }
  if (p->to != type)
    result = wide;
  dnnl_exec_arg_t args[] = {
    { DNNL_ARG_SRC, slot->source }, { DNNL_ARG_WEIGHTS, m->weight }, { DNNL_ARG_DST, slot->result },
    { DNNL_ARG_SCRATCHPAD, slot->scratch }, { DNNL_ARG_BIAS, m->bias }
  };
  if (dnnl_memory_set_data_handle (slot->source, (void *) (uintptr_t) a) ||
      dnnl_memory_set_data_handle (slot->result, result) ||
      dnnl_memory_set_data_handle (slot->scratch, scratch) ||
      dnnl_primitive_execute (p->primitive, cpu->dnnl->streams[thread], m->bias ? 5 : 4, args) ||
      dnnl_stream_wait (cpu->dnnl->streams[thread]))
    return false;
  if (p->to != type)
    cpu->narrow (result, (size_t) p->rows * m->n, c, type);
  return true;
}

static void
matmul_work (const void *data, int item, int thread)
{
  const Job *job = data;
  const VigMatmul *m = job->m;
  const VigMatmulRun *a = job->a;
  int tile = item % job->tiles;
  const Primitive *p = tile == job->tiles - 1 ? job->last : job->full;
  size_t row = (size_t) (item / job->tiles) * a->rows + (size_t) tile * job->tile;

  if (!run_tile (job->cpu, m, p, thread, (const char *) a->a + row * m->k * vig_type_size (m->type),
          (char *) a->c + row * m->n * vig_type_size (a->type), a->type, job->cpu->scratch[thread]))
    atomic_store (job->failed, true);
}

static void
matmul_run (void *ctx, VigMatmul *m, const VigMatmulRun *a)
{
  VigCpu *cpu = ctx;
  if (m->own) {
    cpu->products->run (cpu, &m->packed, a);
    return;
  }
  atomic_bool failed = false;
  int tiles, tile = tile_rows (a->rows, &tiles);
  Job job = { .cpu = cpu, .m = m, .a = a, .tile = tile, .tiles = tiles, .failed = &failed };
  int before = set_threads (1);
  job.full = primitive_get (cpu, m, tile, result_type (m, a->type), a->accumulate);
  job.last = primitive_get (cpu, m, a->rows - (tiles - 1) * tile, result_type (m, a->type), a->accumulate);
  if (job.full && job.last) {
    size_t full = tile_scratch (m, job.full, a->type), last = tile_scratch (m, job.last, a->type);
    if (vig_cpu_scratch (cpu, full > last ? full : last))
      vig_pool_run (cpu->pool, a->batch * tiles, matmul_work, &job);
  }
  if (atomic_load (&failed))
    vig_host_fail (&cpu->host, "matmul: oneDNN failed to run a product");
  set_threads (before);
}

/* ---- mlp: norm, product, SwiGLU and product of a tile on one thread, all of it in its cache ---- */

/* The products of a tile of some rows, and where its numbers lie in the scratch space. */
typedef struct {
  const Primitive *in, *out;
  size_t y, u, s, products, size; /* [rows, C], [rows, 2 I], [rows, I], what run_tile() needs; bytes of all */
} MlpTile;

typedef struct {
  VigCpu *cpu;
  const VigMlp *a;
  int tile, tiles;
  VigType u_type;
  MlpTile full, last;
  atomic_bool *failed;
} MlpJob;

static bool
mlp_tile (MlpTile *t, VigCpu *cpu, const VigMlp *a, int rows, VigType u_type)
{
  size_t type = vig_type_size (a->in->type);
  t->in = primitive_get (cpu, a->in, rows, u_type, false);
  t->out = primitive_get (cpu, a->out, rows, VIG_TYPE_F32, true);
  if (!t->in || !t->out)
    return false;
  t->u = aligned (rows * a->c * type);
  t->s = t->u + aligned (rows * a->in->n * vig_type_size (u_type));
  t->products = t->s + aligned (rows * a->out->k * type);
  size_t in = tile_scratch (a->in, t->in, u_type), out = tile_scratch (a->out, t->out, VIG_TYPE_F32);
  t->size = t->products + (in > out ? in : out);
  return true;
}

static void
mlp_work (const void *data, int item, int thread)
{
  const MlpJob *job = data;
  const VigMlp *a = job->a;
  VigCpu *cpu = job->cpu;
  VigType type = a->in->type;
  int tile = item % job->tiles;
  const MlpTile *t = tile == job->tiles - 1 ? &job->last : &job->full;
  float *x = a->x + ((size_t) (item / job->tiles) * a->rows + (size_t) tile * job->tile) * a->c;
  char *y = cpu->scratch[thread], *u = y + t->u, *s = y + t->s, *rest = y + t->products;

  cpu->norm (&(VigNorm) { .rows = t->in->rows, .c = a->c, .x = x, .weight = a->norm_weight, .bias = a->norm_bias,
      .eps = a->eps, .y = y, .type = type }, 0, t->in->rows);
  bool ok = run_tile (cpu, a->in, t->in, thread, y, u, job->u_type, rest);
  cpu->swiglu (u, job->u_type, t->in->rows, a->out->k, s, type);
  if (!ok || !run_tile (cpu, a->out, t->out, thread, s, x, VIG_TYPE_F32, rest))
    atomic_store (job->failed, true);
}

/* Where only one of its products is our own, since one of its widths is odd: one after the other. */
static void
mlp_apart (VigCpu *cpu, const VigMlp *a)
{
  VigType type = a->in->type;
  int rows = a->batch * a->rows, width = a->out->k;
  size_t y_size = aligned ((size_t) rows * a->c * vig_type_size (type)), u_size = aligned (sizeof (float) * rows * 2 * width);
  char *y = vig_cpu_buffer (cpu, y_size + u_size + (size_t) rows * width * vig_type_size (type));
  if (!y)
    return;
  char *u = y + y_size, *s = u + u_size;
  cpu->norm (&(VigNorm) { .rows = rows, .c = a->c, .x = a->x, .weight = a->norm_weight, .bias = a->norm_bias, .eps = a->eps,
      .y = y, .type = type }, 0, rows);
  matmul_run (cpu, a->in, &(VigMatmulRun) { .batch = a->batch, .rows = a->rows, .a = y, .c = u });
  cpu->swiglu (u, VIG_TYPE_F32, rows, width, s, type);
  matmul_run (cpu, a->out, &(VigMatmulRun) { .batch = a->batch, .rows = a->rows, .a = s, .c = a->x, .accumulate = true });
}

static void
mlp (void *ctx, const VigMlp *a)
{
  VigCpu *cpu = ctx;
  if (a->in->own != a->out->own) {
    mlp_apart (cpu, a);
    return;
  }
  if (a->in->own) {
    cpu->products->mlp (cpu, &a->in->packed, &a->out->packed, a);
    return;
  }
  atomic_bool failed = false;
  int tiles, tile = tile_rows (a->rows, &tiles);
  MlpJob job = { .cpu = cpu, .a = a, .tile = tile, .tiles = tiles, .failed = &failed,
    .u_type = result_type (a->in, a->in->type) };
  int before = set_threads (1);
  if (mlp_tile (&job.full, cpu, a, tile, job.u_type) &&
      mlp_tile (&job.last, cpu, a, a->rows - (tiles - 1) * tile, job.u_type) &&
      vig_cpu_scratch (cpu, job.full.size > job.last.size ? job.full.size : job.last.size))
    vig_pool_run (cpu->pool, a->batch * tiles, mlp_work, &job);
  if (atomic_load (&failed))
    vig_host_fail (&cpu->host, "mlp: oneDNN failed to run a product");
  set_threads (before);
}

/* ---- the backend ---- */

bool
vig_cpu_dnnl_has_bf16 (void)
{
  return (dnnl_get_effective_cpu_isa () & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16;
}

bool
vig_cpu_dnnl_has_amx (void)
{
  return (dnnl_get_effective_cpu_isa () & dnnl_cpu_isa_avx512_core_amx) == dnnl_cpu_isa_avx512_core_amx;
}

void
vig_cpu_dnnl_close (VigCpu *cpu)
{
  VigDnnl *dnnl = cpu->dnnl;
  if (!dnnl)
    return;
  while (dnnl->primitives) {
    Primitive *p = dnnl->primitives;
    dnnl->primitives = p->next;
    primitive_free (p, cpu->n_threads);
  }
  for (int i = 0; dnnl->streams && i < cpu->n_threads; i++)
    dnnl_stream_destroy (dnnl->streams[i]);
  free (dnnl->streams);
  if (dnnl->engine)
    dnnl_engine_destroy (dnnl->engine);
  free (dnnl);
}

bool
vig_cpu_use_dnnl (VigKernels *k)
{
  VigCpu *cpu = k->ctx;
  VigDnnl *dnnl = cpu->dnnl = calloc (1, sizeof *cpu->dnnl);
  if (!dnnl || !(dnnl->streams = calloc ((size_t) cpu->n_threads, sizeof *dnnl->streams)) ||
      dnnl_engine_create (&dnnl->engine, dnnl_cpu, 0))
    return false;
  for (int i = 0; i < cpu->n_threads; i++)
    if (dnnl_stream_create (&dnnl->streams[i], dnnl->engine, dnnl_stream_default_flags))
      return false;
  k->matmul_create = matmul_create;
  k->matmul_run = matmul_run;
  k->matmul_destroy = matmul_destroy;
  k->matmul_bytes = matmul_bytes;
  k->mlp = mlp;
  return true;
}
