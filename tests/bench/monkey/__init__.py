"""Random editing through a raw client, each answer checked against the text that it was asked for."""
