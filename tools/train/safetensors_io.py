"""Model files (safetensors) with NumPy alone: read and write."""

import json
import struct

import numpy as np

DTYPES = {"F32": np.float32, "F16": np.float16}


def read(path):
    """All tensors of a file, by name, and its metadata."""
    with open(path, "rb") as f:
        header_size, = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(header_size))
        data = f.read()
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        tensors[name] = np.frombuffer(data[start:end], DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors, metadata


def write(path, tensors, metadata):
    """Write tensors (float32 or float16 arrays) and metadata (a dictionary of strings)."""
    names = {np.dtype(t): n for n, t in DTYPES.items()}
    header, offset = {"__metadata__": metadata}, 0
    for name, array in tensors.items():
        header[name] = {"dtype": names[array.dtype], "shape": list(array.shape),
                        "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)   # the data starts at a multiple of 8
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for array in tensors.values():
            f.write(np.ascontiguousarray(array).tobytes())


def config(metadata):
    return json.loads(metadata["vig_config"])
