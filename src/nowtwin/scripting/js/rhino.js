// What ServiceNow's engine does and this one does not: a boolean column is equal to true and to 'true' alike. `==` turns
// an object into a primitive before it looks at the other side, so literals beside == and != are wrapped in a call that
// leaves word of what the column will be compared with. Strings, comments and regular expressions stay as they are.

let comparing = null;

// The literal itself; the next boolean column is asked for in its kind.
function compared(literal) {
  comparing = typeof literal;
  return literal;
}

const LITERAL = '(?:true|false|"(?:true|false)"|\'(?:true|false)\')';
const TOKENS = new RegExp(
  [
    '(?<text>"(?:\\\\[^]|[^"\\\\\\n])*"|\'(?:\\\\[^]|[^\'\\\\\\n])*\'|`(?:\\\\[^]|[^`\\\\])*`)',
    '(?<comment>//[^\\n]*|/\\*[^]*?\\*/)',
    '(?<pattern>(?<=(?:^|[=(,:;!&|?{}\\[\\n]|return|typeof)\\s*)/(?![/*])(?:\\\\.|\\[(?:\\\\.|[^\\]\\\\\\n])*\\]|[^/\\\\\\n[])+/[a-z]*)',
    '(?<equals>===|!==|==|!=)',
    '(?<word>[\\w$]+)',
  ].join('|'),
  'g',
);
const WHOLE = new RegExp(`^${LITERAL}$`);

// Where the tokens of a script are; only what can stand beside == is told apart.
function tokensOf(source) {
  const found = [];
  for (const match of source.matchAll(TOKENS)) {
    const { text, equals, word, comment } = match.groups;
    if (comment === undefined) {
      const kind = equals ? 'equals' : WHOLE.test(text || word || '') ? 'literal' : 'other';
      found.push({ kind, text: match[0], start: match.index, end: match.index + match[0].length });
    }
  }
  return found;
}

function comparable(source) {
  if (!/[!=]=/.test(source) || !new RegExp(LITERAL).test(source)) return source;
  const tokens = tokensOf(source);
  const blank = (from, to) => source.slice(from, to).trim() === '';
  let made = '';
  let at = 0;
  tokens.forEach((token, i) => {
    if (token.kind !== 'literal') return;
    const before = tokens[i - 1];
    const after = tokens[i + 1];
    const follows = before && /^[!=]=$/.test(before.text) && before.kind === 'equals' && blank(before.end, token.start);
    const leads = after && /^[!=]=$/.test(after.text) && after.kind === 'equals' && blank(token.end, after.start);
    if (!follows && !leads) return;
    made += `${source.slice(at, token.start)}$compared(${token.text})`;
    at = token.end;
  });
  return made + source.slice(at);
}

Object.defineProperty(globalThis, '$compared', { value: compared });
