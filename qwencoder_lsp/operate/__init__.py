"""Running the HTTP service in the background: start, stop, unit files, API keys, checks of an installed product."""
