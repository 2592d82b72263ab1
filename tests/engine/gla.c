/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gated linear attention as a function of the library (vig/gla.h): against the recurrence in double, cut and continued, the
 * same bits in any company, NaN that stays where it is, and everything that is refused. With a device as argument: on that,
 * without what is the same everywhere; `small` behind it: for an emulated one, without what takes it long. */
#include <math.h>
#include <string.h>

#include <numbers.h>
#include <vig/vig.h>

#include "gla-private.h"

static const char *device = "cpu";
static gboolean small;

/* What a precision allows, of the largest output. */
static const double bounds[] = { [VIG_PRECISION_FP32] = 1e-5, [VIG_PRECISION_BF16] = 1e-2, [VIG_PRECISION_FP16] = 1e-2 };

/* ---- a problem: dense tensors [batch, tokens, heads, channels] of rounded numbers, and what comes of them ---- */

typedef struct {
  VigGlaShape s;
  float *q, *k, *v, *gates[2], *states[2]; /* gates: always of channels; what q, k and v hold is representable */
  double *o[2], *ends[2];                  /* after recurrence() */
} Problem;

static gsize
tokens_of (const VigGlaShape *s)
{
  return (gsize) s->batch * s->tokens * s->heads;
}

static gsize
states_of (const VigGlaShape *s)
{
  return (gsize) s->batch * s->heads * s->dk * s->dv;
}

static VigType
type_of (VigPrecision precision)
{
  return precision == VIG_PRECISION_BF16 ? VIG_TYPE_BF16 : precision == VIG_PRECISION_FP16 ? VIG_TYPE_F16 : VIG_TYPE_F32;
}

static double
normal (GRand *random)
{
  return sqrt (-2 * log (1 - g_rand_double (random))) * cos (2 * G_PI * g_rand_double (random));
}

static float *
normals (gsize n, VigPrecision precision, GRand *random)
{
  float *x = g_new (float, n);
  for (gsize i = 0; i < n; i++)
    x[i] = vig_round_to ((float) normal (random), type_of (precision));
  return x;
}

/* A log decay as channels have it: each kind is that of a whole channel of a head, so that what remembers long does. */
static float
log_decay (guint kind, GRand *random)
{
  double u = g_rand_double (random);
  switch (kind % 8) {
    case 0: return 0;
    case 1: return -4e-8f;                              /* rounds to a decay of 1 */
    case 2: return (float) -exp (-9 + 8.5 * u);         /* as models have it */
    case 3: return u < 0.01 ? -200 : 0;                 /* remembers all, forgets all */
    case 4: return u < 0.5 ? -200 : (float) -u;
    case 5: return (float) (-200 * u);
    case 6: return -200;
    default: return u < 0.02 ? -88 : -1e-3f;
  }
}

static float *
log_decays (const VigGlaShape *s, GRand *random)
{
  float *x = g_new (float, tokens_of (s) * s->dk);
  for (gsize t = 0; t < tokens_of (s); t++)
    for (guint r = 0; r < s->dk; r++) {
      guint head = (guint) (t % s->heads), kind = s->gates == VIG_GLA_GATES_HEAD ? head + 2 : head + r;
      x[t * s->dk + r] = s->gates == VIG_GLA_GATES_NONE ? 0
          : s->gates == VIG_GLA_GATES_HEAD && r ? x[t * s->dk] : log_decay (kind, random);
    }
  return x;
}

static Problem *
problem_new (VigGlaShape s, guint32 seed)
{
  Problem *p = g_new0 (Problem, 1);
  GRand *random = g_rand_new_with_seed (seed);
  p->s = s;
  p->q = normals (tokens_of (&s) * s.dk, s.input, random);
  p->k = normals (tokens_of (&s) * s.dk, s.input, random);
  p->v = normals (tokens_of (&s) * s.dv, s.input, random);
  for (guint d = 0; d < 2; d++) {
    p->gates[d] = log_decays (&s, random);
    p->states[d] = normals (states_of (&s), VIG_PRECISION_FP32, random);
  }
  g_rand_free (random);
  return p;
}

static void
problem_free (Problem *p)
{
  g_free (p->q);
  g_free (p->k);
  g_free (p->v);
  for (guint d = 0; d < 2; d++) {
    g_free (p->gates[d]);
    g_free (p->states[d]);
    g_free (p->o[d]);
    g_free (p->ends[d]);
  }
  g_free (p);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Problem, problem_free)

/* The definition: S = diag(exp g) S + k v^T, o = scale S^T q, in double. */
static void
recurrence (Problem *p)
{
  const VigGlaShape *s = &p->s;
  double scale = s->scale != 0 ? (double) s->scale : 1 / sqrt (s->dk);
  for (guint d = 0; d < 2; d++) {
    p->o[d] = g_new0 (double, tokens_of (s) * s->dv);
    p->ends[d] = g_new (double, states_of (s));
    for (gsize i = 0; i < states_of (s); i++)
      p->ends[d][i] = p->states[d][i];
    for (guint item = 0; item < s->batch * s->heads; item++)
      for (guint i = 0; i < s->tokens; i++) {
        gsize token = (gsize) item / s->heads * s->tokens + (d ? s->tokens - 1 - i : i);
        gsize at = token * s->heads + item % s->heads;
        double *S = p->ends[d] + (gsize) item * s->dk * s->dv, *o = p->o[d] + at * s->dv;
        const float *v = p->v + at * s->dv;
        for (guint r = 0; r < s->dk; r++, S += s->dv) {
          double decay = exp (p->gates[d][at * s->dk + r]), k = p->k[at * s->dk + r], q = p->q[at * s->dk + r] * scale;
          for (guint c = 0; c < s->dv; c++) {
            S[c] = decay * S[c] + k * v[c];
            o[c] += q * S[c];
          }
        }
      }
  }
}

/* ---- a run ---- */

typedef struct {
  void *o[3];            /* fw, bw, sum: [tokens, heads, dv] of the output's type */
  float *ends[2];
} Results;

static void
results_free (Results *r)
{
  for (guint i = 0; i < 3; i++)
    g_free (r->o[i]);
  for (guint i = 0; i < 2; i++)
    g_free (r->ends[i]);
  g_free (r);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Results, results_free)

/* Memory whose contents are no numbers, so that what is left out shows. */
static void *
unwritten (gsize size)
{
  return memset (g_malloc (MAX (size, 1)), 0xff, size);
}

static void *
typed (const float *x, gsize n, VigType type)
{
  void *p = g_malloc (n * vig_type_size (type));
  for (gsize i = 0; i < n; i++)
    vig_set (p, i, type, (double) x[i]);
  return p;
}

/* One number of each head in place of those of its channels. */
static float *
of_heads (const float *gates, const VigGlaShape *s)
{
  float *x = g_new (float, tokens_of (s));
  for (gsize i = 0; i < tokens_of (s); i++)
    x[i] = gates[i * s->dk];
  return x;
}

static void *
aligned (gsize size)
{
  return g_aligned_alloc (1, MAX (size, 1), 64);
}

/* Memory of the device, for as long as @all lives, with what the host has. */
static void *
on_device (VigKernels *k, GPtrArray *all, const void *host, gsize size)
{
  void *memory = k->alloc (k->ctx, MAX (size, 1));
  g_assert_nonnull (memory);
  k->upload (k->ctx, memory, host, size);
  g_ptr_array_add (all, memory);
  return memory;
}

/* All results of a problem in a form, from its states; offsets where it is ragged. */
static Results *
run (VigGla *gla, const Problem *p, VigGlaForm form, const gint64 *offsets)
{
  VigGlaShape s = p->s;
  Results *r = g_new0 (Results, 1);
  g_autoptr (GError) error = NULL;
  VigType type = type_of (s.input);
  gsize n = tokens_of (&s), states = offsets ? 0 : states_of (&s);

  s.form = form;
  if (offsets) { /* of the problem's sequences as one, cut at the offsets */
    s.ragged = TRUE;
    s.tokens *= s.batch;
    for (s.batch = 0; offsets[s.batch] < (gint64) s.tokens; )
      s.batch++;
  }
  g_autoptr (VigGlaPlan) plan = vig_gla_plan_new (gla, &s, &error);
  g_assert_no_error (error);
  gsize size = vig_gla_plan_get_workspace (plan), bytes = n * s.dv * vig_type_size (type_of (s.output));
  g_autofree void *q = typed (p->q, n * s.dk, type), *k = typed (p->k, n * s.dk, type), *v = typed (p->v, n * s.dv, type);
  g_autofree float *fw = of_heads (p->gates[0], &p->s), *bw = of_heads (p->gates[1], &p->s);
  g_autofree void *workspace = unwritten (size);
  VigKernels *kernels = vig_gla_kernels (gla);
  g_autoptr (GPtrArray) all = g_ptr_array_new ();
  VigGlaTensors t = { .q = on_device (kernels, all, q, n * s.dk * vig_type_size (type)),
    .k = on_device (kernels, all, k, n * s.dk * vig_type_size (type)),
    .v = on_device (kernels, all, v, n * s.dv * vig_type_size (type)), .offsets = offsets,
    .workspace = on_device (kernels, all, workspace, size), .workspace_size = size };
  const float **gates[] = { &t.log_decay_fw, &t.log_decay_bw }, **starts[] = { &t.state_fw, &t.state_bw };
  float **ends[] = { &t.end_fw, &t.end_bw };
  void **o[] = { &t.o_fw, &t.o_bw, &t.o_sum };
  for (guint i = 0; i < 3; i++)
    r->o[i] = unwritten (bytes);
  for (guint i = 0; i < 2 && states; i++)
    r->ends[i] = unwritten (states * sizeof (float));
  t.o_sum = on_device (kernels, all, r->o[2], bytes);
  for (guint d = 0; d < 2; d++) {
    if (!(s.directions & (d ? VIG_GLA_BACKWARD : VIG_GLA_FORWARD)))
      continue;
    if (s.gates != VIG_GLA_GATES_NONE)
      *gates[d] = s.gates == VIG_GLA_GATES_HEAD ? on_device (kernels, all, d ? bw : fw, n * sizeof (float))
          : on_device (kernels, all, p->gates[d], n * s.dk * sizeof (float));
    *starts[d] = states ? on_device (kernels, all, p->states[d], states * sizeof (float)) : NULL;
    *ends[d] = states ? on_device (kernels, all, r->ends[d], states * sizeof (float)) : NULL;
    *o[d] = on_device (kernels, all, r->o[d], bytes);
  }
  vig_gla_run (plan, &t, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < 3; i++)
    if (*o[i])
      kernels->download (kernels->ctx, r->o[i], *o[i], bytes);
  for (guint d = 0; d < 2; d++)
    if (*ends[d])
      kernels->download (kernels->ctx, r->ends[d], *ends[d], states * sizeof (float));
  for (guint i = 0; i < all->len; i++)
    kernels->free (kernels->ctx, all->pdata[i]);
  return r;
}

/* ---- how far from the truth ---- */

static double
distance (const void *got, VigType type, const double *a, const double *b, gsize n)
{
  double most = 0, off = 0;
  for (gsize i = 0; i < n; i++) {
    double want = (a ? a[i] : 0) + (b ? b[i] : 0), d = fabs (vig_get (got, i, type) - want);
    most = MAX (most, fabs (want));
    off = d <= off ? off : isnan (d) ? INFINITY : d;
  }
  return most > 0 ? off / most : off;
}

static void
check_one (const char *what, const char *name, double found, double bound)
{
  g_test_message ("%s: %s %.2g", what, name, found);
  if (!(found <= bound))
    g_test_fail_printf ("%s: %s is off by %.3g of the largest, where %.3g is allowed", what, name, found, bound);
}

static void
check (const Problem *p, const Results *r, const char *form)
{
  const VigGlaShape *s = &p->s;
  const double bound = MAX (bounds[s->input], bounds[s->output]);
  VigType type = type_of (s->output);
  gsize n = tokens_of (s) * s->dv;
  gboolean fw = s->directions & VIG_GLA_FORWARD, bw = s->directions & VIG_GLA_BACKWARD;
  g_autofree char *what = g_strdup_printf ("%s, batch %u, tokens %u, heads %u, dk %u, dv %u, gates %d, %s to %s", form,
      s->batch, s->tokens, s->heads, s->dk, s->dv, (int) s->gates, vig_precision_to_string (s->input),
      vig_precision_to_string (s->output));
  if (fw) {
    check_one (what, "o_fw", distance (r->o[0], type, p->o[0], NULL, n), bound);
    check_one (what, "end_fw", distance (r->ends[0], VIG_TYPE_F32, p->ends[0], NULL, states_of (s)), 1e-5);
  }
  if (bw) {
    check_one (what, "o_bw", distance (r->o[1], type, p->o[1], NULL, n), bound);
    check_one (what, "end_bw", distance (r->ends[1], VIG_TYPE_F32, p->ends[1], NULL, states_of (s)), 1e-5);
  }
  check_one (what, "o_sum", distance (r->o[2], type, fw ? p->o[0] : NULL, bw ? p->o[1] : NULL, n), bound);
}

/* ---- against the recurrence ---- */

static const VigGlaForm all_forms[] = { VIG_GLA_FORM_AUTO, VIG_GLA_FORM_TOKENS, VIG_GLA_FORM_CHUNKS, VIG_GLA_FORM_SPLIT };

static VigGla *
open_gla (guint threads)
{
  GError *error = NULL;
  VigGla *gla = vig_gla_new (device, g_str_equal (device, "cpu") ? threads : 0, &error);
  g_assert_no_error (error);
  return gla;
}

static void
agree (VigGlaShape s, VigPrecision input, VigPrecision output)
{
  g_autoptr (VigGla) gla = open_gla (2);
  s.input = input;
  s.output = output;
  g_autoptr (Problem) p = problem_new (s, s.tokens * 7 + s.dk);
  recurrence (p);
  for (guint f = 0; f < G_N_ELEMENTS (all_forms); f++) {
    g_autoptr (Results) r = run (gla, p, all_forms[f], NULL);
    check (p, r, vig_gla_form_to_string (all_forms[f]));
  }
}

static void
test_lengths (void)
{
  static const guint lengths[] = { 1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 127, 128, 129, 196, 257, 1000, 1025 };
  for (guint i = 0; i < G_N_ELEMENTS (lengths); i += small ? 5 : 1) {
    VigGlaShape s = { .batch = small ? 1 : 2, .tokens = MIN (lengths[i], small ? 130 : G_MAXUINT), .heads = small ? 1 : 3, .dk = 16, .dv = 32, .directions = VIG_GLA_BOTH };
    agree (s, VIG_PRECISION_FP32, VIG_PRECISION_FP32);
    s.gates = VIG_GLA_GATES_HEAD;
    agree (s, VIG_PRECISION_BF16, VIG_PRECISION_BF16);
    s.gates = VIG_GLA_GATES_NONE;
    agree (s, VIG_PRECISION_FP16, VIG_PRECISION_FP32);
  }
}

static void
test_channels (void)
{
  static const guint channels[][2] = { { 1, 1 }, { 1, 256 }, { 256, 1 }, { 3, 5 }, { 7, 17 }, { 17, 7 }, { 31, 33 }, { 32, 64 },
    { 64, 64 }, { 100, 37 }, { 128, 128 }, { 128, 256 }, { 255, 255 }, { 256, 256 } };
  for (guint i = 0; i < G_N_ELEMENTS (channels); i += small ? 4 : 1)
    for (guint directions = VIG_GLA_FORWARD; directions <= VIG_GLA_BOTH; directions++) {
      VigGlaShape s = { .batch = 1, .tokens = 83, .heads = 2, .dk = channels[i][0], .dv = channels[i][1],
        .directions = (VigGlaDirections) directions };
      agree (s, VIG_PRECISION_FP32, VIG_PRECISION_FP32);
      agree (s, VIG_PRECISION_FP16, VIG_PRECISION_FP16);
    }
}

/* Each kind of gates remembers through all of it. */
static void
test_long (void)
{
  agree ((VigGlaShape) { .batch = 1, .tokens = 4096, .heads = 2, .dk = 32, .dv = 64, .directions = VIG_GLA_BOTH },
      VIG_PRECISION_FP32, VIG_PRECISION_FP32);
  agree ((VigGlaShape) { .batch = 1, .tokens = 16384, .heads = 1, .dk = 64, .dv = 64, .directions = VIG_GLA_BOTH },
      VIG_PRECISION_BF16, VIG_PRECISION_BF16);
  agree ((VigGlaShape) { .batch = 1, .tokens = 65536, .heads = 1, .dk = 32, .dv = 32, .directions = VIG_GLA_BOTH },
      VIG_PRECISION_FP32, VIG_PRECISION_FP32);
  agree ((VigGlaShape) { .batch = 1, .tokens = 65536, .heads = 1, .dk = 8, .dv = 32, .directions = VIG_GLA_FORWARD,
      .gates = VIG_GLA_GATES_NONE }, VIG_PRECISION_FP32, VIG_PRECISION_FP32);
  agree ((VigGlaShape) { .batch = 1, .tokens = 65536, .heads = 1, .dk = 8, .dv = 32, .directions = VIG_GLA_BACKWARD },
      VIG_PRECISION_FP16, VIG_PRECISION_FP32);
}

/* One gate for all tokens, for which decays that are rounded one by one would all be off the same way. */
static void
test_constant_gates (void)
{
  static const float gates[] = { -4e-8f, -1e-7f, -3.3e-6f, -1e-4f, -0.01f };
  g_autoptr (VigGla) gla = open_gla (2);
  for (guint i = 0; i < G_N_ELEMENTS (gates); i++) {
    g_autoptr (Problem) p = problem_new ((VigGlaShape) { .batch = 1, .tokens = 65536, .heads = 1, .dk = 4, .dv = 16,
        .directions = VIG_GLA_FORWARD, .input = VIG_PRECISION_FP32, .output = VIG_PRECISION_FP32 }, i);
    for (gsize j = 0; j < tokens_of (&p->s) * p->s.dk; j++)
      p->gates[0][j] = gates[i];
    recurrence (p);
    for (guint f = 1; f < G_N_ELEMENTS (all_forms); f++) {
      g_autoptr (Results) r = run (gla, p, all_forms[f], NULL);
      check (p, r, vig_gla_form_to_string (all_forms[f]));
    }
  }
}

/* A scale of the caller's own. */
static void
test_scale (void)
{
  static const guint lengths[] = { 3, 100 };
  for (guint i = 0; i < G_N_ELEMENTS (lengths); i++)
    agree ((VigGlaShape) { .batch = 2, .tokens = lengths[i], .heads = 2, .dk = 16, .dv = 24, .directions = VIG_GLA_BOTH,
        .scale = -0.37f }, VIG_PRECISION_FP32, VIG_PRECISION_FP32);
}

/* Growth, as documented. */
static void
test_positive (void)
{
  g_autoptr (VigGla) gla = open_gla (2);
  g_autoptr (Problem) p = problem_new ((VigGlaShape) { .batch = 1, .tokens = 100, .heads = 2, .dk = 16, .dv = 16,
      .directions = VIG_GLA_BOTH, .input = VIG_PRECISION_FP32, .output = VIG_PRECISION_FP32 }, 3);
  for (guint d = 0; d < 2; d++)
    for (gsize i = 0; i < tokens_of (&p->s) * p->s.dk; i++)
      p->gates[d][i] = (float) (i % 7) * 0.05f;
  recurrence (p);
  for (guint f = 0; f < G_N_ELEMENTS (all_forms); f++) {
    g_autoptr (Results) r = run (gla, p, all_forms[f], NULL);
    check (p, r, vig_gla_form_to_string (all_forms[f]));
  }
}

/* ---- cut and continued ---- */

/* Tokens first .. end - 1 of a problem with one sequence, that begins with the ends of another run, or its own states. */
static Problem *
cut (const Problem *p, guint first, guint end, const Results *before)
{
  Problem *part = problem_new ((VigGlaShape) { .batch = 1, .tokens = 1, .heads = 1, .dk = 1, .dv = 1 }, 0);
  gsize at = (gsize) first * p->s.heads, n = (gsize) (end - first) * p->s.heads;
  float **to[] = { &part->q, &part->k, &part->v, &part->gates[0], &part->gates[1] };
  const float *from[] = { p->q, p->k, p->v, p->gates[0], p->gates[1] };

  part->s = p->s;
  part->s.tokens = end - first;
  for (guint i = 0; i < G_N_ELEMENTS (to); i++) {
    gsize width = i == 2 ? p->s.dv : p->s.dk;
    g_free (*to[i]);
    *to[i] = g_memdup2 (from[i] + at * width, n * width * sizeof (float));
  }
  for (guint d = 0; d < 2; d++) {
    g_free (part->states[d]);
    part->states[d] = g_memdup2 (before ? before->ends[d] : p->states[d], states_of (&p->s) * sizeof (float));
  }
  return part;
}

/* The truth of a part: its outputs, and the end of the whole. */
static void
truth_of (Problem *part, const Problem *p, guint first, guint d)
{
  part->o[d] = g_memdup2 (p->o[d] + (gsize) first * p->s.heads * p->s.dv, tokens_of (&part->s) * p->s.dv * sizeof (double));
  part->ends[d] = g_memdup2 (p->ends[d], states_of (&p->s) * sizeof (double));
}

static void
test_cut (void)
{
  static const guint cuts[] = { 63, 1, 5, 15, 16, 17, 64, 150, 299 };
  g_autoptr (VigGla) gla = open_gla (2);
  for (guint d = 0; d < 2; d++) {
    g_autoptr (Problem) p = problem_new ((VigGlaShape) { .batch = 1, .tokens = 300, .heads = 3, .dk = 32, .dv = 40,
        .directions = d ? VIG_GLA_BACKWARD : VIG_GLA_FORWARD, .input = VIG_PRECISION_FP32, .output = VIG_PRECISION_FP32 }, 5);
    recurrence (p);
    for (guint i = 0; i < (small ? 1 : G_N_ELEMENTS (cuts)); i++)
      for (guint f = 0; f < G_N_ELEMENTS (all_forms); f++) {
        g_autoptr (Problem) one = d ? cut (p, cuts[i], 300, NULL) : cut (p, 0, cuts[i], NULL);
        g_autoptr (Results) first = run (gla, one, all_forms[f], NULL);
        g_autoptr (Problem) two = d ? cut (p, 0, cuts[i], first) : cut (p, cuts[i], 300, first);
        g_autoptr (Results) second = run (gla, two, all_forms[f], NULL);
        truth_of (two, p, d ? 0 : cuts[i], d);
        check (two, second, vig_gla_form_to_string (all_forms[f]));
      }
  }
}

/* ---- the same bits ---- */

static void
same (const Results *a, const Results *b, gsize bytes, const char *what)
{
  for (guint i = 0; i < 3; i++)
    if (memcmp (a->o[i], b->o[i], bytes) != 0)
      g_test_fail_printf ("outputs %u have other bits %s", i, what);
}

static void
test_same_bits (void)
{
  static const guint lengths[] = { 1, 6, 40, 700 };
  for (guint i = 0; i < G_N_ELEMENTS (lengths) - (small ? 1 : 0); i++)
    for (guint f = 0; f < G_N_ELEMENTS (all_forms); f++) {
      g_autoptr (VigGla) one = open_gla (1), three = open_gla (3);
      VigGlaShape s = { .batch = 4, .tokens = lengths[i], .heads = 2, .dk = 24, .dv = 40, .directions = VIG_GLA_BOTH,
        .input = VIG_PRECISION_BF16, .output = VIG_PRECISION_BF16 };
      g_autoptr (Problem) p = problem_new (s, 11);
      memset (p->states[0], 0, states_of (&s) * sizeof (float));
      memset (p->states[1], 0, states_of (&s) * sizeof (float));
      gint64 L = lengths[i];
      const gint64 offsets[] = { 0, L, 2 * L, 3 * L, 4 * L };
      gsize bytes = tokens_of (&s) * s.dv * 2;
      g_autoptr (Results) batch = run (one, p, all_forms[f], NULL), threads = run (three, p, all_forms[f], NULL);
      g_autoptr (Results) ragged = run (three, p, all_forms[f], offsets);
      same (batch, threads, bytes, "on three threads");
      same (batch, ragged, bytes, "where the sequences are ragged");
      p->s.batch = 1;
      g_autoptr (Results) alone = run (three, p, all_forms[f], NULL);
      same (batch, alone, bytes / 4, "alone");
    }
}

/* [batch, heads, tokens, channels], and heads that lie apart in rows that hold more: the numbers are those of dense tensors. */
static void
test_strides (void)
{
  enum { B = 2, L = 37, H = 3, DK = 5, DV = 9, ROW = H * (2 * DK + DV) };
  g_autoptr (VigGla) gla = open_gla (2);
  g_autoptr (Problem) p = problem_new ((VigGlaShape) { .batch = B, .tokens = L, .heads = H, .dk = DK, .dv = DV,
      .directions = VIG_GLA_FORWARD, .gates = VIG_GLA_GATES_NONE, .input = VIG_PRECISION_FP32,
      .output = VIG_PRECISION_FP32 }, 8);
  g_autoptr (GError) error = NULL;
  const VigGlaStrides row = { L * ROW, ROW, DK }, v_row = { L * ROW, ROW, DV };
  VigGlaShape s = p->s;
  g_autofree float *joint = g_new (float, B * L * ROW), *o = unwritten (B * L * H * DV * sizeof (float));

  memset (p->states[0], 0, states_of (&s) * sizeof (float));
  g_autoptr (Results) dense = run (gla, p, VIG_GLA_FORM_AUTO, NULL);
  for (guint t = 0; t < B * L; t++) {
    memcpy (joint + t * ROW, p->q + t * H * DK, H * DK * sizeof (float));
    memcpy (joint + t * ROW + H * DK, p->k + t * H * DK, H * DK * sizeof (float));
    memcpy (joint + t * ROW + 2 * H * DK, p->v + t * H * DV, H * DV * sizeof (float));
  }
  s.q = s.k = row;
  s.v = v_row;
  s.o = (VigGlaStrides) { H * L * DV, DV, L * DV };
  g_autoptr (VigGlaPlan) plan = vig_gla_plan_new (gla, &s, &error);
  g_assert_no_error (error);
  gsize size = vig_gla_plan_get_workspace (plan);
  void *workspace = aligned (size);
  vig_gla_run (plan, &(VigGlaTensors) { .q = joint, .k = joint + H * DK, .v = joint + 2 * H * DK, .o_sum = o,
      .workspace = workspace, .workspace_size = size }, &error);
  g_assert_no_error (error);
  for (guint b = 0; b < B; b++)
    for (guint t = 0; t < L; t++)
      for (guint h = 0; h < H; h++)
        g_assert_cmpmem (o + ((b * H + h) * L + t) * DV, DV * sizeof (float),
            (float *) dense->o[2] + ((b * L + t) * H + h) * DV, DV * sizeof (float));
  g_aligned_free (workspace);
}

/* ---- NaN and infinity ---- */

/* Where one number of sequence 1, head 0, token 20 is spoilt: which other outputs are not those of the sound problem? */
static void
spoil (VigGla *gla, const Problem *p, float *number, float with, VigGlaForm form, gboolean state)
{
  enum { TOKEN = 20 };
  const VigGlaShape *s = &p->s;
  g_autoptr (Results) sound = run (gla, p, form, NULL);
  float before = *number;
  *number = with;
  g_autoptr (Results) r = run (gla, p, form, NULL);
  *number = before;
  for (guint b = 0; b < s->batch; b++)
    for (guint h = 0; h < s->heads; h++) {
      gboolean spoilt = b == 1 && h == 0;
      gsize end = ((gsize) b * s->heads + h) * s->dk * s->dv;
      for (guint t = 0; t < s->tokens; t++)
        for (guint d = 0; d < 2; d++) {
          gsize at = (((gsize) b * s->tokens + t) * s->heads + h) * s->dv;
          gboolean later = state || (d ? t <= TOKEN : t >= TOKEN);
          if (!(spoilt && later) && memcmp ((float *) sound->o[d] + at, (float *) r->o[d] + at, s->dv * sizeof (float)) != 0)
            g_test_fail_printf ("%s: sequence %u, head %u, token %u, direction %u has other outputs",
                vig_gla_form_to_string (form), b, h, t, d);
        }
      for (guint d = 0; !spoilt && d < 2; d++)
        g_assert_cmpmem (sound->ends[d] + end, s->dk * s->dv * sizeof (float), r->ends[d] + end,
            s->dk * s->dv * sizeof (float));
    }
  /* and it is not lost */
  const float *o = (float *) r->o[0] + ((1 * s->tokens + TOKEN) * s->heads) * s->dv;
  gboolean seen = FALSE;
  for (guint c = 0; c < s->dv; c++)
    seen |= !isfinite (o[c]);
  g_assert_true (seen);
}

static void
test_nan (void)
{
  static const float values[] = { NAN, INFINITY, -INFINITY };
  g_autoptr (VigGla) gla = open_gla (2);
  g_autoptr (Problem) p = problem_new ((VigGlaShape) { .batch = 3, .tokens = 90, .heads = 2, .dk = 10, .dv = 20,
      .directions = VIG_GLA_BOTH, .input = VIG_PRECISION_FP32, .output = VIG_PRECISION_FP32 }, 21);
  gsize token = ((1 * 90 + 20) * 2), state = (1 * 2) * 10 * 20;
  for (guint f = 0; f < G_N_ELEMENTS (all_forms); f++)
    for (guint i = 0; i < G_N_ELEMENTS (values); i++) {
      spoil (gla, p, p->q + token * 10 + 3, values[i], all_forms[f], FALSE);
      spoil (gla, p, p->k + token * 10 + 3, values[i], all_forms[f], FALSE);
      spoil (gla, p, p->v + token * 20 + 7, values[i], all_forms[f], FALSE);
      if (values[i] > 0 || isnan (values[i])) {
        spoil (gla, p, p->gates[0] + token * 10 + 3, values[i], all_forms[f], FALSE);
        spoil (gla, p, p->gates[0] + token * 10 + 3, 1000, all_forms[f], FALSE); /* exp of it is infinite too */
        spoil (gla, p, p->states[0] + state, values[i], all_forms[f], TRUE); /* its channel's log decays are all 0 */
      }
    }
}

/* A log decay of -infinity forgets all there was. */
static void
test_forget (void)
{
  g_autoptr (VigGla) gla = open_gla (2);
  g_autoptr (Problem) p = problem_new ((VigGlaShape) { .batch = 1, .tokens = 90, .heads = 2, .dk = 10, .dv = 20,
      .directions = VIG_GLA_BOTH, .input = VIG_PRECISION_FP32, .output = VIG_PRECISION_FP32 }, 22);
  for (gsize i = 0; i < tokens_of (&p->s) * 10; i += 7)
    p->gates[0][i] = p->gates[1][i] = -INFINITY;
  recurrence (p);
  for (guint f = 0; f < G_N_ELEMENTS (all_forms); f++) {
    g_autoptr (Results) r = run (gla, p, all_forms[f], NULL);
    check (p, r, vig_gla_form_to_string (all_forms[f]));
  }
}

/* ---- what is refused ---- */

static void
refused (GError **error, VigError code, const char *part)
{
  if (!g_error_matches (*error, VIG_ERROR, (int) code) || !strstr ((*error)->message, part))
    g_error ("expected error %d with \"%s\", found %d, \"%s\"", (int) code, part, *error ? (*error)->code : -1,
        *error ? (*error)->message : "");
  g_clear_error (error);
}

static const VigGlaShape sound_shape = { .batch = 2, .tokens = 9, .heads = 3, .dk = 4, .dv = 8, .directions = VIG_GLA_BOTH };

static void
test_bad_shapes (void)
{
  g_autoptr (VigGla) gla = open_gla (1);
  g_autoptr (GError) error = NULL;
#define BAD(field, value, part) \
  do { \
    VigGlaShape bad = sound_shape; \
    bad.field = value; \
    g_assert_null (vig_gla_plan_new (gla, &bad, &error)); \
    refused (&error, VIG_ERROR_ARGUMENT, part); \
  } while (0)
  BAD (batch, 0, "batch: expected 1 to 2147483647, found 0");
  BAD (batch, G_MAXUINT, "batch: expected 1 to 2147483647, found 4294967295");
  BAD (tokens, 0, "tokens: expected 1 to 2147483647, found 0");
  BAD (heads, 0, "heads: expected 1 to 2147483647, found 0");
  BAD (dk, 0, "dk: expected 1 to 256, found 0");
  BAD (dk, 257, "dk: expected 1 to 256, found 257");
  BAD (dv, 0, "dv: expected 1 to 256, found 0");
  BAD (dv, 1000, "dv: expected 1 to 256, found 1000");
  BAD (heads, G_MAXINT32, "batch, tokens, heads: expected at most");
  BAD (tokens, G_MAXINT32, "batch, tokens, heads: expected at most");
  BAD (directions, 0, "directions: expected");
  BAD (directions, 4, "directions: expected");
  BAD (gates, 3, "gates: expected");
  BAD (form, 4, "form: expected");
  BAD (input, 4, "input: expected fp32, bf16 or fp16");
  BAD (output, 7, "output: expected fp32, bf16 or fp16");
  BAD (scale, NAN, "scale: expected a finite number");
  BAD (q.head, -1, "q: expected strides of at least 0");
  BAD (v.token, G_MAXINT64, "v: expected a tensor of at most");
  BAD (k.sequence, G_MAXINT64 / 4, "k: expected a tensor of at most");
  BAD (o, ((VigGlaStrides) { 9 * 24, 24, 7 }), "o: expected sequences, tokens and heads that do not overlap");
  BAD (o, ((VigGlaStrides) { 9 * 24, 8, 8 }), "o: expected sequences, tokens and heads that do not overlap");
  BAD (o, ((VigGlaStrides) { 0, 24, 8 }), "o: expected sequences, tokens and heads that do not overlap");
#undef BAD
  g_assert_null (vig_gla_plan_new (gla, NULL, &error));
  refused (&error, VIG_ERROR_ARGUMENT, "shape: expected one, found NULL");
  g_assert_null (vig_gla_plan_new (NULL, &sound_shape, &error));
  refused (&error, VIG_ERROR_ARGUMENT, "gla: expected one, found NULL");
  g_assert_null (vig_gla_new ("gpu", 0, &error));
  refused (&error, VIG_ERROR_DEVICE, "device: expected");
  g_assert_null (vig_gla_new ("auto", 0, &error));
  refused (&error, VIG_ERROR_DEVICE, "device: expected cpu, cuda or cuda:N, found \"auto\"");
  g_assert_null (vig_gla_new ("cpu", 5000, &error));
  refused (&error, VIG_ERROR_ARGUMENT, "threads: expected");
}

static void
test_bad_tensors (void)
{
  g_autoptr (VigGla) gla = open_gla (1);
  g_autoptr (GError) error = NULL;
  g_autoptr (VigGlaPlan) plan = vig_gla_plan_new (gla, &sound_shape, &error);
  VigGlaShape forward = sound_shape, ragged = sound_shape;
  forward.directions = VIG_GLA_FORWARD;
  forward.gates = VIG_GLA_GATES_NONE;
  ragged.ragged = TRUE;
  g_autoptr (VigGlaPlan) one = vig_gla_plan_new (gla, &forward, &error), cuts = vig_gla_plan_new (gla, &ragged, &error);
  enum { N = 2 * 9 * 3 * 8 };
  static float x[N], written[3 * N];
  gsize size = vig_gla_plan_get_workspace (plan);
  char *workspace = aligned (size + 64);
  const VigGlaTensors sound = { .q = x, .k = x, .v = x, .log_decay_fw = x, .log_decay_bw = x, .o_fw = written,
    .o_bw = written + N, .o_sum = written + 2 * N, .workspace = workspace, .workspace_size = size };
  const gint64 rising[] = { 0, 4, 9 }, late[] = { 1, 4, 9 }, falling[] = { 0, 5, 4 }, far[] = { 0, 4, 10 };

  memset (written, 0xa5, sizeof written);
#define BAD(plan, field, value, part) \
  do { \
    VigGlaTensors bad = sound; \
    bad.field = value; \
    g_assert_false (vig_gla_run (plan, &bad, &error)); \
    refused (&error, VIG_ERROR_ARGUMENT, part); \
  } while (0)
  BAD (plan, q, NULL, "q: expected a tensor, found NULL");
  BAD (plan, k, NULL, "k: expected a tensor, found NULL");
  BAD (plan, v, NULL, "v: expected a tensor, found NULL");
  BAD (plan, log_decay_fw, NULL, "log_decay_fw: expected a tensor, found NULL");
  BAD (plan, log_decay_bw, NULL, "log_decay_bw: expected a tensor, found NULL");
  BAD (plan, v, (const char *) x + 2, "v: expected memory aligned to 4 bytes");
  BAD (plan, end_bw, (float *) ((char *) written + 1), "end_bw: expected memory aligned to 4 bytes");
  BAD (plan, state_fw, (const float *) ((const char *) x + 3), "state_fw: expected memory aligned to 4 bytes");
  BAD (plan, workspace, NULL, "workspace: expected a tensor, found NULL");
  BAD (plan, workspace, workspace + 32, "workspace: expected memory aligned to 64 bytes");
  BAD (plan, workspace_size, size - 1, "workspace: expected at least");
  BAD (plan, stream, written, "stream: expected NULL with device cpu");
  BAD (plan, offsets, rising, "offsets: expected NULL");
  BAD (cuts, offsets, NULL, "offsets: expected 3, found NULL");
  BAD (cuts, offsets, (const gint64 *) ((const char *) rising + 4), "offsets: expected memory aligned to 8 bytes");
  BAD (cuts, offsets, late, "offsets[0]: expected 0, found 1");
  BAD (cuts, offsets, falling, "offsets[2]: expected 5 to 9, found 4");
  BAD (cuts, offsets, far, "offsets[2]: expected 4 to 9, found 10");
  BAD (one, log_decay_fw, x, "log_decay_fw: expected NULL, as the plan has no such direction or gates");
  VigGlaTensors none = sound, other = sound;
  none.o_fw = none.o_bw = none.o_sum = NULL;
  g_assert_false (vig_gla_run (plan, &none, &error));
  refused (&error, VIG_ERROR_ARGUMENT, "o_fw, o_bw, o_sum, end_fw, end_bw: expected memory for one of them");
  other.log_decay_fw = other.log_decay_bw = NULL;
  g_assert_false (vig_gla_run (one, &other, &error));
  refused (&error, VIG_ERROR_ARGUMENT, "o_bw: expected NULL, as the plan has no such direction");
  g_assert_false (vig_gla_run (plan, NULL, &error));
  refused (&error, VIG_ERROR_ARGUMENT, "tensors: expected one, found NULL");
  g_assert_false (vig_gla_run (NULL, &sound, &error));
  refused (&error, VIG_ERROR_ARGUMENT, "plan: expected one, found NULL");
#undef BAD
  for (gsize i = 0; i < sizeof written; i++)
    g_assert_cmpuint (((guint8 *) written)[i], ==, 0xa5);
  g_assert_true (vig_gla_run (plan, &sound, &error));
  g_aligned_free (workspace);
}

static void
test_plan (void)
{
  g_autoptr (VigGla) gla = open_gla (2);
  g_autoptr (GError) error = NULL;
  static const struct { guint tokens, heads, dv; gboolean ragged; VigGlaForm form; } choices[] = {
    { 1, 8, 64, FALSE, VIG_GLA_FORM_TOKENS }, { 7, 1, 64, FALSE, VIG_GLA_FORM_TOKENS },
    { 8, 1, 64, FALSE, VIG_GLA_FORM_CHUNKS }, { 196, 3, 64, FALSE, VIG_GLA_FORM_CHUNKS },
    { 8191, 1, 64, FALSE, VIG_GLA_FORM_CHUNKS }, { 8192, 1, 64, FALSE, VIG_GLA_FORM_SPLIT },
    { 8192, 7, 64, FALSE, VIG_GLA_FORM_SPLIT }, { 8192, 7, 65, FALSE, VIG_GLA_FORM_CHUNKS },
    { 65536, 1, 64, FALSE, VIG_GLA_FORM_SPLIT }, { 65536, 64, 64, FALSE, VIG_GLA_FORM_CHUNKS },
    { 65536, 1, 64, TRUE, VIG_GLA_FORM_AUTO },
  };
  for (guint i = 0; i < G_N_ELEMENTS (choices); i++)
    for (guint batch = 1; batch < 100; batch *= 9) {
      g_autoptr (VigGlaPlan) plan = vig_gla_plan_new (gla, &(VigGlaShape) { .batch = batch, .tokens = choices[i].tokens,
          .heads = choices[i].heads, .dk = 64, .dv = choices[i].dv, .directions = VIG_GLA_FORWARD,
          .ragged = choices[i].ragged }, &error);
      g_assert_no_error (error);
      g_assert_cmpint (vig_gla_plan_get_form (plan), ==, choices[i].form);
    }
  VigGlaShape ragged = sound_shape; /* the distance of sequences is not used: 0 is no overlap */
  ragged.ragged = TRUE;
  ragged.o = (VigGlaStrides) { 0, 24, 8 };
  g_autoptr (VigGlaPlan) plan = vig_gla_plan_new (gla, &ragged, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (vig_gla_get_device (gla), ==, "cpu");
  g_assert_nonnull (vig_gla_get_kernels (gla));
  VigGlaForm form;
  for (guint f = 0; f < G_N_ELEMENTS (all_forms); f++) {
    g_assert_true (vig_gla_form_from_string (vig_gla_form_to_string (all_forms[f]), &form));
    g_assert_cmpint (form, ==, all_forms[f]);
  }
  g_assert_false (vig_gla_form_from_string ("scan", &form));
  g_assert_null (vig_gla_form_to_string ((VigGlaForm) 9));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  device = argc > 1 ? argv[1] : "cpu";
  small = argc > 2 && g_str_equal (argv[2], "small");
  g_test_add_func ("/gla/lengths", test_lengths);
  g_test_add_func ("/gla/channels", test_channels);
  g_test_add_func ("/gla/scale", test_scale);
  g_test_add_func ("/gla/positive", test_positive);
  g_test_add_func ("/gla/cut", test_cut);
  g_test_add_func ("/gla/same-bits", test_same_bits);
  g_test_add_func ("/gla/forget", test_forget);
  if (!small) {
    g_test_add_func ("/gla/long", test_long);
    g_test_add_func ("/gla/constant-gates", test_constant_gates);
    g_test_add_func ("/gla/nan", test_nan);
  }
  if (argc == 1) { /* these know the CPU's memory and choices */
    g_test_add_func ("/gla/strides", test_strides);
    g_test_add_func ("/gla/bad-shapes", test_bad_shapes);
    g_test_add_func ("/gla/bad-tensors", test_bad_tensors);
    g_test_add_func ("/gla/plan", test_plan);
  }
  return g_test_run ();
}
