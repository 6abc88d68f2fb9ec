"""Who may do what at a hub: roles, grants, and proofs of who asks. Values in, values out."""
