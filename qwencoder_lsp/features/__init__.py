"""One file per thing that a user asks for. The only place where the stages gather, render, generate and finish meet."""
