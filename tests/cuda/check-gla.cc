/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Both forms of gla.cu at every length, whichever of them the backend would choose, in all orders of lanes; and what
 * the table's check (check-kernels) has no row for. gla.cu stands here alone, without the rest of the backend. */
#include <glib.h>

#include "cuda/gla.cu"

#include <algorithm>
#include <vector>

bool
vig_cuda_ok (VigCuda *, cudaError_t error, const char *doing, ...)
{
  if (error != cudaSuccess)
    g_error ("%s: %s", doing, cudaGetErrorName (error));
  return true;
}

/* A piece of memory for each call, so that AddressSanitizer sees what lies beyond. */
static std::vector<std::vector<unsigned char>> scratch;

void *
vig_cuda_scratch (VigCuda *, size_t size)
{
  scratch.emplace_back (size, 0xff);
  return scratch.back ().data ();
}

typedef void (*Form) (VigCuda *cuda, const VigGlaBidir *a);

static void
chunked (VigCuda *cuda, const VigGlaBidir *a)
{
  size_t numbers = chunked_numbers (a->batch, a->tokens, a->heads, a->dk, a->dv);
  float *memory = (float *) vig_cuda_scratch (cuda, sizeof (float) * numbers);
  if (a->dk == 32)
    chunked_launch<32, 64> (cuda, a, memory);
  else
    chunked_launch<16, 32> (cuda, a, memory);
}

enum { MIXED, NONE, STRONG, NEAR_1, ALTERNATING, RESET, ALL_RESET, HALF_RESET, KINDS };

typedef struct {
  int batch, tokens, heads, dk, dv, gap, directions /* 1 forward, 2 backward, 3 */, state /* 1 in, 2 out */, gates;
} Shape;

/* Inputs and outputs, each in memory of just its size. */
struct Case {
  Shape s;
  std::vector<float> qkv, gk, state_fw, state_bw, o, end_fw, end_bw;
};

static void
fill (std::vector<float> &x, size_t n, GRand *random)
{
  x.resize (n);
  for (float &value : x)
    value = (float) g_rand_double_range (random, -2, 2);
}

static float
gate (int kind, size_t i, double u)
{
  const float strong = logf (1e-6f);
  switch (kind) {
    case MIXED: return (float) -exp (-9 + 8.5 * u);
    case NONE: return 0;
    case STRONG: return strong;
    case NEAR_1: return (float) (-3e-8 * u);
    case ALTERNATING: return i & 1 ? 0 : strong;
    case RESET: return u < 0.02 ? -88 : u < 0.04 ? -200 : u < 0.05 ? -1e30f : -1e-3f;
    case ALL_RESET: return -200;
    default: return u < 0.5 ? -200 : 0;
  }
}

static Case
case_new (const Shape &s, GRand *random)
{
  Case c;
  c.s = s;
  const int hk = s.heads * s.dk, row = 2 * hk + s.heads * s.dv + s.gap;
  const size_t tokens = (size_t) s.batch * s.tokens, state = (size_t) s.batch * hk * s.dv;
  fill (c.qkv, tokens * row - s.gap, random); /* nothing lies behind the last row */
  fill (c.state_fw, state, random);
  fill (c.state_bw, state, random);
  c.gk.resize (tokens * 2 * hk);
  for (size_t i = 0; i < c.gk.size (); i++)
    c.gk[i] = gate (s.gates, i, g_rand_double (random));
  c.o.assign (tokens * s.heads * s.dv, NAN);
  c.end_fw.assign (s.state & 2 && s.directions & 1 ? state : 0, NAN);
  c.end_bw.assign (s.state & 2 && s.directions & 2 ? state : 0, NAN);
  return c;
}

static VigGlaBidir
arguments (Case &c)
{
  const Shape &s = c.s;
  const int hk = s.heads * s.dk, hv = s.heads * s.dv;
  VigGlaBidir a = {};
  a.batch = s.batch, a.tokens = s.tokens, a.heads = s.heads, a.dk = s.dk, a.dv = s.dv;
  a.q = c.qkv.data (), a.k = a.q + hk, a.v = a.k + hk, a.row = 2 * hk + hv + s.gap;
  a.gk_fw = s.directions & 1 ? c.gk.data () : NULL;
  a.gk_bw = s.directions & 2 ? c.gk.data () + hk : NULL;
  a.gk_row = 2 * hk;
  a.o = c.o.data ();
  a.scale = 0.25f / sqrtf ((float) s.dk);
  a.state_fw = s.state & 1 ? c.state_fw.data () : NULL;
  a.state_bw = s.state & 1 ? c.state_bw.data () : NULL;
  a.end_fw = c.end_fw.empty () ? NULL : c.end_fw.data ();
  a.end_bw = c.end_bw.empty () ? NULL : c.end_bw.data ();
  return a;
}

static void
run (Form form, Case &c)
{
  static VigCuda cuda;
  cuda.sm = 80;
  if (!cuda.stream)
    cudaStreamCreateWithFlags (&cuda.stream, cudaStreamNonBlocking);
  VigGlaBidir a = arguments (c);
  form (&cuda, &a);
  g_assert_cmpint (cudaStreamSynchronize (cuda.stream), ==, cudaSuccess);
  scratch.clear ();
}

static void
run_reference (Case &c)
{
  VigKernels *ref = vig_kernels_ref_open ();
  VigGlaBidir a = arguments (c);
  ref->gla_bidir (ref->ctx, &a);
  g_assert_cmpstr (ref->finish (ref->ctx), ==, NULL);
  ref->close (ref);
}

/* The tolerance of the table's row. */
static void
compare (const Shape &s, const char *what, const std::vector<float> &got, const std::vector<float> &want)
{
  double squares = 0;
  for (float x : want)
    squares += (double) x * x;
  const double rms = sqrt (squares / (double) MAX (want.size (), 1));
  for (size_t i = 0; i < want.size (); i++)
    if (!(fabs ((double) got[i] - want[i]) <= 1e-5 * rms + 2e-6 * fabs (want[i]))) {
      g_test_fail_printf ("batch %d, tokens %d, heads %d, dk %d, dv %d, gap %d, directions %d, state %d, gates %d: "
          "%s[%zu] is %.9g, the reference has %.9g", s.batch, s.tokens, s.heads, s.dk, s.dv, s.gap, s.directions,
          s.state, s.gates, what, i, got[i], want[i]);
      return;
    }
}

static void
check (Form form, const Shape &s, GRand *random)
{
  Case got = case_new (s, random), want = got;
  run (form, got);
  run_reference (want);
  compare (s, "o", got.o, want.o);
  compare (s, "end_fw", got.end_fw, want.end_fw);
  compare (s, "end_bw", got.end_bw, want.end_bw);
}

static int
any (GRand *random, int low, int high)
{
  return g_rand_int_range (random, low, high + 1);
}

static Shape
draw (GRand *random, int longest)
{
  Shape s = {};
  s.batch = any (random, 1, 2);
  s.tokens = any (random, 1, longest);
  s.heads = any (random, 1, 2);
  s.gap = any (random, 0, 1) * any (random, 0, 20); /* rows on boundaries of 16 bytes, and others */
  s.directions = any (random, 1, 3);
  s.state = any (random, 0, 3);
  s.gates = any (random, 0, KINDS - 1);
  return s;
}

typedef struct {
  const char *order;
  guint32 seed;
} Order;

static const Order orders[] = { { "forward", 1 }, { "reverse", 2 }, { "shuffle:1", 3 } };

static void
test_recurrent (gconstpointer data)
{
  static const int dims[] = { 1, 7, 16, 24, 32, 48, 64, 100, 128, 256 };
  const Order *order = (const Order *) data;
  GRand *random = g_rand_new_with_seed (order->seed);
  g_assert_true (vig_emu_set_order (order->order));
  for (int i = 0; i < 16; i++) {
    Shape s = draw (random, 36);
    s.dk = dims[any (random, 0, G_N_ELEMENTS (dims) - 1)];
    s.dv = dims[any (random, 0, G_N_ELEMENTS (dims) - 1)];
    if (i < 6) /* tiles are of 8, groups of 4, the middle at a half */
      s.tokens = i + 1;
    else if (i % 5 == 0) { /* other blocks for many heads */
      s.batch = 1, s.heads = MANY_HEADS, s.tokens = any (random, 1, 9);
      s.dk = any (random, 1, 32), s.dv = any (random, 17, 70);
    }
    check (token_by_token, s, random);
  }
  g_rand_free (random);
}

static void
test_chunked (gconstpointer data)
{
  static const int lengths[] = { 1, 2, 8, 63, 64, 65, 128, 129 };
  const Order *order = (const Order *) data;
  GRand *random = g_rand_new_with_seed (order->seed);
  g_assert_true (vig_emu_set_order (order->order));
  for (int i = 0; i < 12; i++) {
    Shape s = draw (random, 330);
    s.dk = any (random, 0, 1) ? 32 : 16;
    s.dv = 2 * s.dk;
    if (i < (int) G_N_ELEMENTS (lengths))
      s.tokens = lengths[i], s.gates = i;
    check (chunked, s, random);
  }
  g_rand_free (random);
}

/* Decays that exp rounds to 1 one by one, over many chunks: together they take 1e-4 of the state. Token by token fails
 * this, which is why it is for short sequences. */
static void
test_near_1 (void)
{
  GRand *random = g_rand_new_with_seed (1);
  Case got = case_new ({ 1, 6400, 1, 16, 32, 0, 1, 3, NEAR_1 }, random), want;
  g_rand_free (random);
  for (float &x : got.qkv)
    x = fabsf (x); /* or the sums would drown in what cancels */
  for (float &x : got.state_fw)
    x = 1e3f * fabsf (x);
  want = got;
  g_assert_true (vig_emu_set_order ("forward"));
  run (chunked, got);
  run_reference (want);
  compare (got.s, "o", got.o, want.o);
  compare (got.s, "end_fw", got.end_fw, want.end_fw);
}

/* One item alone, and the same bits among as many as make the backend cut the heads otherwise. */
static void
test_batch (void)
{
  static const Shape shapes[] = { { MANY_HEADS, 5, 1, 32, 64, 0, 3, 3, MIXED },
    { MANY_HEADS, 5, 1, 16, 32, 3, 3, 3, MIXED }, { 3, 300, 1, 16, 32, 0, 3, 3, MIXED } };
  GRand *random = g_rand_new_with_seed (1);
  g_assert_true (vig_emu_set_order ("forward"));
  for (const Shape &s : shapes) {
    Case all = case_new (s, random), one;
    const int item = s.batch - 1, row = 4 * s.dk + s.gap, state = s.dk * s.dv;
    Shape alone = s;
    alone.batch = 1;
    one = case_new (alone, random);
    std::copy_n (all.qkv.begin () + (size_t) item * s.tokens * row, one.qkv.size (), one.qkv.begin ());
    std::copy_n (all.gk.begin () + (size_t) item * s.tokens * 2 * s.dk, one.gk.size (), one.gk.begin ());
    std::copy_n (all.state_fw.begin () + item * state, state, one.state_fw.begin ());
    std::copy_n (all.state_bw.begin () + item * state, state, one.state_bw.begin ());
    Form form = s.tokens >= LONG ? chunked : token_by_token;
    run (form, all);
    run (form, one);
    g_assert_cmpmem (&all.o[item * one.o.size ()], one.o.size () * 4, one.o.data (), one.o.size () * 4);
    g_assert_cmpmem (&all.end_fw[item * state], state * 4, one.end_fw.data (), state * 4);
    g_assert_cmpmem (&all.end_bw[item * state], state * 4, one.end_bw.data (), state * 4);
  }
  g_rand_free (random);
}

/* A NaN in one item stays there. */
static void
test_nan (void)
{
  GRand *random = g_rand_new_with_seed (1);
  g_assert_true (vig_emu_set_order ("forward"));
  for (Form form : { (Form) token_by_token, (Form) chunked }) {
    Case c = case_new ({ 3, 70, 2, 16, 32, 0, 3, 0, MIXED }, random);
    c.qkv[c.qkv.size () / 2] = NAN;
    run (form, c);
    const size_t item = c.o.size () / 3;
    bool seen = false;
    for (size_t i = 0; i < c.o.size (); i++) {
      seen |= isnan (c.o[i]);
      if (isnan (c.o[i]) && i / item != 1)
        g_test_fail_printf ("item %zu has a NaN that only item 1 was given", i / item);
    }
    g_assert_true (seen);
  }
  g_rand_free (random);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (const Order &order : orders) {
    g_autofree char *recurrent_path = g_strdup_printf ("/gla/token-by-token/%s", order.order);
    g_autofree char *chunked_path = g_strdup_printf ("/gla/chunked/%s", order.order);
    g_test_add_data_func (recurrent_path, &order, test_recurrent);
    g_test_add_data_func (chunked_path, &order, test_chunked);
  }
  g_test_add_func ("/gla/near-1", test_near_1);
  g_test_add_func ("/gla/batch", test_batch);
  g_test_add_func ("/gla/nan", test_nan);
  return g_test_run ();
}
