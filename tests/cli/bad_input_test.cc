// What can be wrong with files and flags, in one table: each row either works, or is one clear error that
// leaves no file behind.
#include <sys/stat.h>

#include <span>

#include "cli_test.h"

namespace lora::test {
namespace {

constexpr int kWorks = 0, kFailed = 1, kUsage = 2;
using Args = std::vector<std::string>;
using Make = std::function<void(const Folder&)>;

struct Case {
  std::string name;
  Make make;  // files beside model.gguf and text.txt
  Args command;
  int status = kFailed;
  std::string says;  // in the error, or in what is printed where it works
  std::vector<std::pair<std::string, std::string>> environment = {};
};
void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

const Args kGenerate = {"generate", "-m", "model.gguf", "-p", "The ship", "-n", "2", "-s", "1"};
const Args kEval = {"eval", "-m", "model.gguf", "-p", "The ship sailed to the north and was not seen again."};

void nothing(const Folder&) {}

Make file(const std::string& name, const std::string& text) {
  return [=](const Folder& f) { f.write(name, text); };
}

// The bundled model's first n bytes, n counted from the place of `mark` in it.
Make truncated(const std::string& mark, size_t n) {
  return [=](const Folder& f) {
    const std::string model = read_file(kBundledModel);
    f.write("bad.gguf", model.substr(0, model.find(mark) + n));
  };
}

Make edited(const ModelEdits& edits) {
  return [=](const Folder& f) { write_edited_model(f.at("bad.gguf"), edits); };
}

// A version 3 file whose version is replaced by these bytes.
Make with_version(const std::string& bytes) {
  return [=](const Folder& f) { f.write("bad.gguf", read_file(kBundledModel).replace(4, 4, bytes)); };
}

// A well-formed adapter of rank 2 for one tensor.
Make adapter(const std::string& architecture, int64_t n_embd) {
  return [=](const Folder& f) {
    const std::vector<float> zeros(size_t(2 * n_embd));
    GgufWriter writer;
    writer.set_string("general.type", "adapter");
    writer.set_string("general.architecture", architecture);
    writer.set_string("adapter.type", "lora");
    writer.set_f32("adapter.lora.alpha", 2);
    const auto data = std::as_bytes(std::span(zeros));
    writer.add_tensor("blk.0.attn_q.weight.lora_a", Type::F32, {n_embd, 2}, data);
    writer.add_tensor("blk.0.attn_q.weight.lora_b", Type::F32, {2, n_embd}, data);
    writer.write(f.at("adapter.gguf"));
  };
}

// adapter.gguf and saved.gguf, a checkpoint, as the program writes them; made once.
void trained(const Folder& f) {
  static const Folder& made = []() -> const Folder& {
    static const Folder folder;
    folder.write("text.txt", ship_sentences());
    const RunResult run =
        folder.lora(kFinetune + Args{"--lora-out", "adapter.gguf", "--checkpoint-out", "saved.gguf"});
    EXPECT_EQ(run.status, 0) << run.err;
    return folder;
  }();
  for (const char* name : {"adapter.gguf", "saved.gguf"})
    std::filesystem::copy_file(made.at(name), f.at(name));
}

// Files that are no model, each with every command that takes one.
std::vector<Case> bad_models() {
  struct Bad {
    std::string name;
    Make make;
    std::string says;
    bool inspect_works = false, tokenize_works = false;
  };
  const auto nan_weights = [](const std::string& name, std::string& data) {
    if (name == "blk.2.ffn_up.weight") data[1] = '\x7e';  // the scale of a Q8_0 block: f16
  };
  const auto mamba = [](const std::string& key, GgufValue& value) {
    if (key == "general.architecture") value.value = std::string("mamba");
    return true;
  };
  const std::vector<Bad> bad = {
      {"Missing", nothing, "bad.gguf: cannot open: No such file"},
      {"Empty", file("bad.gguf", ""), "bad.gguf: "},
      {"NotGguf", file("bad.gguf", "PK\x03\x04 an archive, say, of some length"), "bad.gguf: "},
      {"Folder", [](const Folder& f) { std::filesystem::create_directory(f.at("bad.gguf")); },
       "bad.gguf: cannot open: "},
      {"CutInHeader", truncated("GGUF", 10), "bad.gguf: "},
      {"CutInMetadata", truncated("tokenizer.ggml.tokens", 5000), "bad.gguf: "},
      {"CutInTensorTable", truncated("blk.3.ffn_up.weight", 30), "bad.gguf: "},
      {"CutInData", truncated("", read_file(kBundledModel).size() - 1), "bad.gguf: "},
      {"Version1", with_version(std::string("\1\0\0\0", 4)), "bad.gguf: GGUF version 1"},
      {"BigEndian", with_version(std::string("\0\0\0\3", 4)), "bad.gguf: big-endian"},
      {"WrongArchitecture", edited({.edit_value = mamba}), "bad.gguf: architecture 'mamba' is not supported",
       true, true},
      {"VocabularyOnly", [](const Folder& f) { write_vocabulary(f.at("bad.gguf")); }, "token_embd.weight",
       true, true},
      {"NanWeights", edited({.edit_data = nan_weights}), "nan", true, true},
      {"AdapterAsModel",
       [](const Folder& f) {
         trained(f);
         std::filesystem::rename(f.at("adapter.gguf"), f.at("bad.gguf"));
       },
       "bad.gguf: general.type is 'adapter'", true},
      {"CheckpointAsModel",
       [](const Folder& f) {
         trained(f);
         std::filesystem::rename(f.at("saved.gguf"), f.at("bad.gguf"));
       },
       "bad.gguf: general.type is 'checkpoint'", true},
  };
  std::vector<Case> cases;
  const Args model = {"-m", "bad.gguf"};
  for (const Bad& b : bad) {
    cases.push_back({b.name + "Finetune", b.make, kFinetune + model, kFailed, b.says});
    cases.push_back({b.name + "Generate", b.make, kGenerate + model, kFailed, b.says});
    cases.push_back({b.name + "Eval", b.make, kEval + model, kFailed, b.says});
    cases.push_back({b.name + "Tokenize",
                     b.make,
                     {"tokenize", "-m", "bad.gguf", "-p", "a"},
                     b.tokenize_works ? kWorks : kFailed,
                     b.tokenize_works ? "" : "bad.gguf"});
    cases.push_back({b.name + "Inspect",
                     b.make,
                     {"inspect", "bad.gguf"},
                     b.inspect_works ? kWorks : kFailed,
                     b.inspect_works ? "general.architecture" : b.says});
  }
  return cases;
}

std::vector<Case> adapters() {
  return {
      {"LoraMissing", nothing, kGenerate + Args{"--lora", "none.gguf"}, kFailed, "none.gguf"},
      {"LoraTextFile", nothing, kGenerate + Args{"--lora", "text.txt"}, kFailed, "text.txt"},
      {"LoraEmptyFolder", nothing, kGenerate + Args{"--lora", "."}, kFailed, "adapter_config.json"},
      {"LoraOfOtherWidth", adapter("llama", 64), kGenerate + Args{"--lora", "adapter.gguf"}, kFailed,
       "adapter.gguf: tensor blk.0.attn_q.weight"},
      {"LoraOfOtherArchitecture", adapter("qwen2", 256), kGenerate + Args{"--lora", "adapter.gguf"}, kFailed,
       "adapter.gguf: "},
      {"LoraThatFits", adapter("llama", 256), kGenerate + Args{"--lora", "adapter.gguf"}, kWorks, "The ship"},
      {"LoraTwice", trained, kGenerate + Args{"--lora", "adapter.gguf", "--lora", "adapter.gguf"}, kWorks,
       "The ship"},
      {"LoraIsAModel", nothing, kEval + Args{"--lora", "model.gguf"}, kFailed, "model.gguf: "},
      {"LoraIsACheckpoint", trained, kEval + Args{"--lora", "saved.gguf"}, kFailed, "saved.gguf: "},
      {"LoraScaleIsNoNumber", trained, kGenerate + Args{"--lora-scaled", "adapter.gguf", "abc"}, kUsage,
       "--lora-scaled: "},
      {"LoraScaleMissing", trained, kGenerate + Args{"--lora-scaled", "adapter.gguf"}, kUsage,
       "--lora-scaled: "},
      {"LoraInitMissing", nothing, kFinetune + Args{"--lora-init", "none.gguf"}, kFailed, "none.gguf"},
      {"LoraInitOfOtherRank", trained, kFinetune + Args{"--lora-init", "adapter.gguf", "--lora-r", "8"},
       kFailed, "--lora-r: 8 was asked for, adapter.gguf has rank 4"},
      {"LoraInitOfOtherRankOfAKind", trained,
       kFinetune + Args{"--lora-init", "adapter.gguf", "--rank-wo", "3"}, kFailed,
       "--rank-wo: 3 was asked for"},
      {"LoraInitOfOtherAlpha", trained, kFinetune + Args{"--lora-init", "adapter.gguf", "--lora-alpha", "8"},
       kFailed, "--lora-alpha: 8 was asked for"},
      {"CheckpointIsAnAdapter", trained, kFinetune + Args{"--checkpoint-in", "adapter.gguf"}, kFailed,
       "adapter.gguf: not a checkpoint"},
      {"CheckpointIsAText", nothing, kFinetune + Args{"--checkpoint-in", "text.txt"}, kFailed, "text.txt: "},
      {"CheckpointOfOtherRank", trained, kFinetune + Args{"--checkpoint-in", "saved.gguf", "--lora-r", "8"},
       kFailed, "saved.gguf: --rank-wq differs"},
      {"CheckpointMissing", nothing, kFinetune + Args{"--checkpoint-in", "none.gguf"}, kWorks,
       "no file none.gguf, training starts from scratch"},
  };
}

std::vector<Case> texts() {
  const Args windows = kFinetune + Args{"--sample-start", ""};
  const auto no_bos = [](const std::string& key, GgufValue& value) {
    if (key == "tokenizer.ggml.add_bos_token") value.value = false;
    return key != "tokenizer.ggml.bos_token_id";
  };
  const Make model_without_bos = edited({.edit_value = no_bos});
  std::string words;
  for (int i = 0; i < 3000; ++i) words += "ship ";
  return {
      {"TextMissing", [](const Folder& f) { std::filesystem::remove(f.at("text.txt")); }, kFinetune, kFailed,
       "text.txt: cannot open"},
      {"TextEmpty", file("text.txt", ""), kFinetune, kFailed, "text.txt: no samples"},
      {"TextBlank", file("text.txt", " \n\t \r\n  \n"), kFinetune, kFailed, "text.txt: no samples"},
      {"TextBlankWindows", file("text.txt", " \n\t \r\n  \n"), windows, kFailed, "text.txt: no samples"},
      {"TextOfSeparators", file("text.txt", "<s><s> <s>\n<s>"), kFinetune, kFailed, "text.txt: no samples"},
      {"TextOfOneCharacter", file("text.txt", "x"), kFinetune, kWorks, "data: 1 sample, 3 tokens;"},
      {"TextOfOneCharacterWindows", file("text.txt", "x"), windows, kWorks, "data: 2 samples, 2 tokens;"},
      {"TextOfBytes", file("text.txt", "\xff\xfe\x80 <s>\xc3("), kFinetune, kWorks, "data: 2 samples"},
      {"TextInUtf16", file("text.txt", std::string("\xff\xfe<\0s\0>\0", 8)), kFinetune, kFailed,
       "text.txt: holds zero bytes"},
      {"PromptInUtf16", file("prompt.txt", std::string("\xff\xfeT\0", 4)),
       Args{"generate", "-m", "model.gguf", "-f", "prompt.txt"}, kFailed, "prompt.txt: holds zero bytes"},
      {"EvalTextInUtf16", file("prompt.txt", std::string("\xff\xfeT\0", 4)),
       Args{"eval", "-m", "model.gguf", "-f", "prompt.txt"}, kFailed, "prompt.txt: holds zero bytes"},
      {"TokenizeTextInUtf16", file("prompt.txt", std::string("\xff\xfeT\0", 4)),
       Args{"tokenize", "-m", "model.gguf", "-f", "prompt.txt"}, kFailed, "prompt.txt: holds zero bytes"},
      {"ConfigInUtf16",
       file("run.toml", std::string("\xff\xfe"
                                    "c\0",
                                    4)),
       Args{"finetune", "--config", "run.toml"}, kFailed, "run.toml: holds zero bytes"},
      {"ModelIsAHuggingFaceFolder",
       [](const Folder& f) {
         std::filesystem::create_directory(f.at("hf"));
         f.write("hf/config.json", "{}");
       },
       kFinetune + Args{"-m", "hf"}, kFailed,
       "hf: a Hugging Face folder, not a GGUF file; lora convert makes one of it"},
      {"TextIsAFolder",
       [](const Folder& f) {
         std::filesystem::remove(f.at("text.txt"));
         std::filesystem::create_directory(f.at("text.txt"));
       },
       kFinetune, kFailed, "text.txt: cannot open: a folder"},
      {"TextIsAPipe",
       [](const Folder& f) {
         std::filesystem::remove(f.at("text.txt"));
         ASSERT_EQ(mkfifo(f.at("text.txt").c_str(), 0600), 0);
       },
       kFinetune, kFailed, "text.txt: cannot open: not a regular file"},
      {"RecordWithoutFields", file("bad.jsonl", "{\"text\": \"a\"}\n{\"body\": \"a\"}\n"),
       kFinetune + Args{"--train-data", "bad.jsonl"}, kFailed, "bad.jsonl: line 2: found the fields body"},
      {"RecordsCutOff", file("bad.json", "[{\"text\": \"a\"},\n{\"text"),
       kFinetune + Args{"--train-data", "bad.json"}, kFailed,
       "bad.json: line 2: the record that begins here has no end"},
      {"TableWithoutNames", file("bad.csv", "hello,there\na,b\n"),
       kFinetune + Args{"--train-data", "bad.csv"}, kFailed, "bad.csv: line 1: it should name the fields"},
      {"ConversationWithoutATemplate",
       file("bad.jsonl", R"({"messages": [{"role": "assistant", "content": "a"}]})"),
       kFinetune + Args{"--train-data", "bad.jsonl"}, kFailed, "bad.jsonl: the model has no chat template"},
      {"WithoutBosFinetune", model_without_bos, kFinetune + Args{"-m", "bad.gguf"}, kWorks, "iter=     2"},
      {"WithoutBosGenerate", model_without_bos, kGenerate + Args{"-m", "bad.gguf"}, kWorks, "The ship"},
      {"WithoutBosEval", model_without_bos, kEval + Args{"-m", "bad.gguf"}, kWorks, "perplexity"},
      {"WithoutBosTokenize",
       model_without_bos,
       {"tokenize", "-m", "bad.gguf", "-p", "a", "--json"},
       kWorks,
       R"({"ids":[)"},
      {"WithoutBosEmptyPrompt", model_without_bos, kGenerate + Args{"-m", "bad.gguf", "-p", ""}, kFailed,
       "prompt: empty"},
      {"WithoutBosOneCharacter",
       [=](const Folder& f) {
         model_without_bos(f);
         f.write("text.txt", "x");
       },
       windows + Args{"-m", "bad.gguf", "--no-separate-with-eos"}, kWorks, ""},
      {"PromptEmpty", nothing, kGenerate + Args{"-p", ""}, kWorks, "prompt: 1 tokens"},
      {"PromptNotUtf8", nothing, kGenerate + Args{"-p", "\xff\xc3("}, kWorks, "generated: 2 tokens"},
      {"PromptNotUtf8Tokenize",
       nothing,
       {"tokenize", "-m", "model.gguf", "--json", "-p", "\xff\xc3("},
       kWorks,
       "ids"},
      {"PromptBeyondContext", nothing, kGenerate + Args{"-p", words}, kFailed, "do not fit a context of 512"},
      {"PromptAndFile", nothing, kGenerate + Args{"-f", "text.txt"}, kUsage,
       "--prompt: not together with --file"},
      {"PromptFileMissing", nothing, {"generate", "-m", "model.gguf", "-f", "none.txt"}, kFailed, "none.txt"},
      {"EvalEmpty",
       file("text.txt", ""),
       {"eval", "-m", "model.gguf", "-f", "text.txt"},
       kFailed,
       "nothing to predict"},
  };
}

std::vector<Case> numbers() {
  const std::string huge = "2147483647";
  std::vector<Case> cases = {
      {"CtxLongerThanAnySample", nothing, kFinetune + Args{"--ctx", "100000"}, kWorks,
       "0 cut at 100000 tokens"},
      {"CtxOne", nothing, kFinetune + Args{"--ctx", "1"}, kWorks, "iter=     2"},
      {"CtxOneGenerate", nothing, kGenerate + Args{"-c", "1"}, kFailed, "do not fit a context of 1"},
      {"CtxOneEval", nothing, kEval + Args{"-c", "1"}, kUsage, "--ctx-size: expected"},
      {"CtxHuge", nothing, kFinetune + Args{"--ctx", "10000000", "--fill-with-next-samples"}, kFailed,
       "memory: "},
      {"CtxHugeGenerate", nothing, kGenerate + Args{"-c", "10000000", "-n", "10000000"}, kFailed, "memory: "},
      {"CtxHugeEval", nothing, kEval + Args{"-c", "10000000"}, kWorks, "perplexity"},
      {"CtxAndBatchHuge", nothing,
       kFinetune + Args{"--ctx", huge, "--batch", huge, "--fill-with-next-samples"}, kFailed, "--batch: "},
      {"BatchHuge", nothing, kFinetune + Args{"--batch", "100000000"}, kFailed, "memory: "},
      {"RankHuge", nothing, kFinetune + Args{"--lora-r", "65536", "--memory", "1GiB"}, kFailed, "memory: "},
      {"MemoryTiny", nothing, kFinetune + Args{"--memory", "4MiB"}, kFailed, "needed at the least"},
      {"EpochsHuge", nothing, kFinetune + Args{"--adam-iter", "1", "--epochs", "1e300"}, kUsage,
       "--epochs: "},
      {"NoRank", nothing,
       kFinetune + Args{"--rank-wq", "0", "--rank-wk", "0", "--rank-wv", "0", "--rank-wo", "0", "--rank-w1",
                        "0", "--rank-w2", "0", "--rank-w3", "0"},
       kFailed, "nothing would be trained"},
      {"PredictHuge", nothing, kGenerate + Args{"-n", huge, "-c", "16"}, kWorks, "ended: "},
      {"UnknownKernelSet", nothing, kEval, kFailed, "LORA_ISA=abacus", {{"LORA_ISA", "abacus"}}},
  };
  const auto wrong = [&](const std::string& name, const Args& command, const std::string& flag,
                         const std::string& value) {
    cases.push_back({name, nothing, command + Args{flag, value}, kUsage, flag + ": expected"});
  };
  wrong("ThreadsNone", kFinetune, "--threads", "0");
  wrong("ThreadsNegative", kEval, "--threads", "-1");
  wrong("ThreadsTooMany", kGenerate, "--threads", "100000");
  wrong("RankNone", kFinetune, "--lora-r", "0");
  wrong("RankTooHigh", kFinetune, "--lora-r", "100000");
  wrong("RankOfAKindTooHigh", kFinetune, "--rank-w2", "100000");
  wrong("BatchNone", kFinetune, "--batch", "0");
  wrong("IterationsNone", kFinetune, "--adam-iter", "0");
  wrong("AlphaNotFinite", kFinetune, "--adam-alpha", "nan");
  wrong("PredictNegative", kGenerate, "--n-predict", "-5");
  wrong("PredictBeyondAllCounts", kGenerate, "--n-predict", "99999999999999999999");
  wrong("TempNegative", kGenerate, "--temp", "-0.5");
  wrong("TopPAboveOne", kGenerate, "--top-p", "2");
  return cases;
}

std::vector<Case> outputs() {
  const Make adapter_folder = [](const Folder& f) { std::filesystem::create_directory(f.at("lora.gguf")); };
  const Make to_full = [](const Folder& f) {
    std::filesystem::create_symlink("/dev/full", f.at("lora.gguf"));
  };
  const std::string temporary = "a.gguf.0123456789abcdef.tmp";
  return {
      {"OutputFolderMissing", nothing, kFinetune + Args{"--lora-out", "none/lora.gguf"}, kFailed,
       "none/lora.gguf"},
      {"CheckpointFolderMissing", nothing, kFinetune + Args{"--checkpoint-out", "none/c.gguf"}, kFailed,
       "none/c.gguf"},
      {"MetricsFolderMissing", nothing, kFinetune + Args{"--metrics", "none/m.jsonl"}, kFailed,
       "none/m.jsonl"},
      {"OutputFolderReadOnly", nothing, kFinetune + Args{"--lora-out", "/proc/lora.gguf"}, kFailed,
       "/proc/lora.gguf"},
      {"OutputIsAFolder", adapter_folder, kFinetune + Args{"--lora-out", "lora.gguf"}, kFailed,
       "lora.gguf: "},
      {"OutputIsADevice", to_full, kFinetune + Args{"--lora-out", "lora.gguf"}, kFailed,
       "lora.gguf: cannot write: not a regular file"},
      {"MetricsAreADevice", nothing, kFinetune + Args{"--metrics", "/dev/full"}, kFailed,
       "/dev/full: cannot write: not a regular file"},
      {"OutputIsTheModel", nothing, kFinetune + Args{"--lora-out", "./model.gguf"}, kFailed,
       "the file of --model-base"},
      {"OutputIsTheText", nothing, kFinetune + Args{"--checkpoint-out", "text.txt"}, kFailed,
       "the file of --train-data"},
      {"MetricsAreTheText", nothing, kFinetune + Args{"--metrics", "text.txt"}, kFailed,
       "the file of --train-data"},
      {"OutputsTemporaryIsTheModel", [=](const Folder& f) { f.write(temporary, f.read("model.gguf")); },
       kFinetune + Args{"-m", temporary, "--lora-out", "a.gguf"}, kFailed,
       "--lora-out: " + temporary + " is the file of --model-base, and named as a temporary file of a.gguf"},
      {"OutputsTemporaryIsTheOther", nothing,
       kFinetune + Args{"--lora-out", "a.gguf", "--checkpoint-out", temporary}, kFailed,
       "--lora-out: " + temporary +
           " is the file of --checkpoint-out, and named as a temporary file of a.gguf"},
      {"OutputsAreOne", nothing, kFinetune + Args{"--lora-out", "a.gguf", "--checkpoint-out", "a.gguf"},
       kUsage, "--checkpoint-out: a.gguf is the file of --lora-out"},
  };
}

std::vector<Case> all_cases() {
  std::vector<Case> all;
  for (const auto& part : {bad_models(), adapters(), texts(), numbers(), outputs()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

class BadInput : public testing::TestWithParam<Case> {};

TEST_P(BadInput, WorksOrIsOneClearErrorThatLeavesNothingBehind) {
  const Case& c = GetParam();
  const Folder folder;
  folder.write("text.txt", ship_sentences());
  c.make(folder);
  const auto text = [&] {
    return std::filesystem::is_regular_file(folder.at("text.txt")) ? folder.read("text.txt") : "";
  };
  const std::string text_before = text();
  const std::set<std::string> before = folder.names();
  const RunResult run = folder.lora(c.command, {.environment = c.environment});
  if (c.status == kWorks) {
    EXPECT_EQ(run.status, 0) << run.err;
    EXPECT_THAT(run.out + run.err, testing::HasSubstr(c.says));
    for (const std::string& name : folder.names()) EXPECT_THAT(name, testing::Not(testing::EndsWith(".tmp")));
  } else {
    expect_error(run, c.status, c.says);
    EXPECT_EQ(folder.names(), before);
  }
  EXPECT_EQ(text(), text_before);
  EXPECT_TRUE(std::filesystem::is_symlink(folder.at("model.gguf")));
}

INSTANTIATE_TEST_SUITE_P(All, BadInput, testing::ValuesIn(all_cases()),
                         [](const auto& test) { return test.param.name; });

// A limit on the size of files stands for a full disk; small files still fit.
TEST(FullDisk, IsAnErrorAndLeavesNoTemporaryFile) {
  const Folder folder;
  folder.write("text.txt", ship_sentences());
  std::string command = "ulimit -f 64; exec \"$0\" \"$@\"";
  const RunResult run = run_program(Args{"/bin/sh", "-c", command, LORA_PROGRAM} + kFinetune +
                                        Args{"--lora-out", "lora.gguf", "--checkpoint-out", ""},
                                    {.directory = folder.path});
  expect_error(run, 1, "lora.gguf: cannot write: File too large");
  EXPECT_EQ(folder.names(), (std::set<std::string>{"model.gguf", "text.txt"}));
}

}  // namespace
}  // namespace lora::test
