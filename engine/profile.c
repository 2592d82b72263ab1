/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "profile.h"

#include <time.h>

typedef struct {
  VigKernels table;     /* what is handed out */
  VigKernels *inner;
  GHashTable *entries;  /* name -> VigProfileEntry */
  const char *failure;  /* what waiting found */
} Profile;

struct VigMatmul {
  VigMatmul *inner;
  char name[48];
};

static double
now (void)
{
  struct timespec t;
  clock_gettime (CLOCK_MONOTONIC, &t);
  return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

static void
note (Profile *p, const char *name, double start)
{
  const char *failure = p->inner->finish (p->inner->ctx);
  VigProfileEntry *e = g_hash_table_lookup (p->entries, name);

  if (failure)
    p->failure = failure;
  if (!e) {
    e = g_new0 (VigProfileEntry, 1);
    e->name = g_strdup (name);
    g_hash_table_insert (p->entries, e->name, e);
  }
  e->calls++;
  e->seconds += now () - start;
}

#define OPERATOR(op, Args)                                                                                            \
  static void op (void *ctx, const Args *a)                                                                           \
  {                                                                                                                   \
    Profile *p = ctx;                                                                                                 \
    double start = now ();                                                                                            \
    p->inner->op (p->inner->ctx, a);                                                                                  \
    note (p, #op, start);                                                                                             \
  }

OPERATOR (im2col, VigIm2col)
OPERATOR (rmsnorm, VigNorm)
OPERATOR (layernorm, VigNorm)
OPERATOR (add_pos, VigAddPos)
OPERATOR (dwconv3x3, VigDwconv)
OPERATOR (log_decay, VigLogDecay)
OPERATOR (gla_bidir, VigGlaBidir)
OPERATOR (gla, VigGlaRun)
OPERATOR (gate_mix, VigGateMix)
OPERATOR (swiglu, VigSwiglu)
OPERATOR (dwconv3x3x3, VigDwconvTime)
OPERATOR (add_boundary, VigAddBoundary)
OPERATOR (cell_mean, VigCellMean)
OPERATOR (cell_add, VigCellAdd)
OPERATOR (memory_step, VigMemoryStep)
OPERATOR (difference, VigDifference)
OPERATOR (pool_mean, VigPoolMean)
OPERATOR (softmax, VigSoftmax)
OPERATOR (class_map, VigClassMap)
OPERATOR (norm_dwconv, VigNormDwconv)
OPERATOR (gla_mix, VigGlaMix)

static size_t
gla_plan (void *ctx, VigGlaRun *a)
{
  Profile *p = ctx;
  return p->inner->gla_plan (p->inner->ctx, a);
}

static void
profile_close (VigKernels *self)
{
  Profile *p = self->ctx;
  p->inner->close (p->inner);
  g_hash_table_unref (p->entries);
  g_free (p);
}

static void *
profile_alloc (void *ctx, size_t size)
{
  Profile *p = ctx;
  return p->inner->alloc (p->inner->ctx, size);
}

static void
profile_free (void *ctx, void *memory)
{
  Profile *p = ctx;
  p->inner->free (p->inner->ctx, memory);
}

static void
upload (void *ctx, void *to, const void *host, size_t size)
{
  Profile *p = ctx;
  double start = now ();
  p->inner->upload (p->inner->ctx, to, host, size);
  note (p, "upload", start);
}

static void
download (void *ctx, void *host, const void *from, size_t size)
{
  Profile *p = ctx;
  double start = now ();
  p->inner->download (p->inner->ctx, host, from, size);
  note (p, "download", start);
}

static const char *
finish (void *ctx)
{
  Profile *p = ctx;
  const char *failure = p->inner->finish (p->inner->ctx);
  failure = p->failure ? p->failure : failure;
  p->failure = NULL;
  return failure;
}

static VigPreprocess *
preprocess_create (void *ctx, const VigPreprocessDesc *desc)
{
  Profile *p = ctx;
  return p->inner->preprocess_create (p->inner->ctx, desc);
}

static void
preprocess_run (void *ctx, VigPreprocess *preprocess, const VigPlanes *frames, int n, float *out)
{
  Profile *p = ctx;
  double start = now ();
  p->inner->preprocess_run (p->inner->ctx, preprocess, frames, n, out);
  note (p, "preprocess", start);
}

static void
preprocess_destroy (void *ctx, VigPreprocess *preprocess)
{
  Profile *p = ctx;
  p->inner->preprocess_destroy (p->inner->ctx, preprocess);
}

static VigMatmul *
matmul_create (void *ctx, const VigMatmulDesc *desc)
{
  Profile *p = ctx;
  VigMatmul *inner = p->inner->matmul_create (p->inner->ctx, desc);
  if (!inner)
    return NULL;
  VigMatmul *m = g_new0 (VigMatmul, 1);
  m->inner = inner;
  g_snprintf (m->name, sizeof m->name, "matmul %dx%d", desc->n, desc->k);
  return m;
}

static void
matmul_run (void *ctx, VigMatmul *m, const VigMatmulRun *a)
{
  Profile *p = ctx;
  double start = now ();
  p->inner->matmul_run (p->inner->ctx, m->inner, a);
  note (p, m->name, start);
}

static void
mlp (void *ctx, const VigMlp *a)
{
  Profile *p = ctx;
  double start = now ();
  VigMlp inner = *a;
  inner.in = a->in->inner;
  inner.out = a->out->inner;
  p->inner->mlp (p->inner->ctx, &inner);
  note (p, "mlp", start);
}

static void
matmul_destroy (void *ctx, VigMatmul *m)
{
  Profile *p = ctx;
  if (m)
    p->inner->matmul_destroy (p->inner->ctx, m->inner);
  g_free (m);
}

static size_t
matmul_bytes (void *ctx, const VigMatmul *m)
{
  Profile *p = ctx;
  return p->inner->matmul_bytes (p->inner->ctx, m->inner);
}

static void
free_entry (gpointer data)
{
  g_free (((VigProfileEntry *) data)->name);
  g_free (data);
}

VigKernels *
vig_profile_open (VigKernels *inner)
{
  Profile *p = g_new0 (Profile, 1);

  p->inner = inner;
  p->entries = g_hash_table_new_full (g_str_hash, g_str_equal, NULL, free_entry);
  p->table = (VigKernels) {
    .abi = inner->abi, .name = inner->name, .fastest = inner->fastest, .chunk = inner->chunk,
    .no_bf16 = inner->no_bf16, .ctx = p, .close = profile_close, .alloc = profile_alloc,
    .free = profile_free, .upload = upload, .download = download, .finish = finish,
    .preprocess_create = preprocess_create, .preprocess_run = preprocess_run,
    .preprocess_destroy = preprocess_destroy, .matmul_create = matmul_create, .matmul_run = matmul_run,
    .matmul_destroy = matmul_destroy, .matmul_bytes = matmul_bytes, .im2col = im2col, .rmsnorm = rmsnorm,
    .layernorm = layernorm, .add_pos = add_pos, .dwconv3x3 = dwconv3x3, .log_decay = log_decay,
    .gla_bidir = gla_bidir, .gla_plan = gla_plan, .gla = gla, .gate_mix = gate_mix, .swiglu = swiglu,
    .pool_mean = pool_mean, .softmax = softmax, .class_map = class_map, .norm_dwconv = norm_dwconv, .gla_mix = gla_mix,
    .mlp = inner->mlp ? mlp : NULL,
    .dwconv3x3x3 = dwconv3x3x3, .add_boundary = add_boundary, .cell_mean = cell_mean, .cell_add = cell_add, .memory_step = memory_step, .difference = difference,
  };
  return &p->table;
}

void
vig_profile_reset (VigKernels *profile)
{
  g_hash_table_remove_all (((Profile *) profile->ctx)->entries);
}

static int
slowest_first (gconstpointer a, gconstpointer b)
{
  const VigProfileEntry *x = a, *y = b;
  return x->seconds > y->seconds ? -1 : x->seconds < y->seconds;
}

GArray *
vig_profile_report (VigKernels *profile)
{
  GArray *report = g_array_new (FALSE, FALSE, sizeof (VigProfileEntry));
  GHashTableIter iter;
  gpointer value;

  g_hash_table_iter_init (&iter, ((Profile *) profile->ctx)->entries);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    g_array_append_vals (report, value, 1); /* the names stay the profile's */
  g_array_sort (report, slowest_first);
  return report;
}
