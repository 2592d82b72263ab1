/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The example of docs/gla.md, word for word (gla-example.inc is cut out of the page), over the installed functions alone. */
#include <math.h>

#include <vig/gla.h>

enum { BATCH = 4, TOKENS = 1024, HEADS = 8, D = 64, N = BATCH * TOKENS * HEADS * D, STATES = BATCH * HEADS * D * D };

/* With ones everywhere and decays of 1/2, S is 1, 1.5, 1.75, …, and o is S times 64 / sqrt (64). */
static void
test_example (void)
{
  static const guint16 outputs[] = { 0x4100, 0x4140, 0x4160 }; /* 8, 12, 14 in bf16 */
  guint16 *q = g_new (guint16, N), *k = g_new (guint16, N), *v = g_new (guint16, N), *o = g_new0 (guint16, N);
  float *log_decay = g_new (float, N), *state = g_new0 (float, STATES);
  g_autoptr (GError) error = NULL;

  for (gsize i = 0; i < N; i++) {
    q[i] = k[i] = v[i] = 0x3f80;
    log_decay[i] = logf (0.5f);
  }
#include "gla-example.inc"
  g_assert_no_error (error);
  for (gsize b = 0; b < BATCH; b++)
    for (gsize t = 0; t < TOKENS; t++)
      for (gsize i = 0; i < HEADS * D; i++)
        g_assert_cmphex (o[(b * TOKENS + t) * HEADS * D + i], ==, t < 3 ? outputs[t] : t < 10 ? o[t * HEADS * D] : 0x4180);
  for (gsize i = 0; i < STATES; i++)
    g_assert_cmpfloat_with_epsilon (state[i], 2, 1e-5);
  g_aligned_free (tensors.workspace);
  vig_gla_plan_free (plan);
  vig_gla_free (gla);
  g_free (q);
  g_free (k);
  g_free (v);
  g_free (o);
  g_free (log_decay);
  g_free (state);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/gla/example", test_example);
  return g_test_run ();
}
