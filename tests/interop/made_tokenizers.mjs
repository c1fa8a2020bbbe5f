// Byte-level tokenizers of families whose vocabularies are not at hand: their normalizers and pre-tokenizers, with merges
// trained on any text without a pre-tokenizer, so that merges cross every place where one may cut.
const words = (letters, numbers, rest) =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?${letters}|${numbers}|${rest}|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
const signs = " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*";
const qwen2 = words("\\p{L}+", "\\p{N}", signs), llama3 = words("\\p{L}+", "\\p{N}{1,3}", signs);
const upper = "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]", lower = "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]";
const cased = (end, numbers) => `[^\\r\\n\\p{L}\\p{N}]?${upper}*${lower}+${end}|[^\\r\\n\\p{L}\\p{N}]?${upper}+${lower}*${end}|${numbers}|` +
  " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const gpt4o = cased("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "\\p{N}{1,3}");
const split = (regex) => ({type: "Split", pattern: {Regex: regex}, behavior: "Isolated", invert: false});
const letters = (use_regex) => ({type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex});
const digits = (individual_digits) => ({type: "Digits", individual_digits});
const cut = (...steps) => ({pre: {type: "Sequence", pretokenizers: [...steps, letters(false)]}});
const nfc = {normalizer: {type: "NFC"}};

// What tokenizer.ggml.pre has to say, and the tokenizer.
export const made = [
  {name: "qwen2", ...cut(split(qwen2)), ...nfc},
  {name: "qwen2", composes: "not, by a key", ...cut(split(qwen2))},
  {name: "qwen35", ...cut(split(words("[\\p{L}\\p{M}]+", "\\p{N}", " ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*"))), ...nfc},
  {name: "llama-bpe", ...cut(split(llama3)), ignore_merges: true},
  {name: "dbrx", ...cut(split(llama3))},
  {name: "dbrx", composes: "by a key", ...cut(split(llama3)), ...nfc},
  {name: "tekken", ...cut(split(cased("", "\\p{N}"))), ignore_merges: true},
  {name: "gpt-4o", ...cut(split(gpt4o))},
  {name: "gpt-4o", composes: "by a key", ...cut(split(gpt4o)), ...nfc, ignore_merges: true},
  {name: "tiny_aya", ...cut(split("\\d{1,3}(?=(?:\\d{3})*\\b)"), split(gpt4o))},
  {name: "seed-coder", ...cut(split(words("\\p{L}+", "\\p{N}{1}", " ?[^\\s\\p{L}\\p{N}\\r\\n]+")))},
  {name: "bailingmoe", ...cut(split("'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"))},
  {name: "exaone-moe", ...cut(split("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"))},
  {name: "minicpm5", ...cut(split("\\p{N}{1,3}"), split(words("\\p{L}+", "\\p{N}+", signs))), ignore_merges: true},
  {name: "jais-2", ...cut(split(llama3.replace("\\s+(?!\\S)|\\s+",
    [512, 256, 128, 64, 32, 16, 8, 4, "1,2"].map((n) => `\\s{${n}}(?!\\S)`).join("|") + "|\\s{1}")))},
  {name: "gpt-2", pre: letters(true)},
  {name: "olmo", pre: letters(true), ...nfc},
  {name: "smollm", pre: {type: "Sequence", pretokenizers: [digits(true), letters(true)]}},
  {name: "command-r", pre: {type: "Sequence", pretokenizers: [digits(true), letters(true)]}, ...nfc},
  {name: "superbpe", ...cut(split("\\p{N}+"), split("(?=(\\d{3})+(?!\\d))"))},
  {name: "bloom", ...cut(split(" ?[^(\\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+"))},
  {name: "deepseek-v3", ...cut(split("\\p{N}{1,3}"), split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"),
    split("[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"))}
];

const byte_letters = (() => {
  const printable = (b) => (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
  let moved = 256;
  return Array.from({length: 256}, (_, b) => String.fromCodePoint(printable(b) ? b : moved++));
})();

// Merges of the pairs that are most frequent, the first among equals, as BPE is trained; of all texts as one word each.
export function train(texts, n_merges) {
  const vocab = Object.fromEntries(byte_letters.map((letter, b) => [letter, b])), merges = [];
  let lines = texts.map((text) => [...Buffer.from(text)].map((b) => byte_letters[b]));
  while (merges.length < n_merges) {
    const counts = new Map();
    for (const line of lines) {
      for (let i = 0; i + 1 < line.length; ++i) {
        const pair = `${line[i]} ${line[i + 1]}`;
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
    }
    const [best] = [...counts].reduce((a, b) => (b[1] > a[1] ? b : a), ["", 1]);
    if (!best) break;
    const [left, right] = best.split(" ");
    merges.push(best);
    vocab[left + right] ??= Object.keys(vocab).length;
    lines = lines.map((line) => {
      const merged = [];
      for (let i = 0; i < line.length; ++i) {
        const joins = line[i] === left && line[i + 1] === right;
        merged.push(joins ? left + right : line[i]);
        i += joins;
      }
      return merged;
    });
  }
  return {vocab, merges};
}

export function tokenizer_json({pre, normalizer = null, ignore_merges = false}, {vocab, merges}) {
  return {
    version: "1.0", truncation: null, padding: null, added_tokens: [], normalizer, pre_tokenizer: pre, post_processor: null, decoder: {type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true},
    model: {type: "BPE", dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: false, byte_fallback: false, ignore_merges, vocab, merges}
  };
}
