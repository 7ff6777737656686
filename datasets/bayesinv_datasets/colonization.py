"""Vessel trees by space colonization, many trees at a time.

Attraction points are scattered over a canvas. In each step every point pulls at the tree node ``v`` nearest to it, if
that is closer than the influence distance; a pulled node grows one child at

    v' = v + D (n / |n| + jitter * N(0, 1)),    n = sum over the points s of v:  (s - v) / |s - v|,

and points closer than the kill distance to a node vanish. Radii follow Murray's law, ``r^gamma = sum over children
r_child^gamma``.

Source: Runions, Lane & Prusinkiewicz 2007, "Modeling Trees with a Space Colonization Algorithm" (Eurographics Workshop
    on Natural Phenomena), after Runions et al. 2005, "Modeling and visualization of leaf venation patterns"; Murray
    1926, "The physiological principle of minimum work" (PNAS 12).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Colonization", "Tree"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Tree:
    """Segments of one tree: ends ``(segments, 2)`` as (z, x) and radii ``(segments,)``, in canvas pixels."""

    start: Floats
    end: Floats
    radius: Floats


@dataclass(frozen=True)
class Colonization:
    """The rules by which trees grow; lengths in pixels of the canvas.

    Args:
        canvas: side of the square canvas.
        density: attraction points per canvas pixel, half of them uniform, half in Gaussian clusters.
        roots: least and greatest number of roots, all on the border.
        influence: distance within which a point pulls at a node.
        kill: distance at which a point vanishes.
        step: length ``D`` of a segment.
        jitter: standard deviation of the noise on a direction.
        gamma: exponent of Murray's law.
        tip: radius of a tip.
    """

    canvas: float
    density: float
    roots: tuple[int, int]
    influence: float
    kill: float
    step: float
    jitter: float
    gamma: float
    tip: float

    @property
    def attractors(self) -> int:
        """The number of attraction points."""
        return max(8, round(self.density * self.canvas**2))

    @property
    def most_nodes(self) -> int:
        """A tree stops at this number of nodes (seldom reached: a space of kill-sized cells filled with steps)."""
        return int(6 * self.attractors + 4 * self.canvas / self.step)

    def grow(self, generators: Sequence[np.random.Generator]) -> list[Tree]:
        """One tree for each generator; a tree depends on its own generator only, not on its neighbours in the list.

        Example:
            >>> rules = Colonization(48.0, 0.04, (1, 2), 40.0, 5.0, 2.0, 0.15, 2.7, 0.45)
            >>> tree, = rules.grow([np.random.default_rng(0)])
            >>> tree.start.shape == tree.end.shape == (len(tree.radius), 2)
            True
        """
        trees, nodes = len(generators), self.most_nodes
        points = np.empty((trees, self.attractors, 2))
        noise = np.empty((trees, nodes, 2))
        position = np.full((trees, nodes, 2), np.inf)
        count = np.empty(trees, dtype=np.int64)
        for row, rng in enumerate(generators):
            points[row] = self._points(rng)
            roots = self._roots(rng)
            count[row] = len(roots)
            position[row, : len(roots)] = roots
            noise[row] = self.jitter * rng.standard_normal((nodes, 2))
        parent = np.full(trees * nodes, -1, dtype=np.int64)
        generations = self._colonize(points, noise, position, parent, count)
        parent[_thorns(parent)] = -1
        leaves = _leaves(parent, generations)
        radius = (self.tip * leaves ** (1.0 / self.gamma)).reshape(trees, nodes)
        parents = parent.reshape(trees, nodes)
        result = []
        for row in range(trees):
            child = np.flatnonzero(parents[row] >= 0)
            before = parents[row, child] - row * nodes
            result.append(Tree(position[row, before], position[row, child], radius[row, child]))
        return result

    def _points(self, rng: np.random.Generator) -> Floats:
        """Half uniform, half around cluster centres, all inside the canvas."""
        uniform = rng.uniform(0.0, self.canvas, (self.attractors - self.attractors // 2, 2))
        centres = rng.uniform(0.0, self.canvas, (int(rng.integers(3, 7)), 2))
        chosen = centres[rng.integers(0, len(centres), self.attractors // 2)]
        spread = 0.16 * self.canvas * rng.standard_normal(chosen.shape)
        return np.concatenate([uniform, np.clip(chosen + spread, 0.0, self.canvas)])

    def _roots(self, rng: np.random.Generator) -> Floats:
        """Points on the border, each on a side of its own draw."""
        number = int(rng.integers(self.roots[0], self.roots[1] + 1))
        along = rng.uniform(0.1, 0.9, number) * self.canvas
        side = rng.integers(0, 4, number)
        across = np.where(side % 2 == 0, 0.0, self.canvas)
        horizontal = (side < 2)[:, None]
        return np.where(horizontal, np.stack([across, along], -1), np.stack([along, across], -1))

    def _colonize(
        self, points: Floats, noise: Floats, position: Floats, parent: NDArray[np.int64], count: NDArray[np.int64]
    ) -> list[NDArray[np.int64]]:
        """Fill `position`, `parent` and `count` in place; return the keys (row * nodes + index) of each generation.

        The nearest node of a point is kept from step to step, so a step measures distances to the new nodes only.
        """
        trees, nodes = position.shape[:2]
        flat, jitter = position.reshape(-1, 2), noise.reshape(-1, 2)
        children = np.zeros(trees * nodes, dtype=np.int64)
        nearest = np.zeros(points.shape[:2], dtype=np.int64)
        squared = np.full(points.shape[:2], np.inf)
        rows: NDArray[np.int64] = np.arange(trees)
        fresh: NDArray[np.int64] = rows[:, None] * nodes + np.arange(count.max())
        generations: list[NDArray[np.int64]] = []
        for _ in range(int(4 * self.canvas / self.step)):
            _update(points, position, rows, fresh, nearest, squared)
            squared[squared < self.kill**2] = -1.0  # a killed point: nearer than any node can come
            pulling = (squared > 0.0) & (squared < self.influence**2)
            key, point = nearest[pulling], points[pulling]
            pull = (point - flat[key]) / np.sqrt(squared[pulling])[:, None]
            grown, member = np.unique(key, return_inverse=True)
            total = np.stack(
                [np.bincount(member, pull[:, 0], len(grown)), np.bincount(member, pull[:, 1], len(grown))], 1
            )
            length = np.sqrt(total[:, 0] ** 2 + total[:, 1] ** 2)
            able = (length > 1e-9) & (children[grown] < 2)
            grown, total, length = grown[able], total[able], length[able]
            row = grown // nodes
            first = np.searchsorted(row, np.arange(trees))
            rank = np.arange(len(row)) - first[row]
            room = count[row] + rank < nodes
            grown, total, length, row, rank = grown[room], total[room], length[room], row[room], rank[room]
            if not len(grown):
                break
            new = row * nodes + count[row] + rank
            flat[new] = flat[grown] + self.step * (total / length[:, None] + jitter[new])
            parent[new] = grown
            children[grown] += 1
            generations.append(new)
            rows, added = np.unique(row, return_counts=True)
            fresh = rows[:, None] * nodes + np.minimum(count[rows, None] + np.arange(added.max()), nodes - 1)
            count[rows] += added
        return generations


def _update(
    points: Floats,
    position: Floats,
    rows: NDArray[np.int64],
    fresh: NDArray[np.int64],
    nearest: NDArray[np.int64],
    squared: Floats,
) -> None:
    """Compare the distances to the fresh nodes with the least so far; unborn nodes lie at infinity."""
    where = position.reshape(-1, 2)[fresh]
    for r, row in enumerate(rows):
        alive = np.flatnonzero(squared[row] > 0.0)
        apart = (points[row, alive, None, 0] - where[r, None, :, 0]) ** 2 + (
            points[row, alive, None, 1] - where[r, None, :, 1]
        ) ** 2
        best = apart.argmin(1)
        least = apart[np.arange(len(alive)), best]
        closer = least < squared[row, alive]
        chosen = alive[closer]
        squared[row, chosen] = least[closer]
        nearest[row, chosen] = fresh[r, best[closer]]


def _thorns(parent: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Side branches of a single segment, which a node grew while it passed a point: no vessels, and left out."""
    born = parent >= 0
    children = np.bincount(parent[born], minlength=len(parent))
    return born & (children == 0) & (children[parent] == 2)


def _leaves(parent: NDArray[np.int64], generations: list[NDArray[np.int64]]) -> Floats:
    """The number of tips beyond each node: counted from the youngest generation to the oldest."""
    leaves = np.ones(len(parent))
    inner = np.unique(parent[parent >= 0])
    leaves[inner] = 0.0
    for generation in reversed(generations):
        new = generation[parent[generation] >= 0]
        np.add.at(leaves, parent[new], leaves[new])
    return leaves
