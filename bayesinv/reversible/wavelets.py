r"""One level of an orthogonal wavelet transform along one axis, of period ``n``, as half-length low and high parts.

With the scaling filter ``h`` of length ``K`` and ``g_k = (-1)^k h_{K-1-k}``, indices of ``x`` modulo ``n``:

    L_m = sum_k h_k x_{2m+k},   H_m = sum_k g_k x_{2m+k},   x_j = sum_m h_{j-2m} L_m + g_{j-2m} H_m.

The second formula is the adjoint of the first, and its inverse, as ``sum_k h_k h_{k+2m} = 1`` for ``m = 0``, else 0;
that holds for every even ``n``, also below ``K``. Haar is the case ``h = (1, 1)/sqrt(2)``.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["FILTERS", "analysed", "strided", "synthesised"]

# Scaling filters, the roots of their defining equations found in 60 digits: dbN and symN have N vanishing moments (all
# roots inside the unit circle; the nearest to linear phase), coifN has 2N, and 2N - 1 of the scaling function. Source:
# Daubechies, Ten lectures on wavelets, 1992, sections 6.4 and 8.1-8.2, doi 10.1137/1.9781611970104.
FILTERS: dict[str, tuple[float, ...]] = {
    "db2": (0.48296291314453416, 0.8365163037378079, 0.2241438680420134, -0.12940952255126037),
    "db3": (
        *(0.33267055295008263, 0.8068915093110925, 0.45987750211849154),
        *(-0.13501102001025458, -0.08544127388202666, 0.03522629188570953),
    ),
    "db4": (
        *(0.2303778133088965, 0.7148465705529157, 0.6308807679298589, -0.027983769416859854),
        *(-0.18703481171909309, 0.030841381835560764, 0.0328830116668852, -0.010597401785069032),
    ),
    "sym4": (
        *(0.032223100604051466, -0.012603967262031304, -0.09921954357663353, 0.29785779560530606),
        *(0.8037387518051321, 0.497618667632775, -0.029635527646002493, -0.07576571478950221),
    ),
    "sym5": (
        *(0.019538882735249827, -0.021101834024689042, -0.17532808990805623, 0.01660210576451085, 0.633978963456792),
        *(0.7234076904040407, 0.19939753397685558, -0.039134249302313844, 0.02951949092570626, 0.027333068344998768),
    ),
    "sym6": (
        *(-0.00780070832503238, 0.0017677118642540077, 0.04472490177078139, -0.02106029251237085),
        *(-0.07263752278637658, 0.3379294217281658, 0.787641141028651, 0.49105594192797375),
        *(-0.04831174258569806, -0.11799011114852002, 0.0034907120842221626, 0.015404109327044824),
    ),
    "coif1": (
        *(-0.07273261951252645, 0.33789766245748176, 0.8525720202116004),
        *(0.3848648468648577, -0.07273261951252645, -0.015655728135791993),
    ),
    "coif2": (
        *(0.01638733646320364, -0.04146493678687178, -0.0673725547237256, 0.38611006682276283),
        *(0.8127236354494135, 0.41700518442323903, -0.07648859907828076, -0.059434418646431085),
        *(0.02368017194684777, 0.005611434819368834, -0.001823208870911032, -0.000720549445520347),
    ),
}


def analysed(x: Tensor, axis: int, h: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """Low and high part of ``x`` along an axis of even length.

    Example:
        >>> import torch
        >>> low, high = analysed(torch.ones(6), 0, FILTERS["db2"])
        >>> torch.allclose(low, torch.full((3,), 2**0.5)), torch.allclose(high, torch.zeros(3), atol=1e-6)
        (True, True)
    """
    even, odd = strided(x, axis, 0), strided(x, axis, 1)
    low = high = even.new_zeros(())
    for k in range(0, len(h), 2):  # g_k = h_{K-1-k}, g_{k+1} = -h_{K-2-k} for even k
        low = low + h[k] * even + h[k + 1] * odd
        high = high + h[-1 - k] * even - h[-2 - k] * odd
        even, odd = even.roll(-1, axis), odd.roll(-1, axis)
    return low, high


def synthesised(low: Tensor, high: Tensor, axis: int, h: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """Even and odd entries of what `analysed` took apart.

    Example:
        >>> import torch
        >>> x = torch.randn(8, dtype=torch.float64)
        >>> even, odd = synthesised(*analysed(x, 0, FILTERS["sym4"]), 0, FILTERS["sym4"])
        >>> torch.allclose(even, x[::2]), torch.allclose(odd, x[1::2])
        (True, True)
    """
    even = odd = low.new_zeros(())
    for k in range(0, len(h), 2):
        even = even + h[k] * low + h[-1 - k] * high
        odd = odd + h[k + 1] * low - h[-2 - k] * high
        low, high = low.roll(1, axis), high.roll(1, axis)
    return even, odd


def strided(x: Tensor, axis: int, start: int) -> Tensor:
    """Each second entry of an axis, from ``start`` on.

    Example:
        >>> import torch
        >>> strided(torch.arange(6), 0, 1).tolist()
        [1, 3, 5]
    """
    return x[(slice(None),) * axis + (slice(start, None, 2),)]
