"""A test of H: E L > margin, for losses of at most 1, that is exact for losses of 0 and 1.

The p-value is the chance that a mean of the losses and one more, the worst possible, exceeds the margin, weighted at random,
uniformly over all weights that sum to 1 (Dirichlet). It is the test that belongs to the bound of Gaffke (2005), "Three test
statistics for a nonparametric one-sided hypothesis on the mean of a nonnegative variable", and of Learned-Miller and Thomas
(2019), "A new confidence interval for the mean of a bounded random variable". That it holds is proven for losses of 0 and 1,
where it is the binomial test, and conjectured for others; simulations are in experiments/README.md. A proven relative, which is
wider: Phan, Thomas and Learned-Miller (2021), "Towards practical mean bounds for small samples", arXiv 2106.03163.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pt_cascade.ranking import Floats

_NODES = np.linspace(-18.0, 16.0, 1500)  # of log t, in units of the width of the saddle


def weigh_at_random(losses: Floats, margin: float) -> Floats:
    """Test mean losses with the Dirichlet p-value, which does not depend on the order of the queries or on a seed.

    Args:
        losses: Shape (vectors, queries), at most 1; below 0 for a gain.
        margin: The loss that is allowed, within (0, 1).

    Returns:
        Shape (vectors,): p-values of H: the mean loss exceeds the margin; those below 0.5 within 1e-6.

    Example:
        >>> weigh_at_random(np.zeros((1, 149)), 0.02).round(4).tolist()  # .98 ** 149
        [0.0493]
    """
    return np.array([_chance_above_zero(np.r_[row - margin, 1 - margin]) for row in losses])


def _chance_above_zero(scales: Floats) -> float:
    """Return the chance that the sum of independent exponential variables, each times its scale, is above 0.

    It has the sign of the weighted mean, and the moment generating function M(z) = Π 1/(1 - c z). The chance is the integral of
    M(z)/(2 π i z) along any line Re z = s with 0 < s < 1/max(c); where s is its saddle point, M(z)/z neither oscillates nor
    cancels, however many queries there are (Daniels 1954, "Saddlepoint approximations in statistics", section 2). Trapezoidal rule.
    """
    from scipy import optimize  # noqa: PLC0415 - loads when first needed

    scales, counts = np.unique(scales[scales != 0], return_counts=True)
    most = 1 / scales[-1]

    def height(s: float) -> float:
        return float(-(counts @ np.log1p(-scales * s)) - np.log(s))

    s = optimize.minimize_scalar(height, bounds=(1e-12 * most, most * (1 - 1e-12)), method="bounded", options={"xatol": 1e-9}).x
    t = np.exp(_NODES) / np.sqrt(counts @ (scales / (1 - scales * s)) ** 2 + 1 / s**2)
    z = s + 1j * t
    values = np.exp(-(np.log(1 - np.outer(z, scales)) @ counts) - np.log(z)).real * t
    return float(np.clip(values.sum() * (_NODES[1] - _NODES[0]) / np.pi, 0.0, 1.0))
