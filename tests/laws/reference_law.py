"""One stationary law with 30 digits, from its definition: drift and diffusion, and nothing of the package.

Only `make_references.py` uses this; the tests read the numbers that it has written.

On the balanced set every unit of a width-d network of depth D (n = D + 1) has v_i = u^n, v = d v_i; by Ito's rule

    d v_i = [-2 n v_i^(2-2/n) (beta1 v - beta2) - 2 n gamma v_i + 2 n D T g v_i^(3-4/n)] dt
            + 2 n v_i^(2-2/n) sqrt(T g) dW

with one dW for all units and g = alpha1 v^2 - 2 alpha2 v + alpha3. With mu and sigma^2 the drift and squared noise of
v, the current of the Fokker-Planck equation vanishes where d log p/dv = (2 mu - (sigma^2)')/sigma^2: that is the score.
It is integrated on Chebyshev panels in a coordinate y of the support, outward from the least-squares slope; a panel is
halved until its last coefficients are below 1e-28, so that nothing depends on knowing where the features are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from operator import mul

import gmpy2
from gmpy2 import mpfr

gmpy2.get_context().precision = 160  # 48 digits, exponents without practical bound
NODES = 40
FALL = 760  # nats below the maximum where a tail ends: beyond log(1e-300)
SMALL = mpfr(10) ** -28
ORDER = (NODES - 1, NODES - 2, NODES - 3, NODES - 4)

_theta = [gmpy2.const_pi() * (j + mpfr(1) / 2) / NODES for j in range(NODES)]
_nodes = [gmpy2.cos(t) for t in _theta]
_series = [[(2 - (k == 0)) * gmpy2.cos(k * t) / NODES for t in _theta] for k in range(NODES)]


def series(values: list) -> list:
    """Chebyshev coefficients of values at the nodes."""
    return [sum(map(mul, row, values)) for row in _series]


def integral(c: list) -> list:
    """Coefficients of the integral of a Chebyshev series from -1."""
    c = [*c, mpfr(0), mpfr(0)]
    out = [mpfr(0)] + [((2 if k == 1 else 1) * c[k - 1] - c[k + 1]) / (2 * k) for k in range(1, NODES + 1)]
    out[0] = -sum(value * (-1) ** k for k, value in enumerate(out))
    return out


def evaluate(c: list, x: mpfr) -> mpfr:
    """Value of a Chebyshev series at x in [-1, 1] (Clenshaw)."""
    high = higher = mpfr(0)
    for value in c[:0:-1]:
        high, higher = 2 * x * high - higher + value, high
    return x * high - higher + c[0]


def root(function: Callable, low: mpfr, high: mpfr) -> mpfr:
    """Zero of a function that changes sign between low and high: regula falsi (Illinois), bisection where it stalls."""
    f_low, f_high = function(low), function(high)
    width = high - low
    for step in range(400):
        if high - low <= mpfr(10) ** -35 * (1 + abs(low)):
            break
        y = (low + high) / 2 if step % 4 == 3 else low - f_low * (high - low) / (f_high - f_low)
        value = function(y)
        if value == 0 or abs(value) < mpfr(10) ** -33:
            return y
        if (value > 0) == (f_low > 0):
            low, f_low, f_high = y, value, f_high / 2
        else:
            high, f_high, f_low = y, value, f_low / 2
    assert high - low < width
    return (low + high) / 2


@dataclass
class Coordinate:
    """Map y -> v of the support: dv/dy = rate, d log(rate)/dy = bend, and v - origin without cancellation."""

    to_v: Callable
    offset: Callable
    to_y: Callable
    log_rate: Callable
    bend: Callable
    reflected: bool = False


def ray(origin: mpfr, side: int = 1) -> Coordinate:
    """V = origin + side exp(y)."""
    return Coordinate(
        lambda y: origin + side * gmpy2.exp(y),
        lambda y: side * gmpy2.exp(y),
        lambda v: gmpy2.log(side * (v - origin)),
        lambda y: y,
        lambda y: mpfr(1),
        side < 0,
    )


def interval(k: mpfr) -> Coordinate:
    """V in (0, k): the logistic map, offset = v - k."""
    return Coordinate(
        lambda y: k / (1 + gmpy2.exp(-y)),
        lambda y: -k / (1 + gmpy2.exp(y)),
        lambda v: gmpy2.log(v / (k - v)),
        lambda y: gmpy2.log(k) - gmpy2.log(1 + gmpy2.exp(-y)) - gmpy2.log(1 + gmpy2.exp(y)),
        lambda y: -gmpy2.tanh(y / 2),
    )


def line(location: mpfr, scale: mpfr, bounded: bool) -> Coordinate:
    """V = location + scale sinh(y), or scale y for tails that fall faster than any power."""
    if bounded:
        return Coordinate(
            lambda y: location + scale * y,
            lambda y: scale * y,
            lambda v: (v - location) / scale,
            lambda y: gmpy2.log(scale),
            lambda y: mpfr(0),
        )
    return Coordinate(
        lambda y: location + scale * gmpy2.sinh(y),
        lambda y: scale * gmpy2.sinh(y),
        lambda v: gmpy2.asinh((v - location) / scale),
        lambda y: gmpy2.log(scale * gmpy2.cosh(y)),
        lambda y: gmpy2.tanh(y),
    )


@dataclass
class Panel:
    """Log density (with respect to y) on [left, right], at the nodes and as a series."""

    left: mpfr
    right: mpfr
    y: list
    v: list
    log_density: list
    log_series: list
    mass_series: list
    mass: mpfr

    def place(self, y: mpfr) -> mpfr:
        return (2 * y - self.left - self.right) / (self.right - self.left)

    def integrate(self, values: list) -> mpfr:
        weighted = [value * gmpy2.exp(level) for value, level in zip(values, self.log_density, strict=True)]
        c = series(weighted)
        return (self.right - self.left) / 2 * sum(2 * c[k] / (1 - k * k) for k in range(0, NODES, 2))


class Law:
    """A law on a coordinate: score(v, offset) is d log p/dv, ``reach`` the highest moment that must be resolved."""

    def __init__(self, score: Callable, coordinate: Coordinate, start: mpfr, reach: mpfr, features: list) -> None:
        self.score, self.coordinate, self.reach = score, coordinate, reach
        self.features = sorted(features)
        y = coordinate.to_y(start)
        self.top, self.top_moment = mpfr(0), reach * gmpy2.log(abs(start))
        self.panels = self._grow(y, -1)[::-1]
        self.panels += self._grow(y, 1)
        self.below, self.above = [mpfr(0)], [mpfr(0)]
        for panel in self.panels:
            self.below.append(self.below[-1] + panel.mass)
        for panel in self.panels[::-1]:
            self.above.append(self.above[-1] + panel.mass)
        self.above = self.above[::-1]
        self.norm = self.below[-1]

    def slope(self, y: mpfr) -> mpfr:
        c = self.coordinate
        rate = gmpy2.exp(c.log_rate(y)) * (-1 if c.reflected else 1)
        return self.score(c.to_v(y), c.offset(y)) * rate + c.bend(y)

    def _grow(self, y: mpfr, direction: int) -> list:
        level, step, panels = mpfr(0), mpfr(1) / 8, []
        while True:
            gaps = [direction * (f - y) for f in self.features if direction * (f - y) > mpfr(10) ** -40 * (1 + abs(f))]
            length = min([step, *gaps])
            panel = self._panel(y, length * direction, level)
            if panel is None:
                step = length / 2
                assert step > mpfr(10) ** -25, "no panel resolves the density"
                continue
            panels.append(panel)
            assert len(panels) < 4000
            step = 2 * length
            y += direction * length
            level = evaluate(panel.log_series, mpfr(direction))
            v = self.coordinate.to_v(y)
            self.top = max(self.top, *panel.log_density)
            moment = self._moment_levels(panel.v, panel.log_density)
            self.top_moment = max(self.top_moment, *moment)
            ended = level < self.top - FALL and level + self.reach * gmpy2.log(abs(v)) < self.top_moment - 95
            if ended and direction * self.slope(y) < 0:
                return panels

    def _moment_levels(self, v: list, level: list) -> list:
        return [lv + self.reach * gmpy2.log(abs(value)) for lv, value in zip(level, v, strict=True)]

    def _panel(self, y: mpfr, length: mpfr, level: mpfr) -> Panel | None:
        left, right = min(y, y + length), max(y, y + length)
        half = (right - left) / 2
        at = [(left + right) / 2 + half * x for x in _nodes]
        slopes = series([self.slope(node) for node in at])
        if half * max(abs(slopes[k]) for k in ORDER) > SMALL / 1000:
            return None
        log_series = [half * c for c in integral(slopes)]
        shift = level - evaluate(log_series, mpfr(-1 if length > 0 else 1))
        log_series[0] += shift
        log_density = [evaluate(log_series, x) for x in _nodes]
        density = [gmpy2.exp(value) for value in log_density]
        c = series(density)
        # relative to the panel itself, down to where no tail is asked for any more; the ends are no nodes
        bound = SMALL * max(*density, gmpy2.exp(self.top - FALL - 60))
        ends = [evaluate(c, mpfr(x)) - gmpy2.exp(evaluate(log_series, mpfr(x))) for x in (-1, 1)]
        if max(abs(value) for value in [*ends, *(c[k] for k in ORDER)]) > bound * 100:
            return None
        v = [self.coordinate.to_v(node) for node in at]
        levels = self._moment_levels(v, log_density)
        top = max(self.top_moment, *levels)
        moments = series([gmpy2.exp(value - top) for value in levels])
        if max(abs(moments[k]) for k in ORDER) > SMALL:
            return None
        mass = [half * value for value in integral(c)]
        return Panel(left, right, at, v, log_density, log_series, mass, evaluate(mass, mpfr(1)))

    def _find(self, y: mpfr) -> int:
        low, high = 0, len(self.panels) - 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if y <= self.panels[middle].right else (middle + 1, high)
        return low

    def log_prob(self, v: mpfr, y: mpfr | None = None) -> mpfr:
        """Log density with respect to v; y spares its computation, and its cancellation next to a bound."""
        y = self.coordinate.to_y(v) if y is None else y
        panel = self.panels[self._find(y)]
        return evaluate(panel.log_series, panel.place(y)) - self.coordinate.log_rate(y) - gmpy2.log(self.norm)

    def masses(self, y: mpfr) -> tuple[mpfr, mpfr]:
        """Probability below and above y, each summed from its own side."""
        i = self._find(y)
        part = evaluate(self.panels[i].mass_series, self.panels[i].place(y))
        low = (self.below[i] + part) / self.norm
        high = (self.above[i + 1] + self.panels[i].mass - part) / self.norm
        return (high, low) if self.coordinate.reflected else (low, high)

    def quantile(self, log_level: mpfr, upper: bool = False) -> mpfr:
        """Coordinate y below (above, if ``upper``) which the logarithm of the mass is ``log_level``."""
        flip = upper != self.coordinate.reflected
        target = gmpy2.exp(log_level) * self.norm
        sums = self.above if flip else self.below
        low, high = 0, len(self.panels) - 1
        while low < high:
            middle = (low + high) // 2
            beyond = sums[middle + 1] <= target if flip else sums[middle + 1] >= target
            low, high = (low, middle) if beyond else (middle + 1, high)
        panel = self.panels[low]
        index = 1 if upper else 0
        return root(lambda y: gmpy2.log(self.masses(y)[index]) - log_level, panel.left, panel.right)

    def expect(self, function: Callable) -> mpfr:
        """Mean of function(v, log density with respect to v)."""
        total, shift = mpfr(0), gmpy2.log(self.norm)
        for p in self.panels:
            values = [
                function(v, lv - self.coordinate.log_rate(y) - shift)
                for v, lv, y in zip(p.v, p.log_density, p.y, strict=True)
            ]
            total += p.integrate(values)
        return total / self.norm

    def maxima(self) -> list:
        """Interior local maxima of the density with respect to v, in increasing y."""
        found, c = [], self.coordinate
        grid = [y for p in self.panels for y in sorted(p.y)]

        def tilt(y: mpfr) -> mpfr:
            return self.slope(y) - c.bend(y)

        signs = [tilt(y) for y in grid]
        for i in range(len(grid) - 1):
            if signs[i] > 0 >= signs[i + 1]:
                found.append(c.to_v(root(tilt, grid[i], grid[i + 1])))
        return found
