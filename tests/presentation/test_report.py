"""The page: complete, self-contained, escaped, and honest where a control is not beaten."""

import html.parser

import pytest

from xr2mri_jax.presentation import pages, report
from xr2mri_jax.presentation.page_elements import Picture
from xr2mri_jax.presentation.statement import MEANING

EVALUATED = {"stage": "generator", "step": 7, "dataset": "knee_pairs/x", "split": "test"}
VOID = {"meta", "img"}


def _found(mean, low=None, high=None):
    return {"mean": mean, "ci95": None if low is None else [low, high]}


def _metrics(gain=(1.0, 0.5, 1.5)):
    model = {"psnr": _found(25.0, 24.0, 26.0), "ssim3d": _found(0.8), "mae": _found(0.04)}
    difference = {"psnr": _found(*gain), "ssim3d": _found(0.1), "mae": _found(-0.01)}
    return {
        "n": 4,
        "subjects": 2,
        "convention": {"data_range": 1.0, "ssim": {"window": "gaussian"}},
        "model": model,
        "controls": {"mean_volume": model},
        "differences": {"mean_volume": difference},
        "per_group": {"kl": {"2": {"n": 4, **model}}, "side": {"left": {"n": 4, **model}}},
        "retrieval": {
            "n": 4,
            "top1": 0.5,
            "mean_rank": 1.5,
            "chance": {"top1": 0.25, "mean_rank": 2.5},
        },
    }


class _Reader(html.parser.HTMLParser):
    """Holds tags to be balanced and collects text, links and images."""

    def __init__(self):
        super().__init__()
        self.open, self.words, self.links, self.images = [], [], [], []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.links += [found[name] for name in ("href", "src") if name in found]
        if tag == "img":
            self.images.append(found)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def _read(text):
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def _html(*arguments):
    return pages.render(report.page(*arguments))


def test_page_is_balanced_self_contained_and_has_alternatives():
    picture = Picture(b"\x89PNG", "below <it>", 'what "it" is')
    text = _html(_metrics(), EVALUATED, [picture], [picture])
    reader = _read(text)
    assert all(link.startswith("data:image/png;base64,") for link in reader.links)
    assert [image["alt"] for image in reader.images] == ['what "it" is'] * 2
    words = " ".join(reader.words)
    for expected in (
        "below <it>",
        "not for diagnosis",
        MEANING,
        "25.00",
        "24.00 to 26.00",
        "+1.00",
        "gaussian",
    ):
        assert expected in words
    assert "http" not in text and "<it>" not in text and "viewport" in text and 'lang="en"' in text


def test_simulated_knees_are_called_simulated():
    said = "say nothing about patients"
    assert said not in _html(_metrics(), EVALUATED, [], [])
    phantom = {**EVALUATED, "dataset": "knee_phantom/quickstart", "knees": "simulated"}
    assert said in _html(_metrics(), phantom, [], [])


def test_the_page_opens_with_the_verdict():
    metrics = {"verdict": {"sentence": "No evidence that 1 < 2 matters."}, **_metrics()}
    words = _read(_html(metrics, EVALUATED, [], [])).words
    notices = [text for text in words if text.strip()]
    first = notices.index("No evidence that 1 < 2 matters.")
    assert first < notices.index("Findings")
    assert not any("research only" in text for text in notices[:first])


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [
        ((1.0, 0.5, 1.5), "the model is better"),
        ((-1.0, -1.5, -0.5), "the model is worse"),
        ((0.2, -0.5, 0.9), "no difference is shown"),
        ((3.0,), "is not evidence"),
    ],
)
def test_verdicts_follow_the_interval(gain, verdict):
    (line,) = [s for s in report.findings(_metrics(gain)) if s.startswith("Against")]
    assert verdict in line
    assert f"{gain[0]:+.2f} dB" in line


def test_retrieval_stands_beside_guessing():
    (line,) = [s for s in report.findings(_metrics()) if "closest of" in s]
    assert "50%" in line and "guessing: 25%" in line and "1.5 (guessing: 2.5)" in line
