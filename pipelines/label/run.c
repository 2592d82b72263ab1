/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "run.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include <glib/gstdio.h>

#include "files.h"
#include "inputs.h"
#include "job.h"
#include "journal.h"
#include "outputs.h"
#include "progress.h"

#define WAIT_USEC 100000

/* One input that runs, in a thread of its own. */
typedef struct {
  struct Run *run;
  const VigInput *input;
  char *display, *key;
  VigJob *job;
  VigLabelled *labelled;
  GError *error; /* its outputs cannot be written */
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
  GPtrArray *running;  /* of Task */
  GAsyncQueue *finished; /* of Task */
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

static void
look_what_is_done (Run *run)
{
  for (guint i = 0; i < run->inputs->len; i++) {
    VigInput *input = run->inputs->pdata[i];
    if (input->index % run->options->n_shards != run->options->shard)
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

static gpointer
work (gpointer data)
{
  Task *task = data;
  Run *run = task->run;
  task->labelled = vig_job_run (task->job);
  if (!vig_job_is_cancelled (task->job)) {
    check_unchanged (task);
    vig_outputs_write (run->options, task->input, task->labelled, &task->error);
  }
  g_async_queue_push (run->finished, task);
  return NULL;
}

static void
start_next (Run *run)
{
  Task *task = g_new0 (Task, 1);
  const VigInput *input = run->todo->pdata[run->next++];
  *task = (Task) { .run = run, .input = input, .display = vig_input_display (input), .key = make_key (run, input),
    .job = vig_job_new (run->options, input, run->classifiers) };
  g_ptr_array_add (run->running, task);
  g_thread_unref (g_thread_new ("input", work, task));
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

static VigEntry *
make_entry (const Task *task)
{
  const VigLabelled *l = task->labelled;
  VigEntry *entry = g_new0 (VigEntry, 1);
  *entry = (VigEntry) { .key = g_strdup (task->key), .name = g_strdup (task->input->name), .error = g_strdup (l->error),
    .frames = l->frames->len, .segments = l->segments->len, .duration = (double) l->duration / GST_SECOND };
  return entry;
}

/* The results are on disk: now they count. GFileError: nothing more can be written */
static gboolean
finish (Run *run, Task *task, GError **error)
{
  const VigLabelled *l = task->labelled;
  VigTotals *t = &run->totals;
  g_ptr_array_remove (run->running, task);
  if (vig_job_is_cancelled (task->job))
    return TRUE;
  if (task->error) {
    g_propagate_error (error, g_steal_pointer (&task->error));
    return FALSE;
  }
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
  return vig_journal_add (run->journal, make_entry (task), error);
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

static guint
get_limit (const Run *run)
{
  return run->options->jobs > 0 ? (guint) run->options->jobs : g_get_num_processors ();
}

static void
cancel_all (Run *run)
{
  for (guint i = 0; i < run->running->len; i++)
    vig_job_cancel (((Task *) run->running->pdata[i])->job);
}

/* Until all are done, or it has to stop. */
static gboolean
label_all (Run *run, GError **error)
{
  gboolean ok = TRUE;
  while (run->running->len > 0 || (!run->stopping && run->next < run->todo->len)) {
    while (!run->stopping && run->next < run->todo->len && run->running->len < get_limit (run))
      start_next (run);
    Task *task = g_async_queue_timeout_pop (run->finished, WAIT_USEC);
    if (task) {
      if (!finish (run, task, ok ? error : NULL)) {
        ok = FALSE;
        run->stopping = TRUE;
      }
      task_free (task);
    }
    run->stopping |= interrupted != 0;
    if (run->stopping)
      cancel_all (run);
    show (run);
  }
  return ok;
}

static gboolean
prepare_output (Run *run, GError **error)
{
  const VigOptions *o = run->options;
  g_autofree char *videos = vig_outputs_folder (o->output);
  if (g_mkdir_with_parents (videos, 0777) != 0) {
    g_set_error (error, G_FILE_ERROR, (int) g_file_error_from_errno (errno), "%s: cannot be made: %s", videos, g_strerror (errno));
    return FALSE;
  }
  if (!(run->journal = vig_journal_open (o->output, error)))
    return FALSE;
  vig_folder_sweep (o->output);
  vig_folder_sweep (videos);
  return TRUE;
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

static int
label (Run *run, GError **error)
{
  struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
  sigaction (SIGINT, &action, NULL);
  sigaction (SIGTERM, &action, NULL);
  if (!prepare_output (run, error))
    return VIG_STATUS_NOT_STARTED;
  look_what_is_done (run);
  if (run->todo->len > 0 && !(run->classifiers = vig_classifiers_new (run->options, error)))
    return VIG_STATUS_NOT_STARTED;
  run->totals.start = g_get_monotonic_time ();
  if (!label_all (run, error))
    return VIG_STATUS_SOME_FAILED;
  vig_progress_end (run->progress, &run->totals);
  if (interrupted)
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

int
vig_run (VigOptions *options, GError **error)
{
  Run run = { .options = options, .described = vig_options_describe (options), .todo = g_ptr_array_new (),
    .running = g_ptr_array_new (), .finished = g_async_queue_new (), .progress = vig_progress_new (options->quiet) };
  int status = VIG_STATUS_NOT_STARTED;
  if (vig_options_look_at_model (options, error) && (run.inputs = vig_inputs_find (options, error))) {
    if (options->dry_run) {
      run.journal = vig_journal_peek (options->output);
      look_what_is_done (&run);
      say_what_would_be (&run);
      status = VIG_STATUS_FINE;
    } else {
      status = label (&run, error);
    }
  }
  run_clear (&run);
  return status;
}
