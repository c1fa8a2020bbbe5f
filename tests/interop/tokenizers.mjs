// node tokenizers.mjs LORA_PROGRAM NAME...: for each NAME the ids of NAME.gguf, by lora, and those of
// NAME/tokenizer.json, by @lenml/tokenizers, for texts of every sort. Prints a line each; exit status 1 where they differ.
import {execFileSync} from "node:child_process";
import {readFileSync} from "node:fs";
import {TokenizerLoader} from "@lenml/tokenizers";

const texts = [
  "Hello, world!", " Hello world", "Hello, y'all! How are you \u{1f601} ?", "I've they'LL WE'RE don't", "3 33 333 33333 3.3",
  "  two   three    four", "a\n\n b\n\n\n\nc\r\n\td\t\t", "int main() {\n    return 0;\n}\n", "!!!!!! ... ==>> //",
  "\u00c4pfel \u00fc\u00f1\u00ed", "\u043d\u0435\u0449\u043e \u043d\u0430 \u0411\u044a\u043b\u0433\u0430\u0440\u0441\u043a\u0438",
  "\u6211\u60f3\u5728\u624d\u3002 \u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8", "\ud55c\uad6d\uc5b4", "C\u1eeda Vi\u1ec7t", "ied 4 \u00bd months",
  "\u{1f680} (normal) \u{1f636}\u200d\u{1f32b}\ufe0f", "\u0928\u092e\u0938\u094d\u0924\u0947", "w048 7tuijk dsdfhu", "camelCase HTTPServer",
  "<b>bold</b> <table>", "the man who walked over the hills of the north in the rain"
];
const [lora, ...names] = process.argv.slice(2);
let failures = 0;
for (const name of names) {
  const read = (file) => JSON.parse(readFileSync(`${name}/${file}`, "utf8"));
  const reference = TokenizerLoader.fromPreTrained({
    tokenizerJSON: read("tokenizer.json"), tokenizerConfig: read("tokenizer_config.json")
  });
  let different = 0;
  for (const text of texts) {
    const run = execFileSync(lora, ["tokenize", "-m", `${name}.gguf`, "-p", text, "--no-bos", "--json"], {encoding: "utf8"});
    const found = JSON.stringify(JSON.parse(run).ids);
    const expected = JSON.stringify(reference.encode(text, {add_special_tokens: false}));
    if (found === expected) continue;
    different += 1;
    console.log(`${name}: ${JSON.stringify(text)}\n  lora      ${found}\n  reference ${expected}`);
  }
  console.log(`${different ? "DIFFERS" : "same   "} ${name}: ${texts.length - different} of ${texts.length} texts`);
  failures += different;
}
process.exit(failures > 0 ? 1 : 0);
