#include "convert/merge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "convert/merge_test_util.h"
#include "model/build.h"

namespace lora {
namespace merge_test {

using namespace test;
using testing::HasSubstr;

// Measured: 3e-7. The adapters move logits by their own size.
constexpr double kLogits = 1e-5;

TEST(Merge, LogitsAreThoseOfAdaptersBesideTheModel) {
  for (const bool tied : {false, true}) {
    const Fixture f({.n_head_kv = 4, .tied = tied});
    const std::vector<LoraFile> loras = two_adapters(f, !tied);
    merge(f.options(loras), {});
    const std::vector<float> expected = logits_of(f.base, loras);
    EXPECT_LT(difference(logits_of(f.out, {}), expected), kLogits);
    EXPECT_GT(difference(logits_of(f.base, {}), expected), 0.01);
    EXPECT_GT(difference(logits_of(f.base, {loras[0]}), expected), 0.01);
  }
}

// A model in which each expert's matrices are tensors of their own, as the first files of mixtures have them.
std::string write_apart(const ModelShape& shape, const std::string& path) {
  const TestModel stacked(shape);
  GgufWriter writer = stacked.keys;
  for (const auto& t : stacked.tensors) {
    if (t.ne.size() < 3) {
      writer.add_tensor(t.name, t.type, t.ne, t.data);
      continue;
    }
    const size_t bytes = t.data.size() / size_t(t.ne[2]);
    for (int64_t i = 0; i < t.ne[2]; ++i)
      writer.add_tensor(tensor_of_slice(t.name, i), t.type, {t.ne[0], t.ne[1]},
                        std::span(t.data).subspan(size_t(i) * bytes, bytes));
  }
  writer.write(path);
  return path;
}

TEST(Merge, StacksOfExpertsAreChangedMatrixByMatrix) {
  for (const Type type : {Type::F32, Type::Q8_0}) {
    const ModelShape shape = {.n_expert = 3, .type = type};
    Fixture f(shape);
    Adapter adapter;
    adapter.architecture = "llama";
    adapter.alpha = 4;
    for (const auto& [name, n_in, n_out] : {std::tuple("blk.1.ffn_up_exps.weight", 256, 512),
                                            std::tuple("blk.0.ffn_down_exps.weight", 512, 256)}) {
      LoraPair pair{name, n_in, n_out, 2, {}, {}, 3};
      for (int64_t i = 0; i < 3 * 2 * n_in; ++i)
        pair.a.push_back(random_uniform(5, Purpose::test, stream_id(name), uint64_t(i)) - 0.5f);
      for (int64_t i = 0; i < 3 * n_out * 2; ++i)
        pair.b.push_back(random_uniform(6, Purpose::test, stream_id(name), uint64_t(i)) - 0.5f);
      std::fill_n(pair.b.begin() + n_out * 2, n_out * 2, 0.0f);  // the second expert stays
      adapter.pairs.push_back(std::move(pair));
    }
    write_adapter_gguf(adapter, f.folder.at("lora.gguf"));
    const std::vector<LoraFile> lora = {{f.folder.at("lora.gguf"), 1.5}};
    merge(f.options(lora), {});
    const std::string apart = write_apart(shape, f.folder.at("apart.gguf"));
    MergeOptions of_apart = f.options(lora);
    of_apart.base = apart, of_apart.out = f.folder.at("apart-out.gguf");
    const MergeResult result = merge(of_apart, {});
    EXPECT_EQ(result.n_changed, 4) << "matrices whose change is not zero";
    const Gguf base = Gguf::open(f.base), whole = Gguf::open(f.out), one_by_one = Gguf::open(of_apart.out);
    for (const LoraPair& pair : adapter.pairs) {
      const std::vector<float> before = values_of(base.tensor(pair.base)),
                               after = values_of(whole.tensor(pair.base));
      const int64_t n = pair.n_in * pair.n_out;
      for (int64_t e = 0; e < 3; ++e) {
        const std::vector<float> own = values_of(one_by_one.tensor(tensor_of_slice(pair.base, e)));
        ASSERT_TRUE(std::equal(own.begin(), own.end(), after.begin() + e * n)) << pair.base << e;
        for (int64_t i = 0; i < n; i += 97) {
          double sum = 0;
          for (int64_t r = 0; r < 2; ++r)
            sum += double(pair.b[size_t((e * pair.n_out + i / pair.n_in) * 2 + r)]) *
                   double(pair.a[size_t((e * 2 + r) * pair.n_in + i % pair.n_in)]);
          const auto at = size_t(e * n + i);
          ASSERT_NEAR(after[at], double(before[at]) + 1.5 * 2 * sum, type == Type::F32 ? 1e-5 : 0.02);
        }
      }
    }
    EXPECT_LT(difference(logits_of(f.out, {}), logits_of(f.base, lora)), type == Type::F32 ? 1e-5 : 0.05);
    EXPECT_LT(difference(logits_of(apart, lora), logits_of(f.base, lora)), 1e-6);
  }
}

TEST(Merge, ATiedOutputKeepsTheEmbeddingAsItWas) {
  const Fixture f({.tied = true});
  const std::string adapter = f.adapter("a.gguf", {"token_embd.weight"}, 2);
  merge(f.options({{adapter}}), {});
  const Gguf base = Gguf::open(f.base), merged = Gguf::open(f.out);
  EXPECT_EQ(merged.tensors().size(), base.tensors().size() + 1);
  EXPECT_TRUE(same_bytes(merged.tensor("output.weight"), base.tensor("token_embd.weight")));
  EXPECT_FALSE(same_bytes(merged.tensor("token_embd.weight"), base.tensor("token_embd.weight")));
}

// llama.cpp refuses an output matrix in these.
TEST(Merge, AnEmbeddingThatMustStayTiedIsRefused) {
  for (const std::string arch : {"gemma", "gemma2", "command-r", "some-new-one"}) {
    const Fixture f({.arch = arch, .tied = true});
    const std::vector<LoraFile> loras = {{f.adapter("a.gguf", {"token_embd.weight"}, 2)}};
    EXPECT_THAT(f.error(f.options(loras)),
                testing::AllOf(HasSubstr("token_embd.weight: an adapter on it cannot be merged"),
                               HasSubstr(arch + " models")));
    const Fixture untied({.arch = arch});
    EXPECT_EQ(untied.error(untied.options(loras)), "no error");
  }
}

// Every type: what is stored is the encoding of the sum, what is reported is what a plain loop finds.
TEST(Merge, StoresTheEncodedSumAndReportsItsError) {
  for (const Type type : {Type::F32, Type::F16, Type::BF16, Type::Q8_0, Type::Q4_0, Type::Q4_K, Type::Q6_K,
                          Type::Q2_K, Type::IQ4_XS, Type::MXFP4, Type::TQ2_0}) {
    const Fixture f({.type = type});
    const std::vector<LoraFile> loras = two_adapters(f, true);
    std::map<std::string, RewriteSums, std::less<>> reported;
    MergeEvents events;
    events.on_changed = [&](const MergedTensor& t) {
      EXPECT_EQ(t.from, type);
      EXPECT_EQ(t.to, type);
      reported[std::string(t.name)] = t.sums;
    };
    const MergeResult result = merge(f.options(loras), events);
    EXPECT_EQ(result.n_changed, 5);
    const Gguf base = Gguf::open(f.base), merged = Gguf::open(f.out);
    EXPECT_EQ(result.n_tensors, int64_t(base.tensors().size()));
    for (const GgufTensor& before : base.tensors()) {
      const GgufTensor& after = merged.tensor(before.name);
      if (!reported.contains(before.name)) {
        EXPECT_TRUE(same_bytes(before, after)) << before.name;
        continue;
      }
      const std::vector<float> w = values_of(before), stored = values_of(after);
      std::vector<double> change(w.size());
      for (const LoraFile& file : loras) {
        const Adapter adapter = read_adapter(file.path, base);
        const LoraPair* pair = adapter.find(before.name);
        if (!pair) continue;
        const double scale = file.scale * double(adapter.alpha) / double(pair->rank);
        for (int64_t o = 0; o < pair->n_out; ++o) {
          for (int64_t i = 0; i < pair->n_in; ++i) {
            double sum = 0;
            for (int64_t k = 0; k < pair->rank; ++k)
              sum +=
                  double(pair->b[size_t(o * pair->rank + k)]) * double(pair->a[size_t(k * pair->n_in + i)]);
            const int64_t at = before.name == kTokenEmbedding ? i * pair->n_out + o : o * pair->n_in + i;
            change[size_t(at)] += scale * sum;
          }
        }
      }
      double ww = 0, dd = 0, ee = 0, ed = 0, best = 0;
      std::vector<float> sum(w.size()), encoded_sum(w.size());
      for (size_t i = 0; i < w.size(); ++i) sum[i] = float(double(w[i]) + change[i]);
      std::vector<std::byte> blocks(before.data.size());
      traits(type).encode(blocks.data(), sum.data(), int64_t(sum.size()), nullptr);
      traits(type).decode(encoded_sum.data(), blocks.data(), int64_t(sum.size()));
      for (size_t i = 0; i < w.size(); ++i) {
        const double e = double(stored[i]) - (double(w[i]) + change[i]);
        ww += double(w[i]) * double(w[i]), dd += change[i] * change[i], ee += e * e, ed += e * change[i];
        best += std::pow(double(encoded_sum[i]) - (double(w[i]) + change[i]), 2);
      }
      const RewriteSums& sums = reported.at(before.name);
      // The sum differs in its last bits, by which a value may fall to the other side of a rounding.
      EXPECT_NEAR(std::sqrt(ee), std::sqrt(best), 1e-4 * std::sqrt(best) + 1e-6 * std::sqrt(ww))
          << before.name;
      EXPECT_NEAR(sums.relative_change(), std::sqrt(dd / ww), 1e-5 * std::sqrt(dd / ww)) << before.name;
      EXPECT_NEAR(sums.relative_error(), std::sqrt(ee / ww), 1e-4 * std::sqrt(ee / ww) + 1e-6) << before.name;
      EXPECT_NEAR(sums.kept(), 1 + ed / dd, 1e-4) << before.name;
      EXPECT_GT(sums.relative_change(), 0.05);
    }
    ASSERT_EQ(merged.values().size(), base.values().size());
    for (size_t i = 0; i < base.values().size(); ++i) {
      EXPECT_EQ(merged.values()[i].first, base.values()[i].first);
      EXPECT_EQ(merged.values()[i].second.value, base.values()[i].second.value) << base.values()[i].first;
    }
  }
}

// A changed tensor of a type that is only read gets the nearest type that is written; what that costs is said
// once for each of such types. Tensors without a change stay as they are.
TEST(Merge, WhatIsOnlyReadIsStoredInTheNearestTypeAndSaid) {
  for (const auto& [type, stored] : {std::pair{Type::IQ2_XXS, Type::Q2_K}, {Type::IQ3_S, Type::Q3_K}}) {
    const Fixture f({.type = type});
    std::vector<std::string> said;
    MergeEvents events;
    events.say = [&](std::string_view line) { said.emplace_back(line); };
    const MergeResult result = merge(f.options(two_adapters(f, true)), events);
    EXPECT_EQ(result.n_fallbacks, 0);
    ASSERT_EQ(said.size(), 1u);
    EXPECT_EQ(said[0],
              fmt::format("token_embd.weight and 4 more: {} is only read here; stored as {}, which rounds by "
                          "{:.2f}% of the weights",
                          traits(type).name, traits(stored).name, 100 * result.sums.relative_error()));
    EXPECT_GT(result.sums.relative_error(), 0.05);
    EXPECT_LT(result.sums.relative_error(), 0.5);
    const Gguf base = Gguf::open(f.base), merged = Gguf::open(f.out);
    int n_changed = 0;
    for (const GgufTensor& before : base.tensors()) {
      const GgufTensor& after = merged.tensor(before.name);
      const bool changed = !same_bytes(before, after);
      n_changed += changed;
      EXPECT_EQ(after.type, changed ? stored : before.type) << before.name;
    }
    EXPECT_EQ(n_changed, 5);

    said.clear();
    MergeOptions o = f.options(two_adapters(f, true));
    o.mix = find_mix("Q8_0");
    merge(o, events);
    EXPECT_THAT(said, testing::IsEmpty());
    EXPECT_EQ(Gguf::open(f.out).tensor("blk.0.attn_q.weight").type, Type::Q8_0);
  }
}

TEST(Merge, ASmallChangeIsLostInFewBitsAndKeptInMany) {
  const Fixture f({.type = Type::Q4_0});
  MergeOptions o = f.options({{f.adapter("a.gguf", {"blk.0.attn_q.weight"}, 4, 0.02f)}});
  const RewriteSums few = merge(o, {}).sums;
  EXPECT_LT(few.relative_change(), 0.01);
  EXPECT_LT(few.kept(), 0.5);
  o.mix = find_mix("bf16");
  const RewriteSums many = merge(o, {}).sums;
  EXPECT_NEAR(many.kept(), 1, 0.02);
  EXPECT_LT(many.relative_error(), 0.004);
}

TEST(Merge, AnotherTypeIsForTensorsThatChange) {
  const Fixture f({.type = Type::Q8_0});
  MergeOptions o = f.options(two_adapters(f, true));
  for (const auto& [mix, wanted] :
       {std::pair{"f16", Type::F16}, {"Q4_K_S", Type::Q4_K}, {"F32", Type::F32}}) {
    o.mix = find_mix(mix);
    merge(o, {});
    const Gguf base = Gguf::open(f.base), merged = Gguf::open(f.out);
    for (const GgufTensor& before : base.tensors()) {
      const GgufTensor& after = merged.tensor(before.name);
      const bool same = same_bytes(before, after);
      if (before.name == "blk.1.ffn_down.weight") {
        EXPECT_EQ(after.type, wanted) << mix;
      } else if (before.name == "blk.0.ffn_up.weight") {
        EXPECT_TRUE(same);
      }
    }
    EXPECT_EQ(merged.get_int("general.file_type"), base.get_int("general.file_type"));
  }
}

TEST(Merge, RowsThatABlockDoesNotDivideAreCounted) {
  const Fixture f({.n_ff = 320});
  MergeOptions o = f.options({{f.adapter("a.gguf", {"blk.0.attn_q.weight", "blk.1.ffn_down.weight"}, 4)}});
  o.mix = find_mix("Q4_K_M");
  std::string fallen;
  MergeEvents events;
  events.on_changed = [&](const MergedTensor& t) {
    if (t.to != t.wanted) fallen += fmt::format("{} {} {}", t.name, traits(t.wanted).name, traits(t.to).name);
  };
  EXPECT_EQ(merge(o, events).n_fallbacks, 1);
  EXPECT_THAT(fallen, testing::AnyOf("blk.1.ffn_down.weight Q6_K Q8_0", "blk.1.ffn_down.weight Q4_K Q5_0"));
}

// What is advised for some must not take bits from the others; norms, which keep their F32, do not count.
TEST(Merge, AdviceIsNoLessThanTheWidestTypeThatChanges) {
  const auto advice = [](const std::vector<std::string>& wide, Type type) {
    Fixture f({});
    TestModel model({.type = Type::Q4_0});
    const TestModel other({.type = type});
    for (size_t i = 0; i < model.tensors.size(); ++i) {
      if (std::ranges::count(wide, model.tensors[i].name)) model.tensors[i] = other.tensors[i];
    }
    f.base = model.write(f.folder.at("mixed.gguf"));
    const MergeResult result = merge(
        f.options({{f.adapter("a.gguf", {"blk.0.attn_q.weight", "blk.0.attn_k.weight"}, 4, 0.2f)}}), {});
    EXPECT_EQ(result.n_lossy, 2 - int64_t(wide.size())) << result.sums.relative_change();
    return result.advice;
  };
  EXPECT_EQ(advice({}, Type::F16), Type::Q8_0);
  EXPECT_EQ(advice({"blk.0.attn_q.weight"}, Type::F16), Type::F16);
  EXPECT_EQ(advice({"blk.0.attn_k.weight"}, Type::F32), Type::F32);
  EXPECT_EQ(advice({"blk.0.attn_q.weight", "blk.0.attn_k.weight"}, Type::F32), std::nullopt);
}

// Encoding what was decoded changes values in most types: experts without a LoRA are copied.
TEST(Merge, RowsThatNoAdapterChangesKeepTheirBytes) {
  for (const Type type : {Type::Q2_K, Type::Q4_K, Type::IQ4_XS}) {
    const Fixture f({.n_expert = 3, .type = type});
    const std::string name = "blk.1.ffn_up_exps.weight";
    Adapter adapter;
    adapter.architecture = "llama";
    LoraPair pair{name, 256, 512, 1, std::vector<float>(3 * 256, 0.1f), std::vector<float>(3 * 512), 3};
    std::fill_n(pair.b.begin() + 2 * 512, 512, 0.5f);  // the third expert
    adapter.pairs.push_back(std::move(pair));
    write_adapter_gguf(adapter, f.folder.at("lora.gguf"));
    EXPECT_EQ(merge(f.options({{f.folder.at("lora.gguf")}}), {}).n_changed, 1);
    const Gguf base = Gguf::open(f.base), merged = Gguf::open(f.out);
    const auto before = base.tensor(name).data, after = merged.tensor(name).data;
    const size_t two = before.size() / 3 * 2;
    EXPECT_TRUE(std::ranges::equal(before.first(two), after.first(two))) << traits(type).name;
    EXPECT_FALSE(std::ranges::equal(before.subspan(two), after.subspan(two))) << traits(type).name;
  }
}

TEST(Merge, AnAdapterWithoutEffectChangesNoByte) {
  const Fixture f({.type = Type::Q4_K});
  Adapter fresh = make_adapter(Gguf::open(f.base), {"blk.0.attn_k.weight"}, 4, 1);
  fresh.pairs[0].b.assign(fresh.pairs[0].b.size(), 0);
  write_adapter_gguf(fresh, f.folder.at("fresh.gguf"));
  const std::string other = f.adapter("other.gguf", {"blk.0.attn_q.weight"}, 4);
  EXPECT_EQ(merge(f.options({{f.folder.at("fresh.gguf")}, {other, 0}}), {}).n_changed, 0);
  EXPECT_EQ(bytes_of_file(f.out), bytes_of_file(f.base));
}

TEST(Merge, TheNumberOfThreadsChangesNoByte) {
  const Fixture f({.n_ff = 1024, .n_vocab = 700, .type = Type::Q4_K});
  MergeOptions o = f.options(two_adapters(f, true));
  o.threads = 1;
  const RewriteSums one = merge(o, {}).sums;
  const std::string bytes = bytes_of_file(f.out);
  o.threads = 5;
  const RewriteSums five = merge(o, {}).sums;
  EXPECT_EQ(bytes, bytes_of_file(f.out));
  for (const auto member :
       {&RewriteSums::weight, &RewriteSums::change, &RewriteSums::error, &RewriteSums::error_change}) {
    EXPECT_EQ(one.*member, five.*member);
  }
}

TEST(Merge, ASplitModelBecomesOneFile) {
  const Fixture f({.type = Type::Q8_0});
  const std::vector<LoraFile> loras = two_adapters(f, true);
  merge(f.options(loras), {});
  const std::string first = TestModel({.type = Type::Q8_0}).write_split(f.folder.path());
  const std::string second = f.folder.at("m-00002-of-00002.gguf");
  MergeOptions o = f.options(loras);
  o.base = second;  // any part
  o.out = f.folder.at("joined.gguf");
  std::string said;
  MergeEvents events;
  events.say = [&](std::string_view line) { said += line; };
  merge(o, events);
  EXPECT_EQ(bytes_of_file(o.out), bytes_of_file(f.out));
  EXPECT_THAT(said, HasSubstr("2 files become one"));
  o.out = first;
  EXPECT_THAT(f.error(o), HasSubstr("would replace"));
}

TEST(Merge, RotarySettingsOfAnAdapterBecomeTheModels) {
  const Fixture f({});
  Adapter adapter = make_adapter(Gguf::open(f.base), {"blk.0.attn_q.weight"}, 4, 1);
  adapter.rope_freq_base = 50000, adapter.rope_freq_scale = 0.25f;
  write_adapter_gguf(adapter, f.folder.at("rope.gguf"));
  const std::vector<LoraFile> loras = {{f.folder.at("rope.gguf")}};
  std::string said;
  MergeEvents events;
  events.say = [&](std::string_view line) { said += fmt::format("{}\n", line); };
  merge(f.options(loras), events);
  EXPECT_THAT(said, HasSubstr("llama.rope.freq_base: 50000 in the merged model, 10000 in the base\n"));
  EXPECT_THAT(said, HasSubstr("llama.rope.scaling.factor: 4 in the merged model, 1 in the base\n"));
  EXPECT_LT(difference(logits_of(f.out, {}), logits_of(f.base, loras, {50000, 0.25})), kLogits);
  EXPECT_GT(difference(logits_of(f.out, {}), logits_of(f.base, loras)), 1e-3);

  MergeOptions o = f.options(loras);
  o.rope_freq_base = 10000, o.rope_freq_scale = 1;  // told otherwise: the base's own
  said.clear();
  merge(o, events);
  EXPECT_EQ(said, "");
  EXPECT_LT(difference(logits_of(f.out, {}), logits_of(f.base, loras)), kLogits);

  adapter.rope_freq_base = 70000;
  write_adapter_gguf(adapter, f.folder.at("other.gguf"));
  EXPECT_THAT(f.error(f.options({loras[0], {f.folder.at("other.gguf")}})),
              HasSubstr("say which with --rope-freq-base"));

  // A file that says nothing was trained with the model's own.
  const std::vector<LoraFile> both = {{f.adapter("plain.gguf", {"blk.1.attn_q.weight"}, 4)}, loras[0]};
  EXPECT_EQ(f.error(f.options(both)),
            fmt::format("{}: trained with --rope-freq-base 50000; {}: with 10000, the model's own; say which "
                        "with --rope-freq-base",
                        both[1].path, both[0].path));
  EXPECT_THAT(f.error(f.options({both[1], both[0]})),
              HasSubstr("plain.gguf: trained with --rope-freq-base 10000, the model's own"));
  ModelOptions beside;
  beside.model = f.base;
  beside.loras = both;
  EXPECT_THROW(Session{beside}, Error);
  o = f.options(both);
  o.rope_freq_base = 50000;
  EXPECT_THAT(f.error(o), HasSubstr("say which with --rope-freq-scale"));
  o.rope_freq_scale = 1;
  EXPECT_EQ(f.error(o), "no error");
  EXPECT_EQ(Gguf::open(f.out).get_float("llama.rope.freq_base"), 50000);
}

}  // namespace merge_test
}  // namespace lora
