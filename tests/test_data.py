"""The data against independent sources: published checksums, counts, other code."""

import gzip
import hashlib
import os
import shutil
import struct
import subprocess
import sys
import zlib
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import data

NAMES = ("mnist", "fashion_mnist")
ROOT = Path(__file__).resolve().parent.parent
# MD5 of the unpacked files, as published by others than this repository.
RAW_MD5 = {
    "mnist/train-images-idx3-ubyte.gz": "6bbc9ace898e44ae57da46a324031adb",
    "mnist/train-labels-idx1-ubyte.gz": "a25bea736e30d166cdddb491f175f624",
    "mnist/t10k-images-idx3-ubyte.gz": "2646ac647ad5339dbf082846283269ea",
    "mnist/t10k-labels-idx1-ubyte.gz": "27ae3e4e09519cfbb04c329615203637",
    "fashion_mnist/train-images-idx3-ubyte.gz": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "fashion_mnist/train-labels-idx1-ubyte.gz": "9018921c3c673c538a1fc5bad174d6f9",
    "fashion_mnist/t10k-images-idx3-ubyte.gz": "8181f5470baa50b63fa0f6fddb340f0a",
    "fashion_mnist/t10k-labels-idx1-ubyte.gz": "15d484375f8d13e6eb1aabb0c3f46965",
}
CLASS_COUNTS = {
    "mnist": (
        [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    ),
    "fashion_mnist": ([6000] * 10, [1000] * 10),
}
# CRC-32 of the validation indices: a change of the split would be a new experiment.
VALIDATION_CRC = {"mnist": 3811979439, "fashion_mnist": 3342553237}


def raw_part(name: str, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Read pixels and labels with struct, the way the format's authors describe."""
    with gzip.open(ROOT / "data" / name / f"{part}-images-idx3-ubyte.gz") as file:
        magic, n, height, width = struct.unpack(">iiii", file.read(16))
        assert (magic, height, width) == (2051, 28, 28)
        pixels = np.array(bytearray(file.read())).reshape(n, 28, 28)
    with gzip.open(ROOT / "data" / name / f"{part}-labels-idx1-ubyte.gz") as file:
        assert struct.unpack(">ii", file.read(8)) == (2049, n)
        labels = np.array(list(file.read()))
    return pixels, labels


def indices_in(pixels: np.ndarray, split: data.Split) -> np.ndarray:
    """Say where in the original file each image of a split stands."""
    position = {image.tobytes(): i for i, image in enumerate(pixels)}
    assert len(position) == len(pixels), "images are no longer unique"
    restored = np.rint(split.images * 255).astype(np.uint8)
    return np.array([position[image.tobytes()] for image in restored])


def assert_one_sentence(error: BaseException) -> None:
    message = str(error)
    assert not message.endswith(".")
    assert "\n" not in message
    assert ". " not in message


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def dataset(name):
    return data.load(name)


@pytest.fixture(scope="module")
def raw(name):
    return {part: raw_part(name, part) for part in ("train", "t10k")}


# ------------------------------------------------------------------ the files


@pytest.mark.parametrize("file", RAW_MD5)
def test_files_unpack_to_the_published_md5(file):
    unpacked = gzip.decompress((ROOT / "data" / file).read_bytes())
    assert hashlib.md5(unpacked).hexdigest() == RAW_MD5[file]


def test_sha256sums_lists_exactly_the_data_files_in_the_standard_format():
    lines = (ROOT / "data" / "SHA256SUMS").read_text().splitlines()
    listed = dict(reversed(line.split("  ")) for line in lines)
    assert set(listed) == set(RAW_MD5)
    assert len(lines) == len(listed)
    for file, digest in listed.items():
        packed = (ROOT / "data" / file).read_bytes()
        assert hashlib.sha256(packed).hexdigest() == digest


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="needs GNU coreutils")
def test_sha256sum_accepts_the_list():
    command = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    subprocess.run(command, cwd=ROOT / "data", check=True)


def test_readme_names_every_file_and_its_md5():
    readme = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    for file, md5 in RAW_MD5.items():
        assert f"`{file}`" in readme
        assert md5 in readme
    assert "CC BY-SA 3.0" in readme
    assert "Permission is hereby granted, free of charge" in readme


# ------------------------------------------------------------------ the splits


def test_sizes_types_and_range(dataset):
    sizes = [len(s) for s in (dataset.train, dataset.validation, dataset.test)]
    assert sizes == [55_000, 5_000, 10_000]
    for split in (dataset.train, dataset.validation, dataset.test):
        assert split.images.shape == (len(split), 28, 28)
        assert split.images.dtype == np.float32
        assert split.labels.shape == (len(split),)
        assert split.labels.dtype == np.int32
        assert (split.images.min(), split.images.max()) == (0, 1)
        assert set(split.labels) == set(range(10))


def test_class_names(dataset):
    expected = {
        "mnist": "0 1 2 3 4 5 6 7 8 9",
        "fashion_mnist": "T-shirt/top Trouser Pullover Dress Coat "
        "Sandal Shirt Sneaker Bag Ankle boot",
    }
    assert " ".join(dataset.class_names) == expected[dataset.name]
    assert len(dataset.class_names) == 10


def test_class_counts_are_the_known_ones(dataset):
    train, test = CLASS_COUNTS[dataset.name]
    both = np.concatenate([dataset.train.labels, dataset.validation.labels])
    assert np.bincount(both).tolist() == train
    assert np.bincount(dataset.test.labels).tolist() == test


def test_training_and_validation_part_the_training_file(dataset, raw):
    pixels, labels = raw["train"]
    train = indices_in(pixels, dataset.train)
    validation = indices_in(pixels, dataset.validation)
    assert sorted([*train, *validation]) == list(range(60_000))
    assert np.array_equal(dataset.train.labels, labels[train])
    assert np.array_equal(dataset.validation.labels, labels[validation])
    assert (np.diff(train) > 0).all(), "training images left the order of the file"
    assert zlib.crc32(validation.astype("<i4")) == VALIDATION_CRC[dataset.name]


def test_no_test_image_is_a_training_image(raw):
    train = {image.tobytes() for image in raw["train"][0]}
    assert not any(image.tobytes() in train for image in raw["t10k"][0])


def test_every_split_is_scaled_alike_and_once(dataset, raw):
    scaled = np.array([value / 255 for value in range(256)], dtype=np.float32)
    pixels, labels = raw["t10k"]
    assert np.array_equal(dataset.test.images, scaled[pixels])
    assert np.array_equal(dataset.test.labels, labels)
    pixels, _ = raw["train"]
    for split in (dataset.train, dataset.validation):
        original = pixels[indices_in(pixels, split)]
        assert np.array_equal(split.images, scaled[original])


def test_scaled_images_are_refused():
    with pytest.raises(TypeError, match="unscaled uint8, not float32") as caught:
        data._make_split(np.ones((2, 28, 28), np.float32), np.zeros(2, np.uint8))
    assert_one_sentence(caught.value)


def test_validation_is_stratified(dataset):
    train, _ = CLASS_COUNTS[dataset.name]
    share = np.array(train) * 5_000 / 60_000
    assert (np.abs(np.bincount(dataset.validation.labels) - share) < 1).all()


def test_the_split_is_the_same_in_every_call(dataset):
    state = np.random.get_state()  # noqa: NPY002
    try:
        np.random.seed(123)  # noqa: NPY002
        again = data.load(dataset.name)
    finally:
        np.random.set_state(state)  # noqa: NPY002
    for split, other in zip(
        (dataset.train, dataset.validation, dataset.test),
        (again.train, again.validation, again.test),
        strict=True,
    ):
        assert np.array_equal(split.images, other.images)
        assert np.array_equal(split.labels, other.labels)


def test_arrays_and_attributes_are_locked(dataset):
    small = dataset.subset(100)
    for split in (dataset.train, dataset.validation, dataset.test, small.train):
        assert not split.images.flags.writeable
        assert not split.labels.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            split.images[0, 0, 0] = 0.5
        with pytest.raises(ValueError, match="read-only"):
            split.labels[0] = 1
        with pytest.raises(FrozenInstanceError):
            split.images = None
    with pytest.raises(FrozenInstanceError):
        dataset.train = dataset.test


def test_splits_compare_and_hash_by_identity(dataset):
    assert dataset.train == dataset.train
    assert dataset.train != data.Split(dataset.train.images, dataset.train.labels)
    assert len({dataset, dataset.train, dataset.test}) == 3


def test_a_dataset_prints_sizes_not_pixels(dataset):
    assert "train=<55,000 images>, validation=<5,000 images>" in repr(dataset)
    assert len(repr(dataset)) < 300


def test_loading_needs_no_keras():
    code = (
        "import runpy, sys; "
        "module = runpy.run_path('helpers/data.py'); "
        "assert len(module['load']('mnist').train) == 55_000; "
        "assert 'keras' not in sys.modules and 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# ------------------------------------------------------------------ any size


def synthetic(class_counts: list[int]) -> data.Dataset:
    """Build a data set whose pixel (0, 0) numbers the training images."""
    labels = np.repeat(np.arange(len(class_counts)), class_counts).astype(np.int32)
    labels = np.random.default_rng(0).permutation(labels)
    images = np.zeros((len(labels), 28, 28), np.float32)
    images[:, 0, 0] = np.arange(len(labels))
    splits = [data.Split(images.copy(), labels.copy()) for _ in range(3)]
    return data.Dataset("synthetic", tuple(map(str, range(len(class_counts)))), *splits)


SYNTHETIC = synthetic([90, 30, 60, 21, 9])


@settings(deadline=None)
@given(n=st.integers(5, 210), seed=st.integers(0, 2**32 - 1))
def test_any_subset_is_stratified_seeded_ordered_and_without_repeats(n, seed):
    subset = SYNTHETIC.subset(n, seed)
    indices = subset.train.images[:, 0, 0].astype(int)
    assert len(subset.train) == n
    assert (np.diff(indices) > 0).all()
    assert np.array_equal(subset.train.labels, SYNTHETIC.train.labels[indices])
    share = np.bincount(SYNTHETIC.train.labels) * n / 210
    assert (np.abs(np.bincount(subset.train.labels, minlength=5) - share) < 1).all()
    again = SYNTHETIC.subset(n, seed)
    assert np.array_equal(again.train.images, subset.train.images)
    assert subset.validation is SYNTHETIC.validation
    assert subset.test is SYNTHETIC.test


@settings(deadline=None)
@given(validation=st.integers(5, 205))
def test_any_validation_size_parts_the_training_images(validation):
    labels = SYNTHETIC.train.labels.astype(np.uint8)
    pixels = np.zeros((210, 28, 28), np.uint8)
    pixels[:, 0, 0] = np.arange(210)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "_read_files", lambda name: [(pixels, labels)] * 2)
        patch.setitem(data.CLASS_NAMES, "mnist", tuple("01234"))
        dataset = data.load("mnist", validation)
    assert len(dataset.validation) == validation
    both = [*dataset.train.images[:, 0, 0], *dataset.validation.images[:, 0, 0]]
    assert sorted(np.rint(np.array(both) * 255)) == list(range(210))
    share = np.bincount(labels) * validation / 210
    found = np.bincount(dataset.validation.labels, minlength=5)
    assert (np.abs(found - share) < 1).all()


@pytest.mark.parametrize("n", [10, 11, 15, 1_000, 54_999, 55_000])
def test_subsets_of_real_data_hold_every_class(dataset, n):
    subset = dataset.subset(n)
    share = np.bincount(dataset.train.labels) * n / 55_000
    counts = np.bincount(subset.train.labels)
    assert len(counts) == 10
    assert (counts > 0).all()
    assert (np.abs(counts - share) < 1).all()
    assert (subset.name, subset.class_names) == (dataset.name, dataset.class_names)
    assert len(dataset.train) == 55_000


def test_every_split_is_mapped_and_labels_stay(dataset):
    doubled = dataset.map(lambda images: 2 * images)
    for name in ("train", "validation", "test"):
        before, after = getattr(dataset, name), getattr(doubled, name)
        np.testing.assert_array_equal(after.images, 2 * before.images)
        assert after.labels is before.labels
    assert doubled.class_names == dataset.class_names


def test_another_seed_draws_another_subset(dataset):
    default, zero, one = (dataset.subset(1_000, *seed) for seed in ((), (0,), (1,)))
    assert np.array_equal(default.train.images, zero.train.images)
    assert not np.array_equal(zero.train.images, one.train.images)


@pytest.mark.parametrize("n", [-1, 0, 9, 55_001, 100.0, 0.1, None, True])
def test_a_subset_out_of_range_is_refused(dataset, n):
    with pytest.raises(ValueError, match="from 10 to 55,000, not") as caught:
        dataset.subset(n)
    assert_one_sentence(caught.value)


# ------------------------------------------------------------------ wrong calls


@pytest.mark.parametrize("wrong", ["cifar", "MNIST", "fashion-mnist", "", None])
def test_an_unknown_name_is_refused(wrong):
    known = "choose 'mnist' or 'fashion_mnist' or 'cifar10'"
    with pytest.raises(ValueError, match=known) as caught:
        data.load(wrong)
    assert repr(wrong) in str(caught.value)
    assert_one_sentence(caught.value)


@pytest.mark.parametrize("validation", [-1, 0, 9, 59_991, 60_000, 0.1, None])
def test_a_validation_size_out_of_range_is_refused(validation):
    with pytest.raises(ValueError, match="from 10 to 59,990, not") as caught:
        data.load("mnist", validation=validation)
    assert_one_sentence(caught.value)


@pytest.mark.parametrize("validation", [10, 59_990])
def test_extreme_validation_sizes_leave_every_class_on_both_sides(validation):
    dataset = data.load("mnist", validation)
    assert len(dataset.validation) == validation
    assert len(dataset.train) == 60_000 - validation
    for split in (dataset.train, dataset.validation):
        assert set(split.labels) == set(range(10))


# ------------------------------------------------------------------ damaged files


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """Point the loader at a copy of data/ that a test may damage."""
    folder = tmp_path / "data"
    (folder / "mnist").mkdir(parents=True)
    for file in ("SHA256SUMS", *(file for file in RAW_MD5 if file.startswith("mnist"))):
        shutil.copy(ROOT / "data" / file, folder / file)
    monkeypatch.setattr(data, "DATA", folder)
    assert len(data.load("mnist").train) == 55_000
    return folder


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def test_a_damaged_file_is_named_with_the_remedy(copy):
    damages = {
        "flipped": lambda path: flip(path, path.stat().st_size // 2),
        "flipped where gzip would not notice": lambda path: flip(path, 4),
        "flipped at the end": lambda path: flip(path, -1),
        "cut short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
        "half": lambda path: path.write_bytes(path.read_bytes()[:4_000]),
        "empty": lambda path: path.write_bytes(b""),
        "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    }
    for path in sorted((copy / "mnist").iterdir()):
        intact = path.read_bytes()
        for damage in damages.values():
            damage(path)
            with pytest.raises(ValueError, match="damaged or cut short") as caught:
                data.load("mnist")
            assert f"data/mnist/{path.name} " in str(caught.value)
            assert "`git checkout -- data`" in str(caught.value)
            assert_one_sentence(caught.value)
            path.write_bytes(intact)
    assert len(data.load("mnist").train) == 55_000


def test_exchanged_files_are_noticed(copy):
    labels = copy / "mnist" / "train-labels-idx1-ubyte.gz"
    shutil.copy(copy / "mnist" / "t10k-labels-idx1-ubyte.gz", labels)
    with pytest.raises(ValueError, match="train-labels.* damaged"):
        data.load("mnist")


@pytest.mark.parametrize(
    "file", [*(file for file in RAW_MD5 if file.startswith("mnist")), "SHA256SUMS"]
)
def test_a_missing_file_is_named_with_the_remedy(copy, file, monkeypatch):
    monkeypatch.setattr(data, "_download", lambda name: pytest.fail("downloads"))
    (copy / file).unlink()
    with pytest.raises(FileNotFoundError, match=f"data/{file} is missing") as caught:
        data.load("mnist")
    assert "`git checkout -- data`" in str(caught.value)
    assert_one_sentence(caught.value)


def test_a_missing_folder_is_a_missing_file(copy):
    with pytest.raises(FileNotFoundError, match="data/fashion_mnist/train-images"):
        data.load("fashion_mnist")


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_the_remedy_heals(copy):
    def git(*arguments):
        outside = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        subprocess.run(["git", *arguments], cwd=copy.parent, env=outside, check=True)

    git("init", "--quiet")
    git("add", "data")
    flip(copy / "mnist" / "t10k-images-idx3-ubyte.gz", 1_000)
    (copy / "SHA256SUMS").unlink()
    with pytest.raises(FileNotFoundError) as caught:
        data.load("mnist")
    program, *arguments = str(caught.value).split("`")[1].split()
    assert program == "git"
    git(*arguments)
    assert len(data.load("mnist").test) == 10_000


IDX = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3]) + bytes(range(6))


def test_idx_is_parsed():
    array = data._parse_idx(IDX, 3)
    assert array.tolist() == [[[0, 1, 2]], [[3, 4, 5]]]
    assert array.dtype == np.uint8


@pytest.mark.parametrize(
    "wrong",
    [
        IDX[:-1],
        IDX + b"\0",
        b"\0\0\x08\x01" + IDX[4:],
        b"\0\0\x0d\x03" + IDX[4:],
        b"\1" + IDX[1:],
    ],
    ids=["short", "long", "dimensions", "type", "magic"],
)
def test_what_is_not_idx_is_refused(wrong):
    with pytest.raises(ValueError, match="no IDX file") as caught:
        data._parse_idx(wrong, 3)
    assert_one_sentence(caught.value)


@pytest.mark.parametrize("length", [0, 1, 4, 10, 15])
def test_an_incomplete_idx_header_is_refused(length):
    with pytest.raises(ValueError):
        data._parse_idx(IDX[:length], 3)


# ------------------------------------------------------------------ no data folder


@pytest.fixture
def no_folder(tmp_path, monkeypatch):
    """Act as if helpers/ had been copied without data/."""
    monkeypatch.setattr(data, "DATA", tmp_path / "data")


def test_without_the_folder_keras_provides_the_same(
    no_folder, monkeypatch, name, raw, dataset
):
    import keras

    loader = getattr(keras.datasets, name)
    parts = tuple((p, y.astype(np.uint8)) for p, y in (raw["train"], raw["t10k"]))
    monkeypatch.setattr(loader, "load_data", lambda: parts)
    fallback = data.load(name)
    for split in ("train", "validation", "test"):
        ours, theirs = getattr(dataset, split), getattr(fallback, split)
        assert np.array_equal(ours.images, theirs.images)
        assert np.array_equal(ours.labels, theirs.labels)
        assert theirs.labels.dtype == np.int32
    assert parts[0][0].flags.writeable, "the arrays of Keras must stay as they were"


def test_without_folder_and_network_one_sentence_says_so(no_folder, monkeypatch, name):
    import keras

    def unreachable():
        raise Exception("URL fetch failure on https://example.org/x: None -- unknown")

    monkeypatch.setattr(getattr(keras.datasets, name), "load_data", unreachable)
    with pytest.raises(ConnectionError, match="not in data/") as caught:
        data.load(name)
    assert name in str(caught.value)
    assert "clone the whole repository" in str(caught.value)
    assert_one_sentence(caught.value)


def test_cifar_10_comes_from_keras_with_colours_and_flat_labels(monkeypatch, capsys):
    import keras

    draw = np.random.default_rng(0)
    shape = (32, 32, 3)
    parts = tuple(
        (
            draw.integers(0, 256, (n, *shape), dtype=np.uint8),
            np.resize(np.arange(10, dtype=np.uint8), n)[:, None],
        )
        for n in (200, 50)
    )
    monkeypatch.setattr(
        keras.datasets.cifar10, "load_data", lambda: print("1% of it") or parts
    )
    cifar = data.load("cifar10", validation=40)
    assert capsys.readouterr().out == ""  # a notebook would keep it
    assert [len(split) for split in (cifar.train, cifar.validation, cifar.test)] == [
        160, 40, 50,
    ]  # fmt: skip
    assert cifar.test.images.shape == (50, *shape)
    assert cifar.test.labels.shape == (50,)
    np.testing.assert_allclose(cifar.test.images * 255, parts[1][0], atol=1e-4)
    assert cifar.class_names[cifar.test.labels[3]] == "Cat"


# ------------------------------------------------------------------ a folder of images


@pytest.fixture
def photos(tmp_path):
    """Two classes of small pictures: the red ones and the blue ones."""
    from PIL import Image

    for name, count, channel in (("blue", 14, 2), ("red", 28, 0)):
        (tmp_path / name).mkdir()
        for number in range(count):
            pixels = np.zeros((9, 12, 3), dtype=np.uint8)
            pixels[..., channel] = 100 + number
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    return tmp_path


def test_a_folder_of_images_is_scaled_resized_and_split_by_class(photos):
    found = data.load_folder(photos, image_size=(6, 8))
    assert found.class_names == ("blue", "red")
    splits = found.train, found.validation, found.test
    assert [list(np.bincount(split.labels)) for split in splits] == [
        [10, 20], [2, 4], [2, 4],
    ]  # fmt: skip
    for split in splits:
        assert split.images.shape == (len(split), 6, 8, 3)
        assert split.images.dtype == np.float32
        blue, red = split.images[..., 2].max(axis=(1, 2)), split.images[..., 0]
        assert np.array_equal(blue == 0, split.labels == 1)
        assert np.array_equal(red.max(axis=(1, 2)) == 0, split.labels == 0)
    # Every picture has its own brightness: none is lost, none stands twice.
    shades = np.concatenate([split.images.max(axis=(1, 2, 3)) for split in splits])
    expected = [*range(100, 114), *range(100, 128)]
    assert sorted(np.rint(shades * 255)) == sorted(expected)
    again = data.load_folder(photos, image_size=(6, 8))
    assert np.array_equal(again.test.images, found.test.images)


def empty_a_class(folder):
    (folder / "green").mkdir()


def leave_one_class(folder):
    shutil.rmtree(folder / "red")


def damage_an_image(folder):
    (folder / "red" / "3.png").write_bytes(b"no picture")


def cut_an_image(folder):
    path = folder / "red" / "3.png"
    path.write_bytes(path.read_bytes()[:40])


def empty_an_image(folder):
    (folder / "red" / "3.png").write_bytes(b"")


def link_to_nowhere(folder):
    (folder / "red" / "3.png").unlink()
    (folder / "red" / "3.png").symlink_to("gone.png")


def leave_a_pipe(folder):
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes among the files of this system")
    os.mkfifo(folder / "red" / "pipe.png")


def leave_notes_of_a_mac(folder):
    (folder / "red" / "._3.png").write_bytes(b"\0\5\x16\7")


def open_in_jupyter(folder):
    (folder / "red" / ".ipynb_checkpoints").mkdir()
    shutil.copy(folder / "red" / "3.png", folder / "red" / ".ipynb_checkpoints")


def name_in_latin_1(folder):
    (folder / "red" / "3.png").rename(folder / "red" / os.fsdecode(b"caf\xe9.png"))


def save_as_webp(folder):
    for path in (folder / "red").iterdir():
        path.rename(path.with_suffix(".webp"))


def save_all_as_webp(folder):
    for path in folder.glob("*/*.png"):
        path.rename(path.with_suffix(".webp"))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (shutil.rmtree, "there is no folder"),
        (empty_a_class, "class 'green' .* has 0 images .*it needs at least 7"),
        (leave_one_class, "has 1 sub-folders: it needs one a class"),
        (damage_an_image, r"red/3\.png could not be read \(Unknown image.*\): remove"),
        (cut_an_image, r"red/3\.png could not be read \(.*PNG\): remove or replace it"),
        (empty_an_image, r"red/3\.png could not be read \(it is empty\)"),
        (link_to_nowhere, r"red/3\.png could not be read \(it links to what does not"),
        (leave_a_pipe, r"red.pipe\.png is no file, but a pipe or a device: remove it"),
        (leave_notes_of_a_mac, r"red.\._3\.png is hidden, .*remove it"),
        (open_in_jupyter, r"red.\.ipynb_checkpoints.3\.png is hidden"),
        (name_in_latin_1, r"caf.*png' could not be read \(its name is not in UTF-8\)"),
        (save_as_webp, r"class 'red' .* has 0 images \(JPEG, PNG, BMP, GIF\)"),
        (save_all_as_webp, r"hold no images \(JPEG, PNG, BMP, GIF\)"),
    ],
)
def test_a_folder_that_cannot_be_used_says_why(photos, harm, message):
    harm(photos)
    with pytest.raises((FileNotFoundError, ValueError), match=message) as caught:
        data.load_folder(photos)
    assert_one_sentence(caught.value)


@pytest.mark.parametrize("closed", [".", "red", "red/more"])
def test_a_folder_that_cannot_be_entered_is_named(photos, monkeypatch, closed):
    """As a user who may not: root may enter any."""
    (photos / "red" / "more").mkdir()
    shutil.move(photos / "red" / "3.png", photos / "red" / "more")
    at, may = photos / closed, os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != at and may(path, mode))
    with pytest.raises(ValueError, match=f"{at} could not be read .permission") as said:
        data.load_folder(photos)
    assert_one_sentence(said.value)


def test_linked_folders_are_read_and_loops_refused(photos, tmp_path_factory):
    expected = data.load_folder(photos, (8, 8))
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for path in sorted((photos / "red").iterdir())[3:]:
        path.rename(elsewhere / path.name)
    (photos / "red" / "more").symlink_to(elsewhere, target_is_directory=True)
    found = data.load_folder(photos, (8, 8))
    assert len(found.train) == len(expected.train)
    assert len(found.test) == len(expected.test)
    (photos / "green").symlink_to("gone", target_is_directory=True)
    with pytest.raises(ValueError, match="green could not be read .it links to what"):
        data.load_folder(photos, (8, 8))
    (photos / "green").rename(photos / ".green")  # as an editor's lock may be
    assert data.load_folder(photos, (8, 8)).class_names == ("blue", "red")
    (elsewhere / "again").symlink_to(photos, target_is_directory=True)
    with pytest.raises(ValueError, match="links to a folder that it stands in") as said:
        data.load_folder(photos, (8, 8))
    assert_one_sentence(said.value)


def test_a_split_is_of_arrays():
    with pytest.raises(ValueError, match="the images of a split must be an array"):
        data.Split([[1.0]], np.zeros(1, int))


def test_the_folder_one_stands_in_has_its_name(photos, monkeypatch):
    monkeypatch.chdir(photos)
    assert data.load_folder(".", (8, 8)).name == photos.name


def test_a_share_that_leaves_a_class_untrained_is_refused(photos):
    for folder in photos.iterdir():
        for path in sorted(folder.iterdir())[3:]:
            path.unlink()
    with pytest.raises(ValueError, match="has 3 images .*at least 5 to be split"):
        data.load_folder(photos, (8, 8), share=0.4)


def test_a_share_that_is_rounded_leaves_no_class_out(tmp_path):
    from PIL import Image

    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        for number in range(10):
            Image.new("RGB", (4, 4)).save(tmp_path / name / f"{number}.png")
    with pytest.raises(ValueError, match="too few images: with a share of 0.45"):
        data.load_folder(tmp_path, (4, 4), share=0.45)
    assert len(data.load_folder(tmp_path, (4, 4), share=0.4).train) == 6


@pytest.mark.parametrize("folder", [None, 3, b"images", ["images"]])
def test_a_folder_that_is_no_path_is_refused(folder):
    with pytest.raises(ValueError, match="the folder must be a path") as caught:
        data.load_folder(folder)
    assert_one_sentence(caught.value)


def test_the_first_of_several_damaged_images_is_named(photos):
    for name in ("2.png", "7.png", "9.png"):
        (photos / "red" / name).write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"red.2\.png could not be read"):
        data.load_folder(photos)


@pytest.mark.parametrize("name", [".ipynb_checkpoints", ".git"])
def test_hidden_folders_are_no_classes(photos, name):
    (photos / name).mkdir()
    (photos / name / "1.png").write_bytes(b"no picture")
    found = data.load_folder(photos, image_size=(6, 8))
    assert found.class_names == ("blue", "red")
    counts = np.bincount(np.concatenate([s.labels for s in splits_of(found)]))
    assert list(counts) == [14, 28]


def test_pixels_are_those_of_pil(photos):
    from PIL import Image

    found = data.load_folder(photos, image_size=(9, 12))
    images = np.concatenate([split.images for split in splits_of(found)])
    kept = {image.tobytes() for image in np.rint(images * 255).astype(np.uint8)}
    assert kept == {
        np.asarray(Image.open(path).convert("RGB")).tobytes()
        for path in photos.glob("*/*.png")
    }


def splits_of(dataset):
    return dataset.train, dataset.validation, dataset.test


@pytest.mark.parametrize(
    "size", [84, (84,), (84, 0), (84.0, 84), (84, "84"), None, (8, 2**31)]
)
def test_a_wrong_size_is_not_blamed_on_the_pictures(photos, size):
    with pytest.raises(ValueError, match="image size must be height and width") as it:
        data.load_folder(photos, image_size=size)
    assert_one_sentence(it.value)


def test_a_size_may_be_a_list_of_numpys_whole_numbers(photos):
    found = data.load_folder(photos, image_size=[np.int64(6), np.int32(8)])
    assert found.train.images.shape[1:] == (6, 8, 3)


@pytest.mark.parametrize("share", [0, 0.5, -1, "0.1", None])
def test_a_share_that_leaves_nothing_is_refused(photos, share):
    with pytest.raises(ValueError, match="between 0 and 0.5"):
        data.load_folder(photos, share=share)


def test_a_bmp_with_a_table_of_colours_is_refused(tmp_path):
    from PIL import Image

    grey = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(8):
            grey.save(tmp_path / name / f"{index}.bmp")
    read = data.load_folder(tmp_path, image_size=(8, 8)).train.images[0, ..., 0]
    assert np.allclose(255 * read, np.asarray(grey), atol=1e-3)
    red = Image.new("RGB", (8, 8), (200, 30, 30))
    red.convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "a/0.bmp")
    with pytest.raises(ValueError, match=r"0\.bmp is a BMP with a table of colours"):
        data.load_folder(tmp_path, image_size=(8, 8))


def test_map_takes_tensors_and_names_what_is_no_image():
    import keras  # takes seconds, and most tests here do without

    dataset = data.load("mnist", 100)
    layer = keras.layers.Rescaling(2.0)
    assert np.array_equal(
        dataset.map(layer).test.images, 2 * dataset.test.images, equal_nan=False
    )
    for change in (lambda images: None, lambda images: images[:5]):
        with pytest.raises(ValueError, match="the change returned .* end in `return`"):
            dataset.map(change)
