"""The registry of reversible maps. To put a layer under all laws, add one line to `MAPS`."""

from __future__ import annotations

import torch
from reversible_parts import (
    Case,
    Constant,
    Recomputed,
    coupling,
    down_and_up,
    leapfrog,
    multiscale,
    shared,
    small,
    spline,
    step,
    user_network,
)
from torch.nn import functional as F

from bayesinv.flows import (
    conditional_hint,
    glow,
    hint,
    hyperbolic_network,
    iunet,
    multiscale_hint,
    published_glow,
    realnvp,
)
from bayesinv.reversible import (
    LU,
    ActNorm,
    Additive,
    Affine,
    AffineMap,
    Arcsinh,
    BoundedSigmoid,
    Chain,
    Conditioner,
    Coupling,
    DenseConditioner,
    ExpClamp,
    Householder,
    Hyperbolic,
    Inverted,
    LeakyReLU,
    LearnedSqueezed,
    LinearSkip,
    OnPart,
    Permute,
    ResNetConditioner,
    ShiftScale,
    Spline,
    Squeezed,
    UNetConditioner,
    Unsqueezed,
    WaveForce,
    arctan_scale,
    hint_coupling,
    hint_lanes,
    irim_coupling,
    sigmoid_scale,
)

MAPS: dict[str, Case] = {
    "actnorm-dense": Case(lambda: ActNorm(4), (4,)),
    "actnorm-1d": Case(lambda: ActNorm(3), (3, 5)),
    "actnorm-2d": Case(lambda: ActNorm(3), (3, 3, 4)),
    "actnorm-3d": Case(lambda: ActNorm(2), (2, 2, 3, 2)),
    "affine-map-dense": Case(lambda: AffineMap((4,)), (4,)),
    "affine-map-1d": Case(lambda: AffineMap((3, 5)), (3, 5)),
    "affine-map-2d": Case(lambda: AffineMap((1, 3, 4)), (1, 3, 4)),
    "affine-map-3d": Case(lambda: AffineMap((2, 2, 3, 2)), (2, 2, 3, 2)),
    "householder-dense": Case(lambda: Householder(5), (5,)),
    "householder-one-channel": Case(lambda: Householder(1), (1, 4)),
    "householder-one-reflection": Case(lambda: Householder(4, reflections=1), (4, 5)),
    "householder-2d": Case(lambda: Householder(4, reflections=3), (4, 3, 2)),
    "householder-surplus-reflections-3d": Case(lambda: Householder(3, reflections=7), (3, 2, 2, 2)),
    "lu-dense": Case(lambda: LU(5), (5,)),
    "lu-one-channel": Case(lambda: LU(1), (1, 4)),
    "lu-1d-identity": Case(lambda: LU(3, start="identity"), (3, 5)),
    "lu-2d": Case(lambda: LU(4), (4, 3, 2)),
    "lu-3d": Case(lambda: LU(3), (3, 2, 1, 2)),
    "leaky-relu-dense": Case(lambda: LeakyReLU(slope=0.3), (4,)),
    "leaky-relu-1d": Case(lambda: LeakyReLU(slope=2.0), (3, 5)),
    "leaky-relu-2d": Case(lambda: LeakyReLU(), (3, 3, 4)),
    "leaky-relu-3d": Case(lambda: LeakyReLU(slope=0.1), (1, 2, 3, 2)),
    "sigmoid-dense": Case(lambda: BoundedSigmoid(low=-9.0, high=9.0), (4,)),
    "sigmoid-1d": Case(lambda: BoundedSigmoid(), (3, 5), into=lambda x: 0.45 * x.sigmoid()),
    "sigmoid-2d": Case(lambda: BoundedSigmoid(low=-12.0, high=9.0), (1, 3, 4)),
    "sigmoid-3d": Case(lambda: BoundedSigmoid(low=-8.0, high=14.0), (2, 2, 1, 2)),
    "exp-clamp-dense": Case(lambda: ExpClamp(), (3,), into=lambda x: x.tanh().exp()),
    "exp-clamp-1d": Case(lambda: ExpClamp(), (2, 4), into=lambda x: x.tanh().exp()),
    "exp-clamp-2d": Case(lambda: ExpClamp(), (3, 2, 2), into=lambda x: x.tanh().exp()),
    "exp-clamp-3d": Case(lambda: ExpClamp(), (1, 2, 2, 2), into=lambda x: x.tanh().exp()),
    "arcsinh-2d": Case(lambda: Arcsinh(scale=0.5), (3, 3, 4)),
    "hyperbolic-dense": Case(lambda: leapfrog(3, 0), (6,)),
    "hyperbolic-dense-cond": Case(lambda: leapfrog(2, 0, cond=3), (4,), (3,)),
    "hyperbolic-1d-tanh": Case(
        lambda: Hyperbolic(WaveForce(3, hidden=4, rank=1, kernel=5, alpha=0.3, activation=torch.tanh)), (6, 6)
    ),
    "hyperbolic-1d-cond": Case(lambda: leapfrog(1, 1, cond=2), (2, 5), (2, 5)),
    "hyperbolic-2d": Case(lambda: leapfrog(3, 2), (6, 3, 2)),
    "hyperbolic-2d-pyramid": Case(lambda: leapfrog(2, 2, cond=1), (4, 4, 2), ((1, 4, 2), (3, 2, 1))),
    "hyperbolic-3d-cond": Case(lambda: leapfrog(1, 3, cond=2), (2, 2, 3, 2), (2, 2, 3, 2)),
    "hyperbolic-relu-1d": Case(lambda: Hyperbolic(WaveForce(2, rank=1, kernel=5, alpha=0.7)), (4, 7)),
    "hyperbolic-relu-2d-cond": Case(lambda: Hyperbolic(WaveForce(2, rank=2, cond_channels=3)), (4, 5, 4), (3, 5, 4)),
    "hyperbolic-relu-3d": Case(lambda: Hyperbolic(WaveForce(1, hidden=3, rank=3)), (2, 3, 4, 3)),
    "hyperbolic-constant-force": Case(lambda: Hyperbolic(Constant(2)), (4, 3)),
    "hyperbolic-down-and-up-1d": Case(lambda: down_and_up(1), (2, 6)),
    "hyperbolic-down-and-up-2d-cond": Case(lambda: down_and_up(2, cond=1), (2, 2, 4), (1, 2, 4)),
    "hyperbolic-down-and-up-3d": Case(lambda: down_and_up(3), (2, 2, 2, 4)),
    "coupling-dense": Case(lambda: coupling(5, 0), (5,)),
    "coupling-dense-cond": Case(lambda: coupling(4, 0, cond=3), (4,), (3,)),
    "coupling-1d-last": Case(lambda: coupling(3, 1, last=True), (3, 6)),
    "coupling-2d-cond": Case(lambda: coupling(4, 2, cond=2), (4, 4, 3), (2, 4, 3)),
    "coupling-2d-pyramid": Case(lambda: coupling(4, 2, cond=2), (4, 4, 2), ((2, 4, 2), (1, 2, 1))),
    "coupling-3d-cond": Case(lambda: coupling(2, 3, cond=1, last=True), (2, 2, 3, 2), (1, 2, 3, 2)),
    "coupling-user-network": Case(user_network, (3, 5), (2, 5)),
    "coupling-constant-network": Case(lambda: Coupling(Constant(4), passive=1), (3, 5)),
    "coupling-sigmoid-1d": Case(lambda: Coupling(small(1)(2, 4), passive=2, scale=sigmoid_scale(0.5, 1.0)), (4, 5)),
    "coupling-normflows-2d": Case(
        lambda: Coupling(small(2)(1, 4), passive=1, scale=sigmoid_scale(offset=2)), (3, 3, 4)
    ),
    "coupling-arctan-dense-cond": Case(
        lambda: Coupling(small(0, cond=2)(2, 4), passive=2, scale=arctan_scale(1.0)), (4,), (2,)
    ),
    "coupling-own-scale": Case(
        lambda: Coupling(small(1)(1, 4), passive=1, how=Affine(lambda r: r.sin() / 2, centre=0.3)), (3, 4)
    ),
    "coupling-constant-scale": Case(
        lambda: Coupling(small(1)(1, 4), passive=1, how=Affine(lambda r: torch.full_like(r, 0.3))), (3, 4)
    ),
    "coupling-centred": Case(lambda: Coupling(small(1)(1, 4), passive=1, how=Affine(bound=1.0, centre=0.3)), (3, 4)),
    "additive-dense": Case(lambda: Coupling(small(0)(2, 3), passive=2, how=Additive()), (5,)),
    "additive-1d-last": Case(lambda: Coupling(small(1)(1, 2), passive=1, passive_last=True, how=Additive()), (3, 5)),
    "additive-2d-cond": Case(lambda: Coupling(small(2, cond=2)(2, 2), passive=2, how=Additive()), (4, 3, 4), (2, 3, 4)),
    "additive-3d": Case(lambda: Coupling(small(3)(1, 1), passive=1, how=Additive()), (2, 2, 3, 2)),
    "spline-dense": Case(lambda: spline(0), (3,)),
    "spline-dense-cond": Case(lambda: spline(0, cond=2), (3,), (2,)),
    "spline-1d-ends": Case(lambda: spline(1, how=Spline(bins=3, tail=1.0, learned_ends=True, bound=1.5)), (3, 5)),
    "spline-2d-cond": Case(lambda: spline(2, cond=2, last=True), (3, 3, 2), (2, 3, 2)),
    "spline-2d-pyramid": Case(lambda: spline(2, cond=2), (3, 2, 2), ((2, 2, 2), (1, 1, 1))),
    "spline-3d": Case(lambda: spline(3), (3, 2, 1, 2)),
    "conditioner-dense-image": Case(
        lambda: Coupling(DenseConditioner(1, 4, hidden=6, space=(2, 3), cond_channels=2), passive=1),
        (3, 2, 3),
        (2, 2, 3),
    ),
    "conditioner-skip-dense": Case(lambda: Coupling(LinearSkip(small(0)(2, 4), 2, 4, rank=0), passive=2), (4,)),
    "conditioner-skip-2d-cond": Case(
        lambda: Coupling(LinearSkip(small(2, cond=2)(1, 4), 1, 4, rank=2), passive=1), (3, 4, 3), (2, 4, 3)
    ),
    "conditioner-resnet-dense": Case(lambda: Coupling(ResNetConditioner(2, 4, hidden=4, rank=0), passive=2), (4,)),
    "conditioner-resnet-1d-cond": Case(
        lambda: Coupling(ResNetConditioner(1, 4, hidden=4, rank=1, cond_channels=2), passive=1), (3, 5), (2, 5)
    ),
    "conditioner-resnet-smooth-2d": Case(
        lambda: Coupling(ResNetConditioner(1, 2, hidden=3, rank=2, blocks=1, activation=F.silu), passive=1), (2, 3, 4)
    ),
    "conditioner-unet-1d": Case(lambda: Coupling(UNetConditioner(1, 4, widths=(3, 4), rank=1), passive=1), (3, 5)),
    "conditioner-unet-2d-cond": Case(
        lambda: Coupling(UNetConditioner(1, 2, widths=(3, 2), rank=2, cond_channels=1), passive=1), (2, 5, 4), (1, 5, 4)
    ),
    "conditioner-unet-3d": Case(
        lambda: Coupling(UNetConditioner(1, 2, widths=(2, 2), rank=3), passive=1), (2, 2, 3, 2)
    ),
    "conditioner-smooth-cond": Case(
        lambda: Coupling(Conditioner(1, 4, hidden=4, rank=1, cond_channels=2, activation=F.softplus), passive=1),
        (3, 5),
        (2, 5),
    ),
    "inverted-2d-cond": Case(lambda: Inverted(step(2, 2, cond=1)), (2, 3, 4), (1, 3, 4)),
    "hint-dense-5": Case(lambda: hint_coupling(5, small(0)), (5,)),
    "hint-dense-7-cond": Case(lambda: hint_coupling(7, small(0, cond=2), depth=3, permutation="both"), (7,), (2,)),
    "hint-dense-8-shared": Case(lambda: hint_coupling(8, small(0), depth=3, permutation="full"), (8,)),
    "hint-dense-two": Case(lambda: hint_coupling(2, small(0), depth=4), (2,)),
    "hint-1d-6-cond": Case(lambda: hint_coupling(6, small(1, cond=1), permutation="lower"), (6, 4), (1, 4)),
    "hint-1d-6-own": Case(lambda: hint_coupling(6, small(1), shared=False, depth=3), (6, 4)),
    "hint-2d-5": Case(lambda: hint_coupling(5, small(2), permutation="both"), (5, 3, 2)),
    "hint-2d-additive-cond": Case(
        lambda: hint_coupling(4, small(2, cond=1), depth=2, how=Additive()), (4, 3, 2), (1, 3, 2)
    ),
    "hint-3d": Case(lambda: hint_coupling(4, small(3), depth=2, permutation="lower"), (4, 2, 2, 1)),
    "hint-spline-1d": Case(lambda: hint_coupling(3, small(1), depth=2, how=Spline(bins=3, tail=1.5)), (3, 3)),
    "lanes-dense-joint": Case(lambda: hint_lanes(2, 3, small(0), steps=2).joint, (5,)),
    "lanes-dense-x": Case(lambda: hint_lanes(2, 3, small(0), steps=2).x, (2,), (3,)),
    "lanes-1d-x-alone": Case(lambda: hint_lanes(1, 6, small(1), steps=2, permuted=False).x, (1, 4), (6, 4)),
    "lanes-1d-y": Case(lambda: hint_lanes(1, 6, small(1), steps=2).y, (6, 4)),
    "lanes-2d-x": Case(lambda: hint_lanes(5, 1, small(2)).x, (5, 2, 2), (1, 2, 2)),
    "lanes-2d-x-pyramid": Case(lambda: hint_lanes(2, 2, small(2)).x, (2, 2, 4), ((2, 2, 4), (1, 1, 2))),
    "lanes-3d-joint": Case(lambda: hint_lanes(3, 2, small(3)).joint, (5, 2, 2, 1)),
    "irim-dense": Case(lambda: irim_coupling(5, small(0)), (5,)),
    "irim-1d-cond": Case(lambda: irim_coupling(4, small(1, cond=2), reflections=2), (4, 5), (2, 5)),
    "irim-2d": Case(lambda: irim_coupling(3, small(2)), (3, 3, 4)),
    "irim-3d": Case(lambda: irim_coupling(2, small(3)), (2, 2, 2, 3)),
    "shift-scale-dense": Case(lambda: ShiftScale(centre=0.4), (3,), (6,)),
    "shift-scale-1d": Case(lambda: ShiftScale(bound=1.0), (2, 5), (4, 5)),
    "shift-scale-2d-pyramid": Case(lambda: ShiftScale(centre=-0.7), (1, 4, 4), ((2, 4, 4), (3, 2, 2))),
    "shift-scale-3d": Case(lambda: ShiftScale(), (1, 2, 3, 2), (2, 2, 3, 2)),
    "chain-empty": Case(lambda: Chain(), (2, 3)),
    "chain-dense-cond": Case(lambda: Chain(step(4, 0, cond=2), step(4, 0, cond=2)), (4,), (2,)),
    "chain-1d": Case(lambda: Chain(step(2, 1), step(2, 1)), (2, 6)),
    "chain-2d-cond": Case(lambda: Chain(step(4, 2, cond=2), step(4, 2, cond=2)), (4, 3, 3), (2, 3, 3)),
    "chain-2d-pyramid": Case(lambda: Chain(step(2, 2, cond=1), step(2, 2, cond=1)), (2, 4, 2), ((1, 4, 2), (3, 2, 1))),
    "chain-3d-cond": Case(lambda: step(2, 3, cond=1), (2, 2, 2, 3), (1, 2, 2, 3)),
    "chain-shared": Case(shared, (4, 5), (2, 5)),
    "chain-head": Case(lambda: Chain(ShiftScale(), multiscale(1, cond=2)), (1, 8), (2, 8)),
    "on-part-dense": Case(lambda: OnPart(coupling(3, 0), start=1, stop=4), (5,)),
    "on-part-first-2d-cond": Case(lambda: OnPart(step(2, 2, cond=1), start=0, stop=2), (4, 2, 3), (1, 2, 3)),
    "on-part-all-1d": Case(lambda: OnPart(step(4, 1), start=0, stop=4), (4, 3)),
    "on-part-chain-of-levels": Case(
        lambda: Chain(OnPart(Chain(Squeezed(step(8, 2)), ActNorm(2)), start=1, stop=3), Householder(4)), (4, 4, 2)
    ),
    "on-part-all-in-levels": Case(
        lambda: Chain(OnPart(Chain(Squeezed(step(8, 2)), ActNorm(2)), start=0, stop=2), Householder(2)), (2, 4, 2)
    ),
    "on-part-nested-3d": Case(lambda: OnPart(OnPart(ActNorm(1), start=1, stop=2), start=1, stop=4), (4, 2, 2, 2)),
    "squeezed-dense-cond": Case(lambda: Squeezed(step(4, 0, cond=3)), (4,), (3,)),
    "squeezed-dense-pyramid": Case(lambda: Squeezed(step(4, 0, cond=3)), (4,), ((2,), (3,))),
    "squeezed-1d": Case(lambda: Squeezed(step(4, 1)), (2, 6)),
    "squeezed-1d-depth": Case(lambda: Squeezed(step(2, 1, cond=3), kind="space-to-depth"), (1, 6), (3, 6)),
    "squeezed-2d-cond": Case(lambda: Squeezed(step(4, 2, cond=2)), (1, 4, 6), (2, 4, 6)),
    "squeezed-2d-depth-pyramid": Case(
        lambda: Squeezed(step(4, 2, cond=2), kind="space-to-depth"), (1, 4, 6), ((1, 4, 6), (2, 2, 3))
    ),
    "squeezed-3d": Case(lambda: Squeezed(step(8, 3, cond=1)), (1, 2, 2, 4), (1, 2, 2, 4)),
    "squeezed-3d-depth": Case(lambda: Squeezed(step(8, 3), kind="space-to-depth"), (1, 2, 2, 4)),
    "squeezed-1d-db2": Case(lambda: Squeezed(step(2, 1, cond=1), kind="db2"), (1, 6), (1, 6)),
    "squeezed-2d-sym4": Case(lambda: Squeezed(step(4, 2, cond=1), kind="sym4"), (1, 4, 2), (1, 4, 2)),
    "squeezed-3d-coif1": Case(lambda: Squeezed(step(8, 3), kind="coif1"), (1, 2, 4, 2)),
    "squeezed-1d-patch": Case(lambda: Squeezed(step(6, 1), kind="patch"), (3, 4)),
    "squeezed-2d-checkerboard": Case(lambda: Squeezed(step(12, 2, cond=1), kind="checkerboard"), (3, 2, 4), (1, 2, 4)),
    "squeezed-3d-column": Case(lambda: Squeezed(step(8, 3), kind="column"), (1, 2, 2, 4)),
    "unsqueezed-1d": Case(lambda: Unsqueezed(step(3, 1)), (6, 2)),
    "unsqueezed-2d-cond": Case(lambda: Unsqueezed(step(2, 2, cond=3), kind="db2"), (8, 2, 1), (3, 2, 1)),
    "unsqueezed-2d-pyramid": Case(
        lambda: Unsqueezed(Chain(step(2, 2, cond=1), Squeezed(step(8, 2, cond=1)))), (8, 2, 2), ((1, 2, 2), (2, 1, 1))
    ),
    "unsqueezed-3d-checkerboard": Case(lambda: Unsqueezed(ActNorm(3), kind="checkerboard"), (24, 1, 2, 1)),
    "learned-squeezed-1d": Case(lambda: LearnedSqueezed(step(6, 1), channels=3, rank=1), (3, 4)),
    "learned-squeezed-2d-cond": Case(
        lambda: LearnedSqueezed(step(4, 2, cond=2), channels=1, rank=2), (1, 2, 4), (2, 2, 4)
    ),
    "learned-squeezed-2d-pyramid": Case(
        lambda: LearnedSqueezed(step(12, 2, cond=1), channels=3, rank=2, shared=True), (3, 2, 4), ((2, 2, 4), (1, 1, 2))
    ),
    "learned-squeezed-3d": Case(lambda: LearnedSqueezed(step(8, 3), channels=1, rank=3), (1, 2, 4, 2)),
    "multiscale-1d-cond": Case(lambda: multiscale(1, cond=2), (1, 8), (2, 8)),
    "multiscale-2d-cond": Case(lambda: multiscale(2, cond=1), (1, 4, 8), (1, 4, 8)),
    "multiscale-2d-pyramid": Case(
        lambda: multiscale(2, cond=2, kind="space-to-depth"), (1, 4, 4), ((1, 4, 4), (2, 2, 2), (2, 1, 1))
    ),
    "multiscale-3d": Case(lambda: multiscale(3), (1, 4, 4, 4)),
    "permute-dense": Case(lambda: Permute([2, 0, 1]), (3,)),
    "permute-2d": Case(lambda: Permute([1, 3, 0, 2]), (4, 2, 3)),
    "glow-2d-splines-unsplit": Case(
        lambda: glow((1, 4, 4), levels=2, steps=1, hidden=3, coupling=Spline(bins=3), split=False).map, (1, 4, 4)
    ),
    "realnvp-dense-splines": Case(lambda: realnvp((5,), levels=1, steps=1, hidden=4, coupling="spline").map, (5,)),
    "realnvp-1d-unsplit": Case(lambda: realnvp((1, 8), levels=2, steps=1, hidden=4, split=False).map, (1, 8)),
    "realnvp-2d-cond": Case(
        lambda: realnvp((1, 4, 4), condition=2, levels=1, steps=1, hidden=4).map, (1, 4, 4), (2, 4, 4)
    ),
    "realnvp-3d-additive": Case(
        lambda: realnvp((1, 2, 2, 4), levels=1, steps=1, hidden=4, coupling="additive").map, (1, 2, 2, 4)
    ),
    "hint-dense-cond": Case(lambda: hint((7,), condition=2, steps=1, hidden=4).map, (7,), (2,)),
    "multiscale-hint-1d-pyramid": Case(
        lambda: multiscale_hint((1, 8), condition=(2, 3, 2), levels=2, steps=1, hidden=4).map,
        (1, 8),
        ((2, 8), (3, 4), (2, 2)),
    ),
    "multiscale-hint-2d": Case(lambda: multiscale_hint((1, 4, 4), levels=2, steps=1, hidden=4).map, (1, 4, 4)),
    "conditional-hint-joint-2d": Case(
        lambda: conditional_hint((1, 2, 4), condition=1, steps=1, hidden=4).joint.map, (2, 2, 4)
    ),
    "conditional-hint-x-1d": Case(
        lambda: conditional_hint((2, 4), condition=1, steps=1, hidden=4).x.map, (2, 4), ((1, 4), (2, 2))
    ),
    "hyperbolic-network-2d-cond": Case(
        lambda: hyperbolic_network((2, 4, 4), condition=1, steps=1, hidden=3), (2, 4, 4), (1, 4, 4)
    ),
    "hyperbolic-network-dense": Case(lambda: hyperbolic_network((4,), levels=1, steps=1, hidden=3), (4,)),
    "iunet-1d-cond": Case(lambda: iunet((2, 8), condition=1, levels=2, hidden=3), (2, 8), (1, 8)),
    "iunet-2d-one-channel": Case(lambda: iunet((1, 4, 4), levels=2, hidden=3), (1, 4, 4)),
    "iunet-3d": Case(lambda: iunet((3, 2, 2, 4), levels=1, hidden=3), (3, 2, 2, 4)),
    "published-glow-2d-cond": Case(
        lambda: published_glow((1, 4, 4), condition=1, levels=2, steps=1, hidden=4).map,
        (1, 4, 4),
        ((1, 4, 4), (4, 2, 2), (16, 1, 1)),
    ),
    "published-glow-1d-unsplit": Case(
        lambda: published_glow((3, 5), condition=2, levels=1, steps=2, hidden=4, split=False).map, (3, 5), (2, 5)
    ),
    "recomputed": Case(lambda: Chain(Recomputed(), coupling(2, 1, cond=1), Recomputed()), (2, 4), (1, 4)),
    "recomputed-pyramid": Case(lambda: Squeezed(Recomputed()), (1, 4, 4), ((1, 4, 4), (2, 2, 2))),
}
