"""The Identification and Reconciliation Engine (servicenow-api.md 6.5): which CI a payload means, and what becomes of it.

`payload` is what comes in, `rules` the identification rules out of their records, `checks` what must be right first,
`identify` finds a CI, `dependence` its host, `reclassify` decides about its class, `reconcile` which attributes a source
may write, `engine` runs a whole payload in two phases (identify everything, then commit), `commit` writes, `duplicates`
files what was found twice, `locks` sees locks of others, `answers` shapes what goes out. Dynamic reconciliation rules
(CMDB 360) are not emulated.
"""
