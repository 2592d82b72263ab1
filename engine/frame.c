/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pictures in memory: the formats, and the way from a VigFrame to what the preprocess kernels take. */
#include "frame-private.h"

#include <math.h>
#include <string.h>

typedef struct {
  const char *name;
  VigColorKind kind;
  guint n_planes;
  int sub_x, sub_y;
  VigComponent component[3]; /* plane, offset, step, shift, depth: R G B, Y U V or gray */
} Format;

#define RGB24(r, g, b) { { 0, r, 3, 0, 8 }, { 0, g, 3, 0, 8 }, { 0, b, 3, 0, 8 } }
#define RGB32(r, g, b) { { 0, r, 4, 0, 8 }, { 0, g, 4, 0, 8 }, { 0, b, 4, 0, 8 } }
#define PLANAR(u, v)   { { 0, 0, 1, 0, 8 }, { u, 0, 1, 0, 8 }, { v, 0, 1, 0, 8 } }

static const Format formats[VIG_FORMAT_COUNT] = {
  [VIG_FORMAT_NV12] = { "NV12", VIG_COLOR_YUV, 2, 1, 1, { { 0, 0, 1, 0, 8 }, { 1, 0, 2, 0, 8 }, { 1, 1, 2, 0, 8 } } },
  [VIG_FORMAT_NV21] = { "NV21", VIG_COLOR_YUV, 2, 1, 1, { { 0, 0, 1, 0, 8 }, { 1, 1, 2, 0, 8 }, { 1, 0, 2, 0, 8 } } },
  [VIG_FORMAT_I420] = { "I420", VIG_COLOR_YUV, 3, 1, 1, PLANAR (1, 2) },
  [VIG_FORMAT_YV12] = { "YV12", VIG_COLOR_YUV, 3, 1, 1, PLANAR (2, 1) },
  [VIG_FORMAT_Y42B] = { "Y42B", VIG_COLOR_YUV, 3, 1, 0, PLANAR (1, 2) },
  [VIG_FORMAT_Y444] = { "Y444", VIG_COLOR_YUV, 3, 0, 0, PLANAR (1, 2) },
  [VIG_FORMAT_YUY2] = { "YUY2", VIG_COLOR_YUV, 1, 1, 0, { { 0, 0, 2, 0, 8 }, { 0, 1, 4, 0, 8 }, { 0, 3, 4, 0, 8 } } },
  [VIG_FORMAT_UYVY] = { "UYVY", VIG_COLOR_YUV, 1, 1, 0, { { 0, 1, 2, 0, 8 }, { 0, 0, 4, 0, 8 }, { 0, 2, 4, 0, 8 } } },
  [VIG_FORMAT_P010_10LE] = { "P010_10LE", VIG_COLOR_YUV, 2, 1, 1,
    { { 0, 0, 2, 6, 10 }, { 1, 0, 4, 6, 10 }, { 1, 2, 4, 6, 10 } } },
  [VIG_FORMAT_I420_10LE] = { "I420_10LE", VIG_COLOR_YUV, 3, 1, 1,
    { { 0, 0, 2, 0, 10 }, { 1, 0, 2, 0, 10 }, { 2, 0, 2, 0, 10 } } },
  [VIG_FORMAT_RGB] = { "RGB", VIG_COLOR_RGB, 1, 0, 0, RGB24 (0, 1, 2) },
  [VIG_FORMAT_BGR] = { "BGR", VIG_COLOR_RGB, 1, 0, 0, RGB24 (2, 1, 0) },
  [VIG_FORMAT_RGBA] = { "RGBA", VIG_COLOR_RGB, 1, 0, 0, RGB32 (0, 1, 2) },
  [VIG_FORMAT_BGRA] = { "BGRA", VIG_COLOR_RGB, 1, 0, 0, RGB32 (2, 1, 0) },
  [VIG_FORMAT_ARGB] = { "ARGB", VIG_COLOR_RGB, 1, 0, 0, RGB32 (1, 2, 3) },
  [VIG_FORMAT_ABGR] = { "ABGR", VIG_COLOR_RGB, 1, 0, 0, RGB32 (3, 2, 1) },
  [VIG_FORMAT_RGBx] = { "RGBx", VIG_COLOR_RGB, 1, 0, 0, RGB32 (0, 1, 2) },
  [VIG_FORMAT_BGRx] = { "BGRx", VIG_COLOR_RGB, 1, 0, 0, RGB32 (2, 1, 0) },
  [VIG_FORMAT_xRGB] = { "xRGB", VIG_COLOR_RGB, 1, 0, 0, RGB32 (1, 2, 3) },
  [VIG_FORMAT_xBGR] = { "xBGR", VIG_COLOR_RGB, 1, 0, 0, RGB32 (3, 2, 1) },
  [VIG_FORMAT_GRAY8] = { "GRAY8", VIG_COLOR_GRAY, 1, 0, 0, { { 0, 0, 1, 0, 8 } } },
};

static const Format *
find_format (VigFormat format)
{
  return (guint) format < VIG_FORMAT_COUNT ? &formats[format] : NULL;
}

const char *
vig_format_to_string (VigFormat format)
{
  const Format *f = find_format (format);
  return f ? f->name : "unknown";
}

guint
vig_format_get_n_planes (VigFormat format)
{
  const Format *f = find_format (format);
  return f ? f->n_planes : 0;
}

gsize
vig_format_get_row_bytes (VigFormat format, guint plane, int width)
{
  const Format *f = find_format (format);
  gsize bytes = 0;

  for (guint i = 0; f && i < 3; i++) {
    const VigComponent *c = &f->component[i];
    gsize samples = i == 0 ? width : (width + f->sub_x) >> f->sub_x;
    if (c->depth && c->plane == plane)
      bytes = MAX (bytes, samples * c->step);
  }
  return bytes;
}

int
vig_format_get_rows (VigFormat format, guint plane, int height)
{
  const Format *f = find_format (format);

  if (f == NULL || plane >= f->n_planes)
    return 0;
  return plane == f->component[0].plane ? height : (height + f->sub_y) >> f->sub_y;
}

/* ---- checks --------------------------------------------------------------------------------------------------- */

#define FAIL(...) (g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, __VA_ARGS__), FALSE)

static gboolean
check_planes (const VigFrame *frame, GError **error)
{
  for (guint i = 0; i < vig_format_get_n_planes (frame->format); i++) {
    gsize bytes = vig_format_get_row_bytes (frame->format, i, frame->width);
    gssize stride = frame->stride[i];
    gsize distance = stride < 0 ? -(gsize) stride : (gsize) stride;

    if (frame->data[i] == NULL)
      return FAIL ("data[%u] is NULL: %s has %u planes", i, vig_format_to_string (frame->format),
          vig_format_get_n_planes (frame->format));
    if (distance < bytes && vig_format_get_rows (frame->format, i, frame->height) > 1)
      return FAIL ("stride[%u] is %" G_GSSIZE_FORMAT " bytes: a row of %s %d pixels wide needs %" G_GSIZE_FORMAT, i,
          stride, vig_format_to_string (frame->format), frame->width, bytes);
  }
  return TRUE;
}

static gboolean
check_colour (const VigFrame *frame, GError **error)
{
  if ((guint) frame->matrix > VIG_MATRIX_BT2020)
    return FAIL ("matrix is %d: it must be a VigMatrix, 0 to %d", (int) frame->matrix, VIG_MATRIX_BT2020);
  if ((guint) frame->chroma > VIG_CHROMA_COSITED)
    return FAIL ("chroma is %d: it must be a VigChroma, 0 to %d", (int) frame->chroma, VIG_CHROMA_COSITED);
  return TRUE;
}

static gboolean
check_par (const VigFrame *frame, GError **error)
{
  gint64 n = frame->par_n, d = frame->par_d;

  if (n == 0 && d == 0)
    return TRUE;
  if (n <= 0 || d <= 0 || n > d * VIG_FRAME_MAX_PAR || d > n * VIG_FRAME_MAX_PAR)
    return FAIL ("pixel aspect ratio is %d/%d: it must lie between 1/%d and %d/1", frame->par_n, frame->par_d,
        VIG_FRAME_MAX_PAR, VIG_FRAME_MAX_PAR);
  return TRUE;
}

static gboolean
check_memory (const VigFrame *frame, GError **error)
{
  if ((guint) frame->memory > VIG_MEMORY_CUDA)
    return FAIL ("memory is %d: it must be a VigMemory, 0 to %d", (int) frame->memory, VIG_MEMORY_CUDA);
  return TRUE;
}

static gboolean
check_frame (const VigFrame *frame, GError **error)
{
  int w = frame->width, h = frame->height;

  if (find_format (frame->format) == NULL)
    return FAIL ("format is %d: it must be a VigFormat, 0 to %d", (int) frame->format, VIG_FORMAT_COUNT - 1);
  if (w < 1 || w > VIG_FRAME_MAX_SIDE || h < 1 || h > VIG_FRAME_MAX_SIDE)
    return FAIL ("size is %dx%d: both sides must be 1 to %d pixels", w, h, VIG_FRAME_MAX_SIDE);
  if (frame->crop_width != 0
      && (frame->crop_width < 0 || frame->crop_height < 1 || frame->crop_x < 0 || frame->crop_y < 0
          || frame->crop_width > w - frame->crop_x || frame->crop_height > h - frame->crop_y))
    return FAIL ("crop is %dx%d at (%d, %d): it must lie inside the picture of %dx%d", frame->crop_width,
        frame->crop_height, frame->crop_x, frame->crop_y, w, h);
  if (frame->orientation > 8)
    return FAIL ("orientation is %u: it must be 1 to 8 as in EXIF, or 0 for 1", frame->orientation);
  return check_par (frame, error) && check_colour (frame, error) && check_memory (frame, error)
      && check_planes (frame, error);
}

static gboolean
check_config (const VigPreprocessConfig *config, guint size, GError **error)
{
  if (size < 1 || size > VIG_FRAME_MAX_INPUT)
    return FAIL ("input size is %u: it must be 1 to %d pixels", size, VIG_FRAME_MAX_INPUT);
  if (!config->stretch && !(config->resize_ratio >= 1 && config->resize_ratio <= VIG_FRAME_MAX_INPUT))
    return FAIL ("resize_ratio is %g: it must be 1 to %d", config->resize_ratio, VIG_FRAME_MAX_INPUT);
  for (int i = 0; i < 3; i++)
    if (!isfinite (config->mean[i]) || !isfinite (config->std[i]) || config->std[i] <= 0)
      return FAIL ("mean and std of channel %d are %g and %g: they must be finite, std positive", i, config->mean[i],
          config->std[i]);
  return TRUE;
}

/* ---- description ---------------------------------------------------------------------------------------------- */

static void
describe_colour (const VigFrame *frame, VigPreprocessDesc *desc)
{
  static const struct { float kr, kb; } weights[] = {
    [VIG_MATRIX_BT601] = { 0.299f, 0.114f },
    [VIG_MATRIX_BT709] = { 0.2126f, 0.0722f },
    [VIG_MATRIX_BT2020] = { 0.2627f, 0.0593f },
  };
  const Format *f = find_format (frame->format);

  desc->kind = f->kind;
  memcpy (desc->component, f->component, sizeof desc->component);
  if (f->kind != VIG_COLOR_RGB)
    desc->full_range = frame->full_range != FALSE;
  if (f->kind != VIG_COLOR_YUV)
    return;
  desc->sub_x = f->sub_x;
  desc->sub_y = f->sub_y;
  desc->site_x = f->sub_x && frame->chroma == VIG_CHROMA_CENTRE;
  desc->site_y = f->sub_y && frame->chroma != VIG_CHROMA_COSITED;
  desc->kr = weights[frame->matrix].kr;
  desc->kb = weights[frame->matrix].kb;
}

/* Half of n, a half to even: where torchvision's CenterCrop puts its window. */
static int
centre (int n)
{
  return n / 2 + (n % 4 == 3);
}

static gboolean
describe_geometry (const VigFrame *frame, const VigPreprocessConfig *config, int size, VigPreprocessDesc *desc,
    GError **error)
{
  gboolean cropped = frame->crop_width != 0, par = frame->par_n != 0;
  double w, h, longer, edge = floor (config->resize_ratio * size);

  desc->width = frame->width;
  desc->height = frame->height;
  desc->crop_x = cropped ? frame->crop_x : 0;
  desc->crop_y = cropped ? frame->crop_y : 0;
  desc->crop_width = cropped ? frame->crop_width : frame->width;
  desc->crop_height = cropped ? frame->crop_height : frame->height;
  desc->orientation = frame->orientation ? (int) frame->orientation : 1;
  desc->resize_width = desc->resize_height = desc->out_width = desc->out_height = size;
  if (config->stretch)
    return TRUE;

  /* display shape: only the ratio of w and h counts */
  w = (double) desc->crop_width * (par ? frame->par_n : 1);
  h = (double) desc->crop_height * (par ? frame->par_d : 1);
  if (desc->orientation >= 5) {
    double t = w;
    w = h;
    h = t;
  }
  longer = floor (edge * MAX (w, h) / MIN (w, h));
  if (longer > VIG_FRAME_MAX_RESIZED)
    return FAIL ("size %dx%d is too long and thin: resized for an input of %d its longer side would be %.0f pixels, at "
        "most %d are possible", desc->crop_width, desc->crop_height, size, longer, VIG_FRAME_MAX_RESIZED);
  desc->resize_width = (int) (w <= h ? edge : longer);
  desc->resize_height = (int) (w <= h ? longer : edge);
  desc->out_x = centre (desc->resize_width - size);
  desc->out_y = centre (desc->resize_height - size);
  return TRUE;
}

gboolean
vig_frame_describe (const VigFrame *frame, const VigPreprocessConfig *config, guint size, VigPreprocessDesc *desc,
    VigPlanes *planes, GError **error)
{
  memset (desc, 0, sizeof *desc);
  size = size ? size : config->size;
  if (!check_frame (frame, error) || !check_config (config, size, error)
      || !describe_geometry (frame, config, (int) size, desc, error))
    return FALSE;
  describe_colour (frame, desc);
  desc->on_device = frame->memory == VIG_MEMORY_CUDA;
  memcpy (desc->mean, config->mean, sizeof desc->mean);
  memcpy (desc->std, config->std, sizeof desc->std);
  for (guint i = 0; i < 4; i++) {
    gboolean used = i < vig_format_get_n_planes (frame->format);
    planes->plane[i] = used ? frame->data[i] : NULL;
    planes->stride[i] = used ? frame->stride[i] : 0;
  }
  planes->ready = desc->on_device ? frame->ready : NULL;
  return TRUE;
}
