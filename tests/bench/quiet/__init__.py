"""Whether suggestions come where they are wanted, and only there: places derived by rule from real files in eight languages."""
