/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The device side of the emulator: what vig-emu.h promises. */
#include "cuda/device.cuh"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <numeric>
#include <vector>

#if defined __x86_64__ && !defined VIG_EMU_UCONTEXT
#define SWITCH_BY_HAND
#else
#include <ucontext.h>
#endif

/* AddressSanitizer must be told of every change of stacks. */
#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#define before_switch __sanitizer_start_switch_fiber
#define after_switch __sanitizer_finish_switch_fiber
#else
#define before_switch(save, bottom, size) ((void) (save), (void) (bottom), (void) (size))
#define after_switch(saved, bottom, size) ((void) (saved), (void) (bottom), (void) (size))
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

enum { STACK = 256 * 1024, MAX_THREADS = 1024, WARP = 32, BARRIERS = 16 };

/* ---- fibres ---------------------------------------------------------------------------------------------------- */

#ifdef SWITCH_BY_HAND
/* Keeps what the System V ABI has a function keep; swapcontext does the same with two system calls more. */
extern "C" void vig_emu_switch (void **save, void *to);
asm (R"(
.text
.globl vig_emu_switch
.hidden vig_emu_switch
.type vig_emu_switch, @function
vig_emu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  popq %rcx
  jmp *%rcx
.size vig_emu_switch, . - vig_emu_switch
)");

namespace {

struct Context {
  void *sp;

  void
  start (char *stack, void (*entry) ())
  {
    void **top = reinterpret_cast<void **> (stack + STACK);
    *--top = nullptr; /* where entry would return to; keeps its frame on the boundary that the ABI wants */
    *--top = reinterpret_cast<void *> (entry);
    top -= 6;
    std::fill (top, top + 6, nullptr);
    sp = top;
  }
};

void
switch_context (Context *from, Context *to)
{
  vig_emu_switch (&from->sp, to->sp);
}

#else

namespace {

struct Context {
  ucontext_t u;

  void
  start (char *stack, void (*entry) ())
  {
    getcontext (&u);
    u.uc_stack.ss_sp = stack;
    u.uc_stack.ss_size = STACK;
    u.uc_link = nullptr;
    makecontext (&u, entry, 0);
  }
};

void
switch_context (Context *from, Context *to)
{
  swapcontext (&from->u, &to->u);
}

#endif

struct Fibre {
  char *stack;
  Context context;
  void *fake; /* AddressSanitizer's fake stack while the fibre waits */
};

/* ---- a block's threads --------------------------------------------------------------------------------------------- */

/* A warp-wide operation as one lane brings it; on that lane's stack. */
struct Collective {
  unsigned mask;
  const char *what; /* a literal: the same operation is the same pointer */
  int width;
  void (*run) (unsigned mask, Collective *const lanes[WARP]); /* for all lanes, by the last to arrive */
  uint64_t value, result;
  int source;
  float *d;
  const uint32_t *a, *b;
  uint32_t *r;
  const void *row;
};

struct Copy {
  void *to;
  const void *from; /* NULL: zeros */
  int group;
};

enum State { NEW, READY, AT_BARRIER, AT_COLLECTIVE, DONE };

struct Thread {
  unsigned index;
  uint3 at;
  State state;
  Fibre *fibre;
  int barrier;
  Collective *collective;
  std::vector<Copy> copies;
  int group;
};

struct Barrier {
  int expected, arrived;
};

struct Emulator {
  std::mutex mutex; /* held while a grid runs */
  std::vector<Fibre *> idle;
  Fibre scheduler; /* the caller's stack, which lies at: */
  const void *caller_stack;
  size_t caller_size;
  bool by_scheduler; /* the last switch was the scheduler's */

  const char *name;
  const std::function<void ()> *kernel;
  char *shared;
  size_t shared_size;
  std::vector<Thread> threads;
  unsigned n_threads, n_done;
  Thread *now;
  std::vector<unsigned> turns; /* this round's */
  size_t next_turn;
  Barrier barriers[BARRIERS];
  int collecting[MAX_THREADS / WARP]; /* lanes of a warp that are AT_COLLECTIVE */

  enum { FORWARD, REVERSE, SHUFFLE } order;
  uint32_t random;
  bool order_known;
};

Emulator &emu = *new Emulator (); /* never destroyed: streams may run until the process ends */

/* ---- turns --------------------------------------------------------------------------------------------------------- */

void fibre_main ();

Fibre *
fibre_new ()
{
  Fibre *f = new Fibre ();
  size_t page = (size_t) sysconf (_SC_PAGESIZE);
  void *memory = mmap (nullptr, STACK + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || mprotect (memory, page, PROT_NONE))
    vig_emu_fail ("no memory for the stack of a thread");
  f->stack = static_cast<char *> (memory) + page;
  f->context.start (f->stack, fibre_main);
  return f;
}

/* The next of this round that can run; NULL: the round is over. */
Thread *
next_thread ()
{
  while (emu.next_turn < emu.turns.size ()) {
    Thread *t = &emu.threads[emu.turns[emu.next_turn++]];
    if (t->state == NEW || t->state == READY)
      return t;
  }
  return nullptr;
}

void
begin_turn (Thread *t, Fibre *f)
{
  t->fibre = f;
  t->state = READY;
  emu.now = t;
  threadIdx = t->at;
}

/* The first thing on a stack that has the turn (again). */
void
arrive (void *fake)
{
  const void *stack = nullptr;
  size_t size = 0;
  after_switch (fake, &stack, &size);
  if (emu.by_scheduler) {
    emu.caller_stack = stack;
    emu.caller_size = size;
  }
}

/* Gives the turn away, to the scheduler if there is no thread; returns when it comes back. */
void
switch_to (Fibre *self, Thread *next)
{
  if (next && next->state == NEW && emu.idle.empty ())
    emu.idle.push_back (fibre_new ());
  Fibre *f = &emu.scheduler;
  if (next && next->state == NEW) {
    f = emu.idle.back ();
    emu.idle.pop_back ();
  } else if (next) {
    f = next->fibre;
  }
  emu.now = nullptr;
  if (next)
    begin_turn (next, f);
  emu.by_scheduler = self == &emu.scheduler;
  before_switch (&self->fake, next ? f->stack : emu.caller_stack, next ? (size_t) STACK : emu.caller_size);
  switch_context (&self->context, &f->context);
  arrive (self->fake);
}

/* A fibre runs thread after thread, until one waits; then another fibre goes on. */
void
fibre_main ()
{
  arrive (nullptr);
  for (;;) {
    (*emu.kernel) ();
    Fibre *self = emu.now->fibre;
    emu.now->state = DONE;
    emu.n_done++;
    Thread *next = next_thread ();
    if (next && next->state == NEW) {
      begin_turn (next, self);
    } else {
      emu.idle.push_back (self);
      switch_to (self, next);
    }
  }
}

/* Lets the others run; comes back when somebody has made this thread READY. */
void
wait (State state)
{
  emu.now->state = state;
  switch_to (emu.now->fibre, next_thread ());
}

/* ---- order ----------------------------------------------------------------------------------------------------------- */

uint32_t
draw ()
{
  emu.random ^= emu.random << 13;
  emu.random ^= emu.random >> 17;
  emu.random ^= emu.random << 5;
  return emu.random;
}

/* 0 .. n - 1 in the order of the next round. */
void
next_order (std::vector<unsigned> *order, size_t n)
{
  if (order->size () != n || emu.order != Emulator::SHUFFLE) {
    order->resize (n);
    std::iota (order->begin (), order->end (), 0);
  }
  if (emu.order == Emulator::REVERSE)
    std::reverse (order->begin (), order->end ());
  for (size_t i = n; emu.order == Emulator::SHUFFLE && i > 1; i--)
    std::swap ((*order)[i - 1], (*order)[(uint64_t) draw () * i >> 32]);
}

/* As VIG_EMU_ORDER says, unless vig_emu_set_order () has said otherwise. */
void
know_order ()
{
  const char *wanted = getenv ("VIG_EMU_ORDER");
  if (!emu.order_known && !vig_emu_set_order (wanted ? wanted : "forward"))
    vig_emu_fail ("VIG_EMU_ORDER is '%s', expected forward, reverse or shuffle:SEED", wanted);
}

/* ---- blocks and grids -------------------------------------------------------------------------------------------- */

[[noreturn]] void
fail_deadlock ()
{
  int done = 0, barrier = 0, collective = 0;
  const Thread *example = nullptr;
  for (unsigned i = 0; i < emu.n_threads; i++) {
    const Thread *t = &emu.threads[i];
    done += t->state == DONE;
    barrier += t->state == AT_BARRIER;
    collective += t->state == AT_COLLECTIVE;
    if (t->state == AT_COLLECTIVE || (t->state == AT_BARRIER && !example))
      example = t;
  }
  threadIdx = example->at;
  emu.now = const_cast<Thread *> (example);
  bool at_barrier = example->state == AT_BARRIER;
  vig_emu_fail ("all wait for each other: %d threads have ended, %d are at a barrier, %d at a warp-wide operation; this one "
      "waits at %s with mask %#x", done, barrier, collective, at_barrier ? "a barrier" : example->collective->what,
      at_barrier ? 0xffffffff : example->collective->mask);
}

void
run_block ()
{
  memset (emu.shared, 0xff, emu.shared_size);
  memset (emu.barriers, 0, sizeof emu.barriers);
  memset (emu.collecting, 0, sizeof emu.collecting);
  for (unsigned i = 0; i < emu.n_threads; i++) {
    Thread *t = &emu.threads[i];
    t->state = NEW;
    t->copies.clear ();
    t->group = 0;
  }
  for (emu.n_done = 0; emu.n_done < emu.n_threads;) {
    next_order (&emu.turns, emu.n_threads);
    emu.next_turn = 0;
    Thread *first = next_thread ();
    if (!first)
      fail_deadlock ();
    switch_to (&emu.scheduler, first);
  }
}

/* ---- warp-wide operations ----------------------------------------------------------------------------------------- */

/* Brings this lane's part; returns when all lanes of the mask have brought theirs and the result is there. */
void
collect (Collective *c)
{
  Thread *self = emu.now, *first = self - self->index % WARP;
  Collective *lanes[WARP] = {};
  unsigned n_lanes = std::min<unsigned> (WARP, emu.n_threads - first->index), lane = self->index % WARP;
  int *collecting = &emu.collecting[self->index / WARP], wanted = __builtin_popcount (c->mask);

  if (!(c->mask >> lane & 1))
    vig_emu_fail ("%s: the mask %#x leaves out lane %u, which calls it", c->what, c->mask, lane);
  if (n_lanes < WARP && c->mask >> n_lanes)
    vig_emu_fail ("%s: the mask %#x names lanes that this block of %u threads lacks", c->what, c->mask, emu.n_threads);
  self->collective = c;
  self->state = AT_COLLECTIVE;
  bool all = ++*collecting >= wanted;
  for (unsigned i = 0; all && i < n_lanes; i++) {
    if (!(c->mask >> i & 1))
      continue;
    lanes[i] = first[i].collective;
    if (first[i].state != AT_COLLECTIVE || lanes[i]->mask != c->mask) /* it is there for others, and may come here later */
      all = false;
    else if (lanes[i]->what != c->what || lanes[i]->width != c->width)
      vig_emu_fail ("%s of width %d with mask %#x, but lane %u is at %s of width %d with that mask", c->what, c->width,
          c->mask, i, lanes[i]->what, lanes[i]->width);
  }
  if (all) {
    *collecting -= wanted;
    c->run (c->mask, lanes);
    for (unsigned i = 0; i < n_lanes; i++)
      if (c->mask >> i & 1)
        first[i].state = READY;
  }
  wait (self->state);
}

void
run_nothing (unsigned, Collective *const[WARP])
{
}

void
run_shuffle (unsigned mask, Collective *const lanes[WARP])
{
  for (int i = 0; i < WARP; i++)
    if (mask >> i & 1)
      lanes[i]->result = mask >> lanes[i]->source & 1 ? lanes[lanes[i]->source]->value : ~UINT64_C (0);
}

void
run_ballot (unsigned mask, Collective *const lanes[WARP])
{
  unsigned votes = 0;
  for (int i = 0; i < WARP; i++)
    if (mask >> i & 1)
      votes |= (unsigned) lanes[i]->value << i;
  for (int i = 0; i < WARP; i++)
    if (mask >> i & 1)
      lanes[i]->result = votes;
}

template <typename T>
float
half_of (uint32_t pair, int high)
{
  return vig_to_float (T { (uint16_t) (pair >> 16 * high) });
}

/* The sum as the hardware rounds it: towards zero. */
float
cut_off (double sum)
{
  float f = (float) sum;
  return fabs ((double) f) > fabs (sum) ? nextafterf (f, 0) : f;
}

/* d += a b. Element (row, column) of d is d[2 * (row / 8) + column % 2] of lane 4 * (row % 8) + column / 2. */
template <int K>
void
multiply (Collective *const lanes[WARP], const float a[16][K], const float b[K][8])
{
  for (int row = 0; row < 16; row++)
    for (int column = 0; column < 8; column++) {
      float *d = &lanes[row % 8 * 4 + column / 2]->d[row / 8 * 2 + column % 2];
      double sum = *d;
      for (int k = 0; k < K; k++)
        sum += (double) a[row][k] * b[k][column];
      *d = cut_off (sum);
    }
}

template <typename T>
void
run_mma_16 (unsigned, Collective *const lanes[WARP])
{
  float a[16][16], b[16][8];
  for (int k = 0; k < 16; k++) {
    for (int row = 0; row < 16; row++)
      a[row][k] = half_of<T> (lanes[row % 8 * 4 + k % 8 / 2]->a[row / 8 + k / 8 * 2], k % 2);
    for (int column = 0; column < 8; column++)
      b[k][column] = half_of<T> (lanes[column * 4 + k % 8 / 2]->b[k / 8], k % 2);
  }
  multiply<16> (lanes, a, b);
}

float
tf32 (uint32_t bits)
{
  return __uint_as_float (bits & ~0x1fffu);
}

void
run_mma_tf32 (unsigned, Collective *const lanes[WARP])
{
  float a[16][8], b[8][8];
  for (int k = 0; k < 8; k++) {
    for (int row = 0; row < 16; row++)
      a[row][k] = tf32 (lanes[row % 8 * 4 + k % 4]->a[row / 8 + k / 4 * 2]);
    for (int column = 0; column < 8; column++)
      b[k][column] = tf32 (lanes[column * 4 + k % 4]->b[k / 4]);
  }
  multiply<8> (lanes, a, b);
}

void
mma (const char *what, void (*run) (unsigned, Collective *const[WARP]), float *d, const uint32_t *a, const uint32_t *b)
{
  Collective c = {};
  c.mask = 0xffffffff;
  c.what = what;
  c.run = run;
  c.d = d;
  c.a = a;
  c.b = b;
  collect (&c);
}

/* n matrices; their rows' addresses are the first 8 n lanes'. */
template <int n, bool trans>
void
run_ldmatrix (unsigned, Collective *const lanes[WARP])
{
  for (int i = 0; i < n; i++)
    for (int lane = 0; lane < WARP; lane++) {
      uint16_t pair[2];
      for (int j = 0; j < 2; j++) {
        int row = trans ? lane % 4 * 2 + j : lane / 4, column = trans ? lane / 4 : lane % 4 * 2 + j;
        memcpy (&pair[j], static_cast<const char *> (lanes[8 * i + row]->row) + 2 * column, 2);
      }
      lanes[lane]->r[i] = pair[0] | (uint32_t) pair[1] << 16;
    }
}

void
check_in_shared (const char *what, const void *p, size_t size)
{
  const char *c = static_cast<const char *> (p);
  if (c < emu.shared || c + size > emu.shared + emu.shared_size)
    vig_emu_fail ("%s: the address is not in the block's %zu bytes of shared memory but %td bytes from their start", what,
        emu.shared_size, c - emu.shared);
}

template <int n, bool trans>
void
ldmatrix (const char *what, uint32_t *r, const void *row)
{
  if ((int) (emu.now->index % WARP) < 8 * n) {
    check_in_shared (what, row, 16);
    vig_emu_check_aligned (row, 16);
  }
  Collective c = {};
  c.mask = 0xffffffff;
  c.what = what;
  c.run = run_ldmatrix<n, trans>;
  c.r = r;
  c.row = row;
  collect (&c);
}

} // namespace

/* ---- what vig-emu.h declares --------------------------------------------------------------------------------------- */

void
vig_emu_fail (const char *format, ...)
{
  va_list args;
  fprintf (stderr, "vig-emu: ");
  if (emu.now)
    fprintf (stderr, "block (%u, %u, %u), thread (%u, %u, %u) of VIG_LAUNCH (%s): ", blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x,
        threadIdx.y, threadIdx.z, emu.name);
  va_start (args, format);
  vfprintf (stderr, format, args);
  va_end (args);
  fprintf (stderr, "\n");
  abort ();
}

bool
vig_emu_set_order (const char *order)
{
  unsigned seed = 0;
  std::lock_guard<std::mutex> lock (emu.mutex);
  if (strcmp (order, "forward") == 0)
    emu.order = Emulator::FORWARD;
  else if (strcmp (order, "reverse") == 0)
    emu.order = Emulator::REVERSE;
  else if (sscanf (order, "shuffle:%u", &seed) == 1)
    emu.order = Emulator::SHUFFLE;
  else
    return false;
  emu.random = seed * 2654435761u | 1;
  emu.order_known = true;
  return true;
}

unsigned
vig_emu_choose (unsigned n)
{
  know_order ();
  std::lock_guard<std::mutex> lock (emu.mutex);
  return emu.order == Emulator::FORWARD ? 0 : emu.order == Emulator::REVERSE ? n - 1 : (unsigned) ((uint64_t) draw () * n >> 32);
}

cudaError_t
vig_emu_check_launch (dim3 grid, dim3 block, size_t shared)
{
  /* of one block after opting in; where several have one major version, the least */
  const size_t limit = (VIG_SM >= 90 && VIG_SM < 120 ? 227 : VIG_SM >= 80 ? 99 : 64) * 1024;
  size_t threads = (size_t) block.x * block.y * block.z;
  bool fits = threads > 0 && threads <= MAX_THREADS && block.z <= 64 && grid.x > 0 && grid.x <= INT32_MAX && grid.y > 0 &&
              grid.y <= 65535 && grid.z > 0 && grid.z <= 65535 && shared <= limit;
  return fits ? cudaSuccess : cudaErrorInvalidConfiguration;
}

void
vig_emu_run (const char *name, dim3 grid, dim3 block, size_t shared, const std::function<void ()> &kernel)
{
  static std::vector<unsigned> order;
  know_order ();
  std::lock_guard<std::mutex> lock (emu.mutex);
  void *memory;
  if (posix_memalign (&memory, 128, shared))
    vig_emu_fail ("no memory for %zu bytes of shared memory", shared);
  emu.name = name;
  emu.kernel = &kernel;
  emu.shared = static_cast<char *> (memory);
  emu.shared_size = shared;
  gridDim = grid;
  blockDim = block;
  emu.n_threads = block.x * block.y * block.z;
  emu.threads.resize (MAX_THREADS);
  for (unsigned i = 0; i < emu.n_threads; i++) {
    emu.threads[i].index = i;
    emu.threads[i].at = { i % block.x, i / block.x % block.y, i / block.x / block.y };
  }
  next_order (&order, (size_t) grid.x * grid.y * grid.z);
  for (unsigned i : order) {
    blockIdx = { i % grid.x, i / grid.x % grid.y, i / grid.x / grid.y };
    run_block ();
  }
  emu.name = nullptr;
  free (memory);
}

void *
vig_emu_shared ()
{
  return emu.shared;
}

void
vig_emu_check_aligned (const void *p, size_t boundary)
{
  if (reinterpret_cast<uintptr_t> (p) % boundary)
    vig_emu_fail ("an access of %zu bytes is %zu bytes off its boundary", boundary,
        (size_t) (reinterpret_cast<uintptr_t> (p) % boundary));
}

void
vig_cp_async16 (void *shared, const void *global, bool valid)
{
  check_in_shared ("vig_cp_async16", shared, 16);
  vig_emu_check_aligned (shared, 16);
  vig_emu_check_aligned (global, 16);
  char now[16]; /* an address outside is reported here, where it is given */
  if (valid)
    memcpy (now, global, sizeof now);
  memset (shared, 0xff, 16);
  emu.now->copies.push_back ({ shared, valid ? global : nullptr, emu.now->group });
}

void
vig_cp_async_commit ()
{
  emu.now->group++;
}

void
vig_emu_cp_async_wait (int n)
{
  Thread *t = emu.now;
  size_t i = 0;
  for (; i < t->copies.size () && t->copies[i].group < t->group - n; i++) {
    const Copy &c = t->copies[i];
    if (c.from)
      memcpy (c.to, c.from, 16);
    else
      memset (c.to, 0, 16);
  }
  t->copies.erase (t->copies.begin (), t->copies.begin () + (ptrdiff_t) i);
}

void
vig_barrier (int id, int n_threads)
{
  if (id < 0 || id >= BARRIERS || n_threads <= 0 || n_threads > (int) emu.n_threads || (id && n_threads % WARP))
    vig_emu_fail ("barrier %d of %d threads in a block of %u: expected one of 0 .. 15 and whole warps", id, n_threads,
        emu.n_threads);
  Barrier *b = &emu.barriers[id];
  if (b->arrived && b->expected != n_threads)
    vig_emu_fail ("barrier %d is for %d threads here and for %d elsewhere", id, n_threads, b->expected);
  b->expected = n_threads;
  emu.now->barrier = id;
  if (++b->arrived < n_threads) {
    wait (AT_BARRIER);
    return;
  }
  b->arrived = 0;
  for (unsigned i = 0; i < emu.n_threads; i++)
    if (emu.threads[i].state == AT_BARRIER && emu.threads[i].barrier == id)
      emu.threads[i].state = READY;
  wait (READY);
}

void
__syncthreads ()
{
  vig_barrier (0, (int) emu.n_threads);
}

void
__syncwarp (unsigned mask)
{
  Collective c = {};
  /* of a last warp that is not whole, all its lanes are meant */
  unsigned first = emu.now->index / WARP * WARP, n = std::min<unsigned> (WARP, emu.n_threads - first);
  c.mask = n < WARP ? mask & ((1u << n) - 1) : mask;
  c.what = "__syncwarp";
  c.run = run_nothing;
  collect (&c);
}

unsigned
__ballot_sync (unsigned mask, int predicate)
{
  Collective c = {};
  c.mask = mask;
  c.what = "a vote";
  c.run = run_ballot;
  c.value = predicate != 0;
  collect (&c);
  return (unsigned) c.result;
}

uint64_t
vig_emu_shuffle (VigEmuShuffle how, unsigned mask, uint64_t value, int lane, int width)
{
  static const char *const names[] = { "__shfl_sync", "__shfl_up_sync", "__shfl_down_sync", "__shfl_xor_sync" };
  int self = (int) (emu.now->index % WARP), start = self / width * width, source = self;
  if (width < 1 || width > WARP || width & (width - 1))
    vig_emu_fail ("%s: width %d is no power of two up to 32", names[how], width);
  switch (how) {
    case VIG_EMU_IDX: source = start + (lane & (width - 1)); break;
    case VIG_EMU_UP: source = self - lane; break;
    case VIG_EMU_DOWN: source = self + lane; break;
    case VIG_EMU_XOR: source = self ^ lane; break;
  }
  /* over the edge: the lane's own value; xor may reach an earlier group */
  if (source >= start + width || (source < start && how != VIG_EMU_XOR))
    source = self;
  Collective c = {};
  c.mask = mask;
  c.what = names[how];
  c.width = width;
  c.run = run_shuffle;
  c.value = value;
  c.source = source;
  collect (&c);
  return c.result;
}

void
vig_mma_m16n8k16_bf16 (float d[4], const uint32_t a[4], const uint32_t b[2])
{
  if (VIG_SM < 80)
    vig_emu_fail ("compute capability %d has no bf16 matrix products", VIG_SM);
  mma ("vig_mma_m16n8k16_bf16", run_mma_16<vig_bf16>, d, a, b);
}

void
vig_mma_m16n8k16_f16 (float d[4], const uint32_t a[4], const uint32_t b[2])
{
  mma ("vig_mma_m16n8k16_f16", run_mma_16<vig_half>, d, a, b);
}

void
vig_mma_m16n8k8_tf32 (float d[4], const uint32_t a[4], const uint32_t b[2])
{
  if (VIG_SM < 80)
    vig_emu_fail ("compute capability %d has no tf32 matrix products", VIG_SM);
  mma ("vig_mma_m16n8k8_tf32", run_mma_tf32, d, a, b);
}

void
vig_ldmatrix_x4 (uint32_t r[4], const void *row)
{
  ldmatrix<4, false> ("vig_ldmatrix_x4", r, row);
}

void
vig_ldmatrix_x4_trans (uint32_t r[4], const void *row)
{
  ldmatrix<4, true> ("vig_ldmatrix_x4_trans", r, row);
}

void
vig_ldmatrix_x2 (uint32_t r[2], const void *row)
{
  ldmatrix<2, false> ("vig_ldmatrix_x2", r, row);
}

void
vig_ldmatrix_x2_trans (uint32_t r[2], const void *row)
{
  ldmatrix<2, true> ("vig_ldmatrix_x2_trans", r, row);
}
