"""Writes reference samples of a vector problem: observations, their true vectors, and samples of each posterior.

Run: python datasets/make_reference.py slcp --observations 10 --samples 10000 --out slcp.npz
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from bayesinv_datasets.vector_problems import VECTOR_PROBLEMS


def main() -> None:
    """Draw and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("problem", choices=sorted(VECTOR_PROBLEMS))
    parser.add_argument("--observations", type=int, default=10, help="how many")
    parser.add_argument("--samples", type=int, default=10_000, help="of each posterior")
    parser.add_argument("--seed", type=int, default=0, help="of pairs and samples")
    parser.add_argument("--out", type=Path, required=True, help="file to write (.npz)")
    arguments = parser.parse_args()
    problem = VECTOR_PROBLEMS[arguments.problem]()
    x, y, _ = problem.sample(arguments.observations, arguments.seed)
    drawn = [problem.reference(row, arguments.samples, arguments.seed + 1 + i).numpy() for i, row in enumerate(y)]
    np.savez_compressed(arguments.out, x=x.numpy(), y=y.numpy(), samples=np.stack(drawn))
    print(f"{arguments.observations} x {arguments.samples} samples of {arguments.problem} in {arguments.out}")


if __name__ == "__main__":
    main()
