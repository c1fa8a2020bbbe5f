// node convert.mjs FOLDER: every FOLDER/NAME.gguf is loaded by the real llama.cpp, without and with the adapter
// FOLDER/NAME.lora; the mean losses of the ids in FOLDER/NAME/reference.json must be those given there. Prints a line
// each; exit status 1 where they differ.
import {readdirSync, readFileSync} from "node:fs";
import {getLlama} from "node-llama-cpp";

const folder = process.argv[2];
const llama = await getLlama({gpu: false, build: "never", skipDownload: true, logLevel: "error"});

async function meanLoss(modelPath, ids, adapters) {
  const model = await llama.loadModel({modelPath});
  const context = await model.createContext({
    contextSize: 256, threads: 1, flashAttention: false,
    experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32",
    lora: adapters.length > 0 ? {adapters} : undefined
  });
  const asked = ids.slice(0, -1).map((token, i) => [token, {generateNext: {
    logits: {filter: {tokens: [ids[i + 1]], includeTop: 1}},
    totalLogitWeight: true,
    options: {temperature: 1, topK: 0, topP: 1, minP: 0}
  }}]);
  let sum = 0;
  for (const [i, {next}] of (await context.getSequence().controlledEvaluate(asked)).entries()) {
    sum += Math.max(...next.logits.values()) + Math.log(next.totalLogitWeight) - next.logits.get(ids[i + 1]);
  }
  await model.dispose();
  return sum / asked.length;
}

let failures = 0;
for (const file of readdirSync(folder).filter((name) => name.endsWith(".gguf"))) {
  const name = file.replace(/(-00001-of-\d+)?\.gguf$/, "");
  if (/-of-\d+\.gguf$/.test(file) && !file.includes("-00001-of-")) continue;
  const {ids, nll, nll_lora} = JSON.parse(readFileSync(`${folder}/${name}/reference.json`, "utf8"));
  const adapters = [{filePath: `${folder}/${name}.lora`, scale: 1}];
  for (const [title, expected, used] of [[name, nll, []], [`${name} with its LoRA`, nll_lora, adapters]]) {
    const found = await meanLoss(`${folder}/${file}`, ids, used);
    const difference = found / expected - 1, good = Math.abs(difference) < 2e-5;
    console.log(`${good ? "same   " : "DIFFERS"} ${title}: llama.cpp ${found.toFixed(6)}, reference ${expected.toFixed(6)} (${difference.toExponential(1)})`);
    failures += good ? 0 : 1;
  }
}
process.exit(failures > 0 ? 1 : 0);
