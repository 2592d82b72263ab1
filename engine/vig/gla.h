/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef VIG_GLA_H
#define VIG_GLA_H

#include <vig/engine.h>

G_BEGIN_DECLS

/*
 * Gated linear attention, on its own (docs/gla.md; "Gated Linear Attention Transformers with Hardware-Efficient Training",
 * arXiv 2312.06635, eq. 3, with a decay for each key channel). For each sequence and head, with a state S [dk, dv] and
 * vectors as columns:
 *
 *   S_t = Diag(exp log_decay_t) S_(t-1) + k_t v_t^T        o_t = scale * q_t^T S_t
 *
 * over the tokens in order (forward), from the last to the first (backward, with log decays of its own), or both. The decay
 * acts before the token is written, also on an initial state; a token sees itself.
 */

/**
 * VigGlaForm:
 * @VIG_GLA_FORM_AUTO: the fastest for the length, heads, dk and dv; never by batch or machine
 * @VIG_GLA_FORM_TOKENS: token after token, for decoding: reads and writes the states once a token
 * @VIG_GLA_FORM_CHUNKS: some tokens at a time, chunk after chunk
 * @VIG_GLA_FORM_SPLIT: a sequence is cut into pieces that are computed side by side; for one long sequence with few heads
 *
 * How the tokens go by. All forms agree with the recurrence in float64 within 1e-5 (fp32) or 1e-2 (16 bits) of the largest
 * output, and so with each other.
 */
typedef enum { VIG_GLA_FORM_AUTO, VIG_GLA_FORM_TOKENS, VIG_GLA_FORM_CHUNKS, VIG_GLA_FORM_SPLIT } VigGlaForm;

VIG_API const char *vig_gla_form_to_string (VigGlaForm form); /* "auto", "tokens", "chunks", "split" */
VIG_API gboolean vig_gla_form_from_string (const char *string, VigGlaForm *form);

/* Log decays of each key channel, of a head (simple GLA, RetNet), or none (plain linear attention). */
typedef enum { VIG_GLA_GATES_CHANNEL, VIG_GLA_GATES_HEAD, VIG_GLA_GATES_NONE } VigGlaGates;

typedef enum { VIG_GLA_FORWARD = 1, VIG_GLA_BACKWARD = 2, VIG_GLA_BOTH = 3 } VigGlaDirections;

/* In elements: head h of token t of sequence b begins at b * sequence + t * token + h * head; its channels lie side by side.
 * All 0: dense, as the shape's layout says. Of a sequence, token or head that inputs share, one is 0; results share none. */
typedef struct {
  gint64 sequence, token, head;
} VigGlaStrides;

enum {
  VIG_GLA_MAX_CHANNELS = 256 /* of dk and dv */
};

/**
 * VigGlaShape:
 * @batch: sequences
 * @tokens: of each sequence, at least 1; with @ragged of all together, at most
 * @heads: at least 1
 * @dk, @dv: key and value channels of a head, 1 to 256
 * @directions: of these
 * @gates: which log decays there are
 * @input: what q, k and v are of: VIG_PRECISION_FP32 (or AUTO), BF16 or FP16
 * @output: likewise o_fw, o_bw and o_sum. Log decays, states and all sums are fp32.
 * @scale: of the outputs; 0: 1 / sqrt(@dk)
 * @form: how; AUTO unless there is a reason
 * @ragged: sequences of any lengths, 0 included, one behind the other: tensors are of all tokens, with offsets
 *   (VigGlaTensors) that say where each begins
 * @heads_first: layout of dense tensors: [batch, heads, tokens, channels] in place of [batch, tokens, heads, channels];
 *   ragged: [heads, @tokens, channels] or [@tokens, heads, channels]
 * @q, @k, @v, @log_decay, @o: strides of those that are not dense; of ragged ones, sequence is not used
 *
 * Zero-initialise it before setting what is wanted.
 */
typedef struct {
  guint batch, tokens, heads, dk, dv;
  VigGlaDirections directions;
  VigGlaGates gates;
  VigPrecision input, output;
  float scale;
  VigGlaForm form;
  gboolean ragged, heads_first;
  VigGlaStrides q, k, v, log_decay, o;
} VigGlaShape;

/**
 * VigGlaTensors:
 * @q, @k: [batch, tokens, heads, dk] of the input's precision, or as the shape says
 * @v: [batch, tokens, heads, dv], likewise
 * @log_decay_fw, @log_decay_bw: natural logarithms, fp32, of those directions that are computed: [batch, tokens, heads, dk],
 *   [batch, tokens, heads] or NULL, as the shape's gates say. 0 keeps the state, -200 or -infinity wipes it. Above 0 the
 *   state grows by the formula, as long as the log decays of any 64 tokens in a row add up to less than 88: beyond that its
 *   head's outputs may be infinite or NaN.
 * @state_fw, @state_bw: (nullable): fp32 [batch, heads, dk, dv], S before the first (backward: the last) token; NULL: zeros
 * @end_fw, @end_bw: (nullable): likewise, S behind the last (backward: the first) token: the next call's state, if a sequence
 *   comes in pieces. May be the memory of the state.
 * @o_fw, @o_bw: (nullable): [batch, tokens, heads, dv] of the output's precision: each direction's outputs, in token order
 * @o_sum: (nullable): o_fw + o_bw, rounded once; with one direction, that one's. fp16 may overflow to infinity.
 * @offsets: ragged: [batch + 1], in host memory: sequence b is tokens offsets[b] to offsets[b + 1] - 1; the first is 0, and
 *   none is smaller than the one before. Else NULL
 * @workspace: as many bytes as vig_gla_plan_get_workspace() says, aligned to 64; what is in it before and afterwards does not
 *   count. Calls that may run at the same time need one each.
 * @stream: with CUDA the cudaStream_t that the work is enqueued in; NULL: a stream of the VigGla. Else NULL
 *
 * What a call reads and writes: the caller's, in the memory of the device (but for @offsets), aligned to their elements.
 * Nothing overlaps but ends and states. What is not wanted or not there is NULL. NaN and infinity in one sequence and head
 * do not reach another, and of outputs only those of that token and the ones behind it; where the recurrence would give
 * infinity, there may be NaN.
 */
typedef struct {
  const void *q, *k, *v;
  const float *log_decay_fw, *log_decay_bw;
  const float *state_fw, *state_bw;
  float *end_fw, *end_bw;
  void *o_fw, *o_bw, *o_sum;
  const gint64 *offsets;
  void *workspace;
  gsize workspace_size;
  void *stream;
} VigGlaTensors;

/**
 * VigGla:
 *
 * A device that computes: the CPU, with threads of its own, or a GPU. It and its plans are used by one thread at a time;
 * different ones are independent.
 */
typedef struct VigGla VigGla;

/**
 * vig_gla_new:
 * @device: (nullable): "cpu" (or NULL), "cuda", "cuda:N"; "ref" is the scalar reference in double precision, for tests
 * @n_threads: of the CPU; 0: one for each core this process may run on
 * @error: VIG_ERROR_DEVICE (the message says why it does not work), VIG_ERROR_ARGUMENT, VIG_ERROR_NO_MEMORY
 *
 * Returns: (transfer full)
 */
VIG_API VigGla *vig_gla_new (const char *device, guint n_threads, GError **error);

/* Its plans must have been freed. NULL is allowed. */
VIG_API void vig_gla_free (VigGla *gla);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VigGla, vig_gla_free)

VIG_API const char *vig_gla_get_device (const VigGla *gla);  /* as it was asked for */
VIG_API const char *vig_gla_get_kernels (const VigGla *gla); /* "avx512+bf16", … for logs */

/* A shape made ready for a device. */
typedef struct VigGlaPlan VigGlaPlan;

/**
 * vig_gla_plan_new:
 * @gla: must outlive the plan
 * @shape: needed only during the call
 * @error: VIG_ERROR_ARGUMENT: a size that is 0, too large or overflows, strides with which results overlap, a form that the
 *   device lacks, …: the message names the field, what was expected and what was found. VIG_ERROR_NO_MEMORY
 *
 * Returns: (transfer full)
 */
VIG_API VigGlaPlan *vig_gla_plan_new (VigGla *gla, const VigGlaShape *shape, GError **error);
VIG_API void vig_gla_plan_free (VigGlaPlan *plan); /* NULL is allowed */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VigGlaPlan, vig_gla_plan_free)

VIG_API gsize vig_gla_plan_get_workspace (const VigGlaPlan *plan); /* bytes */

/* The form; AUTO only of ragged sequences, each of which has that of its own length. */
VIG_API VigGlaForm vig_gla_plan_get_form (const VigGlaPlan *plan);

/**
 * vig_gla_run:
 * @tensors: needed only during the call; the memory, with CUDA, until the work is done
 * @error: VIG_ERROR_ARGUMENT: a pointer that is missing, superfluous or misaligned, offsets that do not rise, a workspace
 *   that is too small: then nothing was written. VIG_ERROR_FAILED: the device failed
 *
 * Allocates nothing. On the CPU the work is done when it returns; with CUDA it has been enqueued (on a stream of the VigGla:
 * is done). A sequence's results have the same bits alone or in any batch, ragged or not, in any strides, with any number of
 * threads, on every run.
 */
VIG_API gboolean vig_gla_run (VigGlaPlan *plan, const VigGlaTensors *tensors, GError **error);

G_END_DECLS
#endif
