// What of a record is trained on, token by token.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/batch.h"
#include "data/data_test_util.h"

namespace lora {
namespace records_to_samples_test {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr Token kBos = 1, kEos = 2;  // of the bundled model

TextOptions with_template(const std::string& family, int64_t n_ctx = 512) {
  TextOptions options;
  options.chat_template = family;
  options.n_ctx = n_ctx;
  return options;
}

Dataset records(const std::string& name, const std::string& content, const TextOptions& options,
                const Tokenizer& tokenizer = tiny_tokenizer(), int n_threads = 1) {
  const ScratchFile file(name, content);
  ThreadPool pool(n_threads);
  return Dataset({file.path}, tokenizer, options, pool);
}

std::string error_in(const std::string& name, const std::string& content, const TextOptions& options) {
  const ScratchFile file(name, content);
  ThreadPool pool(2);
  const std::string message = test::error_of([&] { Dataset({file.path}, tiny_tokenizer(), options, pool); });
  EXPECT_THAT(message, testing::StartsWith(file.path + ": "));
  return message.substr(std::min(message.size(), file.path.size() + 2));
}

// The tokens that are trained on, as text, and those that are not.
struct Parts {
  std::string trained, untrained;
};
Parts parts_of(const Dataset& dataset, int64_t i = 0, const Tokenizer& tokenizer = tiny_tokenizer()) {
  Tokens inputs, targets, trained, untrained;
  dataset.sample(i, inputs, targets);
  EXPECT_EQ(inputs.size(), targets.size());
  if (tokenizer.add_bos()) {
    EXPECT_EQ(inputs[0], tokenizer.bos());
  }
  for (size_t k = 0; k < targets.size(); ++k) {
    if (targets[k] != kIgnore) {
      trained.push_back(targets[k]);
      // An input is the target before it, whether that is trained on or not.
      if (k + 1 < inputs.size()) {
        EXPECT_EQ(inputs[k + 1], targets[k]);
      }
    } else {
      untrained.push_back(inputs[k + 1]);
    }
  }
  const auto spell = [&](const Tokens& tokens) {
    std::string text;
    for (const Token token : tokens) text += tokenizer.decode(token, true);
    return text;
  };
  return {spell(trained), spell(untrained)};
}

TEST(RecordSamples, ATextIsTheSampleThatRawTextGives) {
  TextOptions raw;
  raw.sample_start = "#";
  EXPECT_EQ(
      all_samples(records("a.jsonl", "{\"text\": \"the whale\\r\\nand\"}\n{\"text\": \"the sea\"}", {})),
      all_samples(dataset_of("#the whale\nand#the sea", tiny_tokenizer(), raw)));
}

TEST(RecordSamples, OnlyTheCompletionIsTrainedOn) {
  const std::string line = R"({"prompt": "The ship sailed", "completion": " to the north."})";
  const Parts parts = parts_of(records("a.jsonl", line, {}));
  EXPECT_EQ(parts.untrained, " The ship sailed");
  EXPECT_EQ(parts.trained, " to the north.</s>");
  TextOptions options;
  options.separate_with_eos = false;
  EXPECT_EQ(parts_of(records("a.jsonl", line, options)).trained, " to the north.");
  options.train_on_all = true;
  EXPECT_EQ(parts_of(records("a.jsonl", line, options)).untrained, "");
}

// No token reaches from the prompt into the completion: the model will be asked with the prompt alone.
TEST(RecordSamples, ThePromptIsTokenizedAsItWillBeAsked) {
  const Dataset dataset = records("a.jsonl", R"({"prompt": "the wh", "completion": "ale"})", {});
  Tokens inputs, targets;
  dataset.sample(0, inputs, targets);
  const Tokens prompt = tiny_tokenizer().encode_with_bos("the wh");
  ASSERT_GT(inputs.size(), prompt.size());
  EXPECT_EQ(Tokens(inputs.begin(), inputs.begin() + int64_t(prompt.size())), prompt);
  EXPECT_EQ(std::count(targets.begin(), targets.end(), kIgnore), int64_t(prompt.size()) - 1);
}

constexpr const char* kChat =
    R"({"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}, )"
    R"({"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Bye</s>"}, )"
    R"({"role": "assistant", "content": "Farewell</s>"}]})";

TEST(RecordSamples, EveryReplyIsTrainedOnWithItsEndOfTurn) {
  const Parts zephyr = parts_of(records("a.jsonl", kChat, with_template("zephyr")));
  EXPECT_EQ(zephyr.trained, "Hello</s>Farewell</s></s>");
  EXPECT_EQ(zephyr.untrained,
            " <|system|>\nBe kind.</s> \n<|user|>\nHi</s> \n<|assistant|>\n \n<|user|>\nBye</s></s> "
            "\n<|assistant|>\n");
  // This vocabulary has no <|im_end|>: it is text, and EOS ends the sample.
  EXPECT_EQ(parts_of(records("a.jsonl", kChat, with_template("chatml"))).trained,
            "Hello<|im_end|>Farewell</s><|im_end|></s>");
}

TEST(RecordSamples, TheSpaceBeforeAReplyBelongsToItsFirstWord) {
  EXPECT_EQ(parts_of(records("a.jsonl", kChat, with_template("vicuna"))).trained,
            " Hello</s> Farewell</s></s>");
}

TEST(RecordSamples, TheTemplatesMarksAreSpecialTokensAndTheUsersAreText) {
  Tokens inputs, targets;
  const Dataset dataset = records("a.jsonl", kChat, with_template("llama2"));
  dataset.sample(0, inputs, targets);
  // The first <s> of the template is the BOS before the sample.
  EXPECT_EQ(std::count(inputs.begin(), inputs.end(), kBos), 2);
  EXPECT_EQ(std::count(inputs.begin(), inputs.end(), kEos), 1);
  EXPECT_EQ(std::count(targets.begin(), targets.end(), kEos), 2);
  EXPECT_EQ(targets.back(), kEos);
  EXPECT_EQ(dataset.report().special_spelling, kEos);

  TextOptions options = with_template("llama2");
  options.parse_special = true;
  records("a.jsonl", kChat, options).sample(0, inputs, targets);
  EXPECT_EQ(std::count(targets.begin(), targets.end(), kEos), 3);
}

// What is said once more at the end of a batch: its targets are the assistant's tokens and no others.
TEST(RecordSamples, ABatchCountsTheAssistantsTokens) {
  const Dataset dataset = records("a.jsonl", std::string(kChat) + "\n" + kChat, with_template("zephyr"));
  Batch batch;
  BatchOptions options;
  options.n_batch = 2;
  options.n_ctx = 512;
  next_batch(batch, dataset, options, 0);
  Tokens reply = {kEos};
  for (const char* text : {"Hello", "Farewell</s>"}) {
    Encoder encoder(tiny_tokenizer());
    Tokens before;
    encoder.append(before, "\n", false);  // a reply goes on from the template's line end
    encoder.append_next(reply, text, {});
  }
  EXPECT_EQ(batch.n_targets, 2 * (int64_t(reply.size()) + 1));
}

TEST(RecordSamples, TheThreeFormatsSayTheSame) {
  const auto jsonl = all_samples(records("a.jsonl",
                                         "\xEF\xBB\xBF{\"prompt\": \"a b\", \"completion\": "
                                         "\"c\\nd\"}\r\n\r\n{\"prompt\": \"e\", \"completion\": \"f\"}\r\n",
                                         {}));
  ASSERT_EQ(jsonl.size(), 2u);
  EXPECT_EQ(
      all_samples(records(
          "a.json",
          "[{\"prompt\": \"a b\", \"completion\": \"c\\nd\"},\n{\"prompt\": \"e\", \"completion\": \"f\"}]",
          {})),
      jsonl);
  EXPECT_EQ(
      all_samples(records("a.csv", "\xEF\xBB\xBFid,prompt,completion\r\n1,a b,\"c\r\nd\"\r\n2,e,f\r\n", {})),
      jsonl);
}

TEST(RecordSamples, ASillyTavernChatIsOneSample) {
  const std::string chat =
      "{\"user_name\": \"Ann\", \"character_name\": \"Bo\"}\n"
      "{\"name\": \"Bo\", \"is_user\": false, \"mes\": \"Hello\"}\n"
      "{\"name\": \"Ann\", \"is_user\": true, \"mes\": \"Hi\"}\n"
      "{\"name\": \"Bo\", \"is_user\": false, \"mes\": \"Bye\"}\n";
  const Dataset dataset = records("chat.jsonl", chat, with_template("zephyr"));
  EXPECT_EQ(dataset.n_samples(), 1);
  EXPECT_EQ(parts_of(dataset).trained, "Hello</s>Bye</s>");
}

TEST(RecordSamples, TextsAndRecordsMayBeMixed) {
  const ScratchFile text("t.txt", "abc"), list("r.jsonl", R"({"prompt": "d", "completion": "e"})"),
      more("u.txt", "fg");
  const Tokenizer letters = letters_tokenizer(true);
  ThreadPool pool(1);
  TextOptions windows;
  windows.n_ctx = 3;
  const Dataset dataset({text.path, list.path, more.path}, letters, windows, pool);
  EXPECT_THAT(all_samples(dataset), ElementsAre(InputsTargets({0, 1}, {1, 2}), InputsTargets({1}, {2}),
                                                InputsTargets({3, 4}, {4, 28}), InputsTargets({5}, {6})));
  EXPECT_EQ(dataset.report().n_record_files, 1);
  EXPECT_EQ(dataset.report().n_window_files, 2);
}

TEST(RecordSamples, WithNeitherBosNorEosASingleTokenHasNothingToPredict) {
  EXPECT_THAT(test::error_of([] { records("a.jsonl", R"({"text": "a"})", {}, letters_tokenizer(false)); }),
              HasSubstr("line 1: nothing to train on: a single token, with neither BOS nor EOS"));
}

TEST(RecordSamples, LongOnesAreCutAndWhatIsNotTrainedOnAtTheEndLeftOut) {
  const std::string chat =
      R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
          {"role": "user", "content": "cccccccccccccccccccccccccccccc"}, {"role": "assistant", "content": "d"}]})";
  std::string line = chat;
  std::erase(line, '\n');
  const Dataset whole = records("a.jsonl", line, with_template("zephyr"));
  Tokens inputs, targets;
  whole.sample(0, inputs, targets);
  const int64_t n = int64_t(inputs.size());
  const Dataset cut = records("a.jsonl", line, with_template("zephyr", n - 5));
  EXPECT_EQ(cut.report().n_cut, 1);
  EXPECT_EQ(cut.report().n_lost, 5);
  EXPECT_EQ(parts_of(cut).trained, "b</s>");
  cut.sample(0, inputs, targets);
  EXPECT_EQ(targets.back(), kEos);
}

TEST(RecordSamples, ABadRecordIsAnErrorWithItsLine) {
  const std::string good = "{\"prompt\": \"a\", \"completion\": \"b\"}\n";
  EXPECT_EQ(error_in("a.jsonl", good + good + "{\"prompt\": \"a\"}\n", {}), "line 3: completion: missing");
  EXPECT_EQ(error_in("a.jsonl", good + "{\"prompt\": \"a\", \"completion\": \" \"}\n", {}),
            "line 2: nothing to train on: the text is empty");
  EXPECT_EQ(error_in("a.json", "[" + good + ",{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}]",
                     with_template("chatml")),
            "line 2: nothing to train on: the assistant says nothing");
  EXPECT_EQ(error_in("a.csv", "text\na\n\"b\nc\"\n\"\"\n", {}),
            "line 5: nothing to train on: the text is empty");
  EXPECT_EQ(error_in("a.csv", "prompt,completion\na,b\nc\n", {}),
            "line 3: 1 fields where the first row names 2");
  EXPECT_EQ(
      error_in("a.jsonl", R"({"prompt": "the whale and the sea", "completion": "x"})", with_template("", 3)),
      "line 1: nothing to train on within 3 tokens (--ctx): what comes before it takes " +
          std::to_string(tiny_tokenizer().encode("the whale and the sea").size()));
  EXPECT_THAT(error_in("a.json", "[{}", {}), HasSubstr("line 1: expected , or ]"));
  EXPECT_THAT(error_in("a.csv", "q,a\n", {}), HasSubstr("line 1: it should name the fields"));
}

TEST(RecordSamples, OfManyBadRecordsTheFirstIsNamedAndAllAreSkipped) {
  std::string lines;
  for (int i = 1; i <= 20000; ++i) {
    lines +=
        i % 7000 == 0 ? "{\"nothing\": 1}\n" : "{\"text\": \"the whale number " + std::to_string(i) + "\"}\n";
  }
  EXPECT_THAT(error_in("a.jsonl", lines, {}), testing::StartsWith("line 7000: found the fields nothing"));
  TextOptions options;
  options.skip_bad_records = true;
  const Dataset dataset = records("a.jsonl", lines, options, tiny_tokenizer(), 4);
  EXPECT_EQ(dataset.n_samples(), 19998);
  EXPECT_EQ(dataset.report().n_bad, 2);
  EXPECT_THAT(dataset.report().first_bad, HasSubstr("a.jsonl: line 7000: found"));
  EXPECT_EQ(all_samples(dataset), all_samples(records("a.jsonl", lines, options)));
  EXPECT_THAT(error_in("a.jsonl", "{}\n", options),
              HasSubstr("all records were skipped, the first one because of"));
}

// Every way to weigh three replies: the tokens stay as they are, and of the targets those of the replies of
// weight 0, end of turn included, are not trained on.
TEST(RecordSamples, WeightsChangeTargetsAlone) {
  for (const char* family : {"zephyr", "vicuna", "llama2", "chatml"}) {
    const auto sample = [&](int weights) {
      std::string line = "{\"messages\": [";
      for (int i = 0; i < 3; ++i) {
        line +=
            fmt::format(R"({{"role": "user", "content": "Q{0}"}}, {{"role": "assistant", "content": "A{0}", )"
                        R"("weight": {1}}}, )",
                        i, weights >> i & 1);
      }
      line.replace(line.size() - 2, 2, "]}");
      InputsTargets result;
      records("a.jsonl", line, with_template(family)).sample(0, result.first, result.second);
      return result;
    };
    const InputsTargets all = sample(7);
    // The targets of reply i are those of the i-th run that is trained on.
    std::vector<int> reply(all.second.size(), -1);
    for (size_t k = 0, run = 0; k < reply.size(); ++k) {
      if (all.second[k] == kIgnore) continue;
      reply[k] = int(run);
      if (k + 1 == reply.size() || all.second[k + 1] == kIgnore) ++run;
    }
    ASSERT_EQ(reply.back(), 2) << family;
    for (int weights = 1; weights < 7; ++weights) {
      Tokens expected = all.second;
      for (size_t k = 0; k < reply.size(); ++k) {
        if (reply[k] >= 0 && !(weights >> reply[k] & 1)) expected[k] = kIgnore;
      }
      while (expected.back() == kIgnore) expected.pop_back();
      InputsTargets got = sample(weights);
      // A template without an end token gets EOS behind the last reply that is trained on.
      if (got.second.size() == expected.size() + 1 && got.second.back() == kEos) {
        got.first.pop_back();
        got.second.pop_back();
      }
      EXPECT_EQ(got.second, expected) << family << weights;
      EXPECT_EQ(got.first, Tokens(all.first.begin(), all.first.begin() + int64_t(expected.size())))
          << family << weights;
    }
  }
  const std::string none = R"({"messages": [{"role": "assistant", "content": "a", "weight": 0}]})";
  EXPECT_EQ(error_in("a.jsonl", "\n" + none, with_template("zephyr")),
            "line 2: nothing to train on: all that the assistant says has weight 0");
  TextOptions skipping = with_template("zephyr");
  skipping.skip_bad_records = true;
  const Dataset rest = records("a.jsonl", none + "\n{\"text\": \"a\", \"tools\": [1]}\n" + kChat, skipping);
  EXPECT_EQ(rest.n_samples(), 1);
  EXPECT_EQ(rest.report().n_bad, 2);
  EXPECT_THAT(rest.report().first_bad, HasSubstr("line 1: nothing to train on"));
}

TEST(RecordSamples, HistoryEndsItsTurnsAsTheModelDoes) {
  const std::string line =
      R"({"instruction": "c", "output": "d", "history": [["a", "b"]], "system": "S</s>"})";
  const Dataset dataset = records("a.jsonl", line, {});
  EXPECT_EQ(parts_of(dataset).trained, "b</s>d</s>");
  EXPECT_THAT(parts_of(dataset).untrained, testing::StartsWith(" S</s>\n\n### Instruction:\na"));
  Tokens inputs, targets;
  dataset.sample(0, inputs, targets);
  EXPECT_EQ(std::count(targets.begin(), targets.end(), kEos), 2);
  EXPECT_EQ(std::count(inputs.begin(), inputs.end(), kEos), 1);  // the system message's is text
}

TEST(RecordSamples, IgnoredFieldsAreCountedOverTheFile) {
  std::string lines;
  for (int i = 0; i < 3000; ++i) {
    lines += fmt::format(R"({{"text": "the whale {0}", "id": {0}{1}}})", i,
                         i % 1000 == 7 ? R"(, "topic": "x")" : "");
    lines += '\n';
  }
  for (const int n_threads : {1, 4}) {
    EXPECT_THAT(records("a.jsonl", lines, {}, tiny_tokenizer(), n_threads).report().ignored_fields,
                ElementsAre(testing::Pair("id", 3000), testing::Pair("topic", 3)));
  }
  EXPECT_THAT(records("a.csv", "text,id,weight,\nwhale,1,1,\nship,,1,x\n", {}).report().ignored_fields,
              ElementsAre(testing::Pair("", 1), testing::Pair("id", 1)));
  std::string many;
  for (int i = 0; i < 1000; ++i) many += fmt::format("{{\"text\": \"a\", \"f{:04}\": 1}}\n", i);
  const DatasetReport report = records("a.jsonl", many, {}).report();
  EXPECT_EQ(report.ignored_fields.size(), DatasetReport::kMostFields);
  EXPECT_EQ(report.ignored_fields.count("f0099"), 1u);
  EXPECT_TRUE(report.ignored_more);
}

TEST(RecordSamples, ColumnsOfACsvAreFieldsToo) {
  const TextOptions options;
  EXPECT_EQ(error_in("a.csv", "text,weight\na,1\nb,0\n", options),
            "line 3: nothing to train on: the record's weight is 0");
  EXPECT_THAT(error_in("a.csv", "text,tools\na,[]\nb,x\n", options), testing::StartsWith("line 3: tools: "));
  EXPECT_EQ(error_in("a.csv", "text,id,text\na,1,b\n", options), "line 1: two columns are named text");
  EXPECT_THAT(parts_of(records("a.csv", "instruction,output,system\na,b,Be kind.\n", options)).untrained,
              testing::StartsWith(" Be kind.\n\n### Instruction:\na"));
}

TEST(RecordSamples, AnUnknownTemplateIsAnErrorWhereItIsNeeded) {
  EXPECT_THAT(error_in("a.jsonl", kChat, {}),
              testing::AllOf(HasSubstr("the model has no chat template"), HasSubstr("--chat-template")));
  TextOptions options;
  options.skip_bad_records = true;
  EXPECT_THAT(error_in("a.jsonl", kChat, options), HasSubstr("--chat-template"));
}

TEST(RecordSamples, EmptyFilesHaveNoSamples) {
  for (const char* name : {"a.jsonl", "a.json", "a.csv"}) {
    EXPECT_THAT(error_in(name, "", {}), HasSubstr("no samples: there is no record")) << name;
  }
  EXPECT_THAT(error_in("a.jsonl", std::string("{\0}", 3), {}), HasSubstr("holds zero bytes"));
}

}  // namespace records_to_samples_test
}  // namespace lora
