/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vig/gla.h alone, measured on request: ours among the contenders of tests/bench/gla (tools/bench_gla.py).
 *
 *   bench-gla [--device D] [--threads N] [--form F] [--precision P] [--directions forward|backward|both] [--heads-first]
 *             [--states] --batch B --heads H --tokens L --dk K --dv V
 *   bench-gla [--threads N] --stream BYTES
 *
 * The second reads and writes as many bytes in place, once, shared out as our kernels share out their work: the yardstick.
 * --states: sequences go on from the state in their ends' memory, as in decoding. Outputs: o_sum alone.
 *
 * A line of JSON each way, as in tools/bench_worker.py:
 *   -> {"ready":"libvig (avx512)","form":"chunks","moved":BYTES,"workspace":BYTES,"error":E}    or {"missing":"why"}, and it ends
 *   <- {"seconds":S}                   -> {"ms":[MEDIAN]}
 * moved: what it must read and write, once each. error: off the recurrence in double, of its largest output; of the first and
 * the last head, and of as many of their last tokens as can be computed in a second or so.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <cpu/pool.h>
#include <numbers.h>
#include <vig/vig.h>

#include "backend.h"
#include "figures.h"
#include "gla-private.h"

static struct {
  char *device, *form, *precision, *directions;
  gint64 stream;
  int threads, batch, heads, tokens, dk, dv;
  gboolean heads_first, states;
} options = { .batch = 1, .heads = 1, .tokens = 1, .dk = 1, .dv = 1 };

/* What is measured. */
typedef struct {
  void (*once) (void *data);
  void *data;
} Work;

static void G_GNUC_NORETURN
missing (const char *why)
{
  g_autofree char *text = g_strescape (why, NULL);
  printf ("{\"missing\":\"%s\"}\n", text);
  exit (0);
}

/* ---- the operator ---- */

enum { Q, K, V, GATES_FW, GATES_BW, N_INPUTS };

typedef struct {
  VigGla *gla;
  VigGlaPlan *plan;
  VigKernels *kernels;
  VigGlaShape shape;
  VigGlaTensors tensors;
  gsize moved;
} Operator;

static VigType
type_of (VigPrecision precision)
{
  return vig_backend_type (precision == VIG_PRECISION_AUTO ? VIG_PRECISION_FP32 : precision);
}

/* Channels of a head in an input. */
static guint
width_of (const Operator *o, guint which)
{
  return which == V ? o->shape.dv : o->shape.dk;
}

static gsize
size_of (const Operator *o, guint width)
{
  return (gsize) o->shape.batch * o->shape.tokens * o->shape.heads * width;
}

/* Where a head begins at a token of a sequence, counted in channels of 1. */
static gsize
place_of (const Operator *o, guint b, guint t, guint h)
{
  const VigGlaShape *s = &o->shape;
  return s->heads_first ? ((gsize) b * s->heads + h) * s->tokens + t : ((gsize) b * s->tokens + t) * s->heads + h;
}

/* Number i of an input, the same whenever it is asked for: so that nothing is kept for the check. Of variance 1; log decays
 * from 0 to -0.1. */
static float
number (guint which, gsize i)
{
  guint64 x = ((guint64) i * N_INPUTS + which + 1) * G_GUINT64_CONSTANT (0x9e3779b97f4a7c15);
  x = (x ^ (x >> 32)) * G_GUINT64_CONSTANT (0xd6e8feb86659fd93);
  float u = (float) (x >> 40) * 0x1p-24f;
  return which >= GATES_FW ? -0.1f * u : (u - 0.5f) * 3.4641016f;
}

static void *
device_memory (Operator *o, gsize size)
{
  void *memory = o->kernels->alloc (o->kernels->ctx, size);
  if (!memory)
    missing ("there is not so much memory");
  return memory;
}

static void *
input (Operator *o, guint which)
{
  VigType type = which <= V ? type_of (o->shape.input) : VIG_TYPE_F32;
  gsize n = size_of (o, width_of (o, which)), size = n * vig_type_size (type);
  void *memory = device_memory (o, size), *host = g_try_malloc (size);
  if (!host)
    missing ("there is not so much memory");
  for (gsize i = 0; i < n; i++)
    vig_set (host, i, type, (double) number (which, i));
  o->kernels->upload (o->kernels->ctx, memory, host, size);
  g_free (host);
  o->moved += size;
  return memory;
}

static float *
state (Operator *o)
{
  gsize n = (gsize) o->shape.batch * o->shape.heads * o->shape.dk * o->shape.dv;
  g_autofree float *zeros = g_new0 (float, n);
  float *memory = device_memory (o, n * sizeof (float));
  o->kernels->upload (o->kernels->ctx, memory, zeros, n * sizeof (float));
  o->moved += 2 * n * sizeof (float);
  return memory;
}

static void
make_tensors (Operator *o)
{
  VigGlaTensors *t = &o->tensors;
  gsize size = size_of (o, o->shape.dv) * vig_type_size (type_of (o->shape.output));
  gboolean fw = o->shape.directions & VIG_GLA_FORWARD, bw = o->shape.directions & VIG_GLA_BACKWARD;

  t->q = input (o, Q);
  t->k = input (o, K);
  t->v = input (o, V);
  t->log_decay_fw = fw ? input (o, GATES_FW) : NULL;
  t->log_decay_bw = bw ? input (o, GATES_BW) : NULL;
  t->o_sum = device_memory (o, size);
  o->moved += size;
  if (options.states && fw)
    t->state_fw = t->end_fw = state (o);
  if (options.states && bw)
    t->state_bw = t->end_bw = state (o);
  t->workspace_size = vig_gla_plan_get_workspace (o->plan);
  t->workspace = device_memory (o, MAX (t->workspace_size, 1));
}

static void
run_operator (void *data)
{
  Operator *o = data;
  g_autoptr (GError) error = NULL;
  if (!vig_gla_run (o->plan, &o->tensors, &error))
    g_error ("%s", error->message); /* the reader sees that it ended */
}

/* ---- the check ---- */

/* sum [tokens, dv] += what the recurrence gives in one direction for tokens first .. first + tokens - 1 of a head, as if there
 * were no others. */
static void
recurrence (const Operator *o, guint b, guint h, gboolean backward, guint first, guint tokens, double *sum)
{
  const VigGlaShape *s = &o->shape;
  VigType type = type_of (s->input);
  guint dk = s->dk, dv = s->dv;
  g_autofree double *S = g_new0 (double, (gsize) dk * dv), *v = g_new (double, dv);
  double scale = 1 / sqrt (dk);

  for (guint i = 0; i < tokens; i++) {
    guint t = backward ? tokens - 1 - i : i;
    gsize at = place_of (o, b, first + t, h);
    double *out = sum + (gsize) t * dv;
    for (guint c = 0; c < dv; c++)
      v[c] = (double) vig_round_to (number (V, at * dv + c), type);
    for (guint r = 0; r < dk; r++) {
      gsize place = at * dk + r;
      double q = scale * (double) vig_round_to (number (Q, place), type), k = (double) vig_round_to (number (K, place), type);
      double decay = exp ((double) number (backward ? GATES_BW : GATES_FW, place)), *row = S + (gsize) r * dv;
      for (guint c = 0; c < dv; c++) {
        row[c] = decay * row[c] + k * v[c];
        out[c] += q * row[c];
      }
    }
  }
}

/* How far tokens first .. first + n - 1 of the outputs of a head are off, of the largest. */
static double
off (const Operator *o, const char *got, guint b, guint h, guint first, guint n, const double *want)
{
  VigType type = type_of (o->shape.output);
  double most = 0, far = 0;
  for (guint t = 0; t < n; t++)
    for (guint c = 0; c < o->shape.dv; c++) {
      double w = want[(gsize) t * o->shape.dv + c], g = vig_get (got, place_of (o, b, first + t, h) * o->shape.dv + c, type);
      double d = fabs (g - w);
      most = MAX (most, fabs (w));
      far = d <= far ? far : isnan (d) ? INFINITY : d;
    }
  return far / most;
}

/* Of the last tokens, as many as there is time for. What comes before them is forgotten after LEAD tokens: their log decays
 * add up to some -50. */
static double
check_head (const Operator *o, const char *got, guint b, guint h)
{
  enum { LEAD = 1024, UPDATES = 150000000 };
  const VigGlaShape *s = &o->shape;
  guint n = MIN (s->tokens, UPDATES / (s->dk * s->dv)), first = s->tokens - n, lead = first ? LEAD : 0;
  g_autofree double *want = g_new0 (double, (gsize) n * s->dv);

  for (guint backward = 0; backward < 2; backward++)
    if (s->directions & (backward ? VIG_GLA_BACKWARD : VIG_GLA_FORWARD))
      recurrence (o, b, h, backward, first, n, want);
  return off (o, got, b, h, first + lead, n - lead, want + (gsize) lead * s->dv);
}

static double
check (Operator *o)
{
  gsize size = size_of (o, o->shape.dv) * vig_type_size (type_of (o->shape.output));
  g_autofree char *got = g_malloc (size);
  const char *failure;

  run_operator (o); /* from states that are 0 */
  o->kernels->download (o->kernels->ctx, got, o->tensors.o_sum, size);
  if ((failure = o->kernels->finish (o->kernels->ctx)))
    missing (failure);
  double a = check_head (o, got, 0, 0), b = check_head (o, got, o->shape.batch - 1, o->shape.heads - 1);
  return MAX (a, b);
}

static VigGlaDirections
directions (void)
{
  const char *d = options.directions ? options.directions : "forward";
  return g_str_equal (d, "both") ? VIG_GLA_BOTH : g_str_equal (d, "backward") ? VIG_GLA_BACKWARD : VIG_GLA_FORWARD;
}

static void
prepare_operator (Operator *o)
{
  g_autoptr (GError) error = NULL;

  o->shape = (VigGlaShape) { .batch = (guint) options.batch, .tokens = (guint) options.tokens, .heads = (guint) options.heads,
    .dk = (guint) options.dk, .dv = (guint) options.dv, .directions = directions (), .heads_first = options.heads_first };
  if ((options.form && !vig_gla_form_from_string (options.form, &o->shape.form))
      || (options.precision && !vig_precision_from_string (options.precision, &o->shape.input)))
    missing ("a form or a precision that there is not");
  o->shape.output = o->shape.input;
  if (!(o->gla = vig_gla_new (options.device, (guint) options.threads, &error))
      || !(o->plan = vig_gla_plan_new (o->gla, &o->shape, &error)))
    missing (error->message);
  o->kernels = vig_gla_kernels (o->gla);
  make_tensors (o);
  double e = check (o);
  printf ("{\"ready\":\"libvig (%s)\",\"form\":\"%s\",\"moved\":%" G_GSIZE_FORMAT ",\"workspace\":%" G_GSIZE_FORMAT
      ",\"error\":%g}\n", vig_gla_get_kernels (o->gla), vig_gla_form_to_string (vig_gla_plan_get_form (o->plan)), o->moved,
      o->tensors.workspace_size, isfinite (e) ? e : 1e30);
}

/* ---- memory alone ---- */

enum { PARTS = 64 }; /* of a stream, for each thread */

typedef float Four __attribute__ ((vector_size (16)));

typedef struct {
  VigPool *pool;
  Four *memory;
  gsize n;
} Stream;

static void
negate_part (const void *data, int item, int thread G_GNUC_UNUSED)
{
  const Stream *s = data;
  gsize parts = (gsize) vig_pool_n_threads (s->pool) * PARTS, end = s->n * ((gsize) item + 1) / parts;
  for (gsize i = s->n * (gsize) item / parts; i < end; i++)
    s->memory[i] = -s->memory[i];
}

static void
run_stream (void *data)
{
  Stream *s = data;
  vig_pool_run (s->pool, vig_pool_n_threads (s->pool) * PARTS, negate_part, s);
}

static void
prepare_stream (Stream *s)
{
  s->n = (gsize) options.stream / sizeof (Four);
  s->pool = vig_pool_new (options.threads, NULL);
  s->memory = s->pool ? g_aligned_alloc0 (s->n, sizeof (Four), 64) : NULL;
  if (!s->memory)
    missing ("there is not so much memory");
  printf ("{\"ready\":\"memory\",\"form\":\"\",\"moved\":%" G_GSIZE_FORMAT ",\"workspace\":0,\"error\":0}\n",
      2 * s->n * sizeof (Four));
}

/* ---- rounds ---- */

static double
once (const Work *w)
{
  double start = now ();
  w->once (w->data);
  return now () - start;
}

static void
rounds (const Work *w)
{
  char line[256];
  double seconds, us = 0;

  fflush (stdout);
  while (fgets (line, sizeof line, stdin) && sscanf (line, " {\"seconds\": %lf", &seconds) == 1) {
    g_autoptr (GArray) times = g_array_new (FALSE, FALSE, sizeof (double));
    for (double end = now () + 1e5 * seconds; us < 1e6 * seconds && now () < end;) /* what takes longer is warm soon enough */
      us = once (w);
    double end = now () + 1e6 * seconds;
    do {
      us = once (w);
      g_array_append_val (times, us);
    } while (now () < end);
    printf ("{\"ms\":[%.6f]}\n", 1e-3 * percentile ((double *) times->data, times->len, 0.5));
    fflush (stdout);
  }
}

int
main (int argc, char **argv)
{
  const GOptionEntry entries[] = {
    { "device", 0, 0, G_OPTION_ARG_STRING, &options.device, NULL, NULL },
    { "threads", 0, 0, G_OPTION_ARG_INT, &options.threads, NULL, NULL },
    { "form", 0, 0, G_OPTION_ARG_STRING, &options.form, NULL, NULL },
    { "precision", 0, 0, G_OPTION_ARG_STRING, &options.precision, NULL, NULL },
    { "directions", 0, 0, G_OPTION_ARG_STRING, &options.directions, NULL, NULL },
    { "heads-first", 0, 0, G_OPTION_ARG_NONE, &options.heads_first, NULL, NULL },
    { "states", 0, 0, G_OPTION_ARG_NONE, &options.states, NULL, NULL },
    { "batch", 0, 0, G_OPTION_ARG_INT, &options.batch, NULL, NULL },
    { "heads", 0, 0, G_OPTION_ARG_INT, &options.heads, NULL, NULL },
    { "tokens", 0, 0, G_OPTION_ARG_INT, &options.tokens, NULL, NULL },
    { "dk", 0, 0, G_OPTION_ARG_INT, &options.dk, NULL, NULL },
    { "dv", 0, 0, G_OPTION_ARG_INT, &options.dv, NULL, NULL },
    { "stream", 0, 0, G_OPTION_ARG_INT64, &options.stream, "bytes in place of the operator", NULL },
    G_OPTION_ENTRY_NULL
  };
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);
  g_autoptr (GError) error = NULL;
  Operator operator = { 0 };
  Stream stream = { 0 };

  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, &argc, &argv, &error)) {
    fprintf (stderr, "bench-gla: %s\n", error->message);
    return 2;
  }
  if (options.stream > 0) {
    prepare_stream (&stream);
    rounds (&(Work) { run_stream, &stream });
  } else {
    prepare_operator (&operator);
    rounds (&(Work) { run_operator, &operator });
  }
  return 0; /* the end frees */
}
