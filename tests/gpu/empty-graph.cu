/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How long a GPU takes for nothing: the replay of a graph of so many empty kernels, one after the other. What a forward
 * pass of as many kernels cannot be faster than. Never run on a GPU.
 *
 *   empty-graph [KERNELS]      80; prints microseconds from launch to end, the median of 1000
 */
#include <cuda_runtime.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

static void
check (cudaError_t error, const char *doing)
{
  if (error == cudaSuccess)
    return;
  fprintf (stderr, "empty-graph: %s (%s) while %s\n", cudaGetErrorName (error), cudaGetErrorString (error), doing);
  exit (1);
}

static __global__ void
nothing ()
{
}

static double
microseconds ()
{
  struct timespec t;
  clock_gettime (CLOCK_MONOTONIC, &t);
  return 1e6 * (double) t.tv_sec + 1e-3 * (double) t.tv_nsec;
}

int
main (int argc, char **argv)
{
  const int kernels = argc > 1 ? atoi (argv[1]) : 80;
  cudaStream_t stream;
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  std::vector<double> times;

  check (cudaStreamCreateWithFlags (&stream, cudaStreamNonBlocking), "making a stream");
  nothing<<<1, 32, 0, stream>>> (); /* its code is loaded by the first launch */
  check (cudaStreamSynchronize (stream), "running one kernel");
  check (cudaStreamBeginCapture (stream, cudaStreamCaptureModeThreadLocal), "capturing");
  for (int i = 0; i < kernels; i++)
    nothing<<<1, 32, 0, stream>>> ();
  check (cudaStreamEndCapture (stream, &graph), "capturing");
  check (cudaGraphInstantiate (&executable, graph, 0), "making the graph");
  for (int i = -100; i < 1000; i++) {
    double start = microseconds ();
    check (cudaGraphLaunch (executable, stream), "launching the graph");
    check (cudaStreamSynchronize (stream), "waiting for the graph");
    if (i >= 0)
      times.push_back (microseconds () - start);
  }
  std::sort (times.begin (), times.end ());
  printf ("{\"empty_kernels\":%d,\"median_us\":%.2f,\"p99_us\":%.2f}\n", kernels, times[times.size () / 2],
      times[times.size () * 99 / 100]);
  return 0;
}
