#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""libvig on a GPU beside the original code, PyTorch with Triton, and beside DeiT-T; part "peer" of tests/gpu/run.

    bench_peer.py --original DIR --run "COMMAND PREFIX/" [--points vig_t:224:128,…] [--rounds 3] [--json FILE]

DIR: a checkout of the original's repository (hustvl/ViG), which is no part of this project. PREFIX/: what vig-bench and
vig-infer are started with. Never run on a GPU.

One process, one GPU, the same made-up weights on both sides. Outputs are compared first, then both sides are timed in
turn, in rounds: ours in bf16; the original as shipped (fp32; PyTorch's own default lets cuDNN's convolutions use TF32),
under bf16 autocast, and with --compile also compiled. Inference mode, cudnn.benchmark on, Triton's autotuning done
before the clock starts, inputs on the GPU, the GPU waited for after every batch. The ratio of a point is that of the
medians of its rounds.

Patches: not a line of the original is changed. These stand in for what surrounds the evaluation path:
 1. fla, fla.models, fla.modules, fla.ops and fla.ops.gla are empty packages over the original's folders, since their own
    __init__ files import language models and training kernels. Of them the original's files modules/rmsnorm.py,
    modules/activations.py, ops/utils.py and ops/gla/recurrent_fuse.py run, and those are all that evaluation needs.
 2. GLAConfig is a plain object with the original's defaults; it was a configuration of Hugging Face's transformers.
 3. Names that are imported but not used in evaluation (fused_chunk_gla, chunk_gla, FusedChunkGLAFunction, pad, rotary
    embeddings, FusedRMSNormSwishGate, causal_conv1d, fvcore, torchvision, timm's VisionTransformer) are empty classes.
 4. Where timm, transformers or einops is not installed: DropPath (the identity in evaluation), to_2tuple,
    trunc_normal_, ACT2FN and rearrange are the few lines below.
With --device cpu, to try this script without a GPU, the original's Triton operators are plain PyTorch."""
import argparse
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
import types

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import vig_weights  # noqa: E402

POINTS = "vig_t:224:128,vig_s:224:128,vig_b:224:128,vig_t:224:1,vig_t:1024:1"
ROUND_SECONDS = 1.0
LIMITS = {"fp32": 3e-3, "bf16": 6e-2}  # of the largest logit; fp32: the original's convolutions may be TF32


# ---- stand-ins -------------------------------------------------------------------------------------------------------

class Unused(torch.nn.Module):
    """Imported by name, never called."""


class Config:
    def __init__(self, **settings):
        self.__dict__.update(dict(clamp_min=None, fuse_norm=True, rms_norm_eps=1e-6, initializer_range=0.02,
                                  intermediate_size=None, hidden_act="swish"), **settings)


class Activations:
    MADE = {"swish": torch.nn.SiLU, "silu": torch.nn.SiLU, "gelu": torch.nn.GELU}

    def __getitem__(self, name):
        return self.MADE[name]()


class DropPath(torch.nn.Module):
    def __init__(self, drop_prob=0.0):
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x):
        assert not self.training
        return x


def rearrange(x, pattern, **sizes):
    """einops' function, for patterns of names and brackets."""
    left, right = (re.findall(r"\([^)]*\)|\S+", side) for side in pattern.split("->"))
    size = dict(sizes)
    for axis, n in zip(left, x.shape):
        names = axis.strip("()").split()
        open_ = [name for name in names if name not in sizes]
        for name in names:
            if name in sizes:
                n //= sizes[name]
        if open_:
            size[open_[0]] = n
    order = [name for axis in left for name in axis.strip("()").split()]
    x = x.reshape([size[name] for name in order])
    x = x.permute([order.index(name) for axis in right for name in axis.strip("()").split()])
    return x.reshape([int(np.prod([size[name] for name in axis.strip("()").split()])) for axis in right])


def module(name, folder=None, **names):
    m = types.ModuleType(name)
    m.__dict__.update(names)
    if folder:
        m.__path__ = [folder]
    sys.modules[name] = m
    parent, _, last = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], last, m)
    return m


def have(name):
    try:
        __import__(name)
        return True
    except ImportError:
        return False


def stand_in_for_others():
    if not have("timm.models.layers"):
        module("timm", "")
        module("timm.models", "")
        module("timm.models.layers", DropPath=DropPath, to_2tuple=lambda x: tuple(x) if isinstance(x, (tuple, list)) else (x, x),
               trunc_normal_=torch.nn.init.trunc_normal_)
        module("timm.models.registry", register_model=lambda f: f)
        module("timm.models.vision_transformer", VisionTransformer=Unused, Attention=Unused, _cfg=dict)
    if not have("transformers.activations"):
        module("transformers", "")
        module("transformers.activations", ACT2FN=Activations())
    if not have("einops"):
        module("einops", rearrange=rearrange, repeat=Unused)
    module("causal_conv1d", "")
    module("causal_conv1d.causal_conv1d_interface", CausalConv1dFn=Unused)
    module("fvcore", "")
    module("fvcore.nn", FlopCountAnalysis=Unused, flop_count_str=Unused, flop_count=Unused, parameter_count=Unused)
    module("torchvision", "")
    module("torchvision.models", VisionTransformer=Unused)


# On the CPU, in place of the Triton operators.

class PlainRMSNorm(torch.nn.Module):
    def __init__(self, hidden_size, eps=1e-5):
        super().__init__()
        self.eps, self.weight = eps, torch.nn.Parameter(torch.ones(hidden_size))

    def forward(self, x, residual=None, prenorm=False):
        x = x if residual is None else x + residual
        y = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight
        return (y, x) if prenorm else y


def plain_scan(q, k, v, gk, backward):
    state, out = 0, [None] * q.shape[2]
    for t in reversed(range(q.shape[2])) if backward else range(q.shape[2]):
        state = gk[:, :, t].exp().unsqueeze(-1) * state + k[:, :, t].unsqueeze(-1) * v[:, :, t].unsqueeze(-2)
        out[t] = (q[:, :, t].unsqueeze(-2) @ state).squeeze(-2)
    return torch.stack(out, 2)


def plain_gla(q, k, v, gk, gv):
    forward, backward = gk.chunk(2)
    q = q * q.shape[-1] ** -0.5
    return (plain_scan(q, k, v, forward, False) + plain_scan(q, k, v, backward, True)) / 2, None


def load_original(folder, device):
    """The original's two model classes."""
    fla = os.path.join(folder, "flash-linear-attention", "fla")
    stand_in_for_others()
    module("fla", fla)
    module("fla.models", GLAConfig=Config)
    modules = module("fla.modules", fla + "/modules", FusedRMSNormSwishGate=Unused)
    module("fla.ops", fla + "/ops")
    module("fla.ops.gla", fla + "/ops/gla", chunk_gla=Unused, fused_chunk_gla=Unused, fused_recurrent_gla=Unused)
    module("fla.ops.gla.chunk_fuse", FusedChunkGLAFunction=Unused, pad=Unused)
    module("fla.modules.rotary", RotaryEmbedding=Unused)
    if device == "cpu":
        module("fla.modules.rmsnorm", RMSNorm=PlainRMSNorm)
        module("fla.modules.activations", swiglu=lambda x, y: F.silu(x) * y,
               swiglu_linear=lambda x, y, w, b: F.linear(F.silu(x) * y, w, b))
        module("fla.ops.gla.recurrent_fuse", bid_fused_recurrent_gla=plain_gla)
    from fla.modules.rmsnorm import RMSNorm
    modules.RMSNorm = RMSNorm
    module("models", os.path.join(folder, "classification", "models"))
    from models.vig import ViG
    from models.vig_h import HierViG
    return ViG, HierViG


def original_model(classes, config, weights, device):
    """With the settings of the published configurations."""
    plain, hierarchical = classes
    if config["family"] == "vig":
        model = plain(img_size=config["img_size"], depth=config["depth"], num_heads=config["num_heads"],
                      embed_dim=config["embed_dim"], num_classes=config["num_classes"], if_cls_token=False,
                      use_swiglu=True, use_act_in_conv=config["act_in_conv"], use_out_act=config["out_act"],
                      use_out_gate=False, patch_embed_version="v2")
    else:
        model = hierarchical(depths=config["depths"], dims=config["dims"], num_heads=config["num_heads"],
                             num_classes=config["num_classes"], use_act_in_conv=config["act_in_conv"],
                             use_out_act=config["out_act"], norm_layer="ln2d", downsample_version="v3",
                             patchembed_version="v2", gmlp=True)
    model.load_state_dict({name: torch.from_numpy(values) for name, values in weights.items()}, strict=True)
    return model.to(device).eval()


# ---- DeiT-T ----------------------------------------------------------------------------------------------------------

class Attention(torch.nn.Module):
    def __init__(self, d, heads, fused):
        super().__init__()
        self.heads, self.fused = heads, fused
        self.qkv, self.out = torch.nn.Linear(d, 3 * d), torch.nn.Linear(d, d)

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            y = (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)).softmax(-1) @ v
        return self.out(y.transpose(1, 2).reshape(b, n, d))


class DeiT(torch.nn.Module):
    """DeiT-T's shapes: 192 wide, 12 blocks, 3 heads, patches of 16, a class token."""

    def __init__(self, size, fused, d=192, depth=12, heads=3):
        super().__init__()
        norm = lambda: torch.nn.LayerNorm(d, eps=1e-6)  # noqa: E731
        self.patches = torch.nn.Conv2d(3, d, 16, 16)
        self.token = torch.nn.Parameter(torch.zeros(1, 1, d))
        self.position = torch.nn.Parameter(torch.zeros(1, (size // 16) ** 2 + 1, d))
        self.blocks = torch.nn.ModuleList(torch.nn.ModuleList([norm(), Attention(d, heads, fused), norm(), torch.nn.Sequential(
            torch.nn.Linear(d, 4 * d), torch.nn.GELU(), torch.nn.Linear(4 * d, d))]) for _ in range(depth))
        self.norm, self.head = norm(), torch.nn.Linear(d, 1000)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position
        for norm1, attention, norm2, mlp in self.blocks:
            x = x + attention(norm1(x))
            x = x + mlp(norm2(x))
        return self.head(self.norm(x)[:, 0])


# ---- measuring -------------------------------------------------------------------------------------------------------

class Bench:
    def __init__(self, args, folder):
        self.run, self.device, self.folder, self.seconds = shlex.split(args.run), args.device, folder, args.seconds

    def tool(self, name, *words):
        command = self.run[:-1] + [self.run[-1] + name] + [str(w) for w in words]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit("%s: %s" % (name, done.stderr.strip()))
        return done.stdout

    def ours(self, path, precision, batch, size):
        return json.loads(self.tool("vig-bench", "--model", path, "--device", self.device, "--precision", precision, "--batch",
                                    batch, "--size", size, "--seconds", self.seconds, "--resident", "--peak", 0, "--json"))

    def logits(self, path, precision, x):
        np.save(self.folder + "/in.npy", x.cpu().numpy())
        self.tool("vig-infer", "--model", path, "--device", self.device, "--precision", precision, "--input",
                  self.folder + "/in.npy", "--output", self.folder + "/out.npy")
        return np.load(self.folder + "/out.npy")

    def forward(self, model, x, precision):
        with torch.inference_mode(), torch.autocast(self.device, torch.bfloat16, enabled=precision == "bf16"):
            y = model(x)
        if self.device == "cuda":
            torch.cuda.synchronize()
        return y

    def theirs_ms(self, model, x, precision):
        self.forward(model, x, precision)
        times, end = [], time.monotonic() + self.seconds
        while time.monotonic() < end or len(times) < 3:
            start = time.perf_counter()
            self.forward(model, x, precision)
            times.append(1e3 * (time.perf_counter() - start))
        return statistics.median(times)

    def point(self, classes, variant, size, batch, rounds, compiled):
        config = vig_weights.CONFIGS[variant]
        weights, path = vig_weights.tensors(config, 1), self.folder + "/model.safetensors"
        vig_weights.checkpoint.write_model(path, weights, config)
        model = original_model(classes, config, weights, self.device)
        torch.manual_seed(0)
        x = torch.randn(batch, 3, size, size, device=self.device)
        few = x[:min(batch, 4)]
        row = dict(variant=variant, size=size, batch=batch)
        for precision, limit in LIMITS.items():  # the same thing is computed on both sides
            want = self.forward(model, few, precision).float().cpu().numpy()
            error = float(abs(self.logits(path, precision, few) - want).max() / abs(want).max())
            row["error_" + precision] = error
            if not error < (limit if config["family"] == "vig" else 2 * limit):
                row["failed"] = "%s: logits differ by %.1e of the largest: nothing timed" % (precision, error)
                return row
        others = {"fp32": (model, "fp32"), "bf16": (model, "bf16")}
        if compiled:
            others["bf16 compiled"] = torch.compile(model), "bf16"
        for m, precision in others.values():  # autotuning
            for _ in range(3):
                self.forward(m, x, precision)
        times = {name: [] for name in ["ours", *others]}
        for _ in range(rounds):
            times["ours"].append(self.ours(path, "bf16", batch, size)["median_ms"])
            for name, (m, precision) in others.items():
                times[name].append(self.theirs_ms(m, x, precision))
        ms = {name: statistics.median(t) for name, t in times.items()}
        return dict(row, ms=ms, ratio={name: ms[name] / ms["ours"] for name in others})

    def deit(self, size, rounds):
        """DeiT-T beside ViG-T: memory against attention that is not fused, speed against fused and compiled. bf16."""
        path, config = self.folder + "/model.safetensors", vig_weights.CONFIGS["vig_t"]
        vig_weights.checkpoint.write_model(path, vig_weights.tensors(config, 1), config)
        x = torch.randn(1, 3, size, size, device=self.device)
        plain = DeiT(size, False).to(self.device).eval()
        row = dict(variant="deit_t", size=size, batch=1)
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            self.forward(plain, x, "bf16")
            row["deit_bytes"] = torch.cuda.max_memory_allocated() - before
        del plain
        fused = DeiT(size, True).to(self.device).eval()
        if self.device == "cuda":
            fused = torch.compile(fused)
        ours, theirs = [], []
        for _ in range(3):
            self.forward(fused, x, "bf16")
        for _ in range(rounds):
            figures = self.ours(path, "bf16", 1, size)
            ours.append(figures["median_ms"])
            theirs.append(self.theirs_ms(fused, x, "bf16"))
        ms = {"ours": statistics.median(ours), "fused": statistics.median(theirs)}
        return dict(row, ms=ms, ratio={"fused": ms["fused"] / ms["ours"]}, ours_bytes=figures["workspace_bytes"])


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--original", required=True, metavar="DIR")
    ap.add_argument("--run", required=True, metavar="COMMAND")
    ap.add_argument("--points", default=POINTS)
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--seconds", type=float, default=ROUND_SECONDS)
    ap.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    ap.add_argument("--deit", type=int, default=1024, metavar="SIZE", help="0: without DeiT-T")
    ap.add_argument("--compile", action="store_true", help="time the original compiled too")
    ap.add_argument("--json", metavar="FILE", help="one line a point is appended")
    args = ap.parse_args()
    torch.backends.cudnn.benchmark = True
    classes = load_original(args.original, args.device)
    where = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    print("PyTorch %s on %s" % (torch.__version__, where), flush=True)
    good = count = 0
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(args, folder)
        jobs = [("%s" % p, lambda v, s, b: bench.point(classes, v, int(s), int(b), args.rounds, args.compile), p.split(":"))
                for p in args.points.split(",") if p]
        if args.deit:
            jobs.append(("DeiT-T at %d" % args.deit, lambda: bench.deit(args.deit, args.rounds), []))
        for name, job, words in jobs:
            row = job(*words)
            count += 1
            good += "failed" not in row
            print("%s: %s" % (name, row.get("failed") or ", ".join(
                ["ours %.3f ms" % row["ms"]["ours"]] + ["%s %.3f ms (%.2f times ours)" % (k, row["ms"][k], r)
                                                       for k, r in row["ratio"].items()])), flush=True)
            if args.json:
                with open(args.json, "a", encoding="utf-8") as f:
                    f.write(json.dumps(row) + "\n")
    print("%d of %d points measured beside their peers" % (good, count))
    sys.exit(good != count)


if __name__ == "__main__":
    main()
