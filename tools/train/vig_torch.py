"""Plain ViG and its kinds over time (docs/temporal.md) in PyTorch, for training on the CPU: names and arithmetic of the engine.

The scan (gated linear attention, both directions) is computed in its chunked parallel form. Run this file to compare
the chunked form with the recurrence, and to compare whole models with golden logits:

    python3 vig_torch.py                                   self-test of the scans
    python3 vig_torch.py MODEL.safetensors INPUT.npy LOGITS.safetensors NAME
"""

import os
import sys

import numpy as np
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


def rms(x):
    """Each last dimension divided by its root mean square."""
    x = x.float()
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


class RMSNorm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return rms(x) * self.weight


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

    def convolved(self, a, grid):
        return self.in_proj(a.transpose(1, 2).unflatten(2, grid)).flatten(2).transpose(1, 2)

    def decays(self, z, grid):
        """Log decays of both scans, [B,L,D/2] each."""
        return (F.logsigmoid(z.float()) / GATE_DIVISOR).chunk(2, -1)

    def chunk(self, length, grid):
        return CHUNK if length <= CHUNK else LONG_CHUNK

    def forward(self, a, grid):
        length, dim = a.shape[1:]
        local = self.convolved(a, grid)
        if self.act_in_conv:
            local = F.silu(local)
        q, k, v = self.qkv_proj(local).split([dim // 2, dim // 2, dim], -1)
        z = self.gk_proj(local)
        gate = torch.sigmoid(self.g_proj(local))
        fast = torch.is_autocast_enabled("cpu")
        with torch.autocast("cpu", enabled=False):
            q, k, v, g_fw, g_bw = (self.split(x.float()) for x in (q, k, v, *self.decays(z, grid)))
            o = scan_both_ways(q * q.shape[-1] ** -0.5, k, v, g_fw, g_bw, self.chunk(length, grid), fast) / 4
        o = self.g_norm(o.transpose(1, 2)).flatten(2)
        l = self.l_norm(local.unflatten(-1, (self.heads, -1))).flatten(2)
        m = gate * o + (1 - gate) * l
        return self.o_proj(F.silu(m) if self.out_act else m)


class WindowMixer(Mixer):
    """That of a window of frames: the sequence is frame after frame, both scans are damped where they enter another one."""

    def __init__(self, dim, heads, act_in_conv, out_act, over_time):
        super().__init__(dim, heads, act_in_conv, out_act)
        self.boundary = nn.Parameter(torch.full((dim // 2,), -200.0))
        if over_time:
            self.in_proj = nn.Sequential(nn.Conv3d(dim, dim, 3, padding=1, groups=dim, bias=False))

    def convolved(self, a, grid):
        frames = a.transpose(1, 2).unflatten(2, (-1, *grid))                              # [B,D,T,H',W']
        if self.in_proj[0].weight.ndim == 5:
            return self.in_proj(frames).flatten(2).transpose(1, 2)
        local = self.in_proj(frames.transpose(1, 2).flatten(0, 1))                        # of every frame by itself
        return local.flatten(2).transpose(1, 2).unflatten(0, (a.shape[0], -1)).flatten(1, 2)

    def decays(self, z, grid):
        g_fw, g_bw = (x.unflatten(1, (-1, grid[0] * grid[1])) for x in super().decays(z, grid))
        first = torch.zeros(grid[0] * grid[1], 1)
        first[0] = 1
        b = self.boundary.clamp(max=0)
        return (g_fw + first * b).flatten(1, 2), (g_bw + first.flip(0) * b).flatten(1, 2)

    def chunk(self, length, grid):
        return grid[0] * grid[1]   # a boundary is then the same for all of a chunk, and its sums stay small


class MLP(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.gate_proj = nn.Linear(dim, 2 * mlp_width(dim), bias=False)
        self.down_proj = nn.Linear(mlp_width(dim), dim, bias=False)

    def forward(self, x):
        gate, up = self.gate_proj(x).chunk(2, -1)
        return self.down_proj(F.silu(gate) * up)


class Block(nn.Module):
    def __init__(self, dim, mixer):
        super().__init__()
        self.attn_norm, self.mlp_norm = RMSNorm(dim), RMSNorm(dim)
        self.attn = mixer
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
        self.blocks = nn.ModuleList([Block(dim, self.mixer()) for _ in range(config["depth"])])
        self.norm = RMSNorm(dim)
        self.head = nn.Linear(dim, config["num_classes"])

    def mixer(self):
        c = self.config
        return Mixer(c["embed_dim"], c["num_heads"], c["act_in_conv"], c["out_act"])

    def init_weights(self):
        for name, p in self.named_parameters():
            if p.ndim > 1 and "patch_embed" not in name and "in_proj" not in name:
                nn.init.trunc_normal_(p, std=0.02 if "pos_embed" in name or "head" in name else p.shape[1] ** -0.5 * 0.7)
        with torch.no_grad():   # start with a long memory: logsigmoid(3) / 16 = -0.003 a token
            for block in self.blocks:
                block.attn.gk_proj[1].bias.fill_(1.0)
        return self

    def tokens(self, x):
        """[B,C,H,W] to [B,L,D] behind the last block."""
        x = self.patch_embed(x)
        grid = x.shape[1:3]
        x = x.flatten(1, 2).float() + self.pos_embed
        for block in self.blocks:
            x = block(x, grid)
        return x

    def classify(self, tokens):
        return self.head(self.norm(tokens).mean(1))

    def forward(self, x):
        return self.classify(self.tokens(x))


def cell_of(side, grid):
    """[side²]: the cell of each token."""
    at = torch.arange(side) * grid // side
    return (at[:, None] * grid + at).flatten()


def cell_means(x, grid):
    """[B,L,D] to [B,grid²,D]"""
    cell = cell_of(int(x.shape[1] ** 0.5), grid)
    sums = x.new_zeros(x.shape[0], grid * grid, x.shape[2]).index_add_(1, cell, x)
    return sums / torch.bincount(cell, minlength=grid * grid).view(1, -1, 1)


class Memory(nn.Module):
    """The module over time that follows a block: gated linear attention in each cell, its steps as long as time was."""

    def __init__(self, dim, width, heads, longest):
        super().__init__()
        self.heads, self.longest = heads, longest
        self.norm = RMSNorm(dim)
        self.qkv_proj = nn.Linear(dim, 2 * width, bias=False)
        self.gk_proj = nn.Sequential(nn.Linear(dim, LOW_RANK, bias=False), nn.Linear(LOW_RANK, width // 2))
        self.g_proj = nn.Linear(dim, width)
        self.g_norm = RMSNorm(width // heads)
        self.o_proj = nn.Linear(width, dim, bias=False)

    def forward(self, cells, elapsed, at):
        """What the cells hear at some times: cells [B,T,C,D] (means of tokens under rms), elapsed [B,T] in steps, 0 where a
        sequence is filled up, at [B,Q]: numbers of frames. [B,Q,C,D]

        All times at once: what was written at s is read at t with the decays between them, exp(G_t - G_s), which is at most 1.
        """
        c = cells * self.norm.weight
        width = self.g_proj.out_features
        q, k, v = self.qkv_proj(c).float().split([width // 2, width // 2, width], -1)
        step = elapsed[:, :, None, None]
        total = (step * F.logsigmoid(self.gk_proj(c).float()) / GATE_DIVISOR).cumsum(1)
        v = v * step.clamp(max=self.longest)
        pick = lambda x: torch.gather(x, 1, at[:, :, None, None].expand(-1, -1, *x.shape[2:]))
        past = (torch.arange(cells.shape[1]) <= at[:, :, None])[..., None, None]                       # [B,Q,T,1,1]
        decay = (pick(total)[:, :, None] - total[:, None]).masked_fill(~past, float("-inf")).exp()     # [B,Q,T,C,W/2]
        heads = lambda x: x.unflatten(-1, (self.heads, -1))
        weights = heads(pick(q)[:, :, None] * k[:, None] * decay).sum(-1)                              # [B,Q,T,C,h]
        o = torch.einsum("bqtch,btchd->bqchd", weights, heads(v)) * (width // 2 // self.heads) ** -0.5
        return self.o_proj(torch.sigmoid(self.g_proj(pick(c))) * self.g_norm(o).flatten(3))


class Stream(ViG):
    """A ViG with a memory, for the frames of one stream all at once."""

    def __init__(self, config):
        super().__init__(config)
        self.temporal = t = config["temporal"]
        for i in t["after"]:
            self.blocks[i].temporal = Memory(config["embed_dim"], t["width"], t["num_heads"], t["max_elapsed"])

    def with_difference(self, frames):
        """[T,3,H,W], normalised, to [T,6,H,W]"""
        d = self.temporal["difference"]
        change = torch.cat([torch.zeros_like(frames[:1]), (d * (frames[1:] - frames[:-1])).clamp(-4, 4)])
        return torch.cat([frames, change], 1) if d else frames

    def forward(self, frames, times):
        """frames [T,3,H,W], times [T] in seconds: logits [T,classes]"""
        elapsed = torch.cat([torch.ones(1), torch.diff(times) / self.temporal["step"]]).to(frames.dtype)
        x = self.patch_embed(self.with_difference(frames))
        grid = x.shape[1:3]
        x = x.flatten(1, 2).float() + self.pos_embed
        for i, block in enumerate(self.blocks):
            x = block(x, grid)
            if i in self.temporal["after"]:
                heard = block.temporal(cell_means(rms(x), self.temporal["grid"])[None], elapsed[None], torch.arange(len(x))[None])[0]
                x = x + heard[:, cell_of(grid[0], self.temporal["grid"])]
        return self.classify(x)


class Joint(ViG):
    """A ViG for windows of frames."""

    def __init__(self, config):
        super().__init__(config)
        self.temporal_pos_embed = nn.Parameter(torch.zeros(1, config["temporal"]["frames"], config["embed_dim"]))

    def mixer(self):
        c = self.config
        return WindowMixer(c["embed_dim"], c["num_heads"], c["act_in_conv"], c["out_act"], c["temporal"]["conv"] == "time")

    def inflate(self, image):
        """Takes the weights of an image model: every frame then says what that says."""
        state = {**self.state_dict(), **image}
        for name, want in self.state_dict().items():
            if state[name].shape != want.shape:   # a convolution over time, the image's in the middle
                state[name] = torch.stack([torch.zeros_like(state[name]), state[name], torch.zeros_like(state[name])], 2)
        self.load_state_dict(state)
        return self

    def forward(self, frames):
        """[B,T,3,H,W] to the logits of every frame [B,T,classes]; a window's are their mean."""
        b, n = frames.shape[:2]
        x = self.patch_embed(frames.flatten(0, 1))
        grid = x.shape[1:3]
        over_time = F.interpolate(self.temporal_pos_embed.transpose(1, 2), n, mode="linear", align_corners=False).transpose(1, 2)
        x = (x.flatten(1, 2).float() + self.pos_embed).unflatten(0, (b, n)) + over_time[:, :, None]
        x = x.flatten(1, 2)
        for block in self.blocks:
            x = block(x, grid)
        return self.head(self.norm(x).unflatten(1, (n, -1)).mean(2))


KINDS = {"stream": Stream, "joint": Joint}


def load(path):
    """A ViG in evaluation mode from a model file, and the file's metadata."""
    tensors, metadata = safetensors_io.read(path)
    config = safetensors_io.config(metadata)
    model = KINDS.get(config.get("temporal", {}).get("kind"), ViG)(config)
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


def temporal_test():
    """Stream and Joint against tools/vig_reference.py: its made-up models, pictures and times."""
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    import vig_reference as reference
    worst, pictures = 0.0, [reference.picture(c, 64, 64) for c in "abcdefgh"]
    for config in (reference.STREAM, reference.STREAM_PLAIN, reference.JOINT, reference.JOINT_TIME):
        weights = reference.vig_weights.tensors(config, 1)
        model, exact = KINDS[config["temporal"]["kind"]](config).double(), reference.Vig(config, weights)
        model.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in weights.items()})
        frames = torch.from_numpy(np.stack(pictures))
        with torch.no_grad():
            if config["temporal"]["kind"] == "stream":
                state = exact.new_state()
                want = np.stack([exact.step(x, t, state) for x, t in zip(pictures, reference.TIMES)])
                got = model(frames, torch.tensor(reference.TIMES)).numpy()
            else:
                want, got = exact.joint(pictures), model(frames[None])[0].numpy()
        worst = max(worst, abs(got - want).max() / abs(want).max())
    print(f"models over time against the reference: {worst:.1e}")
    return worst < 1e-5


def golden_test(model_path, input_path, logits_path, name):
    model, _ = load(model_path)
    want = safetensors_io.read(logits_path)[0][name]
    with torch.no_grad():
        got = model(torch.from_numpy(np.load(input_path))).numpy().reshape(-1)
    error = abs(got - want).max() / abs(want).max()
    print(f"{name}: error {error:.1e} of the largest logit")
    return error < 1e-4


if __name__ == "__main__":
    ok = golden_test(*sys.argv[1:5]) if len(sys.argv) > 1 else self_test() and temporal_test()
    sys.exit(0 if ok else 1)
