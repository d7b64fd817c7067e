// Scripted REST APIs: `request` and `response` of a resource's script, and the errors it may raise.

class ServiceError {
  constructor(message) {
    Object.assign(this, { status: 500, message: textOf(message), detail: '' });
  }

  setStatus(status) {
    this.status = Math.trunc(Number(status)) || 500;
  }

  setMessage(message) {
    this.message = textOf(message);
  }

  setDetail(detail) {
    this.detail = textOf(detail);
  }
}

const sn_ws_err = { ServiceError };
const ERRORS = {
  BadRequestError: 400, UnauthorizedError: 401, ForbiddenError: 403, NotFoundError: 404, NotAcceptableError: 406,
  ConflictError: 409, UnsupportedMediaTypeError: 415,
};
for (const [name, status] of Object.entries(ERRORS)) {
  sn_ws_err[name] = class extends ServiceError {
    constructor(message) {
      super(message);
      this.status = status;
    }
  };
}

class RESTAPIRequestBody {
  constructor(text, parsed) {
    Object.assign(this, { dataString: text, dataStream: text, parsed });
    this.at = 0;
  }

  get data() {
    if (this.parsed === null) throw new sn_ws_err.BadRequestError('Exception while reading request');
    return this.parsed.value;
  }

  entries() {
    return Array.isArray(this.data) ? this.data : [this.data];
  }

  hasNext() {
    return this.at < this.entries().length;
  }

  nextEntry() {
    this.at += 1;
    return this.entries()[this.at - 1];
  }
}

class RESTAPIRequest {
  constructor({ body, parsed, headers, query, query_string, path_params, uri, url }) {
    Object.assign(this, { pathParams: path_params, queryString: query_string, uri, url, headers, queryParams: {} });
    for (const [name, value] of query) (this.queryParams[name] ||= []).push(value);
    this.body = new RESTAPIRequestBody(body, parsed);
  }

  getHeader(name) {
    const wanted = textOf(name).toLowerCase();
    return Object.hasOwn(this.headers, wanted) ? this.headers[wanted] : null;
  }

  getRequestedQueryCategory() {
    return null;
  }

  getSupportedResponseContentTypes() {
    return ['application/json', 'application/xml', 'text/xml'];
  }
}

class RESTAPIResponse {
  constructor() {
    Object.assign(this, { status: 200, headers: {}, type: '', content: undefined, written: null, error: null });
  }

  setStatus(status) {
    this.status = Math.trunc(Number(status)) || 200;
  }

  setBody(body) {
    this.content = body;
  }

  setHeader(name, value) {
    this.headers[textOf(name)] = textOf(value);
  }

  setHeaders(headers) {
    for (const [name, value] of Object.entries(headers)) this.setHeader(name, value);
  }

  setContentType(type) {
    this.type = textOf(type);
  }

  setLocation(url) {
    this.setHeader('Location', url);
  }

  setError(error) {
    this.error = error;
  }

  getStreamWriter() {
    return {
      writeString: (text) => {
        this.written = (this.written || '') + textOf(text);
      },
    };
  }
}

// What goes out: what the stream writer wrote, else the body, else what the script returned. `result` is JSON.
function answerOf(response, value) {
  const { status, headers, type, written } = response;
  if (response.error !== null) return errorOf(response.error);
  const content = response.content === undefined ? value : response.content;
  const result = content === undefined || content === null ? null : told(content) || null;
  return { status, headers, type, written, result, error: null };
}

function errorOf(error) {
  const { status, message, detail } = error instanceof ServiceError ? error : Object.assign(new ServiceError(error));
  return { status, headers: {}, type: '', written: null, result: null, error: { message, detail } };
}

Object.assign(globalThis, { sn_ws_err });
