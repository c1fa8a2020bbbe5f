// node tokenizers.mjs LORA_PROGRAM NAME...: for each NAME the ids of NAME.gguf, by lora, and those of NAME/tokenizer.json,
// by Hugging Face's own tokenizers, for texts of every script; then the same of tokenizers made here (made_tokenizers.mjs),
// which lora converts. Prints a line each; exit status 1 where they differ.
import {execFileSync} from "node:child_process";
import {mkdirSync, readFileSync, writeFileSync} from "node:fs";
import tokenizers from "tokenizers";
import {made, tokenizer_json, train} from "./made_tokenizers.mjs";
import {texts as all_texts} from "./texts.mjs";

const [lora, ...names] = process.argv.slice(2);
const run = (...args) => execFileSync(lora, args, {encoding: "utf8", maxBuffer: 1 << 28, stdio: ["ignore", "pipe", "pipe"]});

// As records, many at once; training data has no blank texts, and no \r\n.
const is_record = (text) => text.trim() && !text.includes("\r\n");
function ids_of(gguf, texts) {
  writeFileSync("texts.jsonl", texts.filter(is_record).map((text) => JSON.stringify({text}) + "\n").join(""));
  const {samples} = JSON.parse(run("tokenize", "-m", gguf, "--train-data", "texts.jsonl", "-n", `${texts.length}`, "--json",
    "--no-separate-with-bos", "--no-shuffle", "--parse-special", "-c", "4096", "--allow-cut"));
  return texts.map((text) => {
    if (is_record(text)) return samples.shift().inputs;
    writeFileSync("text.txt", text);
    return JSON.parse(run("tokenize", "-m", gguf, "-f", "text.txt", "--no-bos", "--parse-special", "--json")).ids;
  });
}

let failures = 0;
async function compare(title, gguf, json, texts = all_texts) {
  const found = ids_of(gguf, texts), reference = tokenizers.Tokenizer.fromFile(json);
  let different = 0;
  for (const [i, text] of texts.entries()) {
    const expected = (await reference.encode(text, null, {addSpecialTokens: false})).getIds();
    if (JSON.stringify(found[i]) === JSON.stringify(expected)) continue;
    different += 1;
    console.log(`${title}: ${JSON.stringify(text)}\n  lora      ${found[i]}\n  reference ${expected}`);
  }
  console.log(`${different ? "DIFFERS" : "same   "} ${title}: ${texts.length - different} of ${texts.length} texts`);
  failures += different;
}

for (const name of names) await compare(name, `${name}.gguf`, `${name}/tokenizer.json`);

// Llama 2's as transformers 5 writes it: the space before a text by a Metaspace.
const marks = ["a", " a", "  a", "x<s>y</s> z", "<s>a", "<s> a</s>  a"];
for (const prepend_scheme of names.includes("llama2") ? ["first", "always", "never"] : []) {
  mkdirSync("metaspace", {recursive: true});
  const json = JSON.parse(readFileSync("llama2/tokenizer.json", "utf8"));
  Object.assign(json, {normalizer: null, pre_tokenizer: {type: "Metaspace", replacement: "\u2581", prepend_scheme, split: false}});
  writeFileSync("metaspace/tokenizer.json", JSON.stringify(json));
  writeFileSync("metaspace/tokenizer_config.json", JSON.stringify({bos_token: "<s>", eos_token: "</s>"}));
  writeFileSync("metaspace/config.json", readFileSync("llama2/config.json"));
  run("convert", "metaspace", "--vocab-only", "-o", "metaspace.gguf");
  await compare(`llama2, Metaspace ${prepend_scheme}`, "metaspace.gguf", "metaspace/tokenizer.json", [...all_texts, ...marks]);
}

const trained = train(all_texts, 1500);
for (const tokenizer of made) {
  mkdirSync("made", {recursive: true});
  const n_vocab = Object.keys(trained.vocab).length + 1;
  const json = tokenizer_json(tokenizer, trained);
  json.added_tokens.push({id: n_vocab - 1, content: "<|end|>", single_word: false, lstrip: false, rstrip: false, normalized: false, special: true});
  writeFileSync("made/tokenizer.json", JSON.stringify(json));
  writeFileSync("made/tokenizer_config.json", JSON.stringify({eos_token: "<|end|>"}));
  writeFileSync("made/config.json", JSON.stringify({
    architectures: ["LlamaForCausalLM"], vocab_size: n_vocab, hidden_size: 64, intermediate_size: 64, num_hidden_layers: 1,
    num_attention_heads: 1, max_position_embeddings: 64
  }));
  run("convert", "made", "--vocab-only", "-o", "made.gguf");
  const pre = JSON.parse(run("inspect", "made.gguf", "--json")).metadata["tokenizer.ggml.pre"];
  const title = `made: ${tokenizer.name}${tokenizer.composes ? `, composing ${tokenizer.composes}` : ""}`;
  await compare(title, "made.gguf", "made/tokenizer.json");
  if ((pre.value ?? pre) === tokenizer.name) continue;
  console.log(`DIFFERS ${title}: converted as ${JSON.stringify(pre)}`);
  failures += 1;
}
process.exit(failures > 0 ? 1 : 0);
