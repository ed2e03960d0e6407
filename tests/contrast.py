"""How legible one colour is on another."""

import numpy as np
from matplotlib.colors import to_rgb


def luminance(colour: str) -> float:
    """Relative luminance of the Web Content Accessibility Guidelines."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def contrast(one: str, other: str) -> float:
    """Contrast ratio of the same guidelines, 1 to 21; text needs 4.5."""
    dark, bright = sorted(map(luminance, (one, other)))
    return (bright + 0.05) / (dark + 0.05)
