"""Cost of phase diagrams: ``python tests/benchmarks/bench_phases.py``. Wall-clock seconds of one process."""

import time

import numpy as np

from sgdvi import Moments, fluctuation_maxima, phase, phase_diagram


def seconds(call) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def main() -> None:
    moments = Moments.linear(1.0, 1.0)
    noise = np.linspace(0.015, 3.0, 200)
    batch = moments.scale_noise(noise[:, None])
    # All 40 000 points lie below the critical temperature, so that each has a law.
    heats = np.linspace(4e-4, 0.09, 200)
    print(f"40 000 labels                         {seconds(lambda: phase(batch, heats)):6.3f} s")
    for name in ("first, with compilation", "second"):
        diagram = phase_diagram(moments, noise, heats)
        print(f"40 000 laws, mean and variance, {name:<24} {seconds(lambda d=diagram: d.variance):6.2f} s")
    for of in "vu":
        call = lambda of=of: fluctuation_maxima(moments, of)  # noqa: E731
        print(f"maxima of Var[{of}], first and second    {seconds(call):6.2f} s  {seconds(call):6.2f} s")


if __name__ == "__main__":
    main()
