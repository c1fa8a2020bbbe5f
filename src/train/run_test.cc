// The pieces of a run, and whole runs of the bundled model on small texts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <tuple>

#include "base/error.h"
#include "base/machine.h"
#include "kernels/gemm_int8/gemm_int8.h"
#include "kernels/isa.h"
#include "train/run_test_util.h"
#include "train/setup.h"

namespace lora {
namespace run_test {

using namespace test;

TEST_F(Finetune, BitsDependOnTheSeedAndNotOnThreadsMemoryOrCheckpointing) {
  FinetuneOptions o = options();
  run(o);
  const std::string want = read(at("lora-LATEST.gguf"));
  ASSERT_GT(want.size(), 10000u);
  const auto with = [&](auto change) {
    FinetuneOptions changed = options();
    change(changed);
    run(changed);
    return read(at("lora-LATEST.gguf"));
  };
  EXPECT_EQ(with([](auto& c) { c.threads = 2; }), want);
  EXPECT_EQ(with([](auto& c) {
              c.threads = 5;
              c.checkpointing = Checkpointing::on;
            }),
            want);
  EXPECT_EQ(with([](auto& c) { c.checkpointing = Checkpointing::off; }), want);
  EXPECT_EQ(with([](auto& c) { c.memory = resident_bytes() + (uint64_t{32} << 20); }), want);
  EXPECT_NE(with([](auto& c) { c.seed = 6; }), want);
}

TEST_F(Finetune, TheFirstLossIsTheBaseModelsAndTrainingLowersIt) {
  FinetuneOptions o = options();
  o.adam_alpha = 0.005;
  o.adam_iter = 40;
  const auto records = run(o);
  FinetuneOptions still = o;
  still.adam_alpha = 0;
  const auto base = run(still);
  EXPECT_EQ(records.front().loss, base.front().loss);
  EXPECT_LT(records.back().loss, 0.5 * records.front().loss);
  EXPECT_EQ(records.front().sched, 0.5);
  EXPECT_EQ(records.front().lr, 0.0025);
}

TEST_F(Finetune, GradientAccumulationEqualsABatchToRounding) {
  const auto losses = [&](int64_t batch, int64_t acc) {
    FinetuneOptions o = options();
    o.n_batch = batch;
    o.grad_acc = acc;
    o.adam_iter = 4;
    return run(o);
  };
  const auto all = losses(4, 1);
  for (const auto& [batch, acc] : {std::pair{2, 2}, std::pair{1, 4}}) {
    const auto parts = losses(batch, acc);
    for (size_t i = 0; i < all.size(); ++i) {
      EXPECT_EQ(parts[i].tokens, all[i].tokens);
      EXPECT_NEAR(parts[i].loss / all[i].loss, 1, 1e-5) << i;
      EXPECT_NEAR(parts[i].grad_norm / all[i].grad_norm, 1, 1e-4) << i;
    }
  }
}

TEST_F(Finetune, DropoutDependsOnTheSeedAloneAndLeavesEvaluationAlone) {
  const auto adapter = [&](uint64_t seed, int threads, Checkpointing checkpointing, double dropout) {
    FinetuneOptions o = options();
    o.seed = int64_t(seed);
    o.threads = threads;
    o.checkpointing = checkpointing;
    o.lora_dropout = dropout;
    o.adam_iter = 3;
    run(o);
    return read(at("lora-3.gguf"));
  };
  const auto one = adapter(1, 1, Checkpointing::off, 0.1);
  EXPECT_EQ(one, adapter(1, 3, Checkpointing::on, 0.1));
  EXPECT_NE(one, adapter(1, 1, Checkpointing::off, 0));
  // Resumed, the masks go on.
  FinetuneOptions o = options();
  o.seed = 1;
  o.lora_dropout = 0.1;
  o.adam_iter = 2;
  run(o);
  o.checkpoint_in = at("checkpoint-2.gguf");
  o.adam_iter = 3;
  run(o);
  EXPECT_EQ(one, read(at("lora-3.gguf")));
}

TEST_F(Finetune, NeftuneDependsOnTheSeedAloneAndLeavesEvaluationAlone) {
  FinetuneOptions o = options();
  o.val_split = 0.1;
  o.adam_iter = o.eval_every = 4;
  o.save_every = 2;
  const auto with = [&](double alpha, auto change) {
    FinetuneOptions changed = o;
    changed.neftune = alpha;
    change(changed);
    const auto records = run(changed);
    return std::tuple(records.front().loss, *records.back().val_loss, read(at("lora-LATEST.gguf")));
  };
  const auto nothing = [](auto&) {};
  const auto one = with(5, nothing), none = with(0, nothing);
  EXPECT_NE(std::get<0>(one), std::get<0>(none));
  EXPECT_EQ(with(5,
                 [](auto& c) {
                   c.threads = 3;
                   c.checkpointing = Checkpointing::on;
                 }),
            one);
  // An adapter that does not learn has the base model's held-out loss, whatever the noise.
  const auto still = [](auto& c) { c.adam_alpha = 0; };
  EXPECT_EQ(std::get<1>(with(50, still)), std::get<1>(with(0, still)));
  // Resumed, the noise goes on.
  with(5, [](auto& c) { c.adam_iter = 2; });
  EXPECT_EQ(std::get<2>(with(5, [&](auto& c) { c.checkpoint_in = at("checkpoint-2.gguf"); })),
            std::get<2>(one));
  EXPECT_THROW(with(6, [&](auto& c) { c.checkpoint_in = at("checkpoint-2.gguf"); }), Error);
}

TEST_F(Finetune, ProductsThatAreSlowerThanOthersAreSaid) {
  const Model model = load_model(LORA_SOURCE_DIR "/models/tiny-q8_0.gguf");
  const auto notes = [](const Model& m, Precision p) { return arithmetic_notes(m, p, arithmetic_of(m, p)); };
  EXPECT_THAT(notes(model, Precision::f32), testing::IsEmpty());
  if (prefers_bf16()) {
    EXPECT_THAT(notes(model, Precision::bf16), testing::IsEmpty());
  } else {
    EXPECT_THAT(notes(model, Precision::bf16), testing::ElementsAre(testing::HasSubstr("slower than f32")));
  }
  EXPECT_EQ(gemm_input(Precision::automatic), prefers_bf16() ? GemmInput::bf16 : GemmInput::f32);
  if (isa() == Isa::amx) {
    EXPECT_THAT(notes(model, Precision::int8), testing::ElementsAre(testing::HasSubstr("slower than bf16")));
  } else if (has_int8_gemm()) {
    EXPECT_THAT(notes(model, Precision::int8), testing::IsEmpty());
  }
}

TEST_F(Finetune, AutoTakesIntegersWhereTheyAreFasterAndSaysSo) {
  const Model quantized = load_model(LORA_SOURCE_DIR "/models/tiny-q8_0.gguf");
  const bool has_vnni = isa() == Isa::avx2 ? has_avx_vnni() : cpu_features().avx512_vnni;
  const bool takes = isa() == Isa::scalar || (isa() != Isa::neon && has_vnni && !prefers_bf16());
  EXPECT_EQ(arithmetic_of(quantized, Precision::automatic).int8, takes);
  const std::vector<std::string> notes =
      arithmetic_notes(quantized, Precision::automatic, arithmetic_of(quantized, Precision::automatic));
  EXPECT_THAT(notes, testing::Conditional(takes, testing::ElementsAre(testing::HasSubstr("8-bit integers")),
                                          testing::IsEmpty()));
  EXPECT_FALSE(arithmetic_of(quantized, Precision::f32).int8);
  Model floats = load_model(LORA_SOURCE_DIR "/models/tiny-q8_0.gguf");
  floats.layers.clear();
  floats.output.w.type = Type::F32;
  EXPECT_FALSE(arithmetic_of(floats, Precision::automatic).int8) << "nothing is quantized";
  Model family = load_model(LORA_SOURCE_DIR "/models/tiny-q8_0.gguf");
  family.config.architecture = find_architecture("lfm2");
  EXPECT_EQ(arithmetic_of(family, Precision::automatic).int8, takes);
  EXPECT_TRUE(arithmetic_of(family, Precision::automatic).fine_gradients);
  family.config.architecture = find_architecture("qwen3next");
  EXPECT_FALSE(arithmetic_of(family, Precision::automatic).int8);
  EXPECT_THAT(arithmetic_notes(family, Precision::automatic, arithmetic_of(family, Precision::automatic)),
              testing::Conditional(takes, testing::ElementsAre(testing::HasSubstr("gradients of qwen3next")),
                                   testing::IsEmpty()));
  if (has_int8_gemm()) {
    EXPECT_TRUE(arithmetic_of(family, Precision::int8).int8) << "where it is asked for";
    floats.config.architecture = family.config.architecture;
    EXPECT_THAT(arithmetic_notes(floats, Precision::automatic, arithmetic_of(floats, Precision::automatic)),
                testing::IsEmpty());
    EXPECT_THAT(arithmetic_notes(floats, Precision::int8, arithmetic_of(floats, Precision::int8)),
                testing::ElementsAre(testing::HasSubstr("no matrix of the model is quantized")));
  }
}

// However much memory there is, and whatever the flag was.
TEST_F(Finetune, AutoGoesOnAsTheRunBegan) {
  if (!prefers_int8_training()) return;
  FinetuneOptions o = options();
  for (const Precision first : {Precision::f32, Precision::automatic}) {
    o.precision = first;
    o.checkpoint_in = "";
    o.checkpoint_out = at(fmt::format("checkpoint-{}-ITERATION.gguf", int(first)));
    o.adam_iter = 2;
    run(o);
    o.checkpoint_in = at(fmt::format("checkpoint-{}-LATEST.gguf", int(first)));
    o.adam_iter = 4;
    const auto resumed = [&](Precision precision) {
      o.precision = precision;
      return lora::Setup(o).arithmetic.int8;
    };
    EXPECT_EQ(resumed(Precision::automatic), first == Precision::automatic);
    EXPECT_TRUE(resumed(Precision::int8));
    EXPECT_FALSE(resumed(Precision::f32));
  }
}

TEST_F(Finetune, LayersGetTheAdaptersOfAFullRun) {
  FinetuneOptions o = options();
  o.adam_iter = 1;
  o.adam_gclip = 0;  // whose norm is of all adapters
  run(o);
  const Gguf base = Gguf::open(o.model_base);
  const Adapter all = read_adapter(at("lora-LATEST.gguf"), base);
  for (const char* layers : {"2", "1,3-4", "0-0"}) {
    o.layers = parse_layers(layers);
    const std::vector<int64_t> chosen = chosen_layers(o.layers, 6);
    run(o);
    const Adapter some = read_adapter(at("lora-LATEST.gguf"), base);
    EXPECT_EQ(some.pairs.size() * 6, all.pairs.size() * chosen.size());
    for (const LoraPair& pair : some.pairs) {
      EXPECT_TRUE(std::ranges::find(chosen, *block_of(pair.base)) != chosen.end()) << pair.base;
      EXPECT_TRUE(all.find(pair.base)->a == pair.a && all.find(pair.base)->b == pair.b) << pair.base;
    }
  }
}

TEST_F(Finetune, LayersAreTheRunsAndLoraInits) {
  FinetuneOptions o = options();
  o.layers = parse_layers("2");
  const auto why = [&](auto change) -> std::string {
    FinetuneOptions changed = o;
    change(changed);
    try {
      run(changed);
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  const auto resumed = [&](auto& c) { c.checkpoint_in = at("checkpoint-3.gguf"); };
  run(o);
  const std::string want = read(at("lora-LATEST.gguf"));
  EXPECT_EQ(why(resumed), "accepted");
  EXPECT_EQ(read(at("lora-LATEST.gguf")), want);
  EXPECT_EQ(why([&](auto& c) {
              resumed(c);
              c.layers = parse_layers("4-5");  // the same two
            }),
            "accepted");
  EXPECT_THAT(why([&](auto& c) {
                resumed(c);
                c.layers = {};
              }),
              testing::HasSubstr("--layers differs: 4-5 in the checkpoint, all now"));
  EXPECT_THAT(why([&](auto& c) {
                resumed(c);
                c.only_write_lora = true;
                c.layers = parse_layers("3");
              }),
              testing::HasSubstr("--layers differs: 4-5 in the checkpoint, 3-5 was asked for"));
  EXPECT_THAT(why([](auto& c) { c.layers = parse_layers("7"); }), testing::HasSubstr("the 6 blocks"));
  EXPECT_THAT(why([](auto& c) { c.layers = parse_layers("6-6"); }), testing::HasSubstr("no block 6"));
  std::filesystem::copy_file(at("lora-6.gguf"), at("init.gguf"));
  const auto from_init = [&](auto& c) { c.lora_init = at("init.gguf"); };
  EXPECT_EQ(why(from_init), "accepted");
  EXPECT_THAT(why([&](auto& c) {
                from_init(c);
                c.layers = parse_layers("3");
              }),
              testing::HasSubstr("--layers: blocks 3-5 were asked for, "));
  // Without the flag an adapter is trained on the blocks that it has.
  EXPECT_EQ(why([&](auto& c) {
              from_init(c);
              c.layers = {};
            }),
            "accepted");
  EXPECT_EQ(Gguf::open(at("lora-LATEST.gguf")).find_tensor("blk.3.attn_q.weight.lora_a"), nullptr);
}

// B is 0 at first, so that A's gradient is, too: the first step moves B alone, by the learning rate.
TEST_F(Finetune, LoraPlusIsAFactorOnTheLearningRateOfB) {
  FinetuneOptions o = options();
  o.adam_iter = 1;
  const Gguf base = Gguf::open(o.model_base);
  const auto trained = [&](double ratio) {
    o.lora_plus = ratio;
    run(o);
    return read_adapter(at("lora-LATEST.gguf"), base);
  };
  const Adapter plain = trained(1), plus = trained(16);
  float largest = 0;
  for (size_t i = 0; i < plain.pairs.size(); ++i) {
    EXPECT_EQ(plus.pairs[i].a, plain.pairs[i].a) << plain.pairs[i].base;
    for (size_t k = 0; k < plain.pairs[i].b.size(); ++k) {
      const float b = plain.pairs[i].b[k];
      largest = std::max(largest, std::abs(b));
      ASSERT_NEAR(plus.pairs[i].b[k], 16 * b, 1e-5 * std::abs(16 * b)) << plain.pairs[i].base;
    }
  }
  EXPECT_GT(largest, 1e-4f);
  o.optimizer = Optimizer::lbfgs;
  EXPECT_THROW(run(o), Error);
}

TEST_F(Finetune, LoraInitStartsFromAnAdapterAndItsRanks) {
  FinetuneOptions o = options();
  o.lora_r = 3;
  o.lora_alpha = 6;
  const auto first = run(o);
  FinetuneOptions next = options();
  next.lora_init = at("lora-6.gguf");
  next.lora_out = at("next-ITERATION.gguf");
  const auto second = run(next);
  EXPECT_LT(second.front().loss, first.front().loss);
  next.lora_r = 4;
  EXPECT_THROW(run(next), Error);
  next.lora_r = 3;
  next.ranks["ffn_down"] = 8;
  EXPECT_THROW(run(next), Error);
  next.ranks["ffn_down"] = 3;
  EXPECT_NO_THROW(run(next));
  next.ranks["token_embd"] = 2;  // the adapter has none there
  EXPECT_THROW(run(next), Error);
  next.ranks["token_embd"] = 0;
  next.lora_alpha = 7;
  EXPECT_THROW(run(next), Error);
}

TEST_F(Finetune, LoraInitKeepsTheRotarySettingsItWasTrainedWith) {
  FinetuneOptions o = options();
  o.rope_freq_base = 500000;
  o.rope_freq_scale = 1;  // the model's own: not written
  o.adam_iter = 2;
  run(o);
  const Gguf base = Gguf::open(o.model_base);
  EXPECT_EQ(read_adapter(at("lora-LATEST.gguf"), base).rope_freq_base, 500000.0f);
  EXPECT_FALSE(read_adapter(at("lora-LATEST.gguf"), base).rope_freq_scale);
  FinetuneOptions next = options();
  next.lora_init = at("lora-2.gguf");
  next.lora_out = at("next-ITERATION.gguf");
  run(next);
  EXPECT_EQ(read_adapter(at("next-LATEST.gguf"), base).rope_freq_base, 500000.0f);
}

TEST_F(Finetune, AnAdapterThatIsNoLongerFiniteIsNotSaved) {
  FinetuneOptions o = options();
  o.adam_alpha = 1e38;
  o.adam_iter = 3;
  EXPECT_THROW(run(o), Error);
  EXPECT_FALSE(file_exists(at("lora-LATEST.gguf")));
}

TEST_F(Finetune, RanksOfZeroLeaveTensorsAlone) {
  FinetuneOptions o = options();
  o.lora_r = 2;
  o.ranks["attn_q"] = 0;
  o.ranks["ffn_down"] = 5;
  o.adam_iter = 1;
  run(o);
  const Gguf gguf = Gguf::open(at("lora-LATEST.gguf"));
  EXPECT_EQ(gguf.find_tensor("blk.0.attn_q.weight.lora_a"), nullptr);
  EXPECT_EQ(gguf.tensor("blk.0.ffn_down.weight.lora_a").ne[1], 5);
  EXPECT_EQ(gguf.tensor("blk.0.ffn_up.weight.lora_b").ne[0], 2);
  o.lora_r = 0;
  o.ranks["ffn_down"] = 0;
  EXPECT_THROW(run(o), Error);
}

TEST_F(Finetune, TooLittleMemoryIsAnErrorThatSaysTheNeed) {
  FinetuneOptions o = options();
  o.memory = uint64_t{4} << 20;
  try {
    run(o);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("needed at the least"));
  }
}

TEST(RunPieces, IterationCounts) {
  FinetuneOptions o;
  o.n_batch = 4;
  o.grad_acc = 2;
  o.epochs = 2.5;
  EXPECT_EQ(iteration_count(o, 33), 11);  // ceil(2.5 x 33 / 8)
  o.epochs.reset();
  EXPECT_EQ(iteration_count(o, 33), 256);
  o.adam_min_alpha = 0.01;
  EXPECT_THROW(check_options(o), Error);
}

TEST(InitialParameters, AreRefusedByTheirSizeBeforeTheyAreAllocated) {
  const Model model = load_model(LORA_SOURCE_DIR "/models/tiny-q8_0.gguf");
  FinetuneOptions o;
  o.lora_r = 16;
  const auto parameters = uint64_t(initial_parameters(o, model, 1, std::nullopt).memory_bytes());
  EXPECT_EQ(uint64_t(parameter_bytes(model, ranks_of(o, model))), parameters);
  const auto needed = uint64_t(trained_bytes(o, int64_t(parameters)));
  o.memory = needed;
  EXPECT_NO_THROW(initial_parameters(o, model, 1, std::nullopt));
  o.memory = needed - 1;
  EXPECT_THROW(initial_parameters(o, model, 1, std::nullopt), Error);
}

struct WithAdapters {
  WithAdapters() { attach(model, parameters); }
  FinetuneOptions options = [] {
    FinetuneOptions o;
    o.n_batch = 1;
    return o;
  }();
  Model model = load_model(LORA_SOURCE_DIR "/models/tiny-q8_0.gguf");
  LoraParameters parameters = initial_parameters(options, model, 1, std::nullopt);
};

// Memory that holds model and smallest step keeps the model; below that its weights are read as needed,
// beside as many layers' activations as fit, down to a step that leaves two layers no room.
TEST(MakePlan, GivesWeightsWhatIsLeftWhereMemoryDoesNotHoldThem) {
  const WithAdapters made;
  const Model& model = made.model;
  FinetuneOptions o = made.options;
  const uint64_t file = model.gguf.file_bytes(), least = least_room(model);
  ASSERT_LT(least, file / 2);
  const OtherMemory other{0, 1 << 20};
  const auto plan_with = [&](uint64_t all) {
    return make_plan(o, model, 64, other, GemmInput::f32, 2,
                     [&](uint64_t taken) { return std::optional(all - std::min(all, taken)); });
  };
  const auto step = uint64_t(plan_step(model, 64, 64, 0, true, GemmInput::f32, 2).total_bytes());
  const uint64_t smallest = (step + uint64_t(other.to_come)) / 9 * 10 + 100;
  EXPECT_EQ(plan_with(file + smallest).weight_room, std::nullopt);
  const StepPlan below = plan_with(file + smallest - 1000);
  ASSERT_TRUE(below.weight_room);
  EXPECT_GT(below.n_kept, 0);
  EXPECT_GE(*below.weight_room, least);
  EXPECT_LE(*below.weight_room + uint64_t(below.total_bytes() + other.to_come), file + smallest);
  EXPECT_EQ(plan_with(least + smallest).weight_room, least);
  EXPECT_THROW(plan_with(least + smallest - 1000), Error);
}

// After all activations come logits of more tokens at a time; who wants the least memory gets the fewest.
TEST(MakePlan, TakesTheLogitsOfManyTokensWhereAllElseFits) {
  const WithAdapters made;
  const Model& model = made.model;
  FinetuneOptions o = made.options;
  const auto bytes = [&](int64_t head_tokens) {
    return uint64_t(plan_step(model, 512, 512, model.config.n_layer, true, GemmInput::f32, 2, {}, head_tokens)
                        .total_bytes());
  };
  ASSERT_LT(bytes(kHeadTokens), bytes(kMostHeadTokens));
  for (const auto checkpointing : {Checkpointing::automatic, Checkpointing::off}) {
    o.checkpointing = checkpointing;
    for (const int64_t head_tokens : {kHeadTokens, kMostHeadTokens}) {
      o.memory = bytes(head_tokens);
      const StepPlan plan = make_plan(o, model, 512, {}, GemmInput::f32, 2);
      EXPECT_EQ(plan.head_tokens, head_tokens);
      EXPECT_EQ(plan.n_kept, model.config.n_layer);
      EXPECT_EQ(uint64_t(plan.total_bytes()), o.memory);
    }
  }
  o.checkpointing = Checkpointing::on;
  EXPECT_EQ(make_plan(o, model, 512, {}, GemmInput::f32, 2).head_tokens, kHeadTokens);
}

// What estimates for a later stage goes by that stage's weights.
TEST(MakePlan, ReadsTheWeightsOfItsStage) {
  FinetuneOptions o;
  o.n_batch = 1;
  o.pipeline = 2;
  const Model model = load_model(LORA_SOURCE_DIR "/models/tiny-q8_0.gguf");
  const std::vector<NetworkPart> parts = network_parts(model, 2);
  ASSERT_NE(weight_bytes(model, parts[0]), weight_bytes(model, parts[1]));
  for (const int stage : {0, 1}) {
    o.stage = stage;
    std::vector<uint64_t> asked;
    make_plan(o, model, 64, {}, GemmInput::f32, 2, [&](uint64_t bytes) {
      asked.push_back(bytes);
      return std::optional(uint64_t{1} << 33);
    });
    EXPECT_THAT(asked, testing::Each(weight_bytes(model, parts[size_t(stage)])));
    EXPECT_THAT(asked, testing::Not(testing::IsEmpty()));
  }
}

// With a margin for the next run's own pages, and where only less fits, without; contexts of any length.
TEST(MakePlan, OffersTheSmallestThatFits) {
  FinetuneOptions o;
  o.n_batch = 1;
  const Model model = load_model(LORA_SOURCE_DIR "/models/tiny-q8_0.gguf");
  const auto needed = [&](int64_t row) {
    return uint64_t(plan_step(model, row, row, 0, true, GemmInput::f32, 2).total_bytes());
  };
  const auto refusal = [&](uint64_t memory) -> std::string {
    o.memory = memory;
    try {
      make_plan(o, model, 1024, {}, GemmInput::f32, 2);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  constexpr uint64_t kMiB = 1 << 20;
  ASSERT_LT(needed(16), needed(512));
  EXPECT_THAT(refusal(needed(512) + kMiB), testing::HasSubstr("these would fit: --ctx 512 ("));
  o.window = 1024;
  EXPECT_THAT(refusal(needed(512) + kMiB), testing::HasSubstr("these would fit: --ctx 512 --window 512 ("));
  o.window.reset();
  EXPECT_THAT(refusal(needed(16)), testing::HasSubstr("these would fit: --ctx 16 ("));
  EXPECT_THAT(refusal(needed(3)), testing::HasSubstr("these would fit: --ctx 3 ("));
  EXPECT_THAT(refusal(needed(1) - 1), testing::HasSubstr("; no --ctx and --batch would fit ("));
}

TEST(MakePlan, OffersFloatsInPlaceOfIntegers) {
  FinetuneOptions o;
  o.n_batch = 1;
  o.checkpointing = Checkpointing::on;
  const Model model = load_model(LORA_SOURCE_DIR "/models/tiny-q8_0.gguf");
  const auto needed = [&](Arithmetic a) {
    return uint64_t(plan_step(model, 1024, 1024, 0, true, a, 2).total_bytes());
  };
  if (!has_int8_gemm()) return;
  const Arithmetic floats = GemmInput::f32, integers = {GemmInput::f32, true};
  o.memory = (needed(floats) + needed(integers)) / 2;
  const bool more = needed(integers) > needed(floats);
  EXPECT_EQ(has_plan(o, model, 1024, {}, floats, 2), more);
  EXPECT_EQ(has_plan(o, model, 1024, {}, integers, 2), !more);
  if (!more) return;  // another kernel set's buffers
  try {
    make_plan(o, model, 1024, {}, integers, 2);
    ADD_FAILURE() << "fits";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("these would fit: --precision f32 ("));
  }
}

}  // namespace run_test
}  // namespace lora
