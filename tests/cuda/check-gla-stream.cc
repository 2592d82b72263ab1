/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The operator gla in a stream of its caller's (the emulated GPU's): recorded into a graph, nothing waits, nothing is done; each
 * replay has the bits of a direct call on the inputs that are there then. */
#include <glib.h>

#include "cuda/cuda.h"

#include <math.h>

#include <algorithm>
#include <vector>

enum { LENGTH = 300, DK = 8, DV = 12, HEADS = 1 };

typedef struct {
  std::vector<float> q, k, v, gates, o;
  std::vector<unsigned char> workspace;
} Tensors;

static void
fill (std::vector<float> &x, size_t n, double low, double high, GRand *random)
{
  x.resize (n);
  for (float &value : x)
    value = (float) g_rand_double_range (random, low, high);
}

static void
draw (Tensors &t, GRand *random)
{
  fill (t.q, LENGTH * DK, -1, 1, random);
  fill (t.k, LENGTH * DK, -1, 1, random);
  fill (t.v, LENGTH * DV, -1, 1, random);
  fill (t.gates, LENGTH * DK, -0.1, 0, random);
}

static VigGlaRun
arguments (VigKernels *k, VigScan form, Tensors &t)
{
  VigGlaRun a = {};
  a.form = form;
  a.batch = 1, a.heads = HEADS, a.dk = DK, a.dv = DV, a.tokens = LENGTH;
  a.forward = a.backward = true;
  a.gate_width = DK;
  a.scale = 1;
  t.o.assign (LENGTH * DV, NAN);
  a.q = t.q.data (), a.k = t.k.data (), a.v = t.v.data ();
  a.gate_fw = a.gate_bw = t.gates.data ();
  a.q_at = a.k_at = a.gate_at = { LENGTH * DK, DK, DK };
  a.v_at = a.o_at = { LENGTH * DV, DV, DV };
  a.o_sum = t.o.data ();
  t.workspace.resize (k->gla_plan (k->ctx, &a) + 64);
  a.workspace = (void *) (((uintptr_t) t.workspace.data () + 63) / 64 * 64);
  return a;
}

static void
test_recorded (void)
{
  const char *why;
  VigKernels *k = vig_kernels_cuda_open (0, &why);
  GRand *random = g_rand_new_with_seed (1);
  cudaStream_t stream;
  g_assert_cmpint (cudaStreamCreateWithFlags (&stream, cudaStreamNonBlocking), ==, cudaSuccess);
  for (VigScan form : { VIG_SCAN_TOKENS, VIG_SCAN_CHUNKS, VIG_SCAN_SPLIT }) {
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    Tensors t;
    draw (t, random);
    VigGlaRun a = arguments (k, form, t);
    a.stream = stream;
    g_assert_cmpint (cudaStreamBeginCapture (stream, cudaStreamCaptureModeThreadLocal), ==, cudaSuccess);
    k->gla (k->ctx, &a);
    g_assert_cmpstr (k->finish (k->ctx), ==, NULL);
    g_assert_cmpint (cudaStreamEndCapture (stream, &graph), ==, cudaSuccess);
    g_assert_cmpint (cudaGraphInstantiate (&exec, graph, 0), ==, cudaSuccess);
    g_assert_true (std::all_of (t.o.begin (), t.o.end (), [] (float x) { return isnan (x); }));
    for (int i = 0; i < 2; i++) {
      Tensors direct;
      draw (t, random); /* in the same memory */
      direct.q = t.q, direct.k = t.k, direct.v = t.v, direct.gates = t.gates;
      g_assert_cmpint (cudaGraphLaunch (exec, stream), ==, cudaSuccess);
      g_assert_cmpint (cudaStreamSynchronize (stream), ==, cudaSuccess);
      VigGlaRun b = arguments (k, form, direct);
      k->gla (k->ctx, &b);
      g_assert_cmpstr (k->finish (k->ctx), ==, NULL);
      g_assert_cmpmem (t.o.data (), t.o.size () * 4, direct.o.data (), direct.o.size () * 4);
    }
    cudaGraphExecDestroy (exec);
    cudaGraphDestroy (graph);
  }
  cudaStreamDestroy (stream);
  g_rand_free (random);
  k->close (k);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/gla-stream/recorded", test_recorded);
  return g_test_run ();
}
