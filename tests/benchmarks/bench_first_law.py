"""Processor time of the first law of a process: mean, quantiles, and density and distribution at 1000 points."""

import sys
import time

import numpy as np

import sgdvi

depth = int(sys.argv[1]) if len(sys.argv) > 1 else 1
make, data, v = sgdvi.SGDStationary, sgdvi.Moments.linear(1.0, 1.0), np.linspace(0.01, 3, 1000)
start = time.process_time()
law = make(data, 0.1, depth=depth)
law.mean, law.cdf(v), law.icdf(np.linspace(0.01, 0.99, 99)), law.log_prob(v)
print(f"depth {depth}: {time.process_time() - start:.4f} s")
