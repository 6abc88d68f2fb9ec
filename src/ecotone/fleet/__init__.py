"""What becomes of new versions: trials at a site, waves at the hub. Values in, values out.

`trial` is a site's machine for one version, `accepting` and `variants` say what it takes, `memory` what it never tries
again. `waves` is the hub's machine for one release, `standing` its states, `counting` what the reports come to.
`evidence` says for both how sure numbers are, `silence` what is known of a site that has not been heard.
"""
