"""What a rule and a set of rules are, how one is asked for, and how they join what a model found."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from affineur.entities import Entity, LabeledPiece
from affineur.errors import ParameterError, did_you_mean
from affineur.registry import Registry

Span = tuple[int, int]
_EDGE = re.compile(r"\w")


@dataclass(frozen=True, slots=True)
class Rule:
    """Finds one kind of thing in a text.

    Args:
        type: The type of what it finds, such as ``PHONE``.
        summary: What it finds, in one line.
        find: From a text to the character spans of what was found, in any order; they may overlap.
    """

    type: str
    summary: str
    find: Callable[[str], Iterable[Span]]


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Rules that go together. One instance is a set; its module calls it ``RULES``.

    Args:
        summary: What they are for, in one line.
        rules: By the names that are typed. Of two that find as long a span in one place the earlier stays.
    """

    summary: str
    rules: Mapping[str, Rule]


def _check(given: object) -> None:
    if not isinstance(given, RuleSet):
        raise TypeError(f"it is a {type(given).__name__}, expected a RuleSet")


#: All sets of rules.
RULES: Registry[RuleSet] = Registry("affineur.rules", "affineur.runtime.rules", "RULES", "rule set", _check)

#: How rules are asked for: ``fr``, ``fr:email,phone``, ``fr:-date``, or several of these.
RulesAsked = str | Sequence[str] | None


def chosen_rules(asked: RulesAsked) -> tuple[Rule, ...]:
    """Return the rules that were asked for.

    Args:
        asked: A set (``fr``), some of one (``fr:email,phone``), all but some (``fr:-date,-postcode``), or a
            list of these; ``None`` for none.

    Raises:
        ParameterError: If there is no such set, or no such rule in it.
    """
    if asked is None:
        return ()
    listed = [asked] if isinstance(asked, str) else list(asked)
    return tuple(dict.fromkeys(rule for each in listed for rule in _of_set(each)))


def _of_set(asked: str) -> Sequence[Rule]:
    if not isinstance(asked, str):
        raise ParameterError(
            f"rules has a {type(asked).__name__}, expected a name such as fr or fr:email,phone", "rules"
        )
    name, colon, rest = asked.partition(":")
    known = RULES.get(name.strip(), "rules").rules
    names = [part.strip() for part in rest.split(",") if part.strip()]
    if colon and not names:
        raise ParameterError(f"rules '{asked}' names no rule, expected some of {', '.join(known)}", "rules")
    for each in names:
        if each.removeprefix("-") not in known:
            raise ParameterError(
                f"no rule '{each.removeprefix('-')}' in the set {name}, expected some of {', '.join(known)}"
                f"{did_you_mean(each.removeprefix('-'), known)}",
                "rules",
            )
    without = {each[1:] for each in names if each.startswith("-")}
    wanted = [each for each in names if not each.startswith("-")] or known
    return [known[each] for each in known if each in wanted and each not in without]


def check_rules(asked: RulesAsked, strategy: str) -> tuple[Rule, ...]:
    """Return the rules that were asked for, where the strategy gives whole entities.

    Raises:
        ParameterError: As :func:`chosen_rules`, or if the strategy gives pieces.
    """
    rules = chosen_rules(asked)
    if rules and strategy == "none":
        raise ParameterError(
            "rules find whole entities and strategy none gives pieces; leave one of them out", "rules"
        )
    return rules


def find_by_rules(text: str, rules: Sequence[Rule]) -> list[Entity]:
    """Return what rules find in a text, by position and without overlap: the longest stays, score 1.

    Args:
        text: The text.
        rules: As :func:`chosen_rules` gives them.
    """
    found = [
        (start - end, place, start, end) for place, rule in enumerate(rules) for start, end in rule.find(text)
    ]
    covered = bytearray(len(text))
    kept: list[Entity] = []
    for _, place, start, end in sorted(found):
        if start < end and covered.find(1, start, end) < 0:
            covered[start:end] = b"\1" * (end - start)
            kept.append(Entity(rules[place].type, text[start:end], start, end, 1.0))
    return sorted(kept, key=lambda e: e.start)


def with_rules(
    text: str, found: Sequence[Entity] | Sequence[LabeledPiece], rules: Sequence[Rule]
) -> list[Entity]:
    """Join what a model found in a text and what rules find: what a rule finds stays whole.

    Of a model's entity that overlaps it stays what lies outside, cut at letters and digits: so nothing that
    was found by either is lost.

    Args:
        text: The text.
        found: Entities of a model.
        rules: As :func:`check_rules` gives them.
    """
    ours = find_by_rules(text, rules)
    kept = list(ours)
    for entity in found:
        if isinstance(entity, Entity):
            kept += _outside(text, entity, ours)
    return sorted(kept, key=lambda e: (e.start, e.end))


def _outside(text: str, entity: Entity, ours: Sequence[Entity]) -> list[Entity]:
    inside = [each for each in ours if each.start < entity.end and entity.start < each.end]
    if not inside:
        return [entity]
    left: list[Entity] = []
    begin = entity.start
    for start, end in [*((each.start, each.end) for each in inside), (entity.end, entity.end)]:
        places = [match.start() for match in _EDGE.finditer(text, begin, max(begin, start))]
        if places:
            first, after = places[0], places[-1] + 1
            left.append(replace(entity, start=first, end=after, word=text[first:after]))
        begin = max(begin, end)
    return left
