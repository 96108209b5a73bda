"""Real source files that nobody here wrote: pinned packages of the package index, whole and unmodified, and the running interpreter's own library."""
