"""
A reversible layer
==================

A reversible layer returns its output and the log-determinant of its Jacobian, and it can be run backwards. In the
backward pass it rebuilds its input from its output, so a chain of any depth keeps one tensor for the gradient.
"""

import matplotlib.pyplot as plt
import torch

from bayesinv.reversible import ActNorm, Chain, Conditioner, Coupling, Householder

torch.manual_seed(0)


def steps(number: int) -> Chain:
    """Steps of Glow on eight channels: normalise, mix the channels, let one half shift and scale the other."""
    maps = []
    for _ in range(number):
        maps += [ActNorm(8), Householder(8), Coupling(Conditioner(4, 8, hidden=16, rank=2), passive=4)]
    return Chain(*maps)


# %%
# There and back. ``logdet`` is that of the map just applied, one number for each image of the batch: the two cancel.

x = torch.randn(4, 8, 32, 32)
chain = steps(8)
for parameter in chain.parameters():  # layers start near the identity: move them away from it
    torch.nn.init.normal_(parameter, std=0.05)
y, logdet = chain(x)
again, logdet_back = chain.inverse(y)
print(f"log-determinants {logdet.tolist()}, with those of the way back {(logdet + logdet_back).tolist()}")
print(f"largest error of the inverse {float((again - x).abs().detach().max()):.1e}")

# %%
# What does the backward pass need? We count the bytes that autograd keeps, at three depths: of the chain as it is, and
# of the bare maps, whose every intermediate result plain autograd has to store.


def saved_megabytes(function, chain: Chain) -> float:
    kept = {}
    parameters = {p.untyped_storage().data_ptr() for p in chain.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.update({t.untyped_storage().data_ptr(): t}) or t, id):
        function(x)
    return sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in parameters) / 1e6


depths = (8, 16, 32)
chains = [steps(depth) for depth in depths]
reversible = [saved_megabytes(chain, chain) for chain in chains]
plain = [saved_megabytes(lambda x, chain=chain: chain._forward(x, None), chain) for chain in chains]
figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
axes.loglog(depths, plain, "o--", color="#e6550d", label="plain autograd")
axes.loglog(depths, reversible, "o-", color="#08519c", label="reversible")
axes.set(xlabel="steps", ylabel="kept for the backward pass (MB)", xticks=depths, xticklabels=depths)
axes.minorticks_off()
axes.legend(frameon=False)
plt.show()
