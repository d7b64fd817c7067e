"""The Identification and Reconciliation Engine (servicenow-api.md 6.5): which CI a payload means, and what becomes of it.

`payload` is what comes in, `rules` the identification rules out of their records, `identify` finds a CI, `engine` runs
a whole payload in two phases (identify everything, then commit), `commit` writes, `answers` shapes what goes out.
Source precedence (reconciliation rules) is not emulated: a stock instance has none, every source may write.
"""
