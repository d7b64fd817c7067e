// GlideDateTime, GlideDate, GlideTime and GlideDuration. Values are UTC texts; display texts and local calendar steps
// need the zone of the session's user, which the host knows.

const DAY = 86400000;
const pad = (number, width = 2) => String(number).padStart(width, '0');

function stampOf(ms) {
  const at = new HostDate(ms);
  const date = `${pad(at.getUTCFullYear(), 4)}-${pad(at.getUTCMonth() + 1)}-${pad(at.getUTCDate())}`;
  return `${date} ${pad(at.getUTCHours())}:${pad(at.getUTCMinutes())}:${pad(at.getUTCSeconds())}`;
}

function millisOf(text) {
  const found = /^\s*(\d{4})-(\d{1,2})-(\d{1,2})(?:[ T](\d{1,2}):(\d{2})(?::(\d{2}))?)?/.exec(text);
  if (!found) return NaN;
  const [year, month, day, hour, minute, second] = found.slice(1).map((part) => Number(part || 0));
  return HostDate.UTC(year, month - 1, day, hour, minute, second);
}

function span(value) {
  if (value instanceof GlideDuration) return value.getNumericValue();
  if (value instanceof GlideDateTime) return value.getNumericValue() % DAY;
  return Number(value) || 0;
}

function monthsLater(ms, months) {
  const at = new HostDate(ms);
  const day = at.getUTCDate();
  at.setUTCDate(1);
  at.setUTCMonth(at.getUTCMonth() + months);
  const last = new HostDate(HostDate.UTC(at.getUTCFullYear(), at.getUTCMonth() + 1, 0)).getUTCDate();
  return at.setUTCDate(Math.min(day, last));
}

class GlideDateTime {
  constructor(value) {
    this.error = null;
    this.ms = Math.floor(milliseconds() / 1000) * 1000;
    if (arguments.length) this.setValue(value);
  }

  static subtract(start, end) {
    return new GlideDuration(end.getNumericValue() - start.getNumericValue());
  }

  setValue(value) {
    const ms = typeof value === 'number' ? value : millisOf(textOf(value));
    this.error = Number.isNaN(ms) ? `Could not parse DateTime: ${textOf(value)}` : null;
    this.ms = Number.isNaN(ms) ? NaN : ms;
  }

  setValueUTC(value, _format) {
    this.setValue(value);
  }

  setDisplayValue(text, _format) {
    this.setValue(ask('read_date_time', { text: textOf(text) }));
  }

  setDisplayValueInternal(text) {
    this.setValue(textOf(text));
    this.ms -= this.getTZOffset();
  }

  setNumericValue(value) {
    this.ms = Number(value);
  }

  setTZ(_zone) {}

  isValid() {
    return this.error === null;
  }

  getErrorMsg() {
    return this.error || '';
  }

  getValue() {
    return Number.isNaN(this.ms) ? '' : stampOf(this.ms);
  }

  getUTCValue() {
    return this.getValue();
  }

  getDisplayValue() {
    return ask('show_date_time', { value: this.getValue() });
  }

  getDisplayValueInternal() {
    return stampOf(this.ms + this.getTZOffset());
  }

  getDisplayValueWithoutTZ() {
    return this.getDisplayValue();
  }

  getNumericValue() {
    return this.ms;
  }

  getTZOffset() {
    return ask('zone_offset', { value: this.getValue() });
  }

  toString() {
    return this.getValue();
  }

  toJSON() {
    return this.getValue();
  }

  // -- arithmetic --

  add(value) {
    this.ms += span(value);
  }

  subtract(value) {
    this.ms -= span(value);
  }

  addSeconds(count) {
    this.ms += Number(count) * 1000;
  }

  addDays(count) {
    this.ms += Number(count) * DAY;
  }

  addDaysUTC(count) {
    this.addDays(count);
  }

  addWeeks(count) {
    this.addDays(Number(count) * 7);
  }

  addWeeksUTC(count) {
    this.addWeeks(count);
  }

  addMonths(count) {
    this.ms = monthsLater(this.ms, Number(count));
  }

  addMonthsUTC(count) {
    this.addMonths(count);
  }

  addYears(count) {
    this.addMonths(Number(count) * 12);
  }

  addYearsUTC(count) {
    this.addYears(count);
  }

  addDaysLocalTime(count) {
    this.stepLocally((ms) => ms + Number(count) * DAY);
  }

  addWeeksLocalTime(count) {
    this.addDaysLocalTime(Number(count) * 7);
  }

  addMonthsLocalTime(count) {
    this.stepLocally((ms) => monthsLater(ms, Number(count)));
  }

  addYearsLocalTime(count) {
    this.addMonthsLocalTime(Number(count) * 12);
  }

  // The same clock time in the user's zone, whatever daylight saving does.
  stepLocally(step) {
    const local = step(this.ms + this.getTZOffset());
    this.ms = local - this.getTZOffset();
    this.ms = local - this.getTZOffset();
  }

  // -- comparison --

  compareTo(other) {
    const that = new GlideDateTime(textOf(other)).ms;
    return this.ms === that ? 0 : this.ms < that ? -1 : 1;
  }

  equals(other) {
    return this.compareTo(other) === 0;
  }

  before(other) {
    return this.compareTo(other) < 0;
  }

  after(other) {
    return this.compareTo(other) > 0;
  }

  onOrBefore(other) {
    return this.compareTo(other) <= 0;
  }

  onOrAfter(other) {
    return this.compareTo(other) >= 0;
  }

  hasDate() {
    return !Number.isNaN(this.ms);
  }

  // -- parts --

  isDST() {
    const year = this.getYearLocalTime();
    const offsets = [0, 6].map((month) => new GlideDateTime(stampOf(HostDate.UTC(year, month, 1))).getTZOffset());
    return this.getTZOffset() > Math.min(...offsets);
  }

  getDSTOffset() {
    return this.isDST() ? 3600000 : 0;
  }

  // The number of the week of which the first day is `start` (1 is Sunday), the week with January 1 being the first.
  getWeekOfYearUTC(start) {
    const first = HostDate.UTC(this.getYearUTC(), 0, 1);
    const shift = (new HostDate(first).getUTCDay() - ((Number(start) || 1) - 1) + 7) % 7;
    return Math.floor(((this.ms - first) / DAY + shift) / 7) + 1;
  }

  getWeekOfYearLocalTime(start) {
    return new GlideDateTime(this.getDisplayValueInternal()).getWeekOfYearUTC(start);
  }

  getDate() {
    return new GlideDate(stampOf(this.ms).slice(0, 10));
  }

  getLocalDate() {
    return new GlideDate(this.getDisplayValueInternal().slice(0, 10));
  }

  getTime() {
    return new GlideTime(this.ms % DAY);
  }

  getLocalTime() {
    return new GlideTime((this.ms + this.getTZOffset()) % DAY);
  }

  getYear() {
    return this.getYearLocalTime();
  }

  getYearUTC() {
    return new HostDate(this.ms).getUTCFullYear();
  }

  getYearLocalTime() {
    return new HostDate(this.ms + this.getTZOffset()).getUTCFullYear();
  }

  getMonth() {
    return this.getMonthLocalTime();
  }

  getMonthUTC() {
    return new HostDate(this.ms).getUTCMonth() + 1;
  }

  getMonthLocalTime() {
    return new HostDate(this.ms + this.getTZOffset()).getUTCMonth() + 1;
  }

  getDayOfMonth() {
    return this.getDayOfMonthLocalTime();
  }

  getDayOfMonthUTC() {
    return new HostDate(this.ms).getUTCDate();
  }

  getDayOfMonthLocalTime() {
    return new HostDate(this.ms + this.getTZOffset()).getUTCDate();
  }

  getDayOfWeek() {
    return this.getDayOfWeekLocalTime();
  }

  // Monday is 1.
  getDayOfWeekUTC() {
    return new HostDate(this.ms).getUTCDay() || 7;
  }

  getDayOfWeekLocalTime() {
    return new HostDate(this.ms + this.getTZOffset()).getUTCDay() || 7;
  }

  getDaysInMonthUTC() {
    return new HostDate(HostDate.UTC(this.getYearUTC(), this.getMonthUTC(), 0)).getUTCDate();
  }
}

class GlideDate extends GlideDateTime {
  constructor(value) {
    super(...(arguments.length ? [value] : []));
    this.ms -= this.ms % DAY;
  }

  getValue() {
    return super.getValue().slice(0, 10);
  }

  getDisplayValue() {
    return ask('show_date', { value: this.getValue() });
  }

  getByFormat(format) {
    return byFormat(this.ms, format);
  }
}

class GlideTime extends GlideDateTime {
  setValue(value) {
    super.setValue(/^\s*\d{1,2}:\d{2}(:\d{2})?\s*$/.test(textOf(value)) ? `1970-01-01 ${textOf(value).trim()}` : value);
  }

  getHourUTC() {
    return new HostDate(this.ms).getUTCHours();
  }

  getHourOfDayUTC() {
    return this.getHourUTC();
  }

  getMinutesUTC() {
    return new HostDate(this.ms).getUTCMinutes();
  }

  getSeconds() {
    return new HostDate(this.ms).getUTCSeconds();
  }

  getByFormat(format) {
    return byFormat(this.ms, format);
  }

  getDisplayValue() {
    return stampOf(this.ms).slice(11);
  }
}

const FORMATS = /yyyy|MM|dd|HH|mm|ss/g;

function byFormat(ms, format) {
  const stamp = stampOf(ms);
  const parts = { yyyy: [0, 4], MM: [5, 7], dd: [8, 10], HH: [11, 13], mm: [14, 16], ss: [17, 19] };
  return textOf(format).replace(FORMATS, (found) => stamp.slice(...parts[found]));
}

class GlideDuration {
  constructor(value) {
    this.ms = 0;
    if (typeof value === 'number') this.ms = value;
    else if (value instanceof GlideDuration) this.ms = value.ms;
    else if (value !== undefined) this.setValue(textOf(value));
  }

  // A stored value, `1970-01-02 03:00:00`, or days and time, `1 03:00:00`.
  setValue(text) {
    const found = /^\s*(?:(\d+)\s+)?(\d{1,2}):(\d{2}):(\d{2})\s*$/.exec(text);
    if (found) {
      const [days, hours, minutes, seconds] = found.slice(1).map((part) => Number(part || 0));
      this.ms = days * DAY + ((hours * 60 + minutes) * 60 + seconds) * 1000;
    } else this.ms = millisOf(text) || 0;
  }

  getValue() {
    return stampOf(this.ms);
  }

  getNumericValue() {
    return this.ms;
  }

  getDayPart() {
    return Math.trunc(this.ms / DAY);
  }

  getByFormat(format) {
    return byFormat(this.ms, format);
  }

  getRoundedDayPart() {
    return Math.round(this.ms / DAY);
  }

  getDurationValue() {
    const days = this.getDayPart();
    const time = stampOf(Math.abs(this.ms)).slice(11);
    return days ? `${days} ${time}` : time;
  }

  getDisplayValue() {
    return ask('show_duration', { value: this.getValue() });
  }

  add(other) {
    return new GlideDuration(this.ms + span(other));
  }

  subtract(other) {
    return new GlideDuration(this.ms - span(other));
  }

  toString() {
    return this.getValue();
  }
}

Object.assign(globalThis, { GlideDateTime, GlideDate, GlideTime, GlideDuration });
