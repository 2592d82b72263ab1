/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The bidirectional operator alone, forward, backward and summed, with initial and final states and gates from exactly
 * 1 to exactly 0; and the scalar functions. On the reference and on the CPU backend, at full and with AVX2 alone; with
 * a device as argument, on that alone. */
#include "golden.h"

#include <math.h>
#include <string.h>

#include <backend.h>
#include <kernels.h>

#define GLA_BOUND 1e-5
#define FUNCTION_BOUND 1e-6

/* The CPU backend as newer and older machines have it; what this one lacks falls back to what it has. */
typedef struct {
  const char *name;
  const char *device; /* NULL: the CPU backend with mask */
  unsigned mask;
} Backend;

static const Backend backends[] = {
  { "ref", "ref", 0 }, { "cpu", NULL, ~0u }, { "cpu-avx2", NULL, VIG_CPU_AVX2 },
};

typedef struct {
  const char *file; /* NULL: the functions */
  const Backend *backend;
} Test;

static VigKernels *
open_kernels (const Backend *backend)
{
  const char *name;
  VigPrecision precision = VIG_PRECISION_FP32;
  g_autoptr (GError) error = NULL;
  VigKernels *k = backend->device ? vig_backend_open (backend->device, 0, &name, &precision, &error)
                                  : vig_kernels_cpu_open (0, backend->mask);
  g_assert_no_error (error);
  g_assert_nonnull (k);
  return k;
}

static void *
upload (VigKernels *k, const float *host, gsize n)
{
  void *memory = k->alloc (k->ctx, n * sizeof (float));
  g_assert_nonnull (memory);
  k->upload (k->ctx, memory, host, n * sizeof (float));
  return memory;
}

static float *
download (VigKernels *k, void *memory, gsize n)
{
  float *host = g_new (float, n);
  const char *failure = k->finish (k->ctx);
  g_assert_cmpstr (failure, ==, NULL);
  k->download (k->ctx, host, memory, n * sizeof (float));
  return host;
}

/* [heads, tokens, width] -> [tokens, heads, width], as the kernels keep it (or back, with the first two exchanged) */
static float *
exchange (const float *from, gsize heads, gsize tokens, gsize width)
{
  float *to = g_new (float, heads * tokens * width);
  for (gsize h = 0; h < heads; h++)
    for (gsize t = 0; t < tokens; t++)
      memcpy (to + (t * heads + h) * width, from + (h * tokens + t) * width, width * sizeof *to);
  return to;
}

/* A tensor [heads, tokens, width] of the file as the kernels want it, in the backend's memory. */
static float *
load (VigKernels *k, const GoldenFile *file, const char *name)
{
  const VigTensor *t;
  g_autofree float *values = golden_get (file, name, &t);
  g_autofree float *exchanged = exchange (values, t->shape[0], t->shape[1], t->shape[2]);
  return upload (k, exchanged, t->count);
}

static void
check (VigKernels *k, const GoldenFile *file, const char *name, void *memory, gboolean by_token, double bound)
{
  const VigTensor *t;
  g_autofree float *want = golden_get (file, name, &t);
  g_autofree float *got = download (k, memory, t->count);
  if (by_token) {
    float *exchanged = exchange (got, t->shape[1], t->shape[0], t->shape[2]);
    g_free (got);
    got = exchanged;
  }
  double e = golden_error (got, want, t->count);
  g_test_message ("%s: %.2g", name, e);
  g_assert_cmpfloat (e, <=, bound);
}

static void
test_gla (gconstpointer data)
{
  const Test *test = data;
  g_autoptr (GoldenFile) file = golden_open (test->file);
  VigKernels *k = open_kernels (test->backend);
  const VigTensor *q = vig_safetensors_get (file->tensors, "q"), *v = vig_safetensors_get (file->tensors, "v");
  gsize heads = q->shape[0], tokens = q->shape[1], dk = q->shape[2], dv = v->shape[2];
  gboolean state = vig_safetensors_get (file->tensors, "state_fw") != NULL;
  float *memory[] = {
    load (k, file, "q"), load (k, file, "k"), load (k, file, "v"), load (k, file, "log_decay_fw"),
    load (k, file, "log_decay_bw"), k->alloc (k->ctx, heads * tokens * dv * sizeof (float)),
    k->alloc (k->ctx, heads * dk * dv * sizeof (float)), k->alloc (k->ctx, heads * dk * dv * sizeof (float)),
    NULL, NULL,
  };

  if (state) { /* [heads, dk, dv] already is what the kernels keep */
    g_autofree float *fw = golden_get (file, "state_fw", NULL), *bw = golden_get (file, "state_bw", NULL);
    memory[8] = upload (k, fw, heads * dk * dv);
    memory[9] = upload (k, bw, heads * dk * dv);
  }
  /* k, q and v with rows of their own widths: put them side by side, [tokens, q | k | v] */
  gsize wq = heads * dk, wv = heads * dv, row = 2 * wq + wv;
  g_autofree float *hq = download (k, memory[0], tokens * wq), *hk = download (k, memory[1], tokens * wq);
  g_autofree float *hv = download (k, memory[2], tokens * wv), *joint = g_new (float, tokens * row);
  for (gsize t = 0; t < tokens; t++) {
    memcpy (joint + t * row, hq + t * wq, wq * sizeof (float));
    memcpy (joint + t * row + wq, hk + t * wq, wq * sizeof (float));
    memcpy (joint + t * row + 2 * wq, hv + t * wv, wv * sizeof (float));
  }
  float *qkv = upload (k, joint, tokens * row);
  VigGlaBidir a = { .batch = 1, .tokens = (int) tokens, .heads = (int) heads, .dk = (int) dk, .dv = (int) dv,
    .q = qkv, .k = qkv + wq, .v = qkv + 2 * wq, .row = (ptrdiff_t) row, .gk_row = (ptrdiff_t) wq, .o = memory[5],
    .scale = 1 / sqrtf ((float) dk), .state_fw = memory[8], .state_bw = memory[9], .end_fw = memory[6],
    .end_bw = memory[7] };

  a.gk_fw = memory[3];
  a.gk_bw = memory[4];
  k->gla_bidir (k->ctx, &a);
  check (k, file, "o_sum", a.o, TRUE, GLA_BOUND);
  check (k, file, "end_fw", a.end_fw, FALSE, GLA_BOUND);
  check (k, file, "end_bw", a.end_bw, FALSE, GLA_BOUND);
  a.gk_bw = NULL;
  k->gla_bidir (k->ctx, &a);
  check (k, file, "o_fw", a.o, TRUE, GLA_BOUND);
  check (k, file, "end_fw", a.end_fw, FALSE, GLA_BOUND);
  a.gk_bw = memory[4];
  a.gk_fw = NULL;
  k->gla_bidir (k->ctx, &a);
  check (k, file, "o_bw", a.o, TRUE, GLA_BOUND);
  check (k, file, "end_bw", a.end_bw, FALSE, GLA_BOUND);

  for (guint i = 0; i < G_N_ELEMENTS (memory); i++)
    k->free (k->ctx, memory[i]);
  k->free (k->ctx, qkv);
  k->close (k);
}

/* Each function through a kernel that applies it, arranged so that nothing else happens. */
static void
test_functions (gconstpointer data)
{
  const Test *test = data;
  g_autoptr (GoldenFile) file = golden_open ("functions.safetensors");
  VigKernels *k = open_kernels (test->backend);
  const VigTensor *t;
  g_autofree float *x = golden_get (file, "x", &t);
  gsize n = t->count;
  const float centre[9] = { 0, 0, 0, 0, 1 }, zero = 0, one = 1;
  g_autofree float *pairs = g_new (float, 2 * n), *ones = g_new (float, n);
  float *in = upload (k, x, n), *out = k->alloc (k->ctx, n * sizeof (float)), *taps = upload (k, centre, 9);
  float *zero_in = upload (k, &zero, 1), *one_in = upload (k, &one, 1);

  for (gsize i = 0; i < n; i++) {
    pairs[2 * i] = x[i];
    pairs[2 * i + 1] = ones[i] = 1;
  }
  float *pairs_in = upload (k, pairs, 2 * n), *ones_in = upload (k, ones, n);

  k->swiglu (k->ctx, &(VigSwiglu) { .rows = (int) n, .width = 1, .u = pairs_in, .y = out, .type = VIG_TYPE_F32 });
  check (k, file, "silu", out, FALSE, FUNCTION_BOUND);
  VigDwconv conv = { .batch = (int) n, .h = 1, .w = 1, .c = 1, .x = in, .weight = taps, .y = out, .type = VIG_TYPE_F32 };
  conv.act = VIG_ACT_SILU;
  k->dwconv3x3 (k->ctx, &conv);
  check (k, file, "silu", out, FALSE, FUNCTION_BOUND);
  conv.act = VIG_ACT_GELU;
  k->dwconv3x3 (k->ctx, &conv);
  check (k, file, "gelu", out, FALSE, FUNCTION_BOUND);
  k->gate_mix (k->ctx, &(VigGateMix) { .rows = (int) n, .heads = 1, .dv = 1, .gate = in, .gate_row = 1, .o = ones_in,
      .l = ones_in, .g_norm = one_in, .l_norm = zero_in, .act = VIG_ACT_NONE, .m = out, .type = VIG_TYPE_F32 });
  check (k, file, "sigmoid", out, FALSE, FUNCTION_BOUND);
  k->log_decay (k->ctx, &(VigLogDecay) { .rows = (int) n, .rank = 1, .c = 1, .low = in, .low_row = 1, .weight = one_in,
      .bias = zero_in, .gk = out });
  check (k, file, "log_decay", out, FALSE, FUNCTION_BOUND);
  /* one token with k = 0 and a state of ones: what is left of the state is the decay */
  float *decays = upload (k, ones, n), *nothing = upload (k, &zero, 1);
  for (gsize i = 0; i < n; i++)
    k->gla_bidir (k->ctx, &(VigGlaBidir) { .batch = 1, .tokens = 1, .heads = 1, .dk = 1, .dv = 1, .q = nothing,
        .k = nothing, .v = nothing, .row = 1, .gk_fw = out + i, .gk_row = 1, .o = pairs_in, .scale = 1,
        .state_fw = ones_in + i, .end_fw = decays + i });
  check (k, file, "decay", decays, FALSE, FUNCTION_BOUND);

  float *memory[] = { in, out, taps, zero_in, one_in, pairs_in, ones_in, decays, nothing };
  for (guint i = 0; i < G_N_ELEMENTS (memory); i++)
    k->free (k->ctx, memory[i]);
  k->close (k);
}

static void
add (GPtrArray *tests, const char *file, const Backend *backend)
{
  g_autofree char *path = g_strdup_printf ("/operators/%s/%s", file ? file : "functions", backend->name);
  Test *test = g_new (Test, 1);
  *test = (Test) { file, backend };
  g_ptr_array_add (tests, test);
  g_test_add_data_func (path, test, file ? test_gla : test_functions);
}

static void
add_all (GPtrArray *tests, const VigJson *manifest, const Backend *backend)
{
  add (tests, NULL, backend);
  for (const VigJson *gla = vig_json_get (manifest, "gla")->first; gla; gla = gla->next)
    add (tests, golden_string (gla, "file"), backend);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_autoptr (VigJson) manifest = golden_manifest ();
  g_autoptr (GPtrArray) tests = g_ptr_array_new_with_free_func (g_free);
  const Backend device = { argv[1], argv[1], 0 };

  if (argc > 1)
    add_all (tests, manifest, &device);
  else
    for (guint i = 0; i < G_N_ELEMENTS (backends); i++)
      add_all (tests, manifest, &backends[i]);
  return g_test_run ();
}
