/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "load.h"

#include <sys/resource.h>

#define LOOK_USEC G_USEC_PER_SEC
#define BUSY 0.9
/* While one file waits for the engine, or is opened or written, another is decoded. */
#define FIRST_PER_CORE 2
#define MOST_PER_CORE 4 /* each holds some frames, and a decoder */

static double
get_cpu (void)
{
  struct rusage usage;
  getrusage (RUSAGE_SELF, &usage);
  return (double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + 1e-6 * (double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

void
vig_load_init (VigLoad *load, guint jobs, guint parallel)
{
  const guint cores = g_get_num_processors ();
  *load = (VigLoad) { .limit = jobs > 0 ? jobs : FIRST_PER_CORE * cores,
    .most = jobs > 0 ? jobs : MOST_PER_CORE * cores,
    .parallel = parallel };
}

void
vig_load_look (VigLoad *load, double engine, gboolean full)
{
  const gint64 now = g_get_monotonic_time ();
  if (load->since != 0 && now - load->since < LOOK_USEC)
    return;
  const double cpu = get_cpu (), wall = (double) (now - load->since) / G_USEC_PER_SEC;
  const gboolean idle = cpu - load->cpu < BUSY * wall * g_get_num_processors () && engine - load->engine < BUSY * wall * load->parallel;
  if (load->since != 0 && full && idle && load->limit < load->most)
    load->limit++;
  load->since = now;
  load->cpu = cpu;
  load->engine = engine;
}
