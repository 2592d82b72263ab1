/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Preprocessing on the CPU, with the bits of kernels/ref/preprocess.c.
 *
 * Source rows are converted to 8-bit RGB (held as int16_t) one at a time, only where the window needs them, and go once
 * through a ring of as many rows as the vertical filter spans:
 *
 *   upright rows are source rows:     convert -> filter across -> ring -> filter down -> normalise a row
 *   upright rows are source columns:  convert -> ring -> filter down -> filter across -> normalise a column
 *
 * so that the pass over upright rows always comes first, and nothing is turned in memory: mirrored tables do the rest.
 * The outputs of the vertical filter are dealt out in bands, which share nothing; each thread has its own ring.
 */
#include "cpu/cpu.h"
#include "cpu/preprocess.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* What one thread works in; every pointer lies in one allocation. */
typedef struct {
  int16_t *y, *u, *v;     /* [wide] luma, and chroma at luma positions, in sixteenths */
  int16_t *above, *below; /* [wide] the chroma rows around a luma row */
  int16_t *chroma;        /* [wide] chroma at the height of the luma row; begins 16 samples on */
  int16_t *rgb;           /* [channels, wide] */
  int16_t *ring;          /* [span, ring_row] */
  int16_t *line;          /* [ring_row] after the vertical filter */
  int16_t *column;        /* [channels, narrow] */
  uint8_t *bytes;         /* a row as across() wants it */
  const int16_t **row;    /* [span] */
} Area;

struct VigPreprocess {
  VigPreprocessDesc desc;
  VigColorMatrix matrix;
  int16_t gray[256];      /* sample to 0..255 */
  float normal[3][256];   /* 0..255 to what the model takes */
  VigSplitTaps x, y;      /* over source columns from `left`, and over source rows of the picture */
  bool turned;            /* x makes upright rows, y upright columns */
  int channels;           /* 1 where all three are equal */
  VigByteTaps x_bytes;    /* x again, where the machine has a faster way for it */
  int left, width;        /* the source columns that are converted */
  int wide, narrow;       /* samples from one channel to the next, before and after `across` */
  int span, ring_row;
  int n_areas;
  Area *areas;
  int16_t *memory;
};

/* ---- tables --------------------------------------------------------------------------------------------------- */

static int
round_up (int n, int to)
{
  return (n + to - 1) / to * to;
}

static void
split_clear (VigSplitTaps *t)
{
  free (t->first);
  free (t->count);
  free (t->high);
  free (t->low);
}

/* The table for the n outputs from `from` on; mirrored, they are those of the source read backwards. */
static bool
split_init (VigSplitTaps *t, int in, int out, int from, int n, bool mirrored)
{
  VigTaps taps;
  size_t size;

  if (!vig_taps_init (&taps, in, out, from, n))
    return false;
  t->n = n;
  t->taps = round_up (taps.max, 16);
  size = (size_t) round_up (n, 4) * t->taps;
  t->first = calloc (round_up (n, 4), sizeof *t->first);
  t->count = calloc (round_up (n, 4), sizeof *t->count);
  t->high = calloc (size, sizeof *t->high);
  t->low = calloc (size, sizeof *t->low);
  if (!t->first || !t->count || !t->high || !t->low) {
    vig_taps_clear (&taps);
    return false;
  }
  for (int i = 0; i < n; i++) {
    int count = t->count[i] = taps.count[i];
    t->first[i] = mirrored ? in - taps.first[i] - count : taps.first[i];
    for (int k = 0; k < count; k++) {
      int32_t weight = taps.weight[(size_t) i * taps.max + (mirrored ? count - 1 - k : k)];
      t->high[(size_t) i * t->taps + k] = (int16_t) (weight >> VIG_SPLIT_BITS);
      t->low[(size_t) i * t->taps + k] = (int16_t) (weight & ((1 << VIG_SPLIT_BITS) - 1));
    }
  }
  vig_taps_clear (&taps);
  return true;
}

/* ---- source rows ---------------------------------------------------------------------------------------------- */

/* n samples of a component's row y from x on, times 1 << up. */
static void
load (const VigPreprocess *p, const VigPlanes *planes, int component, int x, int y, int n, int up, int16_t *to)
{
  const VigComponent *c = &p->desc.component[component];
  int within = c->offset % c->step; /* the word of the sample */
  const uint8_t *from = planes->plane[c->plane] + y * planes->stride[c->plane] + c->offset - within
      + (ptrdiff_t) x * c->step;

  vig_row_load (to, from, n, c->step, 8 * within + c->shift, (1 << c->depth) - 1, up);
}

/* n samples of a chroma component from x on, at the height of luma row y, times 4. */
static void
load_chroma (const VigPreprocess *p, const VigPlanes *planes, const Area *area, int component, int x, int y, int n,
    int16_t *to)
{
  const VigPreprocessDesc *d = &p->desc;
  int above, below, quarters;

  quarters = vig_chroma_around (y, d->sub_y, d->site_y, (d->height + d->sub_y) >> d->sub_y, &above, &below);
  if (quarters == 0 || above == below) {
    load (p, planes, component, x, above, n, 2, to);
    return;
  }
  load (p, planes, component, x, above, n, 0, area->above);
  load (p, planes, component, x, below, n, 0, area->below);
  vig_row_blend (to, area->above, area->below, n, 4 - quarters, quarters);
}

/* A chroma component at the luma samples of row y, in sixteenths. */
static void
convert_chroma (const VigPreprocess *p, const VigPlanes *planes, const Area *area, int component, int y, int16_t *to)
{
  const VigPreprocessDesc *d = &p->desc;
  int16_t *c = area->chroma + 16;

  if (d->sub_x == 0) {
    load_chroma (p, planes, area, component, p->left, y, p->width, c);
    vig_row_blend (to, c, c, p->width, 4, 0);
  } else { /* one more on either side, repeated at the picture's edge */
    int first = p->left / 2, n = (p->width + 1) / 2, in_row = (d->width + 1) / 2;
    int from = first > 0 ? -1 : 0, end = first + n < in_row ? n + 1 : n;
    load_chroma (p, planes, area, component, first + from, y, end - from, c + from);
    if (from == 0)
      c[-1] = c[0];
    if (end == n)
      c[n] = c[n - 1];
    vig_row_widen (to, c, n, d->site_x);
  }
}

/* Row y of the picture to p->channels rows of 8-bit samples. */
static void
convert (const VigPreprocess *p, const VigPlanes *planes, const Area *area, int y, int16_t *to)
{
  int16_t *const rgb[3] = { to, to + p->wide, to + 2 * (size_t) p->wide };

  switch (p->desc.kind) {
    case VIG_COLOR_RGB:
      for (int c = 0; c < 3; c++)
        load (p, planes, c, p->left, y, p->width, 0, rgb[c]);
      break;
    case VIG_COLOR_GRAY:
      load (p, planes, 0, p->left, y, p->width, 0, to);
      for (int i = 0; !p->desc.full_range && i < p->width; i++)
        to[i] = p->gray[to[i]];
      break;
    case VIG_COLOR_YUV:
      load (p, planes, 0, p->left, y, p->width, 4, area->y);
      convert_chroma (p, planes, area, 1, y, area->u);
      convert_chroma (p, planes, area, 2, y, area->v);
      vig_row_colour (rgb, area->y, area->u, area->v, p->width, &p->matrix);
  }
}

/* ---- the passes ----------------------------------------------------------------------------------------------- */

/* A row through the horizontal filter. */
static void
across (const VigPreprocess *p, const Area *area, const int16_t *from, int16_t *to)
{
  if (p->x_bytes.groups)
    vig_row_across_bytes (to, p->narrow, from, p->wide, p->channels, &p->x_bytes, area->bytes);
  else
    vig_row_across (to, p->narrow, from, p->wide, p->channels, &p->x);
}

/* Row y of the picture into the ring. */
static void
fill_ring (const VigPreprocess *p, const VigPlanes *planes, const Area *area, int y)
{
  int16_t *to = area->ring + (size_t) (y % p->span) * p->ring_row;

  if (p->turned) {
    convert (p, planes, area, y, to);
    return;
  }
  convert (p, planes, area, y, area->rgb);
  across (p, area, area->rgb, to);
}

/* Output j of the vertical filter to its place in the result: a row, or a column if turned. */
static void
finish_output (const VigPreprocess *p, const Area *area, int j, float *out)
{
  const size_t plane = (size_t) p->x.n * p->y.n;
  const int16_t *values = area->line;
  ptrdiff_t begin = p->turned ? j : (ptrdiff_t) j * p->x.n, step = p->turned ? p->y.n : 1;

  vig_row_down (area->line, area->row, p->ring_row, &p->y, j);
  if (p->turned) {
    across (p, area, area->line, area->column);
    values = area->column;
  }
  for (int c = 0; c < 3; c++)
    for (int i = 0; i < p->x.n; i++)
      out[c * plane + begin + i * step] = p->normal[c][values[c % p->channels * p->narrow + i]];
}

/* Outputs begin .. end - 1 of the vertical filter, in the order of their source rows. */
static void
run_band (const VigPreprocess *p, const Area *area, const VigPlanes *planes, int begin, int end, float *out)
{
  bool backwards = p->y.first[p->y.n - 1] < p->y.first[0];
  int next = 0; /* source row */

  for (int n = 0; n < end - begin; n++) {
    int j = backwards ? end - 1 - n : begin + n;
    int first = p->y.first[j], count = p->y.count[j];
    for (next = next > first ? next : first; next < first + count; next++)
      fill_ring (p, planes, area, next);
    for (int k = 0; k < count; k++)
      area->row[k] = area->ring + (size_t) ((first + k) % p->span) * p->ring_row;
    finish_output (p, area, j, out);
  }
}

typedef struct {
  const VigPreprocess *p;
  const VigPlanes *frames;
  float *out;
  int bands; /* of a frame */
} Job;

static void
run_item (const void *data, int item, int thread)
{
  const Job *job = data;
  const VigPreprocess *p = job->p;
  int frame = item / job->bands, band = item % job->bands;

  run_band (p, &p->areas[thread], &job->frames[frame], vig_cpu_cut (p->y.n, job->bands, band),
      vig_cpu_cut (p->y.n, job->bands, band + 1), job->out + (size_t) frame * 3 * p->x.n * p->y.n);
}

static void
preprocess_run (void *ctx, VigPreprocess *p, const VigPlanes *frames, int n, float *out)
{
  const VigCpu *cpu = ctx;
  Job job = { p, frames, out, 1 };

  /* The filter's span is converted twice where two bands meet: few bands, and none of them short. */
  if (cpu->n_threads > 1)
    job.bands = p->y.n < 32 ? 1 : p->y.n / 16 < 2 * cpu->n_threads ? p->y.n / 16 : 2 * cpu->n_threads;
  vig_pool_run (cpu->pool, n * job.bands, run_item, &job);
}

/* ---- create, destroy ------------------------------------------------------------------------------------------ */

/* The next n samples of memory; without memory, only counts. */
static int16_t *
carve (int16_t *memory, size_t *used, size_t n)
{
  int16_t *piece = memory ? memory + *used : NULL;

  *used += (n + 31) / 32 * 32;
  return piece;
}

/* Returns the samples that an area needs. */
static size_t
lay_out_area (const VigPreprocess *p, Area *area, int16_t *memory)
{
  size_t used = 0;

  area->y = carve (memory, &used, p->wide);
  area->u = carve (memory, &used, p->wide);
  area->v = carve (memory, &used, p->wide);
  area->above = carve (memory, &used, p->wide);
  area->below = carve (memory, &used, p->wide);
  area->chroma = carve (memory, &used, p->wide);
  area->rgb = carve (memory, &used, (size_t) p->channels * p->wide);
  area->ring = carve (memory, &used, (size_t) p->span * p->ring_row);
  area->line = carve (memory, &used, p->ring_row);
  area->column = carve (memory, &used, (size_t) p->channels * p->narrow);
  area->bytes = (uint8_t *) carve (memory, &used, (size_t) p->channels * (p->wide + VIG_BYTES_BEYOND) / 2);
  return used;
}

static void
preprocess_destroy (void *ctx, VigPreprocess *p)
{
  if (p == NULL)
    return;
  split_clear (&p->x);
  split_clear (&p->y);
  vig_byte_taps_clear (&p->x_bytes);
  for (int i = 0; p->areas && i < p->n_areas; i++)
    free (p->areas[i].row);
  free (p->areas);
  vig_free_c (ctx, p->memory);
  free (p);
}

static bool
init_taps (VigPreprocess *p, const VigPreprocessDesc *d)
{
  int o = d->orientation, first = d->crop_width, end = 0;
  bool mirror_x = o == 2 || o == 3 || o == 7 || o == 8, mirror_y = o == 3 || o == 4 || o == 6 || o == 7;

  p->turned = o >= 5;
  if (!split_init (&p->x, d->crop_width, p->turned ? d->resize_height : d->resize_width,
          p->turned ? d->out_y : d->out_x, p->turned ? d->out_height : d->out_width, mirror_x)
      || !split_init (&p->y, d->crop_height, p->turned ? d->resize_width : d->resize_height,
          p->turned ? d->out_x : d->out_y, p->turned ? d->out_width : d->out_height, mirror_y))
    return false;
  for (int i = 0; i < p->x.n; i++) {
    first = p->x.first[i] < first ? p->x.first[i] : first;
    end = p->x.first[i] + p->x.count[i] > end ? p->x.first[i] + p->x.count[i] : end;
  }
  p->left = d->crop_x + first;
  if (d->sub_x)
    p->left &= ~1; /* rows begin where a chroma sample does */
  p->width = d->crop_x + end - p->left;
  for (int i = 0; i < p->x.n; i++)
    p->x.first[i] += d->crop_x - p->left;
  for (int i = 0; i < p->y.n; i++) {
    p->y.first[i] += d->crop_y;
    p->span = p->y.count[i] > p->span ? p->y.count[i] : p->span;
  }
  return true;
}

static void
init_values (VigPreprocess *p, const VigPreprocessDesc *d)
{
  if (d->kind != VIG_COLOR_RGB)
    vig_color_matrix_init (&p->matrix, d);
  for (int v = 0; v < 256; v++) {
    int gray = (p->matrix.y[0] * 16 * v + p->matrix.bias[0]) >> p->matrix.shift;
    p->gray[v] = (int16_t) (gray < 0 ? 0 : gray > 255 ? 255 : gray);
    for (int c = 0; c < 3; c++)
      p->normal[c][v] = vig_normalise (d, c, (uint8_t) v);
  }
}

static bool
init_areas (void *ctx, VigPreprocess *p, int n)
{
  Area none;
  size_t size;

  p->areas = calloc (n, sizeof *p->areas);
  if (p->areas == NULL)
    return false;
  p->n_areas = n;
  size = lay_out_area (p, &none, NULL);
  p->memory = vig_alloc_c (ctx, size * n * sizeof *p->memory);
  if (p->memory == NULL)
    return false;
  memset (p->memory, 0, size * n * sizeof *p->memory);
  for (int i = 0; i < n; i++) {
    lay_out_area (p, &p->areas[i], p->memory + i * size);
    p->areas[i].row = calloc (p->span, sizeof *p->areas[i].row);
    if (p->areas[i].row == NULL)
      return false;
  }
  return true;
}

static VigPreprocess *
preprocess_create (void *ctx, const VigPreprocessDesc *desc)
{
  const VigCpu *cpu = ctx;
  VigPreprocess *p = calloc (1, sizeof *p);

  if (p == NULL)
    return NULL;
  assert (desc->component[0].depth <= (desc->kind == VIG_COLOR_YUV ? 10 : 8));
  p->desc = *desc;
  p->channels = desc->kind == VIG_COLOR_GRAY ? 1 : 3;
  init_values (p, desc);
  if (!init_taps (p, desc))
    goto fail;
  if (cpu->bytes)
    vig_byte_taps_init (&p->x_bytes, &p->x); /* if not, there is the other way */
  p->wide = round_up (p->width + p->x.taps, 16) + 16;
  p->narrow = round_up (p->x.n, 16);
  p->ring_row = p->channels * (p->turned ? p->wide : p->narrow);
  if (!init_areas (ctx, p, cpu->n_threads))
    goto fail;
  return p;

fail:
  preprocess_destroy (ctx, p);
  return NULL;
}

void
vig_cpu_use_preprocess (VigKernels *k)
{
  k->preprocess_create = preprocess_create;
  k->preprocess_run = preprocess_run;
  k->preprocess_destroy = preprocess_destroy;
}
