/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "combine.h"

#include <string.h>

#include "files.h"
#include "outputs.h"

#define ARRAY_BEGIN "[\n"
#define ARRAY_END "\n]\n"

static void
append (FILE *out, const char *data, gsize size, VigJoin join, gboolean is_first)
{
  if (join == VIG_JOIN_TABLE && !is_first) {
    const char *end = memchr (data, '\n', size);
    const gsize header = end ? (gsize) (end - data) + 1 : size;
    data += header;
    size -= header;
  } else if (join == VIG_JOIN_ARRAY && size >= strlen (ARRAY_BEGIN ARRAY_END)) {
    data += strlen (ARRAY_BEGIN);
    size -= strlen (ARRAY_BEGIN ARRAY_END);
    fputs (is_first ? ARRAY_BEGIN : ",\n", out);
  }
  fwrite (data, 1, size, out);
}

static gboolean
combine_one (const VigOptions *options, const VigOutput *output, const char *const *names, guint n, GError **error)
{
  g_autofree char *name = g_strconcat ("all", output->suffix, NULL);
  g_autofree char *path = g_build_filename (options->output, name, NULL);
  VigFile file;
  if (!vig_file_begin (&file, path, error))
    return FALSE;
  for (guint i = 0; i < n; i++) {
    g_autofree char *part = vig_output_path (output, options->output, names[i]), *data = NULL;
    gsize size;
    if (!g_file_get_contents (part, &data, &size, error)) {
      vig_file_drop (&file);
      return FALSE;
    }
    append (file.out, data, size, output->join, i == 0);
  }
  if (output->join == VIG_JOIN_ARRAY)
    fputs (n > 0 ? ARRAY_END : "[]\n", file.out);
  return vig_file_end (&file, error);
}

gboolean
vig_combine (const VigOptions *options, const char *const *names, guint n, GError **error)
{
  for (guint i = 0; i < vig_n_outputs; i++)
    if (vig_outputs[i].join != VIG_JOIN_NONE && options->formats & vig_outputs[i].format
        && !combine_one (options, &vig_outputs[i], names, n, error))
      return FALSE;
  return vig_folder_sync (options->output, error);
}
