// Damaged files, from the command line: small valid files of every format that a command reads, each damaged
// in a few places. Whatever is in them, a command ends by itself within seconds and hundreds of megabytes,
// with status 0, 1 or 2; where it fails, its last line and no other is the error, and no output is there. The
// fuzz targets (docs/fuzzing.md) try the parsers by themselves, and far more often.
//
//   LORA_MUTATIONS      how many damaged files are tried (600)
//   LORA_MUTATION_SEED  which ones (1): another number, other files
#include "damaged_files.h"

namespace lora::test {
namespace mutated_files_test {

using Args = std::vector<std::string>;

int64_t number_of(const char* variable, int64_t otherwise) {
  const char* text = std::getenv(variable);
  return text ? std::atoll(text) : otherwise;
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
      names.insert(entry.path().generic_string());
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
            expected.insert(entry.path().generic_string());
        }
        expected.insert(fs::path(folder.at(output)).generic_string());
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

}  // namespace mutated_files_test
}  // namespace lora::test
