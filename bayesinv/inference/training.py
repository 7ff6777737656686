r"""`fit`: trains a posterior on simulated pairs ``(x_i, y_i)``, resumable, the same to the bit.

Two phases of one cosine schedule: the head of the summary network alone (mean squared error), then flow and summary
jointly (`bayesinv.inference.objective`). Images bear noise that falls to its last value in the first phase. The weights
are averaged exponentially, the average of least held-out loss is kept, and on the validation pairs a temperature is
chosen and a common bias taken away. Last, 500 more simulated records make the gate that tells at `sample` whether data
are like them.
Every draw is keyed by (seed, step), so that a run that was killed and resumed repeats an undisturbed one.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bayesinv.inference.averaging import copied, update_average, with_weights
from bayesinv.inference.bank import Bank, derived_seed, mirrored, simulate_bank, simulate_batch
from bayesinv.inference.baseline import tune_baseline
from bayesinv.inference.checkpoint import Checkpoint, has_checkpoint, load_checkpoint, save_checkpoint
from bayesinv.inference.first_look import first_look, first_look_size
from bayesinv.inference.gate import fit_gate
from bayesinv.inference.history import History
from bayesinv.inference.interrupt import interruptible
from bayesinv.inference.objective import Objective
from bayesinv.inference.pairs import load_pairs
from bayesinv.inference.plan import Plan, check_plan, default_simulations, recipe
from bayesinv.inference.posterior import Posterior
from bayesinv.inference.problem import Problem
from bayesinv.inference.progress import Bar, progress_bar
from bayesinv.inference.recentring import recentre
from bayesinv.inference.runs import finished_run, prepare_run, provenance
from bayesinv.inference.step_in_backward import StepInBackward, check_separate
from bayesinv.inference.summaries import mirror_axes
from bayesinv.inference.temperature import choose_temperature
from bayesinv.reversible import plain, plain_fits
from bayesinv.seeding import generator, normal, stream

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["fit"]

_log = logging.getLogger(__name__)
_NAN_PATIENCE = 10
_KEPT = 256 * 2**20  # bytes that autograd may keep of a step


def fit(
    posterior: Posterior,
    problem: Problem,
    *,
    simulations: int | str | Path | None = "auto",
    epochs: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    head_fraction: float | None = None,
    head_weight: float | None = None,
    target_noise: tuple[float, float] | None = None,
    validation: int | None = None,
    patience: int | None = None,
    averaging: float | None = None,
    clip: float = 5.0,
    checkpoint_steps: int = 100,
    step_in_backward: bool = False,
    restart: bool = False,
    show_progress: bool = True,
    device: str = "auto",
) -> History:
    """Trains ``posterior`` in place; with ``out``, resumes what was interrupted and reuses what is finished.

    Where autograd's own backward pass would keep at most 256 MiB (16 images of 64 x 64 pixels), it is used, as it is
    the faster; where more, the layers rebuild their inputs, and memory does not grow with the depth of the flow.

    What is left ``None`` takes its value from `bayesinv.inference.plan.recipe`, which has one for images and one for
    vectors; the numbers in brackets are those for images.

    Args:
        posterior: what to train, of the same problem.
        problem: the simulator.
        simulations: how many pairs to simulate once; the path of a stored set (`bayesinv.inference.simulate`); or
            ``None`` to simulate fresh pairs at every step (an epoch is then 250 steps). ``"auto"`` is ``None`` for
            images of at most 1024 pixels with a linear operator and a prior that has a density, where pairs are cheap,
            else 4000. Images of 16 x 16 pixels have a linear path that is set by least squares: from these pairs, or
            from twice as many more (at most 262,144) where they are fresh.
        epochs: passes over the pairs (10; of fresh ones 24 up to 256 pixels, 12 up to 1024); sets the number of
            optimizer steps, on which all schedules count.
        seed: of pairs, order, mirroring and image noise.
        out: run folder for ``checkpoint.safetensors``, ``history.json`` and ``posterior.bayesinv``.
        batch_size: pairs a step (16, for small images of at most 1024 pixels 32).
        learning_rate: peak of Adam's rate (4e-3); 100 steps of warm-up, cosine to zero.
        head_fraction: share of the steps that train the head of the summary network alone (0.35, for small images 0.1).
        head_weight: weight of the head's squared error afterwards (0.5).
        target_noise: first and last standard deviation of the noise on the images, over that of the images; it falls
            geometrically while the head is trained. (0.25, 0.05) hides exact zeros and other repeated values; for small
            images without such values it is (0.25, 0.002).
        validation: number of held-out pairs for best weights, temperature and baseline (100).
        patience: epochs without a better held-out loss before training stops early (10).
        averaging: decay of the exponential moving average of the weights (0.995).
        clip: largest gradient norm, of all weights together.
        checkpoint_steps: steps between two checkpoints.
        step_in_backward: whether Adam steps each weight within the backward pass, as soon as its gradient is known, and
            frees that: the gradients never lie in memory together. ``clip`` is then the largest norm of the gradient of
            each tensor alone, and a gradient that is not finite stops the step there, not as a whole. Where nothing is
            clipped the run is the same (to rounding, where it would have used autograd's own backward pass). See
            `bayesinv.inference.step_in_backward`.
        restart: whether to throw a former run in ``out`` away.
        show_progress: whether to show a bar with loss (nats per dimension), rate and time left.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ...

    Returns:
        The history: a row for each epoch, seconds, temperature.

    Raises:
        ValueError: for settings out of range, a posterior of another problem, one that shares weights between flow and
            summary network with ``step_in_backward``, or ``out`` holding a run with other settings (the message names
            ``restart``).
        FloatingPointError: if the loss stays non-finite (the message says what to do).
        KeyboardInterrupt: after Ctrl-C, when the checkpoint is written.
        OSError: if ``out`` cannot be written; the last good checkpoint stays.

    Source: the recipe follows Kingma and Ba 2015, arXiv 1412.6980 (Adam); Loshchilov and Hutter 2017,
    arXiv 1608.03983 (cosine); Polyak and Juditsky 1992, doi 10.1137/0330046 (averaging).
    """
    if simulations == "auto":
        simulations = default_simulations(problem)
    stored = str(simulations) if isinstance(simulations, (str, Path)) else None
    pairs = None if stored is None else load_pairs(stored, problem)
    count = simulations if simulations is None or isinstance(simulations, int) else len(pairs[0]) if pairs else 0
    told = {
        "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "head_fraction": head_fraction,
        "head_weight": head_weight, "target_noise": target_noise, "validation": validation, "patience": patience,
        "averaging": averaging,
    }  # fmt: skip
    filled = recipe(problem, count) | {k: v for k, v in told.items() if v is not None}
    plan = Plan(simulations=count, pairs=stored, clip=clip, checkpoint_steps=checkpoint_steps, seed=seed, **filled)
    check_plan(plan, posterior, problem)
    if step_in_backward:
        check_separate(posterior, posterior.flow.map)
    record = posterior.record
    settings = {
        **asdict(plan), "target_noise": list(plan.target_noise), "architecture": record["architecture"],
        "summary": posterior.summary, "problem": record["problem"], "start": record["seed"],
    }  # fmt: skip
    if step_in_backward:
        settings["step_in_backward"] = True
    folder = prepare_run(out, restart=restart)
    done = finished_run(folder, settings)
    if done is not None:
        posterior.load_state_dict(done[0])
        posterior.record.update(done[1])
        posterior.eval()
        return done[2]
    run = _Run(posterior, problem, plan, settings, folder, pairs, device)
    with progress_bar(show_progress) as bar:
        return run.train(bar)


class _Run:
    """One training: the parts that its steps share."""

    def __init__(
        self,
        posterior: Posterior,
        problem: Problem,
        plan: Plan,
        settings: Mapping[str, Any],
        folder: Path | None,
        pairs: tuple[Tensor, Tensor, Tensor] | None,
        device: str,
    ) -> None:
        from lightning_fabric import Fabric

        self.posterior, self.problem, self.plan, self.settings = posterior, problem, plan, settings
        self.folder, self.pairs = folder, pairs
        self.fabric: Fabric = Fabric(accelerator=device, devices=1)
        self.axes = mirror_axes(posterior.summary, problem.forward)
        self.seed_train, self.seed_validation = (derived_seed(plan.seed, p) for p in ("training", "validation"))
        self.head_steps = 0
        self.stepping: StepInBackward | None = None
        self.plainly = False

    def train(self, bar: Bar) -> History:
        plan, posterior = self.plan, self.posterior
        bank, held = self._banks(bar)
        if not posterior.record["baseline"].get("tuned"):
            tuned = tune_baseline(
                posterior.record["baseline"]["kind"], self.problem.forward, held.x, held.y, start=posterior.fiducial
            )
            posterior.record["baseline"] = {**tuned, "tuned": True}
        self._normalise(held if bank is None else bank)
        look = first_look_size(posterior, plan) if bank is None else 0
        if look and not has_checkpoint(self.folder):
            bar.start("a first look at fresh pairs", look)
            posterior.regress(first_look(self.problem, posterior, look, self.axes, seed=plan.seed, advance=bar.advance))
        elif not look:
            posterior.regress([(held.x, held.c) if bank is None else (bank.x, bank.c)])
        objective = Objective(posterior)
        self.head_steps = int(plan.head_fraction * plan.steps) if objective.has_head else 0
        optimizer = torch.optim.Adam(objective.parameters(), lr=plan.learning_rate, betas=(0.9, 0.99), fused=True)
        if "step_in_backward" in self.settings:
            self.stepping = StepInBackward(posterior, posterior.flow.map, optimizer, clip=plan.clip)
        wrapped, optimizer = self.fabric.setup(objective, optimizer)
        posterior.to(self.fabric.device)
        self.plainly = self.stepping is None and self._keeps_little(objective, held)
        posterior.train()
        state = Checkpoint(step=0, average=copied(posterior), best={}, history=History())
        load_checkpoint(self.folder, self.settings, posterior, optimizer, state)
        resumed = state.step
        began = time.perf_counter() - state.history.seconds
        bar.start("training", plan.steps, done=resumed)
        bad = 0
        loss = math.nan
        with interruptible() as stop:
            while state.step < plan.steps and not state.stopped:
                loss, sound = self._step(wrapped, optimizer, bank, state)
                bad = 0 if sound else bad + 1
                if bad >= _NAN_PATIENCE:
                    raise FloatingPointError(
                        f"the loss was not finite in {bad} steps in a row before step {state.step}: lower "
                        f"learning_rate (now {plan.learning_rate}), raise target_noise, or look for outliers in the "
                        "images"
                    )
                bar.advance(1, f"loss {loss:+.3f} nats/dim")
                state.history.seconds = time.perf_counter() - began
                if state.step % plan.epoch_steps == 0 or state.step == plan.steps:
                    self._evaluate(wrapped, held, state, loss)
                if stop.asked or state.step % plan.checkpoint_steps == 0 or state.step == plan.steps:
                    save_checkpoint(self.folder, self.settings, posterior, optimizer, state)
                if stop.asked:
                    where = f"; the same command goes on from step {state.step}" if self.folder else ""
                    raise KeyboardInterrupt(f"training interrupted at step {state.step} of {plan.steps}{where}")
        return self._finish(held, state, bar)

    def _banks(self, bar: Bar) -> tuple[Bank | None, Bank]:
        plan = self.plan
        bar.start("simulating", (plan.simulations or 0) + plan.validation)
        bank = None
        if plan.simulations is not None:
            bank = simulate_bank(
                self.problem, self.posterior.summary, plan.simulations, self.seed_train,
                fiducial=self.posterior.fiducial, affine=self.posterior.affine, pairs=self.pairs, keep_data=False,
                advance=bar.advance,
            )  # fmt: skip
        held = simulate_bank(
            self.problem, self.posterior.summary, plan.validation, self.seed_validation,
            fiducial=self.posterior.fiducial, affine=self.posterior.affine, advance=bar.advance,
        )  # fmt: skip
        return bank, held

    def _normalise(self, bank: Bank) -> None:
        posterior = self.posterior
        posterior.normalise(bank.x, bank.c)
        posterior.target_noise_.copy_(self.plan.target_noise[1] * bank.x.std())
        if not bool((posterior.summary_scale > 0).all() & (posterior.image_scale > 0).all()):
            raise ValueError("expected images and summaries that vary, got constant ones from the simulator")

    def _step(self, objective: Any, optimizer: Any, bank: Bank | None, state: Checkpoint) -> tuple[float, bool]:
        """One optimizer step; returns the loss, and whether all was finite (if not, the step is skipped)."""
        plan, step = self.plan, state.step
        head_only = step < self.head_steps
        u, c = self._batch(bank, step)
        for group in optimizer.param_groups:
            group["lr"] = plan.rate(step)
        optimizer.zero_grad(set_to_none=True)
        with self._pass():
            nll, mse = objective(u, c, head_only)
            loss = nll + (1.0 if head_only else plan.head_weight) * mse
            sound = bool(torch.isfinite(loss))
            if sound:
                self.fabric.backward(loss)
        if sound and self.stepping is not None:
            sound = self.stepping.sound
        elif sound:
            norm = self.fabric.clip_gradients(objective, optimizer, max_norm=plan.clip, error_if_nonfinite=False)
            sound = norm is not None and bool(torch.isfinite(norm))
            if sound:
                optimizer.step()
        if not sound:
            how = "skipped" if self.stepping is None else "ended early"
            _log.warning("step %d %s: its loss or gradient is not finite", step, how)
        state.step += 1
        update_average(state.average, self.posterior, plan.averaging, max(0, state.step - self.head_steps))
        return float(nll.detach()), sound

    def _pass(self) -> AbstractContextManager[None]:
        """Around forward and backward pass."""
        if self.stepping is not None:
            return self.stepping.within()
        return plain() if self.plainly else nullcontext()

    def _keeps_little(self, objective: Objective, held: Bank) -> bool:
        """Whether autograd would keep little of a joint step, told from a few pairs."""
        n = min(len(held), 4)
        u, c = (t[:n].to(self.fabric.device) for t in (held.x, held.c))
        u, c = self.posterior.standardised(u), self.posterior.scaled(c)
        self.posterior.eval()  # leaves running statistics and random numbers alone
        return plain_fits(lambda: objective(u, c, False), _KEPT * n // self.plan.batch_size)

    def _batch(self, bank: Bank | None, step: int) -> tuple[Tensor, Tensor]:
        plan, posterior = self.plan, self.posterior
        if bank is None:
            count = plan.batch_size
            fresh = simulate_batch(self.problem, posterior, count, self.seed_train, start=step * count)
            x, c = fresh.x, fresh.c
        else:
            epoch, at = divmod(step, plan.epoch_steps)
            order = generator(plan.seed, stream("order"), epoch).permutation(len(bank))
            chosen = torch.from_numpy(order[at * plan.batch_size : (at + 1) * plan.batch_size])
            x, c = bank.x[chosen], bank.c[chosen]
        x, c = mirrored(x, c, self.axes, plan.seed, step)
        noise = plan.noise(step) * normal(x.shape, plan.seed, stream("image noise"), step)
        device = self.fabric.device
        return posterior.standardised(x.to(device)) + noise.to(device), posterior.scaled(c.to(device))

    def _evaluate(self, objective: Any, held: Bank, state: Checkpoint, loss: float) -> None:
        """Held-out loss of the averaged weights, with the last image noise; keeps the best."""
        plan, posterior = self.plan, self.posterior
        row: dict[str, Any] = {"step": state.step, "epoch": state.step // plan.epoch_steps, "loss": loss,
                               "phase": "head" if state.step <= self.head_steps else "joint",
                               "learning_rate": plan.rate(state.step - 1),
                               "seconds": round(state.history.seconds, 3)}  # fmt: skip
        with with_weights(posterior, state.average), torch.no_grad():
            posterior.eval()
            row["heldout"], row["heldout_mse"] = self._heldout(objective, held, state.step <= self.head_steps)
            posterior.train()
        state.history.rows.append(row)
        if row["phase"] == "joint" and math.isfinite(row["heldout"]):
            if row["heldout"] < state.best_loss:
                state.best_loss, state.best_step = row["heldout"], state.step
                state.best = {name: tensor.clone() for name, tensor in state.average.items()}
            state.stopped = state.step - state.best_step >= plan.patience * plan.epoch_steps
        if self.folder is not None:
            state.history.save(self.folder / "history.json")

    def _heldout(self, objective: Any, held: Bank, head_only: bool) -> tuple[float, float]:
        posterior, device = self.posterior, self.fabric.device
        noise = normal(held.x.shape, self.plan.seed, stream("validation noise")) * self.plan.target_noise[1]
        sums = torch.zeros(2, dtype=torch.float64)
        size = max(50, self.plan.batch_size)
        for start in range(0, len(held), size):
            part = slice(start, start + size)
            u = posterior.standardised(held.x[part].to(device)) + noise[part].to(device)
            found = torch.stack(objective(u, posterior.scaled(held.c[part].to(device)), head_only))
            sums += found.double().cpu() * len(u)
        nll, mse = (sums / len(held)).tolist()
        return nll, mse

    def _finish(self, held: Bank, state: Checkpoint, bar: Bar) -> History:
        plan, posterior = self.plan, self.posterior
        posterior.load_state_dict(state.best or state.average)
        posterior.eval()
        bar.start("choosing the temperature", 9)  # at most
        began = time.perf_counter()
        scaled = posterior.scaled(held.c.to(self.fabric.device))
        chosen = choose_temperature(
            posterior, held.x, scaled, seed=derived_seed(plan.seed, "temperature"), regions=self.problem.regions,
            advance=bar.advance,
        )  # fmt: skip
        posterior.temperature_.fill_(chosen)
        recentre(posterior, held.x, scaled, seed=derived_seed(plan.seed, "recentring"))
        posterior.record["gate"] = fit_gate(self.problem, seed=derived_seed(plan.seed, "gate")).to_record()
        history = state.history
        history.temperature, history.best_step = chosen, state.best_step
        history.seconds += time.perf_counter() - began
        posterior.record["training"] = {
            "settings": dict(self.settings), "seconds": round(history.seconds, 2), "steps": state.step,
            "best_step": state.best_step, "heldout_nats_per_dim": state.best_loss, "temperature": chosen,
            **provenance(self.fabric.device),
        }  # fmt: skip
        posterior.to("cpu")
        if self.folder is not None:
            history.save(self.folder / "history.json")
            posterior.save(self.folder / "posterior.bayesinv")
        return history
