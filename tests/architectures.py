"""Losses of many architectures, small, and the scaling symmetries that each of them has.

Every entry is name -> (loss, shapes of the parameters, expected), where expected counts rescalings and scale
invariances, lists the sizes of the GL(k), and shows one symmetry in full where it is unique.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

relu = jax.nn.relu
ROWS = 24


@dataclass(frozen=True)
class Case:
    loss: Callable[[Any, Any], Any]
    shapes: Mapping[str, tuple[int, ...]]
    rescalings: int = 0
    scales: int = 0
    families: tuple[int, ...] = ()
    example: dict[str, float] | None = None
    inputs: tuple[int, ...] = (3,)
    tokens: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def params(self, seed: int = 0) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        return {name: rng.normal(size=shape) for name, shape in self.shapes.items()}

    def data(self, seed: int = 1, rows: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        x = rng.integers(0, 4, (rows, *self.inputs)) if self.tokens else rng.normal(size=(rows, *self.inputs))
        return x, rng.normal(size=(rows, 2))


def squared(network: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def loss(p: Any, batch: Any) -> Any:
        x, y = batch
        return ((network(p, x) - y) ** 2).sum(-1)

    return loss


def two_layer(activation: Callable[[Any], Any], bias: bool = True) -> Callable[[Any, Any], Any]:
    return squared(lambda p, x: activation(x @ p["a"] + (p["b"] if bias else 0.0)) @ p["c"])


def norm(h: Any, axis: int, eps: float = 0.0) -> Any:
    return (h - h.mean(axis, keepdims=True)) / jnp.sqrt(h.var(axis, keepdims=True) + eps)


def attention(q: Any, k: Any, v: Any) -> Any:
    return jax.nn.softmax(q @ jnp.swapaxes(k, -1, -2), axis=-1) @ v


def rotate(h: Any) -> Any:
    angle = jnp.arange(h.shape[-2])[:, None] * jnp.array([1.0, 0.3])
    one, two = h[..., :2], h[..., 2:]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.concatenate([one * cos - two * sin, one * sin + two * cos], axis=-1)


def heads(p: Any, x: Any) -> Any:
    q, k, v = (jnp.einsum("btd,dhk->bhtk", x, p[name]) for name in "qkv")
    return jnp.einsum("bhtk,hko->bo", attention(q, k, v), p["o"])


def convolve(x: Any, kernel: Any) -> Any:
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def recurrent(p: Any, x: Any) -> Any:
    h = jnp.zeros((x.shape[0], 3))
    for t in range(x.shape[1]):
        h = relu(x[:, t] @ p["a"] + h @ p["u"] + p["b"])
    return h @ p["c"]


def decayed(loss: Callable[[Any, Any], Any], gamma: float, names: str) -> Callable[[Any, Any], Any]:
    return lambda p, batch: loss(p, batch) + gamma * sum((p[name] ** 2).sum() for name in names)


def tied(p: Any, x: Any) -> Any:
    return (relu(x @ p["a"] + p["b"]) @ p["a"].T)[:, :2]


ABC = {"a": (3, 4), "b": (4,), "c": (4, 2)}
AC = {"a": (3, 4), "c": (4, 2)}
QKV = {"q": (3, 2), "k": (3, 2), "v": (3, 2)}
NEURON = {"a[:, 1]": 1, "b[1]": 1, "c[1, :]": -1}
PAIR = {"a[:, 1]": 1, "c[1, :]": -1}
FIXED_BIAS = np.array([0.3, -0.2, 0.5, 0.1])
STREAM = {"a": (3, 3), "b": (3, 2), "u": (4, 3), "w": (3, 4)}

CASES: dict[str, Case] = {
    "linear regression": Case(squared(lambda p, x: x @ p["a"] + p["b"]), {"a": (3, 2), "b": (2,)}),
    "logistic regression": Case(lambda p, d: jax.nn.softplus(-d[0] @ p["a"] * jnp.sign(d[1][:, 0])), {"a": (3,)}),
    "ReLU": Case(two_layer(relu), ABC, 4, example=NEURON),
    "ReLU without bias": Case(two_layer(relu, False), AC, 4, example=PAIR),
    "ReLU with a bias that is no parameter": Case(squared(lambda p, x: relu(x @ p["a"] + FIXED_BIAS) @ p["c"]), AC),
    "ReLU with a bias of the output": Case(
        squared(lambda p, x: relu(x @ p["a"]) @ p["c"] + p["d"]), {**AC, "d": (2,)}, 4, example=PAIR
    ),
    "ReLU with cross-entropy": Case(
        lambda p, d: -jax.nn.log_softmax(relu(d[0] @ p["a"] + p["b"]) @ p["c"])[:, 0], ABC, 4, example=NEURON
    ),
    "leaky ReLU": Case(two_layer(jax.nn.leaky_relu), ABC, 4, example=NEURON),
    "PReLU": Case(
        squared(lambda p, x: jnp.where((h := x @ p["a"]) > 0, h, p["s"] * h) @ p["c"]),
        {**AC, "s": (4,)},
        4,
        example=PAIR,
    ),
    "absolute value": Case(two_layer(jnp.abs), ABC, 4, example=NEURON),
    "squared ReLU": Case(two_layer(lambda h: relu(h) ** 2), ABC, 4, example={"a[:, 1]": 1, "b[1]": 1, "c[1, :]": -2}),
    "maxout": Case(
        squared(lambda p, x: jnp.maximum(x @ p["a"], x @ p["b"]) @ p["c"]),
        {**AC, "b": (3, 4)},
        4,
        example={"a[:, 1]": 1, "b[:, 1]": 1, "c[1, :]": -1},
    ),
    "tanh": Case(two_layer(jnp.tanh), ABC),
    "tanh without bias": Case(two_layer(jnp.tanh, False), AC),
    "GELU": Case(two_layer(jax.nn.gelu), ABC),
    "GELU without bias": Case(two_layer(jax.nn.gelu, False), AC),
    "softplus": Case(two_layer(jax.nn.softplus), ABC),
    "ELU": Case(two_layer(jax.nn.elu, False), AC),
    "SiLU": Case(two_layer(jax.nn.silu), ABC),
    "gated, SiLU": Case(
        squared(lambda p, x: (jax.nn.silu(x @ p["b"]) * (x @ p["a"])) @ p["c"]), {**AC, "b": (3, 4)}, 4, example=PAIR
    ),
    "gated, ReLU": Case(squared(lambda p, x: (relu(x @ p["b"]) * (x @ p["a"])) @ p["c"]), {**AC, "b": (3, 4)}, 8),
    "deep ReLU": Case(
        squared(lambda p, x: relu(relu(x @ p["a"] + p["b"]) @ p["c"] + p["d"]) @ p["e"]),
        {"a": (3, 3), "b": (3,), "c": (3, 4), "d": (4,), "e": (4, 2)},
        7,
        example={"c[:, 1]": 1, "d[1]": 1, "e[1, :]": -1},
    ),
    "deep ReLU without bias, coarse groups": Case(
        squared(lambda p, x: relu(relu(relu(x @ p["a"]) @ p["b"]) @ p["c"]) @ p["d"]),
        {"a": (3, 3), "b": (3, 4), "c": (4, 3), "d": (3, 2)},
        10,
        example={"b[:, 1]": 1, "c[1, :]": -1},
        options={"max_groups": 1},
    ),
    "deep ReLU ending in tanh": Case(
        squared(lambda p, x: jnp.tanh(relu(x @ p["a"] + p["b"]) @ p["c"] + p["d"]) @ p["e"]),
        {"a": (3, 3), "b": (3,), "c": (3, 4), "d": (4,), "e": (4, 2)},
        3,
        example=NEURON,
    ),
    "recurrent ReLU": Case(
        squared(recurrent),
        {"a": (2, 3), "u": (3, 3), "b": (3,), "c": (3, 2)},
        3,
        inputs=(3, 2),
    ),
    "linear": Case(two_layer(lambda h: h, False), AC, 4, families=(4,), example=PAIR),
    "linear with a hidden bias": Case(two_layer(lambda h: h), ABC, 4, families=(4,), example=NEURON),
    "deep linear": Case(
        squared(lambda p, x: x @ p["a"] @ p["b"] @ p["c"]),
        {"a": (3, 3), "b": (3, 2), "c": (2, 2)},
        5,
        families=(2, 3),
    ),
    "low-rank product": Case(
        lambda p, d: ((jnp.einsum("ik,jk->ij", p["a"], p["b"]) - d[0]) ** 2).sum((1, 2)),
        {"a": (4, 2), "b": (3, 2)},
        2,
        families=(2,),
        example={"a[:, 1]": 1, "b[:, 1]": -1},
        inputs=(4, 3),
    ),
    "diagonal, depth 1": Case(
        squared(lambda p, x: x * (p["u"] * p["w"])),
        {"u": (2,), "w": (2,)},
        2,
        example={"u[1]": 1, "w[1]": -1},
        inputs=(2,),
    ),
    "diagonal, depth 3, in one array": Case(
        squared(lambda p, x: x * jnp.prod(p["u"], axis=0).sum()), {"u": (4, 3)}, 9, inputs=(1,)
    ),
    "odd power": Case(
        squared(lambda p, x: x * p["u"] ** 3 * p["w"]), {"u": (), "w": ()}, 1, inputs=(1,), example={"u": 1, "w": -3}
    ),
    "residual block": Case(
        squared(lambda p, x: (x + relu(x @ p["a"] + p["b"]) @ p["c"])[:, :2]), {**ABC, "c": (4, 3)}, 4, example=NEURON
    ),
    "residual stream": Case(
        squared(lambda p, x: ((h := x @ p["a"]) + relu(h @ p["w"]) @ p["u"]) @ p["b"]),
        STREAM,
        7,
        families=(3,),
        example={"a[:, 1]": 1, "b[1, :]": -1, "u[:, 1]": 1, "w[1, :]": -1},
    ),
    "tied weights": Case(squared(tied), {"a": (3, 4), "b": (4,)}),
    "tied layers": Case(
        squared(lambda p, x: relu(relu(x @ p["a"]) @ p["a"]) @ p["c"]),
        {"a": (3, 3), "c": (3, 2)},
        1,
        example={"a": 1, "c": -2},
    ),
    "convolution": Case(
        squared(lambda p, x: convolve(relu(convolve(x, p["a"]) + p["b"]), p["c"])[:, 0, 0]),
        {"a": (2, 2, 2, 3), "b": (3,), "c": (2, 2, 3, 2)},
        3,
        example={"a[:, :, :, 1]": 1, "b[1]": 1, "c[:, :, 1, :]": -1},
        inputs=(3, 3, 2),
    ),
    "convolution with GELU": Case(
        squared(lambda p, x: convolve(jax.nn.gelu(convolve(x, p["a"])), p["c"])[:, 0, 0]),
        {"a": (2, 2, 2, 3), "c": (2, 2, 3, 2)},
        inputs=(3, 3, 2),
    ),
    "convolution with max-pooling": Case(
        squared(lambda p, x: convolve(x, p["a"]).max((1, 2)) @ p["c"]),
        {"a": (2, 2, 1, 3), "c": (3, 2)},
        3,
        example={"a[:, :, :, 1]": 1, "c[1, :]": -1},
        inputs=(3, 3, 1),
    ),
    "batch normalisation": Case(
        squared(lambda p, x: relu(norm(x @ p["a"], 0) * p["g"] + p["b"]) @ p["c"]),
        {**ABC, "g": (4,)},
        4,
        4,
        example={"b[1]": 1, "c[1, :]": -1, "g[1]": 1},
    ),
    "batch normalisation and tanh": Case(
        squared(lambda p, x: jnp.tanh(norm(x @ p["a"], 0) * p["g"] + p["b"]) @ p["c"]),
        {**ABC, "g": (4,)},
        0,
        4,
        example={"a[:, 1]": 1},
    ),
    "layer normalisation": Case(
        squared(lambda p, x: relu(norm(x @ p["a"], 1) * p["g"] + p["b"]) @ p["c"]),
        {**ABC, "g": (4,)},
        4,
        1,
        example={"a": 1},
    ),
    "layer normalisation and tanh, with bias": Case(
        squared(lambda p, x: jnp.tanh(norm(x @ p["a"] + p["b"], 1)) @ p["c"]), ABC, 0, 1, example={"a": 1, "b": 1}
    ),
    "layer normalisation with epsilon": Case(
        squared(lambda p, x: jnp.tanh(norm(x @ p["a"] + p["b"], 1, 1e-2)) @ p["c"]), ABC
    ),
    "weight normalisation": Case(
        squared(lambda p, x: relu(x @ (p["a"] / jnp.linalg.norm(p["a"], axis=0)) * p["g"]) @ p["c"]),
        {**AC, "g": (4,)},
        4,
        4,
        example={"c[1, :]": 1, "g[1]": -1},
    ),
    "query and key": Case(
        squared(lambda p, x: attention(x @ p["q"], x @ p["k"], x @ p["v"]).sum(1)),
        QKV,
        2,
        families=(2,),
        inputs=(4, 3),
        example={"k[:, 1]": 1, "q[:, 1]": -1},
    ),
    "query and key, with a bias of the query": Case(
        squared(lambda p, x: attention(x @ p["q"] + p["b"], x @ p["k"], x @ p["v"]).sum(1)),
        {**QKV, "b": (2,)},
        2,
        families=(2,),
        inputs=(4, 3),
        example={"b[1]": 1, "k[:, 1]": -1, "q[:, 1]": 1},
    ),
    "query and key, with a bias that is no parameter": Case(
        squared(lambda p, x: attention(x @ p["q"] + FIXED_BIAS[:2], x @ p["k"], x @ p["v"]).sum(1)),
        QKV,
        inputs=(4, 3),
    ),
    "query and key, normalised": Case(
        squared(lambda p, x: attention(*(norm(x @ p[n], -1) for n in "qk"), x @ p["v"]).sum(1)),
        {"q": (3, 3), "k": (3, 3), "v": (3, 2)},
        0,
        2,
        inputs=(4, 3),
        example={"q": 1},
    ),
    "rotary embedding": Case(
        squared(lambda p, x: attention(rotate(x @ p["q"]), rotate(x @ p["k"]), x @ p["v"]).sum(1)),
        {"q": (3, 4), "k": (3, 4), "v": (3, 2)},
        2,
        inputs=(4, 3),
        example={"k[:, 1]": 1, "k[:, 3]": 1, "q[:, 1]": -1, "q[:, 3]": -1},
    ),
    "two heads": Case(
        squared(heads),
        {"q": (3, 2, 2), "k": (3, 2, 2), "v": (3, 2, 2), "o": (2, 2, 2)},
        8,
        families=(2, 2, 2, 2),
        inputs=(4, 3),
        example={"k[:, 1, 0]": 1, "q[:, 1, 0]": -1},
    ),
    "embedding": Case(
        squared(lambda p, x: p["e"][x].sum(1) @ p["w"]),
        {"e": (4, 2), "w": (2, 2)},
        2,
        families=(2,),
        example={"e[:, 1]": 1, "w[1, :]": -1},
        tokens=True,
    ),
}
