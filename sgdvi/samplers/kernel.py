"""Samplers as kernels of `numpyro.infer.MCMC`; `sgdvi.sample` takes the same objects."""

import pickle
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from numpyro.infer.mcmc import MCMCKernel

from sgdvi._internal.batches import NO_TEMPERATURE, Batching
from sgdvi._internal.check import InputError, message, non_negative, positive, require, whole
from sgdvi._internal.tree import Arguments, Rows, is_traced, take
from sgdvi.samplers.algorithms.sgd import Rate, batch_indices, chain_seed, noise_seed, probe_rate, sgd
from sgdvi.samplers.driver.loop import mark_overflow
from sgdvi.samplers.protocol import Algorithm, Batch, batch_like, check_algorithm
from sgdvi.samplers.targets.base import Params, Target, find_start, require_finite
from sgdvi.samplers.targets.make import Source, make_target

_CHECK_SEED = 0


class KernelState(NamedTuple):
    """State of one chain under `numpyro.infer.MCMC`.

    Attributes
    ----------
    z
        Parameters in unconstrained coordinates.
    state
        State of the algorithm.
    loss
        Loss of the minibatch of the last step, at the parameters before it.
    step
        Number of steps taken.
    overflow
        The step after which a parameter was first not finite; -1 while all are.
    rng_key
        Key of the chain. It never changes: the rows and the noise of step t follow from the key and t.
    """

    z: Params
    state: Any
    loss: jax.Array
    step: jax.Array
    overflow: jax.Array
    rng_key: jax.Array


class Sampler(MCMCKernel):
    """An algorithm on minibatches of a NumPyro model or a loss: what `sgdvi.sample` and `numpyro.infer.MCMC` run.

    Parameters
    ----------
    model
        NumPyro model. Its data are its arguments; observed sites stand in one data plate over their rows. Or a
        `Loss`.
    algorithm
        What a chain does: see `Algorithm`.
    batch_size
        Rows of a minibatch, S; None takes all rows at every step.
    batching
        How the rows of a minibatch are drawn: "replacement" (each of all rows, independently), "without-replacement"
        (S different rows, independent of other steps), "epochs" (the next S rows of a random order of all rows, a new
        order every floor(N/S) steps; the N mod S rows at its end are left out of that epoch), or "full" (all rows,
        whatever `batch_size`).
    settings
        What a reader of the draws must know of the algorithm beside its batches, as JSON types; kept with the draws.

    Attributes
    ----------
    kind
        Short name of the algorithm; the runs are labelled with it.
    packages
        Names of the packages whose version decides the draws, beside those that always do.
    begin
        Key -> unconstrained parameters where a chain starts, in place of the model's own start; None leaves it.
    version
        Raised when the law of the draws changes for the same settings: stored runs of an earlier one do not go on.

    Raises
    ------
    InputError
        For an algorithm that is none, and a batch size below 1.
    """

    kind = "user"
    packages: tuple[str, ...] = ()
    version = 1

    def __init__(
        self,
        model: Source,
        algorithm: Algorithm,
        batch_size: int | None = 1,
        *,
        batching: str = Batching.REPLACEMENT,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        require(callable(model), "model must be a NumPyro model, a callable, or a sgdvi.Loss", repr(model))
        self._model = model
        advice = "Give sgdvi.samplers.Algorithm(init, step)."
        require(isinstance(algorithm, Algorithm), "algorithm must be an Algorithm", repr(algorithm), advice)
        self._algorithm: Algorithm | None = algorithm
        self.batching = Batching.FULL if batch_size is None else Batching.of(batching)
        full = self.batching is Batching.FULL
        self.batch_size = None if full else whole("batch_size", batch_size, least=1)
        named = settings is None or isinstance(settings, Mapping)
        require(named, "settings must be a dict of JSON types by name", type(settings).__name__)
        self._settings = dict(settings or {})
        self.begin: Callable[[jax.Array], Params] | None = None
        self._target: Target | None = None

    @property
    def model(self) -> Source:
        """The NumPyro model, or the loss."""
        return self._model

    @property
    def algorithm(self) -> Algorithm:
        """What a chain does.

        Raises
        ------
        InputError
            If the sampler comes from a pickle that could not hold it.
        """
        rule, advice = "a sampler must have its algorithm to run", "Make the sampler anew."
        if self._algorithm is None:
            raise InputError(message(rule, "one from a pickle, which holds no functions made by functions", advice))
        return self._algorithm

    def __getstate__(self) -> dict[str, Any]:
        # optax's optimizers are functions made by functions: without this no MCMC with its draws could be pickled.
        # The model must be kept, or `Predictive` and ArviZ have none.
        kept = {name: value if name == "_model" or _pickles(value) else None for name, value in vars(self).items()}
        return kept | {"_target": None}

    @property
    def sample_field(self) -> str:
        """Name of the parameters in `KernelState`."""
        return "z"

    @property
    def default_fields(self) -> tuple[str, ...]:
        """Fields that `numpyro.infer.MCMC` collects."""
        return ("z",)

    def size(self, num_data: int) -> int:
        """Rows of a minibatch of these data."""
        return num_data if self.batch_size is None else self.batch_size

    def settings(self, num_data: int) -> dict[str, Any]:
        """Return the settings of the algorithm that a reader of its draws needs, as JSON types."""
        return dict(self._settings)

    @property
    def versions(self) -> dict[str, int]:
        """Versions of the algorithms that decide the draws, by kind; the first ones are left out."""
        return {self.kind: self.version} if self.version > 1 else {}

    def check_run(self, num_data: int, num_steps: int, num_warmup: int, thinning: int) -> None:
        """Raise `InputError` where the algorithm cannot use a run of `sgdvi.sample` with these numbers."""

    def prepare(self, arguments: Arguments, num_data: int | None = None) -> Target:
        """Find rows and plates of the model on these arguments: all rows, or some of `num_data`.

        The target is kept: arguments that differ in the values of their rows alone do not compile again.

        Raises
        ------
        InputError
            See `make_target`; also for a batch size above N without replacement.
        """
        target = self._target
        fits = target is not None and target.split.same_as(arguments)
        if target is None or not fits or (num_data or target.split.num_rows) != target.num_data:
            target = self._target = make_target(self._model, arguments, jax.random.key(_CHECK_SEED), num_data)
        size = target.num_data
        if self.batching is not Batching.REPLACEMENT:
            rule = f"batch_size must be at most N = {size} with batching={self.batching.value!r}"
            advice = 'Take batching="replacement" or fewer rows.'
            require(self.size(size) <= size, rule, self.batch_size, advice)
        return target

    def start(self, key: jax.Array) -> Params | None:
        """Where a chain starts unless the caller says otherwise; None leaves it to the model. `prepare` comes first."""
        return None if self.begin is None else self.begin(key)

    def check(self, target: Target, z: Params, rows: Rows) -> None:
        """Check at the parameters `z` that minibatches are what they seem: see `Target.check`."""
        target.check(z, rows, self.size(target.num_data))

    def init(
        self, rng_key: jax.Array, num_warmup: int, init_params: Any, model_args: tuple, model_kwargs: dict[str, Any]
    ) -> KernelState:
        """Start a chain, or a batch of chains for a batch of keys; `init_params` are unconstrained.

        Inside a transformation of the caller's own, such as `jax.jit`, data have no values yet, and what depends on
        them is not checked: whether the loss is finite at a start, and whether minibatches are what they seem.
        """
        # numpyro's parallel chains call this inside a transformation; what is checked here is concrete all the same.
        # Elsewhere nothing is staged by others, and evaluating all at once would compile a program for each operation.
        staged = is_traced(jnp.zeros(()))
        with jax.ensure_compile_time_eval() if staged else nullcontext():
            target = self.prepare((model_args, model_kwargs))
            rows = target.rows((model_args, model_kwargs))
            z, finite = find_start(target, jax.random.key(_CHECK_SEED), rows)
            if not is_traced(model_args, model_kwargs):
                require_finite(finite)
                self.check(target, z, rows)
            check_algorithm(self.algorithm, target, z, batch_like(rows, self.size(target.num_data)))

        def one(key: jax.Array, z: Params | None) -> KernelState:
            begin = z if z is not None else self.start(key)
            begin = find_start(target, key, rows)[0] if begin is None else begin
            return KernelState(begin, self.algorithm.init(begin), jnp.zeros(()), jnp.int32(0), jnp.int32(-1), key)

        batched = rng_key.ndim > (0 if jnp.issubdtype(rng_key.dtype, jax.dtypes.prng_key) else 1)
        if init_params is not None:
            init_params = target.from_names(target.by_name(init_params, "init_params"))
        start = jax.vmap(one, in_axes=(0, None if init_params is None else 0)) if batched else one
        return start(rng_key, init_params)

    def sample(self, state: KernelState, model_args: tuple, model_kwargs: dict[str, Any]) -> KernelState:
        """Take one step of one chain, or of a batch of chains."""
        if self._target is None:
            raise InputError(message("a kernel must be initialised before it samples", "no target", "Call init first."))
        target = self._target
        rows = target.rows((model_args, model_kwargs))

        def one(state: KernelState) -> KernelState:
            return self._step(target, state, rows)

        return (jax.vmap(one) if state.step.ndim else one)(state)

    def postprocess_fn(self, model_args: tuple, model_kwargs: dict[str, Any]) -> Callable[[Params], dict[str, Any]]:
        """Return the map from unconstrained parameters to the sites of the model, or the leaves by name."""
        target = self.prepare((model_args, model_kwargs)) if self._target is None else self._target
        rows = target.rows((model_args, model_kwargs))
        return lambda z: target.constrain(z, rows)

    def get_diagnostics_str(self, state: KernelState) -> str:
        """Return what numpyro's progress bar shows."""
        return f"minibatch loss {float(jnp.mean(state.loss)):.3g}"

    def _step(self, target: Target, kernel: KernelState, rows: Rows) -> KernelState:
        seed, size = chain_seed(kernel.rng_key), self.size(target.num_data)
        indices = batch_indices(seed, kernel.step[None], target.num_data, size, self.batching)[0]
        batch = Batch(target, rows if self.batching.takes_all(target.num_data, size) else take(rows, indices))
        state, info = self.algorithm.step(jax.random.fold_in(noise_seed(seed), kernel.step), kernel.state, batch)
        state, overflow = mark_overflow(state, kernel.overflow, kernel.step + 1)
        loss = info.loss.astype(kernel.loss.dtype)  # a carry of numpyro's loop
        return KernelState(state.z, state, loss, kernel.step + 1, overflow, kernel.rng_key)


class SGD(Sampler):
    r"""Iterates of stochastic gradient descent as draws: plain SGD, or any optax optimizer.

    Step t draws a minibatch, from the chain's key and t alone, and applies the optimizer to the gradient of

    .. math:: L(z) = -\frac1N \Big[ \frac NS \sum_{i \in batch} \log p(y_i | z) + \log p(z) + \log |\det J(z)| \Big]

    in NumPyro's unconstrained coordinates z (J is the Jacobian of the map to the constrained ones). There is no
    accept step: the minibatch is the only source of randomness, unless noise is injected.

    Parameters
    ----------
    model
        NumPyro model. Its data are its arguments; observed sites stand in one data plate over their rows. Or a
        `Loss`, whose mean over the minibatch takes the place of L and whose parameters are z.
    optimizer
        An optax transformation; None is ``optax.sgd(learning_rate)``. Line searches get the value, gradient and
        function of the minibatch loss.
    batch_size
        Rows of a minibatch, S; None takes all rows at every step.
    batching
        How the rows of a minibatch are drawn: "replacement" (each of all rows, independently), "without-replacement"
        (S different rows, independent of other steps), "epochs" (the next S rows of a random order of all rows, a new
        order every floor(N/S) steps; the N mod S rows at its end are left out of that epoch), or "full" (all rows,
        whatever `batch_size`).
    learning_rate
        The rate eta of plain SGD. With an optimizer of your own it is only needed where none can be found (Adam,
        schedules), and is used in the temperature only.
    injected_noise
        Standard deviation s of Gaussian noise that is added to every entry of the gradient, beside that of the
        minibatch. With ``batching="full"`` and plain SGD it is Langevin dynamics of temperature tau = eta s^2 / 2,
        d theta = - grad L dt + sqrt(2 tau) dW: the baseline that diffuses along symmetries, where minibatch noise
        balances.

    Attributes
    ----------
    learning_rate
        The rate that the temperature is computed with; None where it is not known.
        For momentum mu it is eta/(1 - mu), that of the plain SGD that moves alike.
    rate_note
        What a reader must know of that rate; empty for plain SGD.
    momentum
        `sgdvi.laws.momentum.Momentum` of the optimizer, None where it has another memory.

    Raises
    ------
    InputError
        For an optimizer that is none, a rate that is not above 0, a batch size below 1.
    """

    kind = "sgd"

    def __init__(
        self,
        model: Source,
        optimizer: optax.GradientTransformation | None = None,
        batch_size: int | None = 1,
        *,
        batching: str = Batching.REPLACEMENT,
        learning_rate: float | None = None,
        injected_noise: float = 0.0,
    ) -> None:
        given = None if learning_rate is None else positive("learning_rate", learning_rate)
        if optimizer is None:
            rule, advice = "SGD needs an optimizer or a learning rate", "Give learning_rate=0.01 or optax.sgd(0.01)."
            require(given is not None, rule, "neither", advice)
            optimizer = optax.sgd(given)
        rule = "optimizer must be an optax GradientTransformation"
        require(isinstance(optimizer, optax.GradientTransformation), rule, repr(optimizer), "Try optax.sgd(0.01).")
        self.injected_noise = non_negative("injected_noise", injected_noise)
        super().__init__(model, sgd(optimizer, self.injected_noise), batch_size, batching=batching)
        self.optimizer = optimizer
        probed = probe_rate(optimizer)
        if given is not None and probed.value is not None and not probed.note:
            rule = "learning_rate must be the rate of the optimizer, or be left out"
            require(abs(probed.value / given - 1) < 1e-4, rule, f"{given} (the optimizer has {probed.value})")
        rate = probed if given is None else Rate(given, probed.note and "as given with learning_rate=", probed.momentum)
        self.learning_rate, self.rate_note, self.momentum = rate

    def noise_scale(self, num_data: int) -> float | None:
        """Temperature of SGD on L: learning_rate / batch_size, times (N-S)/(N-1) without replacement, 0 on all rows.

        The temperature T of the exact laws is kappa times it, kappa = 1/(2 sigma^2) for a Gaussian likelihood: see
        `sgdvi.LinearNetwork.temperature`. None where the learning rate is not known, for shuffled epochs and with
        injected noise: see `noise_note`.
        """
        share = self.batching.noise_share(num_data, self.size(num_data))
        if self.learning_rate is None or share is None or self.injected_noise:
            return None
        return self.learning_rate * share

    @property
    def noise_note(self) -> str:
        """What a reader must know of the temperature; empty where it is one."""
        injected = "Injected noise is isotropic, that of a minibatch is not: no temperature stands for both."
        notes = ((NO_TEMPERATURE, self.batching is Batching.EPOCHS), (injected, self.injected_noise))
        return " ".join(note for note, applies in notes if applies)

    def check_run(self, num_data: int, num_steps: int, num_warmup: int, thinning: int) -> None:
        """See `Sampler`; warns of draws that all stand at the ends of epochs."""
        length = num_data // self.size(num_data)
        if self.batching is Batching.EPOCHS and num_steps > thinning and length > 1 and thinning % length == 0:
            warnings.warn(
                f"One draw per epoch of {length} steps: the noise of an epoch has just added up to almost nothing, so "
                "these draws spread less than the iterates do (by how much: sgdvi.local_quadratic(...).epochs). Take a "
                f"thinning that is no multiple of {length}.",
                stacklevel=3,
            )

    def settings(self, num_data: int) -> dict[str, Any]:
        """See `Sampler`."""
        return {
            "learning_rate": self.learning_rate,
            "rate_note": self.rate_note,
            "noise_scale": self.noise_scale(num_data),
            "noise_note": self.noise_note,
            "injected_noise": self.injected_noise,
            # stores of plain SGD made before there was one go on as they are
            **({"momentum": self.momentum.mu, "nesterov": self.momentum.nesterov} if self.momentum else {}),
        }


def _pickles(value: Any) -> bool:
    try:
        pickle.dumps(value)
    except Exception:  # whatever it is, and it is of many types
        return False
    return True
