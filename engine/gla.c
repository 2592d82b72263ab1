/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gated linear attention as a function of the library: everything is checked here, once, before a kernel sees it. */
#include "gla-private.h"

#include <math.h>

#include "backend.h"

struct VigGla {
  VigKernels *kernels;
  const char *device;
};

struct VigGlaPlan {
  VigGla *gla;
  VigGlaForm form;
  VigGlaRun run;      /* but for the tensors */
  gsize workspace;
};

enum {
  ALIGNMENT = 64,     /* of the workspace */
  MIN_PIECE = 64,     /* tokens; a backend cuts none smaller, … */
  MAX_PARTS = 16      /* …and no head into more parts */
};

/* ---- names ---- */

static const char *const forms[] = { "auto", "tokens", "chunks", "split" };

G_STATIC_ASSERT ((int) VIG_GLA_FORM_AUTO == (int) VIG_SCAN_AUTO && (int) VIG_GLA_FORM_TOKENS == (int) VIG_SCAN_TOKENS
    && (int) VIG_GLA_FORM_CHUNKS == (int) VIG_SCAN_CHUNKS && (int) VIG_GLA_FORM_SPLIT == (int) VIG_SCAN_SPLIT);

const char *
vig_gla_form_to_string (VigGlaForm form)
{
  return (guint) form < G_N_ELEMENTS (forms) ? forms[form] : NULL;
}

gboolean
vig_gla_form_from_string (const char *string, VigGlaForm *form)
{
  for (guint i = 0; i < G_N_ELEMENTS (forms); i++)
    if (g_strcmp0 (string, forms[i]) == 0) {
      *form = (VigGlaForm) i;
      return TRUE;
    }
  return FALSE;
}

/* ---- the device ---- */

VigGla *
vig_gla_new (const char *device, guint n_threads, GError **error)
{
  VigPrecision precision = VIG_PRECISION_FP32;
  g_autofree VigGla *gla = g_new0 (VigGla, 1);

  if (!device)
    device = "cpu";
  if (vig_backend_is_auto (device)) { /* whoever gives pointers knows whose memory they are */
    g_set_error (error, VIG_ERROR, VIG_ERROR_DEVICE, "device: expected cpu, cuda or cuda:N, found \"%s\"", device);
    return NULL;
  }
  if (!(gla->kernels = vig_backend_open (device, n_threads, &gla->device, &precision, error)))
    return NULL;
  return g_steal_pointer (&gla);
}

void
vig_gla_free (VigGla *gla)
{
  if (!gla)
    return;
  gla->kernels->close (gla->kernels);
  g_free (gla);
}

const char *
vig_gla_get_device (const VigGla *gla)
{
  return gla->device;
}

const char *
vig_gla_get_kernels (const VigGla *gla)
{
  return gla->kernels->name;
}

VigKernels *
vig_gla_kernels (VigGla *gla)
{
  return gla->kernels;
}

/* ---- shapes ---- */

static gboolean G_GNUC_PRINTF (2, 3)
refuse (GError **error, const char *format, ...)
{
  va_list args;
  va_start (args, format);
  g_autofree char *message = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error_literal (error, VIG_ERROR, VIG_ERROR_ARGUMENT, message);
  return FALSE;
}

static gboolean
check_size (const char *name, guint size, guint most, GError **error)
{
  return (size >= 1 && size <= most) || refuse (error, "%s: expected 1 to %u, found %u", name, most, size);
}

/* A precision, of which AUTO is FP32, as a type. */
static gboolean
check_precision (const char *name, VigPrecision precision, VigType *type, GError **error)
{
  if ((guint) precision > VIG_PRECISION_FP16)
    return refuse (error, "%s: expected fp32, bf16 or fp16, found the value %d", name, (int) precision);
  *type = vig_backend_type (precision == VIG_PRECISION_AUTO ? VIG_PRECISION_FP32 : precision);
  return TRUE;
}

/* An axis of a tensor, for looking for overlaps. */
typedef struct {
  guint64 stride, count;
} Axis;

static int
by_stride (gconstpointer a, gconstpointer b)
{
  const Axis *x = a, *y = b;
  return x->stride < y->stride ? -1 : x->stride > y->stride;
}

/* Whether the elements that the axes lead to, of which there are @width side by side, fit memory. @apart: (out): whether
 * no two of them are one. */
static gboolean
axes_fit (Axis axes[3], guint width, gboolean *apart)
{
  guint64 span = width, more;

  *apart = TRUE;
  qsort (axes, 3, sizeof *axes, by_stride);
  for (guint i = 0; i < 3; i++) {
    if (axes[i].count == 1)
      continue;
    *apart &= axes[i].stride >= span;
    if (!g_uint64_checked_mul (&more, axes[i].stride, axes[i].count - 1) || !g_uint64_checked_add (&span, span, more))
      return FALSE;
  }
  return span <= G_MAXSSIZE / sizeof (float);
}

/* The strides of a tensor with heads of @width channels. */
static gboolean
check_strides (const char *name, const VigGlaShape *s, VigGlaStrides given, guint width, gboolean result, VigStrides *strides,
    GError **error)
{
  Axis axes[3] = { { (guint64) given.sequence, s->ragged ? 1 : s->batch }, { (guint64) given.token, s->tokens },
    { (guint64) given.head, s->heads } };
  gboolean dense = !given.sequence && !given.token && !given.head, apart;
  guint64 inner = (guint64) (s->heads_first ? s->tokens : s->heads) * width;

  if (given.sequence < 0 || given.token < 0 || given.head < 0)
    return refuse (error, "%s: expected strides of at least 0, found %" G_GINT64_FORMAT ", %" G_GINT64_FORMAT ", %"
        G_GINT64_FORMAT " (sequence, token, head)", name, given.sequence, given.token, given.head);
  if (dense) {
    axes[0].stride = inner * (s->heads_first ? s->heads : s->tokens); /* no more than 2^31 * 2^31 / 16 * 2^8 */
    axes[1].stride = s->heads_first ? width : inner;
    axes[2].stride = s->heads_first ? inner : width;
  }
  *strides = (VigStrides) { (ptrdiff_t) axes[0].stride, (ptrdiff_t) axes[1].stride, (ptrdiff_t) axes[2].stride };
  if (!axes_fit (axes, MAX (width, 1), &apart))
    return refuse (error, "%s: expected a tensor of at most %" G_GSIZE_FORMAT " bytes, found a larger one", name,
        (gsize) G_MAXSSIZE);
  return apart || !result || refuse (error, "%s: expected sequences, tokens and heads that do not overlap, found strides %"
      G_GINT64_FORMAT ", %" G_GINT64_FORMAT ", %" G_GINT64_FORMAT " for heads of %u channels", name, given.sequence,
      given.token, given.head, width);
}

/* All of the shape but strides. */
static gboolean
check_shape (const VigGlaShape *s, GError **error)
{
  guint64 pieces = s->ragged ? s->batch + (guint64) s->tokens / MIN_PIECE
      : (guint64) s->batch * ((guint64) s->tokens / MIN_PIECE + 1), items, states;

  if (!check_size ("batch", s->batch, G_MAXINT32, error) || !check_size ("tokens", s->tokens, G_MAXINT32, error)
      || !check_size ("heads", s->heads, G_MAXINT32, error) || !check_size ("dk", s->dk, VIG_GLA_MAX_CHANNELS, error)
      || !check_size ("dv", s->dv, VIG_GLA_MAX_CHANNELS, error))
    return FALSE;
  if (s->directions < VIG_GLA_FORWARD || s->directions > VIG_GLA_BOTH)
    return refuse (error, "directions: expected forward (1), backward (2) or both (3), found the value %d",
        (int) s->directions);
  if ((guint) s->gates > VIG_GLA_GATES_NONE)
    return refuse (error, "gates: expected those of channels (0), of heads (1) or none (2), found the value %d",
        (int) s->gates);
  if ((guint) s->form >= G_N_ELEMENTS (forms))
    return refuse (error, "form: expected auto, tokens, chunks or split, found the value %d", (int) s->form);
  if (!isfinite (s->scale))
    return refuse (error, "scale: expected a finite number, found %g", (double) s->scale);
  if (!g_uint64_checked_mul (&items, pieces, s->heads) || items > G_MAXINT32 / MAX_PARTS)
    return refuse (error, "batch, tokens, heads: expected at most %d heads of pieces of %d tokens, found %u x %u x %u",
        G_MAXINT32 / MAX_PARTS, MIN_PIECE, s->batch, s->tokens, s->heads);
  if (!g_uint64_checked_mul (&states, (guint64) s->batch * s->heads, (guint64) s->dk * s->dv * sizeof (float))
      || states > G_MAXSSIZE)
    return refuse (error, "batch, heads, dk, dv: expected states of at most %" G_GSIZE_FORMAT " bytes, found %u x %u x %u x "
        "%u numbers", (gsize) G_MAXSSIZE, s->batch, s->heads, s->dk, s->dv);
  return TRUE;
}

/* The shape as kernels take it. */
static gboolean
read_shape (const VigGlaShape *s, VigGlaRun *run, GError **error)
{
  guint width = s->gates == VIG_GLA_GATES_CHANNEL ? s->dk : s->gates == VIG_GLA_GATES_HEAD ? 1 : 0;

  if (!check_shape (s, error))
    return FALSE;
  *run = (VigGlaRun) { .form = (VigScan) s->form, .batch = (int) s->batch, .heads = (int) s->heads, .dk = (int) s->dk,
    .dv = (int) s->dv, .tokens = (int) s->tokens, .ragged = s->ragged, .forward = s->directions & VIG_GLA_FORWARD,
    .backward = s->directions & VIG_GLA_BACKWARD, .gate_width = (int) width,
    .scale = s->scale != 0 ? s->scale : 1 / sqrtf ((float) s->dk) };
  return check_precision ("input", s->input, &run->type, error) && check_precision ("output", s->output, &run->o_type, error)
      && check_strides ("q", s, s->q, s->dk, FALSE, &run->q_at, error)
      && check_strides ("k", s, s->k, s->dk, FALSE, &run->k_at, error)
      && check_strides ("v", s, s->v, s->dv, FALSE, &run->v_at, error)
      && check_strides ("log_decay", s, s->log_decay, width, FALSE, &run->gate_at, error)
      && check_strides ("o", s, s->o, s->dv, TRUE, &run->o_at, error);
}

VigGlaPlan *
vig_gla_plan_new (VigGla *gla, const VigGlaShape *shape, GError **error)
{
  g_autofree VigGlaPlan *plan = g_new0 (VigGlaPlan, 1);
  VigKernels *k;

  if (!gla || !shape) {
    refuse (error, "%s: expected one, found NULL", gla ? "shape" : "gla");
    return NULL;
  }
  if (!read_shape (shape, &plan->run, error))
    return NULL;
  k = gla->kernels;
  plan->gla = gla;
  plan->run.o_sum = plan; /* room for all results; nobody looks there */
  plan->workspace = k->gla_plan (k->ctx, &plan->run);
  plan->form = (VigGlaForm) plan->run.form;
  if (shape->form != VIG_GLA_FORM_AUTO && plan->form != shape->form) {
    refuse (error, "form: expected one that device %s has, found %s", gla->device, forms[shape->form]);
    return NULL;
  }
  return g_steal_pointer (&plan);
}

void
vig_gla_plan_free (VigGlaPlan *plan)
{
  g_free (plan);
}

gsize
vig_gla_plan_get_workspace (const VigGlaPlan *plan)
{
  return plan->workspace;
}

VigGlaForm
vig_gla_plan_get_form (const VigGlaPlan *plan)
{
  return plan->form;
}

/* ---- tensors ---- */

/* A tensor of elements of @size bytes that is needed, may be there, or must not be. */
typedef enum { NEEDED, ALLOWED, UNKNOWN } Need;

static gboolean
check_pointer (const char *name, const void *p, Need need, gsize size, GError **error)
{
  if (!p && need == NEEDED)
    return refuse (error, "%s: expected a tensor, found NULL", name);
  if (p && need == UNKNOWN)
    return refuse (error, "%s: expected NULL, as the plan has no such direction or gates, found a tensor", name);
  return (guintptr) p % size == 0 || refuse (error, "%s: expected memory aligned to %" G_GSIZE_FORMAT " bytes, found %p", name,
      size, p);
}

static gboolean
check_offsets (const VigGlaRun *run, const gint64 *offsets, GError **error)
{
  if (!run->ragged)
    return !offsets || refuse (error, "offsets: expected NULL, as the plan is not ragged, found some");
  if (!offsets)
    return refuse (error, "offsets: expected %d, found NULL", run->batch + 1);
  if (!check_pointer ("offsets", offsets, NEEDED, sizeof *offsets, error))
    return FALSE;
  if (offsets[0] != 0)
    return refuse (error, "offsets[0]: expected 0, found %" G_GINT64_FORMAT, offsets[0]);
  for (int b = 1; b <= run->batch; b++)
    if (offsets[b] < offsets[b - 1] || offsets[b] > run->tokens)
      return refuse (error, "offsets[%d]: expected %" G_GINT64_FORMAT " to %d, found %" G_GINT64_FORMAT, b, offsets[b - 1],
          run->tokens, offsets[b]);
  return TRUE;
}

static gboolean
check_tensors (const VigGlaPlan *plan, const VigGlaTensors *t, GError **error)
{
  const VigGlaRun *run = &plan->run;
  gsize in = run->type == VIG_TYPE_F32 ? 4 : 2, out = run->o_type == VIG_TYPE_F32 ? 4 : 2;
  Need fw = run->forward ? ALLOWED : UNKNOWN, bw = run->backward ? ALLOWED : UNKNOWN;
  const struct { const char *name; const void *p; Need need; gsize size; } tensors[] = {
    { "q", t->q, NEEDED, in }, { "k", t->k, NEEDED, in }, { "v", t->v, NEEDED, in },
    { "log_decay_fw", t->log_decay_fw, run->gate_width && run->forward ? NEEDED : UNKNOWN, 4 },
    { "log_decay_bw", t->log_decay_bw, run->gate_width && run->backward ? NEEDED : UNKNOWN, 4 },
    { "state_fw", t->state_fw, fw, 4 }, { "state_bw", t->state_bw, bw, 4 }, { "end_fw", t->end_fw, fw, 4 },
    { "end_bw", t->end_bw, bw, 4 }, { "o_fw", t->o_fw, fw, out }, { "o_bw", t->o_bw, bw, out },
    { "o_sum", t->o_sum, ALLOWED, out },
    { "workspace", t->workspace, plan->workspace ? NEEDED : ALLOWED, ALIGNMENT },
  };

  for (guint i = 0; i < G_N_ELEMENTS (tensors); i++)
    if (!check_pointer (tensors[i].name, tensors[i].p, tensors[i].need, tensors[i].size, error))
      return FALSE;
  if (!t->o_fw && !t->o_bw && !t->o_sum && !t->end_fw && !t->end_bw)
    return refuse (error, "o_fw, o_bw, o_sum, end_fw, end_bw: expected memory for one of them at least, found none");
  if (t->workspace_size < plan->workspace)
    return refuse (error, "workspace: expected at least %" G_GSIZE_FORMAT " bytes, found %" G_GSIZE_FORMAT, plan->workspace,
        t->workspace_size);
  if (t->stream && !g_str_has_prefix (plan->gla->device, "cuda"))
    return refuse (error, "stream: expected NULL with device %s, found one", plan->gla->device);
  return check_offsets (run, t->offsets, error);
}

gboolean
vig_gla_run (VigGlaPlan *plan, const VigGlaTensors *t, GError **error)
{
  VigGlaRun run;
  VigKernels *k;
  const char *failure;

  if (!plan || !t)
    return refuse (error, "%s: expected one, found NULL", plan ? "tensors" : "plan");
  if (!check_tensors (plan, t, error))
    return FALSE;
  k = plan->gla->kernels;
  run = plan->run;
  run.q = t->q;
  run.k = t->k;
  run.v = t->v;
  run.gate_fw = t->log_decay_fw;
  run.gate_bw = t->log_decay_bw;
  run.state_fw = t->state_fw;
  run.state_bw = t->state_bw;
  run.end_fw = t->end_fw;
  run.end_bw = t->end_bw;
  run.o_fw = t->o_fw;
  run.o_bw = t->o_bw;
  run.o_sum = t->o_sum;
  run.offsets = t->offsets;
  run.workspace = t->workspace;
  run.stream = t->stream;
  k->gla (k->ctx, &run);
  if ((failure = k->finish (k->ctx))) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_FAILED, "device %s: %s", plan->gla->device, failure);
    return FALSE;
  }
  return TRUE;
}
