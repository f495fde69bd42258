"""The bars there are: one record each, from which checks, reports, messages and the documentation derive.

A new bar is one entry here, and what it needs measured one field of
:class:`~affineur.measure.figures.Measures`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from affineur.measure import figures
from affineur.measure.budget import MOST_LOST
from affineur.measure.figures import Reader

#: What a bar needs measured beyond the size of the weights.
Need = Literal["scores", "baseline", "agreement", "load"]


@dataclass(frozen=True, slots=True)
class Unit:
    """What a limit may be, and how it is shown: times ``scale``, with ``digits`` decimals and a suffix.

    Args:
        expected: What a limit may be, for messages.
        scale: What it is multiplied by to be shown.
        suffix: What is written behind it.
        digits: Decimals, at least.
        least: The smallest limit there may be.
        most: The largest; beyond the usual lie infinity and slips of the keyboard.
    """

    expected: str
    scale: float
    suffix: str
    digits: int
    least: float = 0.0
    most: float = 1e18

    @property
    def is_share(self) -> bool:
        """Whether it is a ratio or a difference of ratios, which floating point rounds."""
        return self.most <= 1


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar: a number that must be reached, or not exceeded.

    Args:
        name: What people write, such as ``min_f1``.
        label: What it is about, in words for a reader.
        unit: Of its limit.
        reach: ``at least`` where the figure must reach the limit, ``at most`` where it must not exceed it.
        checked: What is checked against it, for the documentation.
        needs: What has to be measured for it.
        figure: Takes its figure from what was measured; ``None`` where whoever measures gives it.
        by_type: Whether there is one for each type too, such as ``min_f1_PER``.
    """

    name: str
    label: str
    unit: Unit
    reach: Literal["at least", "at most"]
    checked: str
    needs: frozenset[Need] = frozenset()
    figure: Reader | None = None
    by_type: bool = False

    @property
    def signs(self) -> tuple[str, str]:
        """The comparison that holds where it is reached, and the one where it is missed."""
        return ("≥", "<") if self.reach == "at least" else ("≤", ">")

    @property
    def spellings(self) -> list[str]:
        """How it may be written: of all types, and of one."""
        return [self.name, *([f"{self.name}_TYPE"] if self.by_type else [])]


SHARE = Unit("a share from 0 to 1", 100, "%", 2, most=1.0)
POINTS = Unit(
    "a share below 0.5 (0.01 is one point of F1), or points, such as '1 point'",
    100,
    " points",
    2,
    most=math.nextafter(MOST_LOST, 0),
)
BYTES = Unit("a number of bytes, 0 or more", 1e-6, " MB", 1)
MILLISECONDS = Unit("milliseconds, 0 or more", 1, " ms", 1)
SENTENCES = Unit("a number, 0 or more", 1, " sentences/s", 1)
REQUESTS = Unit("a number, 0 or more", 1, " requests/s", 1)

_SCORES: frozenset[Need] = frozenset({"scores"})
_LOAD: frozenset[Need] = frozenset({"load"})
_LATENCY = (
    "latency of one sentence, one after another in a fresh process: 1,000 calls or more, or as many as 15 "
    "seconds allow; the check says how many"
)


def _by_name(bars: Iterable[Bar]) -> dict[str, Bar]:
    return {bar.name: bar for bar in bars}


#: Bars of a model, by name.
MODEL: Mapping[str, Bar] = _by_name(
    [
        Bar(
            "min_f1",
            "F1",
            SHARE,
            "at least",
            "F1 itself, of all types or one",
            needs=_SCORES,
            figure=figures.f1,
            by_type=True,
        ),
        Bar(
            "min_f1_low",
            "F1, at the lower end of its interval",
            SHARE,
            "at least",
            "the lower end of the interval of F1",
            needs=_SCORES,
            figure=figures.f1_low,
        ),
        Bar(
            "min_accuracy",
            "Words tagged right",
            SHARE,
            "at least",
            "words with exactly the right tag, as seqeval and conlleval count them (`accuracy`; not "
            "`accuracy_repaired`)",
            needs=_SCORES,
            figure=figures.accuracy,
        ),
        Bar(
            "max_drop",
            "F1 against the baseline",
            POINTS,
            "at most",
            "the *upper end* of the paired interval of F1 lost to the baseline; 0.01 is a point, as is "
            "`1 point`; half of F1 or more is refused",
            needs=frozenset({"scores", "baseline"}),
            figure=figures.drop,
            by_type=True,
        ),
        Bar("max_size_bytes", "Size", BYTES, "at most", "the weights", figure=figures.size),
        Bar(
            "max_p50_ms",
            "Time in which half of the sentences are done",
            MILLISECONDS,
            "at most",
            f"median {_LATENCY}",
            needs=_LOAD,
            figure=figures.p50,
        ),
        Bar(
            "max_p95_ms",
            "Time in which 95 of 100 sentences are done",
            MILLISECONDS,
            "at most",
            "the 95th percentile of the same",
            needs=_LOAD,
            figure=figures.p95,
        ),
        Bar(
            "max_p99_ms",
            "Time in which 99 of 100 sentences are done",
            MILLISECONDS,
            "at most",
            "the 99th percentile of the same, which needs 1,000 calls",
            needs=_LOAD,
            figure=figures.p99,
        ),
        Bar(
            "max_peak_rss_bytes",
            "Peak memory",
            BYTES,
            "at most",
            "peak memory of the same process, after all of its work",
            needs=_LOAD,
            figure=figures.peak_memory,
        ),
        Bar(
            "min_sentences_per_second",
            "Sentences per second",
            SENTENCES,
            "at least",
            "the same process: median over passes of up to 512 sentences in batches",
            needs=_LOAD,
            figure=figures.rate,
        ),
        Bar(
            "min_agreement",
            "Words tagged as its parent tags them",
            SHARE,
            "at least",
            "words with the tag the parent gives (of `torch-int8:PATH` the parent is PATH)",
            needs=frozenset({"agreement"}),
            figure=figures.agreement,
        ),
    ]
)
#: Bars of an endpoint, which is reached over the network and never opened; who asks it gives the figures.
ENDPOINT: Mapping[str, Bar] = _by_name(
    [
        Bar(
            "max_p95_ms",
            "Time in which 95 of 100 requests are answered",
            MILLISECONDS,
            "at most",
            "one request after another, as the client sees it",
        ),
        Bar(
            "max_p99_ms",
            "Time in which 99 of 100 requests are answered",
            MILLISECONDS,
            "at most",
            "the 99th percentile of the same",
        ),
        Bar(
            "min_requests_per_second",
            "Requests per second",
            REQUESTS,
            "at least",
            "the most that any step of the ramp reaches",
        ),
        Bar("min_found", "Known mentions found", SHARE, "at least", "known mentions of our own sentences"),
        Bar(
            "max_errors",
            "Requests that fail",
            SHARE,
            "at most",
            "requests that fail, or whose answer cannot be true; 429 is a refusal and no failure",
        ),
        Bar(
            "min_agreement",
            "Texts with the spans of a local model",
            SHARE,
            "at least",
            "texts with the same spans as a model loaded here",
        ),
    ]
)


def find_bar(name: str, among: Mapping[str, Bar] = MODEL) -> tuple[Bar, str | None] | None:
    """Find a bar and the type it names: of ``min_f1_PER`` the bar ``min_f1`` and ``PER``.

    Args:
        name: The name as people write it.
        among: The bars there are.

    Returns:
        ``None`` for an unknown one.
    """
    if name in among:
        return among[name], None
    for bar in among.values():
        kind = name.removeprefix(f"{bar.name}_")
        if bar.by_type and kind != name and kind.strip():
            return bar, kind
    return None


def known_bar(name: str) -> tuple[Bar, str | None]:
    """Return a bar of a model or an endpoint, and the type it names.

    Where both have one of this name, they share unit and reach.

    Raises:
        KeyError: If there is none.
    """
    found = find_bar(name) or find_bar(name, ENDPOINT)
    if found is None:
        raise KeyError(name)
    return found


def spellings(bars: Mapping[str, Bar] = MODEL) -> list[str]:
    """List how bars may be written."""
    return [spelling for bar in bars.values() for spelling in bar.spellings]


def bars_markdown(bars: Mapping[str, Bar] = MODEL) -> str:
    """Write what each bar is checked against as a Markdown table, for the documentation."""
    rows = (
        f"| {', '.join(f'`{one}`' for one in bar.spellings)} | {bar.checked} |\n" for bar in bars.values()
    )
    return "| bar | checked against |\n|---|---|\n" + "".join(rows)
