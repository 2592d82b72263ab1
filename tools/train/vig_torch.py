"""Plain ViG in PyTorch, for training on the CPU: same tensor names and arithmetic as the model file's engine.

The scan (gated linear attention, both directions) is computed in its chunked parallel form. Run this file to compare
the chunked form with the recurrence, and to compare whole models with golden logits:

    python3 vig_torch.py                                   self-test of the scan
    python3 vig_torch.py MODEL.safetensors INPUT.npy LOGITS.safetensors NAME
"""

import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

import safetensors_io

LOW_RANK = 16         # of the gate projection
GATE_DIVISOR = 16     # log decay = logsigmoid(z) / 16
CHUNK = 100           # all tokens of 160x160 at once
LONG_CHUNK = 80       # where there are more


def mlp_width(dim):
    """int(8 D / 3), rounded up to a multiple of 256."""
    return -(-int(dim * 4 * 2 / 3) // 256) * 256


class RMSNorm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        x = x.float()
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.weight


def scan_recurrent(q, k, v, g):
    """The definition, token by token: S <- exp(g) S + k v^T; o = S^T q. [B,H,L,dk], v [B,H,L,dv], g = log decay."""
    state = q.new_zeros(*q.shape[:2], q.shape[-1], v.shape[-1])
    out = []
    for t in range(q.shape[2]):
        state = g[:, :, t, :, None].exp() * state + k[:, :, t, :, None] * v[:, :, t, None, :]
        out.append((q[:, :, t, :, None] * state).sum(2))
    return torch.stack(out, 2)


def triangle(q, k, total, fast):
    """q_i k_j exp(total_i - total_j), the sums taken relative to the middle token so that neither factor overflows."""
    middle = total.narrow(-2, total.shape[-2] // 2, 1)
    return product(q * (total - middle).exp(), (k * (middle - total).exp()).transpose(-2, -1), fast)


def product(a, b, fast):
    """a b, in bfloat16 if fast: decays, states and sums of products stay float32."""
    return (a.bfloat16() @ b.bfloat16()).float() if fast else a @ b


def states_before(updates, decays):
    """The state before each chunk, in the order given: S <- decay S + update, from 0. [B,H,dk,dv] each."""
    states = [torch.zeros_like(updates[0])]
    for update, decay in zip(updates[:-1], decays[:-1]):
        states.append(decay * states[-1] + update)
    return states


def scan_both_ways(q, k, v, g_fw, g_bw, chunk, fast=False):
    """o_fw + o_bw in chunks: inside a chunk two masked triangles that share one product with v, between chunks two states.

    Decays are sums in log space inside a chunk. Past the end, the last chunk is filled with tokens that add nothing.
    """
    length = q.shape[2]
    chunks = -(-length // chunk)
    q, k, v, g_fw, g_bw = (F.pad(x, (0, 0, 0, chunks * chunk - length)).unflatten(2, (chunks, chunk)) for x in (q, k, v, g_fw, g_bw))
    fw, bw = g_fw.cumsum(3), g_bw.flip(3).cumsum(3).flip(3)
    o = product(triangle(q, k, fw, fast).tril_() + triangle(q, k, bw, fast).triu_(), v, fast)
    if chunks > 1:
        all_fw, all_bw = fw[:, :, :, -1:], bw[:, :, :, :1]
        updates = product(torch.cat([k * (all_fw - fw).exp(), k * (all_bw - bw).exp()], -1).transpose(3, 4), v, fast)
        decays = torch.cat([all_fw, all_bw], -1).transpose(3, 4).exp()
        (u_fw, u_bw), (d_fw, d_bw) = (x.chunk(2, 3) for x in (updates, decays))
        s_fw = states_before(u_fw.unbind(2), d_fw.unbind(2))
        s_bw = states_before(u_bw.unbind(2)[::-1], d_bw.unbind(2)[::-1])[::-1]
        states = torch.stack([torch.cat(both, 2) for both in zip(s_fw, s_bw)], 2)
        o = o + product(torch.cat([q * fw.exp(), q * bw.exp()], -1), states, fast)
    return o.flatten(2, 3)[:, :, :length]


class Mixer(nn.Module):
    def __init__(self, dim, heads, act_in_conv, out_act):
        super().__init__()
        self.heads, self.act_in_conv, self.out_act = heads, act_in_conv, out_act
        self.in_proj = nn.Sequential(nn.Conv2d(dim, dim, 3, padding=1, groups=dim, bias=False))
        self.qkv_proj = nn.Linear(dim, 2 * dim, bias=False)
        self.gk_proj = nn.Sequential(nn.Linear(dim, LOW_RANK, bias=False), nn.Linear(LOW_RANK, dim))
        self.g_proj = nn.Linear(dim, dim)
        self.o_proj = nn.Linear(dim, dim, bias=False)
        self.g_norm = RMSNorm(dim // heads)
        self.l_norm = RMSNorm(dim // heads)

    def split(self, x):
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)   # [B,L,h*d] -> [B,h,L,d]

    def forward(self, a, grid):
        b, length, dim = a.shape
        local = self.in_proj(a.transpose(1, 2).unflatten(2, grid)).flatten(2).transpose(1, 2)
        if self.act_in_conv:
            local = F.silu(local)
        q, k, v = self.qkv_proj(local).split([dim // 2, dim // 2, dim], -1)
        z = self.gk_proj(local)
        gate = torch.sigmoid(self.g_proj(local))
        fast = torch.is_autocast_enabled("cpu")
        with torch.autocast("cpu", enabled=False):
            g_fw, g_bw = (F.logsigmoid(z.float()) / GATE_DIVISOR).chunk(2, -1)
            q, k, v, g_fw, g_bw = (self.split(x.float()) for x in (q, k, v, g_fw, g_bw))
            o = scan_both_ways(q * q.shape[-1] ** -0.5, k, v, g_fw, g_bw, CHUNK if length <= CHUNK else LONG_CHUNK, fast) / 4
        o = self.g_norm(o.transpose(1, 2)).flatten(2)
        l = self.l_norm(local.unflatten(-1, (self.heads, -1))).flatten(2)
        m = gate * o + (1 - gate) * l
        return self.o_proj(F.silu(m) if self.out_act else m)


class MLP(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.gate_proj = nn.Linear(dim, 2 * mlp_width(dim), bias=False)
        self.down_proj = nn.Linear(mlp_width(dim), dim, bias=False)

    def forward(self, x):
        gate, up = self.gate_proj(x).chunk(2, -1)
        return self.down_proj(F.silu(gate) * up)


class Block(nn.Module):
    def __init__(self, dim, heads, act_in_conv, out_act):
        super().__init__()
        self.attn_norm, self.mlp_norm = RMSNorm(dim), RMSNorm(dim)
        self.attn = Mixer(dim, heads, act_in_conv, out_act)
        self.mlp = MLP(dim)

    def forward(self, x, grid):
        x = x + self.attn(self.attn_norm(x), grid)
        return x + self.mlp(self.mlp_norm(x))


class PatchEmbed(nn.Module):
    def __init__(self, dim, in_chans):
        super().__init__()
        # 1 and 4 are layer norms over channels; the place of 2 belongs to the SiLU, which has no tensors
        self.proj = nn.ModuleList([nn.Conv2d(in_chans, dim // 2, 9, 8, 1), nn.LayerNorm(dim // 2), nn.SiLU(),
                                   nn.Conv2d(dim // 2, dim, 3, 2, 1), nn.LayerNorm(dim)])

    def forward(self, x):
        conv1, norm1, act, conv2, norm2 = self.proj
        x = act(norm1(conv1(x).permute(0, 2, 3, 1)))
        return norm2(conv2(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))   # [B,H',W',D]


class ViG(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        dim, side = config["embed_dim"], config["img_size"] // 16
        self.patch_embed = PatchEmbed(dim, config["in_chans"])
        self.pos_embed = nn.Parameter(torch.zeros(1, side * side, dim))
        self.blocks = nn.ModuleList([Block(dim, config["num_heads"], config["act_in_conv"], config["out_act"])
                                     for _ in range(config["depth"])])
        self.norm = RMSNorm(dim)
        self.head = nn.Linear(dim, config["num_classes"])

    def init_weights(self):
        for name, p in self.named_parameters():
            if p.ndim > 1 and "patch_embed" not in name and "in_proj" not in name:
                nn.init.trunc_normal_(p, std=0.02 if "pos_embed" in name or "head" in name else p.shape[1] ** -0.5 * 0.7)
        with torch.no_grad():   # start with a long memory: logsigmoid(3) / 16 = -0.003 a token
            for block in self.blocks:
                block.attn.gk_proj[1].bias.fill_(1.0)
        return self

    def forward(self, x):
        x = self.patch_embed(x)
        grid = x.shape[1:3]
        x = x.flatten(1, 2).float() + self.pos_embed
        for block in self.blocks:
            x = block(x, grid)
        return self.head(self.norm(x).mean(1))


def load(path):
    """A ViG in evaluation mode from a model file, and the file's metadata."""
    tensors, metadata = safetensors_io.read(path)
    model = ViG(safetensors_io.config(metadata))
    model.load_state_dict({k: torch.from_numpy(v.astype("float32")) for k, v in tensors.items()})
    return model.eval(), metadata


def self_test():
    torch.manual_seed(0)
    worst = 0.0
    for length in (1, 100, 144, 250):   # one chunk, and several
        q, k, v = (torch.randn(2, 3, length, d, dtype=torch.float64) for d in (16, 16, 32))
        g_fw, g_bw = (F.logsigmoid(3 * torch.randn(2, 3, length, 16, dtype=torch.float64)) / GATE_DIVISOR for _ in "fb")
        want = scan_recurrent(q, k, v, g_fw) + scan_recurrent(q.flip(2), k.flip(2), v.flip(2), g_bw.flip(2)).flip(2)
        got = scan_both_ways(q, k, v, g_fw, g_bw, min(length, 100))
        worst = max(worst, ((got - want).abs().max() / want.abs().max()).item())
    print(f"chunked scan against the recurrence: {worst:.1e}")
    return worst < 1e-12


def golden_test(model_path, input_path, logits_path, name):
    import numpy as np
    model, _ = load(model_path)
    want = safetensors_io.read(logits_path)[0][name]
    with torch.no_grad():
        got = model(torch.from_numpy(np.load(input_path))).numpy().reshape(-1)
    error = abs(got - want).max() / abs(want).max()
    print(f"{name}: error {error:.1e} of the largest logit")
    return error < 1e-4


if __name__ == "__main__":
    ok = golden_test(*sys.argv[1:5]) if len(sys.argv) > 1 else self_test()
    sys.exit(0 if ok else 1)
