// node chats.mjs LORA_PROGRAM TEMPLATES NAME=TEMPLATE...: for each pair the tokens of a conversation as lora trains on it,
// of NAME.gguf, and those that @lenml/tokenizers gives of what it renders itself, with NAME/tokenizer.json. TEMPLATE: own,
// the tokenizer's, or a file of the folder TEMPLATES. What is trained on has to be what the assistant says. Prints a line each;
// exit status 1 where they differ.
import {execFileSync} from "node:child_process";
import {readFileSync, writeFileSync} from "node:fs";
import {TokenizerLoader} from "@lenml/tokenizers";

const messages = [
  {role: "user", content: "What do whales eat?"}, {role: "assistant", content: "Krill, 2 tonnes a day; \u96ea too?\n\nNo."},
  {role: "user", content: "And na\u00efve sharks \u{1f40b}?"}, {role: "assistant", content: "Fish  and <b>seals</b>"}
];
const replies = messages.filter((m) => m.role === "assistant");
const [lora, templates, ...pairs] = process.argv.slice(2);
writeFileSync("chat.jsonl", JSON.stringify({messages}) + "\n");
const references = new Map(); // read once each: the largest have 260,000 tokens
function reference_of(name) {
  const read = (json) => JSON.parse(readFileSync(`${name}/${json}`, "utf8"));
  if (!references.has(name)) {
    references.set(name, TokenizerLoader.fromPreTrained({
      tokenizerJSON: read("tokenizer.json"), tokenizerConfig: read("tokenizer_config.json")
    }));
  }
  return references.get(name);
}
let failures = 0;
for (const pair of pairs) {
  const [name, file] = pair.split("=");
  const reference = reference_of(name);
  const path = `${templates}/${file}.jinja`;
  const chosen = file === "own" ? {} : {chat_template: readFileSync(path, "utf8")};
  const flags = ["--date", "2024-07-26", "--chat-template", file === "own" ? "auto" : path];
  const lora_json = (args) => JSON.parse(execFileSync(lora, [...args, "-m", `${name}.gguf`, "--json", ...flags],
    {encoding: "utf8", stdio: ["ignore", "pipe", "ignore"]}));
  // Its Jinja does not know all that templates use; lora's renderings are compared with Python's elsewhere.
  let is_own = true;
  const rendered = (n) => {
    try {
      return reference.apply_chat_template(messages.slice(0, n), {tokenize: false, add_generation_prompt: false, ...chosen});
    } catch {
      is_own = false;
      writeFileSync("messages.json", JSON.stringify({messages: messages.slice(0, n), add_generation_prompt: false}));
      return lora_json(["template", "--messages", "messages.json"]).text;
    }
  };
  const {samples} = lora_json(["tokenize", "--train-data", "chat.jsonl", "--ctx", "512"]);
  const wrong = [];
  samples.forEach(({inputs, targets}, k) => {
    // A template that writes earlier replies otherwise gives a sample for each.
    const own = samples.length > 1 ? replies.slice(k, k + 1) : replies;
    const expected = reference.encode(rendered(samples.length > 1 ? 2 * (k + 1) : 4), {add_special_tokens: false});
    const found = [...inputs, targets.at(-1)];
    if (reference.bos_token_id === found[0] && expected[0] !== found[0]) expected.unshift(found[0]);
    // lora ends the sample with what ends the last turn.
    if (JSON.stringify(found) !== JSON.stringify(expected.slice(0, found.length)))
      wrong.push(`lora ${JSON.stringify(found)}\n  reference ${JSON.stringify(expected)}`);
    const trained = [];
    targets.forEach((id, i) => {
      if (id >= 0 && !(targets[i - 1] >= 0)) trained.push([]);
      if (id >= 0) trained.at(-1).push(id);
    });
    const said = trained.map((ids) => reference.decode(ids, {skip_special_tokens: true, clean_up_tokenization_spaces: false})
      .replace(/^\s*<think>\s*<\/think>/, "").trim());
    if (JSON.stringify(said) !== JSON.stringify(own.map((m) => m.content))) wrong.push(`trained on ${JSON.stringify(said)}`);
    if (reference.decode([targets.at(-1)], {skip_special_tokens: true}) !== "") wrong.push("the last token ends no turn");
  });
  console.log(`${wrong.length ? "DIFFERS" : "same   "} ${name} with ${file}: ${samples.length} samples${is_own ? "" : ", rendered by lora"}`);
  wrong.forEach((line) => console.log(`  ${line}`));
  failures += wrong.length;
}
process.exit(failures > 0 ? 1 : 0);
