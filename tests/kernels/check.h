/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How every operator of the kernel table is checked: an operator is described once, as tensors of one batch item and a
 * call, and the harness (check.c) does the rest for every backend: random shapes, NaN in every output, guard bands,
 * comparison with the reference, the same bits alone, in a batch and on any number of threads, and timing.
 *
 * To add an operator: its contract in kernels.h, its reference in kernels/ref/, and here one row of check_ops[]
 * (check_ops.c). A slot of the table without a row, and a row without a reference, fail the test "table".
 */
#ifndef VIG_CHECK_H
#define VIG_CHECK_H

#include <glib.h>

#include "kernels.h"

typedef enum { CHECK_IN, CHECK_OUT, CHECK_INOUT } CheckUse;

typedef struct {
  const char *name;
  CheckUse use;
  VigType type;
  size_t size;      /* elements of one item; of all if shared */
  bool shared;      /* one for the whole batch: weights */
  bool host;        /* stays in host memory (what matmul_create reads) */
  float range;      /* values are uniform in -range .. range */
  float offset;     /* added to them */
  bool outliers;    /* one value in 64 is 40 times as large */
  int row, used;    /* rows of `row` elements of which `used` count: the rest is NaN in inputs (row 0: no rows) */
  void (*fill) (float *values, size_t n, const int *dims, GRand *random); /* instead of all that */
} CheckTensor;

enum { CHECK_DIMS = 14, CHECK_TENSORS = 12 };

typedef struct CheckOp CheckOp;

typedef struct {
  const CheckOp *op;
  int d[CHECK_DIMS]; /* the operator's own parameters, named by its row */
  int batch;
  CheckTensor t[CHECK_TENSORS];
  int n_tensors;
} CheckCase;

struct CheckOp {
  const char *name;
  size_t slot;                                    /* offsetof in VigKernels */
  const char *dims;                               /* names of the parameters, for messages */
  void (*tensors) (CheckCase *c);                 /* fills c->t from c->d */
  void *(*open) (VigKernels *k, const CheckCase *c, void *const p[]); /* NULL where nothing is made ready once */
  void (*call) (VigKernels *k, const CheckCase *c, void *state, void *const p[], int batch);
  void (*close) (VigKernels *k, void *state);
  void (*draw) (int *d, GRand *random);           /* a random shape */
  const int (*shapes)[CHECK_DIMS];                /* fixed shapes, the first n_bench of them are timed */
  int n_shapes, n_bench;
  /* |got - ref| <= rms_tolerance * rms (ref) + tolerance * |ref|; outputs of 16 bits may be one step further off */
  double rms_tolerance, tolerance;
  double (*work) (const CheckCase *c);            /* of one item, NULL: bytes moved are what counts */
  double unit;                                    /* of work, and its name */
  const char *unit_name;
};

extern const CheckOp check_ops[];
extern const int check_n_ops;

#endif
