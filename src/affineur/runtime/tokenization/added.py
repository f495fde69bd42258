"""Added tokens in raw text: ``<patient>`` is one word where the tokenizer has it as one piece."""

from __future__ import annotations

import re
from collections.abc import Collection

from tokenizers import AddedToken, Tokenizer

from affineur.entities import split_words


class WordSplitter:
    """Cuts raw text into words, and leaves whole what somebody added to the tokenizer.

    Args:
        tokenizer: Its added tokens are looked for.
        named: Those that stand for the ends of a text, padding and the like: in a text they are text. By
            default every special one.
    """

    def __init__(self, tokenizer: Tokenizer, named: Collection[str] | None = None) -> None:
        tokens = tokenizer.get_added_tokens_decoder().values()
        words = [
            t for t in tokens if _is_word(t) and not (t.special if named is None else t.content in named)
        ]
        # The longest first, as the tokenizer matches them.
        words.sort(key=lambda token: (-len(token.content), token.content))
        patterns = [_pattern(token, tokenizer) for token in words]
        self._added = re.compile("|".join(patterns)) if patterns else None

    def __call__(self, text: str) -> list[tuple[int, int]]:
        """Return the character span of each word, in order, in code points."""
        if self._added is None or self._added.search(text) is None:
            return split_words(text)
        spans: list[tuple[int, int]] = []
        begin = 0
        for match in self._added.finditer(text):
            spans += _shifted(text[begin : match.start()], begin)
            spans.append(match.span())
            begin = match.end()
        return spans + _shifted(text[begin:], begin)


def _is_word(token: AddedToken) -> bool:
    """Say whether a token is one that people write: CamemBERT's ``<s>NOTUSED`` and the like are none."""
    return not token.content.endswith("NOTUSED") and any(map(str.isalnum, token.content))


def _pattern(token: AddedToken, tokenizer: Tokenizer) -> str:
    content = token.content.strip()
    pattern = re.escape(content)
    if token.normalized and tokenizer.normalizer is not None:
        normalize = tokenizer.normalizer.normalize_str
        if normalize(content) == normalize(content.upper()):  # as the tokenizer of an uncased model does
            pattern = f"(?i:{pattern})"
    if token.single_word:
        return rf"(?<!\w){pattern}(?!\w)"
    return pattern


def _shifted(text: str, begin: int) -> list[tuple[int, int]]:
    return [(start + begin, end + begin) for start, end in split_words(text)]
