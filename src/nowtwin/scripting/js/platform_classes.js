// The smaller classes that server scripts lean on: strings, digests, MACs, random numbers, and the class pattern.

const Class = {
  create() {
    return function Made(...args) {
      if (typeof this.initialize === 'function') this.initialize(...args);
    };
  },
};

Object.defineProperty(Object, 'extendsObject', {
  configurable: true,
  writable: true,
  value: (parent, members) => {
    const base = typeof parent === 'function' ? parent.prototype : parent;
    return Object.assign(Object.create(base), members);
  },
});

Object.defineProperty(Object, 'extend', {
  configurable: true,
  writable: true,
  value: (target, source) => Object.assign(target, source),
});

// What a client script would call; there is no client here, so a script include made from it is a class to be called.
class AbstractAjaxProcessor {
  initialize(request, responseXML, gc) {
    Object.assign(this, { request: request || null, responseXML: responseXML || null, gc: gc || null });
  }

  process() {
    return null;
  }

  getParameter(name) {
    return this.request && typeof this.request.getParameter === 'function' ? this.request.getParameter(name) : null;
  }

  getName() {
    return this.getParameter('sysparm_name');
  }

  getValue() {
    return this.getParameter('sysparm_value');
  }

  getType() {
    return this.getParameter('sysparm_type');
  }
}

class GlideTableHierarchy {
  constructor(table) {
    this.schema = schemas.of(textOf(table));
  }

  getTables() {
    return [...this.schema.lineage];
  }

  getBase() {
    return this.schema.lineage.at(-1) || '';
  }

  getRoot() {
    return this.getBase();
  }

  isBaseClass() {
    return this.schema.lineage.length === 1;
  }

  isSoloClass() {
    return this.isBaseClass() && this.getTableExtensions().length === 0;
  }

  hasExtensions() {
    return this.getTableExtensions().length > 0;
  }

  getTableExtensions() {
    return this.schema.classes.slice(1);
  }

  getAllExtensions() {
    return [...this.schema.classes];
  }
}

class TableUtils extends GlideTableHierarchy {
  tableExists() {
    return this.schema.valid;
  }

  getTableHierarchy() {
    return this.getTables();
  }

  getAbsoluteBase() {
    return this.getBase();
  }
}

const ESCAPES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const UNESCAPES = Object.fromEntries(Object.entries(ESCAPES).map(([plain, escaped]) => [escaped, plain]));

const GlideStringUtil = {
  base64Encode: (text) => gs.base64Encode(text),
  base64Decode: (text) => gs.base64Decode(text),
  escapeHTML: (text) => textOf(text).replace(/[&<>"']/g, (found) => ESCAPES[found]),
  unescapeHTML: (text) => textOf(text).replace(/&(amp|lt|gt|quot|#39);/g, (found) => UNESCAPES[found]),
  escapeQueryTermSeparator: (text) => textOf(text).replaceAll('^', '^^'),
  escapeTicks: (text) => textOf(text).replaceAll("'", "\\'"),
  newLinesToBreaks: (text) => textOf(text).replaceAll('\n', '<br/>'),
  stripHTML: (text) => textOf(text).replace(/<[^>]*>/g, ''),
  normalizeWhitespace: (text) => textOf(text).replace(/\s+/g, ' ').trim(),
  dos2unix: (text) => textOf(text).replaceAll('\r\n', '\n'),
  getNumeric: (text) => textOf(text).replace(/\D/g, ''),
  getHTMLValue: (text) => GlideStringUtil.newLinesToBreaks(GlideStringUtil.escapeHTML(text)),
  isEligibleSysID: (text) => /^[0-9a-f]{32}$/i.test(textOf(text)),
  isBase64: (text) => /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(textOf(text)),
  nil: (text) => nil(text),
  notNil: (text) => !nil(text),
};

class GlideDigest {}
for (const [name, algorithm] of [['MD5', 'md5'], ['SHA1', 'sha1'], ['SHA256', 'sha256']]) {
  GlideDigest.prototype[`get${name}Hex`] = (text) => ask('digest', { algorithm, text: textOf(text), form: 'hex' });
  GlideDigest.prototype[`get${name}Base64`] = (text) => ask('digest', { algorithm, text: textOf(text), form: 'base64' });
}

class CertificateEncryption {
  generateMac(key, algorithm, data) {
    return ask('mac', { key: textOf(key), algorithm: textOf(algorithm), data: textOf(data) });
  }
}

const GlideSecureRandomUtil = {
  getSecureRandomInt: () => ask('random_int', { bound: 0 }),
  getSecureRandomIntBound: (bound) => ask('random_int', { bound: Math.trunc(Number(bound)) || 0 }),
  getSecureRandomLong: () => ask('random_int', { bound: 0 }),
  getSecureRandomString: (length) => ask('random_text', { length: Math.trunc(Number(length)) || 0 }),
};

const JSUtil = {
  nil,
  notNil: (value) => !nil(value),
  has: (value) => value !== null && value !== undefined,
  isEmpty: (value) => Object.keys(value).length === 0,
  toBoolean: (value) => value === true || ['true', '1', 'yes'].includes(textOf(value).toLowerCase()),
};

class ArrayUtil {
  contains(list, value) {
    return list.includes(value);
  }

  indexOf(list, value, start) {
    return list.indexOf(value, start);
  }

  concat(first, second) {
    return first.concat(second);
  }

  convertArray(list) {
    return [...list];
  }

  unique(list) {
    return [...new Set(list)];
  }

  union(...lists) {
    return [...new Set(lists.flat())];
  }

  diff(first, ...others) {
    const gone = new Set(others.flat());
    return [...new Set(first)].filter((value) => !gone.has(value));
  }

  intersect(first, ...others) {
    return [...new Set(first)].filter((value) => others.every((list) => list.includes(value)));
  }
}

function getNextObjNumberPadded() {
  return ask('next_number', { table: run.table });
}

Object.assign(globalThis, {
  global: globalThis, AbstractAjaxProcessor, GlideTableHierarchy, TableUtils, Class, GlideStringUtil, GlideDigest, CertificateEncryption, GlideSecureRandomUtil, JSUtil, ArrayUtil,
  getNextObjNumberPadded,
});
