"""``python -m benchmarks.speed``: pace of the sampler relative to a plain loop, both timed in turns in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from benchmarks.command import add_model, parser_of
from benchmarks.process import peak_memory_mb
from benchmarks.speed.plain import plain_loop
from benchmarks.speed.work import convolution_ms, gflops, rates, shares
from mupd.model.attention import Conditions
from mupd.model.conditions import CaseVectors
from mupd.model.encoders import TEXT_DIM
from mupd.model.guidance import guided
from mupd.model.pipeline import MuPDPipeline
from mupd.model.regions import RegionSampling, he_extra
from mupd.model.sampling import seeded_noise
from mupd.model.solvers import integrate
from mupd.model_folder.geometry import TRAINED

GUIDANCE = 1.5
TEXT_CHUNKS = 8
"""Chunks of a report of about a thousand words."""


def made_up_conditions(pipeline: MuPDPipeline, batch: int) -> Conditions:
    """Conditions of the sizes of a spot with its report; their values do not matter to the pace."""
    generator = torch.Generator().manual_seed(0)
    model = pipeline.transformer
    sizes = {"rna": 1, "pathways": 1, "text": TEXT_CHUNKS}
    conditions: Conditions = {}
    for name, tokens in sizes.items():
        dim = TEXT_DIM if name == "text" else model.config["streams"][name]
        vectors = torch.randn((batch, tokens, dim), generator=generator).to(pipeline.device, model.dtype)
        conditions[name] = (vectors, torch.ones(batch, tokens, dtype=torch.bool, device=pipeline.device))
    return conditions


def seconds(work: Callable[[], Tensor], device: str) -> float:
    """Time of one call: with one CPU thread its CPU time, which other processes affect least; otherwise wall time."""
    if device == "cpu" and torch.get_num_threads() == 1:
        before = time.process_time()
        work()
        return time.process_time() - before
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - started


def compare(pipeline: MuPDPipeline, batch: int, steps: int, rounds: int, best: float, profile: bool) -> tuple[str, str]:
    """Print the ratio of the two loops for one batch size, and how far their outputs are apart.

    Parameters
    ----------
    best
        10^9 operations a second that the device reaches; 0 = not measured.
    profile
        Whether our loop is profiled too.

    Returns
    -------
    tuple
        A row on the work of both, and what the profile found; "" for what was not measured.
    """
    model, device = pipeline.transformer, pipeline.device
    conditions = made_up_conditions(pipeline, batch)
    extra = he_extra(TRAINED.mpp).to(device, model.dtype).expand(batch, 2)
    noise = seeded_noise((batch, pipeline.vae.latent_channels, TRAINED.window, TRAINED.window), 0, device)
    scales = dict.fromkeys(conditions, GUIDANCE)

    def ours() -> Tensor:
        with torch.no_grad():
            context = model.context(conditions, batch)
        return integrate(guided(model, "he", context, extra, scales), noise, steps)

    def plain() -> Tensor:
        return plain_loop(model, conditions, extra, noise.to(model.dtype), steps, GUIDANCE).float()

    apart = (ours() - plain()).abs().max().item()
    times: dict[str, list[float]] = {"plain": [], "ours": []}
    for _ in range(rounds):
        times["plain"].append(seconds(plain, device))
        times["ours"].append(seconds(ours, device))
    ratio = statistics.median(p / o for p, o in zip(times["plain"], times["ours"], strict=True))
    took = {name: statistics.median(rounds) for name, rounds in times.items()}
    print(f"| {batch} | {steps} | {took['plain']:.2f} | {took['ours']:.2f} | {ratio:.2f} | {apart:.1e} |", flush=True)
    profiled = ""
    if profile:
        profiled = f"{batch} windows, share of operators: " + ", ".join(
            f"{name} {share:.0%}" for name, share in shares(ours).items()
        )
    if not best:
        return "", profiled
    work = {"plain": gflops(plain), "ours": gflops(ours)}
    whole = {name: sum(parts.values()) for name, parts in work.items()}
    cells = [" + ".join(f"{work[name][part] / steps:.2f}" for part in work[name]) for name in ("plain", "ours")]
    reached = [f"{100 * whole[name] / took[name] / best:.0f} %" for name in ("plain", "ours")]
    bound = took["plain"] / (whole["ours"] / best)
    return f"| {batch} | {cells[0]} | {reached[0]} | {cells[1]} | {reached[1]} | {bound:.2f} |", profiled


def region(pipeline: MuPDPipeline, side_px: int, steps: int, batch: int) -> None:
    """Print seconds per megapixel of a region, decoding included, and the peak memory of the process."""
    rng = np.random.default_rng(0)
    dims = pipeline.transformer.config["streams"]
    given = CaseVectors(
        rna=rng.standard_normal((1, dims["rna"]), np.float32),
        pathways=rng.standard_normal((1, dims["pathways"]), np.float32),
    )
    started = time.perf_counter()
    pipeline.generate_he(
        given,
        (side_px, side_px),
        lambda *_: None,
        seed=0,
        guidance={"rna": GUIDANCE},
        sampling=RegionSampling(steps, batch),
    )
    elapsed = time.perf_counter() - started
    peak = peak_memory_mb()
    print(f"| {side_px} | {steps} | {elapsed:.1f} | {elapsed / (side_px**2 / 1e6):.1f} | {peak:.0f} |")


def main() -> None:
    """Parse the command line and print both tables."""
    parser = parser_of("speed", __doc__ or "")
    add_model(parser)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--regions", type=int, nargs="*", default=[512, 1024], metavar="PX")
    parser.add_argument(
        "--threads", type=int, default=1, help="of PyTorch; with one on the CPU its CPU time counts, else wall time"
    )
    parser.add_argument("--profile", action="store_true", help="also print what our loop spends its time in")
    parser.add_argument("--compile", action="store_true", help="compile the trunk for our loop and for the plain one")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    pipeline = MuPDPipeline.from_pretrained(options.model, options.device, compile_trunk=options.compile)
    print(f"{pipeline.model_id} on {options.device}, {torch.get_num_threads()} threads, {pipeline.transformer.dtype}\n")
    print("| windows | steps | plain loop, s | ours, s | plain / ours | largest difference of latents |")
    print("| --- | --- | --- | --- | --- | --- |")
    config = pipeline.transformer.config
    measured = rates(config["stem_width"], config["width"]) if options.device == "cpu" else {}
    best = max(measured.values(), default=0.0) if options.threads == 1 else 0.0
    rows = [compare(pipeline, batch, options.steps, options.rounds, best, options.profile) for batch in options.batches]
    if best:
        print("\n10^9 operations a second on one thread, float32: ", end="")
        print("; ".join(f"{name} {rate:.0f}" for name, rate in measured.items()))
        taken = convolution_ms(config["stem_width"], TRAINED.window, 2 * max(options.batches))
        print(f"a convolution of the stem, ms: {taken:.2f}")
        print("\nwork of a step: 10^9 operations of convolutions + products + attention\n")
        print("| windows | plain | share of the best rate | ours | share of the best rate | largest possible ratio |")
        print("| --- | --- | --- | --- | --- | --- |")
        print("\n".join(row for row, _ in rows))
    if options.profile:
        print("\n" + "\n".join(profiled for _, profiled in rows))
    print("\n| region, px a side | steps | s | s per megapixel | peak memory of the process, MB |")
    print("| --- | --- | --- | --- | --- |")
    for side in options.regions:
        region(pipeline, side, options.steps, 16)


if __name__ == "__main__":
    main()
