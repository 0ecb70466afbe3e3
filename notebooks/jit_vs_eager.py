# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # jit against eager
#
# An LSTM is a small piece of arithmetic that is repeated. In eager mode each operation of each step is started from
# Python; under `jit` the whole sequence is one program. This notebook goes from the one to the other by hand: what the
# compiler is given, why eager is slow, why a Python loop under `jit` is not enough, and after how many calls compiling
# has paid off. At the end are the curves that `lstm-parity bench` recorded, against PyTorch and other libraries.
#
# Times in this notebook are those of the machine that ran it last, for the order of magnitude. Nothing depends on them;
# what the text claims about programs and results, the code asserts.

# %%
# %matplotlib inline
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown, display

import jax_lstm
from jax_lstm import lstm_unit
from lstm_parity.bench.record.plots import ratio_bars, scaling_curves
from lstm_parity.bench.record.record import read_record
from lstm_parity.bench.record.table import markdown
from lstm_shared import PUBLISHED_TRAINED, init_lstm

plt.rcParams["figure.dpi"] = 85  # so that the notebook stays small
DAYS = 64
weights = {name: jnp.float32(value) for name, value in PUBLISHED_TRAINED.items()}
prices = jnp.asarray(np.random.default_rng(0).uniform(0, 1, DAYS), jnp.float32)

# %% [markdown]
# ## The unit, in a loop of Python
#
# `lstm_unit` is one day of the by-hand LSTM: four percentages and memories out of twelve weights. A loop rolls it over
# the days.


# %%
def by_loop(weights, prices):
    long_memory = short_memory = jnp.float32(0)
    for price in prices:
        long_memory, short_memory = lstm_unit(weights, price, long_memory, short_memory)
    return short_memory


def seconds(function, *arguments, calls=5):
    """The first call, and the median of those after it; results are waited for."""
    taken = []
    for _ in range(calls + 1):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        taken.append(time.perf_counter() - start)
    return taken[0], float(np.median(taken[1:]))


eager = seconds(by_loop, weights, prices)
operations = len(jax.make_jaxpr(by_loop)(weights, prices).jaxpr.eqns)
print(f"{DAYS} days: {operations} operations, {eager[1] * 1e3:.1f} ms, {eager[1] / operations * 1e6:.0f} µs each")

# %% [markdown]
# Each of these operations is a multiplication or an addition of one number, which takes a processor a nanosecond. All
# the rest is Python: finding the compiled kernel of that operation, handing it its arguments, wrapping its result.
#
# ## The same loop under `jit`
#
# `jit` calls the function once with placeholders, notes the operations, and compiles them to one program. The loop is
# gone: what the compiler sees is the list of its operations. So the program grows with the number of days, and so does
# the time to compile it.


# %%
def instructions(function, days):
    """How long the program is that XLA is given."""
    return jax.jit(function).lower(weights, jnp.zeros(days)).as_text().count("stablehlo.")


unrolled = {days: instructions(by_loop, days) for days in (8, 16, 32)}
print(unrolled)
assert unrolled[32] > 1.8 * unrolled[16] > 1.8 * 1.8 * unrolled[8]

# %% [markdown]
# ## `lax.scan`: a loop that the compiler knows about
#
# `scan` notes *one* step and how often to repeat it. The program no longer depends on the number of days.

# %%
print(jax.make_jaxpr(jax_lstm.by_hand.predict)(weights, prices).pretty_print(use_color=False))

# %%
rolled = {days: instructions(jax_lstm.by_hand.predict, days) for days in (8, 16, 32, 10_000)}
print(rolled)
assert len(set(rolled.values())) == 1

np.testing.assert_allclose(
    jax.jit(jax_lstm.by_hand.predict)(weights, prices), by_loop(weights, prices), rtol=1e-5, atol=1e-6
)

# %%
jax.clear_caches()  # for the first calls to be first calls

figures = {
    "eager loop": eager,
    "loop under jit": seconds(jax.jit(by_loop), weights, prices),
    "scan under jit": seconds(jax.jit(jax_lstm.by_hand.predict), weights, prices),
}
for name, (first, later) in figures.items():
    print(f"{name:15s} first call {first * 1e3:8.1f} ms, later calls {later * 1e6:10.1f} µs")

# %% [markdown]
# ## When compiling has paid off
#
# The first call of a compiled function costs what many eager calls cost. Below are the seconds spent after so many
# calls; where two lines cross, compiling has paid off. For one call on one sequence, eager is not wrong. For a training
# with thousands of steps there is no question, and for programs that come back every day JAX can keep what it compiled
# (`jax.config.update("jax_compilation_cache_dir", …)`).

# %%
calls = np.unique(np.geomspace(1, 10_000, 80).astype(int))
figure, axes = plt.subplots(figsize=(6.5, 3.6))
for name, (first, later) in figures.items():
    axes.loglog(calls, first + (calls - 1) * later, label=name)
axes.set(xlabel="calls", ylabel="seconds spent", title=f"The by-hand LSTM over {DAYS} days")
axes.legend(frameon=False)
figure.tight_layout()

# %% [markdown]
# ## What is left to a library
#
# Under `jit`, a plain `scan` over an LSTM cell is what most JAX libraries run. `jax_lstm.lstm` computes the same from
# another arrangement: features first, so that the large weight stands where XLA's matrix product reads it as it lies,
# and a backward pass that gathers a few steps before it makes weight gradients of them. `implementation="scan"` is the
# plain loop, so that the two can be compared. They give the same numbers; the fast one keeps less for the backward
# pass, which is half of its speed, because fresh memory costs as much as arithmetic.

# %%
model = {name: jnp.asarray(array) for name, array in init_lstm(64, 128).items()}
inputs = jnp.asarray(np.random.default_rng(1).standard_normal((128, 64, 64)), jnp.float32)


def gradient(implementation):
    def loss(model, inputs):
        outputs, _ = jax_lstm.lstm(model, inputs, implementation=implementation)
        return jnp.sum(outputs**2)

    return jax.jit(jax.grad(loss)).lower(model, inputs).compile()


plain, fast = gradient("scan"), gradient("auto")
for name, program in {"plain": plain, "fast": fast}.items():
    megabytes = program.memory_analysis().temp_size_in_bytes / 1e6
    later = seconds(program, model, inputs, calls=3)[1]
    print(f"{name}: {megabytes:5.1f} MB of temporaries, {later * 1e3:.0f} ms")

largest = max(float(jnp.abs(array).max()) for array in plain(model, inputs).values())
for name, array in plain(model, inputs).items():
    np.testing.assert_allclose(fast(model, inputs)[name], array, rtol=0, atol=1e-5 * largest)

# %% [markdown]
# ## The recorded run
#
# Side by side in one run, on one core, each contender in its own process. The picture is made from
# `benchmarks/cpu.json` by `lstm-parity bench --show benchmarks/cpu.json --plot …`; the table is on the page
# [Speed](../docs/speed.md).

# %%
records = Path(jax_lstm.__file__).parents[1] / "benchmarks"
record = read_record(records / "cpu.json")
display(Markdown(markdown(record)))
ratio_bars(record)

# %% [markdown]
# And how the time of a step grows with the number of steps, the batch and the hidden size, from
# `benchmarks/cpu-scaling.json`. Over T the lines should be flat: a step costs what it costs. They rise where what the
# backward pass keeps no longer fits the caches, and then the memory that the system has to hand out.

# %%
scaling_curves(read_record(records / "cpu-scaling.json"))

# %% [markdown]
# Read it as it is meant: a ratio is that of one shape on one processor in one run. The shapes at which PyTorch is
# faster are in it like all others.
