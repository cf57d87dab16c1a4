"""The stationary law of balanced discrete SGD at any depth and width, by its transfer operator on Chebyshev points.

Factors that start equal stay equal, so v = d u^n and u -> u - 2 eta (A v - B) u^(n-1), with A and B the minibatch means
of x^2 and x y. Between the smallest and the largest y/x of the rows no small step leaves the interval, and smooth
functions are known there from few points: expectations are exact to rounding, whatever the learning rate.
"""

import itertools
import math

import numpy as np

POINTS = 64


def minibatches(count, size):
    """Return how often each of `count` rows is in a minibatch drawn with replacement, and the probabilities."""
    rows = list(itertools.combinations_with_replacement(range(count), size))
    times = np.array([np.bincount(row, minlength=count) for row in rows])
    ways = [math.factorial(size) / math.prod(map(math.factorial, row)) for row in times.tolist()]
    return times, np.array(ways) / count**size


def moments(x, y, rate, size=1, depth=1, width=1):
    """Mean and variance of v under SGD with learning rate `rate` on the loss (v x - y)^2, from equal factors."""
    order = depth + 1
    times, chance = minibatches(len(x), size)
    square, product = times @ (x * x) / size, times @ (x * y) / size
    low, high = ((np.sort(y / x)[[0, -1]]) / width) ** (1 / order)
    angles = (np.arange(POINTS) + 0.5) * np.pi / POINTS
    u = (low + high) / 2 + (high - low) / 2 * np.cos(angles)
    v = width * u**order
    after = u - 2 * rate * (square[:, None] * v - product[:, None]) * u**depth
    assert low <= after.min()
    assert after.max() <= high, "a step leaves the interval: take a smaller rate"
    # cosines of the orders at where the steps lead, times the transform from values to coefficients
    orders = np.arange(POINTS)
    transform = 2 / POINTS * np.cos(orders[:, None] * angles)
    transform[0] /= 2
    place = np.arccos(np.clip((2 * after - low - high) / (high - low), -1, 1))
    operator = np.einsum("b,bmk->mk", chance, np.cos(place[..., None] * orders)) @ transform
    # the law is the left eigenvector of eigenvalue 1: weights of the points that one step leaves as they are
    system = np.vstack([operator.T - np.eye(POINTS), np.ones(POINTS)])
    weights = np.linalg.lstsq(system, np.append(np.zeros(POINTS), 1.0), rcond=None)[0]
    mean = weights @ v
    return mean, weights @ (v - mean) ** 2
