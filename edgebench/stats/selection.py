"""How often each test of a pick may err so that the pick errs in at most 5 % of studies.

Knows numbers of candidates and constraints. Knows nothing of what they are.

A pick errs where it names a candidate that in truth breaks a constraint. The argument:

1. A candidate is named only if every one of its constraints is shown to hold. One that breaks some
   constraint in truth is therefore named only if that one test errs: with each test at `a`, in at
   most a share `a` of studies, however many constraints there are (intersection-union, Berger
   1982). Constraints cost nothing.
2. A candidate is named only if every other that may serve the objective better is shown to break a
   constraint; one that is open makes the pick undecided. So the candidates are tested in the
   objective's order and the first that is open ends it. Let some of them break a constraint in
   truth. The first of these ends it unless it errs (`a`) or is shown to break (at the limit with
   probability `a` too, and the further off, the more often it is shown and the less often it
   errs). Only in the latter case does the second matter, and so on: errors add up to at most
   a + a * a + ... = a / (1 - a). So `a` = alpha / (1 + alpha) serves any number of candidates. This
   asks that the order is independent of the tests: the objective and the constraint are different
   measurements, as speed and accuracy are. Candidates that share a measurement, as one artifact at
   several settings shares its answers, hold or break together, which makes errors fewer.
3. Where the objective is measured in the very launches (or on the very items) that a constraint is
   tested on, luck that brings a candidate to the front makes it hold as well. Those tests share `a`
   between the contenders: all candidates that are not shown to break (Bonferroni). Those shown to
   break may be left out: at the limit only a share `a` of them is, further off they do not err. An
   objective of several weighted respects shares with the constraints of each. Settings are
   candidates like others, so a search over many of them asks for clearer evidence.
4. "None" is said where every candidate is shown to break some constraint. For a candidate that
   keeps all of them, each of its tests may err, so those share `a` between the constraints.

`tools/sim_decisions.py` measures all four.
"""

from __future__ import annotations

from dataclasses import dataclass

ALPHA = 0.05
# Looks at the same figures as they grow -> the share of a test's chance of error that each look may
# have (Pocock 1977, Group sequential methods: one-sided 5 %, equal steps).
EACH_LOOK = {1: 1.0, 2: 0.61, 3: 0.46, 4: 0.39}


@dataclass(frozen=True)
class Alphas:
    """What each one-sided test of a pick may err.

    `holds`: of a constraint on other measurements than the objective's. `holds_shared`: of one on
    the objective's own launches or items. `broken`: of showing that a constraint is broken.
    """

    holds: float
    holds_shared: float
    broken: float

    def each_of(self, looks: int) -> Alphas:
        """Return what each of so many looks at a test may err; KeyError above four."""
        share = EACH_LOOK[looks]
        return Alphas(share * self.holds, share * self.holds_shared, share * self.broken)


@dataclass(frozen=True)
class Risk:
    """How often a pick may be wrong, and how often its launches are looked at as they grow."""

    alpha: float = ALPHA
    looks: int = 1


def share_alpha(contenders: int, constraints: int, alpha: float = ALPHA) -> Alphas:
    """Return what each test may err so that the pick names a wrong candidate in at most `alpha`.

    `contenders`: candidates not shown to break a constraint (first test what is broken, whose
    share depends on `constraints` alone). `constraints`: how many each candidate is held against,
    a task each. Raises ValueError on negative numbers and on an alpha outside 0..0.5.
    """
    if contenders < 0 or constraints < 0:
        raise ValueError(f"{contenders} contenders, {constraints} constraints")
    if not 0 < alpha < 0.5:
        raise ValueError(f"an alpha of {alpha} is not between 0 and 0.5")
    each = alpha / (1 + alpha)
    return Alphas(
        holds=each,
        holds_shared=each / max(1, contenders),
        broken=each / max(1, constraints),
    )
