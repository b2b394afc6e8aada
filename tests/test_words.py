"""Numbers and lists as text: digits, limits and signs, value by value."""

import math

import pytest

from lmm.core import parameters, words

NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (None, 3, "–"), (NAN, 3, "–"), (math.inf, 3, "–"), (0.0, 3, "0"),
        (1.23456, 3, "1.23"), (-1.23456, 4, "−1.235"), (123456, 3, "123,000"), (999_600, 3, "1.00×10⁶"),
        (0.000123456, 3, "0.000123"), (0.0000999, 3, "9.99×10⁻⁵"), (0.00009999, 3, "0.000100"),
        (-2.5e-7, 2, "−2.5×10⁻⁷"),
        (1234.5, 2, "1200"),
    ],
)  # fmt: skip
def test_significant_digits(value, digits, text):
    assert words.number(value, digits) == text


def test_decimals_show_two_digits_of_an_error():
    assert [words.places(error) for error in (0.1, 0.0996, 0.00234, 3.2, 12.0, 1e-9, 0.0, None, NAN)] == [
        2, 2, 4, 1, 0, 6, None, None, None,
    ]  # fmt: skip
    assert words.with_error(-0.0904, 0.0101) == "−0.090 ± 0.010"
    assert words.with_error(5.0, None) == "5.00 ± –"
    assert words.with_error(5e-9, 1e-10) == "0.00000000500 ± 0.00000000010"
    assert words.share(0.912, 0.01) == "91.2\u00a0% ± 1.0\u00a0%"
    assert words.estimated(1.23456, 1) == "1.2" and words.estimated(1.23456, None, 2) == "1.2"


@pytest.mark.parametrize(
    ("values", "digits", "most", "found"),
    [
        ([], 4, 6, 0), ([NAN, 0.0], 4, 6, 0), ([1.0, 200.0, -3.0], 4, 6, 0), ([1.5, NAN, 12.5, 15.5], 4, 6, 2),
        ([0.5], 4, 6, 4), ([0.5], 2, 6, 2), ([1e-5, 0.5e-5], 4, 6, 6), ([123456.7], 4, 6, 0),
        ([1e-5, 0.5e-5], 4, 9, 9),
        ([-0.25, 0.75, 0.0], 3, 6, 3),
    ],
)  # fmt: skip
def test_decimals_of_a_column_are_those_of_its_median_size(values, digits, most, found):
    assert words.decimals(values, digits, most) == found
    assert words.decimals([0.00123]) == 6 and words.decimals([1e-9]) == 6 and words.decimals([12.34]) == 2


def test_p_values():
    found = [words.p_value(p) for p in (None, NAN, 0.0, 0.0009, 0.001, 0.0124, 0.25, 0.999, 0.9991, 1.0)]
    assert found == ["–", "–", "< .001", "< .001", ".001", ".012", ".250", ".999", "> .999", "> .999"]
    assert [words.p_value(p, 0.002) for p in (0.0, 0.0019, 0.002, 0.998, 1.0)] == [
        "< .002", "< .002", ".002", ".998", "> .998",
    ]  # fmt: skip
    assert words.p_value(0.0005, 1e-6) == "< .001", "never more than three decimals"
    assert words.p_said("< .001") == "p < .001" and words.p_said("> .999") == "p > .999"
    assert words.p_said(".012") == "p = .012"
    limits = (0.0, 0.0009, 0.001, 0.0099, 0.01, 0.049, 0.05, 0.099, 0.1, 1.0, None, NAN)
    assert [words.stars(p) for p in limits] == ["***", "***", "**", "**", "*", "*", ".", ".", "", "", "", ""]


def test_chosen_numbers_and_long_decimals():
    assert words.shortened("normal(3.14159265, 2)") == "normal(3.142, 2)"
    assert words.shortened("half_normal(1.25e-07)") == "half_normal(1.25e-07)"
    assert words.shortened("lkj(2)") == "lkj(2)" and words.shortened("x 12345.678", 2) == "x 1.2e+04"
    assert [words.given(v) for v in (None, NAN, 1e15, 2.0, 0.1234567)] == ["–", "–", "1e+15", "2", "0.123457"]
    assert [words.fixed(v, 2) for v in (None, NAN, -0.001, -0.006, 12345.678)] == [
        "–",
        "–",
        "0.00",
        "−0.01",
        "12,345.68",
    ]
    assert [words.whole(v) for v in (None, math.inf, 999.6)] == ["–", "–", "1,000"]
    assert words.percent(0.12345) == "12.3\u00a0%" and words.percent(-0.5, 0) == "−50\u00a0%"
    assert words.error_size(1.01e-6) == "1.0×10⁻⁶" and words.error_size(0.5, 1.0) == "less than 10⁰"
    assert words.error_size(None) == words.error_size(NAN) == "–"
    assert words.in_errors(1.0) == "1.0 standard errors" and words.in_errors(0.001).startswith("0.1")
    assert words.scaled(NAN, 1.0) == "–" and words.scaled(1.0, 1e15) == "1" and words.scaled(2.0, 1e-6) == "2"
    assert words.scaled(123.456, 1.0) == "123.46" and words.scaled(0.12345, 10.0) == "0.1"


def test_of_term_and_lists():
    assert (
        parameters.of_term("cor__a.b", 0.12345) == "0.123" and parameters.of_term("sd__x", 12.345) == "12.3"
    )
    assert parameters.of_term("variance explained: icc", 0.5) == "0.5000"
    names = list("abcdefgh")
    assert words.some(names[:6]) == "a, b, c, d, e and f", "one more than the most is not left out"
    assert words.some(names[:7]) == "a, b, c, d, e and 2 more"
    assert words.some(names, "table x", most=2) == "a, b and 6 more (table x)"
    assert [words.listed(names[:k], "or") for k in (0, 1, 2, 3)] == ["", "a", "a or b", "a, b or c"]
    assert words.short_levels(["patient 7", "patient 12"], 4) == ["7", "12"]
    assert (
        words.short_levels(["abcdef", "abcxyz"], 6) == ["abcdef", "abcxyz"]
        and words.short_levels([], 3) == []
    )


@pytest.mark.parametrize(
    ("term", "title", "said"),
    [
        ("sd__Observation", "residual SD", "the residual SD"), ("sd__x", "SD of x", "the SD of x"),
        ("cor__Intercept.x", "cor(Intercept, x)", "the correlation of Intercept and x"),
        ("sd__x|school", "SD of x, school", "the SD of x of school"), ("x", "x", "the fixed effect of x"),
        ("sd__", "sd__", "the fixed effect of sd__"), ("cor__", "cor__", "the fixed effect of cor__"),
    ],
)  # fmt: skip
def test_names_of_parameters(term, title, said):
    assert (parameters.titled(term), parameters.spoken(term)) == (title, said)
