"""The endpoint: text in over HTTP, entities out, fast and honest under load; and the probe that shows it is."""
