// GlideAggregate: groups instead of rows; the host counts.

class GlideAggregate extends GlideRecord {
  constructor(table) {
    super(table);
    Object.assign(this[STATE], { measures: [], groups: [], having: [], measureOrder: [], grouped: true, results: [], result: null });
  }

  addAggregate(name, field) {
    const fn = textOf(name).toLowerCase();
    this[STATE].measures.push([fn, textOf(field)]);
    // COUNT of a column counts each of its values apart.
    if (fn === 'count' && field !== undefined && field !== null && !this[STATE].groups.includes(textOf(field))) {
      this[STATE].groups.push(textOf(field));
    }
  }

  groupBy(field) {
    if (!this[STATE].groups.includes(textOf(field))) this[STATE].groups.push(textOf(field));
  }

  setGroup(on) {
    this[STATE].grouped = Boolean(on);
  }

  addHaving(name, field, operator, value) {
    const four = arguments.length === 4;
    this[STATE].having.push([textOf(name).toLowerCase(), four ? textOf(field) : '', textOf(four ? operator : field), textOf(four ? value : operator)]);
  }

  orderByAggregate(name, field) {
    this[STATE].measureOrder.push([textOf(name).toLowerCase(), textOf(field), true]);
  }

  query() {
    const s = this[STATE];
    const args = { measures: s.measures, groups: s.grouped ? s.groups : [], having: s.having, measure_order: s.measureOrder };
    s.results = ask('aggregate', { ...asked(s), ...args });
    Object.assign(s, { count: s.results.length, at: -1, cursor: null });
  }

  next() {
    const s = this[STATE];
    if (s.at + 1 >= s.results.length) return false;
    s.at += 1;
    s.result = s.results[s.at];
    fill(s, { ...s.result.keys });
    return true;
  }

  getAggregate(name, field) {
    const s = this[STATE];
    if (!s.result) return null;
    const fn = textOf(name).toLowerCase();
    const value = s.result.measured[fn === 'count' ? 'count' : `${fn} ${textOf(field)}`];
    return value === undefined ? null : value;
  }

  getTotal(name, field) {
    return this.getAggregate(name, field);
  }

  getQuery() {
    return this.getEncodedQuery();
  }
}

globalThis.GlideAggregate = GlideAggregate;
