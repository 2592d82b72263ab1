#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""One contender of tests/bench/cpu in a process of its own: one runtime, one model, one shape; it answers rounds on request.

    bench_worker.py ENGINE MODEL SIZE BATCH THREADS FOLDER

ENGINE: a key of ENGINES below. FOLDER: where tools/bench_prepare.py has put inputs and models. A line of JSON each way:

    -> {"ready": "ONNX Runtime 1.21", "logits": FOLDER/….npy, "bytes": N}   or {"missing": "why"}, and it ends
    <- {"seconds": 1.5}
    -> {"ms": [each forward of the batch]}

bytes: the activations' memory, measured alike for everybody: what the second forward touches (the kernel's Referenced),
less the weights and the caller's input. (The resident size does not tell: runtimes fill their pools while they load.)

The caller stops the process (SIGSTOP) while another is measured, so that no thread pool of it spins then: a round begins
with forwards that do not count, unless they take longer than the round.
"""
import ctypes
import json
import os
import sys
import time

import numpy as np

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def model_path(folder, model, size, batch, suffix):
    return os.path.join(folder, "%s-%d-b%d%s" % (model, size, batch, suffix))


# ---- engines: a function that gives (name, bytes of the weights, function: a NumPy batch to logits) ----------------------

class VigOptions(ctypes.Structure):
    _fields_ = [("device", ctypes.c_char_p), ("precision", ctypes.c_int), ("n_threads", ctypes.c_uint)]


class VigOutput(ctypes.Structure):
    _fields_ = [("logits", ctypes.c_void_p), ("probabilities", ctypes.c_void_p), ("features", ctypes.c_void_p),
                ("preprocess_us", ctypes.c_int64), ("inference_us", ctypes.c_int64)]


class GError(ctypes.Structure):
    _fields_ = [("domain", ctypes.c_uint32), ("code", ctypes.c_int), ("message", ctypes.c_char_p)]


def libvig(precision):
    """The library as users have it, engine/vig/engine.h."""
    def make(model, size, batch, threads, folder):
        lib = ctypes.CDLL(TOP + "/build/engine/libvig.so.0")
        lib.vig_model_load.restype = lib.vig_engine_new.restype = ctypes.c_void_p
        lib.vig_engine_get_kernels.restype = ctypes.c_char_p
        lib.vig_engine_get_weight_bytes.restype = ctypes.c_size_t
        error, number = ctypes.POINTER(GError)(), ctypes.c_int()

        def checked(result):
            if not result:
                raise RuntimeError(error.contents.message.decode())
            return ctypes.c_void_p(result)

        lib.vig_precision_from_string(precision.encode(), ctypes.byref(number))
        weights = checked(lib.vig_model_load((folder + "/" + model + ".safetensors").encode(), ctypes.byref(error)))
        options = VigOptions(b"cpu", number, threads)
        engine = checked(lib.vig_engine_new(weights, ctypes.byref(options), ctypes.byref(error)))
        logits = np.empty((batch, lib.vig_model_get_n_classes(weights)), np.float32)

        def forward(x):
            output = VigOutput(logits.ctypes.data)
            checked(lib.vig_engine_classify_tensors(engine, ctypes.c_void_p(x.ctypes.data), batch, size, size,
                                                    ctypes.byref(output), ctypes.byref(error)))
            return logits
        return "libvig (%s)" % lib.vig_engine_get_kernels(engine).decode(), lib.vig_engine_get_weight_bytes(engine), forward
    return make


def pytorch(precision, compiled=False):
    def make(model, size, batch, threads, folder):
        os.environ.setdefault("OMP_PROC_BIND", "true")  # what it is fastest with
        import torch
        import bench_models
        torch.set_num_threads(threads)
        bf16 = precision == "bf16"
        network = bench_models.made(model, size, fused=not bf16)  # PyTorch 2.6's fused attention in bf16: 5 times slower
        if bf16:  # what autocast would convert in every forward
            for part in network.modules():
                if isinstance(part, (torch.nn.Linear, torch.nn.Conv2d)):
                    part.bfloat16()
        if compiled:
            from torch._inductor.cpu_vec_isa import pick_vec_isa
            if not pick_vec_isa():
                raise ImportError("torch.compile finds no vector instructions here")
            network = torch.compile(network)

        def forward(x):
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                return network(torch.from_numpy(x)).float().numpy()
        name = "PyTorch %s%s" % (torch.__version__.split("+")[0], " compiled" if compiled else "")
        return name, sum(p.nbytes for p in network.parameters()), forward
    return make


def onnxruntime(suffix):
    """The CPU provider only: the oneDNN provider that Debian builds gives wrong outputs."""
    def make(model, size, batch, threads, folder):
        import onnxruntime as ort
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        path = model_path(folder, model, size, batch, suffix)
        session = ort.InferenceSession(path, options, ["CPUExecutionProvider"])
        return "ONNX Runtime " + ort.__version__, os.path.getsize(path), lambda x: session.run(None, {"input": x})[0]
    return make


def openvino(precision):
    def make(model, size, batch, threads, folder):
        where = os.environ.get("VIG_OPENVINO")
        if not where:
            raise ImportError("OpenVINO is not installed (it comes from PyPI, which was not reached)")
        sys.path.append(where)  # behind the system's: numpy stays Debian's
        import openvino as ov
        path = model_path(folder, model, size, batch, ".onnx")
        network = ov.Core().compile_model(path, "CPU", {
            "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision})
        request, weights = network.create_infer_request(), os.path.getsize(path) // (2 if precision == "bf16" else 1)
        return ("OpenVINO " + ov.__version__.split("-")[0], weights,
                lambda x: request.infer({"input": x}, share_inputs=True)["logits"])
    return make


ENGINES = {
    "libvig-fp32": libvig("fp32"),
    "libvig-bf16": libvig("bf16"),
    "torch-fp32": pytorch("fp32"),
    "torch-bf16": pytorch("bf16"),
    "torch-compiled-fp32": pytorch("fp32", compiled=True),
    "torch-compiled-bf16": pytorch("bf16", compiled=True),
    "ort-fp32": onnxruntime(".onnx"),
    "ort-int8": onnxruntime("-int8.onnx"),
    "openvino-fp32": openvino("f32"),
    "openvino-bf16": openvino("bf16"),
}


# ---- memory ----------------------------------------------------------------------------------------------------------

def anonymous_bytes_referenced():
    """Of the pages that are no file's: those that were touched since clear_refs."""
    total, anonymous = 0, False
    with open("/proc/self/smaps", encoding="ascii", errors="replace") as f:
        for line in f:
            words = line.split()
            if not words[0].endswith(":"):
                anonymous = words[4] == "0"  # the inode
            elif anonymous and words[0] == "Referenced:":
                total += 1024 * int(words[1])
    return total


def touched(run):
    """Bytes of memory that run() reads or writes, whether it allocates them or a pool had them."""
    with open("/proc/self/clear_refs", "w", encoding="ascii") as f:
        f.write("1")
    run()
    return anonymous_bytes_referenced()


# ---- rounds ----------------------------------------------------------------------------------------------------------

def only_answers():
    """From here on whatever a runtime prints is not an answer."""
    global ANSWERS
    ANSWERS = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)


def say(**words):
    ANSWERS.write(json.dumps(words) + "\n")
    ANSWERS.flush()


def timed(run):
    start = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - start)


def repeated(run, seconds):
    times, end = [], time.monotonic() + seconds
    while not times or time.monotonic() < end:
        times.append(timed(run))
    return times


def round_of(run, seconds, last):
    """Milliseconds of each run; last: of the one before, 0: there was none. Who takes longer than the round is warm soon
    enough."""
    if last < 1e3 * seconds:
        repeated(run, seconds / 10)
    return repeated(run, seconds)


def main():
    engine, model, size, batch, threads, folder = sys.argv[1:7]
    shape = model, int(size), int(batch)
    x = np.load(model_path(folder, "input", *shape[1:], ".npy"))
    try:
        name, weights, forward = ENGINES[engine](*shape, int(threads), folder)
        logits = forward(x).copy()
        activations = touched(lambda: forward(x)) - touched(lambda: None) - weights - x.nbytes
    except Exception as e:  # whatever a peer fails with is why it is missing
        say(missing=("%s: %s" % (type(e).__name__, e)).splitlines()[0])
        return
    path = model_path(folder, engine + "-" + model, *shape[1:], ".npy")
    np.save(path, logits)
    say(ready=name, logits=path, bytes=max(0, activations))
    times = [0]
    for line in sys.stdin:
        seconds = json.loads(line)["seconds"]
        times = round_of(lambda: forward(x), seconds, times[-1])
        say(ms=times)


if __name__ == "__main__":
    only_answers()
    main()
