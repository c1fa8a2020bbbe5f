// lora convert-lora: what PEFT computes with an adapter, its files back, and the other forms.
#include <nlohmann/json.hpp>

#include "adapter/adapter.h"
#include "adapter/parameters.h"
#include "base/file.h"
#include "convert_lora_folder.h"
#include "gguf/pytorch.h"
#include "gguf/safetensors.h"
#include "gguf/test_files.h"
#include "model/model.h"
#include "text_loss.h"

namespace lora::test {
namespace convert_lora_test {

using nlohmann::ordered_json;
using testing::AllOf;
using testing::HasSubstr;

const std::string kGolden = LORA_SOURCE_DIR "/tests/golden/";

double loss_with(const std::string& base, const std::string& adapter_path, const std::vector<int32_t>& ids) {
  Adapter adapter;  // outlives the model
  Model model = load_model(base);
  adapter = read_adapter(adapter_path, model.gguf);
  attach(model, adapter, 1);
  return mean_loss(model, ids);
}

// PEFT's losses of the four folders that it wrote, on the F32 model and, as near as quantization lets, on the
// bundled one.
TEST(ConvertLora, GivesTheLossThatPeftGives) {
  const ordered_json golden = parse_json(read_file(kGolden + "tiny-peft.json"));
  const std::string f32 = LORA_SHARED_DIR "/models/tiny-f32.gguf";
  for (const std::string name : {"tiny-peft", "tiny-peft-bin", "tiny-peft-rslora", "tiny-peft-pattern"}) {
    const Folder folder;
    const RunResult run = folder.lora({"convert-lora", kGolden + name, "--base", "model.gguf"});
    ASSERT_EQ(run.status, 0) << run.err;
    EXPECT_EQ(run.out, "");
    const std::string adapter = folder.at(name + "-lora-F32.gguf");
    const double want = golden.at(name);
    EXPECT_NEAR(loss_with(kBundledModel, adapter, golden.at("ids")) / want, 1, 2e-3) << name;
    if (file_exists(f32)) {
      EXPECT_NEAR(loss_with(f32, adapter, golden.at("ids")) / want, 1, 1e-4) << name;
    }
  }
}

std::map<std::string, std::pair<std::vector<int64_t>, std::string>> tensors_of(const std::string& path) {
  std::map<std::string, std::pair<std::vector<int64_t>, std::string>> result;
  const auto add = [&](const SafeTensor& t) {
    result[t.name] = {t.shape,
                      t.dtype + std::string(reinterpret_cast<const char*>(t.data.data()), t.data.size())};
  };
  if (path.ends_with(".bin")) {
    const PytorchFile file = PytorchFile::open(path);
    std::vector<std::byte> bytes;
    for (const PytorchTensor& t : file.tensors()) add(file.read(t, bytes));
  } else {
    const SafeTensors file = SafeTensors::open(path);
    for (const SafeTensor& t : file.tensors()) add(t);
  }
  return result;
}

// To GGUF and back. Where one alpha cannot say it (v_proj of the patterns: 4 against 16), B is folded: a
// quarter.
TEST(ConvertLora, ConvertedBackTheTensorsAreTheSameBytes) {
  for (const std::string name : {"tiny-peft", "tiny-peft-bin", "tiny-peft-rslora", "tiny-peft-pattern"}) {
    const Folder folder;
    ASSERT_EQ(folder.lora({"convert-lora", kGolden + name, "--base", "model.gguf", "-o", "a.gguf"}).status,
              0);
    const RunResult run =
        folder.lora({"convert-lora", "a.gguf", "--base", "model.gguf", "--to-peft", "back"});
    ASSERT_EQ(run.status, 0) << run.err;
    const bool is_bin = name == "tiny-peft-bin";
    const auto before =
        tensors_of(kGolden + name + (is_bin ? "/adapter_model.bin" : "/adapter_model.safetensors"));
    const auto after = tensors_of(folder.at("back/adapter_model.safetensors"));
    EXPECT_EQ(after.size(), before.size());
    int n_folded = 0;
    for (const auto& [tensor, content] : before) {
      const bool is_folded = name == "tiny-peft-pattern" && tensor.find("v_proj.lora_B") != tensor.npos;
      n_folded += is_folded;
      ASSERT_TRUE(after.contains(tensor)) << tensor;
      EXPECT_EQ(after.at(tensor) == content, !is_folded) << name << ": " << tensor;
    }
    EXPECT_EQ(n_folded, name == "tiny-peft-pattern" ? 6 : 0);
    const ordered_json config = parse_json(folder.read("back/adapter_config.json"));
    EXPECT_EQ(config["target_modules"].size(), 7u);
    if (name == "tiny-peft-pattern") {
      EXPECT_EQ(config["rank_pattern"], (ordered_json{{"q_proj", 4}, {"model.layers.2.mlp.down_proj", 2}}));
    }
    // What is written can be read again, and does the same.
    const ordered_json golden = parse_json(read_file(kGolden + "tiny-peft.json"));
    EXPECT_EQ(loss_with(kBundledModel, folder.at("back"), golden.at("ids")),
              loss_with(kBundledModel, folder.at("a.gguf"), golden.at("ids")));
  }
}

TEST(ConvertLora, TheFileSaysWhatItIs) {
  LoraFolder folder;
  folder.peft.config["base_model_name_or_path"] = "someone/tiny";
  const RunResult run = folder.convert();
  ASSERT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(run.err, "peft-lora-F32.gguf: llama, 2 tensors adapted, rank 2, alpha 4, F32\n");
  const Gguf file = Gguf::open(folder.at("peft-lora-F32.gguf"));
  EXPECT_EQ(file.get_string("general.type"), "adapter");
  EXPECT_EQ(file.get_string("adapter.type"), "lora");
  EXPECT_EQ(file.get_string("general.architecture"), "llama");
  EXPECT_EQ(file.get_string("general.name"), "peft");
  EXPECT_EQ(file.get_string("general.base_model.0.name"), "someone/tiny");
  EXPECT_EQ(file.get_float("adapter.lora.alpha"), 4);
  EXPECT_EQ(file.tensor("blk.0.ffn_up.weight.lora_a").ne[0], 256);
  EXPECT_EQ(file.tensor("blk.0.ffn_up.weight.lora_b").ne[1], 768);
}

const ordered_json kTinyConfig = {{"architectures", {"LlamaForCausalLM"}},
                                  {"hidden_size", 256},
                                  {"intermediate_size", 768},
                                  {"num_hidden_layers", 6},
                                  {"num_attention_heads", 8},
                                  {"num_key_value_heads", 4},
                                  {"vocab_size", 4096},
                                  {"max_position_embeddings", 512}};

// A GGUF's name of its base is for people; PEFT loads by repository or folder.
TEST(ConvertLora, PeftIsToldTheModelsRepository) {
  LoraFolder folder;
  folder.peft.config["base_model_name_or_path"] = "tiny";
  ASSERT_EQ(folder.convert({"-o", "a.gguf"}).status, 0);
  const auto name = [&](const std::string& base) {
    const RunResult run = folder.lora({"convert-lora", "a.gguf", "--base", base, "--to-peft", "out-" + base});
    EXPECT_EQ(run.status, 0) << run.err;
    const auto config = parse_json(folder.read("out-" + base + "/adapter_config.json"));
    EXPECT_EQ(run.err.find("base_model_name_or_path is left empty") != run.err.npos,
              config["base_model_name_or_path"].is_null());
    return config["base_model_name_or_path"];
  };
  EXPECT_TRUE(name("model.gguf").is_null());
  const Gguf model = Gguf::open(kBundledModel);
  GgufWriter writer;
  for (const auto& [key, value] : model.values()) writer.set(key, value);
  writer.set_string("general.base_model.0.repo_url", "https://huggingface.co/someone/parent");
  writer.set_string("general.source.repo_url", "https://huggingface.co/someone/tiny");
  for (const GgufTensor& t : model.tensors())
    writer.add_tensor(t.name, t.type, {t.ne, t.ne + t.n_dims}, t.data);
  writer.write(folder.at("known.gguf"));
  EXPECT_EQ(name("known.gguf"), "someone/tiny");
  std::filesystem::create_directories(folder.at("hf"));
  folder.write("hf/config.json", kTinyConfig.dump());
  EXPECT_EQ(name("hf"), "hf");
  folder.peft.config["base_model_name_or_path"] = "someone/else";
  ASSERT_EQ(folder.convert({"-o", "a.gguf"}).status, 0);
  std::filesystem::remove_all(folder.at("out-model.gguf"));
  EXPECT_EQ(name("model.gguf"), "someone/else");
}

TEST(ConvertLora, F16IsHalfTheSize) {
  const LoraFolder folder;
  ASSERT_EQ(folder.convert({"--outtype=F16"}).status, 0);
  const Gguf file = Gguf::open(folder.at("peft-lora-F16.gguf"));
  for (const GgufTensor& tensor : file.tensors()) EXPECT_EQ(tensor.type, Type::F16);
  const std::vector<float> a = folder.peft.a_of(kLoraLayer + "mlp.up_proj", 512);
  const Adapter adapter = folder.converted("peft-lora-F16.gguf");
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(adapter.find("blk.0.ffn_up.weight")->a[i], a[i], 0x1p-12);
}

// A folder's config.json does as well as the GGUF: given, beside the adapter, or where the adapter says.
TEST(ConvertLora, TheBaseMayBeAFolderWithAConfig) {
  LoraFolder folder;
  ASSERT_EQ(folder.convert().status, 0);
  const std::string expected = folder.read("peft-lora-F32.gguf");
  const std::vector<std::string> convert = {"convert-lora", "peft", "-o", "a.gguf"};
  std::filesystem::create_directories(folder.at("hf"));
  ordered_json config = kTinyConfig;
  config["quantization_config"] = {{"quant_method", "bitsandbytes"}};  // of weights that are not asked for
  folder.write("hf/config.json", config.dump());
  ASSERT_EQ(folder.lora(convert + std::vector<std::string>{"--base", "hf"}).status, 0);
  EXPECT_EQ(folder.read("a.gguf"), expected);

  expect_error(
      folder.lora(convert), 1,
      "peft: the architecture comes from the model it belongs to, which is not here; give that with --base");
  folder.write("peft/config.json", kTinyConfig.dump());
  ASSERT_EQ(folder.lora(convert).status, 0);
  EXPECT_EQ(folder.read("a.gguf"), expected);

  std::filesystem::remove(folder.at("peft/config.json"));
  folder.peft.config["base_model_name_or_path"] = "hf";
  folder.write_peft();
  const RunResult run = folder.lora(convert);
  ASSERT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(folder.converted("a.gguf").base_model, "hf");
  EXPECT_EQ(folder.converted("a.gguf").pairs[0].b, folder.converted().pairs[0].b);

  folder.peft.config["base_model_name_or_path"] = "meta-llama/Llama-2-7b-hf";
  folder.write_peft();
  expect_error(folder.lora(convert), 1,
               "the model it belongs to (meta-llama/Llama-2-7b-hf), which is not here");
}

// The name that a GGUF holds is for people: a folder of that name here has nothing to do with it.
TEST(ConvertLora, TheNameInAFileIsNoPath) {
  LoraFolder folder;
  folder.peft.config["base_model_name_or_path"] = "tiny";
  ASSERT_EQ(folder.convert({"-o", "a.gguf"}).status, 0);
  std::filesystem::create_directories(folder.at("tiny"));
  folder.write("tiny/config.json", "another model's");
  const RunResult run = folder.lora({"convert-lora", "a.gguf", "--outtype", "f16", "-o", "b.gguf"});
  EXPECT_EQ(run.status, 0) << run.err;
}

// A model whose config.json says nothing of it has the output that its weights have, as lora convert sees it.
TEST(ConvertLora, AFolderWithoutAnOutputMatrixTakesNoLoraOnIt) {
  LoraFolder folder;
  folder.peft.pair("base_model.model.lm_head", 256, 4096, 2);
  std::filesystem::create_directories(folder.at("hf"));
  folder.write("hf/config.json", kTinyConfig.dump());
  EXPECT_EQ(folder.convert({"--base", "hf"}).status, 0);
  PeftFiles weights;
  weights.tensor("model.norm.weight", {2}, {1, 1});
  folder.write("hf/model.safetensors", weights.safetensors());
  expect_error(folder.convert({"--base", "hf"}), 1, "has no output matrix beside its embedding");
  weights.tensor("lm_head.weight", {2}, {1, 1});
  folder.write("hf/model.safetensors", weights.safetensors());
  EXPECT_EQ(folder.convert({"--base", "hf"}).status, 0);
}

struct GglaPair {
  std::string base;
  int64_t n_in, n_out;
};

// Of rank 2 and alpha 4.
std::string ggla_file(const std::vector<GglaPair>& pairs) {
  Bytes bytes;
  for (const uint32_t value : {0x67676C61u, 1u, 2u, 4u}) bytes.u32(value);
  const auto tensor = [&](const std::string& name, int64_t n) {
    for (const size_t value : {size_t{2}, name.size(), size_t{0}, size_t{2}, size_t(n)})
      bytes.u32(uint32_t(value));
    bytes.raw(name);
    bytes.data.resize((bytes.data.size() + 31) / 32 * 32);
    for (const float value : numbers(2 * n, uint64_t(n))) bytes.number(value);
  };
  for (const GglaPair& pair : pairs) {
    tensor(pair.base + ".loraA", pair.n_in);
    tensor(pair.base + ".loraB", pair.n_out);
  }
  return bytes.data;
}

TEST(ConvertLora, FilesOf2023) {
  const Folder folder;
  folder.write("ggml-adapter-model.bin", ggla_file({{"blk.0.ffn_down.weight", 768, 256}}));
  expect_error(folder.lora({"convert-lora", "ggml-adapter-model.bin"}), 1, "--base");
  const RunResult run = folder.lora({"convert-lora", "ggml-adapter-model.bin", "--base", "model.gguf"});
  ASSERT_EQ(run.status, 0) << run.err;
  const Adapter expected = read_adapter_ggla(folder.at("ggml-adapter-model.bin"));
  const Adapter found = read_adapter_gguf(folder.at("ggml-adapter-model-lora-F32.gguf"));
  EXPECT_EQ(found.architecture, "llama");
  EXPECT_EQ(found.alpha, 4);
  EXPECT_EQ(found.pairs.at(0).a, expected.pairs.at(0).a);
  EXPECT_EQ(found.pairs.at(0).b, expected.pairs.at(0).b);
  const RunResult peft = folder.lora(
      {"convert-lora", "ggml-adapter-model.bin", "--base", "model.gguf", "--to-peft", "deep/peft"});
  ASSERT_EQ(peft.status, 0) << peft.err;
  const SafeTensors file = SafeTensors::open(folder.at("deep/peft/adapter_model.safetensors"));
  EXPECT_EQ(file.tensor(kLoraLayer + "mlp.down_proj.lora_B.weight").to_f32(), expected.pairs.at(0).b);

  folder.write("norm.bin",
               ggla_file({{"blk.0.ffn_down.weight", 768, 256}, {"blk.0.attn_norm.weight", 256, 1}}));
  expect_error(folder.lora({"convert-lora", "norm.bin", "--base", "model.gguf"}), 1,
               "tensor blk.0.attn_norm.weight: a LoRA on a norm");
  const RunResult without =
      folder.lora({"convert-lora", "norm.bin", "--base", "model.gguf", "--skip-unsupported"});
  EXPECT_EQ(without.status, 0) << without.err;
  EXPECT_THAT(without.err, HasSubstr("warning: left out: a LoRA on a norm"));
}

TEST(ConvertLora, FoldersOfMlx) {
  const Folder folder;
  std::filesystem::create_directories(folder.at("mlx"));
  PeftFiles mlx;
  mlx.config = {{"fine_tune_type", "lora"},
                {"lora_parameters", {{"rank", 2}, {"scale", 20.0}, {"dropout", 0.0}}}};
  mlx.tensor("model.layers.5.self_attn.v_proj.lora_a", {256, 2}, numbers(512, 1));
  mlx.tensor("model.layers.5.self_attn.v_proj.lora_b", {2, 128}, numbers(256, 2));
  mlx.write(folder.at("mlx"), "adapters.safetensors");
  const RunResult run = folder.lora({"convert-lora", "mlx", "--base", "model.gguf", "-o", "a.gguf"});
  ASSERT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.err, HasSubstr("alpha 40"));
  const LoraPair pair = read_adapter_gguf(folder.at("a.gguf")).pairs.at(0);
  EXPECT_EQ(pair.base, "blk.5.attn_v.weight");
  EXPECT_EQ(pair.b[2 * 127 + 1], numbers(256, 2)[128 + 127]);
}

// What lora finetune writes beside the LoRA stays from GGUF to GGUF; PEFT has no place for it, which is said.
TEST(ConvertLora, TrainedAdaptersKeepTheirNotesInGgufAndSayWhatPeftLoses) {
  const Folder folder;
  folder.write("text.txt", ship_sentences());
  ASSERT_EQ(folder
                .lora(kFinetune + std::vector<std::string>{"--checkpoint-out", "", "--lora-out", "own.gguf",
                                                           "--rope-freq-base", "20000"})
                .status,
            0);
  const Adapter own = read_adapter_gguf(folder.at("own.gguf"));
  ASSERT_EQ(folder.lora({"convert-lora", "own.gguf"}).status, 0);
  const Adapter again = read_adapter_gguf(folder.at("own-lora-F32.gguf"));
  EXPECT_EQ(again.rope_freq_base, 20000);
  EXPECT_EQ(again.facts, own.facts);
  EXPECT_FALSE(own.facts.empty());

  expect_error(folder.lora({"convert-lora", "own.gguf", "--to-peft", "peft"}), 1, "--base");
  EXPECT_FALSE(folder.has("peft"));
  const RunResult run =
      folder.lora({"convert-lora", "own.gguf", "--to-peft", "peft", "--base", "model.gguf"});
  ASSERT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.err, AllOf(HasSubstr("rope_freq_base 20000"), HasSubstr("notes on the training")));
}

// A run that starts from it starts where the converted adapter is; the folder says what PiSSA took away.
TEST(ConvertLora, ARunStartsFromPissaAsFromWhatItBecomes) {
  LoraFolder folder;
  folder.peft.config["init_lora_weights"] = "pissa";
  folder.write("text.txt", ship_sentences());
  folder.write_peft();
  ASSERT_EQ(folder.lora({"quantize", "--allow-requantize", "model.gguf", "f32.gguf", "f32"}).status, 0);
  ASSERT_EQ(folder.lora({"convert-lora", "peft", "--base", "f32.gguf", "--outfile", "plain.gguf"}).status, 0);
  const auto trained = [&](const std::string& init) {
    const RunResult run =
        folder.lora(kFinetune + std::vector<std::string>{"-m", "f32.gguf", "--lora-init", init, "--lora-out",
                                                         "out.gguf", "--checkpoint-out", ""});
    EXPECT_EQ(run.status, 0) << run.err;
    EXPECT_EQ(run.err.find("pissa") != run.err.npos, init == "peft") << run.err;
    return read_adapter_gguf(folder.at("out.gguf"));
  };
  const Adapter from_folder = trained("peft"), from_gguf = trained("plain.gguf");
  ASSERT_EQ(from_folder.pairs.size(), 2u);
  for (const LoraPair& pair : from_folder.pairs) {
    EXPECT_EQ(pair.rank, 4);
    EXPECT_TRUE(pair.a == from_gguf.find(pair.base)->a && pair.b == from_gguf.find(pair.base)->b)
        << pair.base;
  }
  expect_error(folder.lora(kFinetune + std::vector<std::string>{"--lora-init", "peft"}), 1,
               "needed as F32, F16 or BF16");
}

}  // namespace convert_lora_test
}  // namespace lora::test
