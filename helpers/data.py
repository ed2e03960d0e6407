"""MNIST and Fashion-MNIST, read from `data/`, checked, scaled once and split.

    dataset = load("mnist")
    dataset.train.images    # float32 in [0, 1], shape (55000, 28, 28)
    dataset.subset(2_000)   # the same, with 2,000 training images

All three splits come out of `_make_split`, the only place that scales; it takes
nothing but uint8, so the splits are treated alike and nothing is scaled twice.
"""

import gzip
import hashlib
import math
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path

import numpy as np
from sklearn.utils import resample

DATA = Path(__file__).resolve().parent.parent / "data"
VALIDATION_SEED = 0
CLASS_NAMES = {
    "mnist": tuple("0123456789"),
    "fashion_mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
}


@dataclass(frozen=True, eq=False)
class Split:
    """Read-only `images`, float32 (n, 28, 28), and their `labels`, int32 (n,)."""

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self):
        """Lock both arrays: assigning to an element raises ValueError."""
        self.images.setflags(write=False)
        self.labels.setflags(write=False)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def __repr__(self) -> str:
        """Name the size instead of printing pixels."""
        return f"<{len(self):,} images>"


@dataclass(frozen=True, eq=False)
class Dataset:
    """A named data set; label i means `class_names[i]`; three disjoint splits."""

    name: str
    class_names: tuple[str, ...]
    train: Split
    validation: Split
    test: Split

    def subset(self, n: int, seed: int = 0) -> "Dataset":
        """Return the same data set with only `n` of its training images.

        The sample is stratified (each class keeps its share) and stays in order; the
        same `seed` draws the same sample. Validation and test images are unchanged.

        Raises
        ------
        ValueError
            If `n` is below the number of classes or above that of training images.
        """
        _check_size("the subset", n, len(self.class_names), len(self.train))
        chosen = _stratified_sample(self.train.labels, n, seed)
        train = Split(self.train.images[chosen], self.train.labels[chosen])
        return replace(self, train=train)


def load(name: str, validation: int = 5_000) -> Dataset:
    """Load a data set from `data/`, verify its checksums, scale it and split it.

    Validation images are a stratified part of the 60,000 training images, the same
    in every call; the 10,000 test images are those of the authors. Where there is no
    folder `data/`, `keras.datasets` downloads the images.

    Parameters
    ----------
    name : "mnist" or "fashion_mnist"
    validation : number of training images set aside for validation

    Returns
    -------
    Dataset
        Images: float32 in [0, 1], shape (n, 28, 28). Labels: int32, shape (n,).

    Raises
    ------
    ValueError
        If the name is unknown, `validation` is out of range or a file is damaged.
    FileNotFoundError
        If `data/` lacks a file.
    ConnectionError
        If there is no `data/` and the download fails.

    References
    ----------
    MNIST: LeCun et al. (1998), Proc. IEEE 86(11). Fashion-MNIST: Xiao, Rasul and
    Vollgraf (2017), arXiv:1708.07747. Origin and licences: `data/README.md`.
    """
    if name not in CLASS_NAMES:
        valid = " or ".join(map(repr, CLASS_NAMES))
        raise ValueError(f"There is no data set {name!r}: choose {valid}.")
    read = _read_files if DATA.is_dir() else _download
    (pixels, labels), (test_pixels, test_labels) = read(name)
    n_classes = len(CLASS_NAMES[name])
    _check_size("the validation part", validation, n_classes, len(labels) - n_classes)
    held_out = np.zeros(len(labels), dtype=bool)
    held_out[_stratified_sample(labels, validation, VALIDATION_SEED)] = True
    return Dataset(
        name=name,
        class_names=CLASS_NAMES[name],
        train=_make_split(pixels[~held_out], labels[~held_out]),
        validation=_make_split(pixels[held_out], labels[held_out]),
        test=_make_split(test_pixels, test_labels),
    )


def _make_split(pixels: np.ndarray, labels: np.ndarray) -> Split:
    """Scale uint8 pixels of shape (n, 28, 28) to [0, 1]; refuse any other dtype."""
    if pixels.dtype != np.uint8:
        raise TypeError(f"Pixels must be unscaled uint8, not {pixels.dtype}.")
    return Split(np.divide(pixels, 255, dtype=np.float32), labels.astype(np.int32))


def _stratified_sample(labels: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Return `n` sorted indices into `labels`, each class in its proportion."""
    how = {"replace": False, "stratify": labels, "random_state": seed}
    return np.sort(resample(np.arange(len(labels)), n_samples=n, **how))


def _check_size(what: str, n: int, lowest: int, highest: int) -> None:
    """Raise ValueError unless `n` is a whole number from `lowest` to `highest`."""
    if not isinstance(n, Integral) or not lowest <= n <= highest:
        valid = f"a whole number from {lowest} to {highest:,}"
        raise ValueError(f"The size of {what} must be {valid}, not {n!r}.")


def _read_files(name: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (pixels, labels), uint8, of the training and of the test files."""
    return [
        (
            _read_idx(f"{name}/{part}-images-idx3-ubyte.gz", n_dimensions=3),
            _read_idx(f"{name}/{part}-labels-idx1-ubyte.gz", n_dimensions=1),
        )
        for part in ("train", "t10k")
    ]


def _read_idx(file: str, n_dimensions: int) -> np.ndarray:
    """Verify the SHA-256 of a gzipped IDX file in `data/`, then return its array."""
    remedy = "restore it with `git checkout -- data` in the repository's top folder."
    for required in (file, "SHA256SUMS"):
        if not (DATA / required).is_file():
            raise FileNotFoundError(f"data/{required} is missing: {remedy}")
    packed = (DATA / file).read_bytes()
    line = f"{hashlib.sha256(packed).hexdigest()}  {file}"
    if line not in (DATA / "SHA256SUMS").read_text().splitlines():
        problem = "is damaged or cut short (its SHA-256 is not in data/SHA256SUMS)"
        raise ValueError(f"data/{file} {problem}: {remedy}")
    return _parse_idx(gzip.decompress(packed), n_dimensions)


def _parse_idx(raw: bytes, n_dimensions: int) -> np.ndarray:
    """Return the array in an IDX file: 00 00 08 d, d big-endian sizes, the bytes."""
    header = 4 + 4 * n_dimensions
    magic, *shape = np.frombuffer(raw[:header], dtype=">u4").tolist()
    if magic != 0x800 + n_dimensions or len(raw) != header + math.prod(shape):
        raise ValueError(f"Not an IDX file of {n_dimensions}-dimensional uint8 data.")
    return np.frombuffer(raw, dtype=np.uint8, offset=header).reshape(shape)


def _download(name: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return what `_read_files` does, from `keras.datasets` (cached in ~/.keras)."""
    import keras  # Here, because it takes seconds and `data/` makes it needless.

    try:
        return list(getattr(keras.datasets, name).load_data())
    except Exception as error:  # Keras raises a bare Exception without a network.
        raise ConnectionError(
            f"There is no folder data/ and Keras could not download {name}: "
            "clone the whole repository, or try again with a network."
        ) from error
