/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames in the GPU's memory, over the emulated one: read where they are, when they are there, with the bits of the same
 * frames in the host's memory; and every frame that lies elsewhere refused. */
#include <string.h>

#include <random.h>
#include <vig/vig.h>

#include "emulated.h"

enum { CLASSES = 10, WIDTH = 37, HEIGHT = 21, BYTES = 8192, SIZE = 32, INPUT = 3 * SIZE * SIZE, N = 5 };

static const char *const orders[] = { "forward", "reverse", "shuffle:1", "shuffle:2", "shuffle:3" };

static VigEngine *
open_engine (const char *device)
{
  GError *error = NULL;
  g_autoptr (VigModel) model = vig_model_new_random ("tiny_h", 1, NULL, &error);
  g_assert_no_error (error);
  VigEngine *engine = vig_engine_new (model, &(VigEngineOptions) { .device = device, .precision = VIG_PRECISION_FP32,
      .n_threads = 1 }, &error);
  g_assert_no_error (error);
  return engine;
}

/* Planes in one piece of memory, as buffers of video mostly are. Rows are longer than their pixels. */
typedef struct {
  VigFrame frame; /* in the host's memory */
  guint8 bytes[BYTES];
} Picture;

static void
picture_init (Picture *p, VigFormat format, guint seed)
{
  gsize at = 0;
  *p = (Picture) { .frame = { .format = format, .width = WIDTH, .height = HEIGHT, .crop_x = 2, .crop_y = 1, .crop_width = 30,
    .crop_height = 19, .orientation = 1 + seed % 8 } };
  for (guint i = 0; i < BYTES; i++)
    p->bytes[i] = (guint8) (255 * vig_random_uniform ("frames", seed, i));
  for (guint i = 0; i < vig_format_get_n_planes (format); i++) {
    p->frame.data[i] = p->bytes + at;
    p->frame.stride[i] = (gssize) vig_format_get_row_bytes (format, i, WIDTH) + 11;
    at += p->frame.stride[i] * vig_format_get_rows (format, i, HEIGHT);
  }
  g_assert_cmpuint (at, <=, BYTES);
}

/* The same picture on device 0; NULL: there at once. */
static VigFrame
on_device (const Picture *p, EmulatedStream *stream)
{
  guint8 *memory = emulated_upload (stream, p->bytes, BYTES);
  VigFrame frame = p->frame;
  for (guint i = 0; i < 4; i++)
    frame.data[i] = frame.data[i] ? memory + (frame.data[i] - p->bytes) : NULL;
  frame.memory = VIG_MEMORY_CUDA;
  return frame;
}

static void
picture_free (VigFrame *frame)
{
  emulated_free ((void *) frame->data[0]);
}

static void
classify (VigEngine *engine, const VigFrame *frames, guint n, float *logits)
{
  GError *error = NULL;
  vig_engine_classify_frames (engine, frames, n, SIZE, &(VigOutput) { .logits = logits }, &error);
  g_assert_no_error (error);
}

/* Every format, upright or not, cropped: what enters the model, and what comes out. */
static void
test_formats (void)
{
  emulated_machine ("");
  g_autoptr (VigEngine) engine = open_engine ("cuda");
  int device;
  void *context;
  g_assert_true (vig_engine_get_cuda (engine, &device, &context));
  g_assert_cmpint (device, ==, 0);
  g_assert_nonnull (context);
  for (VigFormat format = 0; format < VIG_FORMAT_COUNT; format++) {
    static float want[INPUT], got[INPUT];
    float host[CLASSES], cuda[CLASSES];
    GError *error = NULL;
    Picture p;
    picture_init (&p, format, format);
    VigFrame frame = on_device (&p, NULL);
    g_assert_true (vig_engine_preprocess (engine, &p.frame, SIZE, want, &error));
    vig_engine_preprocess (engine, &frame, SIZE, got, &error);
    g_assert_no_error (error);
    g_assert_cmpmem (got, sizeof got, want, sizeof want);
    classify (engine, &p.frame, 1, host);
    classify (engine, &frame, 1, cuda);
    g_assert_cmpmem (cuda, sizeof cuda, host, sizeof host);
    picture_free (&frame);
  }
}

/* Here and there in one batch, upside down too. */
static void
test_mixed (void)
{
  Picture p[N];
  VigFrame host[N], mixed[N];
  float want[N * CLASSES], got[N * CLASSES];

  emulated_machine ("");
  g_autoptr (VigEngine) engine = open_engine ("cuda");
  for (guint i = 0; i < N; i++) {
    picture_init (&p[i], i == 3 ? VIG_FORMAT_RGB : VIG_FORMAT_NV12, 2 * i);
    host[i] = p[i].frame;
    mixed[i] = i == 1 ? p[i].frame : on_device (&p[i], NULL);
    if (i == 4)
      for (VigFrame *f = &host[i]; f; f = f == &host[i] ? &mixed[i] : NULL)
        for (guint plane = 0; plane < 2; plane++) {
          f->data[plane] += f->stride[plane] * (vig_format_get_rows (f->format, plane, HEIGHT) - 1);
          f->stride[plane] = -f->stride[plane];
        }
  }
  classify (engine, host, N, want);
  classify (engine, mixed, N, got);
  g_assert_cmpmem (got, sizeof got, want, sizeof want);
  mixed[4].data[0] += mixed[4].stride[0] * (HEIGHT - 1); /* where its memory begins */
  for (guint i = 0; i < N; i++)
    if (i != 1)
      picture_free (&mixed[i]);
}

/* Frames that are still being made: the engine waits for each one's event, in the stream. */
static void
test_ready (gconstpointer order)
{
  Picture p[N];
  VigFrame host[N], made[N];
  float want[N * CLASSES], got[N * CLASSES];

  emulated_machine ("");
  emulated_order (order);
  g_autoptr (VigEngine) engine = open_engine ("cuda");
  EmulatedStream *streams[] = { emulated_stream_new (), emulated_stream_new () };
  for (int round = 0; round < 3; round++) {
    for (guint i = 0; i < N; i++) {
      picture_init (&p[i], VIG_FORMAT_I420, 8 * (N * round + i));
      host[i] = p[i].frame;
      made[i] = on_device (&p[i], streams[i % 2]);
      made[i].ready = emulated_event (streams[i % 2]);
    }
    classify (engine, host, N, want);
    int waits = emulated_calls ("cudaEventSynchronize") + emulated_calls ("cudaStreamSynchronize");
    classify (engine, made, N, got);
    waits = emulated_calls ("cudaEventSynchronize") + emulated_calls ("cudaStreamSynchronize") - waits;
    g_assert_cmpint (waits, ==, 1); /* for the results */
    g_assert_cmpmem (got, sizeof got, want, sizeof want);
    for (guint i = 0; i < N; i++) {
      emulated_event_free (made[i].ready);
      picture_free (&made[i]);
    }
  }
  emulated_stream_free (streams[0]);
  emulated_stream_free (streams[1]);
  emulated_order ("forward");
}

/* Nothing is copied to the device, and no memory is kept for it. */
static void
test_no_copy (void)
{
  Picture p;
  float logits[CLASSES];

  emulated_machine ("");
  g_autoptr (VigEngine) engine = open_engine ("cuda");
  picture_init (&p, VIG_FORMAT_NV12, 0);
  VigFrame frame = on_device (&p, NULL);
  classify (engine, &frame, 1, logits); /* makes the plan and its recordings */
  classify (engine, &frame, 1, logits);
  classify (engine, &frame, 1, logits);
  int copies = emulated_calls ("cudaMemcpyAsync");
  classify (engine, &frame, 1, logits);
  g_assert_cmpint (emulated_calls ("cudaMemcpyAsync"), ==, copies);
  classify (engine, &p.frame, 1, logits);
  g_assert_cmpint (emulated_calls ("cudaMemcpyAsync"), >, copies);

  int pinned = emulated_calls ("cudaMallocHost");
  frame.orientation = p.frame.orientation = 2; /* another kind of frame */
  classify (engine, &frame, 1, logits);
  g_assert_cmpint (emulated_calls ("cudaMallocHost"), ==, pinned);
  classify (engine, &p.frame, 1, logits);
  g_assert_cmpint (emulated_calls ("cudaMallocHost"), ==, pinned + 2);
  picture_free (&frame);
}

static void
expect_refused (VigEngine *engine, const VigFrame *frame, const char *sentence)
{
  static float input[INPUT];
  float logits[2 * CLASSES];
  Picture p;
  picture_init (&p, VIG_FORMAT_GRAY8, 0);
  const VigFrame frames[] = { p.frame, *frame };
  g_autofree char *second = g_strconcat ("frame 1: ", sentence, NULL);
  GError *error = NULL;
  g_assert_false (vig_engine_classify_frames (engine, frames, 2, SIZE, &(VigOutput) { .logits = logits }, &error));
  g_assert_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT);
  g_assert_cmpstr (error->message, ==, second);
  g_clear_error (&error);
  g_assert_false (vig_engine_preprocess (engine, frame, SIZE, input, &error));
  g_assert_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT);
  g_assert_nonnull (strstr (error->message, sentence));
  g_clear_error (&error);
}

static void
test_elsewhere (void)
{
  static const char *const on_cpu = "memory is that of CUDA device 0: it must be the host's where the CPU computes";
  Picture p;
  VigFrame frame;
  int device;
  void *context;

  emulated_machine ("VIG_EMU_DEVICES=2");
  picture_init (&p, VIG_FORMAT_NV12, 0);
  frame = on_device (&p, NULL);
  g_autoptr (VigEngine) cpu = open_engine ("cpu");
  g_assert_false (vig_engine_get_cuda (cpu, &device, &context));
  g_assert_cmpint (device, ==, -1);
  g_assert_null (context);
  expect_refused (cpu, &frame, on_cpu);
  g_autoptr (VigEngine) ref = open_engine ("ref");
  expect_refused (ref, &frame, on_cpu);
  g_autoptr (VigEngine) second = open_engine ("cuda:1");
  g_assert_true (vig_engine_get_cuda (second, &device, NULL));
  g_assert_cmpint (device, ==, 1);
  expect_refused (second, &frame, "memory is that of CUDA device 0: it must be the host's or that of CUDA device 1, which computes");
  frame.memory = 7;
  expect_refused (second, &frame, "memory is 7: it must be a VigMemory, 0 to 1");
  picture_free (&frame);
}

/* The CPU takes over at the first frame, which it cannot read; those in the host's memory go on. */
static void
test_taken_over (void)
{
  float logits[CLASSES];
  GError *error = NULL;
  Picture p;

  emulated_machine ("");
  picture_init (&p, VIG_FORMAT_NV12, 0);
  g_autoptr (VigEngine) engine = open_engine ("auto");
  VigFrame frame = on_device (&p, NULL);
  g_assert_true (vig_engine_get_cuda (engine, NULL, NULL));
  emulated_machine ("VIG_EMU_FAIL=launch:1");
  g_test_expect_message ("vig", G_LOG_LEVEL_MESSAGE, "device auto: cpu takes over: *cudaError*");
  g_assert_false (vig_engine_classify_frames (engine, &frame, 1, SIZE, &(VigOutput) { .logits = logits }, &error));
  g_test_assert_expected_messages ();
  g_assert_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT);
  g_clear_error (&error);
  g_assert_false (vig_engine_get_cuda (engine, NULL, NULL));
  classify (engine, &p.frame, 1, logits);
  picture_free (&frame);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  emulated_init ();
  g_test_add_func ("/frames/formats", test_formats);
  g_test_add_func ("/frames/mixed", test_mixed);
  for (guint i = 0; i < G_N_ELEMENTS (orders); i++) {
    g_autofree char *path = g_strconcat ("/frames/ready/", orders[i], NULL);
    g_test_add_data_func (path, orders[i], test_ready);
  }
  g_test_add_func ("/frames/no-copy", test_no_copy);
  g_test_add_func ("/frames/elsewhere", test_elsewhere);
  g_test_add_func ("/frames/taken-over", test_taken_over);
  int status = g_test_run ();
  g_assert_cmpint (emulated_live (), ==, 0);
  return status;
}
