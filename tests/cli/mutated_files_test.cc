// Damaged files, from the command line: small valid files of every format that a command reads, each damaged
// in a few places. Whatever is in them, a command ends by itself within seconds and hundreds of megabytes,
// with status 0, 1 or 2; where it fails, its last line and no other is the error, and no output is there. The
// fuzz targets (docs/fuzzing.md) try the parsers by themselves, and far more often.
//
//   LORA_MUTATIONS      how many damaged files are tried (600)
//   LORA_MUTATION_SEED  which ones (1): another number, other files
#include <fmt/format.h>

#include <cstring>
#include <random>
#include <string_view>

#include "cli_test.h"
#include "hf_models.h"

namespace lora::test {
namespace {

using Args = std::vector<std::string>;
namespace fs = std::filesystem;

int64_t number_of(const char* variable, int64_t otherwise) {
  const char* text = std::getenv(variable);
  return text ? std::atoll(text) : otherwise;
}

// A vocabulary of 300 tokens and one narrow layer: 90 KB, so that most damage hits what is parsed.
void write_small_model(const std::string& path) {
  constexpr int64_t n_vocab = 300, n_embd = 32, n_ff = 64;
  GgufWriter writer;
  const Gguf bundled = Gguf::open(kBundledModel);
  for (auto [key, value] : bundled.values()) {
    std::visit(
        [](auto& v) {
          if constexpr (requires {
                          v.resize(n_vocab);
                          v.at(0);
                        }) {
            if (v.size() > size_t(n_vocab)) v.resize(n_vocab);
          }
        },
        value.value);
    writer.set(key, value);
  }
  for (const auto& [name, number] : {std::pair{"block_count", 1u},
                                     {"context_length", 64u},
                                     {"embedding_length", 32u},
                                     {"feed_forward_length", 64u},
                                     {"attention.head_count", 2u},
                                     {"attention.head_count_kv", 1u},
                                     {"attention.key_length", 16u},
                                     {"attention.value_length", 16u},
                                     {"vocab_size", 300u},
                                     {"rope.dimension_count", 16u}}) {
    writer.set_u32(std::string("llama.") + name, number);
  }
  std::vector<float> values(size_t(n_vocab * n_embd));
  std::mt19937 random(3);
  for (float& v : values) v = std::uniform_real_distribution<float>(-0.2f, 0.2f)(random);
  const auto add = [&](const std::string& name, std::vector<int64_t> ne) {
    int64_t n = 1;
    for (int64_t size : ne) n *= size;
    writer.add_tensor(name + ".weight", Type::F32, ne, std::as_bytes(std::span(values).first(size_t(n))));
  };
  add("token_embd", {n_embd, n_vocab});
  add("output_norm", {n_embd});
  for (const char* norm : {"attn_norm", "ffn_norm"}) add(std::string("blk.0.") + norm, {n_embd});
  for (const char* name : {"attn_q", "attn_output"}) add(std::string("blk.0.") + name, {n_embd, n_embd});
  for (const char* name : {"attn_k", "attn_v"}) add(std::string("blk.0.") + name, {n_embd, n_embd / 2});
  for (const char* name : {"ffn_gate", "ffn_up"}) add(std::string("blk.0.") + name, {n_embd, n_ff});
  add("blk.0.ffn_down", {n_ff, n_embd});
  writer.write(path);
}

// The smallest of the Hugging Face models with a byte-level vocabulary, and one in a pickle.
HfModel small_hf_model(bool pickle) {
  for (HfModel& model : make_hf_models()) {
    if (model.byte_level && model.n_files == 1 && !pickle && !model.pickle) return std::move(model);
    if (model.pickle && model.n_files == 1 && pickle) return std::move(model);
  }
  throw std::runtime_error("no such model");
}

// One command, what it reads and what it writes.
struct Parser {
  const char* name;
  Args files;  // in the folder of seeds; those that are damaged come first
  int n_damaged;
  Args command;
  Args outputs;
};

// Without what is trained on.
const Args kTrain = {"finetune", "-m", "m.gguf", "--ctx", "256", "--batch",      "1", "--checkpoint-out",
                     "",         "-t", "1",      "-s",    "1",   "--save-every", "0", "--lora-out",
                     "o"};
const Args kTrainOnText = kTrain + Args{"--train-data", "t.txt", "--sample-start", "s"};

const std::vector<Parser> kParsers = {
    {"model: inspect", {"m.gguf"}, 1, {"inspect", "m.gguf", "--json"}, {}},
    {"model: generate", {"m.gguf"}, 1, {"generate", "-m", "m.gguf", "-p", "a b", "-n", "2", "-t", "1"}, {}},
    {"model: tokenize", {"m.gguf"}, 1, {"tokenize", "-m", "m.gguf", "-p", "some text"}, {}},
    {"model: quantize", {"m.gguf"}, 1, {"quantize", "m.gguf", "o", "q4_0", "1"}, {"o"}},
    {"model: finetune",
     {"m.gguf", "t.txt"},
     1,
     kTrainOnText + Args{"--checkpoint-in", "", "--adam-iter", "1"},
     {"o"}},
    {"model: export-lora",
     {"m.gguf", "lora.gguf"},
     1,
     {"export-lora", "--model-base", "m.gguf", "--lora", "lora.gguf", "--model-out", "o", "-t", "1"},
     {"o"}},
    {"checkpoint: finetune",
     {"c.gguf", "m.gguf", "t.txt"},
     1,
     kTrainOnText + Args{"--ctx", "16", "--checkpoint-in", "c.gguf", "--adam-iter", "2"},
     {"o"}},
    {"checkpoint: inspect", {"c.gguf"}, 1, {"inspect", "c.gguf"}, {}},
    {"adapter: eval",
     {"lora.gguf", "m.gguf", "t.txt"},
     1,
     {"eval", "-m", "m.gguf", "-f", "t.txt", "-c", "16", "--lora", "lora.gguf", "-t", "1"},
     {}},
    {"adapter: convert-lora --to-peft",
     {"lora.gguf", "m.gguf"},
     1,
     {"convert-lora", "lora.gguf", "--base", "m.gguf", "--to-peft", "o"},
     {"o"}},
    {"ggla: convert-lora",
     {"pair.ggla", "m.gguf"},
     1,
     {"convert-lora", "pair.ggla", "--base", "m.gguf", "--outfile", "o"},
     {"o"}},
    {"PEFT: convert-lora",
     {"peft/adapter_config.json", "peft/adapter_model.safetensors", "m.gguf"},
     2,
     {"convert-lora", "peft", "--base", "m.gguf", "--outfile", "o"},
     {"o"}},
    {"PEFT: generate",
     {"peft/adapter_config.json", "peft/adapter_model.safetensors", "m.gguf"},
     2,
     {"generate", "-m", "m.gguf", "--lora", "peft", "-p", "a", "-n", "1", "-t", "1"},
     {}},
    {"safetensors: inspect",
     {"peft/adapter_model.safetensors"},
     1,
     {"inspect", "peft/adapter_model.safetensors"},
     {}},
    {"Hugging Face: convert",
     {"hf/config.json", "hf/tokenizer.json", "hf/model.safetensors", "hf/tokenizer_config.json"},
     4,
     {"convert", "hf", "--outfile", "o"},
     {"o"}},
    {"Hugging Face: convert --vocab-only",
     {"hf/config.json", "hf/tokenizer.json", "hf/tokenizer_config.json"},
     3,
     {"convert", "hf", "--vocab-only", "--outfile", "o"},
     {"o"}},
    {"PyTorch: convert",
     {"pt/pytorch_model.bin", "pt/tokenizer.model", "pt/config.json"},
     2,
     {"convert", "pt", "--outfile", "o", "--outtype", "f16"},
     {"o"}},
    {"importance: quantize",
     {"imatrix.gguf", "m.gguf"},
     1,
     {"quantize", "m.gguf", "o", "q4_0", "1", "--imatrix", "imatrix.gguf"},
     {"o"}},
    {"importance, .dat: quantize",
     {"imatrix.dat", "m.gguf"},
     1,
     {"quantize", "m.gguf", "o", "q4_0", "1", "--imatrix", "imatrix.dat"},
     {"o"}},
    {"text: tokenize", {"t.txt", "m.gguf"}, 1, {"tokenize", "-m", "m.gguf", "-f", "t.txt", "--json"}, {}},
    {"text: finetune",
     {"t.txt", "m.gguf"},
     1,
     kTrainOnText + Args{"--checkpoint-in", "", "--adam-iter", "1"},
     {"o"}},
    {"records: tokenize",
     {"r.jsonl", "m.gguf"},
     1,
     {"tokenize", "-m", "m.gguf", "--train-data", "r.jsonl", "--chat-template", "chatml", "-c", "512"},
     {}},
    {"records: finetune",
     {"r.jsonl", "m.gguf"},
     1,
     kTrain + Args{"--train-data", "r.jsonl", "--checkpoint-in", "", "--adam-iter", "1", "--chat-template",
                   "zephyr", "--skip-bad-records"},
     {"o"}},
    {"list of records: tokenize",
     {"r.json", "m.gguf"},
     1,
     {"tokenize", "-m", "m.gguf", "--train-data", "r.json", "--chat-template", "vicuna", "-c", "512"},
     {}},
    {"table: tokenize", {"r.csv", "m.gguf"}, 1, {"tokenize", "-m", "m.gguf", "--train-data", "r.csv"}, {}},
    {"metrics: plot", {"me.jsonl"}, 1, {"plot", "me.jsonl", "-o", "o.svg"}, {"o.svg"}},
    {"flags: estimate",
     {"flags.toml", "m.gguf", "t.txt"},
     1,
     {"estimate", "--config", "flags.toml", "-m", "m.gguf", "--train-data", "t.txt"},
     {}},
};

const std::string kRecords[] = {
    R"({"text": "The ship sailed north."})",
    R"({"prompt": "Where?", "completion": "North."})",
    R"({"instruction": "Say it.", "input": "north", "output": "The ship.", "history": [["a", "b"]]})",
    R"({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "\u00e9\ud83d\ude00"}, {"role": "assistant", "content": "b", "weight": 1}]})",
    R"({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], "id": 7, "tools": null})",
};

void write_seeds(const Folder& folder) {
  write_small_model(folder.at("m.gguf"));
  folder.write("t.txt", "s The ship sailed 12 miles.\ns The caf\xc3\xa9 was shut.\r\ns It ended.\n");
  std::string lines, list;
  for (const std::string& record : kRecords) {
    lines += record + "\n";
    list += (list.empty() ? "[" : ",\n") + record;
  }
  folder.write("r.jsonl", lines);
  folder.write("r.json", list + "]\n");
  folder.write("r.csv", "prompt,completion,source\n\"a, b\",\"say \"\"c\"\"\",x\nWhere?,North,y\n");
  folder.write("flags.toml",
               "ctx = 16\nbatch = 1\nlora-r = 4\n# rank\nadam-alpha = 0.001\nuse-flash = true\n");
  const auto run = [&](const Args& args) {
    const RunResult result = folder.lora(args);
    ASSERT_EQ(result.status, 0) << result.err;
  };
  run({"finetune",  "-m",
       "m.gguf",    "--train-data",
       "t.txt",     "--ctx",
       "16",        "--batch",
       "1",         "-s",
       "1",         "-t",
       "1",         "--checkpoint-in",
       "",          "--lora-out",
       "lora.gguf", "--checkpoint-out",
       "c.gguf",    "--adam-iter",
       "1",         "--sample-start",
       "s",         "--metrics",
       "me.jsonl"});
  run({"convert-lora", "lora.gguf", "--base", "m.gguf", "--to-peft", "peft"});
  run({"imatrix", "-m", "m.gguf", "-f", "t.txt", "-o", "imatrix.gguf", "-c", "8"});
  write_hf_folder(small_hf_model(false), folder.at("hf"), kBundledModel);
  write_hf_folder(small_hf_model(true), folder.at("pt"), kBundledModel);
  const std::string corpus = LORA_SOURCE_DIR "/fuzz/corpus/";
  fs::copy_file(corpus + "adapter/pair.ggla", folder.at("pair.ggla"));
  fs::copy_file(corpus + "imatrix/with-text.dat", folder.at("imatrix.dat"));
}

// One to four damages, each of a kind that has broken parsers: bits, lengths, numbers, ends, order.
std::string damaged(std::string bytes, std::mt19937_64& random) {
  const auto below = [&](size_t n) { return n ? size_t(random() % n) : 0; };
  // Most of what is parsed stands at the front of a file.
  const auto place = [&] { return below(below(2) ? bytes.size() : std::min<size_t>(bytes.size(), 4096)); };
  for (size_t n = 1 + below(4); n > 0; --n) {
    const size_t at = place();
    switch (bytes.empty() ? 9 : below(10)) {
      case 0:
        bytes[at] = char(bytes[at] ^ (1 << below(8)));
        break;
      case 1:
        bytes[at] = char(random());
        break;
      case 2:
        bytes.resize(at);
        break;
      case 3:
        bytes.erase(at, 1 + below(64));
        break;
      case 4:
        bytes.insert(at, bytes.substr(place(), 1 + below(256)));
        break;
      case 5: {  // a number of a binary format
        const uint64_t numbers[] = {
            0, 1, 0x7f, 0xffff, 0x7fffffff, 0xffffffff, uint64_t{1} << 40, INT64_MAX, UINT64_MAX};
        const uint64_t number = numbers[below(std::size(numbers))];
        const size_t size = std::min(bytes.size() - at, size_t(below(2) ? 4 : 8));
        std::memcpy(bytes.data() + at, &number, size);
        break;
      }
      case 6: {  // a number of a text
        const char* numbers[] = {"0",          "-1",  "1e999", "99999999999999999999", "2147483648", "nan",
                                 "4294967296", "0.5", "null"};
        const size_t begin = bytes.find_first_of("0123456789", at);
        if (begin == bytes.npos) break;
        const size_t end = std::min(bytes.find_first_not_of("0123456789.", begin), bytes.size());
        bytes.replace(begin, end - begin, numbers[below(std::size(numbers))]);
        break;
      }
      case 7: {  // what separates and nests
        using namespace std::string_view_literals;
        const std::string_view marks[] = {"{",  "}",    "[",       "]",       "\"",   ",",      ":",
                                          "\n", "\0"sv, "\\u0000", "\x1b[2J", "\xff", "\\ud800"};
        bytes.replace(at, below(2), marks[below(std::size(marks))]);
        break;
      }
      case 8:
        bytes.insert(at, std::string(size_t{1} << below(13), below(2) ? '[' : 'a'));
        break;
      default:
        bytes += std::string(1 + below(32), char(random()));
        break;
    }
  }
  return bytes;
}

class MutatedFiles : public testing::Test {
 protected:
  // Copies of what a parser reads, in a folder of its own.
  static void copy_seeds(const Folder& seeds, const Parser& parser, const Folder& folder) {
    fs::remove(folder.at("model.gguf"));
    for (const std::string& file : parser.files) {
      fs::create_directories(fs::path(folder.at(file)).parent_path());
      fs::copy_file(seeds.at(file), folder.at(file));
    }
  }

  static std::set<std::string> all_names(const Folder& folder) {
    std::set<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator(folder.path))
      names.insert(entry.path().string());
    return names;
  }

  // Empty: as it has to be.
  static std::string fault(const RunResult& run, const Folder& folder, const Parser& parser,
                           const std::set<std::string>& before) {
    if (run.status < 0 || run.status > 2) return fmt::format("status {}", run.status);
    if (!LORA_INSTRUMENTED && run.peak_bytes > (int64_t{500} << 20))
      return fmt::format("{} bytes of memory", run.peak_bytes);
    int n_errors = 0;
    const std::vector<std::string> lines = lines_of(run.err);
    for (const std::string& line : lines) {
      n_errors += line.starts_with("error: ");
      if (line.size() > 1000) return "a line of " + std::to_string(line.size()) + " bytes";
      for (char c : line) {
        if (uint8_t(c) < 0x20 || c == 0x7f) return "a control character";
      }
    }
    if (n_errors != (run.status != 0)) return fmt::format("{} error lines", n_errors);
    if (run.status != 0 && !lines.back().starts_with("error: ")) return "the error is not the last line";
    std::set<std::string> expected = before;
    if (run.status == 0) {
      for (const std::string& output : parser.outputs) {
        if (!fs::exists(folder.at(output))) return "no output " + output;
        if (fs::is_directory(folder.at(output))) {
          for (const auto& entry : fs::directory_iterator(folder.at(output)))
            expected.insert(entry.path().string());
        }
        expected.insert(folder.at(output));
      }
    }
    for (const std::string& name : all_names(folder)) {
      if (!expected.contains(name)) return "left behind: " + name;
    }
    return "";
  }
};

TEST_F(MutatedFiles, AreReadOrRefusedInOneLineAndLeaveNothing) {
  const int64_t n_mutations = number_of("LORA_MUTATIONS", LORA_INSTRUMENTED ? 150 : 600);
  const auto seed = uint64_t(number_of("LORA_MUTATION_SEED", 1));
  const Folder seeds;
  write_seeds(seeds);
  ASSERT_FALSE(HasFatalFailure());
  int64_t n_run = 0, n_refused = 0, n_wrong = 0;
  for (size_t p = 0; p < kParsers.size(); ++p) {
    const Parser& parser = kParsers[p];
    SCOPED_TRACE(parser.name);
    const Folder folder;
    copy_seeds(seeds, parser, folder);
    const std::set<std::string> before = all_names(folder);
    const auto n = int64_t(p + 1) * n_mutations / int64_t(kParsers.size()) - n_run;
    for (int64_t i = 0; i < n; ++i, ++n_run) {
      std::mt19937_64 random(seed * 1000003 + p * 7919 + uint64_t(i) * 104729);
      const std::string& file = parser.files[random() % size_t(parser.n_damaged)];
      const std::string good = folder.read(file), bad = i == 0 ? good : damaged(good, random);
      folder.write(file, bad);
      const RunResult run = folder.lora(parser.command, {.timeout_s = LORA_INSTRUMENTED ? 200 : 20});
      const std::string wrong = i == 0 && run.status != 0 &&
                                        parser.name != std::string("ggla: convert-lora") &&
                                        parser.name != std::string("importance, .dat: quantize")
                                    ? "the undamaged file is refused"
                                    : fault(run, folder, parser, before);
      n_refused += run.status != 0;
      if (!wrong.empty()) {
        const std::string kept = testing::TempDir() + fmt::format("lora_damaged_{}_{}_{}", p, i,
                                                                  fs::path(file).filename().string());
        write_file(kept, bad);
        ADD_FAILURE() << wrong << "\n" << file << " is kept as " << kept << "\n" << run.err.substr(0, 2000);
        if (++n_wrong >= 20) FAIL() << "and no more are tried";
      }
      folder.write(file, good);
      for (const std::string& output : parser.outputs) fs::remove_all(folder.at(output));
      for (const std::string& name : all_names(folder)) {
        if (!before.contains(name)) fs::remove_all(name);
      }
    }
  }
  std::printf("%lld damaged files, %lld of them refused\n", static_cast<long long>(n_run),
              static_cast<long long>(n_refused));
  EXPECT_GT(n_refused, n_run / 4) << "most damage is not seen: are the right files damaged?";
}

}  // namespace
}  // namespace lora::test
