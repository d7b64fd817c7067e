// The ground the files behind it stand on: calls to the host, the run that is going on, compiled programs, and cleaning up.
// All files of this folder are one function scope, in the order that process.py names.

const host = globalThis.$host;
delete globalThis.$host;
const { parse, stringify } = JSON;
const HostDate = Date;
const PRELUDE_LINE = 100000;
const programs = new Map();
let run = null;

class Refusal extends Error {}

// JSON without lone surrogates, which are no text outside of JavaScript.
function told(value) {
  const text = stringify(value);
  if (!/\\ud[89a-f]/i.test(text)) return text;
  return stringify(value, (_, part) => (typeof part === 'string' ? part.toWellFormed() : part));
}

function ask(call, args) {
  const reply = parse(host(told({ call, args: args === undefined ? {} : args })));
  if (reply.error !== undefined) throw new Refusal(reply.error);
  return reply.value;
}

// The stored text of anything that a script assigns or passes.
function textOf(value) {
  if (value === null || value === undefined) return '';
  if (typeof value === 'string') return value;
  if (value instanceof GlideRecord) return value.getUniqueValue() || '';
  if (value instanceof GlideElement) return value.toString();
  if (value instanceof GlideDateTime || value instanceof GlideDuration) return value.getValue();
  if (Array.isArray(value)) return value.map(textOf).join(',');
  return String(value);
}

function nil(value) {
  return textOf(value) === '';
}

function milliseconds() {
  return run.now + (HostDate.now() - run.began) * run.rate;
}

// `Date` at the twin's clock.
globalThis.Date = new Proxy(HostDate, {
  construct: (target, args, made) => Reflect.construct(target, args.length ? args : [milliseconds()], made),
  apply: () => new HostDate(milliseconds()).toString(),
  get: (target, key) => (key === 'now' ? () => Math.floor(milliseconds()) : target[key]),
});
Object.defineProperty(HostDate.prototype, 'constructor', { value: globalThis.Date, writable: true, configurable: true });

// -- programs -----------------------------------------------------------------------------------------------------

const PARAMETERS = '(current, previous, g_scratchpad, parent, workflow, request, response, event)';
const indirectEval = eval;

function program(key, source, wrap) {
  let made = programs.get(key);
  if (made === undefined) {
    made = wrap(comparable(source));
    programs.set(key, made);
  }
  return made;
}

function statements(source) {
  return indirectEval(`(function $script${PARAMETERS} {${source}\n})`);
}

// An expression, or statements of which the last value counts.
function expression(source) {
  try {
    return indirectEval(`(function $script${PARAMETERS} {return (${source.trim().replace(/;+$/, '')}\n)})`);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return indirectEval(`(function $script${PARAMETERS} {return eval(${stringify(source)})})`);
  }
}

// What went wrong, and on which line of the script (0: unknown). Lines from PRELUDE_LINE on are those of these files.
function describe(error) {
  const stack = error instanceof Error && typeof error.stack === 'string' ? error.stack : '';
  const lines = [...stack.matchAll(/<input>:(\d+)/g)].map((found) => Number(found[1]));
  let message = 'uncaught exception';
  try {
    message = String(error);
  } catch (_) {
    // an object that cannot be told as text
  }
  return { message, line: lines.find((line) => line < PRELUDE_LINE) || 0, fatal: error instanceof InternalError };
}

const InternalError = globalThis.InternalError;

// -- runs ---------------------------------------------------------------------------------------------------------

function begin(frame) {
  const outer = run;
  run = {
    user: frame.user,
    roles: new Set(frame.user.roles),
    now: frame.now,
    rate: frame.rate,
    began: HostDate.now(),
    table: frame.table,
    errors: outer ? outer.errors : [],
    infos: outer ? outer.infos : [],
  };
  comparing = null;
  return outer;
}

// -- between transactions -----------------------------------------------------------------------------------------

// What scripts did to globals and to what is built in does not reach the next transaction. Watched properties can be
// assigned, but not turned into getters, so that looking at them runs no script.
const watched = [];
const baseline = new Set();
const { ownKeys } = Reflect;

function watch(object) {
  const keys = ownKeys(object);
  const kept = [];
  const values = [];
  for (const key of keys) {
    const descriptor = Object.getOwnPropertyDescriptor(object, key);
    if (descriptor.configurable) Object.defineProperty(object, key, { configurable: false });
    if (descriptor.writable) {
      kept.push(key);
      values.push(descriptor.value);
    }
  }
  watched.push({ object, keys: new Set(keys), kept, values });
}

// What scripts extend or inherit from and then assign to is watched; everything else is frozen, which costs nothing later.
const OPEN = new Set(['Array', 'Boolean', 'Date', 'Error', 'Function', 'Number', 'Object', 'RegExp', 'String']);

function rememberGlobals() {
  watch(HostDate);
  for (const name of ownKeys(globalThis)) {
    const value = globalThis[name];
    baseline.add(name);
    if (value === globalThis || value === null || (typeof value !== 'object' && typeof value !== 'function')) continue;
    for (const object of [value, typeof value === 'function' ? value.prototype : null]) {
      if (object && OPEN.has(name)) watch(object);
      else if (object) Object.freeze(object);
    }
  }
  watch(globalThis);
}

function sweep() {
  if (includes.used) includes.withdraw();
  for (let i = 0; i < watched.length; i++) {
    const { object, keys, kept, values } = watched[i];
    for (let k = 0; k < kept.length; k++) {
      if (object[kept[k]] !== values[k]) object[kept[k]] = values[k];
    }
    const now = ownKeys(object);
    if (now.length !== keys.size) dropNew(object, now, keys);
  }
  if (includes.used) includes.offer();
}

function dropNew(object, now, keys) {
  for (const key of now) {
    if (!keys.has(key) && !(object === globalThis && includes.offered.has(key))) delete object[key];
  }
}

// -- script includes: getters on the global object, so that a name is loaded when it is first used ----------------

const includes = {
  revision: -1,
  names: [],
  offered: new Set(),
  used: false,

  follow(revision) {
    if (revision === this.revision) return;
    this.withdraw();
    this.revision = revision;
    this.names = ask('includes');
    this.offer();
  },

  withdraw() {
    for (const name of this.offered) delete globalThis[name];
    this.offered.clear();
  },

  offer() {
    this.used = false;
    for (const [scope, name] of this.names) {
      const top = scope === 'global' ? name : scope;
      if (baseline.has(top)) continue;
      this.offered.add(top);
      if (scope === 'global') this.define(globalThis, name, name);
      else {
        if (!Object.hasOwn(globalThis, scope)) globalThis[scope] = {};
        this.define(globalThis[scope], name, `${scope}.${name}`);
      }
    }
  },

  define(place, name, api) {
    const put = (value) => Object.defineProperty(place, name, { value, writable: true, configurable: true, enumerable: true });
    const get = () => {
      const source = ask('include', { name: api });
      this.used = true;
      put(undefined);
      if (place === globalThis) indirectEval(comparable(source));
      else put(indirectEval(`(function () {${comparable(source)}\nreturn ${name};})()`));
      return place[name];
    };
    Object.defineProperty(place, name, { configurable: true, enumerable: false, set: put, get });
  },

  load(name) {
    const found = this.names.find(([scope, own]) => own === name || `${scope}.${own}` === name);
    if (found === undefined) return false;
    const [scope, own] = found;
    void (scope === 'global' ? globalThis : globalThis[scope])[own];
    return true;
  },
};

function execute(frame) {
  const current = recordOfFrame(frame);
  const previous = frame.previous ? frozenRecord(frame.table, frame.previous) : null;
  const scratchpad = {};
  const result = { ran: true };
  const event = frame.event ? frozenRecord('sysevent', frame.event) : null;
  const request = frame.request ? new RESTAPIRequest(frame.request) : null;
  const response = frame.request ? new RESTAPIResponse() : null;
  const call = (made) => made.call(globalThis, current, previous, scratchpad, null, null, request, response, event);
  try {
    if (frame.condition) {
      result.ran = false;
      const held = call(program(`${frame.key}?`, frame.condition, expression));
      result.ran = held instanceof GlideElement ? Boolean(held[Symbol.toPrimitive]('default')) : Boolean(held);
    }
    if (result.ran) {
      applyTemplate(current, frame.template, call);
      if (frame.script) result.value = call(program(frame.key, frame.script, frame.expression ? expression : statements));
    }
    if (response) result.answer = answerOf(response, result.value);
  } catch (error) {
    if (response && error instanceof ServiceError) result.answer = errorOf(error);
    else result.error = describe(error);
  }
  result.value = result.value === undefined || result.value === null ? null : textOf(result.value);
  result.scratchpad = frame.wants_scratchpad ? parse(stringify(scratchpad)) : null;
  return Object.assign(result, outcomeOf(current));
}

// `=` sets a value (which may be a script), SAMEAS copies another column.
function applyTemplate(current, template, call) {
  for (const [element, operator, value] of template) {
    if (operator === 'SAMEAS') current.setValue(element, current.getValue(value));
    else if (value.startsWith('javascript:')) {
      const source = value.slice('javascript:'.length);
      current.setValue(element, call(program(`=${source}`, source, expression)));
    } else current.setValue(element, value);
  }
}

// A frame to run; without one, the transaction is over.
function invoke(text) {
  if (text === '') {
    sweep();
    return '';
  }
  const frame = parse(text);
  const outer = begin(frame);
  try {
    schemas.follow(frame.revision);
    includes.follow(frame.includes_revision);
    return told(execute(frame));
  } finally {
    run = outer;
  }
}
