"""Colours of the heat maps and places on the forest plots."""

import numpy as np
import pytest

from vocalburst.eval.forest import forest
from vocalburst.eval.heat import RAMP, Scale, channels, colour, contrast, luminance, scale_of, text_colour
from vocalburst.eval.scores import Measure


def test_a_scale_runs_to_the_better_end():
    assert scale_of([3.0, None, 1.0, 2.0], False) == Scale(worst=3.0, best=1.0)
    assert scale_of([3.0, 1.0], True) == Scale(worst=1.0, best=3.0)
    assert scale_of([-3.0, 1.0], None) == Scale(worst=3.0, best=1.0, near_zero=True)
    assert scale_of([None], True) is None


def test_positions_are_linear_and_stop_at_the_ends():
    less = Scale(worst=6.0, best=2.0)
    assert [less.position(v) for v in (2, 3, 6, 100, -5)] == [1, 0.75, 0, 0, 1]
    assert Scale(worst=0.0, best=1.0).position(0.25) == 0.25
    assert Scale(worst=3.0, best=1.0, near_zero=True).position(-2.0) == 0.5
    assert Scale(worst=1.0, best=1.0).position(1.0) == 1


def test_better_is_darker_all_along_the_ramp():
    """Lightness alone tells the order, so neither hue nor a colour printer is needed."""
    lightness = [luminance(colour(p)) for p in np.linspace(0, 1, 101)]
    assert (np.diff(lightness) < 0).all()
    assert (colour(0.0), colour(1.0), colour(1 / 8)) == (RAMP[0], RAMP[-1], RAMP[1])


def test_numbers_can_be_read_on_every_colour():
    for position in np.linspace(0, 1, 201):
        background = colour(position)
        assert contrast(text_colour(background), background) >= 4.5  # WCAG 2.1, level AA
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # the known borderline grey


def test_neighbouring_steps_differ_for_colour_blind_eyes():
    """Red-green blindness (Viénot 1999) leaves the steps of the ramp apart."""
    simulate = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
    linear = np.array([np.array(channels(c)) / 255 for c in RAMP]) ** 2.2
    seen = np.clip(linear @ simulate.T, 0, 1) ** (1 / 2.2)
    assert np.linalg.norm(np.diff(seen, axis=0), axis=1).min() > 0.07


def test_a_cell_without_a_number_has_no_colour():
    assert Scale(0.0, 1.0).style(None) == ""
    assert Scale(0.0, 1.0).style(1.0) == "background:#081d58;color:#ffffff"


def rows(**values: Measure | float):
    return [
        (name, value if isinstance(value, Measure) else Measure(value=value), f"key.{name}")
        for name, value in values.items()
    ]


def test_places_on_an_axis_from_zero():
    plot = forest(
        rows(entry=Measure(value=5.0, low=4.0, high=6.0), floor=1.0, noise=90.0), outside=("noise",)
    )
    assert (plot.start, plot.end, plot.zero) == (0.0, pytest.approx(6.24), 0.0)
    entry, floor, noise = plot.lines
    assert (entry.low, entry.value, entry.high) == pytest.approx((64.1, 80.13, 96.15), abs=0.01)
    assert (floor.low, floor.high, floor.value) == (None, None, pytest.approx(16.03, abs=0.01))
    assert noise.beyond and not entry.beyond
    assert (noise.value, noise.key) == (100.0, "key.noise")


def test_an_axis_with_negative_values_holds_zero_inside():
    plot = forest(rows(entry=Measure(value=0.1, low=-0.1, high=0.3)))
    (line,) = plot.lines
    assert 0 < line.low < plot.zero < line.value < line.high < 100
    assert (line.low + line.high) / 2 == pytest.approx(line.value, abs=0.01)


def test_a_plot_without_numbers_is_none_and_one_of_zeros_is_not():
    assert forest(rows(entry=Measure(value=None))) is None
    assert forest(rows(entry=0.0)).lines[0].value == 0
    assert forest(rows(noise=3.0), outside=("noise",)).lines[0].beyond is False
