/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Holds every operator of every backend against the reference (check.h says how), or times them.
 *
 *   check-kernels [--kernel NAME] [--variant NAME]… [--cuda-module FILE] [--seed N] [--small] [--bench [--threads N]]
 *       [GLib test options]
 *
 * For each variant that this machine can run, and each operator:
 *   reference  fixed and random shapes; within the tolerance of the operator's row; nothing written beside the outputs
 *   batch      an item alone, first, and among 3 and 8 gives the same bits
 *   threads    so do 1, 2 and 3 threads, and on the emulated GPU three orders of its threads
 * and for each variant: every number of f16 is read as it is, and rounding is to nearest even on both sides of each.
 */
#include <math.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "gpu.h"
#include "ref/ref.h"

static char *only_kernel, **only_variants;
static gint seed = 1, bench_threads;
static gboolean bench, small;

static const GOptionEntry options[] = {
  { "kernel", 0, 0, G_OPTION_ARG_STRING, &only_kernel, "Only this operator", "NAME" },
  { "variant", 0, 0, G_OPTION_ARG_STRING_ARRAY, &only_variants, "Only this variant (and others so named): avx2, …, cuda",
      "NAME" },
  GPU_OPTION,
  { "small", 0, 0, G_OPTION_ARG_NONE, &small, "Small shapes, against the reference only: under tools that are slow", NULL },
  { "seed", 0, 0, G_OPTION_ARG_INT, &seed, "Of the random shapes and values (1)", "N" },
  { "bench", 0, 0, G_OPTION_ARG_NONE, &bench, "Time instead of test", NULL },
  { "threads", 0, 0, G_OPTION_ARG_INT, &bench_threads, "Threads to time (0: all)", "N" },
  G_OPTION_ENTRY_NULL,
};

/* ---- the variants: the CPU backend with one more instruction set at a time; CUDA on the emulator ---- */

typedef struct {
  const char *name;
  unsigned mask; /* 0: cuda */
} Variant;

static const Variant variants[] = {
  { "avx2", VIG_CPU_AVX2 },
  { "avx512", VIG_CPU_AVX2 | VIG_CPU_AVX512 },
  { "bf16", VIG_CPU_AVX2 | VIG_CPU_AVX512 | VIG_CPU_BF16 },
  { "cuda", 0 },
};
/* one row for each bit of the mask, and CUDA */
G_STATIC_ASSERT ((1 << (G_N_ELEMENTS (variants) - 1)) - 1 == VIG_CPU_ALL);

/* NULL if this machine lacks the variant: then the backend is the same as with the mask of the variant before. */
static VigKernels *
variant_open (const Variant *v, int threads)
{
  if (v->mask == 0)
    return gpu_open (threads);
  VigKernels *k = vig_kernels_cpu_open (threads, v->mask);
  VigKernels *less = vig_kernels_cpu_open (threads, v->mask >> 1);
  g_assert_nonnull (k);
  g_assert_nonnull (less);
  gboolean same = g_str_equal (k->name, less->name);
  less->close (less);
  if (!same)
    return k;
  k->close (k);
  return NULL;
}

static gboolean
wanted (const Variant *v)
{
  return !only_variants || g_strv_contains ((const char *const *) only_variants, v->name);
}

/* ---- cases: values in, bytes out ---- */

static size_t
bytes_of (const CheckTensor *t, int items)
{
  return t->size * (t->shared ? 1 : items) * vig_type_size (t->type);
}

static CheckCase
case_new (const CheckOp *op, const int *d, int batch)
{
  CheckCase c = { .op = op, .batch = batch };
  memcpy (c.d, d, sizeof c.d);
  op->tensors (&c);
  return c;
}

static char *
case_name (const CheckCase *c)
{
  GString *s = g_string_new (NULL);
  char **names = g_strsplit (c->op->dims, " ", 0);
  g_string_printf (s, "%s batch %d", c->op->name, c->batch);
  for (int i = 0; names[i]; i++)
    g_string_append_printf (s, ", %s %d", names[i], c->d[i]);
  g_string_append_printf (s, ", seed %d", seed);
  g_strfreev (names);
  return g_string_free (s, FALSE);
}

static void
fill (const CheckTensor *t, const int *d, size_t n, float *values, GRand *random)
{
  if (t->fill) {
    t->fill (values, n, d, random);
    return;
  }
  for (size_t i = 0; i < n; i++) {
    values[i] = (float) g_rand_double_range (random, -1, 1) * t->range + t->offset;
    if (t->outliers && g_rand_int_range (random, 0, 64) == 0)
      values[i] *= 40;
    if (t->row && (int) (i % t->row) >= t->used)
      values[i] = NAN;
  }
}

/* The contents of every tensor before the call: values, or NaN (every bit set) where only results go. */
static void
case_values (const CheckCase *c, GRand *random, void *values[])
{
  for (int i = 0; i < c->n_tensors; i++) {
    const CheckTensor *t = &c->t[i];
    size_t size = bytes_of (t, c->batch), n = t->size * (t->shared ? 1 : c->batch);
    values[i] = g_malloc (size);
    if (t->use == CHECK_OUT) {
      memset (values[i], 0xff, size);
      continue;
    }
    float *f = t->type == VIG_TYPE_F32 ? values[i] : g_new (float, n);
    fill (t, c->d, n, f, random);
    if (t->type != VIG_TYPE_F32) {
      for (size_t j = 0; j < n; j++)
        vig_set (values[i], j, t->type, f[j]);
      g_free (f);
    }
  }
}

static void
free_all (const CheckCase *c, void *values[])
{
  for (int i = 0; i < c->n_tensors; i++)
    g_free (values[i]);
}

enum { GUARD = 128 };

/* Runs items first .. first + n - 1 of the case on a backend; results[i] is what tensor i holds afterwards. */
static void
run_items (VigKernels *k, const CheckCase *c, void *const values[], int first, int n, void *results[])
{
  void *memory[CHECK_TENSORS], *p[CHECK_TENSORS];
  char *guarded[CHECK_TENSORS];

  for (int i = 0; i < c->n_tensors; i++) {
    const CheckTensor *t = &c->t[i];
    size_t size = bytes_of (t, n), skip = t->shared ? 0 : bytes_of (t, first);
    size_t guard = t->use == CHECK_IN ? 0 : GUARD; /* inputs end where their memory ends: AddressSanitizer looks there */
    guarded[i] = g_malloc (size + 2 * guard);
    memset (guarded[i], 0xa5, size + 2 * guard);
    memcpy (guarded[i] + guard, (char *) values[i] + skip, size);
    memory[i] = k->alloc (k->ctx, size + 2 * guard);
    g_assert_nonnull (memory[i]);
    k->upload (k->ctx, memory[i], guarded[i], size + 2 * guard);
    p[i] = t->host ? guarded[i] + guard : (char *) memory[i] + guard;
  }

  void *state = c->op->open ? c->op->open (k, c, p) : NULL;
  if (!c->op->open || state)
    c->op->call (k, c, state, p, n);
  g_assert_cmpstr (k->finish (k->ctx), ==, NULL);
  if (c->op->close)
    c->op->close (k, state);

  for (int i = 0; i < c->n_tensors; i++) {
    const CheckTensor *t = &c->t[i];
    size_t size = bytes_of (t, n), guard = t->use == CHECK_IN ? 0 : GUARD;
    k->download (k->ctx, guarded[i], memory[i], size + 2 * guard);
    k->free (k->ctx, memory[i]);
    for (size_t j = 0; j < guard; j++)
      if (guarded[i][j] != '\xa5' || guarded[i][guard + size + j] != '\xa5') {
        g_test_fail_printf ("%s: wrote beside %s", case_name (c), t->name);
        break;
      }
    results[i] = g_memdup2 (guarded[i] + guard, size);
    g_free (guarded[i]);
  }
}

static void
compare (VigKernels *k, const CheckCase *c, void *const got[], void *const ref[])
{
  for (int i = 0; i < c->n_tensors; i++) {
    const CheckTensor *t = &c->t[i];
    size_t n = bytes_of (t, c->batch) / vig_type_size (t->type);
    if (t->use == CHECK_IN)
      continue;
    double squares = 0;
    for (size_t j = 0; j < n; j++) {
      double r = vig_get (ref[i], j, t->type);
      squares += r * r;
    }
    double rms = sqrt (squares / n);
    /* A result a hair's breadth beside a rounding boundary of its type may go the other way: 2^-7 (bf16), 2^-10 (f16)
     * of its size at most, or one of f16's least steps. A tolerance of 0 is for copies and single operations: no other
     * result is right. */
    gboolean exact = c->op->tolerance == 0 && c->op->rms_tolerance == 0;
    double step = exact ? 0 : t->type == VIG_TYPE_BF16 ? 0x1p-7 : t->type == VIG_TYPE_F16 ? 0x1p-10 : 0;
    double least = !exact && t->type == VIG_TYPE_F16 ? 0x1p-24 : 0;
    for (size_t j = 0; j < n; j++) {
      double g = vig_get (got[i], j, t->type), r = vig_get (ref[i], j, t->type);
      double allowed = c->op->rms_tolerance * rms + (c->op->tolerance + step) * fabs (r) + least;
      if (!(fabs (g - r) <= allowed)) {
        g_test_fail_printf ("%s on %s: %s[%" G_GSIZE_FORMAT "] is %.9g, the reference has %.9g, off by %.3g where %.3g is "
            "allowed", case_name (c), k->name, t->name, j, g, r, fabs (g - r), allowed);
        break;
      }
    }
  }
}

/* items of `all` from first on, against the results of a run of n */
static void
same_bits (const CheckCase *c, void *const all[], int first, int n, void *const some[], const char *what)
{
  for (int i = 0; i < c->n_tensors; i++) {
    const CheckTensor *t = &c->t[i];
    if (t->use == CHECK_IN)
      continue;
    if (memcmp ((char *) all[i] + bytes_of (t, first), some[i], bytes_of (t, n)) != 0)
      g_test_fail_printf ("%s: item %d of %s has other bits %s", case_name (c), first, t->name, what);
  }
}

/* ---- the tests ---- */

typedef struct {
  const Variant *variant;
  const CheckOp *op;
} Row;

/* An emulated GPU would take minutes, and finds nothing there that it does not find in less. */
static gboolean
too_large (const Row *row, const CheckCase *c)
{
  gboolean emulated = row->variant->mask == 0 && !gpu_module;
  size_t elements = 0, most = small ? 100 * 1000 : emulated ? 1000 * 1000 : SIZE_MAX;
  for (int i = 0; i < c->n_tensors; i++)
    elements += bytes_of (&c->t[i], c->batch) / vig_type_size (c->t[i].type);
  return elements > most;
}

/* Calls f for the fixed shapes of an op and some random ones. */
static void
each_case (const Row *row, int n_random, int batch, void (*f) (const Row *row, const CheckCase *c, void *const values[]))
{
  GRand *random = g_rand_new_with_seed ((guint32) seed ^ g_str_hash (row->op->name));
  for (int i = 0; i < row->op->n_shapes + n_random; i++) {
    int d[CHECK_DIMS] = { 0 };
    if (i < row->op->n_shapes)
      memcpy (d, row->op->shapes[i], sizeof d);
    else
      row->op->draw (d, random);
    CheckCase c = case_new (row->op, d, batch);
    if (too_large (row, &c))
      continue;
    void *values[CHECK_TENSORS];
    case_values (&c, random, values);
    f (row, &c, values);
    free_all (&c, values);
  }
  g_rand_free (random);
}

static void
reference_case (const Row *row, const CheckCase *c, void *const values[])
{
  VigKernels *k = variant_open (row->variant, 2), *ref = vig_kernels_ref_open ();
  void *got[CHECK_TENSORS], *want[CHECK_TENSORS];
  run_items (k, c, values, 0, c->batch, got);
  run_items (ref, c, values, 0, c->batch, want);
  compare (k, c, got, want);
  free_all (c, got);
  free_all (c, want);
  k->close (k);
  ref->close (ref);
}

static void
batch_case (const Row *row, const CheckCase *c, void *const values[])
{
  static const struct { int first, n; } parts[] = { { 0, 1 }, { 5, 1 }, { 5, 3 } };
  VigKernels *k = variant_open (row->variant, 2);
  void *all[CHECK_TENSORS], *some[CHECK_TENSORS];
  run_items (k, c, values, 0, c->batch, all);
  for (guint i = 0; i < G_N_ELEMENTS (parts); i++) {
    run_items (k, c, values, parts[i].first, parts[i].n, some);
    same_bits (c, all, parts[i].first, parts[i].n, some, parts[i].n == 1 ? "alone" : "in a batch of 3");
    free_all (c, some);
  }
  free_all (c, all);
  k->close (k);
}

static void
threads_case (const Row *row, const CheckCase *c, void *const values[])
{
  void *one[CHECK_TENSORS], *more[CHECK_TENSORS];
  for (int threads = 1; threads <= 3; threads++) {
    VigKernels *k = variant_open (row->variant, threads);
    run_items (k, c, values, 0, c->batch, threads == 1 ? one : more);
    k->close (k);
    if (threads > 1) {
      same_bits (c, one, 0, c->batch, more, threads == 2 ? "on 2 threads" : "on 3 threads");
      free_all (c, more);
    }
  }
  free_all (c, one);
}

static gboolean
skipped (const Row *row)
{
  VigKernels *k = variant_open (row->variant, 1);
  if (!k) {
    g_autofree char *reason = g_strdup_printf ("this machine lacks %s", row->variant->name);
    g_test_skip (reason);
    return TRUE;
  }
  k->close (k);
  return FALSE;
}

static void
test_reference (gconstpointer row)
{
  if (!skipped (row))
    each_case (row, small ? 6 : 20, 2, reference_case);
}

static void
test_batch (gconstpointer row)
{
  if (!skipped (row))
    each_case (row, 6, 8, batch_case);
}

static void
test_threads (gconstpointer row)
{
  if (!skipped (row))
    each_case (row, 6, 3, threads_case);
}

/* ---- f16 ---- */

enum { F16_INFINITY = 0x7c00 };

static float
f16_by_definition (unsigned h)
{
  int exponent = h >> 10 & 31, fraction = h & 1023;
  double size = exponent == 0 ? ldexp (fraction, -24) : ldexp (1024 + fraction, exponent - 25);
  return (float) (h & 0x8000 ? -size : size);
}

/* The halves, what lies midway between two neighbours, and its own neighbours; all of both signs, infinity and NaN. */
static float *
f16_neighbourhood (size_t *n)
{
  float *f = g_new (float, 8 * F16_INFINITY + 16);
  size_t i = 0;
  for (unsigned h = 0; h < F16_INFINITY; h++) {
    float here = f16_by_definition (h), midway = (here + f16_by_definition (h + 1)) / 2;
    float some[] = { here, midway, nextafterf (midway, 0), nextafterf (midway, INFINITY) };
    for (guint j = 0; j < G_N_ELEMENTS (some); j++) {
      f[i++] = some[j];
      f[i++] = -some[j];
    }
  }
  const float more[] = { 65536, -1e30f, INFINITY, -INFINITY, NAN, -NAN, 0x1p-149f, -0x1p-126f };
  for (guint j = 0; j < 2 * G_N_ELEMENTS (more); j++)
    f[i++] = more[j % G_N_ELEMENTS (more)];
  *n = i;
  return f;
}

static void
test_f16 (void)
{
  for (unsigned h = 0; h < F16_INFINITY; h++) {
    float here = f16_by_definition (h), next = f16_by_definition (h + 1), midway = (here + next) / 2;
    for (unsigned sign = 0; sign <= 0x8000; sign += 0x8000) {
      float to = sign ? -1 : 1;
      g_assert_cmpfloat (vig_f16_to_f32 ((uint16_t) (sign | h)), ==, to * here);
      g_assert_cmpuint (vig_f16_from_f32 (to * here), ==, sign | h);
      g_assert_cmpuint (vig_f16_from_f32 (to * midway), ==, sign | (h + (h & 1)));
      g_assert_cmpuint (vig_f16_from_f32 (to * nextafterf (midway, 0)), ==, sign | h);
      g_assert_cmpuint (vig_f16_from_f32 (to * nextafterf (midway, INFINITY)), ==, sign | (h + 1));
    }
  }
  g_assert_cmpuint (vig_f16_from_f32 (-1e30f), ==, 0xfc00);
  g_assert_cmpfloat (vig_f16_to_f32 (0xfc00), ==, -INFINITY);
  g_assert_true (isnan (vig_f16_to_f32 (0x7c01)) && isnan (vig_f16_to_f32 (vig_f16_from_f32 (NAN))));
}

/* Patches of one pixel are the pixels, rounded. */
static void
rounding (VigKernels *k, const float *x, size_t n, bool planar)
{
  int c = planar ? 1 : 16;
  float *in = k->alloc (k->ctx, n * sizeof *x);
  uint16_t *out = k->alloc (k->ctx, n * sizeof *out), *got = g_new (uint16_t, n);
  k->upload (k->ctx, in, x, n * sizeof *x);
  k->im2col (k->ctx, &(VigIm2col) { .batch = 1, .h = 1, .w = (int) n / c, .c = c, .kernel = 1, .stride = 1, .out_h = 1,
      .out_w = (int) n / c, .planar = planar, .x = in, .cols = out, .type = VIG_TYPE_F16 });
  g_assert_null (k->finish (k->ctx));
  k->download (k->ctx, got, out, n * sizeof *out);
  for (size_t i = 0; i < n; i++)
    if (got[i] != vig_f16_from_f32 (x[i]) && !(isnan (x[i]) && isnan (vig_f16_to_f32 (got[i])))) {
      g_test_fail_printf ("%s: %a became %#x in f16, expected %#x", k->name, x[i], got[i], vig_f16_from_f32 (x[i]));
      break;
    }
  g_free (got);
  k->free (k->ctx, in);
  k->free (k->ctx, out);
}

/* The product with 1 is the number, widened. */
static void
widening (VigKernels *k)
{
  enum { N = 2 * F16_INFINITY };
  uint16_t *h = g_new (uint16_t, N), *a = k->alloc (k->ctx, N * sizeof *h);
  float *got = g_new (float, N), *c = k->alloc (k->ctx, N * sizeof *got);
  for (unsigned i = 0; i < N; i++)
    h[i] = (uint16_t) (i < F16_INFINITY ? i : 0x8000 | (i - F16_INFINITY));
  k->upload (k->ctx, a, h, N * sizeof *h);
  VigMatmul *m = k->matmul_create (k->ctx, &(VigMatmulDesc) { .n = 1, .k = 1, .type = VIG_TYPE_F16,
      .weight = (float[]) { 1 } });
  g_assert_nonnull (m);
  k->matmul_run (k->ctx, m, &(VigMatmulRun) { .batch = 1, .rows = N, .a = a, .c = c });
  g_assert_null (k->finish (k->ctx));
  k->download (k->ctx, got, c, N * sizeof *got);
  for (unsigned i = 0; i < N; i++)
    if (got[i] != f16_by_definition (h[i])) {
      g_test_fail_printf ("%s: f16 %#x is %a, expected %a", k->name, h[i], got[i], f16_by_definition (h[i]));
      break;
    }
  k->matmul_destroy (k->ctx, m);
  k->free (k->ctx, a);
  k->free (k->ctx, c);
  g_free (h);
  g_free (got);
}

static void
test_f16_variant (gconstpointer row)
{
  size_t n;
  if (skipped (row))
    return;
  float *x = f16_neighbourhood (&n);
  VigKernels *k = variant_open (((const Row *) row)->variant, 2);
  rounding (k, x, n, false);
  rounding (k, x, n, true);
  widening (k);
  k->close (k);
  g_free (x);
}

/* Every slot of the table but those at its end, which a backend may leave out, is an operator with a row here or one of the
 * functions around them, and every backend fills it. */
static void
test_table (void)
{
#define SLOT(f) offsetof (VigKernels, f)
  /* pictures are checked by check-preprocess, matmul's other entries serve matmul_run, and gla_plan gla */
  static const size_t around[] = { SLOT (close), SLOT (alloc), SLOT (free), SLOT (upload), SLOT (download),
    SLOT (finish), SLOT (matmul_create), SLOT (matmul_destroy), SLOT (matmul_bytes), SLOT (preprocess_create),
    SLOT (preprocess_run), SLOT (preprocess_destroy), SLOT (gla_plan) };
  VigKernels *backends[] = { vig_kernels_ref_open (), vig_kernels_cpu_open (1, 0), vig_kernels_cpu_open (1, VIG_CPU_ALL),
    gpu_open (1) };

  for (size_t slot = SLOT (close); slot < SLOT (pipe_create); slot += sizeof (void (*) (void))) {
    gboolean known = FALSE;
    for (guint i = 0; i < G_N_ELEMENTS (around); i++)
      known |= around[i] == slot;
    for (int i = 0; i < check_n_ops; i++)
      known |= check_ops[i].slot == slot;
    if (!known)
      g_test_fail_printf ("the slot at byte %" G_GSIZE_FORMAT " of VigKernels has no row in check_ops[]", slot);
    for (guint i = 0; i < G_N_ELEMENTS (backends); i++) {
      void (*f) (void);
      memcpy (&f, (char *) backends[i] + slot, sizeof f);
      if (!f)
        g_test_fail_printf ("the slot at byte %" G_GSIZE_FORMAT " of VigKernels is empty in %s", slot, backends[i]->name);
    }
  }
  for (guint i = 0; i < G_N_ELEMENTS (backends); i++) {
    g_assert_cmpint (backends[i]->abi, ==, VIG_KERNELS_ABI);
    backends[i]->close (backends[i]);
  }
}

/* Without instruction sets the backend is the reference. */
static void
test_mask_0 (void)
{
  VigKernels *k = vig_kernels_cpu_open (1, 0);
  g_assert_cmpstr (k->name, ==, "ref");
  k->close (k);
}

/* The same grid: the embedding itself. A constant: the constant (weights sum to 1). */
static void
test_resize_pos (void)
{
  float in[5 * 4 * 3], out[9 * 7 * 3];
  GRand *random = g_rand_new_with_seed ((guint32) seed);
  for (guint i = 0; i < G_N_ELEMENTS (in); i++)
    in[i] = (float) g_rand_double_range (random, -1, 1);
  vig_resize_pos (in, 5, 4, 3, out, 5, 4);
  g_assert_cmpmem (in, sizeof in, out, sizeof in);
  for (guint i = 0; i < G_N_ELEMENTS (in); i++)
    in[i] = 0.75f;
  vig_resize_pos (in, 5, 4, 3, out, 9, 7);
  for (guint i = 0; i < G_N_ELEMENTS (out); i++)
    g_assert_cmpfloat_with_epsilon (out[i], 0.75f, 1e-6);
  g_rand_free (random);
}

/* ---- timing ---- */

static int
by_value (const void *a, const void *b)
{
  double x = *(const double *) a, y = *(const double *) b;
  return (x > y) - (x < y);
}

/* Seconds of one call: the median of 31 samples, and the best, which tells more on a machine that others use too. */
static double
time_case (VigKernels *k, const CheckCase *c, GRand *random, double *best)
{
  void *values[CHECK_TENSORS], *p[CHECK_TENSORS];
  double seconds[31];
  case_values (c, random, values);
  for (int i = 0; i < c->n_tensors; i++) {
    size_t size = bytes_of (&c->t[i], c->batch);
    p[i] = values[i];
    if (!c->t[i].host) {
      p[i] = k->alloc (k->ctx, size);
      k->upload (k->ctx, p[i], values[i], size);
    }
  }
  void *state = c->op->open ? c->op->open (k, c, p) : NULL;
  for (int i = -10; i < (int) G_N_ELEMENTS (seconds); i++) {
    gint64 start = g_get_monotonic_time ();
    int n = 0;
    do {
      c->op->call (k, c, state, p, c->batch);
      n++;
    } while (g_get_monotonic_time () - start < 400); /* a sample is long beside the clock's step */
    k->finish (k->ctx);
    if (i >= 0)
      seconds[i] = (double) (g_get_monotonic_time () - start) * 1e-6 / n;
  }
  if (c->op->close)
    c->op->close (k, state);
  for (int i = 0; i < c->n_tensors; i++)
    if (!c->t[i].host)
      k->free (k->ctx, p[i]);
  free_all (c, values);
  qsort (seconds, G_N_ELEMENTS (seconds), sizeof *seconds, by_value);
  *best = seconds[0];
  return seconds[G_N_ELEMENTS (seconds) / 2];
}

static void
bench_variant (const Variant *v)
{
  static const int batches[] = { 1, 8 };
  GRand *random = g_rand_new_with_seed ((guint32) seed);
  VigKernels *k = variant_open (v, bench_threads);
  if (!k) {
    printf ("# %s: skipped, this machine lacks it\n", v->name);
    return;
  }
  for (int i = 0; i < check_n_ops; i++)
    for (int s = 0; s < check_ops[i].n_bench; s++)
      for (guint b = 0; b < G_N_ELEMENTS (batches); b++) {
        const CheckOp *op = &check_ops[i];
        if (only_kernel && !g_str_equal (only_kernel, op->name))
          continue;
        CheckCase c = case_new (op, op->shapes[s], batches[b]);
        double best, seconds = time_case (k, &c, random, &best), rate = 0;
        for (int t = 0; t < c.n_tensors; t++)
          rate += (double) bytes_of (&c.t[t], c.batch) * (c.t[t].use == CHECK_INOUT ? 2 : 1);
        if (op->work)
          rate = op->work (&c) * c.batch;
        g_autofree char *name = case_name (&c);
        double unit = op->work ? op->unit : 1e9;
        printf ("%-12s median %8.1f us %7.1f, best %8.1f us %7.1f %-8s %s\n", k->name, seconds * 1e6,
            rate / seconds / unit, best * 1e6, rate / best / unit, op->work ? op->unit_name : "GB/s", name);
        fflush (stdout);
      }
  k->close (k);
  g_rand_free (random);
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  GOptionContext *context = g_option_context_new ("- the kernels against their reference");
  g_option_context_add_main_entries (context, options, NULL);
  g_option_context_set_ignore_unknown_options (context, TRUE);
  if (!g_option_context_parse (context, &argc, &argv, &error)) {
    fprintf (stderr, "check-kernels: %s\n", error->message);
    return 2;
  }
  g_option_context_free (context);

  if (bench) {
    for (guint v = 0; v < G_N_ELEMENTS (variants); v++)
      if (wanted (&variants[v]))
        bench_variant (&variants[v]);
    return 0;
  }

  static const struct { const char *name; GTestDataFunc f; } tests[] = {
    { "reference", test_reference }, { "batch", test_batch }, { "threads", test_threads },
  };
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/kernels/table", test_table);
  g_test_add_func ("/kernels/mask-0", test_mask_0);
  g_test_add_func ("/kernels/resize_pos", test_resize_pos);
  g_test_add_func ("/kernels/f16", test_f16);
  Row *rows = g_new (Row, G_N_ELEMENTS (variants) * (check_n_ops + 1)), *row = rows;
  for (guint v = 0; v < G_N_ELEMENTS (variants); v++) {
    if (!wanted (&variants[v]))
      continue;
    g_autofree char *f16 = g_strdup_printf ("/kernels/%s/f16", variants[v].name);
    *row = (Row) { &variants[v], NULL };
    if (!small)
      g_test_add_data_func (f16, row, test_f16_variant);
    row++;
    for (int i = 0; i < check_n_ops; i++) {
      if (only_kernel && !g_str_equal (only_kernel, check_ops[i].name))
        continue;
      *row = (Row) { &variants[v], &check_ops[i] };
      for (guint t = 0; t < (small ? 1 : G_N_ELEMENTS (tests)); t++) {
        g_autofree char *path = g_strdup_printf ("/kernels/%s/%s/%s", variants[v].name, check_ops[i].name, tests[t].name);
        g_test_add_data_func (path, row, tests[t].f);
      }
      row++;
    }
  }
  int result = g_test_run ();
  g_free (rows);
  return result;
}
