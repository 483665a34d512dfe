"""Temperatures from the voltage of a type N thermocouple, by inverting the polynomials that define it.

ITS-90 defines the voltage E(t), in mV against a junction at 0 °C, by one polynomial below 0 °C and one above.
Instruments have to go the other way, for which NIST publishes approximate polynomials t(E). (Type K would not do above
0 °C: its E(t) has an exponential term and is no polynomial.)

Source of all numbers: NIST Standard Reference Database 60, file type_n.tab, of NIST Monograph 175 (Burns et al.
1993).
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import optimize

import fastcore
from fastcore import polynomial
from fastcore.polynomial import Status

# mV by powers of °C, ascending.
BELOW = np.array([
    0.0, 0.261591059620e-01, 0.109574842280e-04, -0.938411115540e-07, -0.464120397590e-10, -0.263033577160e-11,
    -0.226534380030e-13, -0.760893007910e-16, -0.934196678350e-19,
])  # fmt: skip
ABOVE = np.array([
    0.0, 0.259293946010e-01, 0.157101418800e-04, 0.438256272370e-07, -0.252611697940e-09, 0.643118193390e-12,
    -0.100634715190e-14, 0.997453389920e-18, -0.608632456070e-21, 0.208492293390e-24, -0.306821961510e-28,
])  # fmt: skip
LOWEST, HIGHEST = -270.0, 1300.0  # °C
APPROXIMATE_FROM = -200.0
# mV; what Horner's rule may round off at 1300 °C, where terms of up to 5000 mV cancel: 2 d u sum |c| t**k.
ROUNDING = 2 * 10 * 2.0**-53 * float(np.polyval(np.abs(ABOVE[::-1]), HIGHEST))

# °C: mV, printed to 0.001 mV.
TABLE = {
    -270: -4.345, -260: -4.336, -250: -4.313, -225: -4.196, -200: -3.990, -150: -3.336, -100: -2.407, -50: -1.269,
    -10: -0.260, 0: 0.000, 10: 0.261, 25: 0.659, 50: 1.340, 100: 2.774, 150: 4.302, 200: 5.913, 250: 7.597, 300: 9.341,
    350: 11.136, 400: 12.974, 450: 14.846, 500: 16.748, 550: 18.672, 600: 20.613, 650: 22.566, 700: 24.527, 750: 26.491,
    800: 28.455, 850: 30.416, 900: 32.371, 950: 34.319, 1000: 36.256, 1050: 38.179, 1100: 40.087, 1150: 41.976,
    1200: 43.846, 1250: 45.694, 1300: 47.513,
}  # fmt: skip
HALF_DIGIT = 0.0005  # mV


class Approximate(NamedTuple):
    """A published inverse: °C by powers of mV, where it holds, and its error as published, in °C."""

    coefficients: tuple[float, ...]
    low: float
    high: float
    error: tuple[float, float]


APPROXIMATE = (
    Approximate(
        (0.0, 3.8436847e01, 1.1010485e00, 5.2229312e00, 7.2060525e00, 5.8488586e00, 2.7754916e00, 7.7075166e-01,
         1.1582665e-01, 7.3138868e-03),
        -200.0, 0.0, (-0.02, 0.03),
    ),
    Approximate(
        (0.0, 3.86896e01, -1.08267e00, 4.70205e-02, -2.12169e-06, -1.17272e-04, 5.39280e-06, -7.98156e-08),
        0.0, 600.0, (-0.02, 0.03),
    ),
    Approximate(
        (1.972485e01, 3.300943e01, -3.915159e-01, 9.855391e-03, -1.274371e-04, 7.767022e-07),
        600.0, 1300.0, (-0.04, 0.02),
    ),
)  # fmt: skip


class Readings(NamedTuple):
    """What a logger has, and what it should find: arrays of one length.

    voltage : mV against the reference junction at the terminals; NaN where the wire is broken
    terminals : °C, measured by another sensor
    temperature : °C, the truth; NaN where there is none
    """

    voltage: np.ndarray
    terminals: np.ndarray
    temperature: np.ndarray


class Calibrated(NamedTuple):
    """temperature : °C; status : of `fastcore.polynomial.Status`"""

    temperature: np.ndarray
    status: np.ndarray


class TypeN:
    """Temperatures of readings; both pieces are prepared once."""

    def __init__(self) -> None:
        self._below = polynomial.inverse(BELOW, (LOWEST, 0.0))
        self._above = polynomial.inverse(ABOVE, (0.0, HIGHEST))

    def __call__(self, voltage: np.ndarray, terminals: np.ndarray | float = 0.0) -> Calibrated:
        """Voltages (N,) in mV and the temperatures of the terminals in °C, above 0."""
        return self.of_full(voltage + polynomial.polyval(terminals, ABOVE))

    def of_full(self, full: np.ndarray) -> Calibrated:
        """Voltages (N,) in mV against a junction at 0 °C."""
        found = Calibrated(np.empty(full.shape), np.empty(full.shape, np.int8))
        below = full < 0
        for piece, part in ((self._below, np.flatnonzero(below)), (self._above, np.flatnonzero(~below))):
            solution = piece(full[part])
            found.temperature[part] = solution.x
            found.status[part] = solution.status
        return found


def voltage_of(temperature: np.ndarray | float) -> np.ndarray:
    """E(t), mV, in extended precision, by nothing of fastcore's: the truth."""
    t = np.asarray(temperature, np.longdouble)
    return np.where(t < 0, np.polyval(BELOW[::-1].astype(t.dtype), t), np.polyval(ABOVE[::-1].astype(t.dtype), t))


def sensitivity_of(temperature: np.ndarray) -> np.ndarray:
    """dE/dt, mV/°C."""
    below, above = (np.polyval(np.polyder(c[::-1]), temperature) for c in (BELOW, ABOVE))
    return np.where(np.asarray(temperature) < 0, below, above)


def simulate(count: int, seed: int) -> Readings:
    """Readings over the whole range, in any order; one in a thousand has a broken wire or too high a voltage."""
    random = np.random.default_rng(seed)
    temperature = random.uniform(LOWEST, HIGHEST, count)
    terminals = np.clip(random.normal(25.0, 3.0, count), 5.0, 45.0)
    voltage = np.asarray(voltage_of(temperature) - voltage_of(terminals), np.float64)
    broken, beyond = random.choice(count, (2, max(1, count // 2000)), replace=False)
    voltage[broken], voltage[beyond] = np.nan, 60.0
    temperature[broken] = temperature[beyond] = np.nan
    return Readings(voltage, terminals, temperature)


class TableError(NamedTuple):
    """Of the table's rows: t - (temperature found), and what half of the last printed digit is worth there, in °C."""

    temperature: np.ndarray
    error: np.ndarray
    precision: np.ndarray

    @property
    def agrees(self) -> bool:
        return bool(np.all(np.abs(self.error) <= self.precision))


def against_table(convert: TypeN) -> TableError:
    t, voltage = (np.array(list(column), np.float64) for column in (TABLE.keys(), TABLE.values()))
    # 47.513 mV is rounded up: the range ends at 47.5128 mV, and its end is what comes back.
    found = convert(voltage).temperature
    # Near -270 °C a digit is worth a degree, over which the curve bends: the lesser slope of the two ends.
    slope = np.minimum(sensitivity_of(t), sensitivity_of(np.maximum(found, LOWEST)))
    return TableError(t, t - found, HALF_DIGIT / slope * (1 + 1e-9))


class Comparison(NamedTuple):
    """Of the readings, by this way: largest error in °C, and nanoseconds for one reading on one thread."""

    way: str
    error: float
    nanoseconds: float


class Report(NamedTuple):
    """What was found of all readings.

    temperature_error : largest, in °C, from -200 °C on and of all
    voltage_error : largest, the same as a voltage in mV
    statuses : how many answers have each; statuses_right : whether each reading has the one it should
    approximate : each published inverse with its least and largest error
    """

    readings: int
    temperature_error: tuple[float, float]
    voltage_error: float
    statuses: dict[str, int]
    statuses_right: bool
    comparisons: list[Comparison]
    approximate: list[tuple[Approximate, float, float]]

    @property
    def is_right(self) -> bool:
        return self.statuses_right and self.voltage_error <= ROUNDING


def seconds(call: Callable[[], object], repeats: int = 3) -> float:
    """The fastest of a few calls."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def approximate_temperature(full: np.ndarray) -> np.ndarray:
    """By the published inverse polynomials, each on its range; voltages in mV against 0 °C."""
    limits = [np.float64(voltage_of(part.low)) for part in APPROXIMATE[1:]]
    which = np.searchsorted(limits, full, side="right")
    found = np.empty(full.shape)
    for number, part in enumerate(APPROXIMATE):
        rows = np.flatnonzero(which == number)
        found[rows] = np.polynomial.polynomial.polyval(full[rows], part.coefficients)
    return found


def newton_temperature(full: np.ndarray) -> np.ndarray:
    """By scipy.optimize.newton from the published inverse, which is how this is done without fastcore."""
    found, start = np.empty(full.shape), approximate_temperature(full)
    for c, rows in ((BELOW, np.flatnonzero(full < 0)), (ABOVE, np.flatnonzero(full >= 0))):
        value, slope = c[::-1], np.polyder(c[::-1])

        def miss(t: np.ndarray, y: np.ndarray = full[rows], value: np.ndarray = value) -> np.ndarray:
            return np.polyval(value, t) - y

        def derivative(t: np.ndarray, slope: np.ndarray = slope) -> np.ndarray:
            return np.polyval(slope, t)

        found[rows] = optimize.newton(miss, start[rows], derivative, tol=1e-10)
    return found


def report(convert: TypeN, readings: Readings) -> Report:
    """Every reading compared with its truth, and with the other ways where these are defined."""
    found = convert(readings.voltage, readings.terminals)
    known = np.isfinite(readings.temperature)
    truth = readings.temperature[known]
    error = np.abs(found.temperature[known] - truth)
    common = truth >= APPROXIMATE_FROM
    full = np.asarray(voltage_of(truth[common]), np.float64)
    expected = np.where(known, Status.CONVERGED, Status.NO_REAL_SOLUTION)
    expected[np.isnan(readings.voltage)] = Status.NOT_FINITE
    ways = {
        "fastcore.polynomial.inverse": lambda full: convert.of_full(full).temperature,
        "published inverse polynomials, NumPy": approximate_temperature,
        "scipy.optimize.newton from these": newton_temperature,
    }
    with fastcore.num_threads(1):
        comparisons = [compare(way, function, full, truth[common]) for way, function in ways.items()]
    return Report(
        len(found.status),
        (float(error[common].max()), float(error.max())),
        float((error * sensitivity_of(truth)).max()),
        {status.name: int(np.sum(found.status == status)) for status in Status if np.any(found.status == status)},
        bool(np.array_equal(found.status, expected)),
        comparisons,
        [approximate_error(part) for part in APPROXIMATE],
    )


def compare(way: str, function: Callable[[np.ndarray], np.ndarray], full: np.ndarray, truth: np.ndarray) -> Comparison:
    """One way on voltages (N,) against 0 °C."""
    worst = float(np.abs(function(full) - truth).max())
    return Comparison(way, worst, 1e9 * seconds(lambda: function(full)) / len(full))


def approximate_error(part: Approximate) -> tuple[Approximate, float, float]:
    """The published inverse, and its least and largest error on its range."""
    t = np.linspace(part.low, part.high, 20_001)
    error = np.polynomial.polynomial.polyval(np.asarray(voltage_of(t), np.float64), part.coefficients) - t
    return part, float(error.min()), float(error.max())
