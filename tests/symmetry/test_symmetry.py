"""Charges of found symmetries: exact identities, drift, balanced and canonical points, decay, bad input."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from architectures import ABC, CASES, Case, decayed, relu, two_layer

from sgdvi import InputError
from sgdvi.symmetry import GradientNoise, Symmetries, find_symmetries, gradient_noise
from sgdvi.symmetry._integers import integer_basis, null_space
from sgdvi.symmetry.scaling import ratio_bounds

GAMMA = 0.02
RATE = 0.01


def search(case: Case, key: jax.Array) -> Symmetries:
    return find_symmetries(case.loss, case.params(), case.data(), key=key)


@cache
def found(name: str, decay: float = 0.0) -> Symmetries:
    """The symmetries of a case, found once: most of the time is compilation."""
    case = CASES[name]
    return find_symmetries(case.loss, case.params(), case.data(), key=jax.random.key(20250611), weight_decay=decay)


def per_sample(case: Case, params: Any) -> dict[str, np.ndarray]:
    with jax.enable_x64(True):
        return {k: np.asarray(v) for k, v in jax.jit(jax.jacrev(case.loss))(params, case.data()).items()}


@pytest.mark.parametrize(
    ("name", "decay"),
    [("ReLU", 0.0), ("linear with a hidden bias", GAMMA), ("squared ReLU", GAMMA), ("layer normalisation", GAMMA)],
)
def test_charges_obey_the_discrete_identity_at_every_step(name: str, decay: float) -> None:
    case = CASES[name]
    symmetries = found(name, decay)
    params, data = case.params(), case.data()
    rng = np.random.default_rng(3)
    with jax.enable_x64(True):
        slope = jax.jit(jax.grad(lambda p, batch: case.loss(p, batch).mean()))
        for _ in range(5):
            rows = rng.integers(0, len(data[0]), 4)
            gradient = jax.tree.map(np.asarray, slope(params, tuple(array[rows] for array in data)))
            after = {k: (1 - 2 * RATE * decay) * params[k] - RATE * gradient[k] for k in params}
            for symmetry in symmetries:
                size = sum(float((params[k] ** 2).sum()) for k in params)
                assert symmetry.next_charge(params, gradient, RATE) == pytest.approx(
                    symmetry.charge(after), abs=1e-13 * size
                )
            for family in symmetries.families:
                np.testing.assert_allclose(
                    family.next_charge(params, gradient, RATE), family.charge(after), atol=1e-13 * size
                )
                np.testing.assert_allclose(np.diag(family.charge(after)), [m.charge(after) for m in family.members])
            params = after


@pytest.mark.parametrize("gamma", [1e-4, pytest.param(GAMMA, marks=pytest.mark.slow)])
def test_weight_decay_in_the_loss_is_told_with_its_rate(gamma: float, key: jax.Array) -> None:
    plain = CASES["ReLU"]
    case = Case(decayed(plain.loss, gamma, "abc"), ABC)
    symmetries = search(case, key)
    assert len(symmetries) == 4
    for symmetry in symmetries:
        assert symmetry.weight_decay == pytest.approx(gamma, rel=1e-6)
        assert symmetry.status == f"broken by weight decay, rate 4 gamma = {4 * gamma:.4g}"
    params, data = case.params(), case.data()
    with jax.enable_x64(True):
        gradient = jax.tree.map(np.asarray, jax.jit(jax.grad(lambda p: case.loss(p, data).mean()))(params))
    after = {k: params[k] - RATE * gradient[k] for k in params}
    assert symmetries[0].next_charge(params, gradient, RATE) == pytest.approx(symmetries[0].charge(after), rel=1e-9)


def test_a_decay_of_some_parameters_only_is_no_symmetry(key: jax.Array) -> None:
    case = Case(decayed(CASES["ReLU"].loss, GAMMA, "a"), ABC)
    symmetries = search(case, key)
    assert len(symmetries) == 0
    assert len(symmetries.broken) == 4
    assert "broken by a penalty" in str(symmetries)
    assert repr(symmetries) == "<Symmetries: 0 scalings, 0 GL(k) families, 4 broken>"
    assert "4 broken" in symmetries._repr_html_()


def test_a_parameter_that_only_the_decay_uses_is_left_out_and_named(key: jax.Array) -> None:
    loss = decayed(CASES["ReLU without bias"].loss, GAMMA, "abc")
    symmetries = search(Case(loss, ABC), key)
    assert symmetries.unused == ("b",)
    assert len(symmetries) == len(found("ReLU without bias"))


def test_drift_and_noise_terms_are_those_of_the_per_sample_gradients() -> None:
    case = CASES["ReLU"]
    params, gradients = case.params(), per_sample(case, case.params())
    symmetry = found("ReLU", GAMMA)[1]
    variance = {k: g.var(axis=0) for k, g in gradients.items()}
    incoming = variance["a"][:, 1].sum() + variance["b"][1]
    outgoing = variance["c"][1].sum()
    assert symmetry.noise_terms(params) == pytest.approx((incoming, outgoing), rel=1e-12)
    charge = (params["a"][:, 1] ** 2).sum() + params["b"][1] ** 2 - (params["c"][1] ** 2).sum()
    drift = 0.3 * (incoming - outgoing) - 4 * GAMMA * charge
    assert symmetry.predicted_drift(params, 0.3) == pytest.approx(drift, rel=1e-12)
    noise = gradient_noise(case.loss, params, case.data())
    assert symmetry.predicted_drift(params, 0.3, noise=noise) == pytest.approx(drift, rel=1e-12)


def test_covariances_of_a_neuron_are_those_of_the_paper() -> None:
    case = CASES["ReLU without bias"]
    params, (x, y) = case.params(), case.data()
    symmetry = found("ReLU without bias")[1]
    w, u = params["a"][:, 1], params["c"][1]
    residual = np.maximum(x @ params["a"], 0) @ params["c"] - y
    # here the positive exponents are those of the incoming weights: A_ki = dl/d(w_i u_k)
    a = 2 * residual[:, :, None] * (x * (x @ w > 0)[:, None])[:, None, :]
    mean = a.mean(0)
    c1 = np.einsum("nki,nkj->ij", a, a) / len(x) - mean.T @ mean
    c2 = np.einsum("nki,nli->kl", a, a) / len(x) - mean @ mean.T
    one, two = symmetry.covariances(params)
    np.testing.assert_allclose(one, c1, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(two, c2, rtol=1e-10, atol=1e-12)
    assert w @ one @ w == pytest.approx(symmetry.noise_terms(params)[1], rel=1e-10)
    assert u @ two @ u == pytest.approx(symmetry.noise_terms(params)[0], rel=1e-10)


def test_what_only_the_gradient_does_not_see_is_no_symmetry(key: jax.Array) -> None:
    """The radial derivatives of u and w agree in every sample, but a finite step moves the part without gradient."""

    def loss(p: Any, batch: Any) -> Any:
        return ((p["u"] * p["w"] + jax.lax.stop_gradient(p["u"])) * batch[0] - batch[1]) ** 2

    x = np.random.default_rng(0).normal(size=(2, 24))
    assert len(find_symmetries(loss, {"u": 1.0, "w": 0.5}, (x[0], x[1]), key=key)) == 0


def test_the_covariances_hold_where_a_gradient_is_orthogonal_to_its_parameters() -> None:
    """Rows with <u, dl/du> = 0 but dl/du not zero, by which no matrix of rank one can be divided."""
    case = CASES["ReLU without bias"]
    params, (x, y) = case.params(), case.data()
    params["c"][1] = [0.7, 0.0]
    y[:6, 0] = (np.maximum(x @ params["a"], 0) @ params["c"])[:6, 0]
    symmetry = found("ReLU without bias")[1]
    one, two = symmetry.covariances(params, data=(x, y))
    w, u = params["a"][:, 1], params["c"][1]
    noise = symmetry.noise_terms(params, data=(x, y))
    assert (u @ two @ u, w @ one @ w) == pytest.approx(noise, rel=1e-10)


@pytest.mark.parametrize(
    "name",
    ["ReLU"]
    + [
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("convolution", "query and key, with a bias of the query")
    ],
)
def test_the_balanced_point_has_balanced_noise_and_a_ratio_within_its_bounds(name: str) -> None:
    params = CASES[name].params()
    symmetry = found(name)[1]
    one, two = symmetry.noise_terms(params)
    balanced = symmetry.balanced_point(params)
    assert symmetry.predicted_drift(balanced, 1.0) == pytest.approx(0.0, abs=1e-10 * (one + two))
    group = symmetry.groups[0]
    name_of = group.label
    ratio = (balanced[name_of][group.where] / params[name_of][group.where]).ravel()
    np.testing.assert_allclose(ratio**4, one / two, rtol=1e-9)
    low, high = symmetry.norm_ratio_bounds(balanced)
    assert low <= symmetry.norm_ratio(balanced) <= high


def test_the_bounds_are_reached_at_balance() -> None:
    """u^T C1 u = w^T C2 w with u and w along eigenvectors; a singular matrix bounds one side only."""
    c1, c2 = np.diag([1.0, 4.0]), np.diag([2.0, 6.0])
    ratios = [l2 / l1 for l1 in (1, 4) for l2 in (2, 6)]
    assert ratio_bounds(c1, c2) == (min(ratios), max(ratios)) == (0.5, 6.0)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    assert ratio_bounds(turn @ c1 @ turn.T, c2) == pytest.approx((0.5, 6.0))
    assert ratio_bounds(np.diag([0.0, 4.0]), c2) == (0.5, np.inf)
    assert ratio_bounds(c1, np.diag([0.0, 6.0])) == (0.0, 6.0)
    with pytest.raises(InputError, match="must have noise"):
        ratio_bounds(c1, np.zeros((2, 2)))


def test_the_rank_is_decided_at_the_tolerance_and_exponents_are_the_shortest_integers() -> None:
    """Columns that are all but dependent, by 1e-7, are not so at 1e-9; (1, 2/3, -4/3) is (3, 2, -4)."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 4))
    rows[:, 2] = (3 * rows[:, 0] + 2 * rows[:, 1]) / 4
    exact = null_space(rows, np.abs(rows), 1e-9)
    assert (exact.basis.shape, exact.largest_dropped < 1e-14, exact.smallest_kept > 0.01) == ((1, 4), True, True)
    assert np.abs(integer_basis(exact.basis, np.eye(4))).tolist() == [[3, 2, 4, 0]]
    rows[:, 2] += 1e-7 * rng.normal(size=40)
    near = null_space(rows, np.abs(rows), 1e-9)
    assert len(near.basis) == 0
    assert 1e-9 < near.smallest_kept < 1e-6
    assert len(null_space(rows, np.abs(rows), 1e-6).basis) == 1


def test_with_weight_decay_the_balanced_point_is_where_the_drift_vanishes() -> None:
    case = CASES["squared ReLU"]
    symmetry = found("squared ReLU", GAMMA)[0]
    balanced = symmetry.balanced_point(case.params(), 0.1)
    assert symmetry.predicted_drift(balanced, 0.1) == pytest.approx(0.0, abs=1e-9)
    with pytest.raises(InputError, match="temperature must be given"):
        symmetry.balanced_point(case.params())


def test_the_imbalance_decays_at_the_rate_of_the_paper(key: jax.Array) -> None:
    def loss(p: Any, batch: Any) -> Any:
        return (p["u"] * p["w"] * batch[0] - batch[1]) ** 2

    rng = np.random.default_rng(0)
    x = rng.normal(size=30)
    y = x + rng.normal(size=30)
    params = {"u": np.array(1.5), "w": np.array(0.4)}
    symmetry = find_symmetries(loss, params, (x, y), key=key, weight_decay=GAMMA)[0]
    slope = 2 * x * (0.6 * x - y)
    rate = 0.1 * slope.var() + 4 * GAMMA
    assert symmetry.decay_rate(params, 0.1) == pytest.approx(rate, rel=1e-12)
    assert symmetry.predicted_drift(params, 0.1) == pytest.approx(-rate * (1.5**2 - 0.4**2), rel=1e-12)


@pytest.mark.parametrize("name", ["ReLU", "squared ReLU", "layer normalisation"])
def test_canonical_points_are_one_for_each_orbit(name: str) -> None:
    params = CASES[name].params()
    symmetry = found(name)[0]
    canonical = symmetry.canonicalize(params)
    other = symmetry.canonicalize(symmetry.transform(params, 3.0))
    for leaf in params:
        np.testing.assert_allclose(canonical[leaf], other[leaf], rtol=1e-10)
    goal = 0.0 if symmetry.kind == "rescaling" else 1.0
    assert symmetry.charge(canonical) == pytest.approx(goal, abs=1e-10)


def test_results_keep_the_dtype_of_the_parameters(key: jax.Array) -> None:
    case = CASES["ReLU"]
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), case.params())
    symmetries = find_symmetries(case.loss, params, case.data(), key=key)
    assert len(symmetries) == 4
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(symmetries[0].canonicalize(params)))
    assert not jax.config.jax_enable_x64


def test_noise_is_gathered_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES["ReLU"]
    whole = gradient_noise(case.loss, case.params(), case.data())
    monkeypatch.setattr("sgdvi.symmetry._loss.BLOCK_NUMBERS", 7 * 24)
    parts = gradient_noise(case.loss, case.params(), case.data())
    gradients = per_sample(case, case.params())
    for noise in (whole, parts):
        assert isinstance(noise, GradientNoise)
        for leaf, mean, variance in zip(gradients.values(), noise.mean, noise.variance, strict=True):
            np.testing.assert_allclose(mean, leaf.mean(0), rtol=1e-10, atol=1e-12)
            np.testing.assert_allclose(variance, leaf.var(0), rtol=1e-10, atol=1e-12)


def test_pixels_that_are_always_black_belong_to_no_symmetry_of_their_own(key: jax.Array) -> None:
    case = CASES["ReLU"]
    x, y = case.data()
    x[:, 0] = 0.0
    symmetries = find_symmetries(case.loss, case.params(), (x, y), key=key)
    assert len(symmetries) == 4
    assert dict(symmetries.ignored) == {"a": 4}


X, Y = CASES["ReLU"].data()
GOOD = CASES["ReLU"].params()
BAD = {
    "mean": ({"loss": lambda p, b: CASES["ReLU"].loss(p, b).mean()}, r"one value per row.*got shape \(\)"),
    "repeated mean": (
        {"loss": lambda p, b: CASES["ReLU"].loss(p, b).mean() * jnp.ones(len(b[0]))},
        "loss of each row; got the same value",
    ),
    "not finite": ({"data": (np.where(X == X[5, 1], np.nan, X), Y)}, "finite at params on every row; got nan in row 5"),
    "never finite": (
        {"loss": lambda p, b: CASES["ReLU"].loss(p, b) + jnp.sqrt(1e-9 - (p["a"] - GOOD["a"]) ** 2).sum()},
        "finite at random parameters",
    ),
    "few samples": ({"data": (X[:3], Y[:3])}, "at least 7 rows to decide with confidence 0.99; got 3"),
    "integers": (
        {"params": {**GOOD, "b": np.zeros(4, int)}},
        "every leaf of params must be floating; b is not; got int",
    ),
    "ignored": ({"loss": lambda p, b: (b[1] ** 2).sum(-1)}, "depend on params; got no influence of a, b, c"),
    "rows": ({"data": (X, Y[:-1])}, r"same number of rows; got \[23, 24\]"),
    "float32": ({"loss": lambda p, b: two_layer(relu)(p, b).astype("float32")}, "float64 here; got float32"),
    "fails": ({"params": {"a": GOOD["a"]}}, "must run on rows of the data; got KeyError"),
    "key": ({"key": 0}, r"key must be one JAX key; got 0. Give jax.random.key"),
    "confidence": ({"confidence": 1.0}, "confidence must be between 0 and 1"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_told(name: str, key: jax.Array) -> None:
    change, text = BAD[name]
    arguments = {"loss": CASES["ReLU"].loss, "params": GOOD, "data": (X, Y), "key": key, **change}
    with pytest.raises(InputError, match=text) as caught:
        find_symmetries(**arguments)
    assert "\n" not in str(caught.value)


def test_a_key_bias_that_softmax_removes_is_left_out_and_named(key: jax.Array) -> None:
    base = CASES["query and key"]

    def loss(p: Any, batch: Any) -> Any:
        x, y = batch
        scores = jnp.einsum("btk,bsk->bts", x @ p["q"], x @ p["k"] + p["b"])
        return (((jax.nn.softmax(scores, -1) @ x @ p["v"]).sum(1) - y) ** 2).sum(-1)

    # its query has no bias: without the bias of the keys two scalings are left, as without it in the parameters
    symmetries = search(Case(loss, {**base.shapes, "b": (2,)}, inputs=(4, 3)), key)
    assert (len(symmetries), symmetries.unused, symmetries.ignored["b"]) == (2, ("b",), 2)
    assert str(symmetries).endswith("left out, as no single row depends on them: b")


def test_unused_leaves_and_dead_neurons_of_a_module_do_not_hide_symmetries(key: jax.Array) -> None:
    case = CASES["ReLU"]

    def loss(p: Any, batch: Any) -> Any:
        alive = jnp.array([1.0, 1.0, 0.0, 1.0])  # whatever the parameters, the third neuron says nothing
        hidden = p["act"](batch[0] @ p["in"]["a"] + p["in"]["b"])
        return ((hidden * alive @ p["c"] - batch[1]) ** 2).sum(-1) + p["scale"] ** 2

    # a neuron that is dead at these parameters alone, the first, is one all the same
    bias, out = np.where(np.arange(4), GOOD["b"], -9.0), np.where(np.arange(4)[:, None], GOOD["c"], 0.0)
    params = {"in": {"a": GOOD["a"], "b": bias}, "c": out, "layer": np.ones((2, 2)), "scale": np.ones(())}
    params["act"] = jax.nn.relu  # a function among the leaves
    symmetries = find_symmetries(loss, params, case.data(), key=key)
    assert [symmetry.exponents for symmetry in symmetries] == [
        {f"c[{k}, :]": 1, f"in.a[:, {k}]": -1, f"in.b[{k}]": -1} for k in (0, 1, 3)
    ]
    assert symmetries.unused == ("layer", "scale")
    assert symmetries.ignored["in.b"] == 1
    assert symmetries[0].charge(params) == pytest.approx(-(GOOD["a"][:, 0] ** 2).sum() - 81)
    moved = symmetries[0].transform(params, 2.0)
    assert moved["act"] is jax.nn.relu
    np.testing.assert_allclose(moved["in"]["b"], np.where(np.arange(4), bias, -4.5))


def test_batch_normalisation_has_no_per_sample_noise() -> None:
    case = CASES["batch normalisation and tanh"]
    with pytest.raises(InputError, match="couples the rows of a batch"):
        found("batch normalisation and tanh")[0].noise_terms(case.params())
