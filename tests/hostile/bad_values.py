"""What nobody should pass, and how the public callables are called well."""

import datetime
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from hostile.counts import X, Y, model

import sgdvi
from sgdvi.draws import make_tree

# Name -> value. Those of NEVER mean nothing to any argument: a call that takes one in silence is wrong.
NEVER: dict[str, Callable[[], Any]] = {
    "nan": lambda: float("nan"),
    "numpy nan": lambda: np.float32("nan"),
    "complex": lambda: 1 + 2j,
    "object": object,
    "ellipsis": lambda: ...,
    "bytes": lambda: b"0.1",
    "exception": lambda: ValueError("x"),
    "date": lambda: datetime.date(2026, 1, 1),
    "array of nan": lambda: np.full(3, np.nan),
    "array of texts": lambda: np.array(["a", "b"]),
    "array of objects": lambda: np.array([object(), None]),
    "array of complex": lambda: np.array([1 + 2j, 3.0]),
    "masked array": lambda: np.ma.masked_array([1.0, 2.0, 3.0], mask=[False, True, False]),
    "array of dates": lambda: np.array(["2026-01-01"], "datetime64[D]"),
    "frame with a missing value": lambda: pd.DataFrame({"a": [1.0, None], "b": [1.0, 2.0]}),
    "ragged list": lambda: [[1.0, 2.0], [3.0]],
    "list of texts": lambda: ["a", 1.0],
    "iterator": lambda: iter([1.0, 2.0]),
}
BAD: dict[str, Callable[[], Any]] = NEVER | {
    "None": lambda: None,
    "True": lambda: True,
    "inf": lambda: float("inf"),
    "minus inf": lambda: -float("inf"),
    "minus one": lambda: -1,
    "zero": lambda: 0,
    "a half": lambda: 0.5,
    "huge integer": lambda: 10**400,
    "above 64 bits": lambda: 2**70,
    "tiny": lambda: 5e-324,
    "large": lambda: 1e300,
    "fraction": lambda: Fraction(1, 3),
    "text": lambda: "x",
    "empty text": lambda: "",
    "empty list": list,
    "empty dict": dict,
    "empty array": lambda: np.array([]),
    "scalar array": lambda: np.array(0.1),
    "array of three axes": lambda: np.zeros((2, 3, 4)),
    "JAX array": lambda: jnp.ones(3),
    "frame": lambda: pd.DataFrame({"a": [1.0, 2.0]}),
    "function": lambda: lambda *args: args,
    "class": lambda: int,
    "dict of strange keys": lambda: {1: 2, None: 3},
}
# Arguments that are looked at later, or may be anything: name of the callable and of the argument -> why.
FREE: dict[str, str] = {
    "Algorithm.init": "a record; `Sampler` and `sample` try it on the model",
    "Algorithm.step": "a record; `Sampler` and `sample` try it on the model",
    "Problem.data": "only the model knows what data it takes; a run begins with a look at them",
    "Loss.params": "tried with the data when a run begins",
}
# Good calls that take minutes: all claims of the paper.
DEAR = {("reproduce", "ids", "None")}


def good_calls() -> Mapping[str, Mapping[str, Any]]:
    """Return public callable -> arguments that it takes; the dearer the call, the smaller."""
    moments = sgdvi.Moments.from_data(X, Y)
    network = sgdvi.LinearNetwork(X, Y, depth=1, noise_sd=1.0, prior_sd=2.0)
    key = jax.random.key(0)
    rng = np.random.default_rng(0)
    kernel = sgdvi.SGD(model, optax.sgd(0.05), batch_size=2)
    law = sgdvi.SGDStationary(moments, 0.01)
    draws = {"v": rng.normal(size=(2, 40))}
    classes = np.full((2, 10, 3, 2), 0.5)

    def loss(params: Any, batch: Any) -> Any:
        return (params["u"] * params["w"] * batch[0] - batch[1]) ** 2

    params = {"u": jnp.float32(0.5), "w": jnp.float32(1.0)}
    data = (jnp.asarray(X), jnp.asarray(Y))
    found = sgdvi.find_symmetries(loss, params, data, key=key)
    line = {"moments": moments, "temperature": 0.01}
    chain: dict[str, Any] = {"model": model, "learning_rate": 0.05, "batch_size": 2, "batching": "replacement"}
    tuned: dict[str, Any] = {**chain, "learning_rate": 0.1, "near": None}
    tree = make_tree({"u": draws["v"], "w": draws["v"]}, kind="sgd")
    algorithm = sgdvi.Algorithm(lambda z: z, lambda key, state, batch: (state, {}))
    return {
        "Algorithm": {"init": algorithm.init, "step": algorithm.step},
        "CompletedSGD": {
            "model": model,
            "batch_size": 2,
            "learning_rate": 0.1,
            "batching": "replacement",
            "near": None,
        },
        "CyclicalSGMCMC": {**chain, "cycle_length": 10, "exploration": 0.8, "temperature": 1.0, "friction": 1.0},
        "GaugeNoise": {"sampler": kernel, "symmetries": list(found), "prior_sd": 1.0, "every": 1},
        "InfiniteDepthLaw": {**line, "ratio": 0.1, "sign": 1},
        "IterateAverage": {"sampler": kernel, "window": 5},
        "Known": {"network": network, "learning_rate": 0.1, "batch_size": 2, "batching": "replacement", "num_steps": 9},
        "LinearNetwork": {"x": X, "y": Y, "depth": 1, "width": 1, "noise_sd": 1.0, "prior_sd": 1.0},
        "Loss": {"function": loss, "params": params, "weight_decay": 0.0},
        "MandtSGD": tuned,
        "MetastableLaw": {**line, "depth": 2, "width": 1, "weight_decay": 0.01, "sign": 1},
        "Moments": {"alpha1": 1.0, "alpha2": 2.0, "alpha3": 3.0, "beta1": 0.5, "beta2": 0.6},
        "Moments.from_data": {"x": X, "y": Y},
        "Moments.linear": {"slope": 1.0, "noise": 0.5},
        "NormalProduct": {"num_factors": 2, "scale": 1.0, "width": 1},
        "PreconditionedSGLD": {**chain, "temperature": 1.0, "decay": 0.99, "damping": 1e-5},
        "Problem": {"name": "p", "model": model, "data": (X, Y), "functionals": {"v": lambda ds: ds.u}, "dims": {}},
        "SGD": {**chain, "optimizer": None, "injected_noise": 0.0},
        "SGDGuide": {"model": network.model, "network": network, "site": "v", "prefix": "sgd", "temperature": 0.1},
        "SGDStationary": {**line, "depth": 1, "width": 1, "weight_decay": 0.0, "sign": 1},
        "SGHMC": {**chain, "temperature": 1.0, "friction": 0.1, "num_integration_steps": 3},
        "SGLD": {**chain, "temperature": 1.0, "preconditioner": None},
        "SWAG": {"sampler": kernel, "burn_in": 5, "period": 2, "snapshots": 4, "rank": 2},
        "Sampler": {"model": model, "algorithm": algorithm, "batch_size": 2, "batching": "replacement", "settings": {}},
        "ScaledSGD": tuned,
        "SecondOrderLaw": {**line, "batch_size": 2, "weight_decay": 0.0, "sign": 1},
        "StochasticGradientFlow": {"model": model, "noise_scale": 0.01, "step_size": 0.1},
        "WhitenedSGD": tuned,
        "bias": {"law": law},
        "Collapse": {
            **{"exponent": -0.1, "error": 0.01, "where": "Zero", "learning_rate": 0.1},
            **{"batch_size": 1, "chains": 8, "steps": 100},
        },
        "collapse": {
            **{"model": sgdvi.Loss(loss, params), "data": data, "learning_rate": 0.1, "batch_size": 2},
            **{"where": "zero", "params": None, "weight_decay": 0.0, "num_steps": 100, "num_chains": 8},
            **{"batching": "replacement", "key": key},
        },
        "canonical_draws": {"symmetries": list(found), "draws": tree},
        "check": {"draws": draws, "reference": draws, "functionals": None, "predictions": None, "key": key},
        "compare": {"runs": {"a": draws, "b": draws}, "reference": "b", "functionals": None, "key": key},
        "compare_predictions": {
            **{"runs": {"one": classes, "two": classes}, "reference": "two", "observed": np.zeros(3), "variable": None},
            **{"independent": (), "thresholds": None},
        },
        "critical_temperature": {"moments": moments, "depth": 1, "weight_decay": 0.0, "sign": 1},
        "discrete_law": {
            **{"x": X, "y": Y, "learning_rate": 0.01, "batch_size": 1, "weight_decay": 0.0, "replace": True},
            **{"sign": 1, "tolerance": 1e-2, "escape_at": None},
        },
        "discrete_threshold": {"x": X, "y": Y, "batch_size": 1, "weight_decay": 0.0, "replace": True, "sign": 1},
        "find_mode": {"model": model, "data": (X, Y), "key": key, "num_starts": 1},
        "find_symmetries": {
            **{"loss": loss, "params": params, "data": data, "key": key, "weight_decay": 0.0},
            **{"tolerance": 1e-9, "confidence": 0.99, "max_groups": 10},
        },
        "fluctuation_maxima": {"moments": moments, "of": "v", "depth": 1, "width": 1, "weight_decay": 0.0},
        "fluctuations": {**line, "depth": 1, "width": 1, "weight_decay": 0.0},
        "gradient_noise": {"loss": loss, "params": params, "data": data},
        "kl_to_posterior": {"network": network, "temperature": 0.01},
        "linear_problem": {
            **{"name": "p", "x": X, "y": Y, "depth": 1, "width": 1, "noise_sd": 1.0, "prior_sd": 1.0},
            **{"description": "", "source": ""},
        },
        "memory": {"initial": [0.5, 0.1], "moments": moments, "temperature": 0.01, "depth": 1, "weight_decay": 0.0},
        "mode_expansion": {**line, "weight_decay": 0.0},
        "optimal_temperature": {"network": network},
        "phase": {**line, "depth": 1, "weight_decay": 0.0, "sign": 1},
        "phase_diagram": {
            "moments": moments,
            "noise": np.array([0.1, 1.0]),
            "temperature": np.array([0.01]),
            "weight_decay": 0.0,
        },
        "phase_intervals": {"moments": moments, "weight_decay": 0.1, "sign": 1},
        "quotient_draws": {"symmetries": list(found), "draws": tree},
        "resample_orbits": {"symmetries": list(found), "draws": tree, "prior_sd": 1.0, "key": key},
        "reproduce": {"ids": ["no such claim"], "quick": True, "seed": 0, "progress": False},
        # the last of the checks refuses it, so that no call runs anything
        "run": {
            **{"problem": "small-n", "depth": 1, "width": 1, "learning_rate": 0.01, "batch_size": 1},
            **{"batching": "replacement", "temperature": None, "weight_decay": 0.1, "num_chains": 2, "num_steps": 10},
            **{"seed": 0, "reference": "NUTS", "against": (), "nuts_draws": 10, "references": ["none such"]},
        },
        "sample": {
            **{"sampler": kernel, "data": (X, Y), "key": key, "num_steps": 4, "num_warmup": 1, "num_chains": 2},
            **{"init": None, "thinning": 1, "functionals": None, "keep": None, "store": None, "resume": False},
            **{"break_lock": False, "progress": False, "dims": None, "devices": None},
        },
        "stationary_law": {**line, "depth": 1, "width": 1, "weight_decay": 0.0, "zero_mass": 0.0, "sign": 1},
        "subnetworks": {"params": [np.ones((3, 2)), np.ones((2, 3))], "sign": 1, "tolerance": 1e-3},
        "zoo.load": {"name_or_path": "small-n"},
        "draws.open_store": {"store": "nowhere.zarr"},
        "draws.load": {"folder": "nowhere"},
        "inputs.read_file": {"path": "nowhere.nc"},
        "report.read_record": {"folder": "nowhere"},
    }


# Results and words: returned by the callables above, made by nobody else.
RESULTS = {
    *("Balance", "Batch", "Bias", "Comparison", "DiscreteLaw", "Finding", "Fluctuations", "GradientNoise"),
    *("InputError", "LocalQuadratic", "MatrixFamily", "Memory", "Mode", "OptimalTemperature", "Phase", "PhaseDiagram"),
    *(
        "Forecast",
        "IntegratedRows",
        "PhaseInterval",
        "QuotientModel",
        "Reproduction",
        "Result",
        "Status",
        "Predictions",
        "Subnetworks",
        "Sweep",
        "Symmetries",
    ),
    *("StationaryLaw", "Symmetry", "Verdict"),
}
