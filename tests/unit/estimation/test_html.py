from dataclasses import replace
from html.parser import HTMLParser

import pytest

from gambrel import estimate
from gambrel.estimation.points import Plan, Workload


class Checker(HTMLParser):
    """Collects the text and checks that every element that opens also closes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.addresses: list[str | None] = []

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read(text: str) -> str:
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert checker.open == []
    assert checker.addresses == []  # nothing is fetched from elsewhere
    return " ".join(checker.words)


@pytest.fixture(scope="module")
def too_big():
    return estimate("llama-3.1-70b", "h100-sxm", plan=Plan(tp=1), workload=Workload(batch=4, isl=512, osl=16))


def test_it_says_what_does_not_fit_and_what_would(too_big):
    text = read(too_big._repr_html_())
    assert "does not fit" in text
    assert too_big.violations[0].levers[0].change in text
    assert too_big.provenance.profile_hash in text


def test_names_are_escaped(too_big):
    evil = replace(too_big, model="<script>alert(1)</script>", assumptions=("<b>&",))
    html = evil._repr_html_()
    assert "<script" not in html
    assert "<script>alert(1)</script>" in read(html)


def test_one_output_token_has_no_decode():
    single = estimate("llama-3.2-1b", "h100-sxm", workload=Workload(osl=1))
    assert "Mean decode step" not in read(single._repr_html_())
