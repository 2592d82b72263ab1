/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who shares an engine with whom, what users may disagree about, and that frames of several users meet. */
#include <vig/vig.h>

#include <glib/gstdio.h>
#include <pthread.h>
#include <string.h>

#include "made.h"

static char *dir, *model_path;

static char *
write_model (const char *name, const char *config)
{
  char *path = g_build_filename (dir, name, NULL);
  g_autoptr (Made) made = made_new (config);
  g_autoptr (GByteArray) file = made_file (made, NULL);
  g_assert_true (g_file_set_contents (path, (char *) file->data, file->len, NULL));
  return path;
}

static guint parallel; /* what acquire() asks for */

static VigShared *
acquire (const char *path, const VigSharedOptions *options)
{
  GError *error = NULL;
  VigSharedOptions o = options ? *options : (VigSharedOptions) { 0 };
  o.engine.device = o.engine.device ? o.engine.device : "cpu";
  o.engine.n_threads = o.engine.n_threads ? o.engine.n_threads : 1;
  o.n_parallel = o.n_parallel ? o.n_parallel : parallel;
  VigShared *shared = vig_shared_acquire (path, &o, &error);
  g_assert_no_error (error);
  return shared;
}

/* ---- who shares with whom ---- */

static void
test_same (void)
{
  g_autofree char *copy = write_model ("copy.safetensors", MADE_PLAIN), *other = write_model ("h.safetensors",
      MADE_HIERARCHICAL);
  g_autoptr (VigShared) a = acquire (model_path, NULL);
  g_autoptr (VigShared) b = acquire (copy, NULL); /* the content counts, not the path */
  g_autoptr (VigShared) c = acquire (other, NULL);
  g_autoptr (VigShared) d = acquire (model_path, &(VigSharedOptions) { .alone = TRUE });
  g_autoptr (VigShared) e = acquire (model_path, &(VigSharedOptions) { .engine.device = "ref" });
  g_autoptr (VigShared) f = acquire (model_path, &(VigSharedOptions) { .engine.n_threads = 2 });
  g_assert_true (vig_shared_get_model (a) == vig_shared_get_model (b));
  g_autoptr (VigShared) h = acquire (model_path, &(VigSharedOptions) { .n_parallel = 2 });
  VigShared *others[] = { c, d, e, f, h };
  for (guint i = 0; i < G_N_ELEMENTS (others); i++) {
    g_assert_true (vig_shared_get_model (others[i]) != vig_shared_get_model (a));
    g_assert_cmpuint (vig_shared_get_n_users (others[i]), ==, 1);
  }
  g_assert_cmpuint (vig_shared_get_n_users (a), ==, 2);
  g_assert_cmpstr (vig_shared_get_device (e), ==, "ref");
  g_autoptr (VigShared) g = acquire (model_path, NULL); /* one that is alone is found by nobody */
  g_assert_true (vig_shared_get_model (g) == vig_shared_get_model (a));
}

/* A file that is written anew is another model; who has the old one keeps it. */
static void
test_content_changes (void)
{
  g_autofree char *path = write_model ("changing.safetensors", MADE_PLAIN);
  g_autoptr (VigShared) a = acquire (path, NULL);
  g_autofree char *again = write_model ("changing.safetensors", MADE_HIERARCHICAL);
  g_autoptr (VigShared) b = acquire (path, NULL);
  g_assert_cmpstr (vig_model_get_family (vig_shared_get_model (a)), ==, "vig");
  g_assert_cmpstr (vig_model_get_family (vig_shared_get_model (b)), ==, "vig_h");
}

/* What "auto" turns out to be is the same as that by its own name, whoever comes first. */
/* Bytes that this process has read. */
static guint64
bytes_read (void)
{
  g_autofree char *text = NULL;
  if (!g_file_get_contents ("/proc/self/io", &text, NULL, NULL))
    return 0;
  return g_ascii_strtoull (strchr (text, ' '), NULL, 10); /* "rchar: …" comes first */
}

/* A file is read once, whoever comes first, and again by who comes later. */
static void
test_read_once (void)
{
  const guint64 padding = 8 << 20; /* far more than is read beside the file */
  g_autofree char *labels = g_strnfill (padding, 'x'), *array = g_strdup_printf ("[\"a\",\"b\",\"%s\"]", labels);
  const char *metadata[] = { "vig_labels", array, NULL };
  g_autoptr (Made) made = made_new (MADE_PLAIN);
  g_autoptr (GByteArray) file = made_file (made, metadata);
  g_autofree char *path = g_build_filename (dir, "large.safetensors", NULL);
  g_assert_true (g_file_set_contents (path, (char *) file->data, file->len, NULL));
  guint64 before = bytes_read ();
  if (before == 0) {
    g_test_skip ("this system does not count what a process reads");
    return;
  }
  g_autoptr (VigShared) a = acquire (path, NULL);
  g_assert_cmpuint (bytes_read () - before, >=, file->len);
  g_assert_cmpuint (bytes_read () - before, <, file->len + padding / 2);
  before = bytes_read ();
  g_autoptr (VigShared) b = acquire (path, NULL);
  g_assert_cmpuint (bytes_read () - before, <, file->len + padding / 2);
  g_assert_cmpuint (vig_shared_get_n_users (a), ==, 2);
}

static void
test_auto (void)
{
  const VigSharedOptions autos = { .engine.device = "auto" };
  for (int first = 0; first < 2; first++) {
    VigSharedOptions exact = { .engine.device = "cpu" };
    g_autoptr (VigShared) a = acquire (model_path, first ? &autos : &exact);
    exact.engine.precision = vig_shared_get_precision (a);
    g_autoptr (VigShared) b = acquire (model_path, first ? &exact : &autos);
    g_autoptr (VigShared) c = acquire (model_path, &exact);
    g_assert_true (vig_shared_get_model (a) == vig_shared_get_model (b));
    g_assert_true (vig_shared_get_model (a) == vig_shared_get_model (c));
    g_assert_cmpuint (vig_shared_get_n_users (c), ==, 3);
    exact.engine.precision = exact.engine.precision == VIG_PRECISION_FP32 ? VIG_PRECISION_BF16 : VIG_PRECISION_FP32;
    g_autoptr (VigShared) d = acquire (model_path, &exact);
    g_assert_true (vig_shared_get_model (d) != vig_shared_get_model (a));
  }
}

static void
test_options (void)
{
  GError *error = NULL;
  const VigEngineOptions cpu = { .device = "cpu", .n_threads = 1 };
  g_autoptr (VigShared) unset = acquire (model_path, &(VigSharedOptions) { .user = "north" });
  VigShared *four = acquire (model_path, &(VigSharedOptions) { .user = "south", .max_batch = 4, .has_batch_delay = TRUE });
  g_autoptr (VigShared) also = acquire (model_path, &(VigSharedOptions) { .user = "east", .max_batch = 4 });
  g_autoptr (VigShared) unset_too = acquire (model_path, NULL);

  g_assert_null (vig_shared_acquire (model_path, &(VigSharedOptions) { .engine = cpu, .user = "west", .max_batch = 5 },
      &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "max-batch: expected 4, as south has set it, whose engine west shares");
  g_assert_null (vig_shared_acquire (model_path, &(VigSharedOptions) { .engine = cpu, .user = "west",
      .has_batch_delay = TRUE, .batch_delay = 1500 }, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "batch-delay: expected 0 ms, as south has set it, whose engine west shares");
  g_autoptr (VigShared) alone = acquire (model_path, &(VigSharedOptions) { .max_batch = 5, .alone = TRUE });
  vig_shared_release (four);
  g_autoptr (VigShared) later = acquire (model_path, &(VigSharedOptions) { .has_batch_delay = TRUE, .batch_delay = 7 });
  g_assert_true (vig_shared_get_model (later) == vig_shared_get_model (unset)); /* what was set is gone with who set it */
  g_assert_cmpuint (vig_shared_get_n_users (unset), ==, 4);

  g_assert_null (vig_shared_acquire (model_path, &(VigSharedOptions) { .engine = cpu, .max_batch = 2000 }, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "max-batch: expected at most 1024, found 2000");
  g_assert_null (vig_shared_acquire (model_path, &(VigSharedOptions) { .engine = cpu, .has_batch_delay = TRUE,
      .batch_delay = -1 }, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "batch-delay: expected 0 to 10000000 microseconds, found -1");
  g_assert_null (vig_shared_acquire (model_path, &(VigSharedOptions) { .engine = cpu, .n_parallel = 1025 }, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "parallel-batches: expected at most 1024, found 1025");
  g_assert_null (vig_shared_acquire ("/nowhere/no.safetensors", NULL, &error));
  check_error (&error, VIG_ERROR_FILE, "/nowhere/no.safetensors");
  g_assert_null (vig_shared_acquire (model_path, &(VigSharedOptions) { .engine.device = "abacus" }, &error));
  check_error (&error, VIG_ERROR_DEVICE, "abacus");
}

/* ---- many at once ---- */

#define N_THREADS 16

typedef struct {
  pthread_barrier_t *start;
  const char *path;
  VigShared *shared;
  GError *error;
} Starting;

static void *
start (void *data)
{
  Starting *s = data;
  const VigSharedOptions options = { .engine = { .device = "cpu", .n_threads = 1 } };
  pthread_barrier_wait (s->start);
  s->shared = vig_shared_acquire (s->path, &options, &s->error);
  return NULL;
}

static void
start_all (Starting *s, const char *path)
{
  pthread_t threads[N_THREADS];
  pthread_barrier_t barrier;
  pthread_barrier_init (&barrier, NULL, N_THREADS);
  for (guint i = 0; i < N_THREADS; i++) {
    s[i] = (Starting) { .start = &barrier, .path = path };
    pthread_create (&threads[i], NULL, start, &s[i]);
  }
  for (guint i = 0; i < N_THREADS; i++)
    pthread_join (threads[i], NULL);
  pthread_barrier_destroy (&barrier);
}

static void
test_concurrent (void)
{
  Starting s[N_THREADS];
  for (int round = 0; round < 6; round++) {
    start_all (s, model_path);
    for (guint i = 0; i < N_THREADS; i++) {
      g_assert_no_error (s[i].error);
      g_assert_true (vig_shared_get_model (s[i].shared) == vig_shared_get_model (s[0].shared));
    }
    g_assert_cmpuint (vig_shared_get_n_users (s[0].shared), ==, N_THREADS);
    for (guint i = 0; i < N_THREADS; i++)
      vig_shared_release (s[i].shared);
  }
}

static void
test_concurrent_failure (void)
{
  Starting s[N_THREADS];
  g_autofree char *path = g_build_filename (dir, "bad.safetensors", NULL);
  g_autofree char *data = NULL;
  gsize size;
  g_assert_true (g_file_get_contents (model_path, &data, &size, NULL));
  for (int round = 0; round < 6; round++) {
    g_assert_true (g_file_set_contents (path, data, size - 4, NULL));
    start_all (s, path);
    for (guint i = 0; i < N_THREADS; i++) {
      g_assert_null (s[i].shared);
      check_error (&s[i].error, VIG_ERROR_MODEL, "bad.safetensors");
    }
    g_assert_true (g_file_set_contents (path, data, size, NULL)); /* put right, it is tried again */
    g_autoptr (VigShared) shared = acquire (path, NULL);
    g_assert_nonnull (shared);
  }
}

/* ---- frames ---- */

#define SIDE 32

static void
fill (guint8 *pixels, guint seed)
{
  for (guint i = 0; i < SIDE * SIDE * 3; i++)
    pixels[i] = (guint8) (seed = seed * 1103515245 + 12345, seed >> 16);
}

static VigFrame
frame_of (const guint8 *pixels)
{
  return (VigFrame) { .format = VIG_FORMAT_RGB, .width = SIDE, .height = SIDE, .data = { pixels },
    .stride = { SIDE * 3 } };
}

/* Frames of all users in one batch, and each has the bits that it has alone. */
static void
test_meet (void)
{
  enum { N = 8 };
  GError *error = NULL;
  VigShared *users[N];
  VigStream *streams[N];
  VigRequest requests[N] = { 0 };
  float results[N][3], logits[N][3], expected[3], expected_logits[3];
  guint8 pixels[N][SIDE * SIDE * 3];
  g_autoptr (VigModel) model = vig_model_load (model_path, &error);
  g_autoptr (VigEngine) engine = vig_engine_new (model, &(VigEngineOptions) { .device = "cpu", .n_threads = 1 }, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < N; i++) {
    users[i] = acquire (model_path, i == 3 ? &(VigSharedOptions) { .has_batch_delay = TRUE,
        .batch_delay = VIG_SHARED_MAX_DELAY } : NULL);
    streams[i] = vig_stream_new (users[i]);
  }
  gint64 us;
  g_assert_true (vig_shared_warm_up (users[0], 0, 0, &us, &error));
  g_assert_cmpint (us, >, 0);
  for (int round = 0; round < 3; round++) {
    for (guint i = 0; i < N; i++) {
      fill (pixels[i], i * 31 + (guint) round);
      requests[i].frame = frame_of (pixels[i]);
      requests[i].probabilities = results[i];
      requests[i].logits = logits[i];
      g_assert_true (vig_stream_submit (streams[i], &requests[i], &error));
    }
    for (guint i = 0; i < N; i++) {
      VigOutput output = { .probabilities = expected, .logits = expected_logits };
      vig_stream_wait (streams[i], &requests[i]);
      g_assert_no_error (requests[i].error);
      if (round > 0) /* before, none is expected */
        g_assert_cmpuint (requests[i].batch, ==, N);
      VigFrame frame = frame_of (pixels[i]);
      g_assert_true (vig_engine_classify_frames (engine, &frame, 1, 0, &output, &error));
      g_assert_cmpmem (results[i], sizeof results[i], expected, sizeof expected);
      g_assert_cmpmem (logits[i], sizeof logits[i], expected_logits, sizeof expected_logits);
    }
  }
  for (guint i = 0; i < N; i++) {
    vig_stream_free (streams[i]);
    vig_shared_release (users[i]);
  }
}

/* A user whose frames and maps are each as an engine of one's own has them. */
static void *
look (void *data)
{
  enum { ROUNDS = 20, TOKENS = 4 };
  const guint number = GPOINTER_TO_UINT (data);
  GError *error = NULL;
  g_autoptr (VigShared) shared = acquire (model_path, NULL);
  g_autoptr (VigStream) stream = vig_stream_new (shared);
  g_autoptr (VigModel) model = vig_model_load (model_path, &error);
  g_autoptr (VigEngine) engine = vig_engine_new (model, &(VigEngineOptions) { .device = "cpu", .n_threads = 1 }, &error);
  g_assert_no_error (error);
  for (guint round = 0; round < ROUNDS; round++) {
    const int class = VIG_MAP_TOP;
    int chosen[2];
    float results[2][3], shares[2][SIDE * SIDE];
    guint8 pixels[SIDE * SIDE * 3];
    fill (pixels, number * 31 + round);
    VigMaps maps[2];
    for (guint i = 0; i < 2; i++)
      maps[i] = (VigMaps) { .n = round % 3 == number % 3, .classes = &class, .chosen = &chosen[i], .shares = shares[i] };
    VigRequest r = { .frame = frame_of (pixels), .probabilities = results[0], .maps = maps[0] };
    const VigFrame frame = r.frame;
    g_assert_true (vig_stream_submit (stream, &r, &error));
    vig_stream_wait (stream, &r);
    g_assert_no_error (r.error);
    g_assert_true (vig_engine_classify_frames (engine, &frame, 1, 0, &(VigOutput) { .probabilities = results[1], .maps = &maps[1] },
        &error));
    g_assert_cmpmem (results[0], sizeof results[0], results[1], sizeof results[1]);
    if (maps[0].n == 0)
      continue;
    g_assert_cmpint (chosen[0], ==, chosen[1]);
    g_assert_cmpmem (shares[0], TOKENS * sizeof (float), shares[1], TOKENS * sizeof (float));
  }
  return NULL;
}

/* Several batches at once, over one set of weights. */
static void
test_parallel (void)
{
  enum { N = 6 };
  pthread_t threads[N];
  GError *error = NULL;
  gint64 us;
  parallel = 3;
  g_autoptr (VigShared) shared = acquire (model_path, &(VigSharedOptions) { .max_batch = 2 });
  g_assert_true (vig_shared_warm_up (shared, 0, 0, &us, &error));
  for (guint i = 0; i < N; i++)
    pthread_create (&threads[i], NULL, look, GUINT_TO_POINTER (i));
  for (guint i = 0; i < N; i++)
    pthread_join (threads[i], NULL);
  g_assert_cmpuint (vig_shared_get_n_users (shared), ==, 1);
  parallel = 0;
}

/* What the engine would not take is refused, for everybody else goes on. */
static void
test_bad_frames (void)
{
  GError *error = NULL;
  guint8 pixels[SIDE * SIDE * 3] = { 0 };
  float result[3];
  gint64 us;
  g_autoptr (VigShared) shared = acquire (model_path, NULL);
  g_autoptr (VigStream) stream = vig_stream_new (shared);
  VigRequest r = { .frame = frame_of (NULL), .probabilities = result };
  g_assert_false (vig_stream_submit (stream, &r, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "data[0] is NULL");
  r.frame = frame_of (pixels);
  r.size = 3;
  g_assert_false (vig_stream_submit (stream, &r, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "found 3x3");
  g_assert_false (vig_shared_warm_up (shared, G_MAXUINT, 0, &us, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "found 4294967295x4294967295");
  r.size = 0;
  g_assert_true (vig_stream_submit (stream, &r, &error));
  vig_stream_wait (stream, &r);
  g_assert_no_error (r.error);
}

/* ---- streams of frames ---- */

enum { STEPS = 24, MOST = 6 };

/* A stream's frames, when they were, and what an engine of one's own says to them one by one. */
typedef struct {
  guint8 pixels[STEPS][SIDE * SIDE * 3];
  gint64 times[STEPS];
  float expected[STEPS][3];
} Clip;

static Clip *
clip_new (guint number)
{
  Clip *c = g_new (Clip, 1);
  gint64 time = number * G_GINT64_CONSTANT (1000000007);
  for (guint i = 0; i < STEPS; i++) {
    fill (c->pixels[i], number * 1000 + i);
    if (i % 7 == 3) /* the same picture, and the same time, now and then */
      memcpy (c->pixels[i], c->pixels[i - 1], sizeof c->pixels[i]);
    else
      time += 40000000 * (i % 5 == 4 ? 90000 : 1 + number);
    c->times[i] = time;
  }
  return c;
}

static VigEngine *
engine_of (const char *path)
{
  GError *error = NULL;
  g_autoptr (VigModel) model = vig_model_load (path, &error);
  VigEngine *engine = vig_engine_new (model, &(VigEngineOptions) { .device = "cpu", .n_threads = 1 }, &error);
  g_assert_no_error (error);
  return engine;
}

/* From frame @first on, which is the first of its stream. */
static void
expect_stream (Clip *c, const char *path, guint first)
{
  GError *error = NULL;
  g_autoptr (VigEngine) engine = engine_of (path);
  g_autoptr (VigState) state = vig_state_new (engine, &error);
  for (guint i = first; i < STEPS; i++) {
    const VigFrame frame = frame_of (c->pixels[i]);
    const VigMoment moment = { state, c->times[i] };
    g_assert_true (vig_engine_classify_stream (engine, &frame, &moment, 1, 0, &(VigOutput) { .probabilities = c->expected[i] },
        &error));
  }
}

/* The answers to the last @window frames at each frame, as far as there are. */
static void
expect_windows (Clip *c, const char *path, guint window)
{
  GError *error = NULL;
  g_autoptr (VigEngine) engine = engine_of (path);
  for (guint i = 0; i < STEPS; i++) {
    VigFrame frames[STEPS];
    guint n = MIN (i + 1, window);
    for (guint f = 0; f < n; f++)
      frames[f] = frame_of (c->pixels[i + 1 - n + f]);
    g_assert_true (vig_engine_classify_windows (engine, frames, 1, n, 0, NULL, &(VigOutput) { .probabilities = c->expected[i] },
        &error));
  }
}

/* A user with a stream of frames, of which up to MOST are on their way. */
typedef struct {
  const char *path;
  Clip *clip;
  guint window, seed, n_batched;
} Watcher;

static void
take_answer (Watcher *w, VigStream *stream, VigRequest *r, guint i)
{
  vig_stream_wait (stream, r);
  g_assert_no_error (r->error);
  w->n_batched += r->batch > 1;
  guint64 n = w->window ? MIN (i + 1, w->window) : i + 1;
  g_assert_cmpuint (r->n_seen, ==, n);
  g_assert_cmpint (r->first_time, ==, w->clip->times[i + 1 - n]);
  if (r->probabilities)
    g_assert_cmpmem (r->probabilities, sizeof w->clip->expected[i], w->clip->expected[i], sizeof w->clip->expected[i]);
}

/* Comes, submits frames with their stream's state, and goes; then once more. */
static void *
watch (void *data)
{
  Watcher *w = data;
  for (int round = 0; round < 3; round++) {
    g_autoptr (VigShared) shared = acquire (w->path, NULL);
    g_autoptr (VigStream) stream = vig_stream_new (shared);
    VigState *state = vig_shared_state_new (shared, w->window, NULL);
    VigRequest requests[MOST] = { 0 };
    float results[MOST][3];
    for (guint i = 0; i < STEPS + MOST; i++) {
      VigRequest *r = &requests[i % MOST];
      if (i >= MOST)
        take_answer (w, stream, r, i - MOST);
      if (i >= STEPS)
        continue;
      w->seed = w->seed * 1103515245 + 12345;
      gboolean wanted = !w->window || w->seed >> 16 & 1;
      *r = (VigRequest) { .frame = frame_of (w->clip->pixels[i]), .state = state, .time = w->clip->times[i],
        .window = wanted ? w->window : 0, .probabilities = wanted ? results[i % MOST] : NULL };
      g_assert_true (vig_stream_submit (stream, r, NULL));
      if ((w->seed >> 20 & 7) == 0)
        vig_stream_hurry (stream);
    }
    vig_state_free (state);
  }
  return NULL;
}

static void
watch_all (const char *path, guint window)
{
  enum { N = 5 };
  Watcher watchers[N];
  pthread_t threads[N];
  guint batched = 0;
  for (guint i = 0; i < N; i++) {
    watchers[i] = (Watcher) { .path = path, .clip = clip_new (i), .window = window, .seed = i };
    if (window)
      expect_windows (watchers[i].clip, path, window);
    else
      expect_stream (watchers[i].clip, path, 0);
  }
  g_autoptr (VigShared) shared = acquire (path, &(VigSharedOptions) { .max_batch = 7 });
  for (guint i = 0; i < N; i++)
    pthread_create (&threads[i], NULL, watch, &watchers[i]);
  for (guint i = 0; i < N; i++) {
    pthread_join (threads[i], NULL);
    batched += watchers[i].n_batched;
    g_free (watchers[i].clip);
  }
  g_assert_cmpuint (batched, >, 0);
}

/* Streams with a memory in common batches, several frames of each or one, have the answers that they have one by one. */
static void
test_streams (void)
{
  g_autofree char *path = write_model ("stream.safetensors", MADE_STREAM);
  watch_all (path, 0);
}

/* And so have windows, those that are not full yet too. */
static void
test_windows (void)
{
  g_autofree char *path = write_model ("joint.safetensors", MADE_JOINT);
  watch_all (path, 4);
}

/* Each stream's state is in one of several batches at once. */
static void
test_streams_in_parallel (void)
{
  parallel = 2;
  test_streams ();
  test_windows ();
  parallel = 0;
}

/* One frame of a clip, waited for. */
static void
step (VigStream *stream, VigState *state, const Clip *c, guint i, VigRequest *r, float *result)
{
  GError *error = NULL;
  *r = (VigRequest) { .frame = frame_of (c->pixels[i]), .state = state, .time = c->times[i], .probabilities = result };
  g_assert_true (vig_stream_submit (stream, r, &error));
  vig_stream_wait (stream, r);
  g_assert_no_error (r->error);
}

/* A time that goes backwards fails nobody: it is a new stream's, and the others of the batch go on. A state that is reset
 * forgets; one that is let go of while its frame is computed stays until then. */
static void
test_forgetting (void)
{
  GError *error = NULL;
  g_autofree char *path = write_model ("stream.safetensors", MADE_STREAM);
  Clip *c = clip_new (1);
  expect_stream (c, path, 10);
  g_autoptr (VigShared) shared = acquire (path, NULL);
  g_autoptr (VigStream) stream = vig_stream_new (shared);
  VigState *state = vig_shared_state_new (shared, 0, &error);
  VigRequest r, together[4] = { 0 }, *all[4];
  float result[3], results[4][3];

  step (stream, state, c, 20, &r, result);
  step (stream, state, c, 10, &r, result); /* before that */
  g_assert_cmpmem (result, sizeof result, c->expected[10], sizeof result);
  g_assert_cmpuint (r.n_seen, ==, 1);
  g_assert_cmpint (r.first_time, ==, c->times[10]);
  step (stream, state, c, 11, &r, result);
  g_assert_cmpmem (result, sizeof result, c->expected[11], sizeof result);
  vig_state_reset (state);

  const guint order[] = { 10, 23, 10, 11 }; /* and within a batch */
  for (guint i = 0; i < G_N_ELEMENTS (order); i++) {
    together[i] = (VigRequest) { .frame = frame_of (c->pixels[order[i]]), .state = state, .time = c->times[order[i]],
      .probabilities = results[i] };
    all[i] = &together[i];
  }
  g_assert_true (vig_stream_submit_all (stream, all, G_N_ELEMENTS (order), &error));
  vig_state_ref (state);
  vig_state_free (state);
  for (guint i = 0; i < G_N_ELEMENTS (order); i++) {
    vig_stream_wait (stream, &together[i]);
    g_assert_no_error (together[i].error);
    g_assert_cmpuint (together[i].batch, ==, G_N_ELEMENTS (order));
    if (order[i] < 23)
      g_assert_cmpmem (results[i], sizeof results[i], c->expected[order[i]], sizeof results[i]);
  }
  g_assert_cmpuint (together[1].n_seen, ==, 2);
  g_assert_cmpuint (together[3].n_seen, ==, 2);
  vig_state_free (state);
  g_free (c);
}

/* Saved and restored between frames, in another process's engine or this one. */
static void
test_saved (void)
{
  GError *error = NULL;
  g_autofree char *path = write_model ("stream.safetensors", MADE_STREAM);
  Clip *c = clip_new (2);
  expect_stream (c, path, 0);
  g_autoptr (VigShared) shared = acquire (path, NULL);
  g_autoptr (VigStream) stream = vig_stream_new (shared);
  g_autoptr (VigState) a = vig_shared_state_new (shared, 0, &error), b = vig_shared_state_new (shared, 0, &error);
  VigRequest r;
  float result[3];

  for (guint i = 0; i < 8; i++)
    step (stream, a, c, i, &r, result);
  g_autoptr (GBytes) saved = vig_state_save (a, &error);
  g_assert_no_error (error);
  step (stream, a, c, 8, &r, result);
  g_assert_cmpmem (result, sizeof result, c->expected[8], sizeof result);
  g_assert_true (vig_state_restore (b, g_bytes_get_data (saved, NULL), g_bytes_get_size (saved), &error));
  step (stream, b, c, 8, &r, result);
  g_assert_cmpmem (result, sizeof result, c->expected[8], sizeof result);
  g_assert_cmpuint (r.n_seen, ==, 2);
  g_assert_cmpint (r.first_time, ==, c->times[7]);
  g_assert_false (vig_state_restore (b, (const guint8 *) "no", 2, &error));
  check_error (&error, VIG_ERROR_MODEL, "state");
  g_free (c);
}

/* Which models have what, and what is refused at the door. */
static void
test_bad_states (void)
{
  GError *error = NULL;
  g_autofree char *of_streams = write_model ("stream.safetensors", MADE_STREAM),
      *of_windows = write_model ("joint.safetensors", MADE_JOINT);
  g_autoptr (VigShared) image = acquire (model_path, NULL), streams = acquire (of_streams, NULL),
      windows = acquire (of_windows, NULL);
  g_autoptr (VigStream) stream = vig_stream_new (streams), other = vig_stream_new (windows), plain = vig_stream_new (image);
  g_autoptr (VigState) state = vig_shared_state_new (streams, 0, &error), last = vig_shared_state_new (windows, 2, &error);
  guint8 pixels[SIDE * SIDE * 3] = { 0 };

  g_assert_null (vig_shared_state_new (image, 2, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "state: expected a model with a memory, found small, which has none");
  g_assert_null (vig_shared_state_new (windows, 0, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "how many was not said");
  g_assert_null (vig_shared_state_new (windows, 4097, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "state: expected 1 to 4096 frames, found 4097");
  g_assert_null (vig_state_save (last, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "state: expected that of a model with a memory");
  g_assert_false (vig_state_restore (last, (const guint8 *) "", 0, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "state: expected that of a model with a memory");
  VigRequest r = { .frame = frame_of (pixels), .state = state };
  g_assert_false (vig_stream_submit (other, &r, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "state: expected one of this engine, found that of another");
  g_assert_false (vig_stream_submit (plain, &r, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "state: expected one of this engine, found that of another");
  r.window = 1;
  g_assert_false (vig_stream_submit (stream, &r, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "window: expected at most 0");
  r.state = last;
  r.window = 3;
  g_assert_false (vig_stream_submit (other, &r, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "window: expected at most 2, as many frames as the stream's state has room for");
  gint64 us;
  g_assert_true (vig_shared_warm_up (windows, 0, 3, &us, &error));
  g_assert_true (vig_shared_warm_up (streams, 0, 0, &us, &error));
  g_assert_false (vig_shared_warm_up (streams, 0, 3, &us, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "window: expected at most 0");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  dir = g_dir_make_tmp ("vig-shared-XXXXXX", NULL);
  model_path = write_model ("model.safetensors", MADE_PLAIN);
  g_test_add_func ("/shared/same", test_same);
  g_test_add_func ("/shared/content-changes", test_content_changes);
  g_test_add_func ("/shared/read-once", test_read_once);
  g_test_add_func ("/shared/auto", test_auto);
  g_test_add_func ("/shared/options", test_options);
  g_test_add_func ("/shared/concurrent", test_concurrent);
  g_test_add_func ("/shared/concurrent-failure", test_concurrent_failure);
  g_test_add_func ("/shared/meet", test_meet);
  g_test_add_func ("/shared/parallel", test_parallel);
  g_test_add_func ("/shared/bad-frames", test_bad_frames);
  g_test_add_func ("/shared/streams", test_streams);
  g_test_add_func ("/shared/windows", test_windows);
  g_test_add_func ("/shared/streams-in-parallel", test_streams_in_parallel);
  g_test_add_func ("/shared/forgetting", test_forgetting);
  g_test_add_func ("/shared/saved", test_saved);
  g_test_add_func ("/shared/bad-states", test_bad_states);
  int status = g_test_run ();
  const char *const files[] = { "model", "copy", "h", "changing", "bad", "large", "stream", "joint" };
  for (guint i = 0; i < G_N_ELEMENTS (files); i++) {
    g_autofree char *path = g_strdup_printf ("%s/%s.safetensors", dir, files[i]);
    g_unlink (path);
  }
  g_rmdir (dir);
  g_free (dir);
  g_free (model_path);
  return status;
}
