"""Making connections: what is entered, tried on the instance, and kept sealed. The command line and the console do it here.

`entry` and `address` are what a person enters, `check` tries every right, `connect` proves and stores, `consent` lets a
person allow it at the instance (OAuth authorization code), `caller` says from which address the instance is called.
"""
