// node generate.mjs MODEL PROMPT N THREADS: llama.cpp's tokens/s for a prompt of so many tokens and for N more after it,
// one by one: the median token.
import {getLlama} from "node-llama-cpp";

const [modelPath, nPrompt, n, threads] = process.argv.slice(2).map((word, i) => i === 0 ? word : Number(word));
const llama = await getLlama({gpu: false, build: "never", skipDownload: true, logLevel: "error", maxThreads: threads});
const model = await llama.loadModel({modelPath});
const context = await model.createContext({contextSize: nPrompt + n + 8, batchSize: 512, threads, flashAttention: false});
const text = model.tokenize("the cat sat on the mat and looked at the moon while it was dark ".repeat(nPrompt));
const prompt = [model.tokens.bos, ...text].slice(0, nPrompt);

const times = [performance.now()];
for await (const token of context.getSequence().evaluate(prompt, {temperature: 0, yieldEogToken: true})) {
  times.push(performance.now());
  if (times.length > n + 1) break;
}
const tokens = times.slice(2).map((time, i) => time - times[i + 1]).sort((a, b) => a - b);
const rate = (ms) => (1000 / ms).toFixed(1);
console.log(`llama.cpp  prompt ${rate((times[1] - times[0]) / nPrompt)} tokens/s, generation ${rate(tokens[tokens.length >> 1])} tokens/s`);
process.exit(0);
