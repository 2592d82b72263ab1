/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libFuzzer target: any bytes as what vig-label reads back or is given: a manifest, a journal, a plan. */
#include <stdint.h>
#include <string.h>

#include <label/journal.h>
#include <label/manifest.h>
#include <label/plan.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
read_manifest (const char *data, gsize size)
{
  g_autoptr (GPtrArray) lines = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GError) error = NULL;
  g_assert_true (vig_manifest_parse (data, size, "fuzz", "/folder", lines, &error) == !error);
  for (guint i = 0; i < lines->len; i++)
    g_assert_true (vig_is_uri (lines->pdata[i]) || g_path_is_absolute (lines->pdata[i]));
}

/* What is taken for an entry is written as it was read. */
static void
read_entry (const char *data, gsize size)
{
  VigEntry *entry = vig_entry_parse (data, size);
  if (!entry)
    return;
  g_autofree char *line = vig_entry_to_line (entry);
  VigEntry *again = vig_entry_parse (line, strlen (line));
  g_assert_nonnull (again);
  g_assert_cmpstr (again->key, ==, entry->key);
  g_assert_cmpstr (again->name, ==, entry->name);
  g_assert_cmpstr (again->error, ==, entry->error);
  g_assert_true (again->frames == entry->frames && again->segments == entry->segments);
  vig_entry_free (entry);
  vig_entry_free (again);
}

static void
read_plan (const char *data, gsize size)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VigPlan) plan = vig_plan_parse (data, size, "fuzz", &error);
  g_assert_true (!plan == !!error);
  for (guint i = 0; plan && i < plan->planned->len; i++)
    g_assert_cmpuint (((VigPlanned *) plan->planned->pdata[i])->index, <, plan->n_inputs);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  read_manifest ((const char *) data, size);
  read_entry ((const char *) data, size);
  read_plan ((const char *) data, size);
  return 0;
}
