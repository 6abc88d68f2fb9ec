"""What a ledger proves of quality, cost and time: bands, curves, clusters; and what another setting would give."""
