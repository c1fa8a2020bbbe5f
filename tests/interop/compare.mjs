// node compare.mjs LORA_PROGRAM FOLDER [TOLERANCE]: mean loss of FOLDER/text.txt and the likeliest continuation of a
// prompt, by lora and by the real llama.cpp, with every FOLDER/*.gguf, with FOLDER/NAME.lora on NAME.gguf, and, where there
// is a plain.gguf, with several adapters on it.
// With TOLERANCE, of the losses, nothing else is compared: on quantized weights llama.cpp rounds its activations too.
// Prints a line each; exit status 1 where they differ.
import {execFileSync} from "node:child_process";
import {readdirSync, readFileSync} from "node:fs";
import {getLlama} from "node-llama-cpp";

const [lora, folder, looseTolerance] = process.argv.slice(2);
const window = 256, nPredict = 32, prompt = "It was the best of times for the captain, who";
const text = readFileSync(`${folder}/text.txt`, "utf8");

// Relative difference of mean losses. llama.cpp rounds what it multiplies with 16-bit weights.
const tolerance = {f16: 1e-4, bf16: 1e-3};
const families = {gemma: 2e-5, gemma2: 2e-5, gemma3: 2e-5, gemma4: 2e-5, phi2: 2e-5, starcoder2: 2e-5, falcon: 2e-5,
                  gpt2: 2e-5, gptneox: 2e-5};  // GELU from a table
const standardTolerance = 2e-6;  // measured: 9e-7 at most, of which most is a sum in f32 in node-llama-cpp

const files = readdirSync(folder);
const adapterCases = looseTolerance || !files.includes("plain.gguf") ? [] : [
  {rank_1: 1}, {rank_64: 1}, {some_tensors: 1}, {trained_on: 1},
  {rank_1: 0.7, rank_64: 0.3, some_tensors: 1.5, trained_on: -0.5}
];
const cases = [
  ...files.filter((file) => file.endsWith(".gguf")).map((file) => ({name: file.slice(0, -5), adapters: []})),
  ...files.filter((file) => file.endsWith(".lora") && files.includes(`${file.slice(0, -5)}.gguf`)).map((file) =>
    ({name: file.slice(0, -5), adapters: [{filePath: `${folder}/${file}`, scale: 1}]})),
  ...adapterCases.map((scales) => ({
    name: "plain",
    adapters: Object.entries(scales).map(([name, scale]) => ({filePath: `${folder}/${name}.lora`, scale}))
  }))
];

const llama = await getLlama({gpu: false, build: "never", skipDownload: true, logLevel: "error"});
const start = (model) => model.tokens.shouldPrependBosToken ? [model.tokens.bos] : [];

// The sum of -ln p, in nats, of every token after the first.
async function loss(sequence, tokens) {
  await sequence.clearHistory();
  const asked = tokens.slice(0, -1).map((token, i) => [token, {generateNext: {
    logits: {filter: {tokens: [tokens[i + 1]], includeTop: 1}},
    totalLogitWeight: true,  // sum of exp(logit - highest logit)
    options: {temperature: 1, topK: 0, topP: 1, minP: 0}  // of the whole vocabulary
  }}]);
  let sum = 0;
  for (const [i, {next}] of (await sequence.controlledEvaluate(asked)).entries()) {
    sum += Math.max(...next.logits.values()) + Math.log(next.totalLogitWeight) - next.logits.get(tokens[i + 1]);
  }
  return sum;
}

// The text cut as `lora eval` cuts it: BOS, where the model uses one, then a piece.
async function meanLoss(sequence, model) {
  const tokens = model.tokenize(text), piece = window - start(model).length;
  let sum = 0, n = 0;
  for (let begin = 0; begin < tokens.length; begin += piece) {
    const part = [...start(model), ...tokens.slice(begin, begin + piece)];
    if (part.length < 2) continue;
    sum += await loss(sequence, part);
    n += part.length - 1;
  }
  return {nll: sum / n, tokens: n};
}

async function continuation(sequence, model) {
  await sequence.clearHistory();
  const before = [...start(model), ...model.tokenize(prompt)], tokens = [];
  for await (const token of sequence.evaluate(before, {temperature: 0})) {
    tokens.push(token);
    if (tokens.length >= nPredict) break;
  }
  return model.detokenize(tokens, false, before);  // without them a leading space is lost
}

async function theirs(modelPath, adapters) {
  const model = await llama.loadModel({modelPath});
  const context = await model.createContext({
    contextSize: 512,
    threads: 1,
    flashAttention: false,
    // llama.cpp keeps keys and values in f16 unless told otherwise; lora keeps them in f32.
    experimentalKvCacheKeyType: "F32",
    experimentalKvCacheValueType: "F32",
    lora: adapters.length > 0 ? {adapters} : undefined
  });
  const sequence = context.getSequence();
  const result = {...await meanLoss(sequence, model), continuation: await continuation(sequence, model)};
  await model.dispose();
  return result;
}

function ours(modelPath, adapters) {
  const run = (command, ...flags) => execFileSync(lora, [
    command, "--model", modelPath, "--precision", "f32", ...flags,
    ...adapters.flatMap(({filePath, scale}) => ["--lora-scaled", filePath, String(scale)])
  ], {encoding: "utf8", stdio: ["ignore", "pipe", "ignore"]});
  return {
    ...JSON.parse(run("eval", "--file", `${folder}/text.txt`, "--ctx-size", String(window), "--json")),
    continuation: run("generate", "--prompt", prompt, "--n-predict", String(nPredict), "--temp", "0", "--no-echo")
  };
}

// Bytes that are no character: how many marks stand for some of them is each program's own.
const readable = (text) => text.replace(/\ufffd+/g, "\ufffd");

let failures = 0;
const losses = new Set();
const alone = new Map();  // losses without adapters
for (const {name, adapters} of cases) {
  const path = `${folder}/${name}.gguf`;
  let mine, reference;
  try {
    mine = ours(path, adapters);
    reference = await theirs(path, adapters);
  } catch (error) {
    console.log(`DIFFERS ${name}: ${mine ? "llama.cpp" : "lora"}: ${error.message}`);
    failures += 1;
    continue;
  }
  const difference = mine.nll / reference.nll - 1;
  const allowed = Number(looseTolerance ?? tolerance[name] ?? families[name.split(".")[0]] ?? standardTolerance);
  const good = Math.abs(difference) <= allowed && mine.tokens === reference.tokens &&
    (looseTolerance || readable(mine.continuation) === readable(reference.continuation));
  const title = [name, ...adapters.map(({filePath, scale}) => `${scale} x ${filePath.split("/").pop()}`)].join(" + ");
  console.log(`${good ? "same   " : "DIFFERS"} ${title}: loss ${mine.nll.toFixed(6)}, llama.cpp ` +
    `${reference.nll.toFixed(6)} (${difference.toExponential(1)}), tokens ${mine.tokens}, ${reference.tokens}`);
  if (!good) {
    failures += 1;
    console.log(`  ours      ${JSON.stringify(mine.continuation)}\n  llama.cpp ${JSON.stringify(reference.continuation)}`);
  }
  losses.add(reference.nll.toFixed(6));
  if (adapters.length === 0) {
    alone.set(name, reference.nll);
  } else if (Math.abs(reference.nll / alone.get(name) - 1) < 1e-4) {
    console.log(`${title}: the adapter changes nothing`);
    failures += 1;
  }
}
// f16 and the two keys of linear scaling may leave the loss as it is; any other case must change something.
if (files.includes("plain.gguf") && losses.size < cases.length - 2) {
  console.log(`only ${losses.size} different losses in ${cases.length} cases: some change has no effect`);
  failures += 1;
}
process.exit(failures > 0 ? 1 : 0);
