// The real llama.cpp continues a prompt, always with the likeliest token:
//   node llama-greedy.mjs MODEL PROMPT N [LORA [SCALE]]
// The prompt follows BOS. Prints the ids of at most N tokens, up to the end of the text, on one
// line, then the text they spell.
import {getLlama} from "node-llama-cpp";

const [modelPath, prompt, n, lora, scale = "1"] = process.argv.slice(2);
const llama = await getLlama({gpu: false, build: "never", skipDownload: true, logLevel: "error"});
const model = await llama.loadModel({modelPath});
const context = await model.createContext({
  contextSize: 512,
  threads: 1,
  flashAttention: false,
  // llama.cpp keeps keys and values in f16 unless told otherwise; lora keeps them in f32.
  experimentalKvCacheKeyType: "F32",
  experimentalKvCacheValueType: "F32",
  lora: lora && {adapters: [{filePath: lora, scale: Number(scale)}]}
});

const promptTokens = [model.tokens.bos, ...model.tokenize(prompt)];
const tokens = [];
for await (const token of context.getSequence().evaluate(promptTokens, {temperature: 0})) {
  tokens.push(token);
  if (tokens.length >= Number(n)) break;
}
console.log(tokens.join(" "));
process.stdout.write(model.detokenize(tokens, false, promptTokens)); // without them a leading space is lost
process.exit(0);
