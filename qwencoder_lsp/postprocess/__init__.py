"""Pure: raw model text in, something worth showing out."""
