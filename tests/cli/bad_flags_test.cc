// Texts, flags and outputs that a command cannot take.

#include "bad_input.h"

namespace lora::test {
namespace bad_flags_test {

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
      {"TextOfOneCharacter", file("text.txt", "x"), kFinetune + Args{"--allow-cut"}, kWorks,
       "data: 1 sample, 3 tokens;"},
      {"TextWithoutTheMark", file("text.txt", "x"), kFinetune, kFailed, "does not occur in text.txt"},
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
       kFinetune, kFailed, "text.txt: no .txt, .jsonl, .json, .csv or .tsv file in this folder"},
      {"TextIsAPipe",
       [](const Folder& f) {
         std::filesystem::remove(f.at("text.txt"));
         ASSERT_TRUE(make_fifo(f.at("text.txt")));
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
      {"CtxOne", nothing, kFinetune + Args{"--ctx", "1", "--allow-cut"}, kWorks, "iter=     2"},
      {"CtxThatCutsMost", nothing, kFinetune + Args{"--ctx", "1"}, kFailed, "--ctx: 592 of the 632 tokens"},
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
      {"NoRankAtAll", nothing, kFinetune + Args{"--lora-r", "0"}, kFailed, "nothing would be trained"},
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
  wrong("RankBelowNone", kFinetune, "--lora-r", "-1");
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
  for (const auto& part : {texts(), numbers(), outputs()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  static const std::set<std::string> kOfPosix = {"TextIsAPipe", "OutputFolderReadOnly", "OutputIsADevice",
                                                 "MetricsAreADevice"};
  if (!is_posix()) std::erase_if(all, [](const Case& c) { return kOfPosix.contains(c.name); });
  return all;
}

class BadFlags : public testing::TestWithParam<Case> {};

TEST_P(BadFlags, WorksOrIsOneClearErrorThatLeavesNothingBehind) {
  expect_case(GetParam());
}

INSTANTIATE_TEST_SUITE_P(All, BadFlags, testing::ValuesIn(all_cases()),
                         [](const auto& test) { return test.param.name; });

// A limit on the size of files stands for a full disk; small files still fit.
TEST(FullDisk, IsAnErrorAndLeavesNoTemporaryFile) {
  if (!is_posix()) GTEST_SKIP() << "only POSIX has what it needs";
  const Folder folder;
  folder.write("text.txt", ship_sentences());
  std::string command = "ulimit -f 64; exec \"$0\" \"$@\"";
  const RunResult run = run_program(Args{"/bin/sh", "-c", command, LORA_PROGRAM} + kFinetune +
                                        Args{"--lora-out", "lora.gguf", "--checkpoint-out", ""},
                                    {.directory = folder.path});
  expect_error(run, 1, "lora.gguf: cannot write: File too large");
  EXPECT_EQ(folder.names(), (std::set<std::string>{"model.gguf", "text.txt"}));
}

}  // namespace bad_flags_test
}  // namespace lora::test
