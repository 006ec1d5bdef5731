"""The metrics of the recognition tasks: arrays in, numbers out.

Shape letters: N clips, C columns, B weightings, K classes. `truth` and `predicted` are [N] or [N, C]; class labels are
integer indices [N]. NaN in `truth` means that nobody labelled the value; a prediction is never NaN.

Every metric is also a function of sums over clips: `value_sums` and `class_sums` give the summands of each clip, and
the `..._of` functions turn weighted totals of them into scores. A bootstrap resample is a weighting, so a thousand of
them are one product of matrices.

The concordance correlation (Lin 1989) comes in two modes. `exact` is the definition, over the labelled rows.
`official` is what the competition code of ExVo and A-VB 2022 computes, and what its published numbers are made of:
means in float32, variances with n - 1 but the covariance with n, so that perfect agreement gives (n - 1)/n; n counts
unlabelled rows, and the mean and variance of the predictions are over all of them; rounded to four decimals.
"""

from __future__ import annotations

import numpy as np

from vocalburst.eval import rates

MODES = ("official", "exact")
DECIMALS = 4  # of an official CCC

# Fields of `value_sums`. Those of "known" rows are 0 where the truth is NaN.
ALL, KNOWN, TRUTH, TRUTH2, ANSWER_ALL, ANSWER2_ALL, ANSWER, ANSWER2, PRODUCT, ERROR = range(10)
CONSTANT = 1e-12  # of the mean square: a smaller variance is that of equal values


def ccc(truth: np.ndarray, predicted: np.ndarray, mode: str = "official") -> float:
    """Concordance correlation coefficient of one column [N]; NaN where both are constant and equal.

    Raises ValueError for fewer than two labelled rows, other shapes, and NaN in `predicted`.
    """
    truth, predicted = checked(truth, predicted)
    if mode == "exact":
        return float(ccc_of(totals(truth, predicted), mode)[0, 0])
    if mode != "official":
        raise ValueError(f"expected a mode of {', '.join(MODES)}, got {mode!r}")
    mean_t, mean_p = np.nanmean(truth, dtype=np.float32), np.nanmean(predicted, dtype=np.float32)
    variance_t = 1.0 / (len(truth) - 1) * np.nansum((truth - mean_t) ** 2)
    variance_p = 1.0 / (len(predicted) - 1) * np.nansum((predicted - mean_p) ** 2)
    covariance = np.nanmean((truth - mean_t) * (predicted - mean_p))
    with np.errstate(invalid="ignore"):
        score = (2 * covariance) / (variance_t + variance_p + (mean_t - mean_p) ** 2)
    return float(np.round(score, DECIMALS))


def pearson(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Pearson correlation of one column [N] over its labelled rows; NaN where either is constant."""
    return float(pearson_of(totals(*checked(truth, predicted)))[0, 0])


def mae(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Mean absolute error of one column [N] over its labelled rows, in the unit of the column."""
    return float(mae_of(totals(*checked(truth, predicted, least=1)))[0, 0])


def uar(truth: np.ndarray, predicted: np.ndarray, n_classes: int) -> float:
    """Unweighted average recall over the classes that have clips."""
    return rates.unweighted_average_recall(rates.confusion(truth, predicted, n_classes))


def accuracy(truth: np.ndarray, predicted: np.ndarray, n_classes: int) -> float:
    """Share of the clips whose class is the predicted one."""
    counts = rates.confusion(truth, predicted, n_classes)
    return float(np.trace(counts) / counts.sum())


def macro_f1(truth: np.ndarray, predicted: np.ndarray, n_classes: int) -> float:
    """Mean over the classes that have clips of 2 hits / (clips of the class + predictions of it)."""
    counts = rates.confusion(truth, predicted, n_classes)
    present = counts.sum(axis=1) > 0
    f1 = 2 * np.diag(counts)[present] / (counts.sum(axis=1) + counts.sum(axis=0))[present]
    return float(f1.mean())


def s_mtl(ccc: np.ndarray | float, mae: np.ndarray | float, uar: np.ndarray | float) -> np.ndarray:
    """Harmonic mean of CCC, 1/MAE and UAR: 3 / (1/CCC + MAE + 1/UAR) (ExVo 2022, equation 1 of arXiv 2403.14048).

    mae: years. NaN where CCC or UAR is not positive, which the harmonic mean does not allow.
    """
    ccc, mae, uar = (np.asarray(value, dtype=np.float64) for value in (ccc, mae, uar))
    positive = (ccc > 0) & (uar > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(positive, 3 / (1 / ccc + mae + 1 / uar), np.nan)


def checked(truth: np.ndarray, predicted: np.ndarray, least: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 [N]. Raises ValueError for what a metric cannot be computed of."""
    truth, predicted = np.asarray(truth, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != predicted.shape:
        raise ValueError(f"expected two columns of one length, got {truth.shape} and {predicted.shape}")
    if np.isnan(predicted).any():
        raise ValueError("expected a number for every clip, got NaN among the predictions")
    known = int((~np.isnan(truth)).sum())
    if known < least:
        raise ValueError(f"expected at least {least} labelled clips, got {known}")
    return truth, predicted


def totals(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Unweighted totals [1, 1, 10] of one column."""
    return value_sums(truth[:, None], predicted[:, None]).sum(axis=0, keepdims=True)


def value_sums(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Summands [N, C, 10] of two arrays [N, C].

    Both are shifted by the mean truth of the column, which no metric here notices, to keep the digits of a variance.
    """
    known = ~np.isnan(truth)
    shift = np.nanmean(truth, axis=0)
    truth, answer = np.where(known, truth - shift, 0.0), predicted - shift
    fields = (
        np.ones_like(answer), known, truth, truth**2, answer, answer**2,
        known * answer, known * answer**2, truth * answer, known * np.abs(truth - answer),
    )  # fmt: skip
    return np.stack(fields, axis=-1)


def ccc_of(sums: np.ndarray, mode: str) -> np.ndarray:
    """CCC [B, C] of totals [B, C, 10], not rounded; NaN where undefined."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if mode == "exact":
            mean_t, mean_p, variance_t, variance_p, covariance = known_moments(sums)
        else:
            n, known = sums[..., ALL], sums[..., KNOWN]
            mean_t, mean_p = sums[..., TRUTH] / known, sums[..., ANSWER_ALL] / n
            variance_t = (sums[..., TRUTH2] - known * mean_t**2) / (n - 1)
            variance_p = (sums[..., ANSWER2_ALL] - n * mean_p**2) / (n - 1)
            covariance = sums[..., PRODUCT] / known - mean_t * sums[..., ANSWER] / known
        return 2 * covariance / (variance_t + variance_p + (mean_t - mean_p) ** 2)


def pearson_of(sums: np.ndarray) -> np.ndarray:
    """Pearson correlation [B, C] of totals [B, C, 10]; NaN where either side is constant."""
    with np.errstate(divide="ignore", invalid="ignore"):
        _, _, variance_t, variance_p, covariance = known_moments(sums)
        scale_t, scale_p = sums[..., TRUTH2] / sums[..., KNOWN], sums[..., ANSWER2] / sums[..., KNOWN]
        constant = (variance_t <= CONSTANT * scale_t) | (variance_p <= CONSTANT * scale_p)
        return np.where(constant, np.nan, covariance / np.sqrt(variance_t * variance_p))


def mae_of(sums: np.ndarray) -> np.ndarray:
    """Mean absolute error [B, C] of totals [B, C, 10]; NaN without a labelled row."""
    with np.errstate(invalid="ignore"):
        return sums[..., ERROR] / sums[..., KNOWN]


def known_moments(sums: np.ndarray) -> tuple[np.ndarray, ...]:
    """Means, variances and covariance [B, C] over the labelled rows, all with n."""
    known = sums[..., KNOWN]
    mean_t, mean_p = sums[..., TRUTH] / known, sums[..., ANSWER] / known
    variance_t = sums[..., TRUTH2] / known - mean_t**2
    variance_p = sums[..., ANSWER2] / known - mean_p**2
    return mean_t, mean_p, variance_t, variance_p, sums[..., PRODUCT] / known - mean_t * mean_p


def class_sums(truth: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Summands [N, K, 3] of class indices [N]: of the class, predicted as it, both."""
    rates.check_indices(truth, n_classes)
    rates.check_indices(predicted, n_classes)
    own, answer = np.eye(n_classes)[truth], np.eye(n_classes)[predicted]
    return np.stack((own, answer, own * answer), axis=-1)


def recalls_of(sums: np.ndarray) -> np.ndarray:
    """Recall [B, K] of totals [B, K, 3]; NaN for a class without weight."""
    with np.errstate(invalid="ignore"):
        return sums[..., 2] / sums[..., 0]


def f1_of(sums: np.ndarray) -> np.ndarray:
    """F1 [B, K] of totals [B, K, 3]; NaN for a class without weight."""
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = 2 * sums[..., 2] / (sums[..., 0] + sums[..., 1])
    return np.where(sums[..., 0] > 0, f1, np.nan)


def accuracy_of(sums: np.ndarray) -> np.ndarray:
    """Accuracy [B, 1] of totals [B, K, 3]."""
    return (sums[..., 2].sum(axis=-1) / sums[..., 0].sum(axis=-1))[:, None]
