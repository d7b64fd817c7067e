// `gs` and the session's user.

function filled(message, args) {
  const values = args.length === 1 && Array.isArray(args[0]) ? args[0] : args;
  return textOf(message).replace(/\{(\d+)\}/g, (mark, at) => (Number(at) < values.length ? textOf(values[at]) : mark));
}

function log(level, message, source = '') {
  ask('log', { level, message: textOf(message), source: textOf(source) });
}

class GlideUser {
  getID() {
    return run.user.sys_id;
  }

  getName() {
    return run.user.user_name;
  }

  getFullName() {
    return run.user.name;
  }

  getDisplayName() {
    return run.user.name;
  }

  getFirstName() {
    return this.column('first_name');
  }

  getLastName() {
    return this.column('last_name');
  }

  getEmail() {
    return this.column('email');
  }

  getCompanyID() {
    return this.column('company');
  }

  getDepartmentID() {
    return this.column('department');
  }

  getManagerID() {
    return this.column('manager');
  }

  getTZ() {
    return ask('zone');
  }

  getRoles() {
    return [...run.roles];
  }

  getUserRoles() {
    return [...run.roles];
  }

  hasRole(names) {
    if (run.roles.has('admin')) return true;
    return textOf(names).split(',').some((name) => run.roles.has(name.trim()));
  }

  hasRoleExactly(name) {
    return run.roles.has(textOf(name));
  }

  hasRoles() {
    return run.roles.size > 0;
  }

  isMemberOf(group) {
    const rows = new GlideRecord('sys_user_grmember');
    rows.addQuery('user', run.user.sys_id);
    rows.addQuery('group', textOf(group)).addOrCondition('group.name', textOf(group));
    rows.setLimit(1);
    rows.query();
    return rows.next();
  }

  getMyGroups() {
    const rows = new GlideRecord('sys_user_grmember');
    const groups = [];
    rows.addQuery('user', run.user.sys_id);
    rows.query();
    while (rows.next()) groups.push(rows.getValue('group'));
    return groups;
  }

  column(name) {
    return ask('user_column', { name });
  }
}

const sessionData = new Map();

class GlideSession {
  getUserID() {
    return run.user.sys_id;
  }

  getUserName() {
    return run.user.user_name;
  }

  getUser() {
    return new GlideUser();
  }

  isInteractive() {
    return false;
  }

  isLoggedIn() {
    return true;
  }

  isImpersonating() {
    return false;
  }

  getLanguage() {
    return 'en';
  }

  getTimeZoneName() {
    return ask('zone');
  }

  getCurrentApplicationId() {
    return 'global';
  }

  putClientData(name, value) {
    sessionData.set(textOf(name), textOf(value));
  }

  getClientData(name) {
    return sessionData.get(textOf(name)) ?? null;
  }

  putProperty(name, value) {
    this.putClientData(name, value);
  }

  getProperty(name) {
    return this.getClientData(name);
  }
}

class GlideSystem {
  // -- who --

  getUserID() {
    return run.user.sys_id;
  }

  getUserName() {
    return run.user.user_name;
  }

  userID() {
    return run.user.sys_id;
  }

  getUserDisplayName() {
    return run.user.name;
  }

  getUser() {
    return new GlideUser();
  }

  getSession() {
    return new GlideSession();
  }

  hasRole(names) {
    return this.getUser().hasRole(names);
  }

  isInteractive() {
    return false;
  }

  isLoggedIn() {
    return true;
  }

  isMobile() {
    return false;
  }

  getCurrentApplicationId() {
    return 'global';
  }

  getCurrentApplicationScope() {
    return 'global';
  }

  getCurrentScopeName() {
    return 'rhino.global';
  }

  getCallerScopeName() {
    return null;
  }

  isCurrentApplicationInGlobalScope() {
    return true;
  }

  // -- properties, messages, log, events --

  getProperty(name, fallback) {
    const value = ask('property', { name: textOf(name) });
    if (value !== null) return value;
    return fallback === undefined ? null : fallback;
  }

  setProperty(name, value, description) {
    ask('set_property', { name: textOf(name), value: textOf(value), description: textOf(description) });
  }

  getMessage(key, ...args) {
    return filled(key, args);
  }

  addErrorMessage(message) {
    run.errors.push(textOf(message));
  }

  addErrorMessageNoSanitization(message) {
    this.addErrorMessage(message);
  }

  addInfoMessage(message) {
    run.infos.push(textOf(message));
  }

  addInfoMessageNoSanitization(message) {
    this.addInfoMessage(message);
  }

  getErrorMessages() {
    return [...run.errors];
  }

  getInfoMessages() {
    return [...run.infos];
  }

  flushMessages() {
    run.errors.length = 0;
    run.infos.length = 0;
  }

  log(message, source) {
    log('0', message, source);
  }

  print(message, ...args) {
    log('0', filled(message, args));
  }

  info(message, ...args) {
    log('0', filled(message, args));
  }

  warn(message, ...args) {
    log('1', filled(message, args));
  }

  error(message, ...args) {
    log('2', filled(message, args));
  }

  debug(message, ...args) {
    if (this.isDebugging()) log('-1', filled(message, args));
  }

  logWarning(message, source) {
    log('1', message, source);
  }

  logError(message, source) {
    log('2', message, source);
  }

  isDebugging() {
    return this.getProperty('glide.script.log.debug', 'false') === 'true';
  }

  eventQueue(name, record, first, second, queue) {
    this.eventQueueScheduled(name, record, first, second, null, queue);
  }

  eventQueueScheduled(name, record, first, second, when, queue) {
    const named = record instanceof GlideRecord;
    ask('event', {
      name: textOf(name),
      table: named ? record.getRecordClassName() : '',
      sys_id: named ? record.getUniqueValue() || '' : '',
      parm1: textOf(first),
      parm2: textOf(second),
      process_on: when ? textOf(when) : '',
      queue: textOf(queue),
    });
  }

  getSysTimeZone() {
    return this.getProperty('glide.sys.default.tz', 'UTC');
  }

  // Runs a scheduled script now, as its button does.
  executeNow(job) {
    return ask('execute_now', { name: job instanceof GlideRecord ? job.getUniqueValue() || '' : textOf(job) });
  }

  // -- small things --

  nil(value) {
    return nil(value);
  }

  include(name) {
    return includes.load(textOf(name));
  }

  tableExists(name) {
    return schemas.of(textOf(name)).valid;
  }

  generateGUID() {
    return ask('new_id');
  }

  base64Encode(text) {
    return ask('encode_base64', { text: textOf(text) });
  }

  base64Decode(text) {
    return ask('decode_base64', { text: textOf(text) });
  }

  urlEncode(text) {
    return encodeURIComponent(textOf(text)).replace(/%20/g, '+');
  }

  urlDecode(text) {
    return decodeURIComponent(textOf(text).replace(/\+/g, ' '));
  }

  xmlToJSON(text) {
    return ask('xml_to_json', { text: textOf(text) });
  }

  // -- time --

  now() {
    return ask('show_date', { value: ask('local_date') });
  }

  nowDateTime() {
    return new GlideDateTime().getDisplayValue();
  }

  nowNoTZ() {
    return new GlideDateTime().getValue();
  }

  getTimeZoneName() {
    return ask('zone');
  }

  dateDiff(start, end, numeric) {
    const [from, to] = [start, end].map((text) => {
      const moment = new GlideDateTime();
      moment.setDisplayValue(textOf(text));
      return moment;
    });
    const between = GlideDateTime.subtract(from, to);
    return numeric ? Math.trunc(between.getNumericValue() / 1000) : between.getDurationValue();
  }

  datePart(...args) {
    return args.map(textOf).join('@');
  }
}

const AGO = ['minutes', 'hours', 'days', 'weeks', 'months', 'quarters', 'years'];
const PERIODS = [
  'Today', 'Yesterday', 'Tomorrow', 'CurrentHour', 'ThisHour', 'LastHour', 'CurrentMinute', 'ThisMinute', 'LastMinute',
  'Last3Months', 'Last6Months', 'Last12Months',
  ...['Week', 'Month', 'Quarter', 'Year'].flatMap((unit) => [`This${unit}`, `Last${unit}`, `Next${unit}`]),
];
const DATE_HELPERS = [
  'dateGenerate',
  ...AGO.flatMap((unit) => [`${unit}Ago`, `${unit}AgoStart`, `${unit}AgoEnd`]),
  ...PERIODS.flatMap((period) => [`beginningOf${period}`, `endOf${period}`]),
];
for (const name of DATE_HELPERS) {
  GlideSystem.prototype[name] = (...args) => ask('date_helper', { name, args: args.map(textOf) });
}

const gs = new GlideSystem();
const GlideProperties = {
  get: (name, fallback) => gs.getProperty(name, fallback),
  set: (name, value) => gs.setProperty(name, value),
  getBoolean: (name, fallback) => gs.getProperty(name, String(Boolean(fallback))) === 'true',
  getInt: (name, fallback) => parseInt(gs.getProperty(name, String(fallback)), 10),
};
const SncTriggerSynchronizer = { executeNow: (job) => gs.executeNow(job) };
Object.assign(globalThis, { gs, SncTriggerSynchronizer, GlideUser, GlideSession, GlideSystem, GlideProperties });
