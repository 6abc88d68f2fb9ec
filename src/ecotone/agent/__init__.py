"""A site's side of its hub: who it is, what it reports, and how it takes new versions."""
