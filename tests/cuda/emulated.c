/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "emulated.h"

#include <dlfcn.h>
#include <string.h>

static struct {
  void (*reset) (void);
  int (*live) (void);
  int (*calls) (const char *call);
  gboolean (*set_order) (const char *order);
} emu;

/* of the driver; all return 0 if they worked */
static struct {
  int (*alloc) (guint64 *memory, gsize size), (*free) (guint64 memory);
  int (*alloc_host) (void **memory, gsize size), (*free_host) (void *memory);
  int (*upload) (guint64 to, const void *from, gsize size, void *stream);
  int (*stream_create) (void **stream, guint flags), (*stream_destroy) (void *stream);
  int (*event_create) (void **event, guint flags), (*event_destroy) (void *event), (*event_record) (void *event, void *stream);
} cu;

struct EmulatedStream {
  void *stream;
  GPtrArray *pinned; /* what is being copied */
};

static void
find (void *module, const char *name, void *function)
{
  void *symbol = dlsym (module, name);
  if (!symbol)
    g_error ("VIG_CUDA_MODULE: expected the emulated module, found one without %s", name);
  memcpy (function, &symbol, sizeof symbol);
}

static void *
open_module (void)
{
  const char *path = g_getenv ("VIG_CUDA_MODULE");
  void *module = path ? dlopen (path, RTLD_NOW | RTLD_LOCAL) : NULL;
  if (!module)
    g_error ("VIG_CUDA_MODULE: %s", path ? dlerror () : "expected the emulated module, found nothing");
  return module;
}

gboolean
emulated_try (void)
{
  gboolean is_emulated = dlsym (open_module (), "vig_emu_reset") != NULL;
  if (is_emulated)
    emulated_init ();
  return is_emulated;
}

void
emulated_init (void)
{
  void *module = open_module ();
  find (module, "vig_emu_reset", &emu.reset);
  find (module, "vig_emu_live", &emu.live);
  find (module, "vig_emu_calls", &emu.calls);
  find (module, "vig_emu_set_order", &emu.set_order);
  find (module, "cuMemAlloc_v2", &cu.alloc);
  find (module, "cuMemFree_v2", &cu.free);
  find (module, "cuMemAllocHost_v2", &cu.alloc_host);
  find (module, "cuMemFreeHost", &cu.free_host);
  find (module, "cuMemcpyHtoDAsync_v2", &cu.upload);
  find (module, "cuStreamCreate", &cu.stream_create);
  find (module, "cuStreamDestroy_v2", &cu.stream_destroy);
  find (module, "cuEventCreate", &cu.event_create);
  find (module, "cuEventDestroy_v2", &cu.event_destroy);
  find (module, "cuEventRecord", &cu.event_record);
}

void
emulated_machine (const char *settings)
{
  g_auto (GStrv) environment = g_listenv (), pairs = g_strsplit (settings, " ", 0);

  if (!emu.reset)
    return;
  for (guint i = 0; environment[i]; i++)
    if (g_str_has_prefix (environment[i], "VIG_EMU_"))
      g_unsetenv (environment[i]);
  for (guint i = 0; pairs[i]; i++) {
    char *value = strchr (pairs[i], '=');
    if (value) {
      *value = 0;
      g_setenv (pairs[i], value + 1, TRUE);
    }
  }
  emu.reset ();
}

int
emulated_live (void)
{
  return emu.live ? emu.live () : 0;
}

int
emulated_calls (const char *call)
{
  return emu.calls (call);
}

void
emulated_order (const char *order)
{
  g_assert_true (!emu.set_order || emu.set_order (order));
}

/* ---- who makes frames ---- */

EmulatedStream *
emulated_stream_new (void)
{
  EmulatedStream *stream = g_new0 (EmulatedStream, 1);
  g_assert_cmpint (cu.stream_create (&stream->stream, 1), ==, 0);
  stream->pinned = g_ptr_array_new ();
  return stream;
}

void
emulated_stream_free (EmulatedStream *stream)
{
  g_assert_cmpint (cu.stream_destroy (stream->stream), ==, 0);
  for (guint i = 0; i < stream->pinned->len; i++)
    g_assert_cmpint (cu.free_host (stream->pinned->pdata[i]), ==, 0);
  g_ptr_array_unref (stream->pinned);
  g_free (stream);
}

void *
emulated_upload (EmulatedStream *stream, const void *host, gsize size)
{
  guint64 memory;
  void *pinned;
  g_assert_cmpint (cu.alloc (&memory, size), ==, 0);
  if (stream) { /* a copy from other memory would read it at once */
    g_assert_cmpint (cu.alloc_host (&pinned, size), ==, 0);
    memcpy (pinned, host, size);
    g_ptr_array_add (stream->pinned, pinned);
    host = pinned;
  }
  g_assert_cmpint (cu.upload (memory, host, size, stream ? stream->stream : NULL), ==, 0);
  return (void *) (guintptr) memory;
}

void
emulated_free (void *memory)
{
  g_assert_cmpint (cu.free ((guint64) (guintptr) memory), ==, 0);
}

void *
emulated_event (EmulatedStream *stream)
{
  void *event;
  g_assert_cmpint (cu.event_create (&event, 2), ==, 0);
  g_assert_cmpint (cu.event_record (event, stream->stream), ==, 0);
  return event;
}

void
emulated_event_free (void *event)
{
  g_assert_cmpint (cu.event_destroy (event), ==, 0);
}
