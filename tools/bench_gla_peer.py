#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The peers of tests/bench/gla in processes of their own, which answer rounds on request as tools/bench_worker.py does.

    bench_gla_peer.py torch|fla|original cpu|cuda THREADS

torch: scaled_dot_product_attention, whichever of its ways is the fastest here. fla: the current flash-linear-attention
package. original: the Triton kernels that ViG came with, from the folder VIG_ORIGINAL_FLA (flash-linear-attention/ of the
official repository). A line of JSON each way:

    -> {"ready": "PyTorch 2.6.0"}   or {"missing": "why"}, and it ends
    <- {"shape": {"batch": 1, "heads": 8, "tokens": 1024, "dk": 64, "dv": 64}, "longest": 12}, or {"shape": null}: the
       machine itself
    -> {"ways": {"forward-bf16": {"label": "flash", "bytes": N, "ms": M}, "both-bf16": {"missing": "why"}, …}}
    <- {"seconds": 0.5, "way": "forward-bf16"}
    -> {"ms": [each call]}

forward is causal attention, both attention to all tokens. bytes: what a call needs beyond its tensors. Outputs are checked:
attention against the definition in double (of the first and the last token), gated linear attention against the recurrence
(all tokens of a head, up to 1024). What would take more than `longest` seconds, by how much it took with fewer tokens, is
missing; what would take more than three is not tried beforehand: it was checked with fewer tokens, and M is that guess.
"""
import json
import os
import sys

from bench_worker import only_answers, repeated, round_of, say, touched

LIMITS = {"fp32": 1e-3, "bf16": 3e-2}  # of the largest output
SCORES = 1 << 30                       # bytes that attention may hold all scores in
CHECKED = 1024                         # tokens


class Way:
    """run() -> output of [B, H, L, D]; given() -> its tensors, which are made when they are first wanted."""

    def __init__(self, label, run, given):
        self.label, self.run, self.given, self.last = label, run, given, 0


def synchronised(torch, device, run):
    def both():
        result = run()
        torch.cuda.synchronize()
        return result
    return both if device == "cuda" else run


def later(make):
    made = []

    def get():
        if not made:
            made.append(make())
        return made[0]
    return get


def tensors(torch, device, dtype, batch, heads, tokens, dk, dv):
    """q, k, v and log decays of two directions, [B, H, L, D]"""
    torch.manual_seed(1)
    q, k = (torch.randn(batch, heads, tokens, dk, device=device, dtype=torch.float32).to(dtype) for _ in range(2))
    v = torch.randn(batch, heads, tokens, dv, device=device, dtype=torch.float32).to(dtype)
    return q, k, v, [-0.1 * torch.rand(batch, heads, tokens, dk, device=device) for _ in range(2)]


# ---- attention -------------------------------------------------------------------------------------------------------

def attention(torch, device, dtype, shape):
    """{"forward" or "both": [ways]}"""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.functional import pad, scaled_dot_product_attention
    given = later(lambda: tensors(torch, device, dtype, **shape)[:3])
    wide = max(shape["dk"], shape["dv"])
    padded = later(lambda: [pad(x, (0, wide - x.shape[-1])) for x in given()])  # what fused attention asks for; not counted
    fits = 4 * shape["batch"] * shape["heads"] * shape["tokens"] ** 2 <= SCORES

    def way(label, backend, inputs, causal):
        def run():
            with sdpa_kernel(backend):
                return scaled_dot_product_attention(*inputs(), is_causal=causal, scale=shape["dk"] ** -0.5)
        return Way(label, synchronised(torch, device, run), given)

    def ways(causal):
        fused = "flash" if shape["dk"] == shape["dv"] else "flash, padded to %d" % wide
        result = [way(fused, [SDPBackend.FLASH_ATTENTION], padded, causal)]
        if device == "cuda":
            result.append(way("memory-efficient", [SDPBackend.EFFICIENT_ATTENTION], given, causal))
        if fits:
            result.append(way("math", [SDPBackend.MATH], given, causal))
        return result
    return {"forward": ways(True), "both": ways(False)}


def attention_off(torch, way, direction, got):
    q, k, v = (x[0, 0].double() for x in way.given())
    want = torch.softmax(q[-1] @ k.T * q.shape[-1] ** -0.5, -1) @ v
    first = v[0] if direction == "forward" else torch.softmax(q[0] @ k.T * q.shape[-1] ** -0.5, -1) @ v
    got = got[0, 0, :, :v.shape[-1]].double()
    return float(max((got[-1] - want).abs().max() / want.abs().max(), (got[0] - first).abs().max() / first.abs().max()))


# ---- gated linear attention ------------------------------------------------------------------------------------------

def current(torch, device, dtype, shape):
    from fla.ops.gla import chunk_gla
    given = later(lambda: tensors(torch, device, dtype, **shape))
    inputs = later(lambda: [x.transpose(1, 2).contiguous() for x in (*given()[:3], given()[3][0])])
    return {"forward": [Way("chunk", synchronised(torch, device, lambda: chunk_gla(*inputs())[0].transpose(1, 2)), given)]}


def original(torch, device, dtype, shape):
    from fla.ops.gla.recurrent_fuse import bid_fused_recurrent_gla, fused_recurrent_gla
    given = later(lambda: tensors(torch, device, dtype, **shape))
    two = later(lambda: torch.cat(given()[3]))

    def forward():
        q, k, v, gates = given()
        return fused_recurrent_gla(q, k, v, gates[0])[0]

    def both():
        return bid_fused_recurrent_gla(*given()[:3], two())[0]
    return {"forward": [Way("recurrent", synchronised(torch, device, forward), given)],
            "both": [Way("bidirectional", synchronised(torch, device, both), given)]}


def recurrence(torch, q, k, v, gates, backward):
    out, state = torch.empty_like(v), torch.zeros(q.shape[-1], v.shape[-1], dtype=torch.float64, device=q.device)
    for t in reversed(range(len(q))) if backward else range(len(q)):
        state = state * gates[t].exp()[:, None] + k[t][:, None] * v[t]
        out[t] = q[t] @ state * q.shape[-1] ** -0.5
    return out


def recurrence_off(torch, way, direction, got):
    (q, k, v), gates = (x[0, 0].double() for x in way.given()[:3]), [x[0, 0].double() for x in way.given()[3]]
    if len(q) > CHECKED:
        return 0
    want = recurrence(torch, q, k, v, gates[0], False)
    if direction == "both":
        want += recurrence(torch, q, k, v, gates[1], True)
    return float((got[0, 0].double() - want).abs().max() / want.abs().max())


# ---- the machine -----------------------------------------------------------------------------------------------------

def machine(torch, device):
    """{name: way}: the largest matrix product's peak and the memory, of a GPU"""
    def product(dtype):
        a, b = (torch.randn(8192, 8192, device=device).to(dtype) for _ in range(2))
        return Way(str(2 * 8192 ** 3), synchronised(torch, device, lambda: a @ b), None)
    memory = torch.ones(1 << 28, device=device)
    return {"peak-bf16": product(torch.bfloat16), "peak-fp32": product(torch.float32),
            "memory": Way(str(2 * memory.nbytes), synchronised(torch, device, memory.neg_), None)}


# ---- rounds ----------------------------------------------------------------------------------------------------------

class Peer:
    def __init__(self, family, device, threads):
        if family == "original":
            sys.path.insert(0, os.environ.get("VIG_ORIGINAL_FLA") or "/nowhere")
        import torch
        torch.set_num_threads(threads)
        self.torch, self.device, self.seen, self.ways, self.longest = torch, device, {}, {}, 0
        self.make, self.off, self.name = {
            "torch": (attention, attention_off, "PyTorch " + torch.__version__.split("+")[0]),
            "fla": (current, recurrence_off, "flash-linear-attention"),
            "original": (original, recurrence_off, "the original Triton kernels")}[family]
        if family != "torch":
            import fla
            self.name += " " + getattr(fla, "__version__", "")
        if family == "original":
            import fla.ops.gla.recurrent_fuse  # the current package has none
        if device == "cuda" and not torch.cuda.is_available():
            raise RuntimeError("PyTorch finds no GPU")

    def expected(self, key, shape):
        """Seconds of a call, by what it took with fewer tokens; 0: nobody knows."""
        tokens, seconds = self.seen.get((key, shape["dk"], shape["dv"]), (1, 0))
        return seconds * (shape["tokens"] / tokens) ** 2

    def tried(self, key, direction, precision, shape, way):
        """Runs it, and gives milliseconds of a call; raises if it does not do what it should."""
        expected = self.expected((key, way.label), shape)
        if expected > self.longest:
            raise RuntimeError("more than %g s a call, by its time with fewer tokens" % self.longest)
        if expected > 3:
            return 1e3 * expected
        got = []
        ms = repeated(lambda: got.append(way.run()), 0)[0]
        if ms < 3e3:  # the first call is no measure
            ms = min(repeated(way.run, 0.05))
        self.seen[(key, way.label), shape["dk"], shape["dv"]] = shape["tokens"], 1e-3 * ms
        off = self.off(self.torch, way, direction, got[0])
        if not off < LIMITS[precision]:
            raise RuntimeError("%.1e of the largest output off" % off)
        return ms

    def memory(self, way):
        """Beyond inputs and outputs."""
        if self.device == "cuda":
            self.torch.cuda.reset_peak_memory_stats()
            before = self.torch.cuda.memory_allocated()
            out = way.run()
            return self.torch.cuda.max_memory_allocated() - before - out.nbytes
        used = touched(way.run) - touched(lambda: None)
        out = way.run()
        return max(0, used - sum(x.nbytes for x in way.given()[:3]) - out.nbytes)

    def fastest(self, key, direction, precision, shape, ways):
        """The fastest of some ways; what is wrong with the last one if there is none."""
        best, why = None, "there is none"
        for way in ways:
            try:
                ms = self.tried(key, direction, precision, shape, way)
                if not best or ms < best[0]:
                    best = ms, way
            except Exception as e:  # whatever a peer fails with is why it is missing
                why = ("%s" % e or type(e).__name__).splitlines()[0]
        if not best:
            return None, dict(missing=why)
        ms, way = best
        way.last = ms
        return way, dict(label=way.label, ms=ms, bytes=self.memory(way) if ms < 1e3 else None)

    def prepare(self, shape):
        self.ways, answers = {}, {}  # what was there goes first
        if shape is None:
            self.ways = machine(self.torch, self.device)
            return {name: dict(label=way.label) for name, way in self.ways.items()}
        for precision, dtype in (("bf16", self.torch.bfloat16), ("fp32", self.torch.float32)):
            for direction, ways in self.make(self.torch, self.device, dtype, shape).items():
                key = direction + "-" + precision
                way, answers[key] = self.fastest(key, direction, precision, shape, ways)
                if way:
                    self.ways[key] = way
        return answers

    def answer(self, words):
        with self.torch.inference_mode():
            if "shape" in words:
                self.longest = words.get("longest", 0)
                return dict(ways=self.prepare(words["shape"]))
            way = self.ways[words["way"]]
            times = round_of(way.run, words["seconds"], way.last)
            way.last = times[-1]
            return dict(ms=times)


def main():
    family, device, threads = sys.argv[1:4]
    try:
        peer = Peer(family, device, int(threads))
    except Exception as e:  # as above
        say(missing=("%s: %s" % (type(e).__name__, e)).splitlines()[0])
        return
    say(ready=peer.name)
    for line in sys.stdin:
        say(**peer.answer(json.loads(line)))


if __name__ == "__main__":
    os.environ.setdefault("OMP_PROC_BIND", "true")  # what it is fastest with
    only_answers()
    main()
