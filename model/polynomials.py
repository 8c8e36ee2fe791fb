"""What follows of each level from a few others by a polynomial: the constraints of a mechanism.

A tool that is held upright, or two arms at one part, leave six joints fewer freedoms than six: the
surface in their space is smooth, so that a polynomial of low degree through clean moments meets it
to the sensor's noise, and goes on beyond them.
"""

from collections.abc import Sequence
from itertools import combinations_with_replacement

import torch
from torch import Tensor, nn

PARTNERS = 5  # others from which a level may follow
DEGREE = 4
WORTH = 0.9  # of the error with one degree less, which one more must reach
RIDGE = 1e-7  # of the moments' number
TINY = 1e-6
FARTHEST = 4.0  # a level in its spreads, as which all beyond count
MOST_CHOOSING = 4000  # moments on which partners are chosen


class Polynomials(nn.Module):
    """Foretells each of K levels from others of them, all standardised.

    ``partners`` (K, P) are the places of those that each follows from; ``remains`` (K,) is the mean
    size of what is left over.
    """

    partners: Tensor
    weight: Tensor
    remains: Tensor

    def __init__(self, levels: int) -> None:
        super().__init__()
        chosen = min(PARTNERS, levels - 1)
        self._steps = _steps(chosen)
        size = 1 + sum(len(variables) for _, variables in self._steps)
        self.register_buffer("partners", torch.zeros(levels, chosen, dtype=torch.long))
        self.register_buffer("weight", torch.zeros(levels, size))
        self.register_buffer("remains", torch.ones(levels))

    def forward(self, x_BTK: Tensor) -> Tensor:
        """Return what is foretold of each level (B, T, K)."""
        return torch.einsum("btkf,kf->btk", self._terms(x_BTK[..., self.partners]), self.weight)

    @torch.no_grad()
    def fit(self, x_NK: Tensor) -> None:
        """Choose partners and degrees, and fit on clean moments (N, K), those of a session in turn.

        The last third of the moments judges what the others chose.
        """
        x_NK = x_NK.double()
        for level, wanted in enumerate(x_NK.T):
            partners = self._choose(x_NK, level)
            terms = self._terms(x_NK[:, partners])
            used = terms[:, : self._worthwhile(terms, wanted)]
            weight = _fitted(used, wanted)
            self.partners[level] = torch.tensor(partners, dtype=torch.long)
            self.weight[level] = 0.0
            self.weight[level, : len(weight)] = weight
            self.remains[level] = (wanted - used @ weight).abs().mean().clamp_min(TINY)

    def _choose(self, x_NK: Tensor, level: int) -> list[int]:
        """Return the partners that squares and products foretell a level from best, in turn."""
        some = x_NK[:: max(1, len(x_NK) // MOST_CHOOSING)]
        chosen: list[int] = []

        def error_with(other: int) -> float:
            terms = _terms(some[:, [*chosen, other]], _steps(len(chosen) + 1, 2))
            return _held_out_error(terms, some[:, level])

        for _ in range(self.partners.shape[1]):
            others = {*range(x_NK.shape[1])} - {level, *chosen}
            chosen.append(min(sorted(others), key=error_with))
        return sorted(chosen)

    def _worthwhile(self, terms: Tensor, wanted: Tensor) -> int:
        """Return how many terms are used: those up to the highest degree that is worth it."""
        used = reached = 1
        error = _held_out_error(terms[:, :1], wanted)
        for _, variables in self._steps:
            reached += len(variables)
            with_more = _held_out_error(terms[:, :reached], wanted)
            if with_more < WORTH * error:
                used, error = reached, with_more
        return used

    def _terms(self, x: Tensor) -> Tensor:
        return _terms(x, self._steps)


def slope_bound(polynomials: Polynomials) -> float:
    """Return an upper bound of the slope of all levels foretold against all levels, standardised.

    Of each term the largest slope within the cube beyond which levels no longer count; the
    Frobenius norm over levels and partners is no smaller than the spectral one.
    """
    exponents = _exponents(polynomials.partners.shape[1])
    degree = exponents.sum(1, keepdim=True)
    steepest = exponents * FARTHEST ** (degree - 1).clamp_min(0)
    return float((polynomials.weight.abs() @ steepest).norm())


def _steps(variables: int, degree: int = DEGREE) -> list[tuple[list[int], list[int]]]:
    """Return for each degree which term of the one before, times which variable, its terms are."""
    steps: list[tuple[list[int], list[int]]] = []
    before: dict[tuple[int, ...], int] = {(): 0}
    for size in range(1, degree + 1):
        terms = list(combinations_with_replacement(range(variables), size))
        steps.append(([before[term[:-1]] for term in terms], [term[-1] for term in terms]))
        before = {term: at for at, term in enumerate(terms)}
    return steps


def _exponents(variables: int) -> Tensor:
    """Return the exponent of each variable in each term (F, P)."""
    exponents = [torch.zeros(1, variables)]
    for before, variable in _steps(variables):
        exponents.append(exponents[-1][before] + torch.eye(variables)[variable])
    return torch.cat(exponents)


def _terms(x: Tensor, steps: Sequence[tuple[list[int], list[int]]]) -> Tensor:
    """Return 1 and all products (..., F) of up to so many of the variables (..., P)."""
    x = x.clamp(-FARTHEST, FARTHEST)
    terms = [x.new_ones((*x.shape[:-1], 1))]
    for before, variable in steps:
        terms.append(terms[-1][..., before] * x[..., variable])
    return torch.cat(terms, dim=-1)


def _fitted(terms: Tensor, wanted: Tensor) -> Tensor:
    ridge = RIDGE * len(terms) * torch.eye(terms.shape[1], dtype=terms.dtype)
    fitted: Tensor = torch.linalg.solve(terms.T @ terms + ridge, terms.T @ wanted)
    return fitted


def _held_out_error(terms: Tensor, wanted: Tensor) -> float:
    """Return the mean error on the last third, of what was fitted on the others."""
    first = max(1, 2 * len(terms) // 3)
    foretold = terms[first:] @ _fitted(terms[:first], wanted[:first])
    return float((wanted[first:] - foretold).abs().mean())
