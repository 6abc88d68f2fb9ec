"""What becomes of new versions: trials at a site, waves at the hub. Values in, values out."""
