// Which tensor gets which type. That the choices for the bundled model are llama.cpp's is tested in
// quantize_test.cc; here are the rules that other models bring in, as llama-quantize --dry-run showed them.
#include "convert/mixes.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "base/error.h"
#include "convert/kept.h"
#include "convert/test_models.h"

namespace lora {
namespace mixes_test {

using test::ModelShape;
using test::TemporaryFolder;
using test::TestModel;
using Types = std::map<std::string, Type>;

Types types_of(const ModelShape& shape, std::string_view mix, const MixOptions& options = {}) {
  const TemporaryFolder folder;
  const Gguf model = Gguf::open(TestModel(shape).write(folder.at("model.gguf")));
  Types types;
  const auto choices = choose_types(model, *find_mix(mix), options);
  for (size_t i = 0; i < choices.size(); ++i) types[model.tensors()[i].name] = choices[i].type;
  return types;
}

std::string layers_with(const Types& types, const std::string& part, Type type) {
  std::string layers;
  for (int i = 0; types.contains(fmt::format("blk.{}.{}", i, part)); ++i) {
    if (types.at(fmt::format("blk.{}.{}", i, part)) == type) layers += fmt::format(" {}", i);
  }
  return layers;
}

TEST(Mixes, AreFoundByNameInAnyCase) {
  for (const std::string_view name : mix_names()) EXPECT_NE(find_mix(name), nullptr) << name;
  EXPECT_EQ(find_mix("q4_k_m"), find_mix("Q4_K_M"));
  EXPECT_EQ(file_type(*find_mix("Q4_K_M")), 15);
  for (const std::string_view none : {"", "Q4_K", "Q4_K_", "Q4_K_MM", "I32"})
    EXPECT_EQ(find_mix(none), nullptr);
}

TEST(Mixes, MoreBitsGoToTheFirstAndLastEighthAndEveryThirdLayerBetween) {
  const Types types = types_of({.n_layers = 32, .n_embd = 256, .n_ff = 256}, "Q4_K_M");
  const std::string more = " 0 1 2 3 6 9 12 15 18 21 24 27 28 29 30 31";
  EXPECT_EQ(layers_with(types, "attn_v.weight", Type::Q6_K), more);
  EXPECT_EQ(layers_with(types, "ffn_down.weight", Type::Q6_K), more);
  EXPECT_EQ(layers_with(types, "attn_q.weight", Type::Q6_K), "");
  const Types small = types_of({.n_layers = 32, .n_embd = 256, .n_ff = 256}, "Q4_K_S");
  EXPECT_EQ(layers_with(small, "attn_v.weight", Type::Q5_K), " 0 1 2 3");
  EXPECT_EQ(layers_with(small, "ffn_down.weight", Type::Q5_K), " 0 1 2 3");
  const Types three = types_of({.n_layers = 32, .n_embd = 256, .n_ff = 256}, "Q3_K_M");
  EXPECT_EQ(layers_with(three, "ffn_down.weight", Type::Q5_K), " 0 1");
  EXPECT_EQ(layers_with(three, "attn_v.weight", Type::Q5_K), " 0 1");
}

TEST(Mixes, SharedHeadsGiveTheValuesMoreBits) {
  EXPECT_EQ(types_of({}, "Q2_K").at("blk.0.attn_v.weight"), Type::Q3_K);
  EXPECT_EQ(types_of({.n_head_kv = 2}, "Q2_K").at("blk.0.attn_v.weight"), Type::Q4_K);
  EXPECT_EQ(types_of({.n_head_kv = 2}, "IQ4_XS").at("blk.0.attn_v.weight"), Type::Q5_K);
  // 80 layers with shared heads are a 70B model.
  const Types large = types_of({.n_layers = 80, .n_ff = 256, .n_head_kv = 1}, "Q3_K_S");
  EXPECT_EQ(large.at("blk.40.attn_v.weight"), Type::Q5_K);
}

TEST(Mixes, FusedAttentionIsTreatedAsItsValues) {
  const Types types = types_of({.arch = "phi3", .n_layers = 8, .fused_qkv = true}, "Q4_K_M");
  EXPECT_EQ(layers_with(types, "attn_qkv.weight", Type::Q6_K), " 0 3 6 7");
}

TEST(Mixes, EightExpertsGetTheirOwnRules) {
  const Types types = types_of({.n_expert = 8}, "Q4_K_M");
  EXPECT_EQ(types.at("blk.0.attn_v.weight"), Type::Q8_0);
  EXPECT_EQ(types.at("blk.0.attn_k.weight"), Type::Q8_0);
  EXPECT_EQ(types.at("blk.0.attn_output.weight"), Type::Q5_K);
  EXPECT_EQ(types.at("blk.0.ffn_gate_inp.weight"), Type::F32);
  EXPECT_EQ(types.at("blk.0.ffn_up_exps.weight"), Type::Q4_K);
  EXPECT_EQ(types.at("blk.1.ffn_down_exps.weight"), Type::Q6_K);
}

TEST(Mixes, ATiedTableIsTheOutput) {
  EXPECT_EQ(types_of({.tied = true}, "Q4_K_M").at("token_embd.weight"), Type::Q6_K);
  EXPECT_EQ(types_of({}, "Q4_K_M").at("token_embd.weight"), Type::Q4_K);
  EXPECT_EQ(types_of({}, "Q4_K_M").at("output.weight"), Type::Q6_K);
  EXPECT_EQ(types_of({}, "Q8_0").at("output.weight"), Type::Q8_0);
}

TEST(Mixes, ModelsOfThreeValuesKeepTheirEmbeddingInFourBits) {
  for (const auto& [name, type] : {std::pair{"TQ1_0", Type::TQ1_0}, {"TQ2_0", Type::TQ2_0}}) {
    const Types types = types_of({}, name);
    EXPECT_EQ(types.at("token_embd.weight"), Type::Q4_K);
    EXPECT_EQ(types.at("output.weight"), Type::Q6_K);
    EXPECT_EQ(types.at("blk.0.ffn_down.weight"), type);
    EXPECT_EQ(types.at("blk.0.attn_v.weight"), type);
    EXPECT_EQ(types_of({.tied = true}, name).at("token_embd.weight"), Type::Q6_K);
    EXPECT_EQ(types_of({}, name, {.pure = true}).at("token_embd.weight"), type);
    const ModelShape narrow = {.n_embd = 96, .n_ff = 288, .n_head = 4, .n_head_kv = 4};
    EXPECT_EQ(types_of(narrow, name).at("blk.1.ffn_up.weight"), Type::Q4_0);
  }
}

TEST(Mixes, OptionsOverrule) {
  EXPECT_EQ(types_of({}, "Q4_K_M", {.pure = true}).at("output.weight"), Type::Q4_K);
  EXPECT_EQ(types_of({}, "Q4_K_M", {.leave_output_tensor = true}).at("output.weight"), Type::F32);
  EXPECT_EQ(types_of({}, "Q4_K_M", {.output_tensor_type = Type::F16}).at("output.weight"), Type::F16);
  EXPECT_EQ(types_of({.tied = true}, "Q4_K_M", {.output_tensor_type = Type::Q8_0}).at("token_embd.weight"),
            Type::Q8_0);
  EXPECT_EQ(types_of({}, "Q4_K_M", {.token_embedding_type = Type::Q8_0}).at("token_embd.weight"), Type::Q8_0);
  EXPECT_EQ(types_of({.n_layers = 16}, "Q4_0", {.has_importance = true}).at("blk.1.ffn_down.weight"),
            Type::Q4_1);
  EXPECT_EQ(types_of({.n_layers = 16}, "Q4_0").at("blk.1.ffn_down.weight"), Type::Q4_0);
}

TEST(Mixes, TypesByNameOverrule) {
  TensorTypes by_name;
  by_name.add("blk\\.0\\.ffn=F16");
  by_name.add("FFN_up|attn_v=q8_0");  // any case, and behind the first
  by_name.add("token_embd|output\\.weight|norm=bf16");
  const MixOptions options = {.tensor_types = by_name};
  const Types types = types_of({}, "Q4_K_M", options);
  EXPECT_EQ(types.at("blk.0.ffn_up.weight"), Type::F16);
  EXPECT_EQ(types.at("blk.0.ffn_down.weight"), Type::F16);
  EXPECT_EQ(types.at("blk.1.ffn_up.weight"), Type::Q8_0);
  EXPECT_EQ(types.at("blk.1.attn_v.weight"), Type::Q8_0);
  EXPECT_EQ(types.at("blk.1.attn_q.weight"), Type::Q4_K);
  EXPECT_EQ(types.at("token_embd.weight"), Type::BF16);
  EXPECT_EQ(types.at("output.weight"), Type::BF16);
  EXPECT_EQ(types.at("blk.0.attn_norm.weight"), Type::F32);
  EXPECT_EQ(types_of({}, "F32", options).at("blk.1.ffn_up.weight"), Type::Q8_0);
  const MixOptions pure = {.pure = true, .tensor_types = by_name};
  EXPECT_EQ(types_of({}, "Q4_K_M", pure).at("blk.1.ffn_up.weight"), Type::Q8_0);
  // Flags of their own come first.
  const MixOptions more = {
      .output_tensor_type = Type::Q5_K, .token_embedding_type = Type::Q6_K, .tensor_types = by_name};
  EXPECT_EQ(types_of({}, "Q4_K_M", more).at("token_embd.weight"), Type::Q6_K);
  EXPECT_EQ(types_of({}, "Q4_K_M", more).at("output.weight"), Type::Q5_K);
  EXPECT_EQ(types_of({.tied = true}, "Q4_K_M", {.output_tensor_type = Type::Q5_K, .tensor_types = by_name})
                .at("token_embd.weight"),
            Type::BF16);
  // What does not fit falls back.
  const ModelShape odd = {.n_embd = 40, .n_ff = 100, .n_head = 4, .n_head_kv = 4};
  EXPECT_EQ(types_of(odd, "F32", options).at("blk.1.ffn_up.weight"), Type::F16);
}

TEST(Mixes, ATypeByNameThatHasNoEffectIsSaid) {
  MixOptions options = {.token_embedding_type = Type::Q8_0};
  for (const char* text :
       {"attn_q=q8_0", "attn_[qk]=q6_k", "attn_q\\.=q4_0", "expert=q8_0", "ffn_norm=q8_0", "token_embd=q4_0"})
    options.tensor_types.add(text);
  const TemporaryFolder folder;
  const Gguf model = Gguf::open(TestModel({}).write(folder.at("model.gguf")));
  using testing::StartsWith;
  EXPECT_THAT(
      options_without_effect(model, *find_mix("Q4_K_M"), options),
      testing::ElementsAre(StartsWith("--tensor-type attn_q\\.=q4_0: without effect: tensors of such"),
                           "--tensor-type expert=q8_0: without effect: no tensor has such a name",
                           StartsWith("--tensor-type ffn_norm=q8_0: without effect: tensors of such"),
                           StartsWith("--tensor-type token_embd=q4_0: without effect: tensors of")));
  EXPECT_THAT(
      options_without_effect(model, *find_mix("MXFP4_MOE"), {}),
      testing::ElementsAre("MXFP4_MOE: the model has no stacks of experts, so that all of it becomes Q8_0"));
  const auto error_of = [](const char* text) -> std::string {
    try {
      TensorTypes().add(text);
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  };
  for (const char* bad : {"", "=", "=q8_0", "attn_q"})
    EXPECT_THAT(error_of(bad), StartsWith("expected PATTERN=TYPE, found")) << bad;
  EXPECT_EQ(error_of("(=q8_0"), "expected PATTERN=TYPE, '(' is no regular expression");
  EXPECT_THAT(error_of("a="), StartsWith("expected one of F32 F16"));
  EXPECT_THAT(error_of("a=i32"), testing::EndsWith("found 'i32'"));
  EXPECT_EQ(error_of("(?=a)b=q8_0"), "no error");
  TensorTypes slow;
  slow.add("(a+)+$=q8_0");
  EXPECT_THROW(slow.find(std::string(40, 'a') + "b"), Error);
}

TEST(Mixes, RowsThatABlockDoesNotDivideFallBack) {
  const ModelShape narrow = {.n_layers = 8, .n_embd = 96, .n_ff = 288, .n_head = 4, .n_head_kv = 4};
  Types types = types_of(narrow, "Q4_K_M");
  EXPECT_EQ(types.at("blk.1.attn_q.weight"), Type::Q5_0);
  EXPECT_EQ(types.at("blk.0.attn_v.weight"), Type::Q8_0);  // for Q6_K
  EXPECT_EQ(types.at("output.weight"), Type::Q8_0);
  EXPECT_EQ(types_of(narrow, "Q5_K_S").at("blk.1.attn_q.weight"), Type::Q5_1);
  EXPECT_EQ(types_of(narrow, "Q2_K").at("blk.1.attn_q.weight"), Type::Q4_0);
  EXPECT_EQ(types_of(narrow, "Q3_K_S").at("blk.1.attn_q.weight"), Type::Q4_0);
  EXPECT_EQ(types_of(narrow, "Q6_K").at("blk.1.attn_q.weight"), Type::Q8_0);
  const ModelShape odd = {.n_embd = 40, .n_ff = 100, .n_head = 4, .n_head_kv = 4};
  EXPECT_EQ(types_of(odd, "Q4_K_M").at("blk.1.ffn_up.weight"), Type::F16);
  EXPECT_EQ(types_of(odd, "Q8_0").at("blk.1.ffn_up.weight"), Type::F16);
  EXPECT_EQ(types_of(odd, "Q8_0").at("blk.1.attn_norm.weight"), Type::F32);
}

// A model of nothing but these, each of 32 x 32 zeros in F32.
struct NamedTensors {
  TemporaryFolder folder;
  std::string path = folder.at("model.gguf");

  NamedTensors(const std::string& arch, int64_t n_layers, const std::vector<std::string>& names) {
    GgufWriter writer;
    writer.set_string("general.architecture", arch);
    writer.set_u32(arch + ".block_count", uint32_t(n_layers));
    const std::vector<std::byte> zeros(32 * 32 * sizeof(float));
    for (const std::string& name : names) writer.add_tensor(name, Type::F32, {32, 32}, zeros);
    writer.write(path);
  }
  Types types(std::string_view mix, const MixOptions& options = {}) const {
    const Gguf model = Gguf::open(path);
    Types types;
    const auto choices = choose_types(model, *find_mix(mix), options);
    for (size_t i = 0; i < choices.size(); ++i) types[model.tensors()[i].name] = choices[i].type;
    return types;
  }
};

// Whatever the architecture is called: the first stay as they are, the others do not.
const std::vector<std::string> kStay = {"blk.0.shortconv.conv.weight",
                                        "blk.0.ssm_conv1d.weight",
                                        "blk.0.ssm_conv1d_q.weight",
                                        "blk.0.ssm_a",
                                        "blk.0.ssm_d",
                                        "blk.0.ssm_dt.bias",
                                        "blk.0.ssm_norm.weight",
                                        "blk.0.ssm_dt_norm.weight",
                                        "blk.0.ffn_gate_inp.weight",
                                        "blk.0.ffn_gate_inp_shexp.weight",
                                        "blk.0.ffn_gate_tid2eid.weight",
                                        "blk.0.exp_probs_b.bias",
                                        "blk.0.ffn_gate_exps.bias",
                                        "blk.0.attn_q.bias",
                                        "position_embd.weight",
                                        "v.position_embd.weight",
                                        "token_types.weight",
                                        "dec.blk.0.attn_rel_b.weight",
                                        "enc.blk.0.attn_rel_b.weight",
                                        "blk.0.time_mix_first.weight",
                                        "blk.0.time_mix_w0.weight",
                                        "blk.0.time_mix_w1.weight",
                                        "blk.0.time_mix_w2.weight",
                                        "blk.0.time_mix_v0.weight",
                                        "blk.0.time_mix_v1.weight",
                                        "blk.0.time_mix_v2.weight",
                                        "blk.0.time_mix_a0.weight",
                                        "blk.0.time_mix_a1.weight",
                                        "blk.0.time_mix_a2.weight",
                                        "blk.0.time_mix_g1.weight",
                                        "blk.0.time_mix_g2.weight",
                                        "blk.0.time_mix_decay_w1.weight",
                                        "blk.0.time_mix_decay_w2.weight",
                                        "blk.0.time_mix_lerp_fused.weight",
                                        "altup_proj.weight",
                                        "altup_unembd_proj.weight",
                                        "blk.0.altup_correct_coef.weight",
                                        "blk.0.altup_predict_coef.weight",
                                        "blk.0.altup_router.weight",
                                        "blk.0.laurel_l.weight",
                                        "blk.0.laurel_r.weight",
                                        "per_layer_model_proj.weight",
                                        "blk.0.indexer.k_proj.weight",
                                        "blk.0.indexer.q_proj.weight",
                                        "v.patch_embd.weight",
                                        "v.sam.neck.0.weight",
                                        "v.sam.net_2.weight",
                                        "v.sam.pos_embd.weight",
                                        "v.blk.0.attn.rel_pos_h.weight",
                                        "mm.patch_merger.weight",
                                        "a.rvq.codebook.weight",
                                        "mm.a.code_embd.weight",
                                        "blk.0.attn_norm.weight",
                                        "blk.0.attn_norm_2.weight",
                                        "blk.0.attn_q_norm.weight",
                                        "blk.0.layer_output_norm.weight",
                                        "token_embd_norm.weight",
                                        "posnet.0.norm1.weight"};
const std::vector<std::string> kBecome = {"token_embd.weight",
                                          "per_layer_token_embd.weight",
                                          "output.weight",
                                          "blk.0.attn_q.weight",
                                          "blk.0.attn_qkv.weight",
                                          "blk.0.attn_kv_b.weight",
                                          "blk.0.attn_k_b.weight",
                                          "blk.0.attn_output.weight",
                                          "blk.0.ffn_down.weight",
                                          "blk.0.ffn_up_exps.weight",
                                          "blk.0.ffn_gate_shexp.weight",
                                          "blk.0.shortconv.in_proj.weight",
                                          "blk.0.shortconv.out_proj.weight",
                                          "blk.0.ssm_in.weight",
                                          "blk.0.ssm_out.weight",
                                          "blk.0.ssm_x.weight",
                                          "blk.0.ssm_dt.weight",
                                          "blk.0.ssm_ba.weight",
                                          "blk.0.time_mix_key.weight",
                                          "blk.0.time_mix_value.weight",
                                          "blk.0.time_mix_gate.weight",
                                          "blk.0.time_mix_output.weight",
                                          "blk.0.channel_mix_key.weight",
                                          "blk.0.indexer.attn_q_b.weight",
                                          "blk.0.per_layer_inp_gate.weight",
                                          "dec.blk.0.cross_attn_v.weight",
                                          "mm.input_projection.weight"};

TEST(Kept, IsByNameAloneInEveryMix) {
  for (const char* arch : {"llama", "lfm2", "not-known-yet"}) {
    std::vector<std::string> names = kStay;
    names.insert(names.end(), kBecome.begin(), kBecome.end());
    const NamedTensors model(arch, 1, names);
    for (const std::string_view mix : mix_names()) {
      const Types types = model.types(mix);
      for (const std::string& name : kStay) EXPECT_EQ(types.at(name), Type::F32) << arch << mix << name;
      for (const std::string& name : kBecome) {
        const Type type = types.at(name);
        EXPECT_TRUE(mix == "F32" || type != Type::F32) << arch << mix << name;
      }
      for (const std::string& name : kStay)
        EXPECT_EQ(model.types(mix, {.pure = true}).at(name), Type::F32) << mix << name;
    }
  }
}

TEST(Kept, AMatrixOfOneRowIsAVector) {
  EXPECT_EQ(why_kept("blk.0.some.weight", 1), "vector");
  EXPECT_EQ(why_kept("blk.0.some.weight", 2), "");
  EXPECT_EQ(why_kept("blk.0.ssm_conv1d.weight", 2), "convolution");
  GgufTensor tensor;
  tensor.name = "blk.0.some.weight";
  tensor.type = Type::F32;
  tensor.n_dims = 3;
  tensor.ne[0] = 32;
  EXPECT_EQ(why_kept(tensor), "vector");
  tensor.ne[2] = 4;
  EXPECT_EQ(why_kept(tensor), "");
  tensor.type = Type::I32;
  EXPECT_EQ(why_kept(tensor), "no weight");
}

// Types that llama.cpp's quantizer (v0.5.0) gives the tensors of families with attention in some layers,
// convolutions, experts, tables per layer: for each pair of types, that of Q4_K_M and that of F16, the
// tensors.
TEST(Mixes, OtherFamiliesGetLlamaCppsTypes) {
  const std::string folder = LORA_SHARED_DIR "/golden/families/";
  if (!std::ifstream(folder + "lfm2/model.gguf")) GTEST_SKIP() << folder << " is not here";
  const auto golden = nlohmann::json::parse(std::ifstream(LORA_SOURCE_DIR "/tests/golden/quant-types.json"));
  for (const auto& [family, groups] : golden.items()) {
    const Gguf model = Gguf::open(folder + family + "/model.gguf");
    const auto quantized = choose_types(model, *find_mix("Q4_K_M"), {}),
               halved = choose_types(model, *find_mix("F16"), {});
    std::map<std::string, std::string> ours;
    for (size_t i = 0; i < quantized.size(); ++i) {
      ours[model.tensors()[i].name] =
          fmt::format("{} {}", traits(quantized[i].type).name, traits(halved[i].type).name);
    }
    size_t n = 0;
    for (const auto& [types, names] : groups.items()) {
      std::istringstream each(names.get<std::string>());
      for (std::string name; each >> name; ++n) EXPECT_EQ(ours.at(name), types) << family << ' ' << name;
    }
    EXPECT_EQ(n, model.tensors().size()) << family;
  }
}

// Where only some layers have attention, those are counted, in whatever order the file has them.
TEST(Mixes, CountsTheTensorsThatAreThere) {
  std::vector<std::string> names = {"output.weight", "token_embd.weight"};
  for (const int layer : {14, 2, 6, 10, 0, 4, 8, 12}) {
    names.push_back(fmt::format("blk.{}.attn_v.weight", layer));
    names.push_back(fmt::format("blk.{}.ffn_down.weight", layer));
  }
  const Types types = NamedTensors("hybrid", 16, names).types("Q4_K_M");
  std::string more_v, more_down;
  for (int layer = 0; layer < 16; layer += 2) {
    // Rows of 32 get Q8_0 for Q6_K and Q5_0 for Q4_K.
    if (types.at(fmt::format("blk.{}.attn_v.weight", layer)) == Type::Q8_0)
      more_v += fmt::format(" {}", layer);
    if (types.at(fmt::format("blk.{}.ffn_down.weight", layer)) == Type::Q8_0)
      more_down += fmt::format(" {}", layer);
  }
  EXPECT_EQ(more_v, " 0 6 12 14");    // the 0th, 3rd, 6th and 7th of 8
  EXPECT_EQ(more_down, " 0 2 8 14");  // the 0th, 1st, 4th and 7th of 16
}

TEST(Mixes, TablesPerLayerAreEmbeddingsToo) {
  const NamedTensors tied("gemma4", 1, {"token_embd.weight", "per_layer_token_embd.weight"});
  EXPECT_EQ(tied.types("Q4_K_M").at("per_layer_token_embd.weight"), Type::Q8_0);  // for Q6_K
  EXPECT_EQ(tied.types("Q4_0", {.token_embedding_type = Type::F16}).at("per_layer_token_embd.weight"),
            Type::F16);
}

TEST(Mixes, OptionsOfATiedModelActOnTheTableOrSayThatTheyDoNot) {
  const NamedTensors tied("llama", 1, {"token_embd.weight"});
  for (const char* mix : {"Q4_K_M", "F16", "BF16"}) {
    EXPECT_EQ(tied.types(mix, {.output_tensor_type = Type::Q8_0}).at("token_embd.weight"), Type::Q8_0) << mix;
    EXPECT_EQ(tied.types(mix, {.pure = true, .output_tensor_type = Type::Q8_0}).at("token_embd.weight"),
              Type::Q8_0);
  }
  const auto lines = [](const NamedTensors& tensors, const MixOptions& options) {
    return options_without_effect(Gguf::open(tensors.path), *find_mix("Q4_K_M"), options);
  };
  using testing::ElementsAre;
  using testing::IsEmpty;
  using testing::StartsWith;
  EXPECT_THAT(lines(tied, {.output_tensor_type = Type::Q8_0, .token_embedding_type = Type::F16}),
              ElementsAre(StartsWith("--output-tensor-type: without effect")));
  EXPECT_THAT(lines(tied, {.leave_output_tensor = true}),
              ElementsAre("--leave-output-tensor: without effect: the model has no output.weight, "
                          "token_embd.weight does its work"));
  EXPECT_THAT(lines(tied, {.output_tensor_type = Type::Q8_0}), IsEmpty());
  const NamedTensors untied("llama", 1, {"token_embd.weight", "output.weight"});
  EXPECT_THAT(lines(untied, {.leave_output_tensor = true, .output_tensor_type = Type::Q8_0}),
              ElementsAre(StartsWith("--output-tensor-type: without effect: --leave-output-tensor")));
  EXPECT_THAT(lines(untied, {.leave_output_tensor = true, .token_embedding_type = Type::F16}), IsEmpty());
}

TEST(Mixes, AFallbackKnowsWhatWasWanted) {
  const TemporaryFolder folder;
  const ModelShape narrow = {.n_embd = 96, .n_ff = 288, .n_head = 4, .n_head_kv = 4};
  const Gguf model = Gguf::open(TestModel(narrow).write(folder.at("model.gguf")));
  const auto choices = choose_types(model, *find_mix("Q4_K_M"), {});
  for (size_t i = 0; i < choices.size(); ++i) {
    if (model.tensors()[i].name == "output.weight") {
      EXPECT_EQ(choices[i].wanted, Type::Q6_K);
    }
  }
}

}  // namespace mixes_test
}  // namespace lora
