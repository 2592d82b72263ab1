/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "run.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "combine.h"
#include "inputs.h"
#include "job.h"
#include "journal.h"
#include "load.h"
#include "merge.h"
#include "outputs.h"
#include "plan.h"
#include "progress.h"

#define WAIT_USEC 100000
/* A job gives up by itself what stands still; one that then does not come back (an element that hangs while it is stopped) is left
 * alone after this much more, or this much when the run is to stop. */
#define PATIENCE_SECONDS 10.0
#define STOPPING_SECONDS 10.0
#define MOST_NAMED 20

enum { RUNNING, FINISHED, ABANDONED };

/* One input that runs, in a thread of its own. */
typedef struct {
  struct Run *run;
  const VigInput *input;
  char *display, *key;
  VigJob *job;
  VigLabelled *labelled;
  GError *error; /* its outputs cannot be written */
  gint state;    /* atomic */
  gint decoded;  /* atomic: it only waits for the engine */
  gint64 beat;   /* of the job, when it was last looked at */
  double still;  /* seconds since then, in turns of the main loop */
} Task;

typedef struct Run {
  VigOptions *options;
  GPtrArray *inputs; /* of VigInput: of all shards */
  GPtrArray *todo;   /* of VigInput * */
  guint next;        /* of todo */
  char *described;   /* options */
  VigJournal *journal;
  VigClassifiers *classifiers;
  VigProgress *progress;
  VigTotals totals;
  VigLoad load;
  double engine;         /* seconds that it was at work for inputs that are done */
  GPtrArray *running;    /* of Task */
  GAsyncQueue *finished; /* of Task; the run itself: something else has changed */
  guint abandoned;
  gboolean stopping;
} Run;

static volatile sig_atomic_t interrupted;

static void
on_signal (int number)
{
  interrupted = 1;
  signal (number, SIG_DFL); /* whoever asks again does not want to wait; nothing is lost by that either */
}

/* ---- what is done already ----------------------------------------------------------------------------------------- */

static char *
make_key (const Run *run, const VigInput *input)
{
  g_autofree char *text = g_strdup_printf ("%s\n%" G_GUINT64_FORMAT "\n%" G_GINT64_FORMAT "\n%s\n%s",
      input->path ? input->path : input->uri, input->size, input->mtime, run->options->model_hash, run->described);
  return g_compute_checksum_for_string (G_CHECKSUM_SHA256, text, -1);
}

static gboolean
is_done (const Run *run, const VigInput *input, const VigEntry *entry)
{
  const VigOptions *o = run->options;
  g_autofree char *key = make_key (run, input);
  return entry && g_str_equal (entry->key, key) && !input->problem && !o->force && !(entry->error && o->retry_failed)
      && vig_outputs_exist (o, input->name);
}

static gboolean
is_mine (const Run *run, const VigInput *input)
{
  return input->index % run->options->n_shards == run->options->shard;
}

static void
look_what_is_done (Run *run)
{
  for (guint i = 0; i < run->inputs->len; i++) {
    VigInput *input = run->inputs->pdata[i];
    if (!is_mine (run, input))
      continue;
    const VigEntry *entry = vig_journal_find (run->journal, input->name);
    run->totals.inputs++;
    if (is_done (run, input, entry)) {
      run->totals.before++;
      run->totals.failed_before += entry->error != NULL;
    } else {
      g_ptr_array_add (run->todo, input);
      run->totals.bytes += input->size;
    }
  }
}

/* Of all inputs of all shards, and of what the results depend on. */
static char *
hash_list (const Run *run)
{
  g_autoptr (GChecksum) sum = g_checksum_new (G_CHECKSUM_SHA256);
  g_checksum_update (sum, (const guchar *) run->options->model_hash, -1);
  g_checksum_update (sum, (const guchar *) run->described, -1);
  for (guint i = 0; i < run->inputs->len; i++) {
    g_checksum_update (sum, (const guchar *) ((VigInput *) run->inputs->pdata[i])->name, -1);
    g_checksum_update (sum, (const guchar *) "\n", 1);
  }
  return g_strdup (g_checksum_get_string (sum));
}

static gboolean
write_plan (const Run *run, GError **error)
{
  const VigOptions *o = run->options;
  g_autoptr (VigPlan) plan = vig_plan_new ();
  plan->shard = o->shard;
  plan->n_shards = o->n_shards;
  plan->n_inputs = run->inputs->len;
  plan->formats = o->formats;
  plan->list = hash_list (run);
  for (guint i = 0; i < run->inputs->len; i++) {
    const VigInput *input = run->inputs->pdata[i];
    if (is_mine (run, input))
      vig_plan_add (plan, input->index, g_strdup (input->name), make_key (run, input), vig_input_display (input));
  }
  return vig_plan_write (plan, o->output, error);
}

/* ---- one input ---------------------------------------------------------------------------------------------------- */

static void
check_unchanged (Task *task)
{
  const VigInput *before = task->input;
  VigInput now = { .path = before->path };
  vig_input_look (&now);
  if (!before->problem && (now.size != before->size || now.mtime != before->mtime)) {
    g_free (task->labelled->error);
    task->labelled->error = g_strdup ("it was changed while it was read");
  }
  g_free (now.problem);
}

static void
task_free (Task *task)
{
  vig_job_free (task->job);
  vig_labelled_free (task->labelled);
  g_clear_error (&task->error);
  g_free (task->display);
  g_free (task->key);
  g_free (task);
}

static void
on_decoded (gpointer data)
{
  Task *task = data;
  if (!g_atomic_int_get (&task->decoded) && g_atomic_int_get (&task->state) == RUNNING) {
    g_atomic_int_set (&task->decoded, 1);
    g_async_queue_push (task->run->finished, task->run);
  }
}

static gpointer
work (gpointer data)
{
  Task *task = data;
  Run *run = task->run;
  VigLabelled *labelled = vig_job_run (task->job);
  if (!g_atomic_int_compare_and_exchange (&task->state, RUNNING, FINISHED)) {
    vig_labelled_free (labelled); /* too late: nobody knows of it any more */
    task_free (task);
    return NULL;
  }
  task->labelled = labelled;
  if (!vig_job_is_cancelled (task->job)) {
    check_unchanged (task);
    vig_outputs_write (run->options, task->input, labelled, &task->error);
  }
  g_async_queue_push (run->finished, task);
  return NULL;
}

/* Its outputs of another time, or of other options, will be overwritten one by one: from now on they do not count any more. */
static gboolean
forget (Run *run, const VigInput *input, const char *key, GError **error)
{
  const VigEntry *old = vig_journal_find (run->journal, input->name);
  if (!old || !*old->key || g_str_equal (old->key, key))
    return TRUE;
  VigEntry *entry = g_new0 (VigEntry, 1);
  *entry = (VigEntry) { .key = g_strdup (""), .name = g_strdup (input->name) };
  return vig_journal_add (run->journal, entry, error);
}

static gboolean
start_next (Run *run, GError **error)
{
  const VigInput *input = run->todo->pdata[run->next++];
  g_autofree char *key = make_key (run, input);
  if (!forget (run, input, key, error))
    return FALSE;
  Task *task = g_new0 (Task, 1);
  *task = (Task) { .run = run, .input = input, .display = vig_input_display (input),
    .key = g_steal_pointer (&key), .job = vig_job_new (run->options, input, run->classifiers) };
  vig_job_set_decoded (task->job, on_decoded, task);
  g_ptr_array_add (run->running, task);
  g_thread_unref (g_thread_new ("input", work, task));
  return TRUE;
}

static VigEntry *
make_entry (const Task *task, const VigLabelled *l)
{
  VigEntry *entry = g_new0 (VigEntry, 1);
  *entry = (VigEntry) { .key = g_strdup (task->key), .name = g_strdup (task->input->name), .error = g_strdup (l->error),
    .frames = l->frames->len, .segments = l->segments->len, .duration = (double) l->duration / GST_SECOND };
  return entry;
}

/* What cannot be read is looked at in every run, but is not news in every one. */
static gboolean
is_news (const Run *run, const VigEntry *entry)
{
  const VigEntry *old = vig_journal_find (run->journal, entry->name);
  return !old || !g_str_equal (old->key, entry->key) || g_strcmp0 (old->error, entry->error) != 0 || old->frames != entry->frames
      || old->segments != entry->segments;
}

/* The results are on disk: now they count. GFileError: nothing more can be written */
static gboolean
count (Run *run, const Task *task, const VigLabelled *l, GError **error)
{
  VigTotals *t = &run->totals;
  VigEntry *entry = make_entry (task, l);
  t->done++;
  t->frames += l->frames->len;
  t->media += (double) l->duration / GST_SECOND;
  t->bytes_done += task->input->size;
  if (l->error) {
    t->failed++;
    vig_progress_say (run->progress, TRUE, "%s: %s", task->display, l->error);
    run->stopping |= run->options->fail_fast;
  } else {
    vig_progress_say (run->progress, FALSE, "%s: %u frames, %u segments", task->display, l->frames->len, l->segments->len);
  }
  if (is_news (run, entry))
    return vig_journal_add (run->journal, entry, error);
  vig_entry_free (entry);
  return TRUE;
}

static gboolean
finish (Run *run, Task *task, GError **error)
{
  VigJobProgress at;
  gboolean ok = TRUE;
  g_ptr_array_remove (run->running, task);
  vig_job_get_progress (task->job, &at);
  run->engine += at.engine;
  if (task->error) {
    g_propagate_error (error, g_steal_pointer (&task->error));
    ok = FALSE;
  } else if (!vig_job_is_cancelled (task->job)) {
    ok = count (run, task, task->labelled, error);
  }
  task_free (task);
  return ok;
}

/* What hangs where nothing can end it, in an element that is being stopped say, is left to itself. */
static gboolean
abandon (Run *run, Task *task, GError **error)
{
  gboolean ok = TRUE;
  if (!g_atomic_int_compare_and_exchange (&task->state, RUNNING, ABANDONED))
    return TRUE; /* it has come back just now */
  g_autoptr (VigLabelled) labelled = vig_labelled_new (task->display);
  labelled->model = g_strdup (run->options->model_name);
  labelled->model_hash = g_strdup (run->options->model_hash);
  labelled->error = g_strdup ("it hangs and cannot be stopped");
  g_ptr_array_remove (run->running, task);
  run->abandoned++;
  if (!vig_job_is_cancelled (task->job))
    ok = vig_outputs_write (run->options, task->input, labelled, error) && count (run, task, labelled, error);
  vig_job_cancel (task->job);
  return ok;
}

/* ---- all of them -------------------------------------------------------------------------------------------------- */

static void
show (Run *run)
{
  g_autofree VigRunning *running = g_new0 (VigRunning, run->running->len + 1);
  for (guint i = 0; i < run->running->len; i++) {
    Task *task = run->running->pdata[i];
    running[i] = (VigRunning) { .name = task->display, .size = task->input->size };
    vig_job_get_progress (task->job, &running[i].at);
  }
  vig_progress_show (run->progress, &run->totals, running, run->running->len);
}

/* Files are decoded at once as many as may be. Those that only wait for the engine have a few frames each; but where it is
 * what takes time, they are not to become ever more. */
static gboolean
is_full (const Run *run)
{
  guint decoding = 0;
  for (guint i = 0; i < run->running->len; i++)
    decoding += !g_atomic_int_get (&((Task *) run->running->pdata[i])->decoded);
  return decoding >= run->load.limit || run->running->len >= 2 * run->load.limit;
}

/* Stillness is counted in turns, as in a job. @waited: seconds of this one */
static gboolean
watch (Run *run, double waited, GError **error)
{
  const double most = run->stopping ? STOPPING_SECONDS : 2 * run->options->stall_timeout + PATIENCE_SECONDS;
  double engine = run->engine;
  gboolean ok = TRUE;
  for (guint i = run->running->len; ok && i-- > 0;) {
    Task *task = run->running->pdata[i];
    VigJobProgress at;
    vig_job_get_progress (task->job, &at);
    engine += at.engine;
    task->still = at.beat == task->beat ? task->still + waited : 0;
    task->beat = at.beat;
    if (task->still > most)
      ok = abandon (run, task, error);
  }
  vig_load_look (&run->load, vig_load_get_idle (), engine, is_full (run) && run->next < run->todo->len);
  return ok;
}

static void
cancel_all (Run *run)
{
  for (guint i = 0; i < run->running->len; i++)
    vig_job_cancel (((Task *) run->running->pdata[i])->job);
}

/* Until all are done, or it has to stop. @error: its outputs cannot be written */
static gboolean
label_all (Run *run, GError **error)
{
  GError *first = NULL;
  while (run->running->len > 0 || (!run->stopping && run->next < run->todo->len)) {
    while (!first && !run->stopping && run->next < run->todo->len && !is_full (run))
      start_next (run, &first);
    gpointer what = g_async_queue_timeout_pop (run->finished, WAIT_USEC);
    if (what && what != run)
      finish (run, what, first ? NULL : &first);
    watch (run, what ? 0 : (double) WAIT_USEC / G_USEC_PER_SEC, first ? NULL : &first);
    run->stopping |= interrupted != 0 || first != NULL;
    if (run->stopping)
      cancel_all (run);
    show (run);
  }
  if (first)
    g_propagate_error (error, first);
  return first == NULL;
}

/* What there is of all inputs together. The index is made of the pages that are there: also after a restart, and when the run was
 * stopped. */
static gboolean
combine (const Run *run, GError **error)
{
  const VigOptions *o = run->options;
  g_autoptr (GPtrArray) names = g_ptr_array_new ();
  for (guint i = 0; i < run->inputs->len; i++) {
    const VigInput *input = run->inputs->pdata[i];
    if (is_mine (run, input))
      g_ptr_array_add (names, input->name);
  }
  const char *const *list = (const char *const *) names->pdata;
  if (o->formats & VIG_FORMAT_REPORT && !vig_outputs_write_index (o->output, list, names->len, error))
    return FALSE;
  return run->stopping || !o->combined || vig_combine (o, list, names->len, error);
}

static void
say_what_would_be (Run *run)
{
  for (guint i = 0; i < run->todo->len; i++) {
    const VigInput *input = run->todo->pdata[i];
    g_autofree char *display = vig_input_display (input);
    g_print ("%s: %s\n", display, input->problem ? input->problem : "would be labelled");
  }
  g_print ("%u inputs, %u of them to be labelled\n", run->totals.inputs, run->todo->len);
}

static int
get_status (const Run *run)
{
  if (interrupted)
    return VIG_STATUS_INTERRUPTED;
  return run->totals.failed + run->totals.failed_before > 0 ? VIG_STATUS_SOME_FAILED : VIG_STATUS_FINE;
}

/* Those of earlier runs too: whoever looks at the end of a log wants to know. */
static void
name_failed (const Run *run)
{
  guint n = 0;
  for (guint i = 0; i < run->inputs->len; i++) {
    const VigInput *input = run->inputs->pdata[i];
    const VigEntry *entry = is_mine (run, input) ? vig_journal_find (run->journal, input->name) : NULL;
    if (!entry || !entry->error || n++ >= MOST_NAMED)
      continue;
    g_autofree char *display = vig_input_display (input);
    vig_progress_say (run->progress, FALSE, "failed: %s: %s", display, entry->error);
  }
  if (n > MOST_NAMED)
    vig_progress_say (run->progress, FALSE, "failed: %u more, named in the journal", n - MOST_NAMED);
}

static int
label (Run *run, GError **error)
{
  struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
  sigaction (SIGINT, &action, NULL);
  sigaction (SIGTERM, &action, NULL);
  if (!(run->journal = vig_outputs_open (run->options, error)))
    return VIG_STATUS_NOT_STARTED;
  look_what_is_done (run);
  if (!write_plan (run, error))
    return VIG_STATUS_NOT_STARTED;
  if (run->todo->len > 0 && !(run->classifiers = vig_classifiers_new (run->options, error)))
    return VIG_STATUS_NOT_STARTED;
  vig_load_init (&run->load, (guint) run->options->jobs, run->classifiers ? vig_classifiers_get_parallel (run->classifiers) : 1);
  run->totals.start = g_get_monotonic_time ();
  if (!label_all (run, error) || !combine (run, error))
    return VIG_STATUS_SOME_FAILED;
  name_failed (run);
  vig_progress_end (run->progress, &run->totals);
  if (run->stopping)
    vig_progress_say (run->progress, TRUE, "stopped; the same command goes on with the %u inputs that are left",
        run->totals.inputs - run->totals.before - run->totals.done);
  return get_status (run);
}

static void
run_clear (Run *run)
{
  g_clear_pointer (&run->classifiers, vig_classifiers_free);
  g_clear_pointer (&run->journal, vig_journal_free);
  g_clear_pointer (&run->inputs, g_ptr_array_unref);
  g_ptr_array_unref (run->todo);
  g_ptr_array_unref (run->running);
  g_async_queue_unref (run->finished);
  vig_progress_free (run->progress);
  g_free (run->described);
}

static int
dry_run (Run *run)
{
  run->journal = vig_journal_peek (run->options->output);
  look_what_is_done (run);
  say_what_would_be (run);
  return VIG_STATUS_FINE;
}

static int
merge (Run *run, GError **error)
{
  VigTotals *t = &run->totals;
  if (!vig_merge (run->options, run->progress, t, error))
    return VIG_STATUS_NOT_STARTED;
  vig_progress_end (run->progress, t);
  if (t->done < t->inputs)
    vig_progress_say (run->progress, TRUE, "%u of %u inputs are missing", t->inputs - t->done, t->inputs);
  return t->failed > 0 || t->done < t->inputs ? VIG_STATUS_SOME_FAILED : VIG_STATUS_FINE;
}

int
vig_run (VigOptions *options, GError **error)
{
  Run run = { .options = options, .described = vig_options_describe (options), .todo = g_ptr_array_new (),
    .running = g_ptr_array_new (), .finished = g_async_queue_new (), .progress = vig_progress_new (options->quiet) };
  int status = VIG_STATUS_NOT_STARTED;
  if (options->merge)
    status = merge (&run, error);
  else if (vig_options_look_at_model (options, error) && (run.inputs = vig_inputs_find (options, error)))
    status = options->dry_run ? dry_run (&run) : label (&run, error);
  if (run.abandoned > 0) { /* their threads still look at all of this */
    fflush (NULL);
    _exit (status);
  }
  run_clear (&run);
  return status;
}
