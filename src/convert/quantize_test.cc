#include "convert/quantize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "convert/imatrix.h"
#include "convert/test_models.h"

namespace lora {
namespace quantize_test {

using test::TemporaryFolder;
using test::TestModel;

const std::string kOriginal = LORA_SHARED_DIR "/models/tiny-f32.gguf";

std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string error_of(const QuantizeOptions& options) {
  try {
    quantize(options, {});
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

struct Record {
  Type to;
  double error;
};
std::map<std::string, Record> records_of(const QuantizeOptions& options) {
  std::map<std::string, Record> records;
  QuantizeEvents events;
  events.on_tensor = [&](const QuantizedTensor& t, uint64_t, uint64_t) {
    records[std::string(t.name)] = {t.to, t.relative_error.value_or(0)};
  };
  quantize(options, events);
  return records;
}

// Types and errors of llama.cpp's quantizer on the model that was trained for this project, for every mix.
TEST(Quantize, TypesAreThoseOfLlamaCppAndErrorsAtMost) {
  if (!std::ifstream(kOriginal)) GTEST_SKIP() << kOriginal << " is not here";
  const TemporaryFolder folder;
  const auto golden = nlohmann::json::parse(std::ifstream(LORA_SOURCE_DIR "/tests/golden/quant-rmse.json"));
  for (const auto& [mix, tensors] : golden.items()) {
    QuantizeOptions options{kOriginal, folder.at("out.gguf"), find_mix(mix)};
    options.measure_errors = true;
    const auto records = records_of(options);
    ASSERT_EQ(tensors.size(), 44u);
    for (const auto& [name, theirs] : tensors.items()) {
      const Record& ours = records.at(name);
      EXPECT_EQ(traits(ours.to).name, theirs[0].get<std::string>()) << mix << ' ' << name;
      EXPECT_GT(ours.error, 0) << mix << ' ' << name;
      EXPECT_LE(ours.error, theirs[1].get<double>() * (1 + 1e-6)) << mix << ' ' << name;
    }
  }
}

TEST(Quantize, Q8_0IsTheBundledModelByteForByte) {
  if (!std::ifstream(kOriginal)) GTEST_SKIP() << kOriginal << " is not here";
  const TemporaryFolder folder;
  quantize({kOriginal, folder.at("out.gguf"), find_mix("Q8_0")}, {});
  const Gguf ours = Gguf::open(folder.at("out.gguf")),
             theirs = Gguf::open(LORA_SOURCE_DIR "/models/tiny-q8_0.gguf");
  ASSERT_EQ(ours.tensors().size(), theirs.tensors().size());
  for (const GgufTensor& tensor : ours.tensors()) {
    const auto other = theirs.tensor(tensor.name).data;
    EXPECT_TRUE(std::equal(tensor.data.begin(), tensor.data.end(), other.begin(), other.end()))
        << tensor.name;
  }
  EXPECT_EQ(ours.get_int("general.file_type"), theirs.get_int("general.file_type"));
  EXPECT_EQ(ours.get_int("general.quantization_version"), theirs.get_int("general.quantization_version"));
}

TEST(Quantize, MetadataIsCopiedAndWhatIsNoWeightStays) {
  const TemporaryFolder folder;
  const std::string in = TestModel({}).write(folder.at("in.gguf")), out = folder.at("out.gguf");
  quantize({in, out, find_mix("Q4_K_M")}, {});
  const Gguf before = Gguf::open(in), after = Gguf::open(out);
  EXPECT_EQ(after.get_int("general.file_type"), 15);
  EXPECT_EQ(after.get_int("general.quantization_version"), 2);
  EXPECT_EQ(after.get_string("general.name"), "test");
  EXPECT_EQ(after.values().size(), before.values().size() + 1);
  ASSERT_EQ(after.tensors().size(), before.tensors().size());
  for (size_t i = 0; i < after.tensors().size(); ++i) {
    const GgufTensor &a = before.tensors()[i], &b = after.tensors()[i];
    EXPECT_EQ(a.name, b.name);
    EXPECT_EQ(a.shape(), b.shape());
    if (a.n_dims == 1) {
      EXPECT_TRUE(b.type == Type::F32 && std::equal(a.data.begin(), a.data.end(), b.data.begin())) << a.name;
    }
  }
}

TEST(Quantize, TheNumberOfThreadsChangesNoByte) {
  const TemporaryFolder folder;
  const std::string in = TestModel({.n_ff = 1024, .n_vocab = 700}).write(folder.at("in.gguf"));
  for (const char* mix : {"Q4_K_M", "Q3_K_S", "Q5_0", "Q8_0", "BF16"}) {
    QuantizeOptions options{in, folder.at("one.gguf"), find_mix(mix), 1};
    const QuantizeResult result = quantize(options, {});
    EXPECT_LT(result.bytes_after, result.bytes_before);
    options.out = folder.at("many.gguf"), options.threads = 5;
    quantize(options, {});
    EXPECT_EQ(bytes_of(folder.at("one.gguf")), bytes_of(folder.at("many.gguf"))) << mix;
  }
}

TEST(Quantize, F32AndBackIsTheSame) {
  const TemporaryFolder folder;
  const std::string in = TestModel({.type = Type::BF16}).write(folder.at("in.gguf"));
  quantize({in, folder.at("f32.gguf"), find_mix("F32")}, {});
  quantize({folder.at("f32.gguf"), folder.at("bf16.gguf"), find_mix("BF16")}, {});
  const Gguf before = Gguf::open(in), after = Gguf::open(folder.at("bf16.gguf"));
  for (const GgufTensor& a : before.tensors()) {
    const GgufTensor& b = after.tensor(a.name);
    EXPECT_TRUE(a.type == b.type && std::equal(a.data.begin(), a.data.end(), b.data.begin(), b.data.end()))
        << a.name;
  }
}

TEST(Quantize, WhatIsQuantizedAlreadyNeedsAWord) {
  const TemporaryFolder folder;
  const std::string in = TestModel({.type = Type::Q8_0}).write(folder.at("in.gguf"));
  QuantizeOptions options{in, folder.at("out.gguf"), find_mix("Q4_K_M")};
  EXPECT_THAT(error_of(options), testing::HasSubstr("Q8_0 already"));
  EXPECT_THAT(error_of(options), testing::HasSubstr("--allow-requantize"));
  EXPECT_EQ(folder.n_files(), 1u);
  options.allow_requantize = true;
  EXPECT_EQ(error_of(options), "no error");
  options.mix = find_mix("Q8_0"), options.allow_requantize = false;  // nothing is lost: copied
  EXPECT_EQ(error_of(options), "no error");
}

TEST(Quantize, ADryRunWritesNothing) {
  const TemporaryFolder folder;
  QuantizeOptions options{TestModel({}).write(folder.at("in.gguf")), folder.at("out.gguf"),
                          find_mix("Q4_K_M")};
  options.dry_run = true;
  const QuantizeResult dry = quantize(options, {});
  EXPECT_EQ(folder.n_files(), 1u);
  options.dry_run = false;
  EXPECT_EQ(dry.bytes_after, quantize(options, {}).bytes_after);
}

TEST(Quantize, StoppedItLeavesNothing) {
  const TemporaryFolder folder;
  const std::string in = TestModel({}).write(folder.at("in.gguf"));
  QuantizeEvents events;
  events.should_stop = [] { return true; };
  EXPECT_TRUE(quantize({in, folder.at("out.gguf"), find_mix("Q4_K_M")}, events).stopped);
  EXPECT_EQ(folder.n_files(), 1u);
}

TEST(Quantize, DamagedWeightsAndWrongFilesAreRefused) {
  const TemporaryFolder folder;
  TestModel model({});
  const std::string good = model.write(folder.at("in.gguf"));
  const float nan = NAN;
  std::memcpy(model.tensors.back().data.data() + 400, &nan, 4);
  QuantizeOptions options{model.write(folder.at("nan.gguf")), folder.at("out.gguf"), find_mix("Q4_K_M")};
  EXPECT_THAT(error_of(options), testing::HasSubstr("blk.1.ffn_gate.weight"));
  options.in = options.out = good;
  EXPECT_THAT(error_of(options), testing::HasSubstr("would replace"));
  options.out = folder.at("same");
  options.in = options.out + ".0123456789abcdef.tmp";
  std::filesystem::copy_file(good, options.in);
  EXPECT_THAT(error_of(options), testing::HasSubstr("same.0123456789abcdef.tmp, which is read"));
  EXPECT_EQ(std::filesystem::file_size(options.in), std::filesystem::file_size(good));
  std::filesystem::remove(options.in);
  options.in = good;
  options.out = folder.at("out.gguf");
  GgufWriter adapter;
  adapter.set_string("general.type", "adapter");
  adapter.write(options.in = folder.at("adapter.gguf"));
  EXPECT_THAT(error_of(options), testing::HasSubstr("'adapter', expected a model"));
  options.in = folder.at("missing.gguf");
  EXPECT_THAT(error_of(options), testing::HasSubstr("cannot open"));
  options.in = good, options.out = folder.at("no/such/out.gguf");
  EXPECT_THAT(error_of(options), testing::HasSubstr("out.gguf"));
  EXPECT_EQ(folder.n_files(), 3u);
}

TEST(Quantize, AValueBeyondItsTypeIsRefused) {
  const TemporaryFolder folder;
  TestModel model({});
  const auto quantized = [&](float value, const char* type) {
    std::memcpy(model.tensors.back().data.data() + 400, &value, 4);
    return error_of({model.write(folder.at("in.gguf")), folder.at("out.gguf"), find_mix(type)});
  };
  EXPECT_EQ(quantized(65504, "F16"), "no error");
  EXPECT_EQ(quantized(65519, "F16"), "no error");  // rounds to 65504
  std::filesystem::remove(folder.at("out.gguf"));
  for (const auto& [value, type] : {std::pair{65520.0f, "F16"},
                                    {-7e4f, "F16"},
                                    {3.4e38f, "BF16"},
                                    {1e7f, "Q8_0"},
                                    {-1e6f, "Q4_0"},
                                    {1e6f, "Q4_1"},
                                    {1e9f, "Q4_K_S"}}) {
    EXPECT_THAT(
        quantized(value, type),
        testing::AllOf(testing::HasSubstr("blk.1.ffn_gate.weight"),
                       testing::HasSubstr(fmt::format("a value of {:g} is beyond what", std::fabs(value))),
                       testing::HasSubstr("F32")))
        << type << ' ' << value;
    EXPECT_EQ(folder.n_files(), 1u);
  }
  EXPECT_EQ(quantized(7e4f, "BF16"), "no error");
  EXPECT_EQ(quantized(7e4f, "Q8_0"), "no error");
  EXPECT_EQ(quantized(3.4e38f, "F32"), "no error");
}

TEST(Quantize, SplitFilesBecomeOne) {
  const TemporaryFolder folder;
  const TestModel model({});
  quantize({model.write(folder.at("in.gguf")), folder.at("whole.gguf"), find_mix("Q4_K_M")}, {});
  const std::string first = model.write_split(folder.path());
  quantize({first, folder.at("joined.gguf"), find_mix("Q4_K_M")}, {});
  EXPECT_EQ(bytes_of(folder.at("joined.gguf")), bytes_of(folder.at("whole.gguf")));
  EXPECT_THAT(error_of({folder.at("m-00002-of-00002.gguf"), first, find_mix("Q4_K_M")}),
              testing::HasSubstr("would replace"));
}

// Sum over the tensor of w (x - y)^2 with the imatrix' means as w.
double weighted_error(const Gguf& before, const Gguf& after, const std::string& name,
                      const ImatrixEntry& entry) {
  const GgufTensor &a = before.tensor(name), &b = after.tensor(name);
  std::vector<float> x(size_t(a.ne[0])), y(size_t(a.ne[0]));
  double sum = 0;
  for (int64_t r = 0; r < a.ne[1] * a.ne[2]; ++r) {
    decode_row(x.data(), a.matrix(), r, 0, a.ne[0]);
    decode_row(y.data(), b.matrix(), r, 0, a.ne[0]);
    const size_t expert = entry.counts.size() > 1 ? size_t(r / a.ne[1]) : 0;
    for (size_t c = 0; c < x.size(); ++c) {
      sum += double(entry.sums[expert * x.size() + c]) * std::pow(double(x[c]) - double(y[c]), 2);
    }
  }
  return sum;
}

TEST(Quantize, AnImatrixLowersTheErrorOfImportantColumns) {
  const TemporaryFolder folder;
  for (const int64_t n_expert : {0, 4}) {
    const std::string in = TestModel({.n_expert = n_expert}).write(folder.at("in.gguf"));
    const std::string name = n_expert > 0 ? "blk.1.ffn_up_exps.weight" : "blk.1.ffn_up.weight";
    Imatrix imatrix;
    ImatrixEntry& entry = imatrix.entries[name];
    entry.counts.assign(size_t(std::max<int64_t>(1, n_expert)), 10);
    entry.sums.resize(entry.counts.size() * 256);
    for (size_t i = 0; i < entry.sums.size(); ++i) entry.sums[i] = (i + i / 256) % 5 == 0 ? 500.0f : 1.0f;
    imatrix.datasets = {"text.txt"};
    write_imatrix(imatrix, folder.at("imatrix.gguf"));
    QuantizeOptions options{in, folder.at("plain.gguf"), find_mix("Q4_K_S")};
    quantize(options, {});
    options.out = folder.at("weighted.gguf"), options.imatrix = folder.at("imatrix.gguf");
    quantize(options, {});
    const Gguf before = Gguf::open(in), plain = Gguf::open(folder.at("plain.gguf")),
               weighted = Gguf::open(folder.at("weighted.gguf"));
    EXPECT_LT(weighted_error(before, weighted, name, entry),
              0.8 * weighted_error(before, plain, name, entry));
    EXPECT_EQ(weighted.get_string("quantize.imatrix.dataset"), "text.txt");
    EXPECT_EQ(weighted.get_int("quantize.imatrix.entries_count"), 1);
  }
}

TEST(Quantize, AnImatrixOfAnotherModelIsRefused) {
  const TemporaryFolder folder;
  QuantizeOptions options{TestModel({}).write(folder.at("in.gguf")), folder.at("out.gguf"),
                          find_mix("Q4_K_M")};
  options.imatrix = folder.at("imatrix.gguf");
  Imatrix imatrix;
  imatrix.entries["blk.0.attn_q.weight"] = {std::vector<float>(128, 1), {1}};
  write_imatrix(imatrix, options.imatrix);
  EXPECT_THAT(error_of(options), testing::HasSubstr("128 columns"));
  imatrix.entries = {{"blk.0.other.weight", {std::vector<float>(256, 1), {1}}}};
  write_imatrix(imatrix, options.imatrix);
  EXPECT_THAT(error_of(options), testing::HasSubstr("1 of 1 entries are of no tensor of"));
  // More entries of other tensors than of its own.
  imatrix.entries["blk.0.attn_q.weight"] = {std::vector<float>(256, 1), {1}};
  imatrix.entries["blk.9.attn_q.weight"] = {std::vector<float>(256, 1), {1}};
  write_imatrix(imatrix, options.imatrix);
  EXPECT_THAT(error_of(options),
              testing::HasSubstr("2 of 3 entries are of no tensor of " + options.in +
                                 ": blk.0.other.weight and blk.9.attn_q.weight: made with another model"));
  imatrix.entries = {{"output_norm.weight", {std::vector<float>(256, 1), {1}}}};
  write_imatrix(imatrix, options.imatrix);
  EXPECT_THAT(error_of(options), testing::HasSubstr("no entry for any tensor that is quantized"));
  // Columns for two experts where the model has none, and half as many columns, twice.
  for (const size_t n : {512u, 256u}) {
    imatrix.entries = {{"blk.1.ffn_up.weight", {std::vector<float>(n, 1), {1, 1}}}};
    write_imatrix(imatrix, options.imatrix);
    EXPECT_THAT(error_of(options),
                testing::HasSubstr("columns of 2 experts, the model's tensor 256 columns"));
  }
  options.imatrix = options.in;
  EXPECT_THAT(error_of(options), testing::HasSubstr("expected an importance matrix"));
  EXPECT_EQ(folder.n_files(), 2u);
}

TEST(Quantize, WhatAnImatrixLacksIsSaid) {
  const TemporaryFolder folder;
  const std::string in = TestModel({.n_expert = 4}).write(folder.at("in.gguf"));
  QuantizeOptions options{in, folder.at("out.gguf"), find_mix("Q4_K_S")};
  options.imatrix = folder.at("imatrix.gguf");
  std::vector<std::string> lines;
  QuantizeEvents events;
  events.say = [&](std::string_view line) { lines.emplace_back(line); };
  const auto said = [&](const Imatrix& imatrix, const char* mix) {
    write_imatrix(imatrix, options.imatrix);
    options.mix = find_mix(mix);
    lines.clear();
    quantize(options, events);
    return lines;
  };
  using testing::ElementsAre;
  using testing::HasSubstr;
  using testing::IsEmpty;
  Imatrix imatrix;
  const Gguf model = Gguf::open(in);
  for (const GgufTensor& tensor : model.tensors()) {
    const auto n = size_t(tensor.ne[2]);
    if (tensor.n_dims > 1)
      imatrix.entries[tensor.name] = {std::vector<float>(n * size_t(tensor.ne[0]), 1),
                                      std::vector<float>(n, 9)};
  }
  EXPECT_THAT(said(imatrix, "Q4_K_S"), IsEmpty());
  EXPECT_THAT(said(imatrix, "Q8_0"), ElementsAre(HasSubstr("imatrix.gguf: without effect")));
  EXPECT_THAT(said(imatrix, "F16"), ElementsAre(HasSubstr("imatrix.gguf: without effect")));
  EXPECT_EQ(Gguf::open(options.out).find("quantize.imatrix.file"), nullptr);
  imatrix.model = "test";
  EXPECT_THAT(said(imatrix, "Q4_K_S"), IsEmpty());
  imatrix.model = "another";
  EXPECT_THAT(said(imatrix, "Q4_K_S"),
              ElementsAre(HasSubstr("was made with 'another', the model's name is 'test'")));
  imatrix.model = "";
  for (const char* name :
       {"token_embd.weight", "output.weight", "blk.0.attn_q.weight", "blk.1.attn_q.weight"})
    imatrix.entries.erase(name);
  EXPECT_THAT(said(imatrix, "Q4_K_S"),
              ElementsAre(HasSubstr("no entry for 4 of 16 tensors, which are quantized without: "
                                    "token_embd.weight, output.weight, blk.0.attn_q.weight and 1 more")));
  imatrix.entries["blk.7.attn_q.weight"] = {std::vector<float>(256, 1), {1}};
  // The third expert saw no token.
  std::vector<float>& sums = imatrix.entries["blk.1.ffn_up_exps.weight"].sums;
  std::fill(sums.begin() + 512, sums.begin() + 768, 0.0f);
  EXPECT_THAT(
      said(imatrix, "Q4_K_S"),
      ElementsAre(HasSubstr("1 of 15 entries are of no tensor of " + in + ": blk.7.attn_q.weight: they"),
                  HasSubstr("no entry for 4 of 16"),
                  HasSubstr("went to these experts, quantized without: blk.1: expert 2")));
  std::fill(imatrix.entries["blk.1.attn_k.weight"].sums.begin(),
            imatrix.entries["blk.1.attn_k.weight"].sums.end(), 0.0f);
  EXPECT_THAT(said(imatrix, "Q4_K_S"),
              testing::Contains(HasSubstr("did not reach 1 tensor, quantized without: blk.1.attn_k.weight")));
  EXPECT_EQ(read_imatrix(options.imatrix).model, "");
}

}  // namespace quantize_test
}  // namespace lora
