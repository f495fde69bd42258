"""What the rules for French identifiers find: how many of each type, and how many letters of them lie in a
mention of gold (a name, a place, an organization), where a rule is most likely wrong.

A sentence of a corpus is a text, its words with a space between them. Gold knows no identifiers: true and
false ones are told by eye, with --show.

    python benchmarks/rules.py [--data sample FILE …] [--rules fr] [--show]
"""

from __future__ import annotations

import argparse
from collections import Counter
from itertools import accumulate

from affineur.cli.main import guarded
from affineur.entities import to_mentions
from affineur.runtime.rules.core.rule import chosen_rules, find_by_rules
from affineur.transfer import load_corpus


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="+", default=["sample"])
    parser.add_argument("--rules", default="fr")
    parser.add_argument("--show", action="store_true", help="print what is found")
    args = parser.parse_args()
    rules = chosen_rules(args.rules)
    for data in args.data:
        corpus = load_corpus(data)
        found: Counter[str] = Counter()
        touching: Counter[str] = Counter()
        sentences = words = 0
        for sentence in corpus:
            text = " ".join(sentence.words)
            starts = list(accumulate((len(word) + 1 for word in sentence.words), initial=0))
            gold = [(starts[m.start], starts[m.end] - 1) for m in to_mentions(sentence.tags, corpus.scheme)]
            sentences += 1
            words += len(sentence.words)
            for each in find_by_rules(text, rules):
                found[each.type] += 1
                touches = any(start < each.end and each.start < end for start, end in gold)
                touching[each.type] += touches
                if args.show:
                    print(f"{each.type:<9}{'* ' if touches else '  '}{each.word}")
        print(f"{data}: {sentences} sentences, {words} words")
        print("type       found  in mentions")
        for kind, many in found.most_common():
            print(f"{kind:<9}{many:>7}{touching[kind]:>13}")
    return 0


if __name__ == "__main__":
    raise SystemExit(guarded(main, "benchmark", quiet=True))
