"""The configurations that editors need: which files they are in, and how ours is put into the user's own and taken out again."""
