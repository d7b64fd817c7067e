"""What must be right about an item before it is identified: its source, its rule, its lookup and related items.

Codes and messages: id-engine-error-messages.md.
"""

from nowtwin.instance import Instance
from nowtwin.ire.identify import values_for
from nowtwin.ire.outcome import Options, Outcome
from nowtwin.ire.payload import SubItem
from nowtwin.ire.rules import Entry, Rule

_TOLERATED = frozenset({"INVALID_INPUT_DATA"})
"""An item with a wrong source is identified all the same, as the answer shows its attempts."""


def acceptable(instance: Instance, outcome: Outcome, rule: Rule | None, options: Options) -> bool:
    """Whether identification makes sense; otherwise the errors say why not."""
    if rule is None:
        outcome.fail("IDENTIFICATION_RULE_MISSING", f"Identity Rule Missing for table [{outcome.item.class_name}]")
        return False
    _check_source(instance, outcome, options)
    _check_rule(outcome, rule)
    _check_subs(outcome, rule)
    return all(trouble.code in _TOLERATED for trouble in outcome.errors)


def _check_source(instance: Instance, outcome: Outcome, options: Options) -> None:
    choices = instance.dictionary.choice_labels("cmdb_ci", "discovery_source")
    if not outcome.source:
        if options.commit and instance.switches.ire_source_required:
            outcome.fail(
                "INVALID_INPUT_DATA",
                "In payload no data source exist. You need to provide choice value from choice field "
                "[discovery_source] in table [cmdb_ci]",
            )
    elif choices and outcome.source not in choices:
        outcome.fail(
            "INVALID_INPUT_DATA",
            f"In payload invalid data source [{outcome.source}] exist. You need to provide a valid choice value "
            "from field [discovery_source] in table [cmdb_ci]",
        )


def _check_rule(outcome: Outcome, rule: Rule) -> None:
    if rule.independent and any("sys_class_name" in entry.attributes for entry in rule.entries):
        message = f"Cannot have 'sys_class_name' as a key field in an Independent Identity Rule on '{rule.applies_to}'"
        outcome.fail("NO_CLASS_NAME_FOR_INDEPENDENT_CI", message)
    if not rule.independent and any(entry.table for entry in rule.entries):
        message = f"Cannot have Lookup Rule for a Dependent Identity Rule on '{rule.applies_to}'"
        outcome.fail("NO_LOOKUP_RULES_FOR_DEPENDENT_CI", message)


def _check_subs(outcome: Outcome, rule: Rule) -> None:
    kinds = (
        ("Lookup", "LOOKUP", "LOOKUP", outcome.item.lookup, rule.lookup),
        ("Related", "RELATED_ITEM", "RELATED", outcome.item.related, rule.related_to),
    )
    for word, missing, doubled, subs, entry_for in kinds:
        seen: dict[tuple[str, ...], int] = {}
        for number, sub in enumerate(subs):
            entry = entry_for(sub.class_name)
            if entry is None:
                message = (
                    f"Identity Rule for table [{rule.applies_to}] missing {word} Rule for class [{sub.class_name}]"
                )
                outcome.fail(f"IDENTIFICATION_RULE_FOR_{missing}_MISSING", message)
                continue
            key = sub_criterion(sub, entry)
            if key and key in seen:
                message = (
                    f"Found duplicate {word} items ({seen[key]} and {number}) in the payload index {outcome.index} "
                    f"using fields {', '.join(entry.attributes)}"
                )
                outcome.fail(f"DUPLICATE_{doubled}_PAYLOAD", message)
            seen.setdefault(key, number)


def sub_criterion(sub: SubItem, entry: Entry) -> tuple[str, ...]:
    """What makes a lookup or related item the same as another of its item; empty where it lacks values."""
    values = values_for(entry, sub.texts)
    return (sub.class_name, *values.values()) if values else ()
