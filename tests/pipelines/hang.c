/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Loaded in front of the C library: opening a file whose name has "hang-when-opened" in it never returns. */
#undef _FILE_OFFSET_BITS /* with it open() would be another name of open64() */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

int
open64 (const char *path, int flags, ...)
{
  int (*next) (const char *, int, ...) = NULL;
  va_list args;
  va_start (args, flags);
  const mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg (args, mode_t) : 0;
  va_end (args);
  while (strstr (path, "hang-when-opened"))
    pause ();
  *(void **) &next = dlsym (RTLD_NEXT, "open64");
  return next (path, flags, mode);
}

int
open (const char *path, int flags, ...)
{
  va_list args;
  va_start (args, flags);
  const mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg (args, mode_t) : 0;
  va_end (args);
  return open64 (path, flags, mode);
}
