#!/usr/bin/env node
/*
 * Makes resources/golden/tokenizers/NAME.vectors.json: what Hugging Face's own library (npm package "tokenizers", 0.23.2, the Rust code
 * with its node binding) says to the tokenizer.json beside it. Run by hand; the files are committed.
 *
 * The tokenizers have the normalizer, pre-tokenizer, model flags and decoder of real families over a small vocabulary of our own:
 *
 *   for s in gpt2 llama3 qwen2 smollm2 tekken llama2 mistral; do
 *     ./subtext tokenizer train --style $s --vocabulary 600 --out FOLDER/$s.json engine/src/test/golden/corpus.txt
 *   done
 *   npm install tokenizers@0.23.2 && node make_tokenizers.js FOLDER
 *
 * To qwen2 two tokens are added that text does spell (not special), as <think> is in Qwen 3. Special tokens are taken out of what the
 * library reads, for no text may become one here; text that spells their names is then as any other, there as here.
 *
 * A file holds texts with their ids, ids (any, so spoiled characters too) with their text, and digests over the ids of 10,000 texts
 * made by a rule that TokenizerParityTest repeats: FNV-1a, 32 bits, over the count and the ids of 100 texts each.
 *
 * usage: node make_tokenizers.js FOLDER            writes vectors
 *        node make_tokenizers.js --real FILE N     prints digests of N texts for any tokenizer.json, a real one say
 */
const fs = require('fs');
const path = require('path');
const { Tokenizer } = require('tokenizers');

/** Marsaglia's xorshift, 32 bits. */
class Numbers {
  constructor(seed) { this.x = seed; }
  next() { let x = this.x; x ^= x << 13; x ^= x >>> 17; x ^= x << 5; this.x = x; return x >>> 0; }
  below(n) { return this.next() % n; }
}

/** First and last of ranges whose characters were assigned long ago, so that no two versions of Unicode disagree. */
const RANGES = [
  [0x20, 0x7e], [0x20, 0x7e], [0xa1, 0xac], [0xae, 0x17f], [0x300, 0x36f], [0x391, 0x3a1], [0x3b1, 0x3c9], [0x410, 0x44f], [0x5d0, 0x5ea],
  [0x621, 0x63a], [0x660, 0x669], [0x905, 0x939], [0x966, 0x96f], [0xe01, 0xe30], [0x1100, 0x1112], [0x1161, 0x1175], [0x11a8, 0x11c2],
  [0x1e00, 0x1e95], [0x2010, 0x2027], [0x2070, 0x2070], [0x2074, 0x2079], [0x20a0, 0x20ac], [0x2153, 0x215e], [0x2160, 0x217f],
  [0x2190, 0x21ff], [0x2200, 0x22ff], [0x2460, 0x249b], [0x3041, 0x3094], [0x30a1, 0x30fa], [0x3131, 0x318e], [0x4e00, 0x9fa5],
  [0xac00, 0xd7a3], [0xf900, 0xfa2d], [0xff10, 0xff19], [0xff21, 0xff3a], [0x10330, 0x10349], [0x1d400, 0x1d454], [0x1f300, 0x1f320],
  [0x1f600, 0x1f640], [0x20000, 0x2a6d6],
];

const PARTS = [
  ' ', ' ', '  ', '   ', '\t', '\n', '\n\n', '\r\n', '\r', '\u00a0', '\u3000', '\u0085', '\u2028', '\u000b', '\u200b', '\u0000', '\ufeff',
  "'s", "'S", "'ll", "'LL", "'re", "'Ve", "'d", "'\u017f", "'t", "''", "don't", "I'M", 'the', ' the', ' The', 'THE', 'cat', ' iPhone', 'x=42;',
  '3.14', ' 1234567', '\u00bd', '\u00b2', '\u0301', 'e\u0301', 'a\u0301\u0316', '\u212b', '\u1e9b\u0323', '\u2581', '\u2581\u2581a', '<0x0A>',
  '<bos>', '</latent>', '<latent>', '<prior>', '<s>', '</s>', '<|endoftext|>', '<think>', '</think>', '<thi', '\u0120', '\u010a', '/', '//\n',
  '!?', '...', ' $', '\ud83d\ude00', '\ud83d\udc69\u200d\ud83d\udc67', '\ud83d\udc4d\ud83c\udffd', '\ud83c\uddeb\ud83c\uddee',
];

function text(numbers) {
  let s = '';
  for (let n = numbers.below(25); n > 0; n--) {
    const kind = numbers.below(8);
    if (kind < 4) {
      s += PARTS[numbers.below(PARTS.length)];
    } else if (kind < 5) {
      s += String(numbers.below(100000));
    } else if (kind < 7) {
      for (let k = 1 + numbers.below(6); k > 0; k--) s += String.fromCharCode(97 + numbers.below(26));
    } else {
      const [first, last] = RANGES[numbers.below(RANGES.length)];
      s += String.fromCodePoint(first + numbers.below(last - first + 1));
    }
  }
  return s;
}

function fnv(hash, value) {
  for (let shift = 0; shift < 32; shift += 8) {
    hash = Math.imul(hash ^ ((value >>> shift) & 0xff), 0x01000193);
  }
  return hash;
}

/**
 * Without the special tokens of a document: what is left spells nothing that text may not. The others keep their ids only if the vocabulary
 * has them.
 */
function withoutSpecials(document) {
  const plain = structuredClone(document);
  plain.added_tokens.forEach((token) => { plain.model.vocab[token.content] ??= token.id; });
  plain.added_tokens = plain.added_tokens.filter((token) => !token.special);
  return Tokenizer.fromString(JSON.stringify(plain));
}

async function digests(tokenizer, count) {
  const numbers = new Numbers(20240607);
  const all = [];
  for (let i = 0; i < count; i += 100) {
    let hash = 0x811c9dc5;
    for (let k = 0; k < 100; k++) {
      const ids = (await tokenizer.encode(text(numbers), null, { addSpecialTokens: false })).getIds();
      hash = fnv(hash, ids.length);
      for (const id of ids) hash = fnv(hash, id);
    }
    all.push((hash >>> 0).toString(16).padStart(8, '0'));
  }
  return all;
}

async function main(args) {
  if (args[0] === '--real') {
    const tokenizer = withoutSpecials(JSON.parse(fs.readFileSync(args[1])));
    console.log((await digests(tokenizer, Number(args[2]))).join('\n'));
    return;
  }
  const folder = args[0];
  for (const file of fs.readdirSync(folder).filter((name) => name.endsWith('.json') && !name.includes('.vectors.'))) {
    const name = path.basename(file, '.json');
    const where = path.join(folder, file);
    const document = JSON.parse(fs.readFileSync(where));
    if (name === 'qwen2' && !document.added_tokens.some((token) => token.content === '<think>')) {
      ['<think>', '</think>'].forEach((content, i) => document.added_tokens.push({
        id: 600 + i, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: false,
      }));
      fs.writeFileSync(where, JSON.stringify(document, null, 2));
    }
    const plain = withoutSpecials(document);
    const whole = Tokenizer.fromString(JSON.stringify(document));
    const numbers = new Numbers(7);
    const fixed = ['', ' ', '  ', 'a', ' a', 'a ', '  a', '\n', ' \n', '\n ', 'a\nb', ...PARTS, 'The cat sat on the mat.', 'THE CAT\u2019S HAT',
      "I'll take 12345 (now)\r\n\r\n  ok ", 'x'.repeat(40), ' '.repeat(40), '1234567890'.repeat(4), '\ud83d\ude00'.repeat(9)];
    for (let i = 0; i < 40; i++) fixed.push(text(numbers));
    const texts = [];
    for (const t of fixed) {
      const encoding = await plain.encode(t, null, { addSpecialTokens: false });
      texts.push({ text: t, ids: encoding.getIds() });
    }
    const decoded = [];
    for (let i = 0; i < 150; i++) {
      const ids = [];
      for (let n = numbers.below(12); n > 0; n--) ids.push(numbers.below(numbers.below(3) === 0 ? 600 : 262));
      decoded.push({ ids, text: await whole.decode(ids, true) });
    }
    const lines = (list) => '[\n' + list.map((entry) => '    ' + JSON.stringify(entry)).join(',\n') + '\n  ]';
    fs.writeFileSync(path.join(folder, `${name}.vectors.json`),
      `{\n  "library": "tokenizers 0.23.2",\n  "texts": ${lines(texts)},\n  "decoded": ${lines(decoded)},\n`
      + `  "digests": ${JSON.stringify(await digests(plain, 10000))}\n}\n`);
    console.log(name, texts.length, 'texts,', decoded.length, 'lists of ids, 10000 by digest');
  }
}

main(process.argv.slice(2));
