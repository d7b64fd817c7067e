// GlideRecord and its elements. A record keeps the stored texts of its columns; what a script sets stays here until
// insert() or update(), or, for the `current` of a before rule, until the host collects it.

const STATE = Symbol('state');
const SYSTEM = new Set(['sys_id', 'sys_created_on', 'sys_created_by', 'sys_updated_on', 'sys_updated_by', 'sys_mod_count']);
const OPERATORS = new Map([['CONTAINS', 'LIKE'], ['DOES NOT CONTAIN', 'NOT LIKE'], ['NOTLIKE', 'NOT LIKE'], ['==', '=']]);

const schemas = {
  revision: -1,
  known: new Map(),

  follow(revision) {
    if (revision !== this.revision) this.known.clear();
    this.revision = revision;
  },

  of(table) {
    let schema = this.known.get(table);
    if (schema === undefined) {
      schema = ask('schema', { table });
      schema.columns = new Map(Object.entries(schema.columns));
      this.known.set(table, schema);
    }
    return schema;
  },
};

const recordHandler = {
  get(target, key, receiver) {
    if (typeof key === 'symbol' || key in target) return Reflect.get(target, key, receiver);
    return target[STATE].schema.columns.has(key) ? elementOf(receiver, key) : undefined;
  },
  set(target, key, value, receiver) {
    if (typeof key === 'string' && !(key in target) && target[STATE].schema.columns.has(key)) {
      receiver.setValue(key, value);
      return true;
    }
    return Reflect.set(target, key, value);
  },
  has: (target, key) => key in target || target[STATE].schema.columns.has(key),
  ownKeys: (target) => [STATE, ...target[STATE].schema.columns.keys()],
  getOwnPropertyDescriptor(target, key) {
    if (key === STATE) return Reflect.getOwnPropertyDescriptor(target, key);
    return { value: undefined, writable: true, enumerable: true, configurable: true };
  },
};

class GlideQueryCondition {
  constructor(clauses, clause) {
    this.clauses = clauses;
    this.clause = clause;
  }

  addOrCondition(field, operator, value) {
    this.clause.push(termOf(field, operator, value, arguments.length));
    return this;
  }

  addCondition(field, operator, value) {
    const clause = [termOf(field, operator, value, arguments.length)];
    this.clauses.push(clause);
    return new GlideQueryCondition(this.clauses, clause);
  }
}

function termOf(field, operator, value, count) {
  if (count < 3) return [textOf(field), '=', textOf(operator)];
  const sign = textOf(operator).trim().toUpperCase();
  return [textOf(field), OPERATORS.get(sign) || sign, textOf(value)];
}

class GlideRecord {
  constructor(table) {
    const name = textOf(table);
    const schema = schemas.of(name);
    this[STATE] = {
      table: name, schema, values: {}, original: {}, previous: null, stored: false, operation: '',
      clauses: [], encoded: [], joins: [], order: [], first: 0, limit: null, cursor: null, count: 0, at: -1, chunk: [], chunkAt: 0,
      touched: new Set(), walks: new Map(),
      workflow: true, autoSysFields: true, force: false, aborted: false, secure: new.target === GlideRecordSecure, lastError: null,
    };
    Object.defineProperty(this, STATE, { enumerable: false, configurable: true });
    return new Proxy(this, recordHandler);
  }

  // -- queries --

  addQuery(field, operator, value) {
    if (arguments.length === 1) {
      this.addEncodedQuery(field);
      return new GlideQueryCondition(this[STATE].clauses, []);
    }
    const clause = [termOf(field, operator, value, arguments.length)];
    this[STATE].clauses.push(clause);
    return new GlideQueryCondition(this[STATE].clauses, clause);
  }

  addEncodedQuery(query) {
    this[STATE].encoded.push(textOf(query));
  }

  addNullQuery(field) {
    return this.addQuery(field, 'ISEMPTY', '');
  }

  addNotNullQuery(field) {
    return this.addQuery(field, 'ISNOTEMPTY', '');
  }

  // Only records with a partner in the other table; conditions on what comes back are about the partner.
  addJoinQuery(table, field, partnerField) {
    const name = textOf(table);
    const own = this[STATE].table;
    const join = { table: name, field: textOf(field) || 'sys_id', partner: textOf(partnerField), clauses: [] };
    if (!join.partner) {
      const columns = [...schemas.of(name).columns];
      join.partner = (columns.find(([, column]) => column.reference === own) || ['sys_id'])[0];
    }
    this[STATE].joins.push(join);
    return new GlideQueryCondition(join.clauses, []);
  }

  // One domain is all there is.
  addDomainQuery(_record) {}

  queryNoDomain(_on) {}

  applyEncodedQuery(query) {
    for (const part of textOf(query).split('^')) {
      const found = /^(\w+)=(.*)$/.exec(part);
      if (found) this.setValue(found[1], found[2]);
    }
  }

  addActiveQuery() {
    return this.addQuery('active', 'true');
  }

  addInactiveQuery() {
    return this.addQuery('active', 'false');
  }

  orderBy(field) {
    this[STATE].order.push([textOf(field), false]);
  }

  orderByDesc(field) {
    this[STATE].order.push([textOf(field), true]);
  }

  setLimit(count) {
    this[STATE].limit = Math.max(0, Math.trunc(Number(count)) || 0);
  }

  chooseWindow(first, last) {
    this[STATE].first = Math.max(0, Math.trunc(Number(first)) || 0);
    this[STATE].limit = Math.max(0, (Math.trunc(Number(last)) || 0) - this[STATE].first);
  }

  getEncodedQuery() {
    const s = this[STATE];
    return ask('encoded', asked(s));
  }

  query(field, value) {
    const s = this[STATE];
    if (arguments.length === 2) this.addQuery(field, value);
    const found = ask('query', asked(s));
    Object.assign(s, { cursor: found.cursor, count: found.count, chunk: found.rows, chunkAt: 0, at: -1 });
  }

  _query(...args) {
    return this.query(...args);
  }

  hasNext() {
    return this[STATE].at + 1 < this[STATE].count;
  }

  next() {
    const s = this[STATE];
    if (s.cursor === null) return false;
    while (s.at + 1 < s.count) {
      s.at += 1;
      if (s.at >= s.chunkAt + s.chunk.length) {
        s.chunkAt = s.at;
        s.chunk = ask('fetch', { cursor: s.cursor, at: s.at });
      }
      const row = s.chunk[s.at - s.chunkAt];
      if (row) {
        fill(s, row);
        return true;
      }
    }
    return false;
  }

  _next() {
    return this.next();
  }

  get(field, value) {
    const s = this[STATE];
    const [name, wanted] = arguments.length === 1 ? ['sys_id', textOf(field)] : [textOf(field), textOf(value)];
    const row = ask('get', { table: s.table, field: name, value: wanted, secure: s.secure, workflow: s.workflow });
    if (row) fill(s, row);
    return row !== null;
  }

  getRowCount() {
    return this[STATE].count;
  }

  getLocation() {
    return this[STATE].at;
  }

  rewind() {
    this[STATE].at = -1;
  }

  // -- what it is --

  getTableName() {
    return this[STATE].table;
  }

  getRecordClassName() {
    return this[STATE].values.sys_class_name || this[STATE].table;
  }

  getUniqueValue() {
    return this[STATE].values.sys_id || null;
  }

  getLabel() {
    return this[STATE].schema.label;
  }

  getPlural() {
    return `${this.getLabel()}s`;
  }

  getED() {
    const { label } = this[STATE].schema;
    return { getName: () => this[STATE].table, getLabel: () => label, getInternalType: () => 'collection' };
  }

  instanceOf(table) {
    return this[STATE].schema.lineage.includes(textOf(table));
  }

  nil(field) {
    return nil(this.getValue(field));
  }

  hasAttachments() {
    const files = new GlideRecord('sys_attachment');
    files.addQuery('table_name', this.getRecordClassName());
    files.addQuery('table_sys_id', this.getUniqueValue());
    files.setLimit(1);
    files.query();
    return files.hasNext();
  }

  getClassDisplayValue() {
    return schemas.of(this.getRecordClassName()).label;
  }

  getDisplayName() {
    return this[STATE].schema.display;
  }

  getLink(withoutStack) {
    const id = this.getUniqueValue() || '-1';
    return `${ask('url')}/${this[STATE].table}.do?sys_id=${id}${withoutStack ? '' : `&sysparm_stack=${this[STATE].table}_list.do?sysparm_query=active=true`}`;
  }

  isValid() {
    return this[STATE].schema.valid;
  }

  isValidField(field) {
    return this[STATE].schema.columns.has(textOf(field));
  }

  isValidRecord() {
    return this[STATE].stored;
  }

  isNewRecord() {
    const s = this[STATE];
    return s.operation === 'insert' || (!s.stored && s.operation === '');
  }

  operation() {
    return this[STATE].operation || null;
  }

  canRead() {
    return this.allowed('read');
  }

  canWrite() {
    return this.allowed('write');
  }

  canCreate() {
    return this.allowed('create');
  }

  canDelete() {
    return this.allowed('delete');
  }

  // -- values --

  getValue(field) {
    const name = textOf(field);
    const s = this[STATE];
    if (name.includes('.')) return walk(this, name).getRawValue();
    const column = s.schema.columns.get(name);
    const text = s.values[name];
    if (!column || text === undefined || text === '') return null;
    if (column.type === 'boolean') return text === 'true' ? '1' : '0';
    return text;
  }

  setValue(field, value) {
    const s = this[STATE];
    const name = textOf(field);
    if (!s.schema.columns.has(name)) return;
    s.values[name] = textOf(value);
    if (s.schema.columns.get(name).type === 'boolean' && /^(1|0)$/.test(s.values[name])) {
      s.values[name] = s.values[name] === '1' ? 'true' : 'false';
    }
    s.touched.add(name);
  }

  setDisplayValue(field, text) {
    const name = textOf(field);
    this.setValue(name, ask('from_display', { table: this[STATE].table, element: name, text: textOf(text) }));
  }

  getDisplayValue(field) {
    const s = this[STATE];
    const name = field === undefined ? s.schema.display : textOf(field);
    return walk(this, name).getDisplayValue();
  }

  getElement(field) {
    return walk(this, textOf(field));
  }

  getElements() {
    return [...this[STATE].schema.columns.keys()].map((name) => elementOf(this, name));
  }

  getFields() {
    return this.getElements();
  }

  changes() {
    return this.getElements().some((element) => element.changes());
  }

  initialize() {
    Object.assign(this[STATE], { values: {}, original: {}, stored: false, touched: new Set(), walks: new Map() });
  }

  newRecord() {
    this.initialize();
    this[STATE].values = ask('defaults', { table: this[STATE].table });
    for (const name of Object.keys(this[STATE].values)) this[STATE].touched.add(name);
  }

  setNewGuid() {
    this.setNewGuidValue(gs.generateGUID());
    return this.getUniqueValue();
  }

  setNewGuidValue(id) {
    this[STATE].values.sys_id = textOf(id);
    this[STATE].touched.add('sys_id');
  }

  // -- writes --

  insert() {
    const s = this[STATE];
    // A record that was read is copied under a new sys_id.
    const values = Object.fromEntries(Object.entries(s.values).filter(([name]) => s.touched.has(name) || !SYSTEM.has(name)));
    return written(s, ask('insert', { table: s.table, values, manner: mannerOf(s) }));
  }

  update(_reason) {
    const s = this[STATE];
    if (!s.stored && s.operation === '') return this.insert();
    return written(s, ask('update', { table: s.table, sys_id: s.values.sys_id, values: changesOf(s), manner: mannerOf(s) }));
  }

  updateMultiple() {
    const s = this[STATE];
    const values = Object.fromEntries([...s.touched].map((name) => [name, s.values[name]]));
    const each = new this.constructor(s.table);
    Object.assign(each[STATE], { clauses: s.clauses, encoded: s.encoded, joins: s.joins, order: s.order, limit: s.limit, first: s.first });
    Object.assign(each[STATE], { workflow: s.workflow, autoSysFields: s.autoSysFields, force: s.force });
    each.query();
    while (each.next()) {
      for (const name of Object.keys(values)) each.setValue(name, values[name]);
      each.update();
    }
  }

  deleteRecord() {
    const s = this[STATE];
    if (!s.values.sys_id) return false;
    const reply = ask('delete', { table: s.table, sys_id: s.values.sys_id, manner: mannerOf(s) });
    s.lastError = reply.refused;
    return reply.refused === null;
  }

  deleteMultiple() {
    const s = this[STATE];
    if (s.cursor === null) this.query();
    while (this.next()) this.deleteRecord();
  }

  setUseEngines(on) {
    this.setWorkflow(on);
  }

  setWorkflow(on) {
    this[STATE].workflow = Boolean(on);
  }

  autoSysFields(on) {
    this[STATE].autoSysFields = Boolean(on);
  }

  setForceUpdate(on) {
    this[STATE].force = Boolean(on);
  }

  setAbortAction(on) {
    this[STATE].aborted = Boolean(on);
  }

  isActionAborted() {
    return this[STATE].aborted;
  }

  getLastErrorMessage() {
    return this[STATE].lastError;
  }

  toString() {
    return '[object GlideRecord]';
  }

  // Not part of the platform's API: asks the host about the rights of the session's user.
  allowed(operation) {
    const s = this[STATE];
    return ask('allowed', { table: s.table, sys_id: s.values.sys_id || '', operation });
  }
}

class GlideRecordSecure extends GlideRecord {}

function asked(s) {
  return {
    table: s.table, clauses: s.clauses, encoded: [...s.encoded, ...s.joins.map((join) => joined(s.table, join))], order: s.order, first: s.first, limit: s.limit,
    secure: s.secure, workflow: s.workflow,
  };
}

// `JOIN` with the conditions on the partner behind `!`; as encoded queries go, the last part of one.
function joined(table, { table: other, field, partner, clauses }) {
  const conditions = clauses.map((clause) => clause.map((term) => term.join('')).join('^OR')).join('^');
  return `JOIN${table}.${field}=${other}.${partner}!${conditions}`;
}

function mannerOf(s) {
  return { workflow: s.workflow, auto_sys_fields: s.autoSysFields, force: s.force, secure: s.secure };
}

function changesOf(s) {
  const changed = {};
  for (const name of s.touched) {
    if (isJournal(s, name) ? s.values[name] : s.values[name] !== (s.original[name] || '')) changed[name] = s.values[name];
  }
  return changed;
}

function isJournal(s, name) {
  const column = s.schema.columns.get(name);
  return Boolean(column) && column.type.startsWith('journal');
}

function fill(s, row) {
  Object.assign(s, { values: row, original: { ...row }, previous: null, stored: true, touched: new Set(), walks: new Map() });
}

function written(s, reply) {
  s.lastError = reply.refused;
  if (reply.refused !== null) return null;
  const operation = s.operation;
  const previous = s.previous;
  fill(s, reply.values);
  if (operation) s.previous = previous;
  return reply.values.sys_id;
}

function walk(record, path) {
  const [head, ...rest] = path.split('.');
  let element = elementOf(record, head);
  for (const step of rest) element = elementOf(element.getRefRecord(), step);
  return element;
}

// -- records of a run ---------------------------------------------------------------------------------------------

function recordOfFrame(frame) {
  if (!frame.table) return null;
  const record = new GlideRecord(frame.table);
  const s = record[STATE];
  s.values = frame.values;
  s.original = { ...frame.values };
  s.previous = frame.previous;
  s.operation = frame.operation;
  s.stored = frame.operation !== 'query' && !(frame.operation === 'insert' && frame.when === 'before');
  return record;
}

function frozenRecord(table, values) {
  const record = new GlideRecord(table);
  fill(record[STATE], values);
  return record;
}

function outcomeOf(record) {
  if (record === null) return { changes: {}, aborted: false, workflow: true, auto_sys_fields: true, query: null };
  const s = record[STATE];
  const query = s.operation === 'query' ? asked(s) : null;
  return { changes: changesOf(s), aborted: s.aborted, workflow: s.workflow, auto_sys_fields: s.autoSysFields, query };
}

Object.assign(globalThis, { GlideRecord, GlideRecordSecure });
