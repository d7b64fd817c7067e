// sn_ws.RESTMessageV2: outbound HTTP. The host sends; whether a place may be reached is its decision.

class RESTResponseV2 {
  constructor(ticket, given) {
    this.ticket = ticket;
    this.given = given;
  }

  // What came back. With executeAsync this is where a script waits.
  get answer() {
    if (this.given === null) this.given = ask('outbound_answer', { ticket: this.ticket, seconds: 0 });
    return this.given;
  }

  waitForResponse(seconds) {
    if (this.given === null) this.given = ask('outbound_answer', { ticket: this.ticket, seconds: Number(seconds) || 0 });
  }

  getStatusCode() {
    return this.answer.status;
  }

  getBody() {
    return this.answer.body;
  }

  getHeader(name) {
    const wanted = textOf(name).toLowerCase();
    const found = this.answer.headers.find(([key]) => key.toLowerCase() === wanted);
    return found ? found[1] : null;
  }

  getHeaders() {
    return Object.fromEntries(this.answer.headers);
  }

  getAllHeaders() {
    return this.answer.headers.map(([name, value]) => ({ name, value }));
  }

  getCookies() {
    return this.answer.headers.filter(([name]) => name.toLowerCase() === 'set-cookie').map(([, value]) => value);
  }

  haveError() {
    return this.answer.error !== '';
  }

  getErrorCode() {
    return this.haveError() ? 1 : 0;
  }

  getErrorMessage() {
    return this.answer.error;
  }

  getQueryString() {
    return this.answer.query;
  }

  getEndpoint() {
    return this.answer.endpoint;
  }
}

class RESTMessageV2 {
  constructor(name, method) {
    this.asked = { endpoint: '', method: 'GET', headers: [], query: [], body: '', user: '', password: '', profile: '', timeout: 0 };
    Object.assign(this.asked, { mid_server: '', correlator: '', parameters: [] });
    this.variables = [];
    if (name !== undefined) {
      const saved = ask('rest_message', { name: textOf(name), method: textOf(method) });
      const { content, ...rest } = saved;
      Object.assign(this.asked, { ...rest, body: content });
    }
  }

  setEndpoint(url) {
    this.asked.endpoint = textOf(url);
  }

  getEndpoint() {
    return this.filled(this.asked.endpoint);
  }

  setHttpMethod(method) {
    this.asked.method = textOf(method).toUpperCase();
  }

  setRequestHeader(name, value) {
    const key = textOf(name).toLowerCase();
    this.asked.headers = this.asked.headers.filter(([known]) => known.toLowerCase() !== key);
    this.asked.headers.push([textOf(name), textOf(value)]);
  }

  getRequestHeaders() {
    return Object.fromEntries(this.asked.headers);
  }

  setQueryParameter(name, value) {
    this.asked.query.push([textOf(name), textOf(value)]);
  }

  setRequestBody(body) {
    this.asked.body = textOf(body);
  }

  getRequestBody() {
    return this.filled(this.asked.body);
  }

  setBasicAuth(user, password) {
    Object.assign(this.asked, { user: textOf(user), password: textOf(password), profile: '' });
  }

  setAuthenticationProfile(type, profile) {
    if (textOf(type) !== 'basic') throw new Refusal(`nowtwin has no authentication profile of type ${textOf(type)}`);
    this.asked.profile = textOf(profile);
  }

  setHttpTimeout(ms) {
    this.asked.timeout = Math.max(0, Math.trunc(Number(ms)) || 0);
  }

  setStringParameter(name, value) {
    this.variables.push([textOf(name), GlideStringUtil.escapeHTML(value)]);
  }

  setStringParameterNoEscape(name, value) {
    this.variables.push([textOf(name), textOf(value)]);
  }

  setMIDServer(name) {
    this.asked.mid_server = textOf(name);
  }

  setMutualAuth(_profile) {
    throw new Refusal('nowtwin has no mutual authentication');
  }

  // These two matter only with a MID server.
  setEccCorrelator(value) {
    this.asked.correlator = textOf(value);
  }

  setEccParameter(name, value) {
    this.asked.parameters.push([textOf(name), textOf(value)]);
  }

  filled(text) {
    return this.variables.reduce((done, [name, value]) => done.replaceAll(`\${${name}}`, value), text);
  }

  send() {
    const { timeout, headers, query, ...rest } = this.asked;
    const [filledHeaders, filledQuery] = [headers, query].map((pairs) => pairs.map(([name, value]) => [name, this.filled(value)]));
    const parts = { headers: filledHeaders, query: filledQuery, endpoint: this.getEndpoint(), body: this.getRequestBody() };
    return ask('outbound', { ...rest, ...parts, timeout_ms: timeout });
  }

  execute() {
    const response = new RESTResponseV2(this.send(), null);
    response.waitForResponse(0);
    return response;
  }

  executeAsync() {
    return new RESTResponseV2(this.send(), null);
  }
}

globalThis.sn_ws = { RESTMessageV2, RESTResponseV2 };
