#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Converts an official ViG checkpoint (.pth) to the model file of docs/model-file.md. Needs NumPy only.

A checkpoint is a pickle, and unpickling may run any code. This reader runs none: the opcodes are checked first, and
every class or function that the pickle names, other than those that PyTorch rebuilds tensors with, becomes an object
that does nothing. Only PyTorch's zip format (1.6 and later) is read.

  tools/convert_checkpoint.py --config vig_t vig_t.pth vig_t.safetensors
  tools/convert_checkpoint.py --config my.json --labels labels.txt --ema --dtype bf16 my.pth my.safetensors
"""
import argparse
import io
import json
import os
import pickle
import pickletools
import re
import struct
import sys
import zipfile

import numpy as np


class Error(Exception):
    """What is wrong, as one sentence for the user."""


# ---- architectures ---------------------------------------------------------------------------------------------------

def plain(name, dim, heads, act):
    return {"family": "vig", "name": name, "embed_dim": dim, "depth": 12, "num_heads": heads, "img_size": 224,
            "patch_size": 16, "in_chans": 3, "num_classes": 1000, "act_in_conv": act, "out_act": act}


def hierarchical(name, dim, depths, heads):
    return {"family": "vig_h", "name": name, "dims": [dim << s for s in range(4)], "depths": depths,
            "num_heads": [heads << s for s in range(4)], "in_chans": 3, "num_classes": 1000,
            "act_in_conv": False, "out_act": False}


VARIANTS = {c["name"]: c for c in [
    plain("vig_t", 192, 3, True), plain("vig_s", 384, 6, False), plain("vig_b", 768, 12, False),
    hierarchical("vig_h_t", 96, [2, 2, 5, 2], 3), hierarchical("vig_h_s", 96, [2, 2, 17, 2], 3),
    hierarchical("vig_h_b", 128, [2, 2, 17, 2], 4)]}

# The fields of a config, and whether each is a list (int or bool is told by the example).
FIELDS = {family: {k: v for k, v in VARIANTS[name].items() if k not in ("family", "name")}
          for family, name in (("vig", "vig_t"), ("vig_h", "vig_h_t"))}


def load_config(name):
    """A published variant by its name, or a JSON file."""
    if name in VARIANTS:
        return VARIANTS[name]
    try:
        with open(name, encoding="utf-8") as f:
            config = json.load(f)
    except (OSError, ValueError) as e:
        raise Error("--config %s: neither one of %s nor a JSON file that can be read (%s)" % (name, ", ".join(VARIANTS), e))
    if not isinstance(config, dict) or config.get("family") not in FIELDS:
        raise Error('%s: expected an object whose "family" is "vig" or "vig_h"' % name)
    for key, example in FIELDS[config["family"]].items():
        value = config.get(key)
        values, kind = (value, int) if isinstance(example, list) else ([value], type(example))
        if not isinstance(values, list) or not values or not all(type(v) is kind and (kind is bool or v > 0) for v in values):
            raise Error("%s: %s: expected %s like %s, found %s" % (
                name, key, "a list" if isinstance(example, list) else "a value", json.dumps(example), json.dumps(value)))
    if config["family"] == "vig_h" and len({len(config[k]) for k in ("dims", "depths", "num_heads")}) != 1:
        raise Error("%s: dims, depths and num_heads: expected lists of one length" % name)
    return config


def mlp_width(dim, multiple):
    return -(-int(8 * dim / 3) // multiple) * multiple


def mixer(prefix, dim, heads):
    """Tensors of a token mixer: {name: shape}."""
    return {prefix + "in_proj.0.weight": (dim, 1, 3, 3), prefix + "qkv_proj.weight": (2 * dim, dim),
            prefix + "gk_proj.0.weight": (16, dim), prefix + "gk_proj.1.weight": (dim, 16), prefix + "gk_proj.1.bias": (dim,),
            prefix + "o_proj.weight": (dim, dim), prefix + "g_norm.weight": (dim // heads,),
            prefix + "l_norm.weight": (dim // heads,), prefix + "g_proj.weight": (dim, dim), prefix + "g_proj.bias": (dim,)}


def with_bias(name, shape):
    return {name + ".weight": shape, name + ".bias": shape[:1]}


def plain_tensors(c):
    d, half, hidden = c["embed_dim"], c["embed_dim"] // 2, mlp_width(c["embed_dim"], 256)
    out = {"pos_embed": (1, (c["img_size"] // c["patch_size"]) ** 2, d)}
    out.update(with_bias("patch_embed.proj.0", (half, c["in_chans"], 9, 9)))
    out.update(with_bias("patch_embed.proj.1", (half,)))
    out.update(with_bias("patch_embed.proj.3", (d, half, 3, 3)))
    out.update(with_bias("patch_embed.proj.4", (d,)))
    out.update(with_bias("head", (c["num_classes"], d)))
    for i in range(c["depth"]):
        p = "blocks.%d." % i
        out[p + "attn_norm.weight"] = (d,)
        out.update(mixer(p + "attn.", d, c["num_heads"]))
        out[p + "mlp_norm.weight"] = (d,)
        out[p + "mlp.gate_proj.weight"] = (2 * hidden, d)
        out[p + "mlp.down_proj.weight"] = (d, hidden)
    out["norm.weight"] = (d,)
    out.update(temporal_tensors(c))
    return out


def temporal_tensors(c):
    """What the temporal kinds of docs/temporal.md add to a plain model, or have in another shape."""
    d, t, out = c["embed_dim"], c.get("temporal", {}), {}
    if t.get("kind") == "joint":
        out["temporal_pos_embed"] = (1, t["frames"], d)
        for i in range(c["depth"]):
            out["blocks.%d.attn.boundary" % i] = (d // 2,)
            if t["conv"] == "time":
                out["blocks.%d.attn.in_proj.0.weight" % i] = (d, 1, 3, 3, 3)
    if t.get("kind") == "stream":
        w = t["width"]
        for i in t["after"]:
            p = "blocks.%d.temporal." % i
            out.update({p + "norm.weight": (d,), p + "qkv_proj.weight": (2 * w, d), p + "gk_proj.0.weight": (16, d),
                        p + "gk_proj.1.weight": (w // 2, 16), p + "gk_proj.1.bias": (w // 2,), p + "g_proj.weight": (w, d),
                        p + "g_proj.bias": (w,), p + "g_norm.weight": (w // t["num_heads"],), p + "o_proj.weight": (d, w)})
    return out


def hierarchical_tensors(c):
    dims = c["dims"]
    out = with_bias("patch_embed.0", (dims[0] // 2, c["in_chans"], 3, 3))
    out.update(with_bias("patch_embed.2", (dims[0] // 2,)))
    out.update(with_bias("patch_embed.5", (dims[0], dims[0] // 2, 3, 3)))
    out.update(with_bias("patch_embed.7", (dims[0],)))
    for s, d in enumerate(dims):
        hidden = mlp_width(d, 32)
        for j in range(c["depths"][s]):
            p = "layers.%d.blocks.%d." % (s, j)
            out.update(with_bias(p + "norm", (d,)))
            out.update(mixer(p + "op.", d, c["num_heads"][s]))
            out.update(with_bias(p + "norm2", (d,)))
            out[p + "mlp.fc1.weight"] = (2 * hidden, d)
            out[p + "mlp.fc2.weight"] = (d, hidden)
        if s + 1 < len(dims):
            out.update(with_bias("layers.%d.downsample.1" % s, (dims[s + 1], d, 3, 3)))
            out.update(with_bias("layers.%d.downsample.3" % s, (dims[s + 1],)))
    out.update(with_bias("classifier.norm", (dims[-1],)))
    out.update(with_bias("classifier.head", (c["num_classes"], dims[-1])))
    return out


def expected_tensors(config):
    """{official name: shape} of a model, in the order of the official state_dict."""
    return plain_tensors(config) if config["family"] == "vig" else hierarchical_tensors(config)


def official_name(config, name):
    """The name of today for one of the older names that the official loader renames (hierarchical models)."""
    if config["family"] != "vig_h":
        return name
    for old, new in (("patch_embed.proj.", "patch_embed.0."), ("patch_embed.norm.", "patch_embed.2."),
                     ("norm.", "classifier.norm."), ("head.", "classifier.head.")):
        if name.startswith(old):
            return new + name[len(old):]
    name = re.sub(r"^(layers\.\d+\.blocks\.\d+)\.ln_1\.", r"\1.norm.", name)
    return re.sub(r"^(layers\.\d+\.blocks\.\d+)\.self_attention\.", r"\1.op.", name)


# ---- the checkpoint --------------------------------------------------------------------------------------------------

PICKLE_LIMIT = 64 << 20  # bytes: the pickle of a checkpoint holds names and numbers, the weights lie beside it
MEMO_LIMIT = 1 << 24
STORAGES = {"FloatStorage": "f4", "DoubleStorage": "f8", "HalfStorage": "f2", "BFloat16Storage": "bf16"}


class Inert:
    """Stands for any class or function of the pickle: takes everything, does nothing."""
    __slots__ = ()

    def __new__(cls, *args, **kwargs):
        return object.__new__(cls)

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state):
        pass

    def __setitem__(self, key, value):
        pass

    def append(self, value):
        pass

    extend = add = update = append


class Dict(dict):
    """A dictionary that ignores the attributes that a state_dict's pickle sets."""
    __slots__ = ()

    def __setstate__(self, state):
        pass


class StorageType(Inert):
    """torch.FloatStorage and the like."""
    __slots__ = ("dtype",)

    def __init__(self, dtype):
        self.dtype = dtype


class Storage:
    __slots__ = ("dtype", "key", "numel")

    def __init__(self, dtype, key, numel):
        self.dtype, self.key, self.numel = dtype, key, numel


class Tensor(Inert):
    """What a tensor is made of; its numbers are read later, once its shape is known to be right."""
    __slots__ = ("storage", "offset", "shape", "stride")

    def __init__(self, storage=None, offset=0, shape=(), stride=(), *rest):
        self.storage, self.offset, self.shape, self.stride = storage, offset, tuple(shape), tuple(stride)


class RebuildTensor(Inert):
    """torch._utils._rebuild_tensor_v2(storage, offset, shape, stride, ...)"""

    def __call__(self, *args):
        return Tensor(*args)


class RebuildParameter(Inert):
    """torch._utils._rebuild_parameter(tensor, ...)"""

    def __call__(self, *args):
        return args[0] if args else None


# The pure Python unpickler: its memo grows with what is stored, not with the greatest index named.
class Unpickler(pickle._Unpickler):
    def find_class(self, module, name):
        if module == "torch" and name.endswith("Storage"):
            return StorageType(STORAGES.get(name))
        if (module, name) == ("collections", "OrderedDict"):
            return Dict
        if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return RebuildTensor()
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return RebuildParameter()
        return type("Inert", (Inert,), {"__slots__": ()})

    def persistent_load(self, pid):
        if not (isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage" and isinstance(pid[1], StorageType)):
            raise Error("the pickle refers to something that is no storage")
        return Storage(pid[1].dtype, str(pid[2]), pid[4])


def check_opcodes(data):
    """Refuses what no checkpoint has and what could ask for unbounded memory."""
    for opcode, arg, _ in pickletools.genops(data):
        if opcode.name.startswith("EXT") or opcode.name in ("BYTEARRAY8", "NEXT_BUFFER", "READONLY_BUFFER"):
            raise Error("the pickle holds the opcode %s, which no checkpoint needs" % opcode.name)
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and arg > MEMO_LIMIT:
            raise Error("the pickle's memo has an index of %d" % arg)


class Checkpoint:
    """A .pth file; use as a context."""

    def __init__(self, path):
        self.path = path
        try:
            self.zip = zipfile.ZipFile(path)
        except OSError as e:
            raise Error("%s: cannot be read (%s)" % (path, e.strerror))
        except zipfile.BadZipFile as e:
            raise Error("%s: is no zip archive (%s); PyTorch's format before 1.6 is not read: save the checkpoint again with a newer "
                        "PyTorch" % (path, e))
        self.members = {info.filename: info for info in self.zip.infolist()}
        pickles = [n for n in self.members if n.count("/") == 1 and n.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise Error("%s: expected one FOLDER/data.pkl in the archive, found %d" % (path, len(pickles)))
        self.prefix = pickles[0][:-len("data.pkl")]
        order = self.read("byteorder", 16).strip() if self.prefix + "byteorder" in self.members else b"little"
        if order not in (b"little", b"big"):
            raise Error("%s: byteorder: expected little or big, found %r" % (path, order))
        self.order = "<" if order == b"little" else ">"

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.zip.close()

    def read(self, name, limit):
        info = self.members.get(self.prefix + name)
        if info is None:
            raise Error("%s: %s is not in the archive" % (self.path, name))
        if info.compress_type != zipfile.ZIP_STORED:
            raise Error("%s: %s is compressed; PyTorch stores it as it is" % (self.path, name))
        if info.file_size > limit:
            raise Error("%s: %s: expected at most %d bytes, found %d" % (self.path, name, limit, info.file_size))
        try:
            return self.zip.read(info)
        except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as e:
            raise Error("%s: %s cannot be read (%s)" % (self.path, name, e))

    def load(self):
        """The top dictionary."""
        data = self.read("data.pkl", PICKLE_LIMIT)
        try:
            check_opcodes(data)
            top = Unpickler(io.BytesIO(data)).load()
        except Error as e:
            raise Error("%s: %s" % (self.path, e))
        except Exception as e:  # a broken pickle may fail in any way
            raise Error("%s: data.pkl is no valid pickle (%s: %s)" % (self.path, type(e).__name__, e))
        if not isinstance(top, dict):
            raise Error("%s: expected a dictionary at the top, found something else (TorchScript is not read)" % self.path)
        return top

    def numbers(self, name, tensor):
        """float32 array of a tensor whose shape is known to be sane."""
        storage, shape, stride = tensor.storage, tensor.shape, tensor.stride
        where = "%s: tensor %s" % (self.path, name)
        if not isinstance(storage, Storage) or storage.dtype is None:
            raise Error("%s: expected float32, float64, float16 or bfloat16" % where)
        if len(stride) != len(shape) or not all(type(s) is int and s >= 0 for s in stride + (tensor.offset,)):
            raise Error("%s: its strides or offset are no natural numbers" % where)
        dtype = np.dtype(self.order + ("u2" if storage.dtype == "bf16" else storage.dtype))
        last = tensor.offset + sum((n - 1) * s for n, s in zip(shape, stride))
        raw = self.read("data/" + storage.key, 1 << 40)
        if last >= len(raw) // dtype.itemsize:
            raise Error("%s: reaches to element %d of a storage of %d" % (where, last, len(raw) // dtype.itemsize))
        flat = np.frombuffer(raw, dtype, len(raw) // dtype.itemsize)[tensor.offset:]
        values = np.lib.stride_tricks.as_strided(flat, shape, [s * dtype.itemsize for s in stride], writeable=False)
        if storage.dtype == "bf16":
            values = (values.astype(np.uint32) << 16).view(np.float32)
        values = np.ascontiguousarray(values, np.float32)
        if not np.isfinite(values).all():
            raise Error("%s: holds values that are not finite" % where)
        return values


def choose(checkpoint, top, ema):
    """The state dictionary: {name: Tensor}."""
    key = "model_ema" if ema else "model"
    state = top.get(key)
    if not isinstance(state, dict):
        found = ", ".join(sorted(str(k) for k in top)[:8]) or "nothing"
        raise Error("%s: expected a state dictionary under \"%s\", found only %s" % (checkpoint.path, key, found))
    return {name: t for name, t in state.items() if isinstance(name, str) and isinstance(t, Tensor)}


def some(names):
    names = sorted(names)
    return ", ".join(names[:4]) + (" and %d more" % (len(names) - 4) if len(names) > 4 else "")


def convert(checkpoint, config, ema):
    """{official name: float32 array} of everything that the config needs."""
    wanted = expected_tensors(config)
    state = {}
    for name, tensor in choose(checkpoint, checkpoint.load(), ema).items():
        new = official_name(config, name)
        if new in state:
            raise Error("%s: two tensors are named %s" % (checkpoint.path, new))
        state[new] = tensor
    missing, unknown = set(wanted) - set(state), set(state) - set(wanted)
    if missing or unknown:
        raise Error("%s does not fit the config %s: %s" % (checkpoint.path, config.get("name", ""), "; ".join(
            text + some(names) for text, names in (("missing ", missing), ("unknown ", unknown)) if names)))
    for name, shape in wanted.items():
        tensor = state[name]
        if len(shape) == 2 and len(tensor.shape) == 4 and tensor.shape[2:] == (1, 1):
            # a linear layer kept as a 1x1 convolution
            tensor.shape, tensor.stride = tensor.shape[:2], tensor.stride[:2]
        if tensor.shape != shape:
            raise Error("%s: tensor %s: expected shape %s, found %s" % (checkpoint.path, name, list(shape), list(tensor.shape)))
    return {name: checkpoint.numbers(name, state[name]) for name in wanted}


# ---- the model file --------------------------------------------------------------------------------------------------

def encode(name, values, dtype):
    """Bytes of a float32 array in the file's type."""
    if dtype == "f32":
        return values.astype("<f4").tobytes()
    if dtype == "f16":
        with np.errstate(over="ignore"):
            half = values.astype("<f2")
        if not np.isfinite(half).all():
            raise Error("tensor %s: its greatest value, %g, does not fit float16; choose bf16" % (name, np.abs(values).max()))
        return half.tobytes()
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2").tobytes()  # to the nearest, ties to even


def write_model(path, tensors, config, labels=None, dtype="f32"):
    """Writes a .safetensors file; it is there whole or not at all."""
    metadata = {"format": "pt", "vig_config": json.dumps(config)}
    if labels is not None:
        metadata["vig_labels"] = json.dumps(labels, ensure_ascii=False)
    header, size, at = {"__metadata__": metadata}, 4 if dtype == "f32" else 2, 0
    for name, values in tensors.items():
        header[name] = {"dtype": dtype.upper(), "shape": list(values.shape), "data_offsets": [at, at + size * values.size]}
        at += size * values.size
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    part = path + ".part"
    try:
        with open(part, "wb") as f:
            f.write(struct.pack("<Q", len(text)) + text)
            for name, values in tensors.items():
                f.write(encode(name, values, dtype))
        os.replace(part, path)
    except OSError as e:
        raise Error("%s: cannot be written (%s)" % (path, e.strerror))
    finally:
        if os.path.exists(part):
            os.remove(part)


def load_labels(path, classes):
    try:
        with open(path, encoding="utf-8") as f:
            labels = f.read().rstrip("\n").split("\n")
    except (OSError, UnicodeDecodeError) as e:
        raise Error("--labels %s: cannot be read (%s)" % (path, e))
    if len(labels) != classes:
        raise Error("--labels %s: expected %d lines, one for each class, found %d" % (path, classes, len(labels)))
    return labels


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", metavar="IN.pth")
    parser.add_argument("output", metavar="OUT.safetensors")
    parser.add_argument("--config", required=True, help="%s, or a JSON file like vig_config of docs/model-file.md" % ", ".join(VARIANTS))
    parser.add_argument("--ema", action="store_true", help='take "model_ema", the averaged weights, instead of "model"')
    parser.add_argument("--labels", metavar="FILE", help="text file, one label a line")
    parser.add_argument("--dtype", choices=["f32", "f16", "bf16"], default="f32", help="type of the stored weights (f32)")
    args = parser.parse_args()
    try:
        config = load_config(args.config)
        labels = load_labels(args.labels, config["num_classes"]) if args.labels else None
        with Checkpoint(args.checkpoint) as checkpoint:
            tensors = convert(checkpoint, config, args.ema)
        write_model(args.output, tensors, config, labels, args.dtype)
    except Error as e:
        sys.exit("convert_checkpoint: %s" % e)
    print("%s: %d tensors, %d parameters" % (args.output, len(tensors), sum(t.size for t in tensors.values())))


if __name__ == "__main__":
    main()
