/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The operator gla on the emulated GPU, in the small: every form against the reference in every order of lanes, at the bounds
 * of chunks, blocks and slices; where a NaN goes; the same bits in any company. tests/engine/gla.c is what it holds in the
 * large, which takes too long here. */
#include <glib.h>
#include <math.h>
#include <string.h>

#include <kernels.h>
#include <numbers.h>

VigKernels *vig_kernels_cuda_open (int device, const char **why);
bool vig_emu_set_order (const char *order);

typedef struct {
  VigScan form;
  int tokens, dk, dv, directions, width /* of gates: 0 DK, 1 one, 2 none */, gates;
  VigType type, o_type;
  int batch, heads, gap /* behind each head of q, k, v */, own /* o_fw and o_bw too; -1: ends alone */, states;
} Shape;

enum { Q, K, V, FW, BW, STATE_FW, STATE_BW, END_FW, END_BW, O_FW, O_BW, O_SUM, TENSORS };

static const char *const names[TENSORS] = { "q", "k", "v", "gate_fw", "gate_bw", "state_fw", "state_bw", "end_fw", "end_bw",
  "o_fw", "o_bw", "o_sum" };

/* All tensors in memory of just their size. */
typedef struct {
  Shape s;
  void *t[TENSORS];
  size_t n[TENSORS];
} Case;

static VigType
type_of (const Shape *s, int tensor)
{
  return tensor <= V ? s->type : tensor >= O_FW ? s->o_type : VIG_TYPE_F32;
}

static int
width_of (const Shape *s)
{
  return s->width == 0 ? s->dk : 2 - s->width;
}

enum { MIXED, RESET, NEAR_1, HALF };

static double
gate (int kind, GRand *random)
{
  double u = g_rand_double (random);
  switch (kind) {
    case MIXED: return -exp (-9 + 8.5 * u);
    case RESET: return u < 0.1 ? -200 : u < 0.12 ? -INFINITY : -u;
    case NEAR_1: return -3.958e-8; /* 42.5 units of a float's last place in 64 tokens */
    default: return u < 0.5 ? -200 * u : 0;
  }
}

/* Many that are added up must not cancel; and where they have few digits, sums round all the same way. */
static double
number (int kind, GRand *random)
{
  return kind == NEAR_1 ? 1 + 0.5 * g_rand_int_range (random, 0, 2) : g_rand_double_range (random, -2, 2);
}

static Case
case_new (Shape s, guint32 seed)
{
  GRand *random = g_rand_new_with_seed (seed);
  Case c = { .s = s };
  size_t heads = (size_t) s.batch * s.tokens * s.heads, states = (size_t) s.batch * s.heads * s.dk * s.dv;
  size_t q = heads * (s.dk + s.gap) - s.gap, v = heads * (s.dv + s.gap) - s.gap, g = heads * width_of (&s), o = heads * s.dv;
  gboolean fw = s.directions & 1, bw = s.directions & 2;
  size_t n[TENSORS] = { q, q, v, fw ? g : 0, bw ? g : 0, fw && s.states ? states : 0, bw && s.states ? states : 0,
    fw ? states : 0, bw ? states : 0, fw && s.own > 0 ? o : 0, bw && s.own > 0 ? o : 0, s.own < 0 ? 0 : o };
  for (int i = 0; i < TENSORS; i++) {
    c.n[i] = n[i];
    c.t[i] = n[i] ? g_malloc (n[i] * vig_type_size (type_of (&s, i))) : NULL;
    if (i >= END_FW) {
      if (n[i])
        memset (c.t[i], 0xff, n[i] * vig_type_size (type_of (&s, i)));
      continue;
    }
    for (size_t j = 0; j < n[i]; j++)
      vig_set (c.t[i], j, type_of (&s, i), i == FW || i == BW ? gate (s.gates, random) : number (s.gates, random));
  }
  g_rand_free (random);
  return c;
}

static void
case_clear (Case *c)
{
  for (int i = 0; i < TENSORS; i++)
    g_free (c->t[i]);
}

static VigStrides
strides (const Shape *s, int width)
{
  return (VigStrides) { (ptrdiff_t) s->tokens * s->heads * width, (ptrdiff_t) s->heads * width, width };
}

/* offsets: of ragged sequences, parts of them, or NULL */
static void
run (VigKernels *k, Case *c, const int64_t *offsets, int parts)
{
  const Shape *s = &c->s;
  VigGlaRun a = { .form = s->form, .batch = offsets ? parts : s->batch, .heads = s->heads, .dk = s->dk, .dv = s->dv,
    .tokens = offsets ? s->batch * s->tokens : s->tokens, .ragged = offsets, .offsets = offsets, .forward = s->directions & 1,
    .backward = s->directions & 2, .gate_width = width_of (s), .scale = 0.25f, .type = s->type, .o_type = s->o_type,
    .q = c->t[Q], .k = c->t[K], .v = c->t[V], .gate_fw = width_of (s) ? c->t[FW] : NULL,
    .gate_bw = width_of (s) ? c->t[BW] : NULL, .q_at = strides (s, s->dk + s->gap), .k_at = strides (s, s->dk + s->gap),
    .v_at = strides (s, s->dv + s->gap), .gate_at = strides (s, width_of (s)), .o_at = strides (s, s->dv),
    .state_fw = c->t[STATE_FW], .state_bw = c->t[STATE_BW], .end_fw = c->t[END_FW], .end_bw = c->t[END_BW],
    .o_fw = c->t[O_FW], .o_bw = c->t[O_BW], .o_sum = c->t[O_SUM] };
  size_t size = k->gla_plan (k->ctx, &a);
  if (s->form != VIG_SCAN_AUTO)
    g_assert_cmpint (a.form, ==, s->form);
  a.workspace = size ? g_aligned_alloc (1, size, 64) : NULL;
  if (size)
    memset (a.workspace, 0xff, size);
  k->gla (k->ctx, &a);
  g_assert_cmpstr (k->finish (k->ctx), ==, NULL);
  g_aligned_free (a.workspace);
}

static VigKernels *
emulated (const char *order)
{
  const char *why;
  VigKernels *k = vig_kernels_cuda_open (0, &why);
  g_assert_true (vig_emu_set_order (order));
  g_assert_nonnull (k);
  return k;
}

/* ---- against the reference ---- */

static void
compare (const Case *got, const Case *want, int tensor)
{
  const Shape *s = &got->s;
  VigType type = type_of (s, tensor);
  double most = 0, off = 0;
  double bound = tensor <= END_BW || (s->type == VIG_TYPE_F32 && type == VIG_TYPE_F32) ? 1e-5 : 1e-2;
  for (size_t i = 0; i < want->n[tensor]; i++) {
    double w = vig_get (want->t[tensor], i, type), d = fabs (vig_get (got->t[tensor], i, type) - w);
    most = MAX (most, fabs (w));
    off = d <= off ? off : isnan (d) ? INFINITY : d;
  }
  if (!want->n[tensor])
    return;
  g_autofree char *what = g_strdup_printf ("form %d, batch %d, tokens %d, heads %d, dk %d, dv %d, gap %d, directions %d, width %d, "
      "gates %d, types %d %d, own %d, states %d: %s", (int) s->form, s->batch, s->tokens, s->heads, s->dk, s->dv, s->gap,
      s->directions, s->width, s->gates, (int) s->type, (int) s->o_type, s->own, s->states, names[tensor]);
  g_test_message ("%s %.2g", what, off / most);
  if (!(off <= bound * most))
    g_test_fail_printf ("%s is off by %.3g of the largest, where %.3g is allowed", what, off / most, bound);
}

static void
agree (VigKernels *k, VigKernels *ref, Shape s)
{
  Case got = case_new (s, (guint32) (s.tokens * 31 + s.dk)), want = case_new (s, (guint32) (s.tokens * 31 + s.dk));
  run (k, &got, NULL, 0);
  want.s.form = VIG_SCAN_AUTO;
  run (ref, &want, NULL, 0);
  for (int i = END_FW; i < TENSORS; i++)
    compare (&got, &want, i);
  case_clear (&got);
  case_clear (&want);
}

#define F32 VIG_TYPE_F32
#define BF16 VIG_TYPE_BF16
#define F16 VIG_TYPE_F16
#define TOKENS VIG_SCAN_TOKENS
#define CHUNKS VIG_SCAN_CHUNKS
#define SPLIT VIG_SCAN_SPLIT

static const Shape shapes[] = {
  /* form tokens dk dv directions width gates type o_type batch heads gap own states */
  { TOKENS, 1, 64, 64, 1, 0, 0, BF16, BF16, 2, 2, 0, 1, 1 }, { TOKENS, 5, 32, 64, 3, 0, 1, F32, F32, 1, 2, 3, 1, 1 },
  { TOKENS, 3, 130, 70, 3, 1, 0, F16, F16, 1, 1, 0, 0, 1 }, { TOKENS, 66, 20, 17, 3, 0, 2, BF16, F32, 1, 1, 1, 1, 0 },
  { TOKENS, 70, 1, 1, 2, 2, 0, F32, F32, 1, 1, 0, 0, 1 }, { TOKENS, 2, 256, 256, 1, 0, 0, F32, F32, 1, 1, 0, 0, 0 },
  { CHUNKS, 1, 32, 64, 3, 0, 0, F32, F32, 1, 1, 0, 1, 1 }, { CHUNKS, 8, 32, 64, 3, 0, 1, F32, F32, 1, 1, 0, 1, 1 },
  { CHUNKS, 63, 7, 5, 3, 0, 0, F32, F32, 1, 1, 0, 1, 1 }, { CHUNKS, 64, 64, 64, 1, 0, 0, BF16, BF16, 1, 1, 0, 1, 1 },
  { CHUNKS, 65, 64, 64, 2, 0, 1, BF16, BF16, 1, 2, 0, 0, 1 }, { CHUNKS, 130, 64, 64, 3, 0, 3, BF16, BF16, 1, 1, 0, 0, 0 },
  { CHUNKS, 100, 40, 72, 3, 1, 0, F16, F16, 2, 1, 5, 1, 1 }, { CHUNKS, 77, 33, 65, 3, 2, 0, F16, F32, 1, 1, 1, 1, 1 },
  { CHUNKS, 129, 1, 1, 3, 0, 0, F32, F32, 1, 1, 0, 0, 1 }, { CHUNKS, 70, 100, 30, 3, 0, 1, F32, BF16, 1, 1, 4, 0, 1 },
  { SPLIT, 40, 32, 64, 3, 0, 0, F32, F32, 1, 1, 0, 0, 1 }, { SPLIT, 300, 16, 32, 3, 0, 0, F32, F32, 1, 1, 0, 1, 1 },
  { SPLIT, 530, 32, 64, 1, 0, 3, BF16, BF16, 1, 1, 0, 0, 1 }, { SPLIT, 513, 8, 8, 2, 1, 2, F16, F32, 1, 1, 0, 0, 0 },
  { SPLIT, 270, 64, 70, 2, 0, 1, BF16, BF16, 1, 1, 0, 0, 1 },
};

static void
test_reference (gconstpointer order)
{
  VigKernels *k = emulated (order), *ref = vig_kernels_ref_open ();
  for (guint i = 0; i < G_N_ELEMENTS (shapes); i++)
    agree (k, ref, shapes[i]);
  k->close (k);
  ref->close (ref);
}

/* Decays that are 1 - 6e-8 as floats, of a state that remembers all. */
static void
test_near_1 (void)
{
  VigKernels *k = emulated ("forward"), *ref = vig_kernels_ref_open ();
  for (VigScan form = VIG_SCAN_TOKENS; form <= VIG_SCAN_SPLIT; form++)
    agree (k, ref, (Shape) { form, 60000, 2, 3, 1, 0, NEAR_1, BF16, F32, 1, 1, 0, -1, 0 });
  k->close (k);
  ref->close (ref);
}

/* ---- NaN ---- */

/* Outputs before the token that is spoilt have the bits they had, and so have other heads'; those from it on have a NaN. */
static void
spoilt (VigKernels *k, VigScan form, VigType type, int tensor, int token)
{
  enum { LENGTH = 80, HEADS = 2, DK = 20, DV = 12 };
  Shape s = { form, LENGTH, DK, DV, 3, 0, 0, type, VIG_TYPE_F32, 1, HEADS, 0, 1, 1 };
  Case sound = case_new (s, 3), c = case_new (s, 3);
  int width = tensor == V ? DV : DK;
  vig_set (c.t[tensor], (size_t) token * HEADS * width + 3, type_of (&s, tensor), NAN);
  run (k, &sound, NULL, 0);
  run (k, &c, NULL, 0);
  for (int d = 0; d < 2; d++) {
    const float *a = sound.t[O_FW + d], *b = c.t[O_FW + d];
    gboolean seen = tensor == BW - d; /* a gate of the other direction */
    for (int t = 0; t < LENGTH; t++)
      for (int h = 0; h < HEADS; h++) {
        size_t at = ((size_t) t * HEADS + h) * DV;
        gboolean may = h == 0 && (tensor == Q ? t == token : d ? t <= token : t >= token) && tensor != BW - d;
        if (!may && memcmp (a + at, b + at, DV * sizeof (float)) != 0)
          g_test_fail_printf ("form %d, type %d: a NaN in %s at token %d changes direction %d, token %d, head %d", (int) form,
              (int) type, names[tensor], token, d, t, h);
        for (int i = 0; may && i < DV; i++)
          seen |= isnan (b[at + i]);
      }
    g_assert_true (seen);
  }
  case_clear (&sound);
  case_clear (&c);
}

static void
test_nan (void)
{
  static const int tokens[] = { 0, 20, 64 };
  VigKernels *k = emulated ("forward");
  for (VigScan form = VIG_SCAN_TOKENS; form <= VIG_SCAN_SPLIT; form++)
    for (guint i = 0; i < G_N_ELEMENTS (tokens); i++)
      for (int tensor = Q; tensor <= BW; tensor++)
        spoilt (k, form, (i + (guint) tensor) % 2 ? VIG_TYPE_BF16 : VIG_TYPE_F32, tensor, tokens[i]);
  k->close (k);
}

/* ---- the same bits ---- */

/* Sequences in a batch, and ragged (an empty one among them), have the bits of one alone. */
static void
test_same_bits (void)
{
  enum { BATCH = 3, LENGTH = 70, DK = 24, DV = 40 };
  static const int64_t offsets[] = { 0, LENGTH, 2 * LENGTH, 2 * LENGTH, 3 * LENGTH };
  VigKernels *k = emulated ("reverse");
  for (VigScan form = VIG_SCAN_AUTO; form <= VIG_SCAN_SPLIT; form++) {
    Shape s = { form, LENGTH, DK, DV, 3, 0, 0, VIG_TYPE_BF16, VIG_TYPE_BF16, BATCH, 1, 0, 0, 0 };
    Case batch = case_new (s, 5), ragged = case_new (s, 5), one;
    size_t bytes = (size_t) LENGTH * DV * 2;
    run (k, &batch, NULL, 0);
    memset (ragged.t[END_FW], 0xff, ragged.n[END_FW] * sizeof (float));
    for (int i = END_FW; i <= END_BW; i++) { /* one more, of the empty one */
      g_free (ragged.t[i]);
      ragged.t[i] = g_malloc (sizeof (float) * (BATCH + 1) * DK * DV);
    }
    run (k, &ragged, offsets, BATCH + 1);
    g_assert_cmpmem (batch.t[O_SUM], BATCH * bytes, ragged.t[O_SUM], BATCH * bytes);
    const float *end = (const float *) ragged.t[END_FW] + 2 * DK * DV;
    for (int i = 0; i < DK * DV; i++)
      g_assert_cmpfloat (end[i], ==, 0);
    s.batch = 1;
    one = case_new (s, 5);
    for (int i = Q; i <= BW; i++)
      memcpy (one.t[i], batch.t[i], one.n[i] * vig_type_size (type_of (&s, i)));
    run (k, &one, NULL, 0);
    g_assert_cmpmem (batch.t[O_SUM], bytes, one.t[O_SUM], bytes);
    case_clear (&batch);
    case_clear (&ragged);
    case_clear (&one);
  }
  k->close (k);
}

int
main (int argc, char **argv)
{
  static const char *const orders[] = { "forward", "reverse", "shuffle:1" };
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (orders); i++) {
    g_autofree char *path = g_strdup_printf ("/gla-run/reference/%s", orders[i]);
    g_test_add_data_func (path, orders[i], test_reference);
  }
  g_test_add_func ("/gla-run/near-1", test_near_1);
  g_test_add_func ("/gla-run/nan", test_nan);
  g_test_add_func ("/gla-run/same-bits", test_same_bits);
  return g_test_run ();
}
