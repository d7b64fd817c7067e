// A small application with what a companion app has: a table, a rule, a property and a record.
import { BusinessRule, Property, Record, ReferenceColumn, StringColumn, Table } from '@servicenow/sdk/core'

export const x_judge_visits_visit = Table({
    name: 'x_judge_visits_visit',
    label: 'Visit',
    extends: 'task',
    autoNumber: { prefix: 'VST', number: 500, numberOfDigits: 7 },
    schema: {
        purpose: StringColumn({
            label: 'Purpose',
            maxLength: 40,
            choices: { repair: { label: 'Repair on site' }, survey: { label: 'Survey' } },
            dropdown: 'dropdown_with_none',
        }),
        site: ReferenceColumn({ label: 'Site', referenceTable: 'cmn_location' }),
    },
})

BusinessRule({
    $id: Now.ID['announce'],
    name: 'Announce a visit',
    table: 'x_judge_visits_visit',
    when: 'before',
    action: ['insert'],
    order: 100,
    script: `(function executeRule(current, previous) {
        current.short_description = gs.getProperty('x_judge_visits.prefix') + ' ' + current.short_description;
    })(current, previous);`,
})

Property({
    $id: Now.ID['prefix'],
    name: 'x_judge_visits.prefix',
    type: 'string',
    value: 'Visit:',
    description: 'What the title of a visit begins with',
})

Record({
    $id: Now.ID['first'],
    table: 'x_judge_visits_visit',
    data: { short_description: 'the first', purpose: 'survey' },
})
