/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libFuzzer target: any bytes as a model file. Either they load, and then the model answers, or there is one error. */
#include <stdint.h>
#include <string.h>

#include <vig/model.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  GError *error = NULL;
  VigModel *model = vig_model_load_bytes (data, size, "fuzz", &error);

  g_assert_true (!model == !!error);
  if (model) {
    g_assert_cmpuint (strlen (vig_model_get_hash (model)), ==, 64);
    g_assert_nonnull (vig_model_get_label (model, vig_model_get_n_classes (model) - 1));
    g_assert_cmpuint (vig_model_get_macs (model, 64, 64), >, 0);
  } else {
    g_assert_true (error->domain == VIG_ERROR && g_str_has_prefix (error->message, "fuzz: "));
    g_assert_true (g_utf8_validate (error->message, -1, NULL) && strlen (error->message) < 2000);
  }
  vig_model_unref (model);
  g_clear_error (&error);
  return 0;
}
