"""MNIST and Fashion-MNIST, read from `data/`, checked, scaled once and split.

    dataset = load("mnist")
    dataset.train.images    # float32 in [0, 1], shape (55000, 28, 28)
    dataset.subset(2_000)   # the same, with 2,000 training images
    load_folder("my/images", image_size=(84, 84))  # a folder of images by class

All three splits come out of `_make_split`, the only place that scales; it takes
nothing but uint8, so the splits are treated alike and nothing is scaled twice.
"""

import gzip
import hashlib
import io
import math
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any

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
    "cifar10": (
        *("Airplane", "Automobile", "Bird", "Cat", "Deer"),
        *("Dog", "Frog", "Horse", "Ship", "Truck"),
    ),
}
FORMATS = "JPEG, PNG, BMP, GIF"  # what Keras reads of a folder
LARGEST = 4096  # pixels along a side: all images are held in memory
EMBEDDED = ("mnist", "fashion_mnist")  # what `data/` holds; Keras downloads the rest


@dataclass(frozen=True, eq=False)
class Split:
    """Read-only `images`, float32 (n, height, width[, 3]); int32 `labels` (n,)."""

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self):
        """Lock both arrays: assigning to an element raises ValueError.

        Raises
        ------
        ValueError
            If one is no array.
        """
        for name, array in vars(self).items():
            if not isinstance(array, np.ndarray):
                raise ValueError(
                    f"the {name} of a split must be an array, as np.asarray makes of "
                    f"a list or a tensor, not {type(array).__name__}"
                )
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

    def map(self, change: Callable[[np.ndarray], np.ndarray]) -> "Dataset":
        """Return the same data set with the images of every split changed.

        `change` is given the images of a split, float32 (n, height, width[, 3]), and
        returns as many, as an array or a tensor; a Keras layer will do. For layers of
        `keras.layers` that change pictures, such as `RandomFlip`, grey images get an
        axis of channels, and lose it again: Keras takes three axes for one picture.

        Raises
        ------
        ValueError
            If it does not return as many images.
        """
        train, validation, test = (
            Split(_changed(change, split.images), split.labels)
            for split in (self.train, self.validation, self.test)
        )
        return replace(self, train=train, validation=validation, test=test)


def _changed(
    change: Callable[[np.ndarray], np.ndarray], images: np.ndarray
) -> np.ndarray:
    """Return the images that a function makes of images; refuse anything else."""
    changed, grey = None, images.ndim == 3 and _is_for_pictures(change)
    if grey:
        with suppress(Exception):  # it may add the axis itself
            changed = change(images[..., np.newaxis])
    if changed is None and grey:
        with suppress(Exception):
            changed = change(images)
        if changed is None:
            raise ValueError(
                "the layer does not take grey images, with an axis of channels or "
                "without: give a function, as lambda images: layer(images[..., None])"
            )
        grey = False
    elif changed is None:
        changed = change(images)
    try:
        made = np.asarray(changed)
    except ValueError:  # of several shapes
        made = np.array(None)
    if made.dtype == object or made.shape[:1] != images.shape[:1]:
        what = type(changed).__name__ if made.dtype == object else made.shape
        raise ValueError(
            f"the change returned {what} for images of shape {images.shape}: let it "
            "end in `return`, with an array of as many images"
        )
    return made[..., 0] if grey and made.shape[3:] == (1,) else made


def _is_for_pictures(change: Callable) -> bool:
    """Whether it is, or holds, a Keras layer that takes three axes for one picture."""
    layer: Any = getattr(change, "func", change)  # of a partial function
    layer = getattr(layer, "__self__", layer)  # of a method
    every = getattr(layer, "_flatten_layers", None)
    if every is None:  # no layer
        return False
    kinds = {kind.__name__ for part in every() for kind in type(part).__mro__}
    takes_four = getattr(layer.input_spec, "ndim", None) == 4  # as pooling does
    return "BaseImagePreprocessingLayer" in kinds or takes_four


def load(
    name: str, validation: int = 5_000, *, validation_seed: int = VALIDATION_SEED
) -> Dataset:
    """Load a data set from `data/`, verify its checksums, scale it and split it.

    Validation images are a stratified part of the training images, the same for the
    same seed; the 10,000 test images are those of the authors. Where there is no
    folder `data/`, and for CIFAR-10, `keras.datasets` downloads the images.

    Parameters
    ----------
    name : "mnist", "fashion_mnist" or "cifar10"
    validation : number of training images set aside for validation
    validation_seed : draws them; a replication of a study gives its own

    Returns
    -------
    Dataset
        Images: float32 in [0, 1], shape (n, 28, 28), or (n, 32, 32, 3) for CIFAR-10.
        Labels: int32, shape (n,).

    Raises
    ------
    ValueError
        If the name is unknown, `validation` is out of range or a file is damaged.
    FileNotFoundError
        If `data/` lacks a file.
    ConnectionError
        If the images must be downloaded and the download fails.

    References
    ----------
    MNIST: LeCun et al. (1998), Proc. IEEE 86(11). Fashion-MNIST: Xiao, Rasul and
    Vollgraf (2017), arXiv:1708.07747. CIFAR-10: Krizhevsky (2009), technical report,
    University of Toronto. Origin and licences of the first two: `data/README.md`.
    """
    if name not in CLASS_NAMES:
        valid = " or ".join(map(repr, CLASS_NAMES))
        raise ValueError(f"there is no data set {name!r}: choose {valid}")
    read = _read_files if name in EMBEDDED and DATA.is_dir() else _download
    (pixels, labels), (test_pixels, test_labels) = read(name)
    n_classes = len(CLASS_NAMES[name])
    _check_size("the validation part", validation, n_classes, len(labels) - n_classes)
    held_out = np.zeros(len(labels), dtype=bool)
    held_out[_stratified_sample(labels, validation, validation_seed)] = True
    return Dataset(
        name=name,
        class_names=CLASS_NAMES[name],
        train=_make_split(pixels[~held_out], labels[~held_out]),
        validation=_make_split(pixels[held_out], labels[held_out]),
        test=_make_split(test_pixels, test_labels),
    )


def load_folder(
    folder: str | Path, image_size: tuple[int, int] = (84, 84), share: float = 0.15
) -> Dataset:
    """Load a folder of images with one sub-folder a class, such as Mini-ImageNet.

    `keras.utils.image_dataset_from_directory` reads the images (JPEG, PNG, BMP, GIF),
    in colour; it follows links, and passes over hidden classes and files of other
    formats; an image with a hidden name, often a copy, is refused, and a BMP with a
    table of colours, which Keras would read as grey. Validation and test images are
    stratified parts, the same in every call. All images are held in memory, as
    float32.

    Parameters
    ----------
    folder : its sub-folders, in alphabetic order, are the classes
    image_size : height and width to resize to, pixels, at most 4096
    share : of all images, for validation, and again for the test

    Returns
    -------
    Dataset
        Images: float32 in [0, 1], shape (n, height, width, 3). Labels: int32, (n,).

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If it is no path, has fewer than two classes, a class has too few images to be
        split, an image cannot be read, or `image_size` or `share` is out of range.
    """
    if not isinstance(folder, str | os.PathLike):
        raise ValueError(
            f"the folder must be a path, as in 'my/images', not {folder!r}"
        )
    folder = Path(folder)
    if not isinstance(share, Real) or not 0 < share < 0.5:
        raise ValueError(f"the share must lie between 0 and 0.5, not {share!r}")
    sides = tuple(image_size) if isinstance(image_size, list | tuple) else ()
    whole = all(isinstance(side, Integral) and 0 < side <= LARGEST for side in sides)
    if len(sides) != 2 or not whole:
        raise ValueError(
            "the image size must be height and width in whole pixels, as in (84, 84), "
            f"at most {LARGEST}, not {image_size!r}"
        )
    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no folder {folder}: give one with a sub-folder for each class"
        )
    pixels, labels, class_names = _read_folder(folder, tuple(map(int, sides)))
    counts = np.bincount(labels, minlength=len(class_names))
    _check_classes(folder, dict(zip(class_names, counts, strict=True)), share)
    parts = _stratified_parts(labels, round(share * len(labels)))
    _check_parts(class_names, {part: labels[i] for part, i in parts.items()}, share)
    splits = {part: _make_split(pixels[i], labels[i]) for part, i in parts.items()}
    name = folder.resolve().name if folder.name in ("", "..") else folder.name
    return Dataset(name=name, class_names=class_names, **splits)


def _check_classes(folder: Path, counts: Mapping[str, int], share: float) -> None:
    """Refuse a class with fewer than one image for each part."""
    # Rounded, for 1 - 2 * 0.4 is not quite a fifth.
    least = math.ceil(round(1 / min(share, 1 - 2 * share), 6))
    for name, count in counts.items():
        if count < least:
            raise ValueError(
                f"class {name!r} in {folder} has {count} images ({FORMATS}): it needs "
                f"at least {least} to be split, so add images or remove it"
            )


def _check_parts(
    class_names: Sequence[str], parts: Mapping[str, np.ndarray], share: float
) -> None:
    """Refuse a class of which a part has no image, for a share is rounded."""
    for part, labels in parts.items():
        for index, name in enumerate(class_names):
            if index not in labels:
                raise ValueError(
                    f"class {name!r} has too few images: with a share of {share} none "
                    f"is left for the {part} images, so add some or choose a smaller "
                    "share"
                )


def _stratified_parts(labels: np.ndarray, n: int) -> dict[str, np.ndarray]:
    """Indices of training, validation and test images, ``n`` in each of the latter."""
    held_out = _stratified_sample(labels, 2 * n, VALIDATION_SEED)
    test = held_out[_stratified_sample(labels[held_out], n, VALIDATION_SEED)]
    return {
        "train": np.setdiff1d(np.arange(len(labels)), held_out),
        "validation": np.setdiff1d(held_out, test),
        "test": test,
    }


def _read_folder(
    folder: Path, image_size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return uint8 pixels, labels and class names of a folder of images by class."""
    # Here, because it takes seconds and `load` does without.
    from helpers import quiet  # noqa: F401, I001  # isort: skip
    import keras

    _check_access(folder)
    class_names = sorted(
        p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")
    )
    if len(class_names) < 2:
        raise ValueError(
            f"{folder} has {len(class_names)} sub-folders: it needs one a class, at "
            "least two, with the images inside"
        )
    try:
        files = keras.utils.image_dataset_from_directory(
            folder,
            class_names=class_names,
            image_size=image_size,
            batch_size=None,
            shuffle=False,
            verbose=False,
            follow_links=True,
            data_format="channels_last",
        )
    except ValueError as error:
        for name in map(str, folder.rglob("*")):
            if name != name.encode("utf-8", "replace").decode():
                raise ValueError(
                    f"{name!r} could not be read (its name is not in UTF-8): rename it"
                ) from error
        raise ValueError(
            f"the sub-folders of {folder} hold no images ({FORMATS}): add some"
        ) from error
    paths = [Path(path) for path in files.file_paths]
    _check_files(folder, paths)
    pixels, labels = [], []
    try:
        for image, label in files.as_numpy_iterator():
            pixels.append(np.rint(image).astype(np.uint8))
            labels.append(label)
    except Exception as error:  # TensorFlow raises many kinds.
        path = paths[len(pixels)]
        raise ValueError(
            f"{path} could not be read ({_cause(path, error)}): remove or replace it"
        ) from error
    return np.array(pixels), np.array(labels), tuple(class_names)


def _check_files(folder: Path, paths: Sequence[Path]) -> None:
    """Refuse a hidden name, what is no file, and what Keras would read wrongly."""
    for path in paths:
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            raise ValueError(
                f"{path} is hidden, and so a copy or no image at all: remove it"
            )
        if path.exists() and not path.is_file():  # reading a pipe would never end
            raise ValueError(f"{path} is no file, but a pipe or a device: remove it")
        if _has_colour_table(path):  # Keras would take its indices for grey values
            raise ValueError(
                f"{path} is a BMP with a table of colours, which Keras cannot read: "
                "save it as PNG, or as a BMP of 24 bits"
            )


def _has_colour_table(path: Path) -> bool:
    """Whether a file is a BMP of 8 bits whose pixels are not themselves grey values.

    The header: where pixels begin stands at byte 10, the length of the second header
    at 14, bits per pixel at 28; a table holds blue, green, red and 0 for each index.
    """
    try:
        with path.open("rb") as file:
            if file.read(2) != b"BM":
                return False
            file.seek(0)
            head = file.read(2048)
    except OSError:
        return False  # the reader will name it
    if len(head) < 30 or int.from_bytes(head[28:30], "little") != 8:
        return False
    begin = 14 + int.from_bytes(head[14:18], "little")
    table = head[begin : int.from_bytes(head[10:14], "little")]
    colours = np.frombuffer(table[: len(table) // 4 * 4], np.uint8).reshape(-1, 4)
    return bool((colours[:, :3] != np.arange(len(colours))[:, None]).any())


def _check_access(folder: Path, above: Sequence[Path] = ()) -> None:
    """Refuse what in it cannot be entered, or never left, by links back to itself."""
    if not os.access(folder, os.R_OK | os.X_OK):  # Keras would leave it out
        raise ValueError(
            f"{folder} could not be read (permission denied): allow reading and "
            "entering it, or remove it"
        )
    if folder.resolve() in above:
        raise ValueError(
            f"{folder} links to a folder that it stands in: remove the link"
        )
    for path in folder.iterdir():
        hidden = path.name.startswith(".")
        if hidden and not above:  # no class
            continue
        if not hidden and not path.exists():  # a class would be left out
            raise ValueError(
                f"{path} could not be read (it links to what does not exist): remove "
                "or replace it"
            )
        if path.is_dir():
            _check_access(path, [*above, folder.resolve()])


def _cause(path: Path, error: Exception) -> str:
    """Say in a few words why an image could not be read."""
    if not path.exists():
        return "it links to what does not exist"
    if path.stat().st_size == 0:
        return "it is empty"
    said = re.split(r"\.\s|\n|\[", str(error), maxsplit=1)[0]
    return said.rpartition(": ")[2].rstrip(" .")  # before it come TensorFlow's stages


def _make_split(pixels: np.ndarray, labels: np.ndarray) -> Split:
    """Scale uint8 pixels to [0, 1]; refuse any other dtype."""
    if pixels.dtype != np.uint8:
        raise TypeError(f"pixels must be unscaled uint8, not {pixels.dtype}")
    return Split(np.divide(pixels, 255, dtype=np.float32), labels.astype(np.int32))


def _stratified_sample(labels: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Return `n` sorted indices into `labels`, each class in its proportion."""
    how = {"replace": False, "stratify": labels, "random_state": seed}
    return np.sort(resample(np.arange(len(labels)), n_samples=n, **how))


def _check_size(what: str, n: int, lowest: int, highest: int) -> None:
    """Raise ValueError unless `n` is a whole number from `lowest` to `highest`."""
    if not isinstance(n, Integral) or not lowest <= n <= highest:
        valid = f"a whole number from {lowest} to {highest:,}"
        raise ValueError(f"the size of {what} must be {valid}, not {n!r}")


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
    remedy = "restore it with `git checkout -- data` in the repository's top folder"
    for required in (file, "SHA256SUMS"):
        if not (DATA / required).is_file():
            raise FileNotFoundError(f"data/{required} is missing: {remedy}")
    packed = (DATA / file).read_bytes()
    line = f"{hashlib.sha256(packed).hexdigest()}  {file}"
    if line not in (DATA / "SHA256SUMS").read_text("utf-8").splitlines():
        problem = "is damaged or cut short (its SHA-256 is not in data/SHA256SUMS)"
        raise ValueError(f"data/{file} {problem}: {remedy}")
    return _parse_idx(gzip.decompress(packed), n_dimensions)


def _parse_idx(raw: bytes, n_dimensions: int) -> np.ndarray:
    """Return the array in an IDX file: 00 00 08 d, d big-endian sizes, the bytes."""
    header = 4 + 4 * n_dimensions
    magic, *shape = np.frombuffer(raw[:header], dtype=">u4").tolist()
    if magic != 0x800 + n_dimensions or len(raw) != header + math.prod(shape):
        raise ValueError(f"no IDX file of {n_dimensions}-dimensional uint8 data")
    return np.frombuffer(raw, dtype=np.uint8, offset=header).reshape(shape)


def _download(name: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return what `_read_files` does, from `keras.datasets` (cached in ~/.keras)."""
    # Here, because it takes seconds and `data/` makes it needless.
    from helpers import quiet  # noqa: F401, I001  # isort: skip
    import keras

    try:
        # In a terminal alone: a stored notebook would keep every stroke of the bar.
        shown = sys.stdout if sys.stdout.isatty() else io.StringIO()
        with redirect_stdout(shown):
            parts = getattr(keras.datasets, name).load_data()
        return [(pixels, labels.ravel()) for pixels, labels in parts]
    except Exception as error:  # Keras raises a bare Exception without a network.
        raise ConnectionError(
            f"{name} is not in data/ and Keras could not download it: clone the "
            "whole repository (CIFAR-10 apart, which it lacks), or try again with a "
            "network"
        ) from error
