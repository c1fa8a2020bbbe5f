// A chat longer than the context: every reply is trained on exactly once, behind the system message and the
// turns before it.
#include <gmock/gmock.h>

#include "data/data_test_util.h"

namespace lora {
namespace split_chat_test {

// Turns "Q0" "A0" ..., of different lengths; a greeting before them.
std::string chat_of(int n_turns, bool greets) {
  std::string lines = R"({"user_name":"Ann","character_name":"Bo"})";
  const auto add = [&](bool is_user, const std::string& words) {
    lines += fmt::format("\n{{\"name\":\"{}\",\"is_user\":{},\"mes\":\"{}\"}}", is_user ? "Ann" : "Bo",
                         is_user, words);
  };
  if (greets) add(false, "A-");
  for (int i = 0; i < n_turns; ++i) {
    add(true, fmt::format("Q{}", i));
    add(false, fmt::format("A{}{}", i, std::string(size_t(i * 7 % 5), '.')));
  }
  return lines;
}

constexpr std::string_view kSystem = " <|system|>\nBo is kind.</s> \n";

Dataset split(const std::string& chat, int overlap, int64_t n_ctx) {
  const ScratchFile file("chat.jsonl", chat),
      card("card.json", R"({"name":"Bo","description":"Bo is kind."})");
  TextOptions options;
  options.chat_template = "zephyr";
  options.n_ctx = n_ctx;
  options.card = card.path;
  options.overlap_turns = overlap;
  ThreadPool pool(2);
  return Dataset({file.path}, tiny_tokenizer(), options, pool);
}

// The words that begin with the letter, with whether they are trained on.
std::vector<std::pair<std::string, bool>> words_of(const std::string& sample, char letter) {
  std::vector<std::pair<std::string, bool>> words;
  for (size_t at = 0; (at = sample.find(letter, at)) != sample.npos; ++at) {
    const size_t end = sample.find_first_of("<.", at);
    const size_t open = sample.rfind("{+", at), shut = sample.rfind("+}", at);
    words.emplace_back(sample.substr(at, end - at),
                       open != sample.npos && (shut == sample.npos || shut < open));
  }
  return words;
}

TEST(SplitChat, EveryReplyIsTrainedOnOnceBehindTheSystemMessage) {
  for (const bool greets : {false, true}) {
    std::vector<std::string> replies;
    if (greets) replies.emplace_back("A-");
    for (int i = 0; i < 20; ++i) replies.push_back(fmt::format("A{}", i));
    for (const int overlap : {0, 1, 2}) {
      SCOPED_TRACE(fmt::format("overlap {}, greets {}", overlap, greets));
      const Dataset data = split(chat_of(20, greets), overlap, 150);
      ASSERT_GE(data.n_samples(), 3);
      EXPECT_EQ(data.report().n_split, 1);
      EXPECT_EQ(data.report().n_cut, 0);
      EXPECT_EQ(data.report().n_lost, 0);
      EXPECT_LE(data.report().longest, 150);
      std::vector<std::string> trained;
      for (int64_t i = 0; i < data.n_samples(); ++i) {
        const std::string sample = marked(data, i);
        EXPECT_THAT(sample, testing::StartsWith(std::string(kSystem)));
        std::vector<std::string> read;
        for (const auto& [word, is_trained] : words_of(sample, 'A')) {
          if (word == "Ann") continue;
          if (!is_trained) read.push_back(word);
          if (is_trained) trained.push_back(word);
        }
        // Those read again are the last ones before.
        const size_t n_before = trained.size() - (words_of(sample, 'A').size() - read.size());
        EXPECT_EQ(read.size(), i == 0 ? 0 : size_t(overlap)) << sample;
        const std::vector<std::string> before(trained.begin() + int64_t(n_before - read.size()),
                                              trained.begin() + int64_t(n_before));
        EXPECT_EQ(read, before) << sample;
        for (const auto& [word, is_trained] : words_of(sample, 'Q')) EXPECT_FALSE(is_trained) << word;
      }
      EXPECT_EQ(trained, replies);
    }
  }
}

}  // namespace split_chat_test
}  // namespace lora
