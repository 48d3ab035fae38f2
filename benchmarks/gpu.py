"""What a GPU makes of a training: images a second through our loop, beside the plain loop that people write.

    python benchmarks/gpu.py [--device cuda] [--images 512] [--sets FILE.npz …] [--rows train,augment,…]

train     the same network, batch and optimiser, for 224 x 224 images and 64³ volumes. Plain: a torch loop
          in single precision over images that lie on the device, without augmentation. Ours: the whole
          loop of `hu train` (drawing and applying rotation, shift, zoom and flips, mixed precision where the
          chip is faster so, the loss's guard), from prepared integers in memory. In one process, in turn.
augment   one random affine and flips: compiled code on the CPU, torch on the device.
score     prediction of a ResNet-18 and whether the device's logits are the CPU's.
sets      `hu train` on the files given, as a command: seconds of each step, AUROC by cross-validation.

Prints tables in Markdown with the name of the device. Weights are random; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from hounsfield.core.case import LabelEncoding
from hounsfield.core.plan import Augment, Fit, Input, Network, Plan, Validation
from hounsfield.networks import build
from hounsfield.steps.batches import Batches
from hounsfield.steps.guard import Guard, Place
from hounsfield.steps.job import Job
from hounsfield.steps.learner import Learner
from hounsfield.steps.prepare import Prepared
from hounsfield.tasks.classification import loss_of, targets_of
from hounsfield.transforms.augment import augmented
from hounsfield.transforms.draw import draw
from hounsfield.transforms.on_device import augmented_on_device

NETS = (
    ("article-a", (1, 224, 224), 1, 32),
    ("resnet18", (1, 224, 224), 1, 64),
    ("resnet50", (1, 224, 224), 1, 64),
    ("densenet121", (1, 224, 224), 1, 64),
    ("resnet18", (64, 64, 64), 1, 16),
)
AUGMENT = Augment(rotation_deg=15, shift_width=0.1, shift_height=0.1, zoom=0.2, flip_left_right=True)
TURNS, THREADS = 5, 8


def plan_of(name: str, size: tuple[int, int, int], channels: int, batch: int, device: str) -> Plan:
    return Plan(
        input=Input(size=size, channels=channels),
        augment=AUGMENT,
        network=Network(name=name),
        fit=Fit(batch_size=batch, epochs=1, optimiser="adamw", schedule="constant", compile="off"),
        validation=Validation(folds=5, members=1),
        device=device,
    )


def job_of_random(plan: Plan, images: int, folder: Path) -> Job:
    rng = np.random.default_rng(0)
    shape = (images, plan.input.channels, *plan.input.size)
    pixels = rng.integers(0, 255, shape, dtype=np.uint8)
    levels = np.tile(np.array([1 / 60, -2.0, -np.inf, np.inf], np.float32), (images, 1))
    prepared = Prepared(tuple(map(str, range(images))), pixels, levels)
    rows = np.arange(images)
    return Job(
        folder,
        plan,
        LabelEncoding("binary", ("0", "1")),
        prepared,
        rows,
        rows % 2,
        rows // 2 % 5,
        threads=THREADS,
    )


def synchronised(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def seconds_of(work: Callable[[], None], device: torch.device) -> float:
    synchronised(device)
    began = time.perf_counter()
    work()
    synchronised(device)
    return time.perf_counter() - began


def our_epoch(job: Job, device: torch.device) -> tuple[Callable[[], None], int]:
    """One epoch of the training loop's own parts, and its images."""
    targets = targets_of(job.answers, job.encoding)
    learner = Learner(job, 0, loss_of(job.plan.fit, job.encoding, targets), device)
    learner.enter_stage(None, cache=False, compile_it=False)
    batches = Batches(job, 0, targets, device, threads=THREADS)
    guard, place = Guard(), Place()
    count = {"epoch": 0}

    def work() -> None:
        epoch = batches.epoch(count["epoch"])
        count["epoch"] += 1
        guard.keep(learner, place)
        for step in range(batches.steps):
            pieces = batches.pieces(epoch, step, (0, batches.size), 1)
            learner.step(pieces, count=1, rate=1e-3, number=step, seed=step)

    return work, batches.steps * batches.size


def plain_epoch(job: Job, device: torch.device) -> tuple[Callable[[], None], int]:
    plan = job.plan
    network = build(plan.network, channels=plan.input.channels, outputs=1, size=plan.input.size, seed=0)
    network.to(device).train()
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3)
    size = plan.fit.batch_size
    training, _ = job.parts(0)
    images = torch.from_numpy(job.prepared.batch(training[: 4 * size])).to(device)
    answers = torch.from_numpy(job.answers[training[: 4 * size], None].astype(np.float32)).to(device)
    steps = len(training) // size

    def work() -> None:
        for step in range(steps):
            at = slice(step % 4 * size, (step % 4 + 1) * size)
            optimiser.zero_grad()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(network(images[at]), answers[at])
            loss.backward()
            optimiser.step()
            loss.item()

    return work, steps * size


def train_rows(device: torch.device, images: int) -> None:
    print("| network | input | batch | plain torch, float32 | ours, augmented | ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, size, channels, batch in NETS:
        with tempfile.TemporaryDirectory() as folder:
            plan = plan_of(name, size, channels, batch, str(device))
            job = job_of_random(plan, images if size[0] == 1 else images // 2, Path(folder))
            ours, count = our_epoch(job, device)
            plain, other = plain_epoch(job, device)
            for work in (ours, plain):
                seconds_of(work, device)
            turns = [
                (count / seconds_of(ours, device), other / seconds_of(plain, device)) for _ in range(TURNS)
            ]
        mine, theirs = (sorted(column)[TURNS // 2] for column in zip(*turns, strict=True))
        ratio = sorted(a / b for a, b in turns)
        shape = "×".join(str(s) for s in size if s > 1)
        print(f"| {name} | {shape} | {batch} | {theirs:,.0f} images/s | {mine:,.0f} images/s | "
              f"{ratio[TURNS // 2]:.2f}× ({ratio[0]:.2f}× to {ratio[-1]:.2f}×) |", flush=True)  # fmt: skip


def augment_rows(device: torch.device) -> None:
    print("\n| augmentation | compiled, CPU | on the device | ratio |\n| --- | --- | --- | --- |")
    for shape, n in (((224, 224), 256), ((96, 96, 96), 16)):
        on_cpu, on_device = augmenters(shape, n, device)
        for work in (on_cpu, on_device):
            seconds_of(work, device)
        turns = [(n / seconds_of(on_cpu, device), n / seconds_of(on_device, device)) for _ in range(TURNS)]
        a, b = (sorted(column)[TURNS // 2] for column in zip(*turns, strict=True))
        size = "×".join(map(str, shape))
        print(f"| {size} | {a:,.0f}/s ({THREADS} threads) | {b:,.0f}/s | {b / a:.1f}× |", flush=True)


def augmenters(
    shape: tuple[int, ...], n: int, device: torch.device
) -> tuple[Callable[[], None], Callable[[], None]]:
    """The same drawn changes by compiled code and by torch on the device, where the images already lie."""
    whole = (1, *shape) if len(shape) == 2 else shape
    pixels = np.random.default_rng(0).integers(0, 255, (n, 1, *whole), dtype=np.uint8)
    levels = np.tile(np.array([1 / 60, -2.0, -np.inf, np.inf], np.float32), (n, 1))
    drawn = draw(AUGMENT, n, shape, np.random.default_rng(1))
    there, their_levels = torch.from_numpy(pixels).to(device), torch.from_numpy(levels).to(device)

    def on_cpu() -> None:
        augmented(pixels, levels, drawn, threads=THREADS)

    def on_device() -> None:
        augmented_on_device(there, their_levels, drawn)

    return on_cpu, on_device


def score_rows(device: torch.device) -> None:
    from hounsfield.steps.engine import TorchEngine

    network = build(Network(name="resnet18"), channels=1, outputs=1, size=(1, 224, 224), seed=0).eval()
    images = np.random.default_rng(0).normal(size=(256, 1, 224, 224)).astype(np.float32)
    on_cpu = TorchEngine(network).logits(images[:32])
    engine = TorchEngine(network.to(device))
    there = engine.logits(images[:32])
    off = float(np.abs(there - on_cpu).max() / np.abs(on_cpu).std())

    def work() -> None:
        for k in range(0, 256, 64):
            engine.logits(images[k : k + 64])

    work()
    took = sorted(seconds_of(work, device) for _ in range(TURNS))
    print(f"\nResNet-18 at 224×224 in single precision, batch 64: {256 / took[TURNS // 2]:,.0f} images/s; "
          f"logits differ from the CPU's by at most {off:.1e} of their spread", flush=True)  # fmt: skip


def set_rows(device: torch.device, files: list[str]) -> None:
    print("\n| set | seconds in all | of which fit | AUROC, cross-validation |\n| --- | --- | --- | --- |")
    for file in files:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "run"
            began = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-m", "hounsfield", "train", file, "--out", str(out), "--json",
                 "--one-image-per-patient", f"device={device}"],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            took = time.perf_counter() - began
            if done.returncode:
                print(f"| {Path(file).name} | failed: {done.stderr.strip()[-300:]} | | |", flush=True)
                continue
            evidence = json.loads((out / "evidence.json").read_text())
            area = next(f for f in evidence["metrics"] if f["name"] == "auroc" and not f["label"])
            fit = evidence["context"]["seconds"].get("fit", 0)
            text = f"{area['value']:.4f} ({area['low']:.4f} to {area['high']:.4f})"
            print(f"| {Path(file).name} | {took:.0f} | {fit:.0f} | {text} |", flush=True)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--device", default="cuda")
    asked.add_argument("--images", type=int, default=512)
    asked.add_argument("--sets", nargs="*", default=[])
    asked.add_argument("--rows", default="train,augment,score,sets")
    given = asked.parse_args()
    device = torch.device(given.device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}\n", flush=True)
    rows = given.rows.split(",")
    if "train" in rows:
        train_rows(device, given.images)
    if "augment" in rows:
        augment_rows(device)
    if "score" in rows:
        score_rows(device)
    if "sets" in rows and given.sets:
        set_rows(device, given.sets)


if __name__ == "__main__":
    main()
