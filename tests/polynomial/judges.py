"""What a record of roots must fulfil, judged in ball arithmetic. Each judge returns its complaints, or nothing."""

import numpy as np
from flint import ctx
from scipy.optimize import linear_sum_assignment

from fastcore.polynomial import Status
from tests.polynomial.hard_cases import (
    UNIT,
    WORK_BITS,
    absolute_value,
    certified_real_roots,
    certified_roots,
    componentwise_backward_error,
    condition,
    distance_to,
    nearest_root,
    relative_distance_to,
    value_and_terms,
)

SHARP = 1e12  # condition up to which polishing reaches the last bits
SMALLEST = 2.0**-1022  # below it float64 has no relative precision


def shown(solution) -> str:
    parts = (f"{name}={getattr(solution, name)!r}" for name in ("x", "status", "error_bound", "count"))
    return "  ".join(parts)


def report(complaints: dict[str, list[str]]) -> str:
    """Complaints by case, one a line; empty where there are none."""
    return "".join(f"\n{name}:\n    " + "\n    ".join(each) for name, each in complaints.items() if each)


def one_of(batch, number: int):
    """The record of one problem of a batch."""
    return type(batch)(*(None if part is None else part[number] for part in batch))


def consistent(solution) -> list[str]:
    """The parts of a record agree with each other."""
    x, status = np.asarray(solution.x), np.asarray(solution.status)
    complaints = []
    for name in ("residual", "error_bound", "iterations", "status", "converged"):
        if np.shape(getattr(solution, name)) != x.shape:
            complaints.append(f"{name} has shape {np.shape(getattr(solution, name))}, x {x.shape}")
    if (np.asarray(solution.converged) != np.isin(status, [Status.CONVERGED, Status.TOUCHING])).any():
        complaints.append("converged is not status in (CONVERGED, TOUCHING)")
    good = np.asarray(solution.converged)
    if not np.isfinite(x[good]).all():
        complaints.append("an answer that converged is not finite")
    for name in ("residual", "error_bound"):
        values = np.asarray(getattr(solution, name))[good]
        # They may overflow: P(x) in the scale of c.
        if np.isnan(values).any() or (values < 0).any():
            complaints.append(f"{name} of an answer that converged is {values.min()}")
    if (np.asarray(solution.iterations) < 0).any():
        complaints.append("iterations are negative")
    return complaints


def degrees(c) -> tuple[int, int]:
    """(degree without leading zeros, multiplicity of the root 0) of a polynomial that is not 0."""
    places = np.flatnonzero(c)
    return int(places[-1]), int(places[0])


def residual_is_right(c, x, residual, y: float = 0.0) -> list[str]:
    """As compensated arithmetic gives it: to a relative u and u**2 of the terms, d**2 of each."""
    degree = len(c) - 1
    complaints = []
    with ctx.workprec(WORK_BITS):
        for point, got in zip(np.ravel(x), np.ravel(residual), strict=True):
            value, terms = value_and_terms(c, point)
            exact, scale = abs(value - float(y)), float((terms + abs(float(y))).upper())
            if scale > 1e300:
                continue
            slack = 16 * UNIT * float(exact) + 40 * (degree + 1) ** 2 * UNIT**2 * scale + (degree + 2) * 5e-324 / UNIT
            if not abs(float(got) - float(exact)) <= slack:
                complaints.append(f"residual at {point} is {got}, |P(x) - y| is {float(exact)}, terms {scale}")
    return complaints


def _forward(c, roots, x, polish: bool) -> list[str]:
    """Each simple root that is well conditioned is found, and by one answer."""
    complaints = []
    # By rank of distance relative to the roots: logarithms bring all sizes into one assignment.
    sizes = np.array([[relative_distance_to(root, z) for z in x] for root in roots])
    with np.errstate(divide="ignore"):
        costs = np.log(np.clip(sizes, 1e-30, 1e30))
    for number, nearest in zip(*linear_sum_assignment(costs), strict=True):
        root, kappa = roots[number], condition(c, roots[number])
        if kappa > SHARP or abs(complex(root.ball)) < SMALLEST:
            continue
        allowed = 2 * UNIT if polish else 4 * len(c) * UNIT * (len(c) * kappa + 1)
        if not sizes[number, nearest] <= allowed * (1 + 1e-9):
            off = sizes[number, nearest] / UNIT
            complaints.append(f"root {complex(root.ball)} of condition {kappa:.2g} has x={x[nearest]}, {off:.3g} u off")
    return complaints


def _pairs_and_real_parts(c, roots, x) -> list[str]:
    complaints = []
    upper, lower = np.sort_complex(x[x.imag > 0]), np.sort_complex(np.conj(x[x.imag < 0]))
    if upper.shape != lower.shape or (upper != lower).any():
        complaints.append(f"roots are no conjugate pairs: {x}")
    for root in roots:
        if condition(c, root) > SHARP:
            continue
        nearest = x[np.argmin([distance_to(root, z) for z in x])]
        if root.ball.imag == 0 and nearest.imag != 0:
            complaints.append(f"real root {complex(root.ball)} came as {nearest}")
        if nearest.imag == 0 and root.ball.imag != 0:
            share = abs(complex(root.ball).imag) / abs(complex(root.ball))
            if share > 4 * UNIT * len(c):
                complaints.append(f"root {complex(root.ball)} came as the real {nearest}")
    return complaints


def judge_roots(c, solution, *, polish: bool = True) -> list[str]:
    """All that `roots` promises of one real polynomial that is neither constant nor beyond float64."""
    c = np.asarray(c)
    x, status, bound = (np.asarray(part) for part in (solution.x, solution.status, solution.error_bound))
    complaints = consistent(solution)
    if x.shape != (len(c) - 1,) or x.dtype != np.complex128:
        return [*complaints, f"x has shape {x.shape}, dtype {x.dtype}"]
    degree, zeros = degrees(c)
    infinite = np.isinf(x)
    if infinite.sum() != len(c) - 1 - degree or not (status[degree:] == Status.DEGENERATE).all():
        complaints.append(f"{len(c) - 1 - degree} roots are infinite and come last, DEGENERATE: {shown(solution)}")
    x, status, bound = x[:degree], status[:degree], bound[:degree]
    if not np.isfinite(x).all():
        return [*complaints, f"a root is not finite: {shown(solution)}"]
    if (np.sort(x) != x).any():
        complaints.append(f"not sorted: {x}")
    if (x == 0).sum() < zeros:
        complaints.append(f"{zeros} roots are exactly 0: {x}")
    if not np.asarray(solution.converged)[:degree].all():
        complaints.append(f"not converged: {shown(solution)}")
    error = componentwise_backward_error(c, x)
    large = (error > 4 * degree * UNIT) & (np.abs(x) >= SMALLEST)
    if large.any():
        complaints.append(f"backward error {error[large] / UNIT} u over {4 * degree} u at {x[large]}")
    roots = certified_roots(c)
    for z, radius in zip(x, bound, strict=True):
        root, distance = nearest_root(c, z)
        if not distance <= radius:
            complaints.append(f"no root within {radius} of {z}: the nearest is {distance} away")
        kappa = condition(c, root)
        if kappa < 1e10 and abs(z) >= SMALLEST and radius > 8 * degree**2 * UNIT * max(kappa, 1) * abs(z):
            complaints.append(f"error_bound {radius} of {z} is useless, condition {kappa:.2g}")
    complaints += residual_is_right(c, x, np.asarray(solution.residual)[:degree])
    return complaints + _forward(c, roots, x, polish) + _pairs_and_real_parts(c, roots, x)


def groups_of(roots) -> list[list]:
    """Real roots that float64 can tell apart from each other."""
    groups: list[list] = []
    for root in roots:
        if groups and distance_to(groups[-1][-1], 0) and _apart(groups[-1][-1], root) <= 8 * UNIT:
            groups[-1].append(root)
        else:
            groups.append([root])
    return groups


def _apart(one, other) -> float:
    with ctx.workprec(WORK_BITS):
        return float((abs(one.ball - other.ball) / max(abs(one.ball), abs(other.ball))).upper())


def judge_real_roots(c, solution, low: float = -np.inf, high: float = np.inf) -> list[str]:
    """All that `real_roots` promises of one polynomial that is not constant. Ends of the domain that are not roots,
    but within a few u of one, are not asked for."""
    c = np.asarray(c)
    complaints = consistent(solution)
    count = int(solution.count)
    if (
        not (np.asarray(solution.status)[count:] == Status.NO_REAL_SOLUTION).all()
        or not np.isnan(np.asarray(solution.x)[count:]).all()
    ):
        complaints.append(f"padding is not NaN, NO_REAL_SOLUTION: {shown(solution)}")
    x, status, bound, residual = (
        np.asarray(part)[:count] for part in (solution.x, solution.status, solution.error_bound, solution.residual)
    )
    degree, _ = degrees(c)
    if not np.isin(status, [Status.CONVERGED, Status.TOUCHING]).all():
        complaints.append(f"not converged: {shown(solution)}")
    if (np.diff(x) < 0).any() or (x < low).any() or (x > high).any():
        complaints.append(f"not ascending, or outside the domain: {x}")
    error = componentwise_backward_error(c, x)
    large = (error > 4 * degree * UNIT) & (np.abs(x) >= SMALLEST)
    if large.any():
        complaints.append(f"backward error {error[large] / UNIT} u over {4 * degree} u at {x[large]}")
    for z, radius in zip(x, bound, strict=True):
        if not nearest_root(c, z)[1] <= radius:
            complaints.append(f"no root within {radius} of {z}: the nearest is {nearest_root(c, z)[1]} away")
    complaints += residual_is_right(c, x, residual)
    return complaints + _counted(c, x, status, bound, certified_real_roots(c, low, high))


def _counted(c, x, status, bound, roots) -> list[str]:
    """One answer for each distinct real root; more only where the curve touches 0 within rounding, and says so."""
    complaints = []
    groups = groups_of(roots)
    taken: set[int] = set()
    for group in groups:
        distances = [min(distance_to(root, z) for root in group) for z in x]
        here = [i for i, distance in enumerate(distances) if distance <= bound[i] and i not in taken]
        if not here:
            complaints.append(f"real root {float(group[0].ball)} is not among {x}, bounds {bound}")
            continue
        nearest = min(here, key=lambda i: distances[i])
        taken.add(nearest)
        kappa = condition(c, group[0]) if len(group) == 1 else np.inf
        if kappa < 1e8 and status[nearest] != Status.CONVERGED:
            complaints.append(f"simple root {x[nearest]} of condition {kappa:.2g} is {Status(status[nearest])!r}")
        size = abs(float(group[0].ball))
        if kappa < 1e8 and size > SMALLEST and bound[nearest] > 8 * len(c) ** 2 * UNIT * max(kappa, 1) * size:
            complaints.append(f"error_bound {bound[nearest]} of {x[nearest]} is useless, condition {kappa:.2g}")
    more = sum(len(group) - 1 for group in groups)
    for i in set(range(len(x))) - taken:
        if status[i] == Status.CONVERGED and more == 0:
            complaints.append(f"{x[i]} is no real root, or came twice; the roots are {[float(r.ball) for r in roots]}")
        more -= status[i] == Status.CONVERGED
    return complaints


def judge_solutions(c, y, solution, low: float = -np.inf, high: float = np.inf, ytol: float = 1e-10) -> list[str]:
    """What `solve` promises of each answer x of P(x) = y, whichever were asked for."""
    complaints = consistent(solution)
    x, status = np.atleast_1d(solution.x), np.atleast_1d(solution.status)
    residual, bound = np.atleast_1d(solution.residual), np.atleast_1d(solution.error_bound)
    good = np.atleast_1d(solution.converged)
    exact = absolute_value(c, x[good], y)
    large = exact > np.maximum(ytol, bound[good]) * (1 + 1e-12) + len(c) * 5e-324  # subnormal terms are rounded too
    if large.any():
        complaints.append(f"|P(x) - y| = {exact[large]} at {x[good][large]}, error_bound {bound[good][large]}")
    if (x[good] < low).any() or (x[good] > high).any():
        complaints.append(f"outside the domain: {x[good]}")
    complaints += residual_is_right(c, x[good], residual[good], y)
    for z in x[good & (status == Status.CONVERGED)]:
        root, distance = nearest_root(c, z, y)
        shifted = np.array(c, float)
        shifted[0] -= y
        kappa = condition(shifted, root)
        allowed = (8 + 8 * len(c) * kappa) * UNIT * abs(complex(root.ball)) + 1e-323
        if kappa < 1e10 and not distance <= allowed:
            complaints.append(f"x={z} is {distance} away from {complex(root.ball)}, condition {kappa:.2g}")
    return complaints
