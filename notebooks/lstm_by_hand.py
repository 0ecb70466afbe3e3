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
# # The LSTM by hand, as a pure function
#
# You may know the *LSTM by hand* from StatQuest: twelve numbers, four days of stock prices, two companies.
# There it is a PyTorch Lightning class. Here it is a function in JAX: weights and prices go in, a prediction comes out.
#
# We compute one step with a pocket calculator, roll it over four days, train it, and train it a thousand times at
# once. PyTorch runs beside it all the way. Whatever the text claims, the code below it asserts.

# %%
# %matplotlib inline
import math
import tempfile
import time

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import torch
from jax import lax
from matplotlib.figure import Figure

import jax_lstm
import torch_lstm
from jax_lstm import by_hand
from lstm_parity.report import plots
from lstm_shared import (
    BY_HAND,
    COMPANY_LABELS,
    COMPANY_PRICES,
    PUBLISHED_INIT,
    PUBLISHED_PREDICTIONS,
    PUBLISHED_TRAINED,
    by_hand_to_lstm,
    init_by_hand,
)

matplotlib.rcParams["figure.dpi"] = 85
EPS = np.finfo(np.float64).eps  # the distance from 1.0 to the next number: 2.2e-16


def largest_difference(a, b):
    return np.max(np.abs(np.asarray(a) - np.asarray(b)))


# %% [markdown]
# Weights are a flat dictionary with twelve names. In each name, `1` multiplies the short-term memory and `2`
# multiplies the input; `b` is a bias. The letters between say which gate it is: `lr` long remember, `pr` potential
# remember, `p` potential memory, `o` output.
#
# Everything below runs in float64, so that small differences mean something. JAX computes in float32 unless told
# otherwise; `with jax.enable_x64(True):` tells it, and only inside that block.

# %%
published_init = {name: np.float64(PUBLISHED_INIT[name]) for name in BY_HAND}
published_trained = {name: np.float64(PUBLISHED_TRAINED[name]) for name in BY_HAND}

assert len(BY_HAND) == 12
assert all(published_init[name] == 0 for name in BY_HAND if name.startswith("b"))  # the biases start at zero

with jax.enable_x64(True):
    assert by_hand.predict(published_init, COMPANY_PRICES).dtype == np.float64
assert by_hand.predict(PUBLISHED_INIT, COMPANY_PRICES).dtype == np.float32

# %% [markdown]
# ## 1. One unit, one step, plain numbers
#
# An LSTM unit carries two numbers from day to day. The **long-term memory** $c$ is what it keeps. The **short-term
# memory** $h$ is what it says. Each day it reads one input $x$ and does three things: it decides how much of the long
# memory to remember, what to add to it, and how much of it to say.
#
# Two functions do the squeezing. The sigmoid gives a share between 0 and 1, so we may read it as a percentage. The
# hyperbolic tangent gives a value between −1 and 1.
#
# $$\sigma(z) = \frac{1}{1 + e^{-z}}, \qquad \tanh(z) = \frac{e^{z} - e^{-z}}{e^{z} + e^{-z}}$$
#
# Our example: the long memory is 2, the short memory is 1, and the input is 1.

# %%
def sigmoid(z):
    return 1 / (1 + math.exp(-z))


long_memory, short_memory, x = 2.0, 1.0, 1.0

# %% [markdown]
# **The forget gate: how much of the long memory to remember.** With 2.7 for the short memory, 2.2 for the input and a
# bias of 2.3, it remembers nearly all of it.
#
# $$\text{long remember percent} = \sigma(h \cdot w_{lr1} + x \cdot w_{lr2} + b_{lr1})$$

# %%
long_remember_percent = sigmoid(short_memory * 2.7 + x * 2.2 + 2.3)

print(f"long remember percent       {long_remember_percent:.8f}")
assert round(long_remember_percent, 8) == 0.99925397

# %% [markdown]
# **The input gate: how much of the new memory to keep.** It has weights of its own, and a bias of its own.
#
# $$\text{potential remember percent} = \sigma(h \cdot w_{pr1} + x \cdot w_{pr2} + b_{pr1})$$

# %%
potential_remember_percent = sigmoid(short_memory * 1.1 + x * 0.8 + 0.8)

print(f"potential remember percent  {potential_remember_percent:.8f}")
assert round(potential_remember_percent, 8) == 0.93702664

# %% [markdown]
# **The potential memory: what there is to add.** This one is a value, not a share, so it goes through tanh.
#
# $$\text{potential memory} = \tanh(h \cdot w_{p1} + x \cdot w_{p2} + b_{p1})$$

# %%
potential_memory = math.tanh(short_memory * 0.4 + x * 1.2 + 0.9)

print(f"potential memory            {potential_memory:.8f}")
assert round(potential_memory, 8) == 0.98661430

# %% [markdown]
# **The new long memory** is the share of the old that we remember, plus the share of the new that we keep.
#
# $$c' = c \cdot \text{long remember percent} + \text{potential remember percent} \cdot \text{potential memory}$$

# %%
new_long_memory = long_memory * long_remember_percent + potential_remember_percent * potential_memory

print(f"new long memory             {new_long_memory:.8f}")
assert round(new_long_memory, 8) == 2.92299183

# %% [markdown]
# **The output gate: how much of the long memory to say.** What it lets through is the new short memory.
#
# $$\text{output percent} = \sigma(h \cdot w_{o1} + x \cdot w_{o2} + b_{o1}), \qquad
# h' = \tanh(c') \cdot \text{output percent}$$

# %%
output_percent = sigmoid(short_memory * 0.3 + x * 2.9 + 2.1)
new_short_memory = math.tanh(new_long_memory) * output_percent

print(f"output percent              {output_percent:.8f}")
print(f"new short memory            {new_short_memory:.8f}")
assert round(output_percent, 8) == 0.99503320
assert round(new_short_memory, 8) == 0.98929553

# %% [markdown]
# That is the whole unit. The library's `lstm_unit` is the same arithmetic; it takes the memories as arguments, in the
# order (long, short).

# %%
worked_example = {
    "wlr1": 2.7, "wlr2": 2.2, "blr1": 2.3,
    "wpr1": 1.1, "wpr2": 0.8, "bpr1": 0.8,
    "wp1": 0.4, "wp2": 1.2, "bp1": 0.9,
    "wo1": 0.3, "wo2": 2.9, "bo1": 2.1,
}  # fmt: skip

with jax.enable_x64(True):
    from_jax = jax_lstm.lstm_unit(worked_example, x, long_memory, short_memory)
by_hand_too = (new_long_memory, new_short_memory)

print("lstm_unit:", *(f"{float(memory):.8f}" for memory in from_jax))
assert largest_difference(from_jax, by_hand_too) <= 4 * EPS

# %% [markdown]
# ### 0.9893, not 0.9899
#
# The article behind this example writes the new short memory as 0.9899; its program prints 0.9893. The program is
# right. Beware of rounding on the way, too: keep four decimals at each step, and the fourth decimal of the result is
# already wrong.
#
# There is a second trap. The article's listing, as printed, uses the forget gate's bias (2.3) in the input gate, where
# 0.8 belongs. That gives 0.98981472: near enough to look right, and wrong.

# %%
def rounded_on_the_way(digits):
    keep = round(long_remember_percent, digits), round(potential_remember_percent, digits)
    c = round(long_memory * keep[0] + keep[1] * round(potential_memory, digits), digits)
    return round(round(math.tanh(c), digits) * round(output_percent, digits), digits)


misprinted_gate = sigmoid(short_memory * 1.1 + x * 0.8 + 2.3)
misprinted_long = long_memory * long_remember_percent + misprinted_gate * potential_memory
misprinted = math.tanh(misprinted_long) * output_percent

for digits in (2, 3, 4):
    print(f"{digits} decimals at each step   {rounded_on_the_way(digits):.{digits}f}")
print(f"no rounding               {new_short_memory:.8f}")
print(f"the misprinted bias       {misprinted:.8f}")

assert round(new_short_memory, 4) == 0.9893
assert rounded_on_the_way(4) == 0.9892
assert round(misprinted, 8) == 0.98981472

# %% [markdown]
# ## 2. Four days, two companies
#
# Two companies have the same prices on days two, three and four. Only day one differs: company A starts at 0, company
# B at 1. On day five, A falls to 0 and B stays at 1. So the only clue is the oldest one, and the unit must carry it
# through three days that look alike.
#
# `by_hand.trace` runs the unit and keeps everything it computes. Here it is with the published trained weights.

# %%
with jax.enable_x64(True):
    trace = jax.tree.map(np.asarray, by_hand.trace(published_trained, COMPANY_PRICES))

for company, prices, label, days in zip("AB", COMPANY_PRICES, COMPANY_LABELS, range(2), strict=True):
    print(f"company {company}   (day five: {label:.0f})")
    print("day  price  long remember  potential remember  potential memory  output  long memory  short memory")
    for day, price in enumerate(prices):
        row = [field[days, day] for field in trace]
        print(
            f"{day + 1:3}  {price:5.2f}  {row[0]:12.1%}  {row[1]:18.1%}  {row[2]:16.3f}  {row[3]:6.1%}"
            f"  {row[4]:11.3f}  {row[5]:12.3f}"
        )
    print()

prediction_a, prediction_b = trace.short_memory[:, -1]
print(f"predictions for day five: A {prediction_a:.11f}, B {prediction_b:.11f}")
assert np.array_equal(COMPANY_PRICES[0, 1:], COMPANY_PRICES[1, 1:])
assert COMPANY_PRICES[:, 0].tolist() == COMPANY_LABELS.tolist() == [0, 1]
assert abs(prediction_a - 0.00639315824) < 1e-11
assert abs(prediction_b - 0.96939346164) < 1e-11

# %% [markdown]
# The last short memory is the prediction. Company A first, in pictures.

# %%
plots.gates_and_memories(type(trace)(*(field[0] for field in trace)), COMPANY_PRICES[0])

# %% [markdown]
# And company B.

# %%
plots.gates_and_memories(type(trace)(*(field[1] for field in trace)), COMPANY_PRICES[1])

# %% [markdown]
# Follow the potential memory. On day one it is negative for A and positive for B: that is the clue. The short memory
# carries it into the next day, and so the two companies read the *same* prices differently. For A the unit goes on
# adding a little less than nothing, until the high price of day four lifts the long memory back to nearly zero. For B
# it adds more every day, and the long memory climbs above two.

# %%
a, b = 0, 1
added = trace.potential_remember_percent * trace.potential_memory
assert np.all(added[a, :3] < 0) and added[a, 3] > 0
assert np.all(added[b] > 0)
assert np.all(np.diff(trace.long_memory[b]) > 0)
assert abs(trace.long_memory[a, 3]) < 0.02
assert trace.long_memory[b, 3] > 2

# %% [markdown]
# The PyTorch module gives the same numbers: all six quantities, both companies, all four days.

# %%
with torch.no_grad():
    torch_trace = torch_lstm.LSTMByHand(published_trained).trace(COMPANY_PRICES)

for name, ours, reference in zip(trace._fields, trace, torch_trace, strict=True):
    difference = largest_difference(ours, reference)
    print(f"{name:28} largest difference {difference:.1e}")
    assert difference <= 8 * EPS

# %% [markdown]
# ## 3. From a loop to `scan` to `jit`
#
# Rolling the unit over the days is a loop. In Python:

# %%
def with_a_loop(params, prices):
    long_memory = short_memory = jnp.zeros(())
    for price in prices:
        long_memory, short_memory = jax_lstm.lstm_unit(params, price, long_memory, short_memory)
    return short_memory


# %% [markdown]
# `lax.scan` says the same thing to the compiler. We give it the step, the memories before the first day, and the days.

# %%
def with_scan(params, prices):
    def day(memories, price):
        return jax_lstm.lstm_unit(params, price, *memories), None

    (_, short_memory), _ = lax.scan(day, (jnp.zeros(()), jnp.zeros(())), prices)
    return short_memory


# %% [markdown]
# `jax.jit` compiles either of them. All give the same value, up to the last bits; so does the library's `predict`,
# which is the scan above with checked arguments and any number of series.

# %%
with jax.enable_x64(True):
    prices = jnp.asarray(COMPANY_PRICES[1])
    values = {
        "a Python loop": with_a_loop(published_trained, prices),
        "lax.scan": with_scan(published_trained, prices),
        "jit of the loop": jax.jit(with_a_loop)(published_trained, prices),
        "jit of the scan": jax.jit(with_scan)(published_trained, prices),
        "by_hand.predict": by_hand.predict(published_trained, prices),
    }

for name, value in values.items():
    print(f"{name:16} {float(value):.15f}")
    assert largest_difference(value, values["a Python loop"]) <= 4 * EPS

# %% [markdown]
# Why bother? A traced loop is written out, day after day: forty days make ten times the program of four. A scan is
# written once, whatever the number of days. So compile time does not grow with the length of the series.

# %%
def program_lines(function, days):
    return len(str(jax.make_jaxpr(function)(PUBLISHED_TRAINED, jnp.zeros(days))).splitlines())


print("lines of the traced program   4 days   40 days")
for function in (with_a_loop, with_scan):
    print(f"{function.__name__:28} {program_lines(function, 4):7} {program_lines(function, 40):9}")

assert program_lines(with_scan, 40) == program_lines(with_scan, 4)
assert 9 < program_lines(with_a_loop, 40) / program_lines(with_a_loop, 4) < 11

# %% [markdown]
# ### Twelve gradients at once
#
# The loss for one company is its squared residual, $(\text{prediction} - \text{label})^2$. Since it is a pure function
# of the weights, `jax.grad` turns it into the function that gives all twelve derivatives, under the same twelve names.
# PyTorch gets there by walking backwards over what it recorded. The numbers are the same.

# %%
company_b = (COMPANY_PRICES[1:], COMPANY_LABELS[1:])


def loss(params):
    return by_hand.loss(params, company_b)[0]


with jax.enable_x64(True):
    gradient = jax.grad(loss)(published_init)

module = torch_lstm.LSTMByHand(published_init)
residual = module(company_b[0]) - torch.as_tensor(company_b[1])
torch.sum(residual**2).backward()

print("weight        jax.grad    torch autograd  difference")
for name in BY_HAND:
    ours, reference = float(gradient[name]), float(getattr(module, name).grad)
    print(f"{name:6} {ours:+15.12f}   {reference:+15.12f}     {abs(ours - reference):.1e}")
    assert abs(ours - reference) <= 8 * EPS
assert set(gradient) == set(BY_HAND)

# %% [markdown]
# Two programs can agree and both be wrong, so here is a judge who knows no calculus. Move one weight a little up and a
# little down, and see how the loss changes:
#
# $$\frac{\partial L}{\partial w} \approx \frac{L(w + \delta) - L(w - \delta)}{2\,\delta}$$

# %%
delta, name = 1e-5, "wp2"
with jax.enable_x64(True):
    up = loss({**published_init, name: published_init[name] + delta})
    down = loss({**published_init, name: published_init[name] - delta})
    finite_difference = float((up - down) / (2 * delta))

print(f"finite difference {finite_difference:+.10f}")
print(f"jax.grad          {float(gradient[name]):+.10f}")
assert abs(finite_difference - float(gradient[name])) < 1e-9

# %% [markdown]
# ## 4. A third opinion: `torch.nn.LSTM`
#
# Both programs so far are ours. PyTorch's own `nn.LSTM` is not, and with one input and one hidden number it is the
# same unit. It keeps the four gates stacked in one array, in the order input, forget, candidate, output:
#
# | `nn.LSTM(1, 1)` | input gate | forget gate | candidate | output gate |
# |---|---|---|---|---|
# | `weight_ih_l0` | `wpr2` | `wlr2` | `wp2` | `wo2` |
# | `weight_hh_l0` | `wpr1` | `wlr1` | `wp1` | `wo1` |
# | `bias_ih_l0` | `bpr1` | `blr1` | `bp1` | `bo1` |
# | `bias_hh_l0` | 0 | 0 | 0 | 0 |
#
# `by_hand_to_lstm` does this stacking.

# %%
def as_nn_lstm(weights):
    lstm = torch.nn.LSTM(1, 1, dtype=torch.float64)
    lstm.load_state_dict({name: torch.as_tensor(array) for name, array in by_hand_to_lstm(weights).items()})
    return lstm


stacked = by_hand_to_lstm(published_trained)
for row, names in {
    "weight_ih_l0": "wpr2 wlr2 wp2 wo2",
    "weight_hh_l0": "wpr1 wlr1 wp1 wo1",
    "bias_ih_l0": "bpr1 blr1 bp1 bo1",
}.items():
    assert [float(value) for value in stacked[row].ravel()] == [PUBLISHED_TRAINED[name] for name in names.split()]
assert not stacked["bias_hh_l0"].any()

with torch.no_grad():  # nn.LSTM reads (days, companies, 1) and returns (h, c), in that order
    outputs, (h_n, c_n) = as_nn_lstm(published_trained)(torch.as_tensor(COMPANY_PRICES.T[:, :, None].copy()))

print("company   nn.LSTM             by hand in JAX")
for company, ours, reference in zip("AB", trace.short_memory[:, -1], h_n.ravel(), strict=True):
    print(f"{company}         {float(reference):.15f}   {ours:.15f}")
assert largest_difference(outputs[:, :, 0].T, trace.short_memory) <= 8 * EPS
assert largest_difference(c_n.ravel(), trace.long_memory[:, -1]) <= 8 * EPS

# %% [markdown]
# One thing does differ. `nn.LSTM` has *two* biases for each gate and adds them. The outputs are the same, but the
# training is not: Adam's first step moves every weight by the learning rate, so it moves the sum of two biases by twice
# as much. That is why this project keeps the two biases apart.

# %%
lstm = as_nn_lstm(published_init)
before = (lstm.bias_ih_l0 + lstm.bias_hh_l0).detach().clone()
outputs, _ = lstm(torch.as_tensor(COMPANY_PRICES[1][:, None, None]))
torch.square(outputs[-1, 0, 0] - 1.0).backward()
torch.optim.Adam(lstm.parameters(), lr=1e-3).step()
step_of_two = (lstm.bias_ih_l0 + lstm.bias_hh_l0).detach() - before

torch.optim.Adam(module.parameters(), lr=1e-3).step()  # the same gradient, taken above
step_of_one = [getattr(module, name).item() - PUBLISHED_INIT[name] for name in ("bpr1", "blr1", "bp1", "bo1")]

print("two biases:", "  ".join(f"{value:+.6f}" for value in step_of_two.tolist()))
print("one bias:  ", "  ".join(f"{value:+.6f}" for value in step_of_one))
assert largest_difference(np.abs(step_of_one), 1e-3) < 1e-8
assert largest_difference(step_of_two, 2 * np.array(step_of_one)) < 1e-8

# %% [markdown]
# ## 5. Training
#
# The published run uses Adam with a learning rate of 0.001. One epoch is *two* steps: one on company A, then one on
# company B. 5000 epochs are 10,000 steps.
#
# `jax_lstm.fit` takes a loss, weights and data, and gives back what happened: the trained weights, and the loss and the
# predictions of every step.

# %%
companies = (COMPANY_PRICES, COMPANY_LABELS)
with jax.enable_x64(True):
    straight = jax_lstm.fit(by_hand.loss, published_init, companies, epochs=5000)

print(f"{straight.steps} steps: {straight.seconds:.3f} seconds, after {straight.compile_seconds:.2f} to compile")
assert straight.steps == 10_000
assert straight.losses.dtype == np.float64
assert straight.examples[:4].ravel().tolist() == [0, 1, 0, 1]  # A, B, A, B

# %% [markdown]
# ### Two backends, one path
#
# PyTorch Lightning takes the same first 400 steps. Same weights, same order, same optimizer: the two paths should be
# one path, and they are.

# %%
torch_run = torch_lstm.fit(torch_lstm.LSTMByHand(published_init), companies, epochs=200)
with jax.enable_x64(True):
    jax_run = jax_lstm.fit(by_hand.loss, published_init, companies, epochs=200)

print(f"Lightning: {torch_run.steps} steps in {torch_run.seconds:.2f} seconds")
for name in ("losses", "predictions"):
    difference = largest_difference(getattr(jax_run, name), getattr(torch_run, name))
    print(f"{name:12} largest difference over {jax_run.steps} steps: {difference:.1e}")
    assert difference <= 8 * EPS
for name in BY_HAND:
    assert abs(jax_run.weights[name] - torch_run.weights[name]) <= 32 * EPS
assert np.array_equal(straight.losses[:400], jax_run.losses)

# %% [markdown]
# These are the three curves that the original looks at in TensorBoard: the loss, the prediction where the label is 0
# (company A), and the prediction where it is 1 (company B). The pale line is JAX, the broken one PyTorch.

# %%
plots.training_curves({"JAX": jax_run, "PyTorch": torch_run}, COMPANY_LABELS)

# %% [markdown]
# And this is the whole run.

# %%
plots.training_curves({"JAX": straight}, COMPANY_LABELS)

# %% [markdown]
# First both predictions rise together, to about one half: as long as the unit cannot tell the companies apart, one half
# is the best single answer. The loss sits on a plateau near 0.25. From there the gap between the two predictions only
# widens: slowly at first, and then the run slides down to the right answers.

# %%
of_a, of_b = straight.predictions[0::2, 0], straight.predictions[1::2, 0]  # one an epoch
gap = of_b - of_a

print("epoch   company A   company B      gap")
for epoch in (1, 200, 400, 1000, 2000, 3000, 4000, 5000):
    print(f"{epoch:5}   {of_a[epoch - 1]:9.3f}   {of_b[epoch - 1]:9.3f}   {gap[epoch - 1]:6.3f}")

assert np.all(np.abs(gap[:200]) < 0.02)
assert abs(of_a[399] - 0.5) < 0.05 and abs(of_b[399] - 0.5) < 0.05
assert 0.2 < np.mean(straight.losses[798:800]) < 0.25
assert np.all(np.diff(gap[199:]) > 0)
assert gap[-1] > 0.95

# %% [markdown]
# ### In stages, as published
#
# The original trains for 2000 epochs, looks, resumes from the checkpoint to 3000, looks again, and goes on to 5000. We
# do the same. At each stage the predictions are the published ones, to seven decimals.

# %%
stages = {}
with tempfile.TemporaryDirectory() as directory, jax.enable_x64(True):
    for epochs in (2000, 3000, 5000):
        stages[epochs] = jax_lstm.fit(
            by_hand.loss, published_init, companies,
            epochs=epochs, checkpoint_dir=directory, checkpoint_every=1000, resume=True,
        )  # fmt: skip

    print("epochs  resumed from  company A   company B")
    for epochs, published in PUBLISHED_PREDICTIONS.items():
        weights = stages[epochs].weights if epochs else published_init
        values = by_hand.predict(weights, COMPANY_PRICES)
        resumed_from = stages[epochs].resumed_from if epochs else ""
        print(f"{epochs:6}  {resumed_from:12}  {values[0]:+.7f}  {values[1]:+.7f}")
        assert largest_difference(values, published) < 0.505e-7  # half of the seventh decimal

assert [run.resumed_from for run in stages.values()] == [0, 2000, 3000]

# %% [markdown]
# Stopping must leave no trace. The run in stages equals the straight run, bit for bit: every weight, every loss, every
# prediction.

# %%
resumed = stages[5000]
assert all(np.array_equal(resumed.weights[name], straight.weights[name]) for name in BY_HAND)
assert np.array_equal(resumed.losses, straight.losses)
assert np.array_equal(resumed.predictions, straight.predictions)

# %% [markdown]
# And these are the weights we arrive at, beside the published ones. They agree in both decimals.

# %%
print("weight  published   trained here")
for name in BY_HAND:
    print(f"{name:6}  {PUBLISHED_TRAINED[name]:9.2f}   {straight.weights[name]:12.6f}")
    assert abs(straight.weights[name] - PUBLISHED_TRAINED[name]) <= 0.005

# %% [markdown]
# ## 6. A thousand starts in one call
#
# The published run is one start out of many. Was it lucky? In PyTorch we would write a loop over seeds. Here training
# is itself a pure function, so `jax.vmap` can run it for a thousand starts side by side.
#
# `init_by_hand(seed)` draws a start as the original does: weights from a normal distribution, biases zero. We stack a
# thousand of them, name by name.

# %%
starts = [init_by_hand(seed, np.float64) for seed in range(1000)]
starts = {name: np.stack([start[name] for start in starts]) for name in BY_HAND}


def losses_by_epoch(start, epochs):
    """(epochs,) the mean loss of the two companies in each epoch."""
    run = jax_lstm.fit(by_hand.loss, start, companies, epochs=epochs)
    return run.losses.reshape(epochs, 2).mean(axis=1)


with jax.enable_x64(True):
    began = time.perf_counter()
    losses = np.asarray(jax.vmap(lambda start: losses_by_epoch(start, 5000))(starts))
    print(f"{losses.shape[0]} starts of {losses.shape[1]} epochs: {time.perf_counter() - began:.1f} seconds in all")
assert losses.shape == (1000, 5000)
assert np.all(np.isfinite(losses))

# %% [markdown]
# Is a start in the crowd trained as it would be alone? For the first 200 epochs it is, to the last bits. Over 5000
# epochs the last bits may grow, because two paths that differ by a rounding can part.

# %%
with jax.enable_x64(True):
    for seed in range(4):
        start = {name: starts[name][seed] for name in BY_HAND}
        difference = np.abs(losses_by_epoch(start, 5000) - losses[seed])
        print(f"seed {seed}: 200 epochs {difference[:200].max():.1e}   5000 epochs {difference.max():.1e}")
        assert difference[:200].max() <= 32 * EPS
        assert difference[-1] < 1e-3

# %% [markdown]
# We call a start *done* when its loss is below 0.01, an error of about a tenth. The starts that are not done by epoch
# 5000 get another try, with 20,000 epochs.

# %%
DONE = 0.01
final = losses[:, -1]
published_final = straight.losses.reshape(-1, 2).mean(axis=1)[-1]

late = {name: starts[name][final >= DONE] for name in BY_HAND}
with jax.enable_x64(True):
    late_losses = np.asarray(jax.vmap(lambda start: losses_by_epoch(start, 20_000))(late))


def epoch_when_done(losses):
    return np.where((losses < DONE).any(axis=1), np.argmax(losses < DONE, axis=1) + 1, np.inf)


done_at = epoch_when_done(losses)
done_at[final >= DONE] = epoch_when_done(late_losses)

figure = Figure(figsize=(10, 3.6), layout="constrained")
left, right = figure.subplots(1, 2)
left.hist(final, bins=np.geomspace(1e-5, 1, 51), color="C0")
left.axvline(published_final, color="C3", linewidth=1.2)
left.text(published_final * 1.2, 0.93, "published start", color="C3", transform=left.get_xaxis_transform())
left.set_xscale("log")
left.set(title="loss after 5000 epochs", xlabel="mean squared residual", ylabel="starts out of 1000")
right.plot(np.sort(done_at), 100 * np.arange(1, 1001) / 1000, color="C0")
right.axvline(5000, color="0.6", linewidth=0.8, linestyle="--")
right.set(title="starts that are done (loss below 0.01)", xlabel="epoch", ylabel="percent", xlim=(0, 20_000), ylim=(0, 103))
right.set_xticks(range(0, 20_001, 5000))
for axes in (left, right):
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
figure

# %%
stuck = final > 0.2
print(f"done after  5000 epochs: {np.mean(final < DONE):6.1%}")
print(f"done after 20000 epochs: {np.mean(done_at <= 20_000):6.1%}")
print(f"loss above 0.2 after 5000 epochs: {np.mean(stuck):.1%}")
print(f"share of starts that end better than the published one: {np.mean(final < published_final):.1%}")

assert 0.75 < np.mean(final < DONE) < 0.85
assert np.mean(done_at <= 20_000) > 0.98
assert 0.10 < np.mean(stuck) < 0.15
assert 0.4 < np.mean(final < published_final) < 0.75
assert np.mean((0.5 - COMPANY_LABELS) ** 2) == 0.25  # the loss of answering one half to both
assert abs(np.median(final[stuck]) - 0.25) < 0.02

# %% [markdown]
# What it shows: after the published 5000 epochs, about four starts in five are done. The rest are not lost; they are
# late. The bump at the right of the histogram lies near 0.25, which is the loss of a unit that answers one half to
# both companies. With 20,000 epochs, nearly all of them leave that plateau too. The published start is neither lucky
# nor unlucky: it ends somewhere in the middle.
#
# Which starts are late? The sign of the potential memory's two weights tells.

# %%
both_positive = (starts["wp1"] > 0) & (starts["wp2"] > 0)
both_negative = (starts["wp1"] < 0) & (starts["wp2"] < 0)
for name, chosen in {"both positive": both_positive, "both negative": both_negative}.items():
    print(f"wp1 and wp2 {name}: {np.sum(chosen):3} starts, done after 5000 epochs: {np.mean(final[chosen] < DONE):6.1%}")

assert np.all(final[both_positive] < DONE)
assert 0.4 < np.mean(final[both_negative] < DONE) < 0.6
assert PUBLISHED_INIT["wp1"] < 0 and PUBLISHED_INIT["wp2"] < 0
assert all(straight.weights[name] > 0 for name in ("wp1", "wp2"))

# %% [markdown]
# With both positive, every start is done in time. With both negative, only about half are. The published start is one
# of these: both weights begin negative and end positive, so it had to cross zero on the way.
#
# A caution. This is one model, one data set and one way to draw a start. It says nothing about LSTMs at large.

# %% [markdown]
# ## Where next
#
# Run `lstm-parity check` in a terminal. It compares both backends as we did here, stage by stage and in two
# precisions, trains them from the published start, and prints one verdict.
#
# The next notebook, [Port a trained PyTorch LSTM to JAX](port_a_pytorch_lstm.ipynb), takes an LSTM of any size that was
# trained in PyTorch and brings it to JAX.
