/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef VIG_ERROR_H
#define VIG_ERROR_H

#include <glib.h>

G_BEGIN_DECLS

#ifndef VIG_API
#define VIG_API __attribute__ ((visibility ("default")))
#endif

/* The error domain of libvig. Messages are one sentence: the thing, what was expected, what was found. */
#define VIG_ERROR (vig_error_quark ())

typedef enum {
  VIG_ERROR_FILE,        /* cannot be opened or read */
  VIG_ERROR_MODEL,       /* the file is read, but is no valid model */
  VIG_ERROR_DEVICE,      /* the device asked for does not work here */
  VIG_ERROR_ARGUMENT,    /* the caller asked for something impossible (size, format, precision) */
  VIG_ERROR_NO_MEMORY,
  VIG_ERROR_FAILED,      /* a computation failed on the device */
  VIG_ERROR_CANCELLED    /* the caller cancelled it before it was computed */
} VigError;

VIG_API GQuark vig_error_quark (void);

G_END_DECLS
#endif
