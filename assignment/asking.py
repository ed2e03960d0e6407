"""What a student's notebook and its judge say to each other: JSON, no pickles.

In the student's process a hidden cell calls :func:`answer`, which reads the arguments
of each call and writes what came out. The judge, in another process, encodes the
former and decodes the latter. This module knows no answers: a student may read it.
"""

import base64
import contextlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

# A folder of its own, so that a full disk costs no answers. Absolute: a notebook may
# change its folder.
FOLDER = Path(os.environ.get("BN_ANSWERS", ".")).resolve()
CALLS, ANSWER = FOLDER / "calls.json", FOLDER / "answer.json"
DTYPES = ("float64", "float32", "uint8")
DEPTH, ITEMS = 6, 10_000  # of lists in lists, and in each: more than any answer needs


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
    if hasattr(value, "to_frame") or type(value).__name__ == "dict_values":
        return encode(list(value))  # a Series
    if hasattr(value, "reset_index"):
        twice = {*value.index.names, "index", "level_0"} & set(value.columns)
        return {"table": dict(_columns(value.reset_index(drop=bool(twice))))}
    array = np.asarray(value)
    if array.dtype.kind == "U":  # of np.where, np.select
        return encode(array.tolist())
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
        if len(value) > ITEMS:
            raise ValueError(f"the answer has a list of {len(value):,} items")
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


def first(value: Any) -> Any:
    """Return the network where it comes with a history, in a tuple or a list."""
    return value[0] if isinstance(value, tuple | list) and value else value


def some(images: Any, n: int) -> Any:
    """Return some images, spread over all; of each part, where there are parts."""
    if isinstance(images, Mapping):
        return {part: some(values, n) for part, values in images.items()}
    return images[:: max(1, len(images) // n)][:n]


def seeded(build: Callable) -> Callable:
    """Return a function that builds a network after a seed, with its weights made."""

    def built(normalized: bool, seed: int) -> Any:
        import keras

        keras.utils.set_random_seed(seed)
        network = build(normalized)
        if not getattr(network, "built", True):
            network.build((None, 28, 28))
        return network

    return built


def trained(train: Callable, build: Callable | None) -> Callable:
    """Return a function that trains a network, and builds it from its seed again.

    From the kernels of the second the judge sees whether the first was trained.
    """

    def both(normalized: bool, seed: int, *budget: int) -> list:
        network, new = first(train(normalized, seed, *budget)), None
        with contextlib.suppress(Exception):  # `build` is asked for elsewhere
            new = seeded(build)(normalized, seed)  # type: ignore[arg-type]
        return [network, new if hasattr(new, "get_weights") else None]

    return both


def _columns(frame: Any) -> Iterator[tuple[str, Any]]:
    """Yield the columns of a table; one of dates, say, is nothing that was asked."""
    for name in frame.columns:
        with contextlib.suppress(TypeError):
            yield str(name), encode(list(frame[name]))


def _network(model: Any) -> dict[str, Any]:
    """Describe a Keras network: what its layers are set to, and their weights."""
    return {"layers": [_layer(layer) for layer in _layers(model)]}


def _layers(model: Any) -> list:
    nested = [[x] if not hasattr(x, "layers") else _layers(x) for x in model.layers]
    return [layer for some in nested for layer in some]


def _layer(layer: Any) -> dict[str, Any]:
    config = layer.get_config()
    activation = getattr(layer, "activation", None)
    name = getattr(activation, "__name__", type(activation).__name__).lower()
    return {
        "kind": type(layer).__name__,
        "units": config.get("units"),
        "activation": "linear" if activation is None else name,
        "slope": config.get("negative_slope"),
        "ceiling": config.get("max_value"),
        "trainable": layer.trainable,
        "use_bias": config.get("use_bias"),
        "epsilon": config.get("epsilon"),
        "scale": config.get("scale"),
        "center": config.get("center"),
        "weights": layer.get_weights(),
    }
