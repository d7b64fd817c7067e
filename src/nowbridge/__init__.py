"""Nowbridge keeps a company's systems and ServiceNow in sync.

Folders are capabilities and imports run one way: cli -> wiring -> api -> jobs -> replica -> servicenow | store ->
transport -> model. ARCHITECTURE.md has the picture; import-linter holds it.
"""
