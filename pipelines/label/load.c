/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "load.h"

#include <stdio.h>
#include <unistd.h>

#define LOOK_USEC G_USEC_PER_SEC
#define IDLE 0.1
/* While one file waits for the engine, or is opened or written, another is decoded. */
#define FIRST_PER_CORE 2
#define MOST_PER_CORE 4 /* each holds some frames, and a decoder */

double
vig_load_get_idle (void)
{
  unsigned long long idle = 0, waiting = 0; /* for a disk, too, cores are free */
  FILE *stat = fopen ("/proc/stat", "re");
  if (stat && fscanf (stat, "cpu %*u %*u %*u %llu %llu", &idle, &waiting) != 2)
    idle = waiting = 0;
  if (stat)
    fclose (stat);
  return (double) (idle + waiting) / (double) sysconf (_SC_CLK_TCK);
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
vig_load_look (VigLoad *load, double idle, double engine, gboolean full)
{
  const gint64 now = g_get_monotonic_time ();
  if (load->since != 0 && now - load->since < LOOK_USEC)
    return;
  const double wall = (double) (now - load->since) / G_USEC_PER_SEC;
  const gboolean cores = idle - load->idle > IDLE * wall * g_get_num_processors ();
  const gboolean room = engine - load->engine < (1 - IDLE) * wall * load->parallel;
  if (load->since != 0 && full && cores && room && load->limit < load->most)
    load->limit++;
  load->since = now;
  load->idle = idle;
  load->engine = engine;
}
