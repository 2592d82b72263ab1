/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Preprocessing with the bits of kernels/ref/preprocess.c. Never run on a GPU.
 *
 * Of each picture only what the window is made of is copied: rows go one behind the other into pinned memory, which takes
 * turns with a second one, and from there in one copy to the device. The host's planes are free when run returns. Planes
 * that lie on the device are read where they are, once the stream has waited for their events. Two kernels follow, for up
 * to GROUP pictures at once, in coordinates of the upright picture:
 *
 *   across  a block makes WIDE outputs of TALL rows: the source pixels under their filters are converted to 8-bit RGB in
 *           shared memory, each once, at most CHUNK of a row at a time (sums of integers may be cut anywhere), then every
 *           thread sums its own taps. Taps lie tap by tap, so that a warp reads neighbours.
 *           -> narrow [pictures, rows, out_width], R G B in the bytes of a word
 *   down    a thread makes one pixel: a warp reads neighbours of one row of narrow, and all of it one row's taps; the
 *           8-bit results are looked up in a table of normalised floats.
 *           -> out [pictures, 3, out_height, out_width]
 *
 * A picture enters the kernels as pointers and strides, wherever in device memory they point.
 *
 * Counted for an H100, the middle of a 1280x720 NV12 picture to 224x224 (3.2 to 1, 13 taps): 0.8 MB to copy, 16 us at
 * 50 GB/s; across (630 blocks, 3.8 KB of shared memory) converts 0.53 M pixels 1.13 times at some 60 instructions and sums
 * 2.1 M taps, 2 us; down (196 blocks) sums 0.65 M taps, less than 1 us. Registers (sm_90): 48 at most.
 */
#include "cuda/cuda.h"
#include "cuda/device.cuh"

#include <stdlib.h>
#include <string.h>

extern "C" {
#include "ref/preprocess.h"
}

enum {
  WIDE = 32, TALL = 8,  /* threads of a block */
  CHUNK = 512,          /* pixels of a row in shared memory: 16 KB with TALL rows */
  GROUP = 16,           /* pictures of a launch at most */
  STAGING = 8 << 20     /* bytes of pictures in a group, unless one alone has more */
};

namespace vig_preprocess { /* no other file's Part is this one */

/* A component of the desc, the same in all pictures: sample (x, y) is at plane + offset + y * stride + x * step. */
struct Component {
  ptrdiff_t offset; /* an int makes ptxas spill on 9.0 */
  int step, shift, mask;
  bool two_bytes;
};

struct Picture {
  const uint8_t *plane[3]; /* of each component: where sample (0, 0) is, or would be if it had been copied */
  ptrdiff_t stride[3];
};

struct Pictures {
  Picture of[GROUP];
};

struct Across {
  VigPreprocessDesc desc;
  VigColorMatrix matrix;
  Component component[3];
  int n, y0, rows;         /* outputs of a row; the upright rows y0 .. y0 + rows - 1 */
  int chunk;
  const int *first, *count; /* [n] */
  const int32_t *weight;    /* [max, n] */
  uint32_t *narrow;
};

struct Down {
  int width, height, rows;
  const int *first, *count; /* [height]; first counts from y0 */
  const int32_t *weight;    /* [height, max] */
  int max;
  const float *normal;      /* [3, 256] */
  const uint32_t *narrow;   /* [pictures, rows, width] */
  float *out;               /* [pictures, 3, height, width] */
};

/* Where the part of a plane that is copied lies: bytes begin .. end - 1 of rows top .. bottom - 1 of the source, and its
 * place in staging. */
struct Part {
  ptrdiff_t begin, end;
  int top, bottom;
  size_t at, pitch;
};

}

using namespace vig_preprocess;

struct VigPreprocess {
  Across across;
  Down down;
  Part part[4];         /* empty where the desc has no such plane */
  int plane[3];         /* of each component */
  size_t picture_bytes; /* of all parts */
  int group;            /* pictures of a launch */
  int turn;
  VigCudaPinned staging[2]; /* [group, picture_bytes] */
  void *tables;         /* what across and down point to */
  uint8_t *pictures;    /* [group, picture_bytes] */
};

/* ---- kernels -------------------------------------------------------------------------------------------------- */

static __device__ __forceinline__ int
sample (const Across &a, const Picture &picture, int component, int x, int y)
{
  const Component &c = a.component[component];
  const uint8_t *at = picture.plane[component]
      + (c.offset + y * picture.stride[component] + (ptrdiff_t) x * c.step);
  int raw = c.two_bytes ? at[0] | at[1] << 8 : at[0];
  return raw >> c.shift & c.mask;
}

/* A chroma component in sixteenths, between columns x[0] and x[1] and rows y[0] and y[1]. */
static __device__ __forceinline__ int
chroma (const Across &a, const Picture &picture, int component, const int x[2], int fx, const int y[2], int fy)
{
  return (4 - fy) * ((4 - fx) * sample (a, picture, component, x[0], y[0]) + fx * sample (a, picture, component, x[1], y[0]))
      + fy * ((4 - fx) * sample (a, picture, component, x[0], y[1]) + fx * sample (a, picture, component, x[1], y[1]));
}

static __device__ __forceinline__ uint32_t
pack (const int rgb[3])
{
  return (uint32_t) rgb[0] | (uint32_t) rgb[1] << 8 | (uint32_t) rgb[2] << 16;
}

/* Pixel (x, y) of the picture. */
static __device__ __forceinline__ uint32_t
pixel (const Across &a, const Picture &picture, int x, int y)
{
  const VigPreprocessDesc &d = a.desc;
  const VigColorMatrix &m = a.matrix;
  int rgb[3], luma, cb = 0, cr = 0;

  if (d.kind == VIG_COLOR_RGB) {
#pragma unroll
    for (int c = 0; c < 3; c++)
      rgb[c] = sample (a, picture, c, x, y);
    return pack (rgb);
  }
  luma = 16 * sample (a, picture, 0, x, y);
  if (d.kind == VIG_COLOR_YUV) {
    int cx[2], cy[2];
    int fx = vig_chroma_around (x, d.sub_x, d.site_x, (d.width + d.sub_x) >> d.sub_x, &cx[0], &cx[1]);
    int fy = vig_chroma_around (y, d.sub_y, d.site_y, (d.height + d.sub_y) >> d.sub_y, &cy[0], &cy[1]);
    cb = chroma (a, picture, 1, cx, fx, cy, fy);
    cr = chroma (a, picture, 2, cx, fx, cy, fy);
  }
#pragma unroll
  for (int c = 0; c < 3; c++)
    rgb[c] = min (max ((m.y[c] * luma + m.u[c] * cb + m.v[c] * cr + m.bias[c]) >> m.shift, 0), 255);
  return pack (rgb);
}

/* Pixels x .. x + n - 1 of `rows` upright rows from row y on; neighbouring threads take neighbours of a source row. */
static __device__ __forceinline__ void
load_tile (const Across &a, const Picture &picture, int x, int n, int y, int rows, uint32_t *tile, int pitch)
{
  bool turned = a.desc.orientation >= 5;
  for (int t = (int) (threadIdx.y * WIDE + threadIdx.x); t < n * rows; t += WIDE * TALL) {
    int column = turned ? t / rows : t % n, row = turned ? t % rows : t / n, sx, sy;
    vig_upright_source (&a.desc, x + column, y + row, &sx, &sy);
    tile[row * pitch + column] = pixel (a, picture, sx, sy);
  }
}

static __device__ __forceinline__ void
add_tap (int32_t sum[3], int32_t weight, uint32_t rgb)
{
#pragma unroll
  for (int c = 0; c < 3; c++)
    sum[c] += weight * (int32_t) (rgb >> 8 * c & 255);
}

static __global__ void __launch_bounds__ (WIDE * TALL)
across (Across a, Pictures pictures)
{
  uint32_t *tile = vig_shared<uint32_t> (); /* [TALL, pitch] */
  const Picture &picture = pictures.of[blockIdx.z];
  int pitch = a.chunk | 1, tiles = (a.n + WIDE - 1) / WIDE;
  int i0 = (int) blockIdx.x % tiles * WIDE, row0 = (int) blockIdx.x / tiles * TALL;
  int last = min (i0 + WIDE, a.n) - 1, rows = min (TALL, a.rows - row0);
  int i = i0 + (int) threadIdx.x, row = (int) threadIdx.y;
  bool mine = i <= last && row < rows;
  int first = mine ? a.first[i] : 0, count = mine ? a.count[i] : 0;
  int end = a.first[last] + a.count[last];
  int32_t sum[3] = { 0, 0, 0 };

  for (int x = a.first[i0]; x < end; x += a.chunk) {
    int n = min (a.chunk, end - x), until = min (first + count, x + n);
    load_tile (a, picture, x, n, a.y0 + row0, rows, tile, pitch);
    __syncthreads ();
    for (int at = max (first, x); at < until; at++)
      add_tap (sum, __ldg (&a.weight[(size_t) (at - first) * a.n + i]), tile[row * pitch + at - x]);
    __syncthreads ();
  }
  if (mine) {
    int rgb[3] = { vig_tap_round (sum[0]), vig_tap_round (sum[1]), vig_tap_round (sum[2]) };
    a.narrow[((size_t) blockIdx.z * a.rows + row0 + row) * a.n + i] = pack (rgb);
  }
}

static __global__ void __launch_bounds__ (WIDE * TALL)
down (Down d)
{
  int tiles = (d.width + WIDE - 1) / WIDE;
  int x = (int) blockIdx.x % tiles * WIDE + (int) threadIdx.x, y = (int) blockIdx.x / tiles * TALL + (int) threadIdx.y;
  size_t plane = (size_t) d.width * d.height;
  int32_t sum[3] = { 0, 0, 0 };

  if (x >= d.width || y >= d.height)
    return;
  const uint32_t *from = d.narrow + ((size_t) blockIdx.z * d.rows + d.first[y]) * d.width + x;
  for (int k = 0; k < d.count[y]; k++)
    add_tap (sum, d.weight[(size_t) y * d.max + k], from[(size_t) k * d.width]);
  float *to = d.out + blockIdx.z * 3 * plane + (size_t) y * d.width + x;
#pragma unroll
  for (int c = 0; c < 3; c++)
    to[c * plane] = d.normal[c * 256 + vig_tap_round (sum[c])];
}

/* ---- which part of a picture is needed -------------------------------------------------------------------------- */

/* Widens the component's plane's part by columns left .. right and rows top .. bottom of its samples. */
static void
add_part (VigPreprocess *p, const VigComponent *c, int left, int right, int top, int bottom)
{
  Part *part = &p->part[c->plane];
  ptrdiff_t begin = c->offset + (ptrdiff_t) left * c->step;
  ptrdiff_t end = c->offset + (ptrdiff_t) right * c->step + (c->depth > 8 ? 2 : 1);

  if (part->end == 0)
    *part = { begin, end, top, bottom + 1, 0, 0 };
  part->begin = begin < part->begin ? begin : part->begin;
  part->end = end > part->end ? end : part->end;
  part->top = top < part->top ? top : part->top;
  part->bottom = bottom + 1 > part->bottom ? bottom + 1 : part->bottom;
}

/* The samples around luma columns left .. right and rows top .. bottom. */
static void
find_parts (VigPreprocess *p, int left, int right, int top, int bottom)
{
  const VigPreprocessDesc *d = &p->across.desc;
  int width = (d->width + d->sub_x) >> d->sub_x, height = (d->height + d->sub_y) >> d->sub_y, ignored;

  add_part (p, &d->component[0], left, right, top, bottom);
  if (d->kind == VIG_COLOR_GRAY)
    return;
  if (d->kind == VIG_COLOR_YUV) {
    vig_chroma_around (left, d->sub_x, d->site_x, width, &left, &ignored);
    vig_chroma_around (right, d->sub_x, d->site_x, width, &ignored, &right);
    vig_chroma_around (top, d->sub_y, d->site_y, height, &top, &ignored);
    vig_chroma_around (bottom, d->sub_y, d->site_y, height, &ignored, &bottom);
  }
  add_part (p, &d->component[1], left, right, top, bottom);
  add_part (p, &d->component[2], left, right, top, bottom);
}

static void
place_parts (VigPreprocess *p)
{
  const VigPreprocessDesc *d = &p->across.desc;

  for (Part &part : p->part) {
    part.pitch = (size_t) (part.end - part.begin + 15) / 16 * 16;
    part.at = p->picture_bytes;
    p->picture_bytes += part.pitch * (part.bottom - part.top);
  }
  for (int i = 0; i < (d->kind == VIG_COLOR_GRAY ? 1 : 3); i++) {
    const VigComponent *c = &d->component[i];
    p->plane[i] = c->plane;
    p->across.component[i] = { c->offset, c->step, c->shift, (1 << c->depth) - 1, c->depth > 8 };
  }
}

/* ---- run ------------------------------------------------------------------------------------------------------ */

static void
pack_picture (const VigPreprocess *p, const VigPlanes *planes, uint8_t *to)
{
  for (int i = 0; i < 4; i++) {
    const Part *part = &p->part[i];
    for (int y = part->top; y < part->bottom; y++)
      memcpy (to + part->at + (y - part->top) * part->pitch, planes->plane[i] + y * planes->stride[i] + part->begin,
          (size_t) (part->end - part->begin));
  }
}

/* n pictures to the device. */
static bool
send (VigCuda *cuda, VigPreprocess *p, const VigPlanes *frames, int n, Pictures *pictures)
{
  VigCudaPinned *staging = &p->staging[p->turn];

  p->turn ^= 1;
  if (!vig_cuda_pinned_take (cuda, staging))
    return false;
  for (int f = 0; f < n; f++) {
    pack_picture (p, &frames[f], (uint8_t *) staging->memory + f * p->picture_bytes);
    for (int c = 0; c < 3; c++) {
      const Part *part = &p->part[p->plane[c]];
      ptrdiff_t pitch = (ptrdiff_t) part->pitch;
      pictures->of[f].plane[c] = p->pictures + ((ptrdiff_t) (f * p->picture_bytes + part->at) - part->begin - part->top * pitch);
      pictures->of[f].stride[c] = pitch;
    }
  }
  return vig_cuda_pinned_send (cuda, staging, p->pictures, n * p->picture_bytes);
}

/* n pictures that are there. */
static bool
point (VigCuda *cuda, VigPreprocess *p, const VigPlanes *frames, int n, Pictures *pictures)
{
  for (int f = 0; f < n; f++) {
    const VigPlanes *planes = &frames[f];
    if (planes->ready && !vig_cuda_ok (cuda, cudaStreamWaitEvent (cuda->stream, (cudaEvent_t) planes->ready, 0),
            "waiting for a picture"))
      return false;
    for (int c = 0; c < 3; c++) {
      pictures->of[f].plane[c] = planes->plane[p->plane[c]];
      pictures->of[f].stride[c] = planes->stride[p->plane[c]];
    }
  }
  return true;
}

static int
tiles (int width, int height)
{
  return (width + WIDE - 1) / WIDE * ((height + TALL - 1) / TALL);
}

static void
launch (VigCuda *cuda, VigPreprocess *p, const Pictures *pictures, int n, float *out)
{
  const Across *a = &p->across;
  const dim3 block (WIDE, TALL);
  Down d = p->down;

  d.out = out;
  vig_cuda_ok (cuda, VIG_LAUNCH (across, dim3 (tiles (a->n, a->rows), 1, n), block,
          TALL * (a->chunk | 1) * sizeof (uint32_t), cuda->stream, *a, *pictures), "launching preprocess across");
  vig_cuda_ok (cuda, VIG_LAUNCH (down, dim3 (tiles (d.width, d.height), 1, n), block, 0, cuda->stream, d),
      "launching preprocess down");
}

static void
preprocess_run (void *ctx, VigPreprocess *p, const VigPlanes *frames, int n, float *out)
{
  VigCuda *cuda = (VigCuda *) ctx;
  size_t result = (size_t) 3 * p->down.width * p->down.height;
  Pictures pictures;

  memset (&pictures, 0, sizeof pictures);
  if (!vig_cuda_enter (cuda))
    return;
  for (int f = 0, few; f < n; f += few) {
    few = n - f < p->group ? n - f : p->group;
    if (!(p->across.desc.on_device ? point : send) (cuda, p, frames + f, few, &pictures))
      return;
    launch (cuda, p, &pictures, few, out + f * result);
  }
}

/* ---- create, destroy ------------------------------------------------------------------------------------------ */

/* Pixels of the longest row that a block of `across` needs. */
static int
longest (const VigTaps *h)
{
  int most = 0;
  for (int i = 0; i < h->n; i += WIDE) {
    int last = i + WIDE < h->n ? i + WIDE - 1 : h->n - 1, n = h->first[last] + h->count[last] - h->first[i];
    most = n > most ? n : most;
  }
  return most;
}

/* One block on the device: first and count of either axis, weights [max, n] across and [n, max] down, normal. */
static bool
upload_tables (VigCuda *cuda, VigPreprocess *p, const VigTaps *h, const VigTaps *v)
{
  size_t wide = h->n, tall = v->n, size = 2 * (wide + tall) + wide * h->max + tall * v->max + 3 * 256;
  int32_t *host = (int32_t *) malloc (size * sizeof *host), *to = host;
  const int32_t *device = (const int32_t *) (p->tables = vig_cuda_alloc (cuda, size * sizeof *host));

  if (!host)
    vig_cuda_fail (cuda, "preprocess: no memory for the tables");
  if (!host || !device) {
    free (host);
    return false;
  }
#define TABLE(n) (to += (n), device + (to - (n) - host)) /* the next n numbers: where they will be */
  p->across.first = TABLE (wide);
  memcpy (to - wide, h->first, wide * sizeof *to);
  p->across.count = TABLE (wide);
  memcpy (to - wide, h->count, wide * sizeof *to);
  p->across.weight = TABLE (wide * h->max);
  for (size_t i = 0; i < wide; i++)
    for (int k = 0; k < h->max; k++)
      (to - wide * h->max)[k * wide + i] = h->weight[i * h->max + k];
  p->down.first = TABLE (tall);
  for (size_t i = 0; i < tall; i++)
    (to - tall)[i] = v->first[i] - p->across.y0;
  p->down.count = TABLE (tall);
  memcpy (to - tall, v->count, tall * sizeof *to);
  p->down.weight = TABLE (tall * v->max);
  memcpy (to - tall * v->max, v->weight, tall * v->max * sizeof *to);
  p->down.normal = (const float *) TABLE (3 * 256);
#undef TABLE
  for (int i = 0; i < 3 * 256; i++) {
    float normal = vig_normalise (&p->across.desc, i / 256, (uint8_t) i);
    memcpy (to - 3 * 256 + i, &normal, sizeof normal);
  }
  vig_cuda_upload (cuda, p->tables, host, size * sizeof *host);
  free (host);
  return true;
}

static void
init (VigPreprocess *p, const VigPreprocessDesc *desc, const VigTaps *h, const VigTaps *v)
{
  int x0 = h->first[0], x1 = h->first[h->n - 1] + h->count[h->n - 1] - 1;
  int y0 = v->first[0], y1 = v->first[v->n - 1] + v->count[v->n - 1] - 1;
  int ax, ay, bx, by, chunk = longest (h);

  p->across.desc = *desc;
  if (desc->kind != VIG_COLOR_RGB)
    vig_color_matrix_init (&p->across.matrix, desc);
  p->across.n = p->down.width = h->n;
  p->across.y0 = y0;
  p->across.rows = p->down.rows = y1 - y0 + 1;
  p->across.chunk = chunk < CHUNK ? chunk : CHUNK;
  p->down.height = v->n;
  p->down.max = v->max;
  vig_upright_source (desc, x0, y0, &ax, &ay); /* two opposite corners of the source */
  vig_upright_source (desc, x1, y1, &bx, &by);
  find_parts (p, ax < bx ? ax : bx, ax > bx ? ax : bx, ay < by ? ay : by, ay > by ? ay : by);
  place_parts (p);
  p->group = 1;
  while (p->group < GROUP && (p->group + 1) * p->picture_bytes <= STAGING)
    p->group++;
}

static bool
allocate (VigCuda *cuda, VigPreprocess *p)
{
  size_t size = p->group * p->picture_bytes;
  size_t narrow = sizeof (uint32_t) * p->group * p->across.rows * p->across.n;

  p->across.narrow = (uint32_t *) vig_cuda_alloc (cuda, narrow);
  p->down.narrow = p->across.narrow;
  if (!p->across.narrow || p->across.desc.on_device)
    return p->across.narrow != NULL;
  p->pictures = (uint8_t *) vig_cuda_alloc (cuda, size);
  if (!p->pictures)
    return false;
  for (VigCudaPinned &staging : p->staging)
    if (!vig_cuda_pinned_init (cuda, &staging, size))
      return false;
  return true;
}

static void
preprocess_destroy (void *ctx, VigPreprocess *p)
{
  VigCuda *cuda = (VigCuda *) ctx;

  if (p == NULL)
    return;
  vig_cuda_wait (cuda);
  for (VigCudaPinned &staging : p->staging)
    vig_cuda_pinned_clear (&staging);
  vig_cuda_free (cuda, p->pictures);
  vig_cuda_free (cuda, p->across.narrow);
  vig_cuda_free (cuda, p->tables);
  free (p);
}

static VigPreprocess *
preprocess_create (void *ctx, const VigPreprocessDesc *desc)
{
  VigCuda *cuda = (VigCuda *) ctx;
  VigPreprocess *p = (VigPreprocess *) calloc (1, sizeof *p);
  VigTaps h = {}, v = {};
  bool done = p && vig_cuda_enter (cuda)
      && vig_taps_init (&h, vig_upright_width (desc), desc->resize_width, desc->out_x, desc->out_width)
      && vig_taps_init (&v, vig_upright_height (desc), desc->resize_height, desc->out_y, desc->out_height);

  if (done) {
    init (p, desc, &h, &v);
    done = upload_tables (cuda, p, &h, &v) && allocate (cuda, p);
  }
  vig_taps_clear (&h);
  vig_taps_clear (&v);
  if (done)
    return p;
  preprocess_destroy (ctx, p);
  return NULL;
}

void
vig_cuda_use_preprocess (VigKernels *k)
{
  k->preprocess_create = preprocess_create;
  k->preprocess_run = preprocess_run;
  k->preprocess_destroy = preprocess_destroy;
}
