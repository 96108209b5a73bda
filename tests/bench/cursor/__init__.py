"""Whether the place of the cursor in a word matters: the rest of a line, asked for inside a name, at its end, and behind the punctuation after it."""
