/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The emulator itself: every primitive does what CUDA says, and faults planted in kernels are found. */
#include <glib.h>
#include <math.h>
#include <stdlib.h>

#include "cuda/device.cuh"

static cudaStream_t stream;

/* Kernels here read and write host memory. */
#define RUN(...) run (#__VA_ARGS__, __VA_ARGS__)

template <typename... P, typename... A>
static void
run (const char *name, void (*kernel) (P...), dim3 grid, dim3 block, size_t shared, A... args)
{
  g_assert_cmpint (vig_launch (name, kernel, grid, block, shared, stream, args...), ==, cudaSuccess);
  g_assert_cmpint (cudaStreamSynchronize (stream), ==, cudaSuccess);
}

static const char *const orders[] = { "forward", "reverse", "shuffle:1", "shuffle:2" };

static void
each_order (void (*f) ())
{
  for (const char *order : orders) {
    g_assert_true (vig_emu_set_order (order));
    f ();
  }
}

/* ---- launch, indices, shared memory --------------------------------------------------------------------------- */

static __global__ void
indices (int *count, unsigned *sum)
{
  unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  (*count)++;
  *sum += block * 100 + thread;
}

static void
test_launch ()
{
  int count = 0;
  unsigned sum = 0;
  RUN (indices, dim3 (2, 3, 4), dim3 (5, 2, 2), 0, &count, &sum);
  g_assert_cmpint (count, ==, 24 * 20);
  g_assert_cmpuint (sum, ==, 20 * 100 * (23 * 24 / 2) + 24 * (19 * 20 / 2));
  g_assert_cmpint (VIG_LAUNCH (indices, 1, 1025, 0, stream, &count, &sum), ==, cudaErrorInvalidConfiguration);
  g_assert_cmpint (VIG_LAUNCH (indices, 0, 32, 0, stream, &count, &sum), ==, cudaErrorInvalidConfiguration);
  g_assert_cmpint (VIG_LAUNCH (indices, dim3 (1, 65536), 32, 0, stream, &count, &sum), ==, cudaErrorInvalidConfiguration);
  g_assert_cmpint (VIG_LAUNCH (indices, 1, 32, 256 * 1024, stream, &count, &sum), ==, cudaErrorInvalidConfiguration);
  g_assert_cmpint (count, ==, 24 * 20);
}

/* Each block finds NaN, whatever the one before left. */
static __global__ void
poisoned (int *n)
{
  float *s = vig_shared<float> ();
  *n += isnan (s[threadIdx.x]);
  s[threadIdx.x] = 1;
}

static void
test_shared ()
{
  int n = 0;
  RUN (poisoned, 3, 64, 64 * sizeof (float), &n);
  g_assert_cmpint (n, ==, 3 * 64);
}

/* ---- barriers ------------------------------------------------------------------------------------------------- */

/* Sum over the block, by halves; `faulty` leaves out the barriers between them. */
template <bool faulty>
static __global__ void
block_sum (const float *x, float *y)
{
  float *s = vig_shared<float> ();
  unsigned i = threadIdx.x;
  s[i] = x[blockIdx.x * blockDim.x + i];
  __syncthreads ();
  for (unsigned n = blockDim.x / 2; n; n /= 2) {
    if (i < n)
      s[i] += s[i + n];
    if (!faulty)
      __syncthreads ();
  }
  if (i == 0)
    y[blockIdx.x] = s[0];
}

static void
block_sums (bool faulty, float y[3])
{
  float x[3 * 256];
  for (int i = 0; i < 3 * 256; i++)
    x[i] = (float) i;
  RUN (faulty ? block_sum<true> : block_sum<false>, 3, 256, 256 * sizeof (float), x, y);
}

static void
test_syncthreads ()
{
  each_order ([] {
    float y[3];
    block_sums (false, y);
    for (int b = 0; b < 3; b++)
      g_assert_cmpfloat (y[b], ==, 256 * 127.5f + 65536 * b);
  });
}

/* Two halves of a block at barriers of their own: the first hands over after every step, the second never waits for it. */
static __global__ void
named (int *out)
{
  int *s = vig_shared<int> ();
  int half = threadIdx.x / 64, i = threadIdx.x % 64;
  for (int step = 0; step < 3; step++) {
    s[half * 64 + i] = step * 1000 + i;
    vig_barrier (1 + half, 64);
    int other = s[half * 64 + (i + 1) % 64];
    vig_barrier (1 + half, 64);
    out[threadIdx.x] = other;
    if (half)
      s[64 + i] = -1;
  }
}

static void
test_named_barriers ()
{
  each_order ([] {
    int out[128];
    RUN (named, 1, 128, 128 * sizeof (int), out);
    for (int i = 0; i < 128; i++)
      g_assert_cmpint (out[i], ==, 2000 + (i % 64 + 1) % 64);
  });
}

/* ---- shuffles and votes ---------------------------------------------------------------------------------------- */

static __global__ void
shuffles (int *out)
{
  const unsigned all = 0xffffffff;
  int lane = (int) (threadIdx.x % 32), *to = out + threadIdx.x * 9;
  int value = 100 + (int) threadIdx.x;
  to[0] = __shfl_sync (all, value, 5);
  to[1] = __shfl_sync (all, value, lane + 1, 8);
  to[2] = __shfl_up_sync (all, value, 3);
  to[3] = __shfl_down_sync (all, value, 3, 16);
  to[4] = __shfl_xor_sync (all, value, 17);
  to[5] = (int) __ballot_sync (all, lane % 3 == 0);
  to[6] = __any_sync (all, lane == 31) * 2 + __all_sync (all, lane < 31);
  to[7] = lane < 8 ? __shfl_xor_sync (0xff, value, 1) : lane < 16 ? __shfl_xor_sync (0xff00, value, 2) : 0;
  to[8] = (int) __shfl_xor_sync (all, (double) value * 0.5, 1);
  __syncwarp ();
}

static void
test_shuffles ()
{
  each_order ([] {
    int out[64 * 9];
    RUN (shuffles, 1, 64, 0, out);
    for (int i = 0; i < 64; i++) {
      int lane = i % 32, base = 100 + i - lane, *o = out + i * 9;
      g_assert_cmpint (o[0], ==, base + 5);
      g_assert_cmpint (o[1], ==, base + lane / 8 * 8 + (lane + 1) % 8);
      g_assert_cmpint (o[2], ==, base + (lane < 3 ? lane : lane - 3));
      g_assert_cmpint (o[3], ==, base + (lane % 16 + 3 < 16 ? lane + 3 : lane));
      g_assert_cmpint (o[4], ==, base + (lane ^ 17));
      g_assert_cmphex ((unsigned) o[5], ==, 0x49249249);
      g_assert_cmpint (o[6], ==, 2);
      g_assert_cmpint (o[7], ==, lane < 8 ? base + (lane ^ 1) : lane < 16 ? base + (lane ^ 2) : 0);
      g_assert_cmpint (o[8], ==, (base + (lane ^ 1)) / 2);
    }
  });
}

/* ---- tensor cores ---------------------------------------------------------------------------------------------- */

static void
mma (vig_bf16, float *d, const uint32_t *a, const uint32_t *b)
{
  vig_mma_m16n8k16_bf16 (d, a, b);
}

static void
mma (vig_half, float *d, const uint32_t *a, const uint32_t *b)
{
  vig_mma_m16n8k16_f16 (d, a, b);
}

/* d [16, 8] = a [16, 16] b [16, 8], all row by row. Faults: b is brought as if it were column by column; the two
 * middle registers of a are exchanged. */
enum Fault { NO_FAULT, B_NOT_TRANSPOSED, A_REGISTERS };

/* Through shared memory and ldmatrix, as a kernel does it. */
template <typename T, Fault fault>
static __global__ void
product_ldmatrix (const T *a, const T *b, float *d)
{
  T *sa = vig_shared<T> (), *sb = sa + 256;
  int lane = (int) threadIdx.x, g = lane / 4, t = lane % 4;
  for (int i = lane; i < 256; i += 32)
    sa[i] = a[i];
  for (int i = lane; i < 128; i += 32)
    sb[i] = b[i];
  __syncwarp ();
  uint32_t fa[4], fb[2];
  float fd[4] = { 0, 0, 0, 0 };
  vig_ldmatrix_x4 (fa, sa + lane % 16 * 16 + lane / 16 * 8);
  if (fault == B_NOT_TRANSPOSED)
    vig_ldmatrix_x2 (fb, sb + lane % 16 * 8);
  else
    vig_ldmatrix_x2_trans (fb, sb + lane % 16 * 8);
  if (fault == A_REGISTERS) {
    uint32_t a1 = fa[1];
    fa[1] = fa[2];
    fa[2] = a1;
  }
  mma (T (), fd, fa, fb);
  for (int i = 0; i < 4; i++)
    d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = fd[i];
}

/* From global memory, element by element where the PTX manual says that it goes. */
template <typename T, Fault>
static __global__ void
product_registers (const T *a, const T *b, float *d)
{
  int group = (int) threadIdx.x >> 2, in_group = (int) threadIdx.x % 4;
  T fa[8], fb[4];
  for (int i = 0; i < 8; i++) {
    int row = i < 2 || (i >= 4 && i < 6) ? group : group + 8;
    int column = in_group * 2 + (i & 1) + (i >= 4 ? 8 : 0);
    fa[i] = a[row * 16 + column];
  }
  for (int i = 0; i < 4; i++)
    fb[i] = b[(in_group * 2 + (i & 1) + (i >= 2 ? 8 : 0)) * 8 + group];
  uint32_t ra[4], rb[2];
  float fd[4] = { 0, 0, 0, 0 };
  memcpy (ra, fa, sizeof ra);
  memcpy (rb, fb, sizeof rb);
  mma (T (), fd, ra, rb);
  for (int i = 0; i < 4; i++)
    d[(i < 2 ? group : group + 8) * 8 + in_group * 2 + (i & 1)] = fd[i];
}

/* Whether the kernel's product is the plain one. Small whole numbers: every sum is exact. */
template <typename T>
static bool
multiplies (void (*kernel) (const T *, const T *, float *))
{
  T a[256], b[128];
  float d[128];
  for (int i = 0; i < 256; i++)
    a[i] = vig_from_float<T> ((float) (i * 7 % 23 - 11));
  for (int i = 0; i < 128; i++)
    b[i] = vig_from_float<T> ((float) (i * 5 % 19 - 9));
  RUN (kernel, 1, 32, 384 * sizeof (T), a, b, d);
  for (int i = 0; i < 16; i++)
    for (int j = 0; j < 8; j++) {
      float sum = 0;
      for (int k = 0; k < 16; k++)
        sum += vig_to_float (a[i * 16 + k]) * vig_to_float (b[k * 8 + j]);
      if (d[i * 8 + j] != sum)
        return false;
    }
  return true;
}

static void
test_mma ()
{
  each_order ([] {
    g_assert_true (multiplies (product_registers<vig_bf16, NO_FAULT>));
    g_assert_true (multiplies (product_registers<vig_half, NO_FAULT>));
    g_assert_true (multiplies (product_ldmatrix<vig_bf16, NO_FAULT>));
    g_assert_true (multiplies (product_ldmatrix<vig_half, NO_FAULT>));
  });
}

/* d [16, 8] += a [16, 8] b [8, 8] */
static __global__ void
product_tf32 (const float *a, const float *b, float *d)
{
  int group = (int) threadIdx.x >> 2, in_group = (int) threadIdx.x % 4;
  uint32_t ra[4], rb[2];
  float fd[4];
  for (int i = 0; i < 4; i++)
    ra[i] = __float_as_uint (a[(i % 2 ? group + 8 : group) * 8 + (i < 2 ? in_group : in_group + 4)]);
  for (int i = 0; i < 2; i++)
    rb[i] = __float_as_uint (b[(i == 0 ? in_group : in_group + 4) * 8 + group]);
  for (int i = 0; i < 4; i++)
    fd[i] = d[(i < 2 ? group : group + 8) * 8 + in_group * 2 + (i & 1)];
  vig_mma_m16n8k8_tf32 (fd, ra, rb);
  for (int i = 0; i < 4; i++)
    d[(i < 2 ? group : group + 8) * 8 + in_group * 2 + (i & 1)] = fd[i];
}

static void
test_mma_tf32 ()
{
  float a[128], b[64], d[128];
  for (int i = 0; i < 128; i++)
    a[i] = (float) (i * 7 % 23 - 11) * (1 + 0x1p-12f); /* what lies behind 10 bits does not count */
  for (int i = 0; i < 64; i++)
    b[i] = (float) (i * 5 % 19 - 9);
  for (int i = 0; i < 128; i++)
    d[i] = (float) i;
  RUN (product_tf32, 1, 32, 0, a, b, d);
  for (int i = 0; i < 16; i++)
    for (int j = 0; j < 8; j++) {
      float sum = (float) (i * 8 + j);
      for (int k = 0; k < 8; k++)
        sum += (float) ((i * 8 + k) * 7 % 23 - 11) * b[k * 8 + j];
      g_assert_cmpfloat (d[i * 8 + j], ==, sum);
    }
}

static __global__ void
four_matrices (const vig_half *x, uint32_t *straight, uint32_t *turned)
{
  vig_half *s = vig_shared<vig_half> ();
  int lane = (int) threadIdx.x;
  for (int i = lane; i < 256; i += 32)
    s[i] = x[i];
  __syncwarp ();
  vig_ldmatrix_x4 (straight + 4 * lane, s + 8 * lane);
  vig_ldmatrix_x4_trans (turned + 4 * lane, s + 8 * lane);
}

static void
test_ldmatrix ()
{
  vig_half x[256];
  uint32_t straight[128], turned[128];
  for (int i = 0; i < 256; i++)
    x[i].bits = (uint16_t) i;
  RUN (four_matrices, 1, 32, sizeof x, x, straight, turned);
  for (unsigned lane = 0; lane < 32; lane++)
    for (unsigned m = 0; m < 4; m++) {
      unsigned g = lane / 4, t = lane % 4;
      g_assert_cmphex (straight[4 * lane + m], ==, (64 * m + 8 * g + 2 * t) * 0x10001 + 0x10000);
      g_assert_cmphex (turned[4 * lane + m], ==, (64 * m + 16 * t + g) * 0x10001 + 0x80000);
    }
}

/* ---- cp.async ------------------------------------------------------------------------------------------------------ */

/* Two groups in flight; what is seen before each wait and after it. */
static __global__ void
copies (const float *x, float *seen)
{
  float *s = vig_shared<float> ();
  int i = (int) threadIdx.x;
  vig_cp_async16 (s + 8 * i, x + 8 * i);
  vig_cp_async_commit ();
  vig_cp_async16 (s + 8 * i + 4, x + 8 * i + 4, i % 2 == 0);
  vig_cp_async_commit ();
  seen[5 * i] = s[8 * i];
  vig_cp_async_wait<1> ();
  seen[5 * i + 1] = s[8 * i];
  seen[5 * i + 2] = s[8 * i + 4];
  vig_cp_async_wait<0> ();
  seen[5 * i + 3] = s[8 * i + 4];
  __syncthreads ();
  seen[5 * i + 4] = s[8 * ((i + 1) % 32) + 3];
}

static void
test_cp_async ()
{
  __align__ (16) float x[256];
  float seen[160];
  for (int i = 0; i < 256; i++)
    x[i] = (float) i;
  RUN (copies, 1, 32, sizeof x, x, seen);
  for (int i = 0; i < 32; i++) {
    g_assert_true (isnan (seen[5 * i]));
    g_assert_cmpfloat (seen[5 * i + 1], ==, x[8 * i]);
    g_assert_true (isnan (seen[5 * i + 2]));
    g_assert_cmpfloat (seen[5 * i + 3], ==, i % 2 ? 0 : x[8 * i + 4]);
    g_assert_cmpfloat (seen[5 * i + 4], ==, x[8 * ((i + 1) % 32) + 3]);
  }
}

/* ---- small types --------------------------------------------------------------------------------------------------- */

/* Every value comes back; between two neighbours the nearer one, midway the even one. */
template <typename T>
static void
rounds (uint16_t infinity)
{
  for (uint16_t bits = 0; bits < infinity; bits++) {
    float low = vig_to_float (T { bits }), high = vig_to_float (T { (uint16_t) (bits + 1) });
    g_assert_cmphex (vig_from_float<T> (low).bits, ==, bits);
    g_assert_cmphex (vig_from_float<T> (-low).bits, ==, bits | 0x8000);
    if (bits + 1 == infinity) /* as if the row went on */
      high = low + (low - vig_to_float (T { (uint16_t) (bits - 1) }));
    float middle = (float) (((double) low + high) / 2);
    if (middle == low || middle == high || isinf (middle))
      continue; /* no fp32 lies between */
    g_assert_cmphex (vig_from_float<T> (nextafterf (middle, 0)).bits, ==, bits);
    g_assert_cmphex (vig_from_float<T> (middle).bits, ==, bits + (bits & 1));
    g_assert_cmphex (vig_from_float<T> (nextafterf (middle, INFINITY)).bits, ==, bits + 1);
  }
  g_assert_cmphex (vig_from_float<T> (INFINITY).bits, ==, infinity);
  g_assert_true (isinf (vig_to_float (T { infinity })));
  g_assert_true (isnan (vig_to_float (vig_from_float<T> (NAN))));
}

static void
test_small_types ()
{
  rounds<vig_bf16> (0x7f80);
  rounds<vig_half> (0x7c00);
  g_assert_cmphex (vig_from_float<vig_half> (1e6f).bits, ==, 0x7c00);
  g_assert_cmphex (vig_pack2<vig_half> (1, -2), ==, 0xc0003c00);
  g_assert_cmpfloat (vig_unpack2<vig_bf16> (0xc0003f80).x, ==, 1);
  g_assert_cmpfloat (vig_unpack2<vig_bf16> (0xc0003f80).y, ==, -2);
}

/* ---- planted faults: each must be found --------------------------------------------------------------------------- */

/* A missing barrier: in one of the orders the sums are wrong. */
static void
test_race_found ()
{
  bool found = false;
  for (const char *order : orders) {
    g_assert_true (vig_emu_set_order (order));
    float y[3];
    block_sums (true, y);
    for (int b = 0; b < 3; b++)
      found |= !(y[b] == 256 * 127.5f + 65536 * b);
  }
  g_assert_true (found);
}

static void
test_layout_found ()
{
  g_assert_false (multiplies (product_ldmatrix<vig_bf16, B_NOT_TRANSPOSED>));
  g_assert_false (multiplies (product_ldmatrix<vig_half, B_NOT_TRANSPOSED>));
  g_assert_false (multiplies (product_ldmatrix<vig_bf16, A_REGISTERS>));
}

/* The faults below end the process. */
static __global__ void
ends (int fault, float *x)
{
  float *s = vig_shared<float> ();
  unsigned i = threadIdx.x;
  if (fault == 0 && i == 7)
    return;
  if (fault == 1 && i < 16)
    x[i] = __shfl_xor_sync (0xffffffff, x[i], 1);
  if (fault == 2 && i < 16)
    x[i] = __shfl_xor_sync (0xffff0000, x[i], 1);
  if (fault == 3)
    vig_cp_async16 (s + 1, x);
  if (fault == 4)
    vig_store4 (x + 2 * i, make_float4 (0, 0, 0, 0));
  if (fault == 5 && i < 16)
    __syncwarp ();
  if (fault == 6)
    vig_barrier (1, 48);
  if (fault == 7 && i == 3)
    x[i] = __shfl_sync (0xffffffff, x[i], 0);
  else if (fault == 7)
    x[i] = (float) __ballot_sync (0xffffffff, 1);
  if (fault == 8)
    x[i] = s[i + 1]; /* the last thread's is outside: AddressSanitizer's to find */
  if (fault == 9)
    x[0] = x[64 + i]; /* and this */
  __syncthreads ();
}

static const struct { const char *name, *message; } ended[] = {
  { "barrier-missed", "*thread (*) of VIG_LAUNCH (ends, *: all wait for each other: 1 threads have ended, 63 are at a barrier*" },
  { "shuffle-diverged", "*all wait for each other*this one waits at __shfl_xor_sync*" },
  { "mask-without-caller", "*the mask 0xffff0000 leaves out lane *" },
  { "copy-off-boundary", "*an access of 16 bytes is 4 bytes off its boundary*" },
  { "store-off-boundary", "*an access of 16 bytes is 8 bytes off its boundary*" },
  { "syncwarp-diverged", "*this one waits at __syncwarp*" },
  { "barrier-part-of-warp", "*barrier 1 of 48 threads in a block of 64*" },
  { "operations-differ", "*a vote of width 0 with mask 0xffffffff, but lane 3 is at __shfl_sync of width 32*" },
#ifdef __SANITIZE_ADDRESS__
  { "read-outside-shared", "*heap-buffer-overflow*READ of size 4*" },
  { "read-outside-global", "*heap-buffer-overflow*READ of size 4*" },
#endif
};

static void
test_ends (gconstpointer number)
{
  int fault = GPOINTER_TO_INT (number);
  if (g_test_subprocess ()) {
    float *x;
    if (posix_memalign (reinterpret_cast<void **> (&x), 16, 64 * sizeof (float)))
      abort ();
    memset (x, 0, 64 * sizeof (float));
    vig_emu_set_order ("forward");
    RUN (ends, 1, 64, 64 * sizeof (float), fault, x);
    exit (0); /* not found */
  }
  g_test_trap_subprocess (nullptr, 0, G_TEST_SUBPROCESS_DEFAULT);
  g_test_trap_assert_failed ();
  g_test_trap_assert_stderr (ended[fault].message);
}

/* ---- streams and graphs ------------------------------------------------------------------------------------------- */

static __global__ void
append (int *list, int value)
{
  list[++list[0]] = value;
}

/* Two streams that know nothing of each other: what runs before the second one's operation, when that is waited for. */
static void
test_streams ()
{
  const struct { const char *order; int n; } cases[] = { { "forward", 1 }, { "reverse", 3 } };
  cudaStream_t other;

  g_assert_cmpint (cudaStreamCreateWithFlags (&other, cudaStreamNonBlocking), ==, cudaSuccess);
  for (const auto &c : cases) {
    int list[8] = {};
    vig_emu_set_order (c.order);
    for (int i = 1; i <= 2; i++)
      g_assert_cmpint (VIG_LAUNCH (append, 1, 1, 0, other, list, i), ==, cudaSuccess);
    g_assert_cmpint (VIG_LAUNCH (append, 1, 1, 0, stream, list, 3), ==, cudaSuccess);
    g_assert_cmpint (cudaStreamSynchronize (stream), ==, cudaSuccess);
    g_assert_cmpint (list[0], ==, c.n);
    g_assert_cmpint (list[c.n], ==, 3);
    g_assert_cmpint (cudaStreamSynchronize (other), ==, cudaSuccess);
    g_assert_cmpint (list[0], ==, 3);
  }
  /* an event keeps them in order, whatever the order */
  for (const char *order : orders) {
    int list[8] = {};
    cudaEvent_t event;
    vig_emu_set_order (order);
    cudaEventCreateWithFlags (&event, cudaEventDisableTiming);
    g_assert_cmpint (VIG_LAUNCH (append, 1, 1, 0, other, list, 1), ==, cudaSuccess);
    cudaEventRecord (event, other);
    cudaStreamWaitEvent (stream, event);
    g_assert_cmpint (VIG_LAUNCH (append, 1, 1, 0, stream, list, 2), ==, cudaSuccess);
    cudaEventRecord (event, stream);
    cudaStreamWaitEvent (other, event);
    g_assert_cmpint (VIG_LAUNCH (append, 1, 1, 0, other, list, 3), ==, cudaSuccess);
    g_assert_cmpint (cudaStreamSynchronize (other), ==, cudaSuccess);
    for (int i = 1; i <= 3; i++)
      g_assert_cmpint (list[i], ==, i);
    cudaEventDestroy (event);
  }
  cudaStreamDestroy (other);
}

/* Nothing runs while it is captured; a replay has the arguments of then. */
static void
test_graph ()
{
  int list[8] = {}, value = 1;
  cudaGraph_t graph;
  cudaGraphExec_t exec;

  g_assert_cmpint (cudaStreamBeginCapture (stream, cudaStreamCaptureModeThreadLocal), ==, cudaSuccess);
  for (; value <= 2; value++)
    g_assert_cmpint (VIG_LAUNCH (append, 1, 1, 0, stream, list, value), ==, cudaSuccess);
  g_assert_cmpint (cudaStreamEndCapture (stream, &graph), ==, cudaSuccess);
  g_assert_cmpint (cudaStreamSynchronize (stream), ==, cudaSuccess);
  g_assert_cmpint (list[0], ==, 0);
  g_assert_cmpint (cudaGraphInstantiate (&exec, graph, 0), ==, cudaSuccess);
  cudaGraphDestroy (graph);
  for (int i = 0; i < 2; i++)
    g_assert_cmpint (cudaGraphLaunch (exec, stream), ==, cudaSuccess);
  cudaGraphExecDestroy (exec); /* in flight */
  g_assert_cmpint (cudaStreamSynchronize (stream), ==, cudaSuccess);
  g_assert_cmpint (list[0], ==, 4);
  for (int i = 0; i < 4; i++)
    g_assert_cmpint (list[1 + i], ==, 1 + i % 2);
}

/* What spoils a capture, and the error that it gives. */
static void
test_capture_refuses ()
{
  void *memory, *device;
  int list[8] = {};
  cudaEvent_t event, recorded;
  cudaStream_t other;
  cudaGraph_t graph;

  cudaStreamCreateWithFlags (&other, cudaStreamNonBlocking);
  cudaEventCreateWithFlags (&event, cudaEventDisableTiming);
  cudaEventCreateWithFlags (&recorded, cudaEventDisableTiming);
  cudaEventRecord (recorded, other);
  cudaMalloc (&device, sizeof list);
  g_assert_cmpint (cudaStreamEndCapture (stream, &graph), ==, cudaErrorStreamCaptureUnmatched);
  g_assert_cmpint (cudaStreamBeginCapture (nullptr, cudaStreamCaptureModeThreadLocal), ==, cudaErrorStreamCaptureUnsupported);
  const std::function<cudaError_t ()> calls[] = {
    [&] { return cudaMalloc (&memory, 1); },
    [&] { return cudaMallocHost (&memory, 1); },
    [&] { return cudaFree (device); },
    [&] { return cudaStreamSynchronize (stream); },
    [&] { return cudaStreamSynchronize (other); },
    [&] { return cudaEventSynchronize (recorded); },
    [&] { return cudaEventRecord (event, stream); },
    [&] { return cudaMemcpyAsync (device, list, sizeof list, cudaMemcpyHostToDevice, stream); },
    [&] { return cudaMemcpyAsync (list, device, sizeof list, cudaMemcpyDeviceToHost, stream); },
    [&] { return cudaStreamWaitEvent (stream, recorded); },
    [&] { return VIG_LAUNCH (append, 1, 1, 0, nullptr, list, 1); },
  };
  for (size_t i = 0; i < G_N_ELEMENTS (calls); i++) {
    g_assert_cmpint (cudaStreamBeginCapture (stream, cudaStreamCaptureModeThreadLocal), ==, cudaSuccess);
    g_assert_cmpint (calls[i] (), ==, i < 9 ? cudaErrorStreamCaptureUnsupported
        : i == 9 ? cudaErrorStreamCaptureIsolation : cudaErrorStreamCaptureImplicit);
    g_assert_cmpint (VIG_LAUNCH (append, 1, 1, 0, stream, list, 1), ==, cudaErrorStreamCaptureInvalidated);
    g_assert_cmpint (cudaStreamEndCapture (stream, &graph), ==, cudaErrorStreamCaptureInvalidated);
    g_assert_null (graph);
  }
  g_assert_cmpint (VIG_LAUNCH (append, 1, 1, 0, stream, list, 1), ==, cudaSuccess); /* as ever */
  g_assert_cmpint (cudaStreamSynchronize (stream), ==, cudaSuccess);
  g_assert_cmpint (list[0], ==, 1);
  cudaFree (device);
  cudaEventDestroy (event);
  cudaEventDestroy (recorded);
  cudaStreamDestroy (other);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, nullptr);
  g_assert_cmpint (cudaStreamCreateWithFlags (&stream, cudaStreamNonBlocking), ==, cudaSuccess);
  g_test_add_func ("/cuda/emulator/launch", test_launch);
  g_test_add_func ("/cuda/emulator/shared", test_shared);
  g_test_add_func ("/cuda/emulator/syncthreads", test_syncthreads);
  g_test_add_func ("/cuda/emulator/named-barriers", test_named_barriers);
  g_test_add_func ("/cuda/emulator/shuffles", test_shuffles);
  g_test_add_func ("/cuda/emulator/mma", test_mma);
  g_test_add_func ("/cuda/emulator/mma-tf32", test_mma_tf32);
  g_test_add_func ("/cuda/emulator/ldmatrix", test_ldmatrix);
  g_test_add_func ("/cuda/emulator/cp-async", test_cp_async);
  g_test_add_func ("/cuda/emulator/small-types", test_small_types);
  g_test_add_func ("/cuda/emulator/streams", test_streams);
  g_test_add_func ("/cuda/emulator/graph", test_graph);
  g_test_add_func ("/cuda/emulator/capture-refuses", test_capture_refuses);
  g_test_add_func ("/cuda/emulator/finds/race", test_race_found);
  g_test_add_func ("/cuda/emulator/finds/layout", test_layout_found);
  for (guint i = 0; i < G_N_ELEMENTS (ended); i++) {
    g_autofree char *path = g_strdup_printf ("/cuda/emulator/finds/%s", ended[i].name);
    g_test_add_data_func (path, GINT_TO_POINTER (i), test_ends);
  }
  int result = g_test_run ();
  cudaStreamDestroy (stream);
  return result;
}
