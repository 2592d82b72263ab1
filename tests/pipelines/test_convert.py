#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""tools/convert_checkpoint.py, on checkpoints in PyTorch's format that are made here, opcode by opcode.

  test_convert.py VIG_INFER
"""
import json
import os
import struct
import subprocess
import sys
import tempfile
import zipfile

import numpy as np

import tap

TOOLS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools")
sys.path.insert(0, TOOLS)
import vig_weights as made_up  # noqa: E402

CONVERTER = os.path.join(TOOLS, "convert_checkpoint.py")
VIG_INFER = sys.argv[1]
WORK = tempfile.TemporaryDirectory(prefix="vig-convert-")
LABELS = ["label %d" % i for i in range(9)] + ["zehn, \u5341"]


# ---- a pickle by hand ------------------------------------------------------------------------------------------------

class Raw(bytes):
    """Opcodes that leave one object on the stack."""


def text(s):
    data = s.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def name(module, attribute):
    return Raw(b"c" + module.encode() + b"\n" + attribute.encode() + b"\n")


def call(function, *args):
    return Raw(function + put(tuple(args)) + b"R")


def put(value):
    """The opcodes of a value."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, str):
        return text(value)
    if isinstance(value, tuple):
        return b"(" + b"".join(map(put, value)) + b"t"
    if isinstance(value, dict):
        return b"}(" + b"".join(put(k) + put(v) for k, v in value.items()) + b"u"
    raise TypeError(value)


def ordered(values):
    """An OrderedDict with an attribute, as a state_dict has one."""
    return Raw(call(name("collections", "OrderedDict")) + b"(" + b"".join(put(k) + put(v) for k, v in values.items()) + b"u"
               + put({"_metadata": {"version": 1}}) + b"b")


class Writer:
    """Collects storages; tensor() gives the opcodes that rebuild one."""
    TYPES = {"f32": ("FloatStorage", "<f4"), "f16": ("HalfStorage", "<f2"), "bf16": ("BFloat16Storage", "<u2"),
             "i64": ("LongStorage", "<i8")}

    def __init__(self):
        self.storages = []

    def tensor(self, values, dtype="f32", stride=None, offset=0, parameter=False):
        storage, numpy_type = self.TYPES[dtype]
        data = (values.view(np.uint32) >> 16 if dtype == "bf16" else values).astype(numpy_type)
        self.storages.append(data.tobytes())
        # pid: ("storage", torch.FloatStorage, key, device, numel), then BINPERSID
        pid = Raw(put(("storage", name("torch", storage), str(len(self.storages) - 1), "cpu", data.size)) + b"Q")
        stride = stride or tuple(int(np.prod(values.shape[i + 1:])) for i in range(values.ndim))
        out = call(name("torch._utils", "_rebuild_tensor_v2"), pid, offset, values.shape, stride, False,
                   call(name("collections", "OrderedDict")))
        if parameter:
            out = call(name("torch._utils", "_rebuild_parameter"), out, True, call(name("collections", "OrderedDict")))
        return out

    def save(self, path, top, compress=zipfile.ZIP_STORED):
        with zipfile.ZipFile(path, "w", compress) as z:
            z.writestr("ckpt/data.pkl", b"\x80\x02" + put(top) + b".")
            z.writestr("ckpt/byteorder", "little")
            for i, data in enumerate(self.storages):
                z.writestr("ckpt/data/%d" % i, data)
            z.writestr("ckpt/version", "3\n")


# ---- helpers ---------------------------------------------------------------------------------------------------------

def path(file):
    return os.path.join(WORK.name, file)


def convert(checkpoint, config, *options):
    with open(path("config.json"), "w") as f:
        json.dump(config, f)
    output = path("out.safetensors")
    if os.path.exists(output):
        os.remove(output)
    done = subprocess.run([sys.executable, CONVERTER, "--config", path("config.json"), checkpoint, output, *options],
                          capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    assert os.path.exists(output) == (done.returncode == 0)
    return done, output


def refuse(checkpoint, config, *expected):
    done, _ = convert(checkpoint, config)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done
    for part in expected:
        assert part in done.stderr, done.stderr


def logits(model):
    """Of a made-up picture, through vig-infer."""
    np.save(path("in.npy"), np.sin(np.arange(3 * 64 * 64, dtype=np.float32) * 0.37).reshape(1, 3, 64, 64))
    subprocess.run([VIG_INFER, "--model", model, "--input", path("in.npy"), "--output", path("out.npy"), "--precision", "fp32"],
                   check=True, stdout=subprocess.DEVNULL)
    return np.load(path("out.npy"))


def direct(config, tensors):
    made_up.checkpoint.write_model(path("direct.safetensors"), tensors, config, LABELS)
    return logits(path("direct.safetensors"))


def checkpoint_of(tensors, file="a.pth", **more):
    w = Writer()
    w.save(path(file), {"model": ordered({n: w.tensor(t) for n, t in tensors.items()}), "epoch": 299, **more})
    return path(file)


def with_labels():
    with open(path("labels.txt"), "w", encoding="utf-8") as f:
        f.write("\n".join(LABELS) + "\n")
    return "--labels", path("labels.txt")


# ---- tests -----------------------------------------------------------------------------------------------------------

T = made_up.tensors(made_up.TINY_T, 3)
H = made_up.tensors(made_up.TINY_H, 5)


def test_plain_with_config_node_and_labels():
    node = Raw(name("yacs.config", "CfgNode") + b")\x81" + b"(" + put("MODEL") + put({"TYPE": "vig"}) + b"u"
               + put({"__immutable__": True}) + b"b")
    done, output = convert(checkpoint_of(T, config=node), made_up.TINY_T, *with_labels())
    assert done.returncode == 0, done.stderr
    assert np.array_equal(logits(output), direct(made_up.TINY_T, T))
    with open(output, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
    assert json.loads(header["__metadata__"]["vig_labels"]) == LABELS


def test_old_names_and_convolutions_of_the_hierarchical_family():
    old = {}
    for n, t in H.items():
        n = n.replace("patch_embed.0.", "patch_embed.proj.").replace("patch_embed.2.", "patch_embed.norm.")
        n = n.replace("classifier.", "")
        if ".blocks." in n:
            n = n.replace(".norm.", ".ln_1.").replace(".op.", ".self_attention.")
        if n.endswith(("qkv_proj.weight", "g_proj.weight", "fc1.weight")):
            t = t.reshape(t.shape + (1, 1))
        old[n] = t
    assert set(old) != set(H)
    done, output = convert(checkpoint_of(old), made_up.TINY_H)
    assert done.returncode == 0, done.stderr
    assert np.array_equal(logits(output), direct(made_up.TINY_H, H))


def test_ema_is_the_second_set():
    w, other = Writer(), made_up.tensors(made_up.TINY_T, 4)
    w.save(path("two.pth"), {"model": ordered({n: w.tensor(t) for n, t in T.items()}),
                             "model_ema": ordered({n: w.tensor(t, parameter=True) for n, t in other.items()})})
    assert np.array_equal(logits(convert(path("two.pth"), made_up.TINY_T)[1]), direct(made_up.TINY_T, T))
    assert np.array_equal(logits(convert(path("two.pth"), made_up.TINY_T, "--ema")[1]), direct(made_up.TINY_T, other))
    assert 'under "model_ema"' in convert(checkpoint_of(T), made_up.TINY_T, "--ema")[0].stderr


def test_views_and_types_of_storages():
    w, tensors, state = Writer(), dict(T), {}
    for n, t in T.items():
        if n.endswith("o_proj.weight"):      # stored transposed, behind 5 other numbers
            base = np.concatenate([np.full(5, 7, np.float32), t.T.ravel()])
            pieces = w.tensor(base)
            state[n] = Raw(pieces.replace(put(base.shape) + put((1,)), put(t.shape) + put((1, t.shape[0]))).replace(
                b"Q" + put(0), b"Q" + put(5)))
        elif n.endswith("down_proj.weight"):
            tensors[n] = t.astype(np.float16).astype(np.float32)
            state[n] = w.tensor(t, "f16")
        elif n.endswith("qkv_proj.weight"):
            tensors[n] = (t.view(np.uint32) >> 16 << 16).view(np.float32)
            state[n] = w.tensor(t, "bf16")
        else:
            state[n] = w.tensor(t)
    w.save(path("views.pth"), {"model": ordered(state)})
    done, output = convert(path("views.pth"), made_up.TINY_T)
    assert done.returncode == 0, done.stderr
    assert np.array_equal(logits(output), direct(made_up.TINY_T, tensors))


def test_smaller_types():
    exact = direct(made_up.TINY_T, T)
    for dtype, bound in (("f16", 2e-3), ("bf16", 3e-2)):
        output = convert(checkpoint_of(T), made_up.TINY_T, "--dtype", dtype)[1]
        assert os.path.getsize(output) < 0.6 * os.path.getsize(path("direct.safetensors"))
        error = np.abs(logits(output) - exact).max() / np.abs(exact).max()
        assert 0 < error < bound, (dtype, error)


def test_nothing_of_the_pickle_runs():
    touched = path("touched")
    for module, attribute in (("os", "system"), ("posix", "system"), ("builtins", "exec"), ("subprocess", "getoutput")):
        argument = "touch " + touched if attribute != "exec" else "open(%r, 'w')" % touched
        done, _ = convert(checkpoint_of(T, evil=call(name(module, attribute), argument)), made_up.TINY_T)
        assert done.returncode == 0, done.stderr
        assert not os.path.exists(touched)
    # as a tensor it is no tensor
    w = Writer()
    state = {n: w.tensor(t) for n, t in T.items()}
    state["norm.weight"] = call(name("os", "system"), "touch " + touched)
    w.save(path("evil.pth"), {"model": ordered(state)})
    refuse(path("evil.pth"), made_up.TINY_T, "missing norm.weight")
    # attributes set on what rebuilds tensors
    w = Writer()
    patch = Raw(name("torch._utils", "_rebuild_tensor_v2") + put(({}, {"__call__": name("os", "system")})) + b"b")
    w.save(path("patch.pth"), {"first": patch, "model": ordered({n: w.tensor(t) for n, t in T.items()})})
    assert convert(path("patch.pth"), made_up.TINY_T)[0].returncode == 0
    assert not os.path.exists(touched)


def test_wrong_checkpoints_are_named():
    refuse(path("none.pth"), made_up.TINY_T, "none.pth", "cannot be read")
    with open(path("legacy.pth"), "wb") as f:
        f.write(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." * 40)
    refuse(path("legacy.pth"), made_up.TINY_T, "no zip archive", "newer PyTorch")
    refuse(checkpoint_of(H), made_up.TINY_T, "does not fit", "missing", "unknown")
    refuse(checkpoint_of({n: t for n, t in T.items() if n != "norm.weight"}), made_up.TINY_T, "missing norm.weight")
    refuse(checkpoint_of(dict(T, extra=T["norm.weight"])), made_up.TINY_T, "unknown extra")
    refuse(checkpoint_of(dict(T, **{"norm.weight": T["norm.weight"][:-1]})), made_up.TINY_T, "tensor norm.weight: expected shape [64], found [63]")
    refuse(checkpoint_of(dict(T, **{"norm.weight": np.full(64, np.nan, np.float32)})), made_up.TINY_T, "norm.weight", "not finite")
    w = Writer()
    w.save(path("integers.pth"), {"model": ordered({n: w.tensor(t, "i64" if n == "norm.weight" else "f32") for n, t in T.items()})})
    refuse(path("integers.pth"), made_up.TINY_T, "norm.weight", "expected float32")
    w = Writer()
    w.save(path("far.pth"), {"model": ordered({n: w.tensor(t, offset=3 if n == "norm.weight" else 0) for n, t in T.items()})})
    refuse(path("far.pth"), made_up.TINY_T, "norm.weight", "reaches to element 66 of a storage of 64")
    Writer().save(path("list.pth"), "hello")
    refuse(path("list.pth"), made_up.TINY_T, "expected a dictionary")
    w = Writer()
    w.save(path("packed.pth"), {"model": ordered({n: w.tensor(t) for n, t in T.items()})}, zipfile.ZIP_DEFLATED)
    refuse(path("packed.pth"), made_up.TINY_T, "compressed")


def test_hostile_pickles():
    for body in (b"\x80\x02", b"\x80\x02.", b"\x80\x02}r\xff\xff\xff\x7f.", b"\x80\x05\x96" + b"\xff" * 7 + b"\x7f.", b"\x80\x02\x82\x01.",
                 b"\x80\x02" + b"(" * 100000, b"\x80\x02Nb.", b"\x80\x02X\xff\xff\xff\xffab.", b"\x80\x02}Q."):
        with zipfile.ZipFile(path("hostile.pth"), "w") as z:
            z.writestr("ckpt/data.pkl", body)
        refuse(path("hostile.pth"), made_up.TINY_T, "hostile.pth")


def test_truncated_anywhere():
    with open(checkpoint_of(T), "rb") as f:
        whole = f.read()
    for size in range(0, len(whole), len(whole) // 12):
        with open(path("cut.pth"), "wb") as f:
            f.write(whole[:size])
        refuse(path("cut.pth"), made_up.TINY_T, "cut.pth")


def test_wrong_configs_and_labels():
    checkpoint = checkpoint_of(T)
    refuse(checkpoint, dict(made_up.TINY_T, depth="2"), "depth", "found \"2\"")
    refuse(checkpoint, dict(made_up.TINY_T, family="vit"), "family")
    refuse(checkpoint, dict(made_up.TINY_T, num_classes=9), "head.weight: expected shape [9, 64], found [10, 64]")
    with open(path("few.txt"), "w") as f:
        f.write("a\nb\n")
    done, _ = convert(checkpoint, made_up.TINY_T, "--labels", path("few.txt"))
    assert done.returncode == 1 and "expected 10 lines" in done.stderr and "found 2" in done.stderr
    done = subprocess.run([sys.executable, CONVERTER, "--config", "vig_x", checkpoint, path("x")], capture_output=True, text=True)
    assert done.returncode == 1 and "vig_h_b" in done.stderr


if __name__ == "__main__":
    tap.main(globals())
