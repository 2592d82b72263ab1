/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "emulated.h"

#include <dlfcn.h>
#include <string.h>

static struct {
  void (*reset) (void);
  int (*live) (void);
  int (*calls) (const char *call);
} emu;

static void
find (void *module, const char *name, void *function)
{
  void *symbol = dlsym (module, name);
  if (!symbol)
    g_error ("VIG_CUDA_MODULE: expected the emulated module, found one without %s", name);
  memcpy (function, &symbol, sizeof symbol);
}

void
emulated_init (void)
{
  const char *path = g_getenv ("VIG_CUDA_MODULE");
  void *module = path ? dlopen (path, RTLD_NOW | RTLD_LOCAL) : NULL;
  if (!module)
    g_error ("VIG_CUDA_MODULE: %s", path ? dlerror () : "expected the emulated module, found nothing");
  find (module, "vig_emu_reset", &emu.reset);
  find (module, "vig_emu_live", &emu.live);
  find (module, "vig_emu_calls", &emu.calls);
}

void
emulated_machine (const char *settings)
{
  g_auto (GStrv) environment = g_listenv (), pairs = g_strsplit (settings, " ", 0);

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
  return emu.live ();
}

int
emulated_calls (const char *call)
{
  return emu.calls (call);
}
