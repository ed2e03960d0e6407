"""Build the twin playground: one page that trains two networks in the browser.

The page holds all that it needs: images, engine, settings, and, read from
``helpers.claims``, the rule and how the notebooks' verdicts stand. Where scripts do not
run it shows a trial that this module records.
"""

import base64
import io
import json
import tomllib
import zlib
from collections.abc import Collection, Mapping
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any, cast

import jinja2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from markupsafe import Markup
from PIL import Image
from threadpoolctl import threadpool_limits

from helpers import claims, data, files, plotting
from tools import notebooks, twins

TEMPLATES = Path(__file__).parent / "templates"
PAGE = "playground.html"
TRAIN, VALIDATION, SIDE, GREYS = 2_048, 1_024, 14, 15
# Of a twin, where there is no room for more.
SHORT = {"plain": "plain", "batch": "batch norm", "layer": "layer norm"}
SHORT |= {"bare": "no γ, β"}
# What must hold, for each verdict, of the interval and of the margin's grey band.
MEANS = {
    "supported": "the whole interval lies beyond the band, where twin B does better",
    "contradicted": "the whole interval lies beyond it on the other side",
    "no effect": "the whole interval lies inside the band",
    "undecided": "the interval reaches across an edge of the band",
}
SEEDS = 100  # most that the page says a verdict would need


def settings() -> dict:
    """Return the page's knobs and presets, checked.

    Raises
    ------
    ValueError
        If a preset names a knob, a value or a claim that does not exist.
    """
    path = TEMPLATES / "playground" / "settings.toml"
    found = tomllib.loads(path.read_text(encoding="utf-8"))
    for preset in found["presets"]:
        for name, value in preset["settings"].items():
            knob = found["knobs"].get(name, {})
            if value not in [*knob.get("options", ()), *knob.get("values", ())]:
                raise ValueError(
                    f"{path.name}: the preset {preset['name']!r} sets {name} = "
                    f"{value!r}: choose a knob and one of its values"
                )
        if preset["claim"] and preset["claim"] not in claims.registry().claims:
            raise ValueError(
                f"{path.name}: the preset {preset['name']!r} names the claim "
                f"{preset['claim']!r}: choose a key of claims.toml"
            )
    return found


# --- images --------------------------------------------------------------------------


def greys(images: np.ndarray) -> np.ndarray:
    """Average images of 28 × 28 numbers from 0 to 1 to rows of greys from 0 to 15."""
    pooled = images.reshape(-1, SIDE, 2, SIDE, 2).mean(axis=(2, 4), dtype=np.float64)
    return np.rint(GREYS * pooled).astype(np.uint8).reshape(len(images), -1)


@lru_cache
def small(name: str) -> tuple[data.Split, data.Split]:
    """Return the page's images to train on and to validate with, a row an image."""
    dataset = data.load(name, validation=VALIDATION).subset(TRAIN)
    train, validation = (
        data.Split(greys(split.images) / GREYS, split.labels)
        for split in (dataset.train, dataset.validation)
    )
    return train, validation


@lru_cache
def packed(name: str) -> dict[str, str | int]:
    """Return a set's images as text: two pixels a byte, deflated, in base64."""
    splits = small(name)
    pixels = np.concatenate([split.images for split in splits]).ravel() * GREYS
    pixels = np.rint(pixels).astype(np.uint8)
    pairs = pixels[::2] << 4 | pixels[1::2]
    return {
        "packed": base64.b64encode(zlib.compress(pairs.tobytes(), 9)).decode(),
        "labels": "".join(str(label) for split in splits for label in split.labels),
        "pixels": SIDE**2,
        "train": TRAIN,
    }


# --- rule and record -----------------------------------------------------------------


def rule() -> dict:
    """Return the rule of ``helpers.claims`` as the page's script applies it."""
    return {
        "margins": {unit: claims.MARGINS[unit] for unit in ("accuracy", "factor")},
        "colours": claims.VERDICT_COLOURS,
        "bars": {verdict: claims.bar(verdict) for verdict in claims.VERDICT_COLOURS},
        "quantiles": [_quantile(n) for n in range(2, SEEDS + 1)],
    }


def _quantile(n: int) -> float:
    """Return the t quantile that ``claims.t_interval`` uses for `n` values."""
    values = np.arange(n, dtype=float)
    low, high = claims.t_interval(values)
    error = values.std(ddof=1) / np.sqrt(n)
    return round((high - low) / 2 / error, 9)


def standing(key: str, beside: Collection[str]) -> str:
    """Say, in HTML, how a claim of the notebooks stands on record.

    Parameters
    ----------
    key : the claim's in the registry; none for a question they do not ask.
    beside : names of the pages in the same folder, which can be linked to.
    """
    if not key:
        return "The notebooks try no such claim: a twin and itself are a control."
    claim = claims.registry().claims[key]
    section = claim.section.partition(" (Q")[0]
    place = f"notebook {claim.notebook[:2]}, section {section}"
    if claim.notebook in beside:
        address = claim.link.replace(".ipynb", ".html", 1)
        place = f'<a href="{escape(address)}">{escape(place)}</a>'
    known = claims.results()
    on_record = key in known.index and known.loc[key, "n_replications"] > 1
    verdict = "not on record yet"
    if on_record:
        row = known.loc[key]
        verdict = f"{row['verdict']}, over {int(row['n_replications'])} replications"
    return (
        "<b>In the notebooks</b>, with larger images and networks, the nearest claim "
        f"is “{escape(claim.statement)}”: <b>{verdict}</b> ({place})."
    )


# --- the recorded trial --------------------------------------------------------------


@lru_cache
def recorded() -> dict:
    """Train the twins at the usual settings in NumPy; return picture and card."""
    knobs = settings()["knobs"]
    usual = cast(twins.Settings, {name: knobs[name]["usual"] for name in knobs})
    seeds = range(1, int(usual["seeds"]) + 1)
    images = small(usual["data"])
    with threadpool_limits(1):  # so that sums round alike on any number of cores
        runs = [twins.train(usual, seed, images, checks=seed == 1) for seed in seeds]
    ends = np.array([[run.checks[-1][1] for run in pair] for pair in runs])
    claim = claims.Claim(
        key="playground",
        statement=f"Batch norm is more accurate than no normalization after "
        f"{usual['updates']} updates",
        sentence="",
        notebook="",
        section="",
        measure="",
        claimed="higher",
        unit="accuracy",
        primary=False,
    )
    control, treatment = map(pd.Series, ends.T)
    effects = claim.effect(treatment, control)
    return {**_picture(runs[0], effects, claim.margin), "card": card(claim, effects)}


def card(claim: claims.Claim, effects: pd.Series) -> str:
    """Return the card of a trial, as the page's script writes it."""
    low, high = claims.t_interval(effects)
    verdict = claims.decide(low, high, claim.margin)
    effect, start, end = (
        claims.describe(value, claim.unit) for value in (effects.mean(), low, high)
    )
    margin = claims.describe(claim.margin, claim.unit, sign=False)
    colour = claims.VERDICT_COLOURS[verdict]
    return (
        f'<div class="bn-verdict" style="{claims.bar(verdict)};padding:.5em 1em;'
        'margin:.6em 0;max-width:46em;line-height:1.5">'
        f"<div><b>{escape(claim.statement)}</b></div>"
        f'<div><span style="background:{colour};color:#fff;padding:.1em .6em;'
        f'border-radius:.8em;font-weight:600">{verdict}</span> effect {effect} '
        f"(95 % interval {start} to {end}) · margin {margin} · {len(effects)} "
        "paired seeds</div></div>"
    )


def _picture(pair: tuple, effects: pd.Series, margin: float) -> dict:
    """Draw the first seed's curves and all seeds' differences."""
    names = ("plain", "batch norm")
    with plt.rc_context():
        plotting.use_style()
        figure, (loss, accuracy, stack) = plt.subplots(1, 3, figsize=(11, 3.1))
        for name, run in zip(names, pair, strict=True):
            style: dict[str, Any] = {"color": plotting.COLOURS[name], "label": name}
            style |= {"dashes": plotting.DASHES[name] or (None, None)}
            updates, right = zip(*run.checks, strict=True)
            smooth = pd.Series(run.losses).rolling(16, min_periods=1).mean()
            loss.plot(smooth.index + 1, smooth, **style)
            accuracy.plot(updates, 100 * np.array(right), **style)
        loss.set(title="Training loss, seed 1", xlabel="updates", yscale="log")
        loss.set_yticks([0.5, 1, 2], labels=["0.5", "1", "2"], minor=False)
        loss.minorticks_off()
        accuracy.set(title="Validation accuracy, %", xlabel="updates", ylim=(0, 100))
        accuracy.legend(loc="lower right")
        low, high = (100 * end for end in claims.t_interval(effects))
        stack.axvspan(-100 * margin, 100 * margin, color="#dddddd", linewidth=0)
        stack.axvline(0, color="#555555", linewidth=1)
        stack.plot([low, high], [1, 1], color="black", linewidth=3)
        stack.plot(100 * effects.mean(), 1, "o", color="black", markersize=8)
        stack.plot(100 * effects, 0.4 + 0.1 * effects.index, "o", color="#555555")
        stack.set(title="Paired differences, points", ylim=(0, 1.3), yticks=[])
        stack.grid(visible=False)
        with io.BytesIO() as drawn, io.BytesIO() as png:
            figure.savefig(drawn, format="png")
            image = Image.open(drawn).convert("RGB")
            image.quantize(64, Image.Quantize.MAXCOVERAGE, kmeans=1).save(
                png, "png", optimize=True
            )
            coded = base64.b64encode(png.getvalue()).decode()
        plt.close(figure)
    return {
        "png": coded,
        "width": round(11 * 80),
        "alt": "Three panels: the training loss of one seed falls faster with batch "
        "norm than without; its validation accuracy rises faster; and the paired "
        f"differences of {len(effects)} seeds with their mean and 95 % interval, "
        "against a grey band of differences too small to matter.",
    }


# --- the page ------------------------------------------------------------------------


def page(beside: Collection[str] = ()) -> str:
    """Return the page.

    Parameters
    ----------
    beside : names of the pages that will lie in the same folder, without ending.
    """
    found = settings()
    knobs, presets = found["knobs"], found["presets"]
    for preset in presets:
        pairs = {name: preset["settings"].get(name) for name in knobs}
        preset["hash"] = _address(pairs, knobs)
        preset["record"] = standing(preset["claim"], beside)
    groups: dict[str, dict] = {}
    for name, knob in knobs.items():
        groups.setdefault(knob["group"], {})[name] = knob
    facts: dict[str, Any] = {
        "knobs": {name: _needed(knob) for name, knob in knobs.items()},
        "presets": [
            {k: p[k] for k in ("hash", "look", "why", "record")} for p in presets
        ],
        "rule": rule(),
        "short": SHORT,
        "images": {name: packed(name) for name in knobs["data"]["options"]},
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    trial = recorded()
    return environment.get_template("playground/page.html.j2").render(
        beside=set(beside),
        presets=presets,
        groups=groups,
        rule=facts["rule"],
        means=MEANS,
        facts=Markup(_for_script(facts)),
        script=script,
        recorded=trial | {"card": Markup(trial["card"])},
        sizes={"train": TRAIN, "validation": VALIDATION},
        side=SIDE,
        largest=f"{twins.LARGEST:.1e}".replace("e+", "e"),
        margins={
            unit: claims.describe(margin, unit, sign=False).lstrip("×")
            for unit, margin in facts["rule"]["margins"].items()
        },
    )


def _needed(knob: Mapping) -> dict:
    return {key: knob[key] for key in ("options", "values", "usual") if key in knob}


def _address(values: Mapping, knobs: Mapping) -> str:
    """Return the part of the address that holds a preset's settings."""
    given = {name: value for name, value in values.items() if value is not None}
    return "&".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in given.items()
        if value != knobs[name]["usual"]
    )


def _for_script(facts: Mapping) -> str:
    text = json.dumps(facts, ensure_ascii=False, separators=(",", ":"))
    return text.replace("</", r"<\/")


def script(name: str) -> Markup:
    """Return a script of the page."""
    return Markup((TEMPLATES / "playground" / name).read_text(encoding="utf-8"))


def build(folder: Path) -> Path:
    """Write the page into a folder; it links to the pages that are there already."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = {path.stem for path in folder.glob("*.html")}
    files.write(folder / PAGE, page(beside).encode())
    return folder / PAGE


def main() -> None:
    """Write ``build/html/playground.html``."""
    with notebooks.said_clearly():
        path = build(notebooks.ROOT / "build" / "html")
    size = path.stat().st_size // 1000
    print(f"Open build/html/{path.name} ({size} kB)")


if __name__ == "__main__":
    main()
