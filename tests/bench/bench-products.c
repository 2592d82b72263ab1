/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What oneDNN alone takes for a list of matrix products, one after the other, on its own threads: the yardstick of
 * tests/bench/cpu. A product has weights of its own, packed beforehand as oneDNN likes them; sources and results are two
 * buffers that all of them share.
 *
 *   bench-products fp32|bf16 SECONDS [COUNTx]ROWSxNxK…
 *
 * Prints {"ms":M,"gflops":G}: the median of all products together, and what that makes. OMP_NUM_THREADS are its threads.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <oneapi/dnnl/dnnl.h>

#include "figures.h"

typedef struct {
  dnnl_primitive_t primitive;
  dnnl_exec_arg_t args[3];
} Product;

typedef struct {
  dnnl_engine_t engine;
  dnnl_stream_t stream;
  dnnl_data_type_t type;
  GArray *products; /* of Product */
  double flops;
  gsize source, result; /* bytes of the largest */
} Bench;

static void
check (dnnl_status_t status, const char *what)
{
  if (status == dnnl_success)
    return;
  fprintf (stderr, "bench-products: %s: oneDNN says %d\n", what, status);
  exit (1);
}

static const_dnnl_memory_desc_t
layout (const_dnnl_primitive_desc_t desc, dnnl_query_t what)
{
  return dnnl_primitive_desc_query_md (desc, what, 0);
}

/* Numbers that are neither zero nor denormal, in either type: bytes 0x3c say 0.01 twice. */
static dnnl_memory_t
filled (const Bench *b, const_dnnl_memory_desc_t desc)
{
  dnnl_memory_t memory;
  void *data;
  check (dnnl_memory_create (&memory, desc, b->engine, DNNL_MEMORY_ALLOCATE), "memory");
  check (dnnl_memory_get_data_handle (memory, &data), "memory");
  memset (data, 0x3c, dnnl_memory_desc_get_size (desc));
  return memory;
}

static void
add (Bench *b, dnnl_dim_t rows, dnnl_dim_t n, dnnl_dim_t k)
{
  dnnl_dims_t a_dims = { rows, k }, w_dims = { k, n }, c_dims = { rows, n };
  dnnl_memory_desc_t a, w, c;
  dnnl_primitive_desc_t desc;
  Product p = { .args = { { .arg = DNNL_ARG_SRC }, { .arg = DNNL_ARG_WEIGHTS }, { .arg = DNNL_ARG_DST } } };

  check (dnnl_memory_desc_create_with_tag (&a, 2, a_dims, b->type, dnnl_ab), "source");
  check (dnnl_memory_desc_create_with_tag (&w, 2, w_dims, b->type, dnnl_format_tag_any), "weights");
  check (dnnl_memory_desc_create_with_tag (&c, 2, c_dims, b->type, dnnl_ab), "result");
  check (dnnl_matmul_primitive_desc_create (&desc, b->engine, a, w, NULL, c, NULL), "product");
  check (dnnl_primitive_create (&p.primitive, desc), "product");
  check (dnnl_memory_create (&p.args[0].memory, a, b->engine, DNNL_MEMORY_NONE), "source");
  p.args[1].memory = filled (b, layout (desc, dnnl_query_weights_md));
  check (dnnl_memory_create (&p.args[2].memory, c, b->engine, DNNL_MEMORY_NONE), "result");
  b->source = MAX (b->source, dnnl_memory_desc_get_size (a));
  b->result = MAX (b->result, dnnl_memory_desc_get_size (c));
  b->flops += 2.0 * (double) rows * (double) n * (double) k;
  g_array_append_val (b->products, p);
  dnnl_primitive_desc_destroy (desc);
  dnnl_memory_desc_destroy (a);
  dnnl_memory_desc_destroy (w);
  dnnl_memory_desc_destroy (c);
}

static gboolean
parse (Bench *b, const char *word)
{
  long long count, rows, n, k;
  if (sscanf (word, "%lldx%lldx%lldx%lld", &count, &rows, &n, &k) != 4) {
    count = 1;
    if (sscanf (word, "%lldx%lldx%lld", &rows, &n, &k) != 3)
      return FALSE;
  }
  for (long long i = 0; i < count; i++)
    add (b, rows, n, k);
  return TRUE;
}

/* Gives the products the two buffers, once all are known. */
static void
share_buffers (Bench *b, void *source, void *result)
{
  memset (source, 0x3c, b->source);
  for (guint i = 0; i < b->products->len; i++) {
    Product *p = &g_array_index (b->products, Product, i);
    check (dnnl_memory_set_data_handle (p->args[0].memory, source), "source");
    check (dnnl_memory_set_data_handle (p->args[2].memory, result), "result");
  }
}

static double
run (const Bench *b)
{
  double start = now ();
  for (guint i = 0; i < b->products->len; i++) {
    const Product *p = &g_array_index (b->products, Product, i);
    check (dnnl_primitive_execute (p->primitive, b->stream, 3, p->args), "product");
  }
  check (dnnl_stream_wait (b->stream), "product");
  return now () - start;
}

int
main (int argc, char **argv)
{
  Bench b = { .products = g_array_new (FALSE, FALSE, sizeof (Product)) };
  g_autoptr (GArray) times = g_array_new (FALSE, FALSE, sizeof (double));
  double seconds = argc > 3 ? g_ascii_strtod (argv[2], NULL) : 0;

  if (seconds <= 0 || (strcmp (argv[1], "fp32") && strcmp (argv[1], "bf16"))) {
    fprintf (stderr, "usage: bench-products fp32|bf16 SECONDS [COUNTx]ROWSxNxK...\n");
    return 2;
  }
  b.type = argv[1][0] == 'f' ? dnnl_f32 : dnnl_bf16;
  check (dnnl_engine_create (&b.engine, dnnl_cpu, 0), "engine");
  check (dnnl_stream_create (&b.stream, b.engine, dnnl_stream_default_flags), "stream");
  for (int i = 3; i < argc; i++)
    if (!parse (&b, argv[i])) {
      fprintf (stderr, "bench-products: \"%s\": expected [COUNTx]ROWSxNxK\n", argv[i]);
      return 2;
    }
  g_autofree void *source = g_malloc (b.source + 64), *result = g_malloc (b.result + 64);
  share_buffers (&b, (char *) source + 64 - (gsize) source % 64, (char *) result + 64 - (gsize) result % 64);

  run (&b);
  for (double end = now () + 1e5 * seconds; now () < end;) /* a tenth of the time: warm */
    run (&b);
  for (double end = now () + 1e6 * seconds; now () < end || times->len < 3;) {
    double us = run (&b);
    g_array_append_val (times, us);
  }
  double us = percentile ((double *) times->data, times->len, 0.5);
  printf ("{\"ms\":%.6f,\"gflops\":%.3f}\n", 1e-3 * us, 1e-3 * b.flops / us);
  return 0; /* the end frees */
}
