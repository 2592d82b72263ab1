/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vig-label: labels an archive of videos. docs/vig-label.md says what it promises. */
#include <locale.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "options.h"
#include "run.h"

/* A thread for each file, decoder and queue: with an arena for most of them glibc keeps twice the memory, for nothing
 * (tests/bench/label --memory 1000, two cores: 336 MiB at the end for 161). */
static void
share_arenas (void)
{
#ifdef M_ARENA_MAX
  mallopt (M_ARENA_MAX, (int) g_get_num_processors ());
#endif
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  VigOptions options;
  int status = VIG_STATUS_NOT_STARTED;
  share_arenas ();
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
