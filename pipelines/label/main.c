/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vig-label: labels an archive of videos. docs/vig-label.md says what it promises. */
#include <locale.h>

#include "options.h"
#include "run.h"

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  VigOptions options;
  int status = VIG_STATUS_NOT_STARTED;
  setlocale (LC_ALL, "");
  if (vig_options_parse (&options, &argc, &argv, &error) && options.version) {
    g_print ("vig-label %s\n", VERSION);
    status = VIG_STATUS_FINE;
  } else if (!error) {
    status = vig_run (&options, &error);
  }
  if (error)
    g_printerr ("vig-label: %s\n", error->message);
  vig_options_clear (&options);
  return status;
}
