"""The one way out: carries a Plan to ServiceNow. guard, order, execute, compare what came back, revert what must not stay.

Knows neither Postgres nor who made the plan: SQL writers, mappings and people all come through here.
"""
