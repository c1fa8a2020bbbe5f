// What `lora eval` measures: windows, targets, and figures that depend on nothing else.
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/regex_test_util.h"
#include "cli_test.h"

namespace lora::test {
namespace eval_test {

using Args = std::vector<std::string>;
using nlohmann::ordered_json;

class Eval : public testing::Test {
 protected:
  Folder folder;
  void SetUp() override { folder.write("text.txt", ship_sentences("\n")); }

  ordered_json figures(const Args& flags) const {
    const RunResult run = folder.lora(Args{"eval", "-m", "model.gguf", "-f", "text.txt", "--json"} + flags);
    EXPECT_EQ(run.status, 0) << run.err;
    return parse_json(run.out);
  }
  int64_t n_text_tokens(const std::string& model) const {
    const RunResult run = folder.lora({"tokenize", "-m", model, "-f", "text.txt", "--json", "--no-bos"});
    return int64_t(parse_json(run.out)["ids"].size());
  }
};

TEST_F(Eval, JsonHoldsThreeFiguresThatAgree) {
  const ordered_json json = figures({});
  Args keys;
  for (const auto& [key, value] : json.items()) keys.push_back(key);
  EXPECT_EQ(keys, (Args{"nll", "perplexity", "tokens"}));
  EXPECT_NEAR(std::exp(json["nll"].get<double>()), json["perplexity"].get<double>(),
              1e-9 * double(json["perplexity"]));
  EXPECT_TRUE(json["tokens"].is_number_integer());
}

TEST_F(Eval, LineEndsOfWindowsAndAByteOrderMarkChangeNothing) {
  const ordered_json json = figures({});
  std::string text = "\xEF\xBB\xBF";
  for (const char c : ship_sentences("\n")) text += c == '\n' ? "\r\n" : std::string(1, c);
  folder.write("text.txt", text);
  EXPECT_EQ(figures({}), json);
}

TEST_F(Eval, TextOutputHoldsTheSameFigures) {
  const ordered_json json = figures({});
  const RunResult run = folder.lora({"eval", "-m", "model.gguf", "-f", "text.txt"});
  EXPECT_THAT(run.out, matches_regex("nll +[0-9.]+\nperplexity +[0-9.]+\ntokens +[0-9]+\n"));
  EXPECT_NEAR(std::stod(run.out.substr(run.out.find("perplexity") + 10)), double(json["perplexity"]), 1e-6);
  EXPECT_EQ(run.err, "");
}

TEST_F(Eval, WithBosEveryTokenOfTheTextIsATarget) {
  const int64_t n = n_text_tokens("model.gguf");
  ASSERT_GT(n, 500);
  for (const int64_t ctx : {int64_t{2}, int64_t{7}, int64_t{64}, n, n + 1, n + 1000}) {
    EXPECT_EQ(figures({"-c", std::to_string(ctx)})["tokens"], n) << ctx;
  }
}

TEST_F(Eval, WithoutBosTheFirstTokenOfEachWindowIsNone) {
  const auto no_bos = [](const std::string& key, GgufValue& value) {
    if (key == "tokenizer.ggml.add_bos_token") value.value = false;
    return true;
  };
  write_edited_model(folder.at("plain.gguf"), {.edit_value = no_bos});
  const int64_t n = n_text_tokens("plain.gguf");
  for (const int64_t ctx : {int64_t{2}, int64_t{7}, int64_t{64}, n - 1, n, n + 1000}) {
    const int64_t n_windows = (n + ctx - 1) / ctx;
    EXPECT_EQ(figures({"-m", "plain.gguf", "-c", std::to_string(ctx)})["tokens"], n - n_windows) << ctx;
  }
}

TEST_F(Eval, AContextThatHoldsTheWholeTextIsAsGoodAsAnyLonger) {
  const int64_t n = n_text_tokens("model.gguf");
  const ordered_json want = figures({"-c", std::to_string(n + 1), "--precision", "f32"});
  EXPECT_NEAR(figures({"-c", std::to_string(n + 500), "--precision", "f32"})["nll"].get<double>(),
              double(want["nll"]), 1e-7);
  EXPECT_GT(figures({"-c", "4", "--precision", "f32"})["nll"], want["nll"]);
}

// Windows are apart: one of them alone has the loss it has among others.
TEST_F(Eval, AWindowSeesNothingOfTheOthers) {
  const auto nll_and_tokens = [&](int n_words) {
    std::string words;
    for (int i = 0; i < n_words; ++i) words += "ship ";
    folder.write("text.txt", words);
    const ordered_json json = figures({"-c", "9", "--precision", "f32"});
    return std::pair{double(json["nll"]), int64_t(json["tokens"])};
  };
  const auto [a, n_a] = nll_and_tokens(200);
  const auto [b, n_b] = nll_and_tokens(400);
  ASSERT_GT(n_b, n_a + 100);
  EXPECT_NEAR(a, b, 0.02 * a);  // up to the first window, which holds the text's beginning
}

TEST_F(Eval, FiguresDoNotDependOnThreads) {
  EXPECT_EQ(figures({"--threads", "1"}), figures({"--threads", "2"}));
}

TEST_F(Eval, Bf16IsCloseToF32) {
  const double f32 = figures({"--precision", "f32"})["nll"], bf16 = figures({"--precision", "bf16"})["nll"];
  EXPECT_NEAR(bf16, f32, 0.01 * f32);
  EXPECT_NE(bf16, f32);
}

TEST_F(Eval, RotarySettingsAreTheModelsUnlessGiven) {
  const ordered_json own = figures({});
  EXPECT_EQ(figures({"--rope-freq-base", "10000", "--rope-freq-scale", "1"}), own);
  EXPECT_NE(figures({"--rope-freq-base", "500000"})["nll"], own["nll"]);
  EXPECT_NE(figures({"--rope-freq-scale", "0.5"})["nll"], own["nll"]);
}

// An adapter trained with other rotary settings than the model's is applied with them.
TEST_F(Eval, AnAdaptersRotarySettingsComeWithIt) {
  const RunResult trained = folder.lora(kFinetune + Args{"--rope-freq-scale", "0.5", "--lora-out",
                                                         "half.gguf", "--checkpoint-out", "", "--allow-cut"});
  ASSERT_EQ(trained.status, 0) << trained.err;
  EXPECT_THAT(trained.err, testing::HasSubstr("--rope-freq-scale: 0.5 is used, the model's own is 1"));
  const Args half = {"--lora", "half.gguf"}, nothing = {"--lora-scaled", "half.gguf", "0"};
  EXPECT_EQ(figures(half), figures(half + Args{"--rope-freq-scale", "0.5"}));
  EXPECT_NE(figures(half), figures(half + Args{"--rope-freq-scale", "1"}));
  EXPECT_EQ(figures(nothing), figures({"--rope-freq-scale", "0.5"}));
}

}  // namespace eval_test
}  // namespace lora::test
