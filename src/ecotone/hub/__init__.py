"""The hub: sites, people, assets, releases, and a ledger of all acts, over a database and an object store."""
