# SPDX-License-Identifier: LGPL-2.1-or-later
"""The models that tests/bench/cpu times in PyTorch, ONNX Runtime and OpenVINO: plain ViG written to suit them, and DeiT.

ViG is that of tools/train/vig_torch.py with the made-up weights of tools/vig_weights.py, so that the engine computes the
same. What differs is what these runtimes are slow at, none of it the arithmetic: chunks divide the tokens (nothing is
padded), sums along tokens are products with a triangle of ones (CumSum runs on one core, a reversed one is three
operators), and log-sigmoid is a softplus (exported as such it is one operator instead of two, and exact for large z).
"""
import os
import sys

import torch
import torch.nn.functional as F

TOOLS = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [TOOLS, os.path.join(TOOLS, "train")]
import bench_peer  # noqa: E402
import vig_reference  # noqa: E402
import vig_torch  # noqa: E402
import vig_weights  # noqa: E402

DEIT = {"deit_t": dict(d=192, heads=3), "deit_s": dict(d=384, heads=6)}
NAMES = ["vig_t", "vig_s", *DEIT]
SEED = 1
WANTED_CHUNK = 64  # tokens; shorter ones cost states, longer ones cost triangles


def chunk_of(length):
    """The divisor of `length` nearest to WANTED_CHUNK: 49 of 196, 56 of 784, 64 of 4096."""
    best = 1
    for n in range(2, length + 1):  # a loop, since torch.compile follows no min(key=)
        if length % n == 0 and abs(n - WANTED_CHUNK) < abs(best - WANTED_CHUNK):
            best = n
    return best


def scan(q, k, v, g_fw, g_bw):
    """o_fw + o_bw of vig_torch.scan_both_ways(): [B,h,L,dk], v [B,h,L,dv]. L is the same at every call."""
    length = int(q.shape[2])  # a number, also while an exporter traces
    size = chunk_of(length)
    q, k, v, g_fw, g_bw = (x.unflatten(2, (length // size, size)) for x in (q, k, v, g_fw, g_bw))
    lower = torch.ones(size, size).tril()
    fw, bw = lower @ g_fw, lower.T @ g_bw                                     # sums of log decays up to each token
    inside = vig_torch.triangle(q, k, fw, False) * lower + vig_torch.triangle(q, k, bw, False) * lower.T
    o = inside @ v
    if length > size:
        o = o + between(q, k, v, fw, bw)
    return o.flatten(2, 3)


def between(q, k, v, fw, bw):
    """What the tokens of a chunk hear from other chunks, both ways."""
    all_fw, all_bw = fw[:, :, :, -1:], bw[:, :, :, :1]
    u_fw = (k * (all_fw - fw).exp()).transpose(3, 4) @ v                      # [B,h,N,dk,dv]
    u_bw = (k * (all_bw - bw).exp()).transpose(3, 4) @ v
    d_fw, d_bw = all_fw.transpose(3, 4).exp(), all_bw.transpose(3, 4).exp()   # [B,h,N,dk,1]
    s_fw = vig_torch.states_before(u_fw.unbind(2), d_fw.unbind(2))
    s_bw = vig_torch.states_before(u_bw.unbind(2)[::-1], d_bw.unbind(2)[::-1])[::-1]
    return (q * fw.exp()) @ torch.stack(s_fw, 2) + (q * bw.exp()) @ torch.stack(s_bw, 2)


class Mixer(vig_torch.Mixer):
    def forward(self, a, grid):
        dim = a.shape[-1]
        local = self.convolved(a, grid)
        if self.act_in_conv:
            local = F.silu(local)
        q, k, v = self.qkv_proj(local).split([dim // 2, dim // 2, dim], -1)
        g_fw, g_bw = (-F.softplus(-self.gk_proj(local).float()) / vig_torch.GATE_DIVISOR).chunk(2, -1)
        gate = torch.sigmoid(self.g_proj(local))
        with torch.autocast("cpu", enabled=False):
            q, k, v, g_fw, g_bw = (self.split(x.float()) for x in (q, k, v, g_fw, g_bw))
            o = scan(q * (q.shape[-1] ** -0.5 / 4), k, v, g_fw, g_bw)
        o = self.g_norm(o.transpose(1, 2)).flatten(2)
        l = self.l_norm(local.unflatten(-1, (self.heads, -1))).flatten(2)
        m = gate * o + (1 - gate) * l
        return self.o_proj(F.silu(m) if self.out_act else m)


class ViG(vig_torch.ViG):
    def mixer(self):
        c = self.config
        return Mixer(c["embed_dim"], c["num_heads"], c["act_in_conv"], c["out_act"])


def vig_weights_at(name, size):
    """(configuration, {official name: array}) of a made-up model whose position embedding fits pictures of `size`."""
    config = vig_weights.CONFIGS[name]
    tensors = vig_weights.tensors(config, SEED)
    side, side_in = size // 16, config["img_size"] // 16  # as the engine does it: bicubic, from the size that it was made for
    if side != side_in:
        pos = tensors["pos_embed"][0].reshape(side_in, side_in, -1)
        tensors["pos_embed"] = resized(pos, vig_reference.bicubic_matrix(side, side_in))
    return dict(config, img_size=size), tensors


def resized(pos, m):
    """pos [n,n,D], m [N,n]: [1,N*N,D]"""
    out = torch.einsum("ya,xb,abd->yxd", *(torch.from_numpy(x).double() for x in (m, m, pos)))
    return out.flatten(0, 1)[None].float().numpy()


def made(name, size, fused=True):
    """A model in evaluation mode for pictures [B,3,size,size], always the same one. fused: the attention of DeiT."""
    if name in DEIT:
        torch.manual_seed(SEED)
        return bench_peer.DeiT(size, fused, **DEIT[name]).eval()
    config, tensors = vig_weights_at(name, size)
    model = ViG(config)
    model.load_state_dict({n: torch.from_numpy(t) for n, t in tensors.items()})
    return model.eval()


def write_weights(name, path):
    """That ViG as the engine reads it; position embeddings are resized by the engine."""
    config = vig_weights.CONFIGS[name]
    vig_weights.checkpoint.write_model(path, vig_weights.tensors(config, SEED), config)


def pictures(batch, size):
    """[B,3,size,size], always the same."""
    torch.manual_seed(SEED)
    return torch.randn(batch, 3, size, size)
