#!/usr/bin/env bash
# Sampler, laws and a network on whatever JAX finds, in under eight minutes: `tests/benchmarks/gpu.sh`. Without an
# accelerator it says so and measures the CPU with smaller sizes. PYTHON names another interpreter.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec timeout 480 "${PYTHON:-python}" tests/benchmarks/bench_device.py "$@"
