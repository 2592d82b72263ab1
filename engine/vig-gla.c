/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gated linear attention on the command line: q, k, v, log decays and states from one .safetensors file, outputs and final
 * states into another. docs/gla.md says which tensors. */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <numbers.h>
#include <vig/vig.h>

#include "backend.h"
#include "gla-private.h"
#include "safetensors.h"

typedef struct {
  char *device, *form, *precision, **files;
  int threads;
} Options;

/* All that is read, in this order, and all that is written. */
enum { Q, K, V, LOG_DECAY_FW, LOG_DECAY_BW, STATE_FW, STATE_BW, N_INPUTS };
enum { O_FW, O_BW, O_SUM, END_FW, END_BW, N_RESULTS };

static const char *const input_names[] = { "q", "k", "v", "log_decay_fw", "log_decay_bw", "state_fw", "state_bw" };
static const char *const result_names[] = { "o_fw", "o_bw", "o_sum", "end_fw", "end_bw" };

typedef struct {
  const char *path;                    /* of the input, for messages */
  guint rank;                          /* of q: 3, [heads, tokens, dk]; 4, [batch, heads, tokens, dk] */
  const VigTensor *in[N_INPUTS];       /* NULL: not there */
  VigTensor out[N_RESULTS];            /* without data; count 0: not wanted */
  VigGlaShape shape;
  VigKernels *kernels;
  void *inputs[N_INPUTS], *results[N_RESULTS], *workspace; /* the device's */
} Task;

static gboolean
parse (Options *o, int *argc, char ***argv, GError **error)
{
  const GOptionEntry entries[] = {
    { "device", 'd', 0, G_OPTION_ARG_STRING, &o->device, "cpu, cuda, cuda:N or ref (default cpu)", "D" },
    { "form", 'f', 0, G_OPTION_ARG_STRING, &o->form, "auto, tokens, chunks or split (default auto)", "F" },
    { "precision", 'p', 0, G_OPTION_ARG_STRING, &o->precision,
        "fp32, bf16 or fp16: what q, k and v are rounded to, and the outputs are written in (default fp32)", "P" },
    { "threads", 't', 0, G_OPTION_ARG_INT, &o->threads, "Threads of the CPU (default one a core)", "N" },
    { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &o->files, NULL, "IN OUT" },
    G_OPTION_ENTRY_NULL
  };
  g_autoptr (GOptionContext) context = g_option_context_new ("- gated linear attention of tensors in a file");

  g_option_context_add_main_entries (context, entries, NULL);
  g_option_context_set_description (context,
      "IN is a .safetensors file of F32, F16 or BF16 with q and k [batch, heads, tokens, dk], v [batch, heads, tokens, dv],\n"
      "log_decay_fw and log_decay_bw [batch, heads, tokens, dk] (or without dk: one of each head) and state_fw and state_bw\n"
      "[batch, heads, dk, dv]; all without batch, if there is one sequence. States may be left out (zeros). A direction without\n"
      "log decays is left out, but if neither has any, both are computed without gates. OUT gets o_fw, o_bw and o_sum as v is,\n"
      "in the precision, and end_fw and end_bw as states are, in F32, of the directions that are computed. Tensors of other\n"
      "names are not used, which is told.\n\n"
      "The status is 0, or 1 after an error that is told, or 2 after options that make no sense.\n\n"
      "Example:\n"
      "  vig-gla --precision bf16 --form split in.safetensors out.safetensors\n");
  if (!g_option_context_parse (context, argc, argv, error))
    return FALSE;
  if (!o->files || g_strv_length (o->files) != 2) {
    g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED, "expected two files, IN and OUT, found %u",
        o->files ? g_strv_length (o->files) : 0);
    return FALSE;
  }
  if (o->threads < 0) {
    g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED, "expected --threads of at least 0, found %d", o->threads);
    return FALSE;
  }
  return TRUE;
}

static void
clear (Options *o)
{
  g_free (o->device);
  g_free (o->form);
  g_free (o->precision);
  g_strfreev (o->files);
}

/* ---- what is in the file ---- */

static gboolean
wrong_shape (const Task *task, const char *name, const char *expected, const VigTensor *t, GError **error)
{
  g_autofree char *found = vig_shape_to_string (t->shape, t->rank);
  g_set_error (error, VIG_ERROR, VIG_ERROR_FILE, "%s: tensor %s: expected %s, found shape %s", task->path, name, expected,
      found);
  return FALSE;
}

/* An input of @rank numbers, the first of which are those of q, then the others. */
static gboolean
check_shape (const Task *task, int which, guint rank, guint like_q, const guint64 *others, GError **error)
{
  const VigTensor *t = task->in[which], *q = task->in[Q];
  guint64 shape[VIG_SAFETENSORS_MAX_RANK] = { 0 };

  if (!t)
    return TRUE;
  memcpy (shape, q->shape, like_q * sizeof *shape);
  if (others)
    memcpy (shape + like_q, others, (rank - like_q) * sizeof *shape);
  if (t->rank == rank && memcmp (t->shape, shape, rank * sizeof *shape) == 0)
    return TRUE;
  g_autofree char *want = vig_shape_to_string (shape, rank);
  g_autofree char *expected = g_strdup_printf ("shape %s, as q is", want);
  return wrong_shape (task, input_names[which], expected, t, error);
}

static gboolean
check_shapes (const Task *task, GError **error)
{
  const VigTensor *q = task->in[Q], *fw = task->in[LOG_DECAY_FW], *bw = task->in[LOG_DECAY_BW];
  guint rank = q->rank, gates = (fw ? fw : bw) ? MIN ((fw ? fw : bw)->rank, rank) : rank;

  if (rank < 3 || rank > 4)
    return wrong_shape (task, "q", "[heads, tokens, dk] or [batch, heads, tokens, dk]", q, error);
  if (task->in[V]->rank != rank)
    return wrong_shape (task, "v", "as many dimensions as q has", task->in[V], error);
  const guint64 state[] = { q->shape[rank - 1], task->in[V]->shape[rank - 1] };
  gates = MAX (gates, rank - 1); /* of channels, or of heads */
  for (int which = Q; which <= V; which++)
    for (guint i = 0; i < rank && task->in[which]->rank == rank; i++)
      if (task->in[which]->shape[i] > G_MAXINT32 || task->in[which]->shape[i] == 0)
        return wrong_shape (task, input_names[which], "dimensions of 1 to 2147483647", task->in[which], error);
  return check_shape (task, K, rank, rank, NULL, error) && check_shape (task, V, rank, rank - 1, &state[1], error)
      && check_shape (task, LOG_DECAY_FW, gates, gates, NULL, error)
      && check_shape (task, LOG_DECAY_BW, gates, gates, NULL, error)
      && check_shape (task, STATE_FW, rank, rank - 2, state, error)
      && check_shape (task, STATE_BW, rank, rank - 2, state, error);
}

/* The shape, from tensors that fit each other. */
static void
read_shape (Task *task)
{
  const VigTensor *q = task->in[Q], *gates = task->in[LOG_DECAY_FW] ? task->in[LOG_DECAY_FW] : task->in[LOG_DECAY_BW];
  VigGlaShape *s = &task->shape;

  task->rank = q->rank;
  s->batch = q->rank == 4 ? (guint) q->shape[0] : 1;
  s->heads = (guint) q->shape[q->rank - 3];
  s->tokens = (guint) q->shape[q->rank - 2];
  s->dk = (guint) q->shape[q->rank - 1];
  s->dv = (guint) task->in[V]->shape[q->rank - 1];
  s->heads_first = TRUE;
  s->gates = !gates ? VIG_GLA_GATES_NONE : gates->rank == q->rank ? VIG_GLA_GATES_CHANNEL : VIG_GLA_GATES_HEAD;
  s->directions = !gates ? VIG_GLA_BOTH
      : (VigGlaDirections) ((task->in[LOG_DECAY_FW] ? VIG_GLA_FORWARD : 0) | (task->in[LOG_DECAY_BW] ? VIG_GLA_BACKWARD : 0));
}

static gboolean
read_options (const Options *o, Task *task, GError **error)
{
  if (o->form && !vig_gla_form_from_string (o->form, &task->shape.form)) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "form: expected auto, tokens, chunks or split, found \"%s\"", o->form);
    return FALSE;
  }
  task->shape.input = VIG_PRECISION_FP32;
  if (o->precision && (!vig_precision_from_string (o->precision, &task->shape.input)
      || task->shape.input == VIG_PRECISION_AUTO)) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "precision: expected fp32, bf16 or fp16, found \"%s\"", o->precision);
    return FALSE;
  }
  task->shape.output = task->shape.input;
  return TRUE;
}

/* ---- memory ---- */

static gboolean
no_memory (const char *name, gsize count, GError **error)
{
  g_set_error (error, VIG_ERROR, VIG_ERROR_NO_MEMORY, "%s: no memory for %" G_GSIZE_FORMAT " values", name, count);
  return FALSE;
}

/* An input on the device: q, k and v rounded to the precision, all else fp32. */
static gboolean
upload (Task *task, int which, GError **error)
{
  const VigTensor *t = task->in[which];
  VigType type = which <= V ? vig_backend_type (task->shape.input) : VIG_TYPE_F32;
  VigKernels *k = task->kernels;

  if (!t)
    return TRUE;
  g_autofree float *values = g_try_new (float, t->count);
  g_autofree guint16 *narrow = type == VIG_TYPE_F32 ? NULL : g_try_new (guint16, t->count);
  if (!values || (type != VIG_TYPE_F32 && !narrow)
      || !(task->inputs[which] = k->alloc (k->ctx, t->count * vig_type_size (type))))
    return no_memory (input_names[which], t->count, error);
  vig_tensor_to_float (t, values);
  for (gsize i = 0; narrow && i < t->count; i++)
    vig_set (narrow, i, type, (double) values[i]);
  k->upload (k->ctx, task->inputs[which], narrow ? (const void *) narrow : values, t->count * vig_type_size (type));
  return TRUE;
}

static const VigDtype dtype_of[] = {
  [VIG_TYPE_F32] = VIG_DTYPE_F32, [VIG_TYPE_BF16] = VIG_DTYPE_BF16, [VIG_TYPE_F16] = VIG_DTYPE_F16,
};

/* Shape and memory of a result. */
static gboolean
make_room (Task *task, int which, GError **error)
{
  gboolean state = which >= END_FW, backward = which == O_BW || which == END_BW;
  VigType type = state ? VIG_TYPE_F32 : vig_backend_type (task->shape.output);
  VigTensor *t = &task->out[which];
  VigKernels *k = task->kernels;

  if (which != O_SUM && !(task->shape.directions & (backward ? VIG_GLA_BACKWARD : VIG_GLA_FORWARD)))
    return TRUE;
  *t = (VigTensor) { .name = result_names[which], .dtype = dtype_of[type], .rank = task->rank };
  memcpy (t->shape, task->in[Q]->shape, sizeof t->shape);
  t->shape[t->rank - 1] = task->shape.dv;
  if (state)
    t->shape[t->rank - 2] = task->shape.dk;
  t->count = 1;
  for (guint i = 0; i < t->rank; i++)
    t->count *= t->shape[i]; /* the plan has looked at the product */
  if (!(task->results[which] = k->alloc (k->ctx, t->count * vig_type_size (type))))
    return no_memory (t->name, t->count, error);
  return TRUE;
}

static void
clear_task (Task *task)
{
  VigKernels *k = task->kernels;

  for (guint i = 0; i < N_INPUTS; i++)
    k->free (k->ctx, task->inputs[i]);
  for (guint i = 0; i < N_RESULTS; i++)
    k->free (k->ctx, task->results[i]);
  k->free (k->ctx, task->workspace);
}

/* ---- the run ---- */

static gboolean
compute (Task *task, VigGlaPlan *plan, GError **error)
{
  VigKernels *k = task->kernels;
  gsize workspace = vig_gla_plan_get_workspace (plan);

  for (int i = 0; i < N_INPUTS; i++)
    if (!upload (task, i, error))
      return FALSE;
  for (int i = 0; i < N_RESULTS; i++)
    if (!make_room (task, i, error))
      return FALSE;
  if (workspace && !(task->workspace = k->alloc (k->ctx, workspace))) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_NO_MEMORY, "workspace: no memory for %" G_GSIZE_FORMAT " bytes", workspace);
    return FALSE;
  }
  return vig_gla_run (plan, &(VigGlaTensors) { .q = task->inputs[Q], .k = task->inputs[K], .v = task->inputs[V],
      .log_decay_fw = task->inputs[LOG_DECAY_FW], .log_decay_bw = task->inputs[LOG_DECAY_BW],
      .state_fw = task->inputs[STATE_FW], .state_bw = task->inputs[STATE_BW], .end_fw = task->results[END_FW],
      .end_bw = task->results[END_BW], .o_fw = task->results[O_FW], .o_bw = task->results[O_BW],
      .o_sum = task->results[O_SUM], .workspace = task->workspace, .workspace_size = workspace }, error);
}

static gboolean
write_results (const Task *task, const char *path, GError **error)
{
  g_autoptr (GPtrArray) memory = g_ptr_array_new_with_free_func (g_free);
  VigKernels *k = task->kernels;
  VigTensor tensors[N_RESULTS];
  gsize total = 0;
  guint n = 0;

  for (guint i = 0; i < N_RESULTS; i++) {
    gsize size = task->out[i].count * (task->out[i].dtype == VIG_DTYPE_F32 ? 4 : 2);
    if (!size)
      continue;
    void *host = g_try_malloc (size);
    if (!host || (total += size) > G_MAXINT32) {
      g_free (host);
      g_set_error (error, VIG_ERROR, host ? VIG_ERROR_ARGUMENT : VIG_ERROR_NO_MEMORY, "%s: expected results of less than "
          "2 GiB, and memory for them, found %s to need %" G_GSIZE_FORMAT " bytes more", path, task->out[i].name, size);
      return FALSE;
    }
    g_ptr_array_add (memory, host);
    k->download (k->ctx, host, task->results[i], size);
    tensors[n] = task->out[i];
    tensors[n++].data = host;
  }
  const char *failure = k->finish (k->ctx);
  if (failure) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_FAILED, "%s", failure);
    return FALSE;
  }
  g_autoptr (GByteArray) bytes = vig_safetensors_format (tensors, n, NULL);
  return g_file_set_contents (path, (const char *) bytes->data, bytes->len, error);
}

/* A state or a direction that is misspelt would be taken for one that is left out. */
static void
tell_unused (const Task *task, const VigSafetensors *file)
{
  for (guint i = 0; i < file->tensors->len; i++) {
    const char *name = g_array_index (file->tensors, VigTensor, i).name;
    gboolean known = FALSE; /* results as well: IN may be the OUT of another run, or a golden */
    for (guint j = 0; j < N_INPUTS; j++)
      known |= strcmp (name, input_names[j]) == 0;
    for (guint j = 0; j < N_RESULTS; j++)
      known |= strcmp (name, result_names[j]) == 0;
    if (!known)
      fprintf (stderr, "vig-gla: %s: tensor %s is not used\n", task->path, name);
  }
}

static gboolean
run (const Options *o, GError **error)
{
  g_autofree char *bytes = NULL;
  g_autoptr (VigSafetensors) file = NULL;
  g_autoptr (VigGla) gla = NULL;
  g_autoptr (VigGlaPlan) plan = NULL;
  Task task = { .path = o->files[0] };
  gsize size;

  if (!read_options (o, &task, error) || !g_file_get_contents (task.path, &bytes, &size, error)
      || !(file = vig_safetensors_parse ((const guint8 *) bytes, size, task.path, error)))
    return FALSE;
  for (guint i = 0; i < N_INPUTS; i++)
    if (!(task.in[i] = vig_safetensors_get (file, input_names[i])) && i <= V) {
      g_set_error (error, VIG_ERROR, VIG_ERROR_FILE, "%s: expected a tensor \"%s\", found none", task.path, input_names[i]);
      return FALSE;
    }
  tell_unused (&task, file);
  if (!check_shapes (&task, error))
    return FALSE;
  read_shape (&task);
  if (!(gla = vig_gla_new (o->device, (guint) o->threads, error)) || !(plan = vig_gla_plan_new (gla, &task.shape, error)))
    return FALSE;
  task.kernels = vig_gla_kernels (gla);
  gboolean done = compute (&task, plan, error) && write_results (&task, o->files[1], error);
  clear_task (&task);
  return done;
}

int
main (int argc, char **argv)
{
  Options o = { 0 };
  g_autoptr (GError) error = NULL;
  int status = EXIT_SUCCESS;

  setlocale (LC_CTYPE, "");
  if (!parse (&o, &argc, &argv, &error)) {
    fprintf (stderr, "vig-gla: %s\nTry vig-gla --help.\n", error->message);
    status = 2;
  } else if (!run (&o, &error)) {
    fprintf (stderr, "vig-gla: %s\n", error->message);
    status = EXIT_FAILURE;
  }
  clear (&o);
  return status;
}
