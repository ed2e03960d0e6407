"""What a student's notebook and its judge say to each other: JSON, no pickles.

In the student's process a hidden cell calls :func:`answer`, which reads the arguments
of each call and writes what came out. The judge, in another process, encodes the
former and decodes the latter. This module knows no answers: a student may read it.
"""

import base64
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# A folder of its own, so that a full disk costs no answers. Absolute: a notebook may
# change its folder.
FOLDER = Path(os.environ.get("BN_ANSWERS", ".")).resolve()
CALLS, ANSWER = FOLDER / "calls.json", FOLDER / "answer.json"
DTYPES = ("float64", "float32", "uint8")
DEPTH = 6  # of lists in lists, more than any answer needs


def answer(function: Callable) -> None:
    """Call a function with the arguments that are waiting; write what it returns."""
    if not CALLS.is_file():
        return  # the author runs the notebook: nobody asks
    found = []
    for arguments in decode(json.loads(CALLS.read_text())):
        try:
            found.append({"value": encode(function(*arguments))})
        except Exception as error:
            found.append({"error": f"{type(error).__name__}: {error}"[:300]})
    ANSWER.write_text(json.dumps(found))


def encode(value: Any) -> Any:
    """Turn arrays, tables and networks, alone or in lists, into what JSON can hold.

    Raises
    ------
    TypeError
        If there is no way to write it.
    """
    if value is None or value is ...:  # dots that were not replaced
        return None
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, np.integer | np.bool_):
        return value.item()
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {"table": {str(k): encode(v) for k, v in value.items()}}
    if hasattr(value, "get_weights"):
        return encode(_network(value))
    if hasattr(value, "columns"):
        return encode({name: list(value[name]) for name in value.columns})
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{type(value).__name__} is neither array, table nor number")
    if array.dtype.name not in DTYPES:
        array = array.astype("float64")
    packed = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return {"array": array.dtype.name, "shape": list(array.shape), "bytes": packed}


def decode(value: Any, depth: int = DEPTH) -> Any:
    """Undo :func:`encode`, trusting nothing: a network comes back as a dictionary.

    Raises
    ------
    ValueError
        If it is not what :func:`encode` writes.
    """
    if depth < 0:
        raise ValueError("the answer is nested too deeply")
    if isinstance(value, list):
        return [decode(item, depth - 1) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"table"} and isinstance(value["table"], dict):
        return {name: decode(v, depth - 1) for name, v in value["table"].items()}
    if set(value) == {"array", "shape", "bytes"} and value["array"] in DTYPES:
        flat = np.frombuffer(base64.b64decode(value["bytes"]), value["array"])
        shape = tuple(int(n) for n in value["shape"])
        if min(shape, default=0) < 0:
            raise ValueError("the answer has an array of impossible shape")
        return flat.reshape(shape).copy()
    raise ValueError("the answer is not of a kind that was asked for")


def _network(model: Any) -> dict[str, Any]:
    """Describe a Keras network: what its layers are set to, and their weights."""
    return {"layers": [_layer(layer) for layer in _layers(model)]}


def _layers(model: Any) -> list:
    nested = [[x] if not hasattr(x, "layers") else _layers(x) for x in model.layers]
    return [layer for some in nested for layer in some]


def _layer(layer: Any) -> dict[str, Any]:
    config = layer.get_config()
    return {
        "kind": type(layer).__name__,
        "units": config.get("units"),
        "activation": str(config.get("activation")),
        "use_bias": config.get("use_bias"),
        "epsilon": config.get("epsilon"),
        "scale": config.get("scale"),
        "center": config.get("center"),
        "weights": layer.get_weights(),
    }
