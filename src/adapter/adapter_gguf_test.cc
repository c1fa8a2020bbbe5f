#include <cstring>
#include <limits>

#include "adapter/adapter.h"
#include "adapter/adapter_test_util.h"
#include "base/half.h"

namespace lora {
namespace adapter_gguf_test {

using testing::AllOf;
using testing::HasSubstr;

Adapter full_adapter() {
  Adapter adapter;
  adapter.architecture = "llama";
  adapter.alpha = 16;
  adapter.name = "whales";
  adapter.base_model = "tiny";
  adapter.rope_freq_base = 20000.0f;
  adapter.rope_freq_scale = 0.5f;
  adapter.facts = {{"seed", "42"}, {"lora_dropout", "0.1"}};
  adapter.pairs = {pair_of("token_embd.weight", 10, 8, 3), pair_of("blk.0.attn_q.weight", 8, 8, 2),
                   pair_of("blk.0.attn_k.weight", 8, 4, 1), pair_of("blk.0.ffn_down.weight", 6, 8, 2)};
  return adapter;
}

TEST(AdapterGguf, RoundTripKeepsEverything) {
  const ScratchFolder folder;
  const Adapter written = full_adapter();
  write_adapter_gguf(written, folder.file("a.gguf"));
  const Adapter read = read_adapter_gguf(folder.file("a.gguf"));
  EXPECT_EQ(read.architecture, "llama");
  EXPECT_EQ(read.alpha, 16);
  EXPECT_EQ(read.name, "whales");
  EXPECT_EQ(read.base_model, "tiny");
  EXPECT_EQ(hf_repository("https://huggingface.co/someone/small"), "someone/small");
  for (const char* other :
       {"", "https://huggingface.co/", "https://huggingface.co/someone", "https://else.org/a/b",
        "https://huggingface.co/datasets/texts", "https://huggingface.co/a/b/c"}) {
    EXPECT_EQ(hf_repository(other), "") << other;
  }
  EXPECT_EQ(read.rope_freq_base, 20000.0f);
  EXPECT_EQ(read.rope_freq_scale, 0.5f);
  EXPECT_EQ(read.facts, written.facts);
  ASSERT_EQ(read.pairs.size(), written.pairs.size());
  for (size_t i = 0; i < read.pairs.size(); ++i) expect_equal(read.pairs[i], written.pairs[i]);
  EXPECT_EQ(error_of([&] { check_adapter(read, "a.gguf", small_base(folder)); }), "");
}

TEST(AdapterGguf, BytesAreAFunctionOfTheAdapter) {
  const ScratchFolder folder;
  write_adapter_gguf(full_adapter(), folder.file("one.gguf"));
  write_adapter_gguf(full_adapter(), folder.file("two.gguf"));
  EXPECT_EQ(read_file(folder.file("one.gguf")), read_file(folder.file("two.gguf")));
}

TEST(AdapterGguf, KeysAndTensorsAreThoseThatLlamaCppLoads) {
  const ScratchFolder folder;
  const Adapter adapter = full_adapter();
  write_adapter_gguf(adapter, folder.file("a.gguf"));
  const Gguf file = Gguf::open(folder.file("a.gguf"));
  EXPECT_EQ(file.get_string("general.type"), "adapter");
  EXPECT_EQ(file.get_string("adapter.type"), "lora");
  EXPECT_EQ(file.get_string("general.architecture"), "llama");
  ASSERT_NE(file.find("adapter.lora.alpha"), nullptr);
  EXPECT_EQ(file.find("adapter.lora.alpha")->type, GgufValueType::f32);
  EXPECT_EQ(file.get_float("adapter.lora.alpha"), 16.0);
  EXPECT_EQ(file.tensors().size(), 8u);
  const GgufTensor& a = file.tensor("blk.0.ffn_down.weight.lora_a");
  EXPECT_EQ(a.type, Type::F32);
  EXPECT_EQ(a.shape(), "6 x 2");
  EXPECT_EQ(0, std::memcmp(a.data.data(), adapter.pairs[3].a.data(), a.data.size()));
  const GgufTensor& b = file.tensor("blk.0.ffn_down.weight.lora_b");
  EXPECT_EQ(b.shape(), "2 x 8");
  EXPECT_EQ(0, std::memcmp(b.data.data(), adapter.pairs[3].b.data(), b.data.size()));
}

TEST(AdapterGguf, EmbeddingIsFlippedInTheFile) {
  const ScratchFolder folder;
  const Adapter adapter = full_adapter();
  write_adapter_gguf(adapter, folder.file("a.gguf"));
  const Gguf file = Gguf::open(folder.file("a.gguf"));
  const GgufTensor& a = file.tensor("token_embd.weight.lora_a");
  EXPECT_EQ(a.shape(), "3 x 10");
  EXPECT_EQ(file.tensor("token_embd.weight.lora_b").shape(), "3 x 8");
  const LoraPair& pair = adapter.pairs[0];
  std::vector<float> stored(30);
  std::memcpy(stored.data(), a.data.data(), a.data.size());
  for (size_t token = 0; token < 10; ++token) {
    for (size_t r = 0; r < 3; ++r) EXPECT_EQ(stored[token * 3 + r], pair.a[r * 10 + token]);
  }
}

// An adapter file put together by hand: keys as told, one pair for blk.0.attn_k.weight.
struct HandWritten {
  std::string general_type = "adapter", adapter_type = "lora", architecture = "llama";
  std::string a_name = "blk.0.attn_k.weight.lora_a", b_name = "blk.0.attn_k.weight.lora_b";
  std::vector<int64_t> a_ne = {8, 2}, b_ne = {2, 4};
  Type type = Type::F32;
  std::vector<float> a = numbers(64, 1), b = numbers(64, 2);
  std::span<const std::byte> a_bytes = std::as_bytes(std::span(a)), b_bytes = std::as_bytes(std::span(b));
  GgufWriter writer;

  void write(const std::string& path) {
    if (!general_type.empty()) writer.set_string("general.type", general_type);
    if (!adapter_type.empty()) writer.set_string("adapter.type", adapter_type);
    if (!architecture.empty()) writer.set_string("general.architecture", architecture);
    if (!a_name.empty()) writer.add_tensor(a_name, type, a_ne, sized(a_bytes, a_ne));
    if (!b_name.empty()) writer.add_tensor(b_name, type, b_ne, sized(b_bytes, b_ne));
    writer.write(path);
  }
  std::span<const std::byte> sized(std::span<const std::byte> bytes, const std::vector<int64_t>& ne) const {
    int64_t n = 1;
    for (const int64_t extent : ne) n *= extent;
    return bytes.first(size_t(n / traits(type).block_size * traits(type).block_bytes));
  }
};

Adapter read_back(HandWritten& hand) {
  const ScratchFolder folder;
  hand.write(folder.file("a.gguf"));
  return read_adapter_gguf(folder.file("a.gguf"));
}
std::string error_in(HandWritten& hand) {
  return error_of([&] { read_back(hand); });
}

TEST(AdapterGguf, MissingAlphaIsZeroAndScalesByOne) {
  HandWritten hand;
  const Adapter adapter = read_back(hand);
  EXPECT_EQ(adapter.alpha, 0);
  EXPECT_EQ(adapter.scale(adapter.pairs.at(0)), 1);
}

TEST(AdapterGguf, HalfPrecisionTensorsAreDecoded) {
  std::vector<f16> a(16), b(8);
  HandWritten hand;
  for (size_t i = 0; i < a.size(); ++i) a[i] = to_f16(hand.a[i]);
  for (size_t i = 0; i < b.size(); ++i) b[i] = to_f16(hand.b[i]);
  hand.type = Type::F16;
  hand.a_bytes = std::as_bytes(std::span(a));
  hand.b_bytes = std::as_bytes(std::span(b));
  const LoraPair pair = read_back(hand).pairs.at(0);
  for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(pair.a[i], to_f32(a[i]));
  for (size_t i = 0; i < b.size(); ++i) EXPECT_EQ(pair.b[i], to_f32(b[i]));
}

TEST(AdapterGguf, QuantizedTensorsAreDecoded) {
  // Q8_0: an f16 scale of 0.5 and 32 signed bytes.
  std::vector<std::byte> block(34);
  const f16 scale = to_f16(0.5f);
  std::memcpy(block.data(), &scale, 2);
  for (int i = 0; i < 32; ++i) block[size_t(i) + 2] = std::byte(i);
  const std::vector<float> b = numbers(4, 9);
  HandWritten hand;
  hand.type = Type::Q8_0;
  hand.a_ne = {32, 1};
  hand.a_bytes = block;
  hand.b_name = "";
  hand.writer.add_tensor("blk.0.attn_k.weight.lora_b", Type::F32, {1, 4}, std::as_bytes(std::span(b)));
  const LoraPair pair = read_back(hand).pairs.at(0);
  for (size_t i = 0; i < 32; ++i) EXPECT_EQ(pair.a[i], 0.5f * float(i));
}

TEST(AdapterGguf, NormPairsAreLeftOut) {
  const std::vector<float> zeros(8);
  HandWritten hand;
  hand.writer.add_tensor("blk.0.attn_norm.weight.lora_a", Type::F32, {8, 1}, std::as_bytes(std::span(zeros)));
  hand.writer.add_tensor("blk.0.attn_norm.weight.lora_b", Type::F32, {1, 1},
                         std::as_bytes(std::span(zeros).first(1)));
  const Adapter adapter = read_back(hand);
  EXPECT_EQ(adapter.pairs.size(), 1u);
  EXPECT_THAT(adapter.ignored, testing::ElementsAre("blk.0.attn_norm.weight"));
}

TEST(AdapterGgufErrors, NotAnAdapter) {
  HandWritten hand;
  hand.general_type = "model";
  EXPECT_THAT(error_in(hand), HasSubstr("key general.type: expected \"adapter\", found \"model\""));
}
TEST(AdapterGgufErrors, NotALora) {
  HandWritten hand;
  hand.adapter_type = "control_vector";
  EXPECT_THAT(error_in(hand), HasSubstr("key adapter.type: expected \"lora\", found \"control_vector\""));
}
TEST(AdapterGgufErrors, NoArchitecture) {
  HandWritten hand;
  hand.architecture = "";
  EXPECT_THAT(error_in(hand), HasSubstr("general.architecture: missing"));
}
TEST(AdapterGgufErrors, AlphaIsNotFinite) {
  HandWritten hand;
  hand.writer.set_f32("adapter.lora.alpha", std::numeric_limits<float>::quiet_NaN());
  EXPECT_THAT(error_in(hand), HasSubstr("adapter.lora.alpha: expected a finite number"));
}
TEST(AdapterGgufErrors, AlphaIsAString) {
  HandWritten hand;
  hand.writer.set_string("adapter.lora.alpha", "16");
  EXPECT_THAT(error_in(hand), HasSubstr("adapter.lora.alpha"));
}
TEST(AdapterGgufErrors, KeysThatMayChangeWhatTheTensorsMean) {
  HandWritten alora, other, known;
  alora.writer.set_string("adapter.alora.invocation_tokens", "1 2");
  EXPECT_THAT(
      error_in(alora),
      HasSubstr("key adapter.alora.invocation_tokens: activated LoRA, which counts from certain tokens"));
  other.writer.set_f32("adapter.lora.dropout_scale", 2);
  EXPECT_THAT(error_in(other),
              HasSubstr("key adapter.lora.dropout_scale: not known, and may change what the tensors mean"));
  known.writer.set_string("adapter.lora.task_name", "tales");
  known.writer.set_string("adapter.lora.prompt_prefix", "Once");
  known.writer.set_string("general.description", "for people");
  EXPECT_EQ(read_back(known).pairs.size(), 1u);
}
TEST(AdapterGgufErrors, HalvesMissing) {
  HandWritten no_a, no_b, none;
  no_a.a_name = "";
  EXPECT_THAT(error_in(no_a), HasSubstr("tensor blk.0.attn_k.weight.lora_b: its A half is missing"));
  no_b.b_name = "";
  EXPECT_THAT(error_in(no_b), HasSubstr("tensor blk.0.attn_k.weight.lora_a: its B half is missing"));
  none.a_name = none.b_name = "";
  EXPECT_THAT(error_in(none), HasSubstr("no LoRA tensors"));
}
TEST(AdapterGgufErrors, RanksDiffer) {
  HandWritten hand;
  hand.b_ne = {3, 4};
  EXPECT_THAT(error_in(hand), AllOf(HasSubstr("lora_b: expected the rank of"), HasSubstr("is 2, found 3")));
}
TEST(AdapterGgufErrors, UnknownTensorName) {
  HandWritten hand;
  hand.b_name = "blk.0.attn_k.weight";
  EXPECT_THAT(error_in(hand), HasSubstr("expected a name that ends in .lora_a or .lora_b"));
}
TEST(AdapterGgufErrors, ThreeDimensions) {
  HandWritten hand;
  hand.a_ne = {8, 2, 2};
  EXPECT_THAT(error_in(hand), HasSubstr("lora_b: expected 2 matrices as in"));
}
TEST(AdapterGgufErrors, IntegerTensor) {
  HandWritten hand;
  hand.type = Type::I32;
  EXPECT_THAT(error_in(hand),
              HasSubstr("lora_a: expected numbers of a floating or quantized type, found I32"));
}
TEST(AdapterGgufErrors, TruncatedFile) {
  const ScratchFolder folder;
  write_adapter_gguf(full_adapter(), folder.file("a.gguf"));
  const std::string bytes = read_file(folder.file("a.gguf"));
  for (const size_t size : {size_t(0), size_t(10), size_t(100), bytes.size() / 2, bytes.size() - 64}) {
    write_file(folder.file("cut.gguf"), bytes.substr(0, size));
    EXPECT_THAT(error_of([&] { read_adapter_gguf(folder.file("cut.gguf")); }), HasSubstr("cut.gguf")) << size;
  }
}
// As they are not read, so they are not written.
TEST(AdapterGgufErrors, NumbersThatAreNotFiniteAreNotWritten) {
  const ScratchFolder folder;
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    for (const int which : {0, 1, 2}) {
      Adapter adapter = full_adapter();
      if (which == 0) adapter.alpha = bad;
      if (which == 1) adapter.rope_freq_base = bad;
      if (which == 2) adapter.rope_freq_scale = bad;
      EXPECT_THAT(error_of([&] { write_adapter_gguf(adapter, folder.file("a.gguf")); }),
                  HasSubstr("is beyond what F32 holds"));
    }
  }
}

TEST(AdapterGgufErrors, FactUnderATakenName) {
  const ScratchFolder folder;
  Adapter adapter = full_adapter();
  adapter.facts = {{"rope_freq_base", "1"}};
  EXPECT_THAT(error_of([&] { write_adapter_gguf(adapter, folder.file("a.gguf")); }),
              HasSubstr("the name is taken"));
  EXPECT_FALSE(std::filesystem::exists(folder.file("a.gguf")));
}

}  // namespace adapter_gguf_test
}  // namespace lora
