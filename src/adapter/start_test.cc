#include "adapter/start.h"

#include <cmath>

#include "adapter/adapter_test_util.h"

namespace lora {
namespace start_test {

using testing::AllOf;
using testing::HasSubstr;

// directions^T projected, (n_out, n_in).
std::vector<double> matrix_of(const Projection& p, int64_t n_out, int64_t n_in, int64_t rank) {
  std::vector<double> result(size_t(n_out * n_in));
  for (int64_t r = 0; r < rank; ++r) {
    for (int64_t o = 0; o < n_out; ++o) {
      for (int64_t i = 0; i < n_in; ++i) {
        result[size_t(o * n_in + i)] +=
            double(p.directions[size_t(r * n_out + o)]) * double(p.projected[size_t(r * n_in + i)]);
      }
    }
  }
  return result;
}

// 3 u1 v1^T + 2 u2 v2^T + 1 u3 v3^T of Householder's matrices 1 - 2 x x^T / x.x, whose columns are
// orthonormal.
std::vector<double> component(int64_t n_out, int64_t n_in, int64_t k, double sigma) {
  const auto column = [&](int64_t n, uint64_t stream) {
    const std::vector<float> x = numbers(n, stream);
    double square = 0;
    for (const float value : x) square += double(value) * double(value);
    std::vector<double> result;
    for (int64_t i = 0; i < n; ++i) {
      result.push_back((i == k) - 2 * double(x[size_t(i)]) * double(x[size_t(k)]) / square);
    }
    return result;
  };
  const std::vector<double> u = column(n_out, 1), v = column(n_in, 2);
  std::vector<double> result;
  for (const double a : u) {
    for (const double b : v) result.push_back(sigma * a * b);
  }
  return result;
}

// Singular values n, n - 1, ... 1; the sum of the first `rank` components.
std::vector<double> components(int64_t n_out, int64_t n_in, int64_t rank) {
  const int64_t n = std::min(n_out, n_in);
  std::vector<double> sum(size_t(n_out * n_in));
  for (int64_t k = 0; k < rank; ++k) {
    const std::vector<double> one = component(n_out, n_in, k, double(n - k));
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += one[i];
  }
  return sum;
}

TEST(PrincipalPart, IsTheLargestSingularComponents) {
  ThreadPool pool(2);
  for (const auto& [n_out, n_in] : {std::pair<int64_t, int64_t>{6, 6}, {40, 9}, {9, 40}, {1, 5}, {5, 1}}) {
    const std::vector<double> all = components(n_out, n_in, std::min(n_out, n_in));
    const std::vector<float> w(all.begin(), all.end());
    for (int64_t rank = 1; rank <= std::min(n_out, n_in); ++rank) {
      const std::vector<double> expected = components(n_out, n_in, rank);
      const std::vector<double> found =
          matrix_of(principal_part(w, n_out, n_in, rank, pool), n_out, n_in, rank);
      for (size_t i = 0; i < found.size(); ++i) {
        ASSERT_NEAR(found[i], expected[i], 1e-5) << n_out << " x " << n_in << ", rank " << rank;
      }
    }
  }
}

TEST(PrincipalPart, OfMoreRankThanThereIsIsTheWhole) {
  ThreadPool pool(1);
  const std::vector<float> w = numbers(12, 4);
  const Projection part = principal_part(w, 3, 4, 5, pool);
  EXPECT_EQ(part.directions.size(), 15u);
  const std::vector<double> whole = matrix_of(part, 3, 4, 5);
  for (size_t i = 0; i < w.size(); ++i) EXPECT_NEAR(whole[i], w[i], 1e-6);
  const Projection nothing = principal_part(std::vector<float>(12), 3, 4, 2, pool);
  EXPECT_EQ(nothing.projected, std::vector<float>(8));
}

// W = Q R: of a matrix whose first columns are known by hand. (3, 4, 0) / 5 and (0, 0, 1).
TEST(FirstColumnsPart, IsQTimesRByHand) {
  ThreadPool pool(1);
  const std::vector<float> w = {3, 6, 10,   //
                                4, 8, 5,    //
                                0, 7, -2};  // (n_out, n_in)
  const std::vector<double> one = matrix_of(first_columns_part(w, 3, 3, 1, pool), 3, 3, 1);
  const double q[] = {0.6, 0.8, 0}, r[] = {5, 10, 10};
  for (size_t i = 0; i < 9; ++i) EXPECT_NEAR(one[i], q[i / 3] * r[i % 3], 1e-5) << i;
  const std::vector<double> two = matrix_of(first_columns_part(w, 3, 3, 2, pool), 3, 3, 2);
  const double q2[] = {0, 0, 1}, r2[] = {0, 7, -2};
  for (size_t i = 0; i < 9; ++i) EXPECT_NEAR(two[i], q[i / 3] * r[i % 3] + q2[i / 3] * r2[i % 3], 1e-5) << i;
}

TEST(FirstColumnsPart, DependentColumnsAreAnError) {
  ThreadPool pool(1);
  const std::vector<float> w = {1, 2, 3, 2, 4, 5};
  EXPECT_THAT(error_of([&] { first_columns_part(w, 2, 3, 2, pool); }), HasSubstr("column 1"));
}

// A folder for a base with weights; B A of the fine-tuned adapter is at first what PEFT took out.
struct StartFolder : PeftFiles {
  ScratchFolder scratch;
  std::vector<float> up = numbers(48, 11), q = numbers(64, 12);  // (n_out, n_in)

  Gguf base(Type type = Type::F32, bool permuted = true) const {
    const std::vector<float> embedding = numbers(80, 13);
    std::vector<float> rows = q;  // as the conversion orders them: two heads of four rows
    const size_t order[] = {0, 2, 1, 3, 4, 6, 5, 7};
    for (size_t row = 0; permuted && row < 8; ++row) {
      for (size_t c = 0; c < 8; ++c) rows[row * 8 + c] = q[order[row] * 8 + c];
    }
    GgufWriter writer;
    writer.set_string("general.architecture", "llama");
    writer.set_u32("llama.attention.head_count", 2);
    writer.add_tensor("token_embd.weight", Type::F32, {8, 10}, std::as_bytes(std::span(embedding)));
    writer.add_tensor("blk.0.attn_q.weight", Type::F32, {8, 8}, std::as_bytes(std::span(rows)));
    std::vector<std::byte> bytes(size_t(48 * 4));
    if (type == Type::F32) {
      writer.add_tensor("blk.0.ffn_up.weight", type, {8, 6}, std::as_bytes(std::span(up)));
    } else {
      bytes.resize(size_t(6 * 34));
      wide_.assign(6 * 32, 0.25f);
      traits(type).encode(bytes.data(), wide_.data(), 6 * 32, nullptr);
      writer.add_tensor("blk.0.ffn_up.weight", type, {32, 6}, bytes);
    }
    writer.write(scratch.file("base.gguf"));
    return Gguf::open(scratch.file("base.gguf"));
  }
  Adapter read(const Gguf& base, std::vector<std::string>* said = nullptr) const {
    write(scratch.path());
    return read_adapter(scratch.path(), base, {2, [&](std::string_view line) {
                                                 if (said) said->emplace_back(line);
                                               }});
  }

 private:
  mutable std::vector<float> wide_;
};

constexpr const char* kUp = "base_model.model.model.layers.0.mlp.up_proj";
constexpr const char* kQ = "base_model.model.model.layers.0.self_attn.q_proj";

// scale B A of a pair, (n_out, n_in).
std::vector<double> delta_of(const Adapter& adapter, const std::string& base) {
  const LoraPair& pair = *adapter.find(base);
  std::vector<double> result(size_t(pair.n_out * pair.n_in));
  for (int64_t o = 0; o < pair.n_out; ++o) {
    for (int64_t i = 0; i < pair.n_in; ++i) {
      for (int64_t r = 0; r < pair.rank; ++r) {
        result[size_t(o * pair.n_in + i)] += double(adapter.scale(pair)) *
                                             double(pair.b[size_t(o * pair.rank + r)]) *
                                             double(pair.a[size_t(r * pair.n_in + i)]);
      }
    }
  }
  return result;
}

// scale B A - c P W for a pair as the file has it.
std::vector<double> expected_delta(const StartFolder& peft, const char* module, const std::vector<float>& w,
                                   int64_t n_out, int64_t n_in, double scale, bool pissa) {
  ThreadPool pool(1);
  const auto part = pissa ? principal_part : first_columns_part;
  std::vector<double> delta = matrix_of(part(w, n_out, n_in, 2, pool), n_out, n_in, 2);
  const std::vector<float> a = peft.a_of(module, 2 * n_in), b = peft.b_of(module, 2 * n_out);
  for (int64_t o = 0; o < n_out; ++o) {
    for (int64_t i = 0; i < n_in; ++i) {
      double& x = delta[size_t(o * n_in + i)];
      x *= pissa ? -1 : -scale;
      for (int64_t r = 0; r < 2; ++r) {
        x += scale * double(b[size_t(o * 2 + r)]) * double(a[size_t(r * n_in + i)]);
      }
    }
  }
  return delta;
}

TEST(LoraStart, BecomesAPlainLoraOfTwiceTheRank) {
  for (const bool rslora : {false, true}) {
    for (const std::string word : {"pissa", "olora", "OLoRA"}) {
      StartFolder peft;
      peft.config = plain_config(2, 6);
      peft.config["use_rslora"] = rslora;
      peft.config["init_lora_weights"] = word;
      peft.pair(kUp, 8, 6, 2);
      peft.tensor("base_model.model.model.embed_tokens.lora_embedding_A", {2, 10}, numbers(20, 1));
      peft.tensor("base_model.model.model.embed_tokens.lora_embedding_B", {8, 2}, numbers(16, 2));
      std::vector<std::string> said;
      const Gguf base = peft.base();
      const Adapter adapter = peft.read(base, &said);
      const double scale = rslora ? 6 / std::sqrt(2.0) : 3;
      EXPECT_EQ(adapter.find("blk.0.ffn_up.weight")->rank, 4);
      EXPECT_EQ(adapter.find("token_embd.weight")->rank, 2);
      const std::vector<double> expected = expected_delta(peft, kUp, peft.up, 6, 8, scale, word == "pissa");
      const std::vector<double> found = delta_of(adapter, "blk.0.ffn_up.weight");
      for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-5) << word;
      const std::vector<double> embedding = delta_of(adapter, "token_embd.weight");
      const std::vector<float> a = numbers(20, 1), b = numbers(16, 2);
      EXPECT_NEAR(embedding[0], scale * double(b[0] * a[0] + b[1] * a[10]), 1e-5);
      ASSERT_EQ(said.size(), 1u);
      EXPECT_THAT(said[0],
                  AllOf(HasSubstr(word == "pissa" ? "pissa" : "olora"), HasSubstr("twice the rank")));
    }
  }
}

// Rows of q lie in another order in GGUF, in the weight and in B alike.
TEST(LoraStart, RowsOfQAreThoseOfTheModel) {
  for (const bool pissa : {true, false}) {
    StartFolder peft;
    peft.config["init_lora_weights"] = pissa ? "pissa" : "olora";
    peft.pair(kQ, 8, 8, 2);
    const Gguf base = peft.base();
    const Adapter adapter = peft.read(base);
    const std::vector<double> expected = expected_delta(peft, kQ, peft.q, 8, 8, 2, pissa);
    const std::vector<double> found = delta_of(adapter, "blk.0.attn_q.weight");
    const size_t order[] = {0, 2, 1, 3, 4, 6, 5, 7};
    for (size_t row = 0; row < 8; ++row) {
      for (size_t c = 0; c < 8; ++c) {
        EXPECT_NEAR(found[row * 8 + c], expected[order[row] * 8 + c], 1e-5) << row << ", " << c;
      }
    }
  }
}

TEST(LoraStartErrors, AQuantizedModelIsNotWhatItStartedFrom) {
  StartFolder peft;
  peft.config["init_lora_weights"] = "pissa";
  peft.pair(kUp, 32, 6, 2);
  const Gguf base = peft.base(Type::Q8_0);
  EXPECT_THAT(error_of([&] { peft.read(base); }),
              AllOf(HasSubstr("pissa"), HasSubstr("blk.0.ffn_up.weight"), HasSubstr("Q8_0"),
                    HasSubstr("needed as F32, F16 or BF16")));
}

TEST(LoraStartErrors, WithoutTheModelOrAnAlphaOrForAnotherShape) {
  StartFolder peft;
  peft.config["init_lora_weights"] = "olora";
  peft.pair(kUp, 8, 6, 2);
  peft.write(peft.scratch.path());
  EXPECT_THAT(error_of([&] {
                read_adapter_peft(peft.scratch.path(), {"llama", 2, 1});
              }),
              AllOf(HasSubstr("olora"), HasSubstr("weights of the model")));
  peft.config["lora_alpha"] = 0;
  const Gguf base = peft.base();
  EXPECT_THAT(error_of([&] { peft.read(base); }), HasSubstr("alpha is 0"));
  StartFolder other;
  other.config["init_lora_weights"] = "pissa";
  other.pair(kUp, 9, 6, 2);
  EXPECT_THAT(error_of([&] { other.read(base); }), HasSubstr("adapter for another model?"));
}

TEST(LoraStartErrors, StartsThatCannotBeComputedAreRefusedByName) {
  for (const std::string word :
       {"pissa_niter_16", "corda", "loftq", "lora_ga", "pissa2", "something", "True"}) {
    StartFolder peft;
    peft.config["init_lora_weights"] = word;
    peft.pair(kUp, 8, 6, 2);
    const Gguf base = peft.base();
    EXPECT_THAT(error_of([&] { peft.read(base); }),
                AllOf(HasSubstr("init_lora_weights: " + word), HasSubstr("path_initial_model")));
    std::vector<LeftOut> left_out;  // nothing that could be left out
    EXPECT_THAT(error_of([&] { read_adapter_peft(peft.scratch.path(), peft_base(base), &left_out); }),
                HasSubstr(word));
  }
  StartFolder number;
  number.config["init_lora_weights"] = 3;
  number.pair(kUp, 8, 6, 2);
  const Gguf base = number.base();
  EXPECT_THAT(error_of([&] { number.read(base); }), HasSubstr("expected a word, true or false"));
}

TEST(LoraStart, StartsThatChangeNothingAreReadAsTheyAre) {
  for (const nlohmann::ordered_json& value :
       {nlohmann::ordered_json(true), nlohmann::ordered_json(false), nlohmann::ordered_json(nullptr),
        nlohmann::ordered_json("gaussian"), nlohmann::ordered_json("Gaussian"), nlohmann::ordered_json("eva"),
        nlohmann::ordered_json("orthogonal"), nlohmann::ordered_json("mica")}) {
    StartFolder peft;
    peft.config["init_lora_weights"] = value;
    peft.pair(kUp, 8, 6, 2);
    const Gguf base = peft.base();
    std::vector<std::string> said;
    EXPECT_EQ(peft.read(base, &said).pairs.at(0).b, peft.b_of(kUp, 12)) << value.dump();
    EXPECT_TRUE(said.empty());
  }
}

}  // namespace start_test
}  // namespace lora
