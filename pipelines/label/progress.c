/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define TERMINAL_USEC 200000
#define LINES_USEC (10 * G_USEC_PER_SEC)
#define BAR 20

struct VigProgress {
  gboolean quiet, terminal;
  gint64 shown;      /* monotonic time */
  GArray *drawn;     /* of int: columns of each line of the bars that are on the screen */
};

VigProgress *
vig_progress_new (gboolean quiet)
{
  VigProgress *progress = g_new0 (VigProgress, 1);
  progress->quiet = quiet;
  progress->terminal = isatty (STDERR_FILENO) == 1;
  progress->shown = g_get_monotonic_time ();
  progress->drawn = g_array_new (FALSE, FALSE, sizeof (int));
  return progress;
}

void
vig_progress_free (VigProgress *progress)
{
  g_array_unref (progress->drawn);
  g_free (progress);
}

/* ---- the screen --------------------------------------------------------------------------------------------------- */

static void
get_size (int *columns, int *rows)
{
  struct winsize size = { 0 };
  ioctl (STDERR_FILENO, TIOCGWINSZ, &size);
  *columns = size.ws_col > 0 ? size.ws_col : 80;
  *rows = size.ws_row > 0 ? size.ws_row : 24;
}

/* Lines that were drawn when the window was wider take several now. */
static void
clear_bars (VigProgress *progress)
{
  int columns, rows, up = 0;
  get_size (&columns, &rows);
  for (guint i = 0; i < progress->drawn->len; i++)
    up += 1 + MAX (g_array_index (progress->drawn, int, i) - 1, 0) / columns;
  if (up > 0)
    fprintf (stderr, "\033[%dA\r\033[J", MIN (up, rows));
  g_array_set_size (progress->drawn, 0);
}

static int
get_width (gunichar c)
{
  return g_unichar_iszerowidth (c) ? 0 : g_unichar_iswide (c) ? 2 : 1;
}

/* @text, in exactly @columns; what is printed is printable. */
static char *
fit (const char *text, int columns)
{
  GString *line = g_string_new (NULL);
  int used = 0;
  for (const char *c = text; *c; c = g_utf8_next_char (c)) {
    gunichar u = g_utf8_get_char (c);
    u = g_unichar_isprint (u) ? u : '?';
    if (used + get_width (u) > columns)
      break;
    g_string_append_unichar (line, u);
    used += get_width (u);
  }
  for (; used < columns; used++)
    g_string_append_c (line, ' ');
  return g_string_free (line, FALSE);
}

static void
draw_line (VigProgress *progress, const char *text, int columns)
{
  g_autofree char *line = fit (text, columns - 1); /* the last column would wrap */
  const int width = columns - 1;
  fprintf (stderr, "%s\n", g_strchomp (line));
  g_array_append_val (progress->drawn, width);
}

/* ---- figures ------------------------------------------------------------------------------------------------------ */

static char *
make_bar (double part)
{
  const int full = (int) (CLAMP (part, 0, 1) * BAR + 0.5);
  GString *bar = g_string_new ("[");
  for (int i = 0; i < BAR; i++)
    g_string_append_c (bar, i < full ? '#' : '.');
  g_string_append_c (bar, ']');
  return g_string_free (bar, FALSE);
}

static char *
make_time (double seconds)
{
  const guint s = (guint) CLAMP (seconds + 0.5, 0, 1e9);
  return s >= 3600 ? g_strdup_printf ("%u:%02u:%02u", s / 3600, s / 60 % 60, s % 60) : g_strdup_printf ("%u:%02u", s / 60, s % 60);
}

static double
get_part (const VigRunning *running)
{
  const VigJobProgress *at = &running->at;
  return GST_CLOCK_TIME_IS_VALID (at->duration) && at->duration > 0 ? MIN ((double) at->position / (double) at->duration, 1) : 0;
}

/* Of what this run has to do: by bytes, which are known of all files before any is opened, else by their number. */
static double
get_whole (const VigTotals *t, const VigRunning *running, guint n)
{
  const double todo = t->inputs - t->before;
  double bytes = (double) t->bytes_done, done = t->done;
  for (guint i = 0; i < n; i++) {
    bytes += (double) running[i].size * get_part (&running[i]);
    done += get_part (&running[i]);
  }
  return t->bytes > 0 ? bytes / (double) t->bytes : todo > 0 ? done / todo : 1;
}

/* "12/340 [####....] 35%  512 frames/s  20.4x real time  ETA 1:23  2 failed" */
static char *
make_summary (VigProgress *progress, const VigTotals *t, const VigRunning *running, guint n)
{
  const double wall = (double) (g_get_monotonic_time () - t->start) / G_USEC_PER_SEC, whole = get_whole (t, running, n);
  guint64 frames = t->frames;
  double media = t->media;
  for (guint i = 0; i < n; i++) {
    frames += running[i].at.frames;
    media += (double) running[i].at.position / GST_SECOND;
  }
  g_autofree char *bar = make_bar (whole);
  g_autofree char *eta = whole > 0 ? make_time (wall * (1 - whole) / whole) : g_strdup ("-");
  return g_strdup_printf ("%u/%u %s %3.0f%%  %.0f frames/s  %.1fx real time  ETA %s  %u failed", t->before + t->done, t->inputs, bar,
      100 * whole, (double) frames / MAX (wall, 1e-3), media / MAX (wall, 1e-3), eta, t->failed + t->failed_before);
}

static char *
make_line (const VigRunning *running, int columns)
{
  g_autofree char *bar = make_bar (get_part (running)), *at = make_time ((double) running->at.position / GST_SECOND);
  g_autofree char *of = GST_CLOCK_TIME_IS_VALID (running->at.duration) ? make_time ((double) running->at.duration / GST_SECOND)
      : g_strdup ("?");
  g_autofree char *figures = g_strdup_printf (" %s %3.0f%% %s of %s", bar, 100 * get_part (running), at, of);
  g_autofree char *name = fit (running->name, MAX (columns - 1 - (int) strlen (figures), 8));
  return g_strconcat (name, figures, NULL);
}

/* ---- */

static void
draw_bars (VigProgress *progress, const VigTotals *totals, const VigRunning *running, guint n)
{
  int columns, rows;
  get_size (&columns, &rows);
  for (guint i = 0; i < n && (int) i < rows - 2; i++) {
    g_autofree char *line = make_line (&running[i], columns);
    draw_line (progress, line, columns);
  }
  g_autofree char *summary = make_summary (progress, totals, running, n);
  draw_line (progress, summary, columns);
  fflush (stderr);
}

void
vig_progress_show (VigProgress *progress, const VigTotals *totals, const VigRunning *running, guint n)
{
  const gint64 now = g_get_monotonic_time ();
  if (progress->quiet || now - progress->shown < (progress->terminal ? TERMINAL_USEC : LINES_USEC))
    return;
  progress->shown = now;
  if (progress->terminal) {
    clear_bars (progress);
    draw_bars (progress, totals, running, n);
  } else {
    g_autofree char *summary = make_summary (progress, totals, running, n);
    fprintf (stderr, "vig-label: %s\n", summary);
  }
}

void
vig_progress_say (VigProgress *progress, gboolean is_error, const char *format, ...)
{
  va_list args;
  if (progress->quiet && !is_error)
    return;
  clear_bars (progress);
  va_start (args, format);
  g_autofree char *text = g_strdup_vprintf (format, args);
  va_end (args);
  for (char *c = text; *c; c++)
    if (g_ascii_iscntrl (*c))
      *c = '?'; /* a name may hold anything */
  fprintf (stderr, "vig-label: %s\n", text);
}

void
vig_progress_end (VigProgress *progress, const VigTotals *t)
{
  const double wall = MAX ((double) (g_get_monotonic_time () - t->start) / G_USEC_PER_SEC, 1e-3);
  if (progress->quiet)
    return;
  clear_bars (progress);
  g_autofree char *media = make_time (t->media), *took = make_time (wall);
  printf ("inputs      %10u\n", t->inputs);
  printf ("labelled    %10u\n", t->done - t->failed);
  printf ("failed      %10u\n", t->failed + t->failed_before);
  printf ("done before %10u\n", t->before - t->failed_before);
  printf ("frames      %10" G_GUINT64_FORMAT, t->frames);
  if (t->start)
    printf ("   %.0f a second", (double) t->frames / wall);
  printf ("\nvideo       %10s", media);
  if (t->start)
    printf ("   in %s, %.1f times real time", took, t->media / wall);
  printf ("\n");
  fflush (stdout);
}
