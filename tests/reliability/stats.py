"""Numbers from numbers."""

import math


def quantile(values, part):
    """The smallest value that this part of all does not exceed; None of none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * part) - 1)]


def median(values):
    return quantile(values, 0.5)


def ms(seconds):
    """Milliseconds with as many digits as mean something."""
    if seconds is None:
        return None
    value = seconds * 1000
    return round(value, 1 if value < 100 else None)


def slope(xs, ys):
    """The least-squares line's growth of y for 1 of x; None where there is no line."""
    if len(xs) < 3:
        return None
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    if spread == 0:
        return None
    return round(sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys)) / spread, 3)
