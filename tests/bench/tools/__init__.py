"""Function calling on the Berkeley Function-Calling Leaderboard's items, beside llama-server."""
