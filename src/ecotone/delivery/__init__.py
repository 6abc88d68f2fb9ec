"""Signed assets from a hub's folder to a site, by any carrier: publishing into packs, fetching, putting together.

Never runs beside requests, as `assets` does not: the commands use it. It trusts nothing that it is given but the
manifest, which `trust` has judged: every segment must hash to its name, and every file to its own.
"""
