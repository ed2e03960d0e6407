"""Figures and tables: what is saved, what is displayed, what can be told apart."""

import base64
import io
import re
from itertools import combinations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from contrast import contrast, luminance
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from matplotlib.collections import PolyCollection
from PIL import Image

from helpers import claims, plotting, showing


@pytest.fixture(autouse=True)
def style():
    mpl.use("Agg")
    with mpl.rc_context():
        plotting.use_style()
        yield
    plt.close("all")


@pytest.fixture
def shell(tmp_path_factory, monkeypatch):
    """Run inside IPython, as a notebook's cell does."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


def runs(last=(0.90, 0.91, 0.97), seeds=5):
    """Make the frame of `train` with three arms that end at these accuracies."""
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "model": model,
            "seed": seed,
            "epoch": float(epoch),
            "updates": 10 * epoch,
            **{
                f"{part}_{metric}": level + epoch / 100 + 0.005 * random.normal()
                for part in ("train", "validation")
                for metric, level in (("loss", 1 - accuracy), ("accuracy", accuracy))
            },
        }
        for model, accuracy in zip(plotting.COLOURS, last, strict=True)
        for seed in range(seeds)
        for epoch in (1, 2, 3)
    )


# --- show ----------------------------------------------------------------------------


def rising_line():
    figure, axis = plt.subplots(figsize=(3, 2))
    axis.plot([0, 1])
    return figure


def test_show_saves_and_displays_one_png_with_its_alternative_text(tmp_path, shell):
    path, figure = tmp_path / "line.png", rising_line()
    with capture_output() as captured:
        showing.show(figure, path, "A line rises from 0 to 1.", "A line.")

    output, caption = captured.outputs
    assert captured.stdout == captured.stderr == ""
    assert caption.data == {"text/markdown": "*A line.*", "text/plain": "A line."}
    assert output.metadata["image/png"]["caption"] == "A line."
    assert set(output.data) == {"image/png", "text/plain"}
    assert output.data["text/plain"] == "Figure: A line rises from 0 to 1."
    assert output.metadata["image/png"]["alt"] == "A line rises from 0 to 1."
    png = path.read_bytes()
    assert base64.b64decode(output.data["image/png"]) == png
    image = Image.open(io.BytesIO(png)).convert("RGB")
    assert image.width >= 1.5 * output.metadata["image/png"]["width"]  # sharp
    assert len(image.getcolors(1 << 20)) > 2  # something is drawn
    assert not plt.fignum_exists(figure.number)


def test_a_saved_figure_is_shown_again_as_it_was(tmp_path, shell):
    path, figure = tmp_path / "line.png", rising_line()
    with capture_output() as captured:
        showing.show(figure, path, "A line rises from 0 to 1.", "A line.")
        showing.show_again(path, "A line rises from 0 to 1.", "A line.")
    first, caption, again, same_caption = captured.outputs
    for one, other in ((first, again), (caption, same_caption)):
        assert one.data == other.data
        assert one.metadata == other.metadata


def test_a_figure_that_was_never_saved_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no figure none.png in"):
        showing.show_again(tmp_path / "none.png", "Nothing.", "None.")


def test_the_same_figure_has_the_same_bytes(tmp_path, shell):
    with capture_output():
        for name in ("one.png", "two.png"):
            figure = plotting.learning_curves(runs())
            showing.show(figure, tmp_path / name, "Curves.", "All.")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


# --- tables --------------------------------------------------------------------------


def test_a_table_is_saved_unrounded_and_displayed_formatted(tmp_path, shell):
    frame = pd.DataFrame(
        {"accuracy": [2 / 3, 0.1 + 0.2], "epochs": [3, 10]},
        index=pd.Index(["batch norm", "plain"], name="model"),
    )
    path = tmp_path / "results.csv"
    with capture_output() as captured:
        showing.show_table(
            frame, path, "Accuracy < 1 & epochs.", {"accuracy": "{:.1%}"}
        )

    saved = pd.read_csv(path, index_col="model", dtype=str)
    pd.testing.assert_frame_equal(
        saved.map(float), frame.astype(float), check_exact=True
    )
    (output,) = captured.outputs
    text, page = output.data["text/plain"], output.data["text/html"]
    assert text.startswith("Accuracy < 1 & epochs.\n")
    assert "66.7%" in text
    assert "<caption>Accuracy &lt; 1 &amp; epochs.</caption>" in page
    for cell in ("66.7%", "30.0%", "10"):
        assert f">{cell}</td>" in page
    for heading in ("accuracy", "epochs", "batch norm", "plain"):
        assert f">{heading}</th>" in page
    assert frame["accuracy"].dtype == float  # the caller's frame is left alone


def test_a_table_may_have_several_levels_of_headings(tmp_path, shell):
    levels = pd.MultiIndex.from_product([["plain"], [16, 32]], names=["model", "batch"])
    frame = pd.DataFrame({"accuracy": [0.5, 0.75]}, index=levels)
    for table in (frame, frame.unstack("batch")):
        with capture_output() as captured:
            showing.show_table(table, tmp_path / "t.csv", "Two levels.")
        soup = BeautifulSoup(captured.outputs[0].data["text/html"], "html.parser")
        assert {"plain", "16", "32"} <= {cell.text for cell in soup.select("th")}


def test_a_table_shows_text_as_it_is(tmp_path, shell):
    frame = pd.DataFrame({"layer": ["<lambda>"]}, index=["a & b"])
    with capture_output() as captured:
        showing.show_table(frame, tmp_path / "layers.csv", "Layers.")
    page = captured.outputs[0].data["text/html"]
    assert "&lt;lambda&gt;" in page
    assert "a &amp; b" in page


def test_a_column_of_verdicts_wears_their_bars_and_no_coloured_text(tmp_path, shell):
    frame = pd.DataFrame(
        {"verdict": ["supported", "undecided"], "stands?": ["yes", "undecided"]}
    )
    with capture_output() as captured:
        showing.show_table(frame, tmp_path / "t.csv", "Two verdicts.")
    page = captured.outputs[0].data["text/html"]
    soup = BeautifulSoup(page, "html.parser")
    for row, verdict in zip(
        soup.select("tbody tr"), ("supported", "undecided"), strict=True
    ):
        cell, other = row.select("td")
        assert f"solid {claims.VERDICT_COLOURS[verdict]};" in cell["style"]
        assert "border" not in other["style"]
    # On a dark page a dark colour would be illegible; a word among others is none.
    assert not re.search(r"(?<!-)color:", page)


def test_a_tables_words_are_left_aligned_without_a_style_sheet(tmp_path, shell):
    frame = pd.DataFrame(
        {"effect": ["+1.2 points"], "finding": ["less"], "claim": ["a word " * 6]},
        index=pd.Index(["a sentence that is longer than thirty"], name="sentence"),
    )
    with capture_output() as captured:
        showing.show_table(frame, tmp_path / "t.csv", "Alignment.")
    page = captured.outputs[0].data["text/html"]
    assert "<style" not in page  # Jupyter drops it until the notebook is trusted
    soup = BeautifulSoup(page, "html.parser")
    effect, finding, claim = (cell["style"] for cell in soup.select("td"))
    assert effect == "white-space: nowrap"
    assert finding == "text-align: left"
    assert claim == "min-width: 11em; text-align: left"
    assert soup.select_one("tbody th")["style"] == "min-width: 11em; text-align: left"
    heads = [head.get("style") for head in soup.select("th.col_heading")]
    assert heads == [None, "text-align: left", "text-align: left"]


def test_a_column_of_a_table_may_link_and_its_text_stays(tmp_path, shell):
    frame = pd.DataFrame({"section": ["a <b>", "c"], "effect": [1.0, 2.0]})
    path = tmp_path / "t.csv"
    links = {"section": ['x.ipynb#A-"1"', "y.ipynb"]}
    with capture_output() as captured:
        showing.show_table(frame, path, "Links.", links=links)
    (output,) = captured.outputs
    page, text = output.data["text/html"], output.data["text/plain"]
    assert '<a href="x.ipynb#A-&quot;1&quot;">a &lt;b&gt;</a>' in page
    assert '<a href="y.ipynb">c</a>' in page
    assert "a <b>" in text
    assert "href" not in text
    with capture_output() as captured:
        showing.show_table(frame.set_index("section"), path, "Links.", links=links)
    (output,) = captured.outputs
    page, text = output.data["text/html"], output.data["text/plain"]
    assert '<a href="x.ipynb#A-&quot;1&quot;">a &lt;b&gt;</a></th>' in page
    assert "href" not in text
    assert "href" not in path.read_text()


# --- learning curves -----------------------------------------------------------------


def test_the_bands_are_the_intervals_of_the_verdicts():
    frame = runs()
    figure = plotting.learning_curves(frame)
    columns = ["train_loss", "validation_loss", "train_accuracy", "validation_accuracy"]
    for axis, column in zip(figure.axes, columns, strict=True):
        bands = [a for a in axis.collections if isinstance(a, PolyCollection)]
        for band, model in zip(bands, plotting.COLOURS, strict=True):
            corners = pd.DataFrame(band.get_paths()[0].vertices, columns=["x", "y"])
            drawn = corners.groupby("x")["y"].agg(["min", "max"]).to_numpy()
            values = frame[frame["model"] == model].groupby("epoch")[column]
            expected = np.array([claims.t_interval(run) for _, run in values])
            np.testing.assert_allclose(drawn, expected)


def test_dashes_tell_the_arms_apart_too():
    figure = plotting.learning_curves(runs())
    for axis in figure.axes:
        means = [line for line in axis.lines if line.get_linewidth() > 2]
        dashed = {line.get_color(): line.is_dashed() for line in means}
        assert dashed == {
            colour: bool(plotting.DASHES[model])
            for model, colour in plotting.COLOURS.items()
        }
        assert len(set(dashed.values())) == 2


def labels(figure):
    """Each axis' labels with the rectangles they take in the finished figure."""
    figure.draw_without_rendering()
    return [
        {text.get_text(): text.get_window_extent() for text in axis.texts}
        for axis in figure.axes
    ]


@pytest.mark.parametrize(
    "last", [(0.9, 0.9, 0.9), (0.9, 0.901, 0.97), (0.97, 0.8, 0.6)]
)
def test_labels_stand_apart_and_inside_the_figure(last):
    figure = plotting.learning_curves(runs(last))
    for axis, found in zip(figure.axes, labels(figure), strict=True):
        assert set(found) == set(plotting.COLOURS)
        for one, other in combinations(found.values(), 2):
            assert not one.overlaps(other)
        for box in found.values():
            assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
            for neighbour in set(figure.axes) - {axis}:
                assert not box.overlaps(neighbour.get_window_extent())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("loss", [np.nan, np.inf])
@pytest.mark.parametrize("lost", ["epoch > 0", "epoch > 1", "epoch > 1 and seed == 2"])
def test_runs_that_diverged_do_not_spoil_the_others(loss, lost):
    frame = runs()
    lost = frame.query(f"model == 'plain' and {lost}").index
    frame.loc[lost, ["train_loss", "validation_loss"]] = loss
    figure = plotting.learning_curves(frame)
    for found in labels(figure):
        for name in ("batch norm", "layer norm"):
            assert np.isfinite(found[name].extents).all()


@pytest.mark.filterwarnings("error")
def test_single_runs_are_drawn_through_measurements_that_skip_a_metric():
    frame = runs()
    frame.loc[frame["epoch"] == 2, ["train_loss", "train_accuracy"]] = np.nan
    figure = plotting.learning_curves(frame)
    thin = [line for line in figure.axes[0].lines if line.get_linewidth() < 1]
    assert len(thin) == 15
    assert all(np.isfinite(line.get_ydata()).all() for line in thin)


@pytest.mark.filterwarnings("error")
def test_one_seed_draws_lines_without_bands():
    figure = plotting.learning_curves(runs(seeds=1))
    assert all(len(found) == 3 for found in labels(figure))


# --- the palette ---------------------------------------------------------------------


def lightness(colour):
    """CIE L* above .9 % luminance, which is all a palette needs."""
    return 116 * np.cbrt(luminance(colour)) - 16


@pytest.mark.parametrize("colour", plotting.COLOURS.values(), ids=plotting.COLOURS)
def test_labels_in_an_arms_colour_are_readable_on_white(colour):
    assert contrast(colour, "white") >= 4.5


@pytest.mark.parametrize(
    "colour", claims.VERDICT_COLOURS.values(), ids=claims.VERDICT_COLOURS
)
def test_white_is_readable_on_a_verdicts_colour(colour):
    assert contrast(colour, "white") >= 4.5


def test_arms_stay_apart_on_a_grey_print():
    for one, other in combinations(plotting.COLOURS, 2):
        colours = plotting.COLOURS[one], plotting.COLOURS[other]
        difference = abs(lightness(colours[0]) - lightness(colours[1]))
        assert difference >= 8, (one, other)
    assert len(set(map(str, plotting.DASHES.values()))) == len(plotting.DASHES)


# Machado, Oliveira and Fernandes (2009), IEEE TVCG 15(6): severity 1, on linear RGB.
DEFICIENCIES = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def as_seen(colour, deficiency):
    """CIELAB coordinates of a colour as someone with the deficiency sees it."""
    rgb = np.array(mpl.colors.to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(DEFICIENCIES[deficiency]) @ linear, 0, 1)
    to_xyz = [
        [0.4124, 0.3576, 0.1805],
        [0.2126, 0.7152, 0.0722],
        [0.0193, 0.1192, 0.9505],
    ]
    ratio = np.array(to_xyz) @ linear / [0.9505, 1, 1.089]
    f = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_arms_stay_apart_with_colour_vision_deficiencies(deficiency):
    for one, other in combinations(plotting.COLOURS.values(), 2):
        difference = as_seen(one, deficiency) - as_seen(other, deficiency)
        # Four times what is just noticeable; dashes and labels tell them apart too.
        assert np.linalg.norm(difference) >= 10, (one, other)


def test_a_model_without_a_colour_is_named():
    frame = runs().replace({"model": {"plain": "dropout"}})
    _, axis = plt.subplots()
    with pytest.raises(ValueError, match="no colour for dropout"):
        plotting.curve(axis, frame, "epoch", "validation_accuracy")


def test_points_are_means_with_the_intervals_of_the_verdicts():
    frame = runs().query("epoch == epoch.max()").assign(place="here")
    _, axis = plt.subplots()
    plotting.points(axis, frame, "place", "validation_accuracy")
    scores = frame.groupby("model")["validation_accuracy"]
    heights = {
        round(y, 9) for line in axis.lines for y in np.atleast_1d(line.get_ydata())
    }
    for _, values in scores:
        for expected in (values.mean(), *claims.t_interval(values)):
            assert round(expected, 9) in heights


@pytest.mark.parametrize("n", [1, 5])
def test_points_may_be_of_one_model_or_of_many(n):
    names, values = [*"abcde"[:n]] * 2, np.arange(2.0 * n)
    frame = pd.DataFrame({"model": names, "place": "here", "accuracy": values})
    _, axis = plt.subplots()
    colours = dict.fromkeys(names, "black")
    plotting.points(axis, frame, "place", "accuracy", colours=colours)
    heights = {round(y, 6) for line in axis.lines for y in np.ravel(line.get_ydata())}
    assert {round(y, 6) for y in frame.groupby("model")["accuracy"].mean()} <= heights


def test_interval_reaches_from_low_to_high():
    values = pd.Series([1.0, 2.0, 4.0])
    _, axis = plt.subplots()
    plotting.interval(axis, values, 0.5, "black")
    (segment,) = axis.collections[0].get_segments()
    np.testing.assert_allclose(segment[:, 0], claims.t_interval(values))
    np.testing.assert_allclose(segment[:, 1], 0.5)


@pytest.mark.parametrize("names", ["ab", "b"])
def test_confusions_leave_the_diagonal_out_and_share_a_scale(names):
    both = {"a": np.array([[90, 1], [2, 80]]), "b": np.array([[9, 7], [0, 8]])}
    tables = {name: both[name] for name in names}
    figure = plotting.confusions(tables, ["cat", "dog"])
    for axis, name in zip(figure.axes, tables, strict=True):
        assert axis.get_title(loc="left") == name or axis.get_title() == name
        mesh = axis.collections[0]
        assert mesh.get_clim() == (0, 7)
        written = sorted(text.get_text() for text in axis.texts)
        assert written == sorted(
            f"{n}" for n in (tables[name][0, 1], tables[name][1, 0])
        )


def test_a_forest_draws_every_claim_with_its_interval_over_the_margin():
    found = pd.DataFrame(
        {
            "statement": ["a", "b", "c"],
            "verdict": ["supported", "no effect", "contradicted"],
            "effect": [2.0, 0.0, -3.0],
            "low": [1.5, -0.1, -3.5],
            "high": [2.5, 0.1, -2.5],
            "margin": [0.5, 1.0, 1.0],
        }
    )
    (axis,) = plotting.forest(found).axes
    assert [text.get_text() for text in axis.get_yticklabels()] == ["a", "b", "c"]
    bars = [line.get_xdata() for line in axis.lines if len(line.get_xdata()) == 2]
    np.testing.assert_allclose(bars, [[3, 5], [-0.1, 0.1], [-3.5, -2.5]])
    dots = [line.get_xdata() for line in axis.lines if len(line.get_xdata()) == 1]
    np.testing.assert_allclose(dots, [[4], [0], [-3]])
    top, bottom = axis.get_ylim()
    assert top > bottom  # the first claim stands at the top


def test_the_style_is_the_same_whatever_the_reader_has_set():
    with mpl.rc_context():
        plotting.use_style()
        clean = dict(mpl.rcParams)
        mpl.rcParams.update({"savefig.bbox": "tight", "figure.figsize": (20, 2)})
        plotting.use_style()
        assert dict(mpl.rcParams) == clean
