"""The command line: parse, call, print. One file per command or small group of commands.

Decides nothing about data: what is done stands in `wiring` and below, what is shown stands in `screen`. Imports of the
engine are made inside the functions that need them, so that `nowbridge --help` answers at once.
"""
