"""Parameters of a reference law: score from drift and diffusion, support, and which moments exist."""

from dataclasses import dataclass
from typing import Any

import gmpy2
from gmpy2 import mpfr

INFINITE = float("inf")


@dataclass
class Parameters:
    """Parameters on the side v > 0 (mirrored from a case with sign -1), exact values of the doubles."""

    kind: str
    alpha1: Any
    alpha2: Any
    alpha3: Any
    beta1: Any
    beta2: Any
    temperature: Any
    depth: int
    width: Any
    weight_decay: Any
    side: int
    batch_size: Any
    ratio: Any

    @classmethod
    def of(cls, case: dict, number: Any = mpfr) -> "Parameters":
        a1, a2, a3 = map(number, case["alpha"])
        b1, b2 = map(number, case["beta"])
        side = case.get("sign", 1)
        return cls(
            kind=case["kind"],
            alpha1=a1,
            alpha2=side * a2,
            alpha3=a3,
            beta1=b1,
            beta2=side * b2,
            temperature=number(case["temperature"]),
            depth=case.get("depth", 1),
            width=number(case.get("width", 1)),
            weight_decay=number(case.get("weight_decay", 0)),
            side=side,
            batch_size=number(case.get("batch_size", 0)),
            ratio=number(case.get("ratio", 1)),
        )

    @property
    def delta(self) -> Any:
        return self.alpha1 * self.alpha3 - self.alpha2**2

    @property
    def n(self) -> int:
        return self.depth + 1

    @property
    def silent(self) -> bool:
        """Whether the noise vanishes at k = alpha2/alpha1."""
        return self.delta == 0 and self.alpha1 > 0

    @property
    def k(self) -> Any:
        return self.alpha2 / self.alpha1

    @property
    def lower(self) -> Any:
        if not self.silent or self.k < 0:
            return -INFINITE if self.depth == 0 else 0 * self.beta1
        if self.depth == 0:
            return self.k if self._start_above() else -INFINITE
        return self.k if self.k > 0 and self._start_above() else 0 * self.beta1

    @property
    def upper(self) -> Any:
        return self.k if self.silent and self.k > 0 and not self._start_above() else INFINITE

    def _start_above(self) -> bool:
        return self._rest() > self.k

    def _rest(self) -> Any:
        """Where the drift without noise vanishes."""
        if self.depth == 0:
            return self.beta2 / (self.beta1 + self.weight_decay / self.width)
        return (self.beta2 - (self.weight_decay if self.depth == 1 else 0)) / self.beta1

    def start(self) -> Any:
        return self._rest()

    def inside(self, v: Any) -> bool:
        return self.lower < v < self.upper

    def distance(self, v: Any, offset: Any) -> Any:
        """V - k, without cancellation where the support ends at k."""
        return offset if self.k in (self.lower, self.upper) else v - self.k

    def noise(self, v: Any, offset: Any) -> Any:
        if self.alpha1 == 0:
            return self.alpha3
        if self.silent:
            return self.alpha1 * self.distance(v, offset) ** 2
        return ((self.alpha1 * v - self.alpha2) ** 2 + self.delta) / self.alpha1

    def score(self, v: Any, offset: Any) -> Any:
        """Derivative of log p at v: (2 mu - (sigma^2)')/sigma^2."""
        heat, g = self.temperature, self.noise(v, offset)
        steepness = 2 * (self.alpha1 * self.distance(v, offset) if self.silent else self.alpha1 * v - self.alpha2)
        pull = self.beta1 * v - self.beta2
        if self.kind == "infinite":
            return -3 / v - steepness / g - self.ratio * pull / (heat * v**2 * g)
        if self.depth == 0:
            return -steepness / g - (pull + self.weight_decay * v / self.width) / (heat * self.width * g)
        unit = v / self.width
        power = unit ** (2 - mpfr(2) / self.n)
        mu = -2 * self.n * power * pull - 2 * self.n * self.weight_decay * unit
        mu += 2 * self.n * self.depth * heat * g * power**2 / unit
        if self.batch_size:
            # the loss -(eta/4) |grad L|^2 of backward-error analysis on u = w: L = beta1 u^4 - 2 beta2 u^2
            eta = self.batch_size * heat
            mu -= eta * 4 * v * pull * (3 * self.beta1 * v - self.beta2)
        noise = 4 * self.n**2 * heat * g * power**2
        growth = noise * ((4 - mpfr(4) / self.n) / v + steepness / g)
        # mu is the drift of one unit: that of v is d mu, and its squared noise d^2 noise
        return (2 * mu / self.width - growth) / noise

    def reach(self) -> Any:
        """Highest power of |v| whose mean the assertions or the file need."""
        if self.kind == "infinite":
            return mpfr(3)
        needed = max(k for k in range(4) if self.moment_exists(k))
        return needed if self.depth == 0 else max(mpfr(needed), 3 - mpfr(2) / self.n)

    def moment_exists(self, order: int) -> bool:
        if self.alpha1 == 0 or self.upper < INFINITE and self.depth > 0:
            return True
        if self.kind == "infinite":
            return order < 4
        if self.depth == 0:
            b = self.beta1 + self.weight_decay / self.width
            return order < 1 + b / (self.temperature * self.width * self.alpha1)
        return order < 4 - mpfr(3) / self.n

    def diverges_at_zero(self) -> bool:
        if self.kind == "infinite" or self.depth != 1 or self.lower > 0 or self.alpha3 == 0:
            return False
        strength = self.beta2 - self.weight_decay - self.batch_size * self.temperature * self.beta2**2
        return strength / (2 * self.alpha3 * self.temperature) < mpfr(3) / 2

    def features(self) -> list:
        """Places in y where the noise is nearly zero: panels end there."""
        if self.alpha1 == 0 or self.silent or self.depth == 0 and self.kind != "infinite":
            return []
        return [gmpy2.log(self.k)] if self.k > 0 else []
