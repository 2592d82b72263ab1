#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Plain ViG, and the two temporal architectures of docs/temporal.md, in NumPy float64: slow, and meant to be read.

    tools/vig_reference.py check                 the image models against the goldens of the original implementation
    tools/vig_reference.py goldens DIR           writes the goldens of the temporal models

Symbols are those of the paper (arXiv 2405.18425) and of docs/temporal.md: D wide, h heads, L tokens of a frame, T frames.
"""
import argparse
import copy
import json
import math
import os
import struct

import numpy as np

import convert_checkpoint as checkpoint
import vig_weights

RANK, DIVISOR, RMS_EPS, LN_EPS = 16, 16.0, 1e-6, 1e-5


def sigmoid(x):
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), 1 - 1 / (1 + np.exp(-np.abs(x))))


def silu(x):
    return x * sigmoid(x)


def log_decay(z):
    return (np.minimum(z, 0) - np.log1p(np.exp(-np.abs(z)))) / DIVISOR


def rms(x, weight):
    return x / np.sqrt(np.mean(x * x, -1, keepdims=True) + RMS_EPS) * weight


def layer_norm(x, weight, bias):
    d = x - x.mean(-1, keepdims=True)
    return d / np.sqrt(np.mean(d * d, -1, keepdims=True) + LN_EPS) * weight + bias


def conv(x, weight, stride, pad):
    """x [C,H,W], weight [O,C,kh,kw]: [H',W',O]"""
    k = weight.shape[-1]
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (pad, pad), (pad, pad))), (k, k), (1, 2))
    return np.einsum("chwij,ocij->hwo", windows[:, ::stride, ::stride], weight)


def depthwise(x, weight):
    """x [T,H,W,D], weight [D,1,kt,3,3], zeros outside: the same shape"""
    kt = weight.shape[2]
    padded = np.pad(x, ((kt // 2, kt // 2), (1, 1), (1, 1), (0, 0)))
    t, h, w, _ = x.shape
    return sum(padded[a:a + t, b:b + h, c:c + w] * weight[:, 0, a, b, c]
               for a in range(kt) for b in range(3) for c in range(3))


def gla(q, k, v, g, state=None, write=None):
    """S <- exp(g) S + write k v^T; o = S^T q. q, k, g [N,dk], v [N,dv], write [N]: o [N,dv] and the last S [dk,dv]"""
    s = np.zeros((q.shape[1], v.shape[1])) if state is None else state.copy()
    o = np.empty_like(v)
    for t in range(len(q)):
        s = np.exp(g[t])[:, None] * s + (1.0 if write is None else write[t]) * np.outer(k[t], v[t])
        o[t] = s.T @ q[t]
    return o, s


def bicubic_matrix(n_out, n_in):
    """[n_out, n_in]: separable bicubic interpolation, a = -0.75, half-pixel centres, indices clamped"""
    a, m = -0.75, np.zeros((n_out, n_in))
    for i in range(n_out):
        source = (i + 0.5) * n_in / n_out - 0.5
        first = math.floor(source)
        for tap in range(first - 1, first + 3):
            t = abs(source - tap)
            w = (a + 2) * t ** 3 - (a + 3) * t ** 2 + 1 if t <= 1 else a * t ** 3 - 5 * a * t ** 2 + 8 * a * t - 4 * a
            m[i, min(max(tap, 0), n_in - 1)] += w if t < 2 else 0
    return m


def linear_matrix(n_out, n_in):
    """[n_out, n_in]: linear interpolation, half-pixel centres, clamped to the ends"""
    m = np.zeros((n_out, n_in))
    for i in range(n_out):
        source = min(max((i + 0.5) * n_in / n_out - 0.5, 0), n_in - 1)
        first = min(int(source), max(n_in - 2, 0))
        m[i, first] += 1 - (source - first)
        if n_in > 1:
            m[i, first + 1] += source - first
    return m


class Vig:
    """A plain ViG, of either temporal kind or none."""

    def __init__(self, config, tensors):
        self.config = config
        self.w = {name: values.astype(np.float64) for name, values in tensors.items()}
        self.temporal = config.get("temporal", {})

    # ---- what all share ------------------------------------------------------------------------------------------

    def stem(self, picture):
        """picture [C,n,n]: tokens [H',W',D] with their place in the picture added"""
        w, p = self.w, "patch_embed.proj."
        x = conv(picture, w[p + "0.weight"], 8, 1) + w[p + "0.bias"]
        x = silu(layer_norm(x, w[p + "1.weight"], w[p + "1.bias"]))
        x = conv(x.transpose(2, 0, 1), w[p + "3.weight"], 2, 1) + w[p + "3.bias"]
        x = layer_norm(x, w[p + "4.weight"], w[p + "4.bias"])
        pos = w["pos_embed"][0]
        side = math.isqrt(len(pos))
        rows, columns = bicubic_matrix(x.shape[0], side), bicubic_matrix(x.shape[1], side)
        return x + np.einsum("ya,xb,abd->yxd", rows, columns, pos.reshape(side, side, -1))

    def mixer(self, prefix, a):
        """a [T,H',W',D], normed: the same shape. T frames are one sequence."""
        w = {name[len(prefix):]: values for name, values in self.w.items() if name.startswith(prefix)}
        heads, d = self.config["num_heads"], a.shape[-1]
        dk, dv = d // (2 * heads), d // heads
        kernel = w["in_proj.0.weight"]
        l = depthwise(a, kernel if kernel.ndim == 5 else kernel[:, :, None])
        l = (silu(l) if self.config["act_in_conv"] else l).reshape(-1, d)
        q, k, v = np.split(l @ w["qkv_proj.weight"].T, [d // 2, d], -1)
        z = l @ w["gk_proj.0.weight"].T @ w["gk_proj.1.weight"].T + w["gk_proj.1.bias"]
        g_fw, g_bw = np.split(log_decay(z), 2, -1)
        if "boundary" in w:  # what crosses into another frame
            per_frame = a.shape[1] * a.shape[2]
            g_fw[0::per_frame] += w["boundary"]
            g_bw[per_frame - 1::per_frame] += w["boundary"]
        o = np.empty_like(v)
        for j in range(heads):
            c, e = slice(j * dk, (j + 1) * dk), slice(j * dv, (j + 1) * dv)
            forward = gla(q[:, c], k[:, c], v[:, e], g_fw[:, c])[0]
            backward = gla(q[::-1, c], k[::-1, c], v[::-1, e], g_bw[::-1, c])[0][::-1]
            o[:, e] = (forward + backward) / (4 * math.sqrt(dk))
        gate = sigmoid(l @ w["g_proj.weight"].T + w["g_proj.bias"])
        split = (-1, heads, dv)
        o, l = rms(o.reshape(split), w["g_norm.weight"]).reshape(-1, d), rms(l.reshape(split), w["l_norm.weight"]).reshape(-1, d)
        m = gate * o + (1 - gate) * l
        return ((silu(m) if self.config["out_act"] else m) @ w["o_proj.weight"].T).reshape(a.shape)

    def block(self, i, x):
        w, p = self.w, "blocks.%d." % i
        x = x + self.mixer(p + "attn.", rms(x, w[p + "attn_norm.weight"]))
        gate, up = np.split(rms(x, w[p + "mlp_norm.weight"]) @ w[p + "mlp.gate_proj.weight"].T, 2, -1)
        return x + (silu(gate) * up) @ w[p + "mlp.down_proj.weight"].T

    def head(self, x):
        """x [...,H',W',D]: [...,classes]"""
        return rms(x, self.w["norm.weight"]).mean((-3, -2)) @ self.w["head.weight"].T + self.w["head.bias"]

    # ---- the three kinds -----------------------------------------------------------------------------------------

    def image(self, picture):
        """picture [3,n,n]: logits [classes]"""
        x = self.stem(picture)[None]
        for i in range(self.config["depth"]):
            x = self.block(i, x)
        return self.head(x)[0]

    def joint(self, pictures):
        """pictures [T,3,n,n]: logits of every frame [T,classes]; those of the window are their mean"""
        when = self.w["temporal_pos_embed"][0]
        x = np.stack([self.stem(p) for p in pictures]) + (linear_matrix(len(pictures), len(when)) @ when)[:, None, None]
        for i in range(self.config["depth"]):
            x = self.block(i, x)
        return self.head(x)

    def cells(self, x):
        """x [H',W',D]: the mean of each cell's tokens [grid^2,D], and the cell of every token [H',W']"""
        n = self.temporal["grid"]
        h, w, d = x.shape
        of = (np.arange(h) * n // h)[:, None] * n + np.arange(w) * n // w
        return np.stack([x[of == c].mean(0) for c in range(n * n)]), of

    def memory(self, i, x, state, elapsed):
        """The temporal module of block i, one frame: x [H',W',D] with what the past adds. state [grid^2,heads,dk,dv] changes."""
        p = "blocks.%d.temporal." % i
        w = {name[len(p):]: values for name, values in self.w.items() if name.startswith(p)}
        width, heads = self.temporal["width"], self.temporal["num_heads"]
        dk, dv = width // (2 * heads), width // heads
        c, of = self.cells(rms(x, w["norm.weight"]))
        q, k, v = np.split(c @ w["qkv_proj.weight"].T, [width // 2, width], -1)
        g = log_decay(c @ w["gk_proj.0.weight"].T @ w["gk_proj.1.weight"].T + w["gk_proj.1.bias"]) * elapsed
        write = np.array([min(elapsed, self.temporal["max_elapsed"])])
        o = np.empty_like(v)
        for cell in range(len(c)):
            for j in range(heads):
                a, b = slice(j * dk, (j + 1) * dk), slice(j * dv, (j + 1) * dv)
                o[cell:cell + 1, b], state[cell, j] = gla(q[cell:cell + 1, a], k[cell:cell + 1, a], v[cell:cell + 1, b],
                                                          g[cell:cell + 1, a], state[cell, j], write)
        o = rms(o.reshape(-1, heads, dv) / math.sqrt(dk), w["g_norm.weight"]).reshape(-1, width)
        y = (sigmoid(c @ w["g_proj.weight"].T + w["g_proj.bias"]) * o) @ w["o_proj.weight"].T
        return x + y[of]

    def new_state(self):
        """Of one stream that has seen nothing."""
        t = self.temporal
        shape = (t["grid"] ** 2, t["num_heads"], t["width"] // (2 * t["num_heads"]), t["width"] // t["num_heads"])
        return {"pts": None, "picture": None, "memory": {i: np.zeros(shape) for i in t["after"]}}

    def step(self, picture, pts, state):
        """The next frame of a stream, pts in seconds: logits [classes]. state changes."""
        t = self.temporal
        elapsed = 1.0 if state["pts"] is None else (pts - state["pts"]) / t["step"]
        view = picture
        if t["difference"]:
            before = picture if state["picture"] is None else state["picture"]
            view = np.concatenate([picture, np.clip(t["difference"] * (picture - before), -4, 4)])
        state["pts"], state["picture"] = pts, picture
        x = self.stem(view)
        for i in range(self.config["depth"]):
            x = self.block(i, x[None])[0]
            if i in t["after"]:
                x = self.memory(i, x, state["memory"][i], elapsed)
        return self.head(x)


# ---- from an image model to both kinds -------------------------------------------------------------------------------

def inflate_joint(config, tensors, frames, over_time):
    """A joint model whose every frame says what the image model says."""
    config = dict(config, temporal={"kind": "joint", "frames": frames, "conv": "time" if over_time else "frame"})
    out = dict(tensors, temporal_pos_embed=np.zeros((1, frames, config["embed_dim"]), np.float32))
    for i in range(config["depth"]):
        p = "blocks.%d.attn." % i
        out[p + "boundary"] = np.full(config["embed_dim"] // 2, -200, np.float32)
        if over_time:
            kernel = np.zeros((config["embed_dim"], 1, 3, 3, 3), np.float32)
            kernel[:, :, 1] = tensors[p + "in_proj.0.weight"]
            out[p + "in_proj.0.weight"] = kernel
    return config, out


# ---- made-up models and pictures ---------------------------------------------------------------------------------

JOINT = dict(vig_weights.TINY_T, name="tiny_joint", temporal={"kind": "joint", "frames": 4, "conv": "frame"})
JOINT_TIME = dict(vig_weights.TINY_T, name="tiny_joint_time", temporal={"kind": "joint", "frames": 4, "conv": "time"})
STREAM = dict(vig_weights.TINY_T, name="tiny_stream", in_chans=6, temporal={
    "kind": "stream", "after": [0, 1], "grid": 2, "width": 32, "num_heads": 1, "step": 0.04, "max_elapsed": 4.0, "difference": 8.0})
STREAM_PLAIN = dict(vig_weights.TINY_T, name="tiny_stream_plain", temporal={
    "kind": "stream", "after": [1], "grid": 3, "width": 64, "num_heads": 2, "step": 0.2, "max_elapsed": 2.0, "difference": 0.0})


def picture(ident, height, width):
    """[3,H,W]: value noise from coarse to single pixels (tests/golden/data/README.md)"""
    out = np.zeros((3, height, width))
    y, x = np.arange(height), np.arange(width)
    for c in range(3):
        for period, amplitude in ((64, 2.0), (32, 1.5), (16, 1.0), (8, 0.75), (4, 0.5), (1, 0.25)):
            gy, fy = y // period, (y % period / period)[:, None]
            gx, fx = x // period, (x % period / period)[None]
            rows, columns = int(gy[-1]) + 2, int(gx[-1]) + 2
            lattice = np.stack([vig_weights.uniform("image/%s/c%d/p%d" % (ident, c, period), 0, np.uint64(r * 65536) +
                                                    np.arange(columns, dtype=np.uint64)) for r in range(rows)])
            at = lambda dy, dx: lattice[np.ix_(gy + dy, gx + dx)]
            out[c] += amplitude * ((1 - fy) * ((1 - fx) * at(0, 0) + fx * at(0, 1)) + fy * ((1 - fx) * at(1, 0) + fx * at(1, 1)))
    return out.astype(np.float32).astype(np.float64)


# ---- commands --------------------------------------------------------------------------------------------------------

def read_safetensors(path):
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    return {name: np.frombuffer(data[slice(*t["data_offsets"])], "<f4").reshape(t["shape"])
            for name, t in header.items() if name != "__metadata__"}


def worst(got, want):
    return np.abs(got - want).max() / np.abs(want).max()


def check(data):
    """The image path against the original implementation, and what docs/temporal.md promises, as TAP; True if all hold."""
    results = []

    def say(what, error, limit):
        results.append(bool(error <= limit))
        print("%sok %d - %s: %.1e, at most %.0e" % ("" if results[-1] else "not ", len(results), what, error, limit))

    with open(os.path.join(data, "manifest.json"), encoding="utf-8") as f:
        runs = [r for r in json.load(f)["runs"] if r["name"] in ("tiny_t", "tiny_s", "tiny_t_eps", "tiny_t_gates")]
    for run in runs:
        model = Vig(run["config"], vig_weights.tensors(run["config"], run["seed"], list(run["factors"].items())))
        logits = read_safetensors(os.path.join(data, run["logits"]))
        for case in run["cases"]:
            ident, size = case["input"].split("_")
            height, width = map(int, size.split("x"))
            if height * width <= 96 * 96:
                say("%s %s: the original's logits" % (run["name"], case["input"]),
                    worst(model.image(picture(ident, height, width)), logits[case["input"] + ".logits"]), 1e-6)

    frames = [picture(c, 64, 64) for c in "abc"]
    tensors = vig_weights.tensors(vig_weights.TINY_T, 1)
    image = Vig(vig_weights.TINY_T, tensors)
    for over_time in (False, True):
        joint = Vig(*inflate_joint(vig_weights.TINY_T, tensors, 4, over_time))
        say("inflated, convolution %s: every frame says what the image model says" % ("over time" if over_time else "by frame"),
            worst(joint.joint(frames), np.stack([image.image(f) for f in frames])), 1e-12)
    stream = Vig(STREAM, vig_weights.tensors(STREAM, 1))
    silent = copy.copy(stream)
    silent.w = {n: np.zeros_like(w) if n.endswith("temporal.o_proj.weight") else w for n, w in stream.w.items()}
    a, b, c = stream.new_state(), stream.new_state(), silent.new_state()
    stream.step(frames[0], 0.0, a), stream.step(frames[1], 0.0, b), silent.step(frames[0], 0.0, c)
    far = stream.step(frames[2], 1e6, a)
    b["picture"] = frames[0]
    say("a gap of eleven days leaves nothing of what was before it", worst(stream.step(frames[2], 1e6, b), far), 1e-12)
    say("a module that adds nothing: the image model's answer",
        worst(silent.step(frames[1], 0.04, c), Vig(dict(STREAM, temporal={}), silent.w).image(
            np.concatenate([frames[1], np.clip(8 * (frames[1] - frames[0]), -4, 4)]))), 1e-12)
    print("1..%d" % len(results))
    return all(results)


TIMES = [0.0, 0.04, 0.08, 0.2, 0.2, 0.24, 1.0, 1.04]  # seconds: steady, a gap, a repeated time stamp, a long gap


def goldens(folder):
    """Pictures of the clips are the made-up ones named a, b, … in order; weights are those of seed 1."""
    os.makedirs(folder, exist_ok=True)
    for config in (JOINT, JOINT_TIME, STREAM, STREAM_PLAIN):
        model = Vig(config, vig_weights.tensors(config, 1))
        pictures = [picture(chr(ord("a") + i), 64, 64) for i in range(len(TIMES))]
        if config["temporal"]["kind"] == "joint":
            out = {"%d.logits" % n: model.joint(pictures[:n]) for n in (1, 4, 7)}
        else:
            state = model.new_state()
            out = {"logits": np.stack([model.step(p, t, state) for p, t in zip(pictures, TIMES)]),
                   "times": np.array(TIMES)}
            out.update({"blocks.%d.state" % i: s for i, s in state["memory"].items()})
        checkpoint.write_model(os.path.join(folder, config["name"] + ".safetensors"),
                               {n: v.astype(np.float32) for n, v in out.items()}, config)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = ap.add_subparsers(dest="command", required=True)
    sub.add_parser("check").add_argument("data", nargs="?", default=os.path.join(
        os.path.dirname(os.path.abspath(__file__)), "..", "tests", "golden", "data"))
    sub.add_parser("goldens").add_argument("folder")
    args = ap.parse_args()
    if args.command == "goldens":
        goldens(args.folder)
    elif not check(args.data):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
