"""``sgdvi doctor``: versions, devices and whether what sgdvi needs works here; and what is whole of a store."""

import os
from collections.abc import Callable

import click


@click.command("doctor", short_help="Show versions and devices, check this machine, or a store of draws.")
@click.argument("stores", nargs=-1, type=click.Path(), metavar="[STORE]...")
def command(stores: tuple[str, ...]) -> int:
    """Show versions and devices, and check that this machine can run sgdvi. Exit status 1 if it cannot.

    With a STORE that sgdvi.sample has written, a path or a URL: read all of it, and say which draws are whole and
    whether the run can go on. Exit status 1 if something is damaged.
    """
    return max(map(_store, stores)) if stores else _machine()


def _store(name: str) -> int:
    from sgdvi.draws.committed import inspect

    inspection = inspect(name)
    for line in inspection.problems:
        click.echo(f"{'DAMAGED':<12}{line}")
    click.echo(f"{'whole':<12}{inspection.whole} of {inspection.draws} draws of every chain in {name}")
    if inspection.problems and inspection.whole:
        click.echo(f"{'to save':<12}sgdvi.draws.open_store({name!r}, draws={inspection.whole}).load()")
    click.echo(f"{'resume=True':<12}{'goes on with it' if inspection.can_resume else 'does not: begin a new store'}")
    return 1 if inspection.problems else 0


def _machine() -> int:
    import jax

    from sgdvi.cli._cache import cache_folder
    from sgdvi.experiment.environment import versions

    for name, text in versions().items():
        click.echo(f"{name:<12}{text}")
    click.echo(f"{'devices':<12}{', '.join(str(device) for device in jax.devices())}")
    click.echo(f"{'processors':<12}{os.cpu_count()}")
    click.echo(f"{'cache':<12}{cache_folder() or 'off'}")
    checks = {"float64 in JAX": _float64, "figures": _figures, "draws on disk": _storage}
    broken = 0
    for name, check in checks.items():
        problem = _problem(check)
        broken += bool(problem)
        click.echo(f"{'ok' if not problem else 'FAILS':<12}{name}{f': {problem}' if problem else ''}")
    return 1 if broken else 0


def _problem(check: Callable[[], None]) -> str:
    try:
        check()
    except Exception as error:  # whatever is broken here is what the command is for
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return ""


def _float64() -> None:
    import jax
    import jax.numpy as jnp

    with jax.enable_x64(True):
        if float(jax.jit(jnp.exp)(jnp.float64(1e-12))) == 1.0:
            raise ArithmeticError("float64 is computed in lower precision on this device")


def _figures() -> None:
    from matplotlib.figure import Figure

    from sgdvi._internal.style.figure import picture

    picture(lambda theme: Figure(figsize=(1, 1)), "", "")


def _storage() -> None:
    import tempfile

    import numpy as np

    from sgdvi.draws.tree import load, make_tree, save

    with tempfile.TemporaryDirectory() as folder:
        save({"trial": make_tree({"v": np.zeros((2, 8))}, kind="trial")}, folder)
        load(folder)
