import pytest

from gambrel.report.blocks import BAR_WIDTH, bar, percent


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (None, "-"),
        (0.0, "0.0 %"),
        (1e-9, "<0.1 %"),
        (0.000_51, "0.1 %"),
        (0.3875, "38.8 %"),
        (1.0, "100.0 %"),
        (9.99, "999.0 %"),
        (10.0, "10 x"),
        (6.45e16, "6.45e+16 x"),
    ],
)
def test_percent(share, text):
    assert percent(share) == text


@pytest.mark.parametrize("share", [-1.0, 0.0, 0.3, 0.5, 0.999, 1.0, 7.0])
def test_a_bar_is_as_long_as_its_share_to_an_eighth(share):
    text = bar(share).plain
    eighths = sum({"█": 8, "▉": 7, "▊": 6, "▋": 5, "▌": 4, "▍": 3, "▎": 2, "▏": 1}[cell] for cell in text)
    assert abs(eighths / 8 - min(max(share, 0.0), 1.0) * BAR_WIDTH) <= 1 / 16
