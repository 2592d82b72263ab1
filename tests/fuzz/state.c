/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libFuzzer target: any bytes as the saved state of a stream. Either it is taken, or there is one error. */
#include <stdint.h>
#include <string.h>

#include <state.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  static VigModel model = { .hash = (char *) "abc", .config = { .n_stages = 1, .dims = { 2 }, .depths = { 1 }, .heads = { 1 },
      .img_size = 16, .temporal = { .n_after = 1, .grid = 1, .width = 2, .heads = 1 } } };
  static VigKernels *kernels;
  GError *error = NULL;

  if (!kernels)
    kernels = vig_kernels_ref_open ();
  VigState state = { .model = &model, .kernels = kernels, .precision = VIG_PRECISION_FP32 };
  gboolean ok = vig_state_restore (&state, data, size, &error);
  g_assert_true (ok == !error);
  if (error)
    g_assert_true (error->domain == VIG_ERROR && g_str_has_prefix (error->message, "state") && strlen (error->message) < 2000);
  vig_state_drop (&state);
  g_clear_error (&error);
  return 0;
}
