// One column of a record, as scripts see it. What its record knows, it asks its record.

class GlideElement {
  constructor(record, name) {
    this[STATE] = { record, name, column: record[STATE].schema.columns.get(name) || { type: 'string', label: name } };
    Object.defineProperty(this, STATE, { enumerable: false });
  }

  getRawValue() {
    const { record, name } = this[STATE];
    return record.getValue(name);
  }

  toString() {
    const { record, name } = this[STATE];
    const text = record[STATE].values[name];
    return text === undefined ? '' : text;
  }

  [Symbol.toPrimitive](hint) {
    const text = this.toString();
    if (this[STATE].column.type !== 'boolean' || hint === 'string') return text;
    const asText = comparing === 'string';
    comparing = null;
    return asText || text === '' ? text : text === 'true';
  }

  toJSON() {
    return this.toString();
  }

  setValue(value) {
    this[STATE].record.setValue(this[STATE].name, value);
  }

  setDisplayValue(text) {
    this[STATE].record.setDisplayValue(this[STATE].name, text);
  }

  getDisplayValue(length) {
    const { record, name, column } = this[STATE];
    const table = record.getRecordClassName();
    const sys_id = record.getUniqueValue() || '';
    const plain = column.plain && !isJournal(record[STATE], name);
    const text = plain ? this.toString() : ask('display', { table, element: name, value: this.toString(), sys_id });
    return length ? text.slice(0, Number(length)) : text;
  }

  getChoices() {
    // The list of the nearest class that has one.
    for (const table of this[STATE].record[STATE].schema.lineage) {
      const rows = new GlideRecord('sys_choice');
      rows.addQuery('name', table);
      rows.addQuery('element', this[STATE].name);
      rows.orderBy('sequence');
      rows.query();
      const values = [];
      while (rows.next()) values.push(rows.getValue('value'));
      if (values.length) return values;
    }
    return [];
  }

  getChoiceValue() {
    return this.getDisplayValue();
  }

  nil() {
    return this.toString() === '';
  }

  changes() {
    const { record, name } = this[STATE];
    const s = record[STATE];
    if (s.operation && s.previous === null && s.operation !== 'insert') return false;
    const before = s.previous || s.original;
    return (s.values[name] || '') !== ((s.operation === 'insert' ? '' : before[name]) || '');
  }

  changesTo(value) {
    return this.changes() && this.toString() === textOf(value);
  }

  changesFrom(value) {
    const s = this[STATE].record[STATE];
    const before = s.previous || s.original;
    return this.changes() && s.operation !== 'insert' && (before[this[STATE].name] || '') === textOf(value);
  }

  getReferenceTable() {
    return this[STATE].column.reference || null;
  }

  getRefRecord() {
    const { record, name, column } = this[STATE];
    const target = new GlideRecord(column.reference || '');
    const value = this.toString();
    if (!column.reference || value === '') return target;
    const known = record[STATE].walks.get(name);
    if (known && known.value === value) return known.target;
    target.get(column.reference_key || 'sys_id', value);
    record[STATE].walks.set(name, { value, target });
    return target;
  }

  getName() {
    return this[STATE].name;
  }

  getLabel() {
    return this[STATE].column.label;
  }

  getTableName() {
    return this[STATE].column.table || this[STATE].record.getTableName();
  }

  getED() {
    const { name, column } = this[STATE];
    return {
      getName: () => name,
      getLabel: () => column.label,
      getInternalType: () => column.type,
      getReference: () => column.reference || null,
      isReference: () => Boolean(column.reference),
      isChoiceTable: () => Boolean(column.choice),
      getLength: () => column.max_length || 40,
      isMandatory: () => Boolean(column.mandatory),
      isReadOnly: () => Boolean(column.read_only),
    };
  }

  getGlideObject() {
    const type = this[STATE].column.type;
    if (/duration|timer/.test(type)) return new GlideDuration(this.toString());
    return /date|time/.test(type) ? new GlideDateTime(this.toString() || '1970-01-01 00:00:00') : this;
  }

  dateNumericValue() {
    return new GlideDateTime(this.toString()).getNumericValue();
  }

  setDateNumericValue(value) {
    const moment = new GlideDateTime();
    moment.setNumericValue(value);
    this.setValue(moment.getValue());
  }

  getJournalEntry(count) {
    const { record, name } = this[STATE];
    const args = { table: record.getRecordClassName(), sys_id: record.getUniqueValue() || '', element: name };
    return ask('journal', { ...args, count: Math.trunc(Number(count)) || 0 });
  }

  canRead() {
    return this[STATE].record.canRead();
  }

  canWrite() {
    return this[STATE].record.canWrite();
  }
}

const referenceHandler = {
  get(target, key, receiver) {
    if (typeof key === 'symbol' || key in target) return Reflect.get(target, key, receiver);
    return target.getRefRecord()[key];
  },
};

function elementOf(record, name) {
  const element = new GlideElement(record, name);
  return element[STATE].column.reference ? new Proxy(element, referenceHandler) : element;
}

globalThis.GlideElement = GlideElement;
