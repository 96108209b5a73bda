"""How much of the text before the cursor is taken back, so that the model can spell the word at hand in its own tokens. Pure.

A model that has been given the first half of a token continues badly: after `retu` the token for `return` is out of reach. The end of the text up to
the last place where a token surely ends is left out of the prompt, and the answer has to begin with it (engine.healing). Such places are given by the
pre-tokeniser (see prompt.segments): a word takes a space or the punctuation in front of it along, and so does white space the word behind it.
"""

from __future__ import annotations

import re

LONGEST = 40  # characters; a longer run is data, and each of its tokens would cost a step
_TAIL = re.compile(
    rf"""(?: (?: [ ] | [^\w\s]{{1,4}} )? \w{{1,{LONGEST}}}   # a word, with what its first token may hold of what is before it
          | [ \t]+                                           # white space: a word may still join its last blank
          | [ ]? [^\w\s]{{1,8}}                              # punctuation
    )\Z""",
    re.VERBOSE,
)
_WORD = re.compile(r"\w\w")


def taken_back(text: str) -> int:
    """The number of characters at the end of `text`, the cursor's line up to the cursor, that the answer is to begin with."""
    end = text[-2 * LONGEST :]
    found = _TAIL.search(end)
    if found is None or _WORD.fullmatch(end[max(0, found.start() - 1) : found.start() + 1]):  # a run that is longer
        return 0
    return found.end() - found.start()
