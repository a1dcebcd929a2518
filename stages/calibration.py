"""Temperature scaling (Guo et al. 2017), Platt scaling for boxes, and how far confidence is from accuracy.

Letters: N items, C classes. A temperature is found on validation alone; it moves how sure an answer is, never which it is.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_softmax, softmax

from stages.files import DataError

Floats = NDArray[np.float64]

EPSILON = 1e-12  # what a probability below it counts as: a logit of 28, between what float32 holds at 1 (17) and at 0 (103)
BOUND = 10.0  # of a bias, in logits
LOWEST, HIGHEST = 0.05, 20.0  # the temperatures looked at; answers that are all right end near the lowest


def temperature(probabilities: Floats, targets: NDArray[np.int64]) -> float:
    """The T in [LOWEST, HIGHEST] for which `calibrated(probabilities, T)` has the least negative log-likelihood.

    probabilities (N, C), targets (N,) the number of each true class; rows with -1, a class that the model does not know, are
    left out. 1 where no other is better, with one class for example. Raises DataError where no row is left.
    """
    known = targets >= 0
    if not known.any():
        raise DataError("no validation item is of a class that the model knows, so no temperature can be found")
    logs, rows, columns = _log(probabilities[known]), np.arange(known.sum()), targets[known]

    def loss(log_temperature: float) -> float:
        return -float(log_softmax(logs / np.exp(log_temperature), axis=1)[rows, columns].mean())

    # The loss is convex in 1 / T, so it has one valley in log T.
    best = minimize_scalar(loss, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded")
    return float(np.exp(best.x)) if best.fun < loss(0) else 1.0


def calibrated(probabilities: Floats, temperature: float) -> Floats:
    """softmax(log p / T): (N, C) -> (N, C)."""
    return softmax(_log(probabilities) / temperature, axis=1)


def platt(scores: Floats, right: NDArray[np.bool_]) -> tuple[float, float]:
    """(T, b) for which `calibrated_binary(scores, T, b)` has the least negative log-likelihood: Platt's scaling.

    scores (N,) of being right, as a detector's. A temperature alone would never cross 0.5, and a box that scores far less may
    well be right. T in [LOWEST, HIGHEST]; with answers that are all right or all wrong, b is BOUND or -BOUND at most.
    Raises DataError where there is no row.
    """
    if len(scores) == 0:
        raise DataError("no validation item, so no calibration can be found")
    logits, signs = _logit(scores), np.where(right, 1.0, -1.0)

    def loss(parameters: Floats) -> float:
        return float(np.logaddexp(0, -signs * (logits * parameters[0] + parameters[1])).mean())

    bounds = [(1 / HIGHEST, 1 / LOWEST), (-BOUND, BOUND)]
    best = minimize(loss, np.array([1.0, 0.0]), bounds=bounds, method="L-BFGS-B")  # convex in 1 / T and b
    return float(1 / best.x[0]), float(best.x[1])


def calibrated_binary(scores: Floats, temperature: float, bias: float = 0.0) -> Floats:
    """sigmoid(logit(score) / T + b): (N,) -> (N,)."""
    return expit(_logit(scores) / temperature + bias)


def reliability(confidence: Floats, right: NDArray[np.bool_], bins: int = 15) -> pd.DataFrame:
    """A row for each of `bins` bins of equal width: low, high, n, and the mean confidence and accuracy in it (NaN if empty).

    A confidence on an edge is in the bin above it, 1 in the last.
    """
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, bins - 1)
    n = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = {
            "confidence": np.bincount(place, confidence, bins) / n,
            "accuracy": np.bincount(place, right, bins) / n,
        }
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "n": n, **means})


def expected_calibration_error(confidence: Floats, right: NDArray[np.bool_], bins: int = 15) -> float:
    """Mean distance of confidence and accuracy over the bins of `reliability`, weighted by n. DataError without items."""
    if len(confidence) == 0:
        raise DataError("the calibration error of no items is not defined: leave this part of the split out")
    table = reliability(confidence, right, bins)
    return float((table["n"] * (table["accuracy"] - table["confidence"]).abs()).sum() / len(confidence))


def _log(probabilities: Floats) -> Floats:
    return np.log(np.maximum(probabilities, EPSILON))


def _logit(scores: Floats) -> Floats:
    return _log(scores) - _log(1 - scores)
