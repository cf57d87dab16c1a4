"""`sgdvi.balance`: charges, drift and noise along runs of SGD, against per-sample gradients and exact identities."""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
import pytest
import xarray as xr
from architectures import CASES, decayed
from matplotlib import pyplot as plt

import sgdvi
from sgdvi import InputError, Status
from sgdvi.diagnostics import charges
from sgdvi.diagnostics.thresholds import Thresholds
from sgdvi.noise_balance.ratios import _error, beyond
from sgdvi.noise_balance.run import _lags
from sgdvi.noise_balance.text import _clip, short_name
from sgdvi.symmetry import Symmetry
from sgdvi.symmetry._slices import Group

RATE, SIZE = 0.004, 4


def loss_of(name: str, weight_decay: float = 0.0) -> tuple[sgdvi.Loss, Any]:
    case = CASES[name]
    # seed 3: every neuron is active on a third of the rows at least
    return sgdvi.Loss(case.loss, case.params(3), weight_decay), case.data()


def by_check(found: sgdvi.Balance) -> dict[str, sgdvi.Finding]:
    return {finding.check: finding for finding in found.findings}


@pytest.fixture(scope="module")
def network() -> tuple[sgdvi.Loss, Any]:
    return loss_of("ReLU")


@pytest.fixture(scope="module")
def symmetries(network) -> sgdvi.Symmetries:
    return sgdvi.find_symmetries(network[0], None, network[1], key=jax.random.key(0))


@pytest.fixture(scope="module")
def result(network, symmetries) -> sgdvi.Balance:
    options = {"num_steps": 3000, "num_chains": 4, "points": 60}
    return sgdvi.balance(*network, learning_rate=RATE, batch_size=SIZE, symmetries=symmetries, **options)


def plain_run(loss: sgdvi.Loss, data: Any, steps: int, chains: int = 2, optimizer: Any = None, seed: int = 5) -> Any:
    """Every iterate of SGD by hand: a pytree with axes (chain, step + 1)."""
    optimizer = optimizer or optax.sgd(RATE)
    slope = jax.grad(lambda p, batch: loss(p, batch).mean())

    def step(carry: Any, rows: Any) -> Any:
        params, state = carry
        updates, state = optimizer.update(slope(params, jax.tree.map(lambda leaf: leaf[rows], data)), state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    def chain(rows: Any, params: Any) -> Any:
        path = jax.lax.scan(step, (params, optimizer.init(params)), rows)[1]
        return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), params, path)

    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, loss.params)
        data = jax.tree.map(jnp.asarray, data)
        rows = np.random.default_rng(seed).integers(0, len(data[0]), (chains, steps, SIZE))
        return jax.tree.map(np.asarray, jax.jit(jax.vmap(chain, (0, None)))(rows, params))


@pytest.fixture(scope="module")
def path(network) -> Any:
    """Every iterate of 12 chains over 100 steps."""
    return plain_run(*network, 100, chains=12)


def cut(path: Any, chains: int, steps: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[:chains, : steps + 1], path)


def test_measured_drift_is_the_predicted_one(result):
    assert len(result.symmetries) == 4
    assert result.measured.charges.shape[:2] == (4, 4)
    assert result.path.steps[0] == 0
    assert result.path.steps[-1] == 3000
    assert 50 <= result.path.num_points <= 66
    moved = result.drift
    # there is something to measure, to a few per cent
    assert np.all(moved.error < 0.1 * np.abs(moved.predicted).max())
    assert np.abs(moved.predicted / moved.error).max() > 15
    assert np.abs(moved.z).max() < 4
    assert by_check(result)["balance.drift"].status is Status.PASS
    np.testing.assert_allclose(
        moved.measured, np.diff(result.measured.charges[:, :, [0, -1]])[..., 0].mean(1) / (3000 * RATE), rtol=1e-9
    )


def test_points_hold_what_the_per_sample_gradients_say(result, network):
    loss, data = network
    chain, point = 1, 20
    params = jax.tree.unflatten(jax.tree.structure(loss.params), [leaf[chain, point] for leaf in result.path.leaves])
    with jax.enable_x64(True):
        gradients = jax.jacrev(loss.function)(params, data)
    noise = {k: np.asarray(g).var(0) for k, g in gradients.items()}
    mean = {k: np.asarray(g).mean(0) for k, g in gradients.items()}
    unit, got = 2, result.measured
    one, two = noise["a"][:, unit].sum() + noise["b"][unit], noise["c"][unit].sum()
    np.testing.assert_allclose(got.terms[:, unit, chain, point], [one, two], rtol=1e-10)
    squares = [(params["a"][:, unit] ** 2).sum() + params["b"][unit] ** 2, (params["c"][unit] ** 2).sum()]
    np.testing.assert_allclose(got.norms[:, unit, chain, point], squares, rtol=1e-12)
    np.testing.assert_allclose(got.charges[unit, chain, point], squares[0] - squares[1], rtol=1e-11)
    heat = RATE / SIZE
    np.testing.assert_allclose(got.flow[unit, chain, point], heat * (one - two), rtol=1e-10)
    slope = (mean["a"][:, unit] ** 2).sum() + mean["b"][unit] ** 2 - (mean["c"][unit] ** 2).sum()
    np.testing.assert_allclose(got.discrete[unit, chain, point], heat * (one - two) + RATE * slope, rtol=1e-10)
    assert result.symmetries[unit].predicted_drift(params, heat) == pytest.approx(heat * (one - two), rel=1e-10)


@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_single_steps_are_martingale_increments_about_the_exact_mean(decay, network, symmetries, path):
    """Thinning 1: the mean over all batches of c' - c is eta times the prediction, to rounding."""
    loss = sgdvi.Loss(network[0].function, network[0].params, decay)
    data = network[1]
    path = plain_run(loss, data, 30) if decay else cut(path, 2, 30)
    known = None if decay else symmetries
    found = sgdvi.balance(loss, data, trajectory=path, learning_rate=RATE, batch_size=SIZE, symmetries=known)
    assert found.path.lags.tolist() == [1] * 30
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: leaf[1, 7], path)
        each = jax.tree.map(np.asarray, jax.jacrev(loss.function)(params, data))
    rows = np.random.default_rng(0).integers(0, 24, (200_000, SIZE))
    for number, symmetry in enumerate(found.symmetries):
        assert symmetry.weight_decay == pytest.approx(decay, rel=1e-6, abs=0)
        change = np.zeros(len(rows))
        for group in symmetry.groups:
            g = each[group.label][(slice(None), *group.where)].reshape(24, -1)
            batch = np.mean([g[rows[:, k]] for k in range(SIZE)], axis=0)
            theta = params[group.label][group.where].ravel()
            change += group.exponent * (((theta - RATE * (batch + 2 * decay * theta)) ** 2).sum(1) - (theta**2).sum())
        predicted = found.measured.discrete[number, 1, 7]
        assert abs(change.mean() / RATE - predicted) < 5 * change.std() / RATE / np.sqrt(len(rows))


@pytest.mark.slow
def test_the_error_bars_are_those_of_the_differences(network, symmetries):
    """Over many short runs of single steps, z is standard normal."""
    loss, data = network
    whole = plain_run(loss, data, 80, chains=40)
    z = []
    for chain in range(0, 40, 2):
        path = jax.tree.map(lambda leaf, chain=chain: leaf[chain : chain + 2], whole)
        found = sgdvi.balance(
            loss, data, trajectory=path, learning_rate=RATE, batch_size=SIZE, symmetries=symmetries, points=81
        )
        z.append(found.drift.z)
    spread = np.sqrt(np.mean(np.square(z)))
    # 20 runs of 4 correlated charges: 20 degrees of freedom at least, 0.16 is one standard error
    assert 0.5 < spread < 1.6


@pytest.mark.parametrize(("optimizer", "rate"), [(None, 2 * RATE), (optax.adam(0.01), RATE)])
def test_another_rate_or_algorithm_is_told(optimizer, rate, network, symmetries, path):
    loss, data = network
    if optimizer is not None:
        path = plain_run(loss, data, 100, chains=12, optimizer=optimizer)
    options = {"trajectory": path, "batch_size": SIZE, "points": 101, "symmetries": symmetries}
    finding = by_check(sgdvi.balance(loss, data, learning_rate=rate, **options))["balance.drift"]
    assert finding.status is Status.FAIL
    assert finding.value > 5
    assert "Adam differs" in finding.advice


def test_draws_and_arrays_read_alike(network, symmetries):
    loss, data = network
    sampler = sgdvi.SGD(loss, learning_rate=RATE, batch_size=SIZE, batching="without-replacement")
    with jax.enable_x64(True):
        double = sgdvi.Loss(loss.function, jax.tree.map(lambda leaf: np.asarray(leaf, float), loss.params))
        sampler = sgdvi.SGD(double, learning_rate=RATE, batch_size=SIZE, batching="without-replacement")
        tree = sgdvi.sample(
            sampler, data, key=jax.random.key(1), num_steps=60, num_warmup=10, thinning=3, num_chains=2, progress=False
        )
    known = {"symmetries": symmetries}
    one = sgdvi.balance(loss, data, trajectory=tree, **known)
    arrays = {name: np.asarray(tree["posterior"][name]) for name in loss.names}
    two = sgdvi.balance(
        loss,
        data,
        trajectory=arrays,
        learning_rate=RATE,
        batch_size=SIZE,
        thinning=3,
        batching="without-replacement",
        **known,
    )
    np.testing.assert_array_equal(one.measured.discrete, two.measured.discrete)
    assert one.path.steps[0] == 13
    # a batch of 4 of 24 rows without replacement
    assert one.path.temperature == pytest.approx(RATE / SIZE * 20 / 23)
    np.testing.assert_allclose(one.drift.z, two.drift.z)
    epochs = sgdvi.balance(loss, data, trajectory=tree, batching="epochs", **known)
    assert by_check(epochs)["balance.drift"].status is Status.UNKNOWN
    assert "Shuffled epochs have no temperature" in str(epochs)
    unknown = sgdvi.balance(loss, data, trajectory=arrays, **known)
    assert by_check(unknown)["balance.drift"].status is Status.UNKNOWN
    assert "learning rate not known" in str(unknown)
    assert unknown.to_dict()["symmetries"][0]["drift"] == "nan"


def test_at_the_balanced_point_noise_and_ratios_pass(network, symmetries):
    loss, data = network
    params = at_rest(loss.params, symmetries)
    still = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (1, 3, *leaf.shape)), params)
    options = {"learning_rate": RATE, "batch_size": SIZE, "symmetries": symmetries}
    found = by_check(sgdvi.balance(loss, data, trajectory=still, **options))
    assert found["balance.noise"].status is Status.PASS
    assert found["balance.ratio"].status is Status.PASS
    # a neuron that has died out has no ratio to hold against bounds
    dead = {name: np.array(leaf) for name, leaf in params.items()}
    dead["a"][:, 0], dead["b"][0], dead["c"][0] = 1e-8 * dead["a"][:, 0], 1e-8 * dead["b"][0], 1e-9 * dead["c"][0]
    still = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (1, 3, *leaf.shape)), dead)
    without = sgdvi.balance(loss, data, trajectory=still, **options)
    assert np.isnan(without.ratios.value).tolist() == [True, False, False, False]
    assert "of 3 rescalings" in by_check(without)["balance.ratio"].meaning
    moved = {**params, "a": 3 * params["a"], "b": 3 * params["b"], "c": params["c"] / 3}
    still = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (1, 3, *leaf.shape)), moved)
    found = by_check(sgdvi.balance(loss, data, trajectory=still, **options))
    assert found["balance.noise"].status is Status.WARN
    assert found["balance.ratio"].status is Status.WARN
    assert found["balance.noise"].details["share balanced"] == 0
    assert "is balanced; along them it still drifts" in found["balance.noise"].meaning


def at_rest(params: Any, symmetries: Any, temperature: float | None = None) -> Any:
    for _ in range(40):  # each scaling changes the noise of the others a little
        for symmetry in symmetries:
            params = symmetry.balanced_point(params, temperature)
    return params


def test_ratios_are_read_over_the_second_half_of_all_chains(network, symmetries):
    """Means of the norms, and of the extreme eigenvalues weighted by them: parts that died out hardly count."""
    loss, data = network
    rest = at_rest(loss.params, symmetries)
    odd = {**rest, "a": np.where(np.arange(4) == 0, 1e-3, 1.0) * rest["a"], "c": rest["c"].copy()}
    odd["c"][0] *= 1e-8
    odd["b"] = np.where(np.arange(4) == 0, 1e-3, 1.0) * rest["b"]
    # the first half of the run is far off, as is the neuron that died out in the first chain
    far = {**rest, "c": 9 * rest["c"]}
    path = jax.tree.map(lambda f, o, r: np.stack([np.stack([f, o, o]), np.stack([f, r, r])]), far, odd, rest)
    found = sgdvi.balance(loss, data, trajectory=path, learning_rate=RATE, batch_size=SIZE, symmetries=symmetries)
    assert by_check(found)["balance.ratio"].status is Status.PASS
    assert found.ratios.points == 4
    low, high, value = np.zeros(2), np.zeros(2), np.zeros(2)
    for params in (odd, rest):
        ends = np.array([np.linalg.eigvalsh(matrix)[[0, -1]] for matrix in symmetries[0].covariances(params)])
        sizes = np.array([(params["a"][:, 0] ** 2).sum() + params["b"][0] ** 2, (params["c"][0] ** 2).sum()])
        low, high, value = low + ends[:, 0] * sizes, high + ends[:, 1] * sizes, value + sizes
    ratio = value[0] / value[1]
    assert found.ratios.value[0] == pytest.approx(ratio, rel=1e-9)
    wanted = [low[1] / high[0] * ratio, high[1] / low[0] * ratio]
    np.testing.assert_allclose(found.ratios.bounds[:, 0], wanted, rtol=1e-6)


def test_at_rest_noise_and_weight_decay_pull_alike(network, symmetries):
    loss, data = network
    decaying = replace(symmetries, found=tuple(replace(each, weight_decay=0.05) for each in symmetries))
    rest = at_rest(loss.params, decaying, RATE / SIZE)
    still = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (1, 3, *leaf.shape)), rest)
    options = {"trajectory": still, "symmetries": decaying}
    found = sgdvi.balance(loss, data, learning_rate=RATE, batch_size=SIZE, **options)
    checks = by_check(found)
    assert checks["balance.noise"].value < 1e-6
    assert "noise and weight decay" in checks["balance.noise"].meaning
    # the noise alone is far from balanced, and the norms from the bounds at its balance
    above, below = found.noise_terms
    assert np.abs((above - below) / (above + below)).max() > 0.3
    assert checks["balance.ratio"].status is Status.PASS
    c1, c2 = (np.linalg.eigvalsh(matrix) for matrix in symmetries[1].covariances(rest))
    heat = RATE / SIZE
    wanted = [(heat * c2[0] + 0.2) / (heat * c1[-1] + 0.2), (heat * c2[-1] + 0.2) / (heat * c1[0] + 0.2)]
    np.testing.assert_allclose(found.ratios.bounds[:, 1], wanted, rtol=1e-9)
    unknown = by_check(sgdvi.balance(loss, data, **options))
    assert unknown["balance.noise"].status is Status.UNKNOWN
    assert "learning_rate=" in unknown["balance.noise"].meaning


def test_a_ratio_is_outside_its_bounds_only_beyond_its_error():
    draw, widen = np.random.default_rng(0), charges.slack(Thresholds())
    assert widen == pytest.approx(1.1 / 0.9)
    above, below = norms = 1 + 0.2 * draw.normal(size=(2, 1, 4, 400))
    ratio = above.mean() / below.mean()
    error = _error(above[0], below[0], ratio, below.mean())
    assert error == pytest.approx(0.2 * np.sqrt(2 / 1600), rel=0.2)
    # an error is that of 1 here: bounds above and below by one, by none, and by five of them
    for low, high, z in [(0, 1 - error, 1), (0, 1, 0), (0, 1 - 5 * error, 5), (1 + 5 * error, np.inf, 5)]:
        bounds = np.array([[low * widen], [high / widen]]) * ratio
        outside = beyond(norms, bounds, widen)
        assert outside[0] == pytest.approx(z, abs=0.1 + 0.03 * z)
        finding = charges.ratios.on("SGD", ["u / w"], np.array([ratio]), np.array([error]), bounds, outside, points=8)
        assert finding.status is (Status.WARN if z > 3 else Status.PASS)
    assert "not that of u / w, 1.0" in finding.meaning
    assert "±" in finding.meaning
    # two points have no error
    assert beyond(norms[..., :2], np.array([[0.0], [0.1]]), widen) == np.inf


@pytest.mark.parametrize(
    ("name", "hidden", "parameters"),
    [
        ("linear", 10, 20),
        ("tanh", 0, 24),
        pytest.param("layer normalisation and tanh, with bias", 1, 24, marks=pytest.mark.slow),
    ],
)
def test_directions_that_are_left(name, hidden, parameters):
    loss, data = loss_of(name)
    still = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (1, 3, *leaf.shape)), loss.params)
    found = sgdvi.balance(loss, data, trajectory=still)
    assert found.num_charges == hidden
    assert found.effective_dimension == parameters - hidden
    finding = by_check(found)["balance.directions"]
    assert finding.status is (Status.WARN if hidden else Status.PASS)
    assert finding.value == hidden
    assert f"in {parameters - hidden} of {parameters}" in finding.meaning or not hidden
    if name == "linear":
        assert "GL(4), with 10 charges" in str(found)
    if "layer" in name:
        assert by_check(found)["balance.noise"].status is Status.NOT_APPLICABLE
        assert by_check(found)["balance.ratio"].status is Status.NOT_APPLICABLE


def test_chains_that_overflow_are_counted_and_left_out(network, symmetries, path):
    loss, data = network
    path = dict(cut(path, 3, 40))
    lost = np.array([1.0, np.nan, 1.0])[:, None, None, None]
    path["a"] = np.where(np.arange(41)[:, None, None] < 20, path["a"], lost * path["a"])
    options = {"trajectory": path, "symmetries": symmetries}
    found = sgdvi.balance(loss, data, learning_rate=RATE, batch_size=SIZE, **options)
    assert (found.path.lost, found.path.num_chains) == (1, 2)
    assert "1 more chain overflowed and were left out" in str(found)
    options = {"batch_size": 2, "symmetries": symmetries, "num_steps": 200, "points": 40}
    some = sgdvi.balance(loss, data, learning_rate=0.2, num_chains=8, **options)
    assert 0 < some.path.lost < 8
    assert some.path.num_chains == 8 - some.path.lost


def test_text_json_and_figure(result, tmp_path):
    text = str(result)
    assert max(map(len, text.splitlines())) <= 80
    assert result.names == [f"a[:, {unit}] / c[{unit}, :]" for unit in range(4)]
    assert all(f"\n{name} " in text for name in result.names)
    record = json.loads(result.to_json(tmp_path / "balance.json").read_text())
    assert record["effective_dimension"] == 20
    assert [row["name"] for row in record["symmetries"]] == result.names
    assert len(record["symmetries"][0]["charge"]) == len(record["run"]["steps"]) == result.path.num_points
    assert record["findings"][1]["check"] == "balance.drift"
    axes = result.plot()
    assert set(axes) == {"charges", "drift", "noise"}
    assert all(each.get_xlabel() and each.get_ylabel() for each in axes.values())
    figure, own = plt.subplots()
    assert result.plot({"drift": own}) == {"drift": own}
    assert own.containers
    plt.close(figure)
    with pytest.raises(InputError, match="must be writable"):
        result.to_json(tmp_path / "none" / "balance.json")


def test_many_symmetries_are_listed_by_their_imbalance(result):
    many = replace(
        result,
        symmetries=replace(result.symmetries, found=result.symmetries.found * 5),
        measured=replace(
            result.measured,
            **{n: np.concatenate([getattr(result.measured, n)] * 5, -3) for n in ("charges", "flow", "discrete")},
            **{n: np.concatenate([getattr(result.measured, n)] * 5, 1) for n in ("terms", "norms")},
        ),
        ratios=replace(
            result.ratios,
            **{n: np.concatenate([getattr(result.ratios, n)] * 5, -1) for n in ("value", "error", "bounds")},
        ),
        rest=replace(result.rest, **{n: np.tile(getattr(result.rest, n), 5) for n in ("norm_ratio", "steps")}),
    )
    assert "... and 8 more, nearer to balance" in str(many)
    assert max(map(len, str(many).splitlines())) <= 80


def test_names_of_slices_fit_their_column():
    assert _clip("hidden[:, 10] / output[10]") == "hidden[:,10] / output[10] "
    assert _clip("u / w") == "u / w".ljust(26)
    assert _clip("weights[:, 10] / output[10, :]").endswith("… ")


@pytest.mark.parametrize(
    ("inputs", "exponents", "name"),
    [
        (3, {"hidden": 1, "output": -1, "biases": 1}, "hidden[:, 2] / output[2]"),
        (1, {"hidden": 1, "output": -1, "biases": 1}, "hidden[:, 2] / output[2]"),
        (3, {"hidden": -1, "output": 1, "biases": -1}, "output[2] / hidden[:, 2]"),
        (3, {"biases": 1, "hidden": 1}, "hidden[:, 2]"),
    ],
)
def test_a_symmetry_is_named_by_its_weights_and_not_by_a_bias(inputs, exponents, name):
    shapes = {"biases": (4,), "hidden": (inputs, 4), "output": (4,)}
    loss: Any = SimpleNamespace(leaves=[np.zeros(shape) for shape in shapes.values()])
    groups = [
        Group(number, label, (*[None] * (len(shape) - 1), 2), exponents[label])
        for number, (label, shape) in enumerate(shapes.items())
        if label in exponents
    ]
    assert short_name(Symmetry(tuple(groups), loss)) == name


def test_findings_enter_the_comparison(network, result, path):
    tree = cut(path, 2, 100)
    options: dict[str, Any] = {"functionals": {"b": lambda ds: ds["b"][..., 0]}}
    both = sgdvi.compare({"SGD": tree}, None, findings=result.findings, **options)
    assert [f.check for f in both.findings][-4:] == [f.check for f in result.findings]
    assert any("the noise of SGD never acts" in reason for reason in both.verdict.reasons)
    assert "balance.drift" in {f["check"] for f in both.to_dict()["findings"]}
    with pytest.raises(InputError, match="the run of the finding 'balance.directions' must be one of 'mine'"):
        sgdvi.compare({"mine": tree}, None, findings=result.findings, **options)
    with pytest.raises(InputError, match=r"findings must be sgdvi\.Finding"):
        sgdvi.compare({"SGD": tree}, None, findings=["good"], **options)


@pytest.mark.slow
def test_a_numpyro_model_is_the_loss_that_sgd_descends(key):
    """Row losses average to the target's loss, and the prior is the weight decay kappa gamma."""
    problem = sgdvi.zoo.load("small-n")
    found = sgdvi.balance(problem, learning_rate=0.02, batch_size=2, num_steps=400, num_chains=3, key=key)
    symmetry = found.symmetries[0]
    assert symmetry.weight_decay == pytest.approx(problem.exact.kappa * problem.exact.weight_decay, rel=1e-9)
    u, w = (leaf[2, 5] for leaf in found.path.leaves)
    assert abs(u - found.path.leaves[0][1, 5]) > 0  # chains have starts of their own
    x, y = problem.data
    gamma, kappa = problem.exact.weight_decay, problem.exact.kappa
    wanted = kappa * (np.mean((u * w * x - y) ** 2) + gamma * (u * u + w * w)) + 0.5 * np.log(np.pi / kappa)
    wanted += np.log(2 * np.pi) / len(x)  # of the two priors
    with jax.enable_x64(True):
        got = symmetry.loss.values([u, w], symmetry.loss.data).mean()
    assert float(got) == pytest.approx(wanted, rel=1e-10)
    assert by_check(found)["balance.drift"].status is Status.PASS
    names = found.symmetries[0].loss.labels
    draws = xr.Dataset({n: (("chain", "draw"), leaf) for n, leaf in zip(names, found.path.leaves, strict=True)})
    draws.attrs["config_json"] = json.dumps({"learning_rate": 0.02, "batch_size": 2})
    tree = xr.DataTree.from_dict({"posterior": draws})
    assert np.isfinite(sgdvi.balance(problem, trajectory=tree, symmetries=found.symmetries).drift.z).all()


@pytest.mark.slow
def test_decay_inside_the_loss_counts_once(network):
    loss = sgdvi.Loss(decayed(network[0].function, 0.05, "abc"), network[0].params)
    path = plain_run(loss, network[1], 400, chains=4)
    found = sgdvi.balance(loss, network[1], trajectory=path, learning_rate=RATE, batch_size=SIZE, points=401)
    assert found.symmetries[0].weight_decay == pytest.approx(0.05, rel=1e-6)
    assert np.abs(found.drift.z).max() < 4.5


def test_points_are_dense_at_the_start():
    lags = _lags(4000, 100, None)
    assert 8 * sum(lags) == 4000
    assert lags[:7] == [1, 2, 4, 8, 16, 32, 73]
    assert max(lags) - min(lags[6:]) <= 1
    assert len(lags) <= 13
    assert _lags(8, 100, None) == [1]
    assert _lags(100, 100, 5) == [5, 5]


NET, DATA = loss_of("ReLU")
BAD = {
    "no rate": ({}, "learning_rate and batch_size must be given to run SGD; got no learning_rate and no batch_size"),
    "no size": ({"learning_rate": 0.1}, "got no batch_size"),
    "function": ({"model": NET.function}, r"model must be a sgdvi.Loss.*sgdvi.Loss\(function, params\)"),
    "no data": ({"data": None}, "data must be given with a Loss"),
    "data beside": ({"model": "small-n"}, "a problem has its own data"),
    "steps": ({"learning_rate": 0.1, "batch_size": 2, "num_steps": 3}, "num_steps must be .* at least 8"),
    "structure": ({"trajectory": {"a": np.zeros((1, 3, 3, 4))}}, "the trajectory must have the structure"),
    "shape": (
        {"trajectory": {k: np.asarray(v)[None] for k, v in NET.params.items()}},
        r"the trajectory of a must have shape \(chain, draw, 3, 4\)",
    ),
    "short": (
        {"trajectory": {k: np.asarray(v)[None, None] for k, v in NET.params.items()}},
        "at least 2 draws; got 1",
    ),
    "not finite": (
        {"trajectory": {k: np.full((1, 3, *np.shape(v)), np.nan) for k, v in NET.params.items()}},
        "at least one chain of the trajectory must be finite",
    ),
    "rate alone": (
        {"trajectory": {k: np.ones((1, 3, *np.shape(v))) for k, v in NET.params.items()}, "learning_rate": 0.1},
        "batch_size goes with learning_rate",
    ),
    "thresholds": ({"thresholds": {"drift": 3}}, "unknown threshold"),
    "coupled": ({"model": loss_of("batch normalisation")[0], "learning_rate": 1e-3, "batch_size": 4}, "other rows"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_told(name):
    change, text = BAD[name]
    arguments: dict[str, Any] = {"model": NET, "data": DATA, **change}
    with pytest.raises(InputError, match=text) as caught:
        sgdvi.balance(arguments.pop("model"), arguments.pop("data"), **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_hierarchy_keeps_its_symmetry_and_names_what_no_row_depends_on():
    rng = np.random.default_rng(0)
    group, x = np.repeat(np.arange(5), 12), rng.normal(size=60)

    def model(group, x, y):
        mu = numpyro.sample("mu", dist.Normal(0, 1))
        tau = numpyro.sample("tau", dist.HalfNormal(1))
        level = numpyro.sample("level", dist.Normal(mu, tau).expand([5]).to_event(1))
        u, w = (numpyro.sample(name, dist.Normal(0, 1)) for name in "uw")
        with numpyro.plate("data", len(x)):
            numpyro.sample("y", dist.Normal(level[group] + u * w * x, 1.0), obs=y)

    problem = sgdvi.Problem("hierarchy", model, (group, x, x + rng.normal(size=60)), {"v": lambda ds: ds.u * ds.w})
    found = sgdvi.balance(problem, learning_rate=0.01, batch_size=4, num_steps=80, num_chains=2, points=4)
    assert (found.names, found.symmetries.unused, found.effective_dimension) == (["u / w"], ("mu", "tau"), 6)
    assert "depends on them: mu, tau" in " ".join(str(found).split())
