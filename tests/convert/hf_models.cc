#include "hf_models.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/half.h"
#include "base/random.h"
#include "base/utf8.h"
#include "convert/source.h"
#include "gguf/gguf.h"
#include "gguf/test_pytorch.h"
#include "tokenizer/byte_letters.h"

namespace lora::test {
namespace {

using nlohmann::ordered_json;

constexpr uint64_t kSeed = 7;

template <class T>
void append(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// Uniform numbers around `mean`, a function of the tensor's name.
std::vector<float> random_values(const std::string& name, int64_t n, double mean, double spread) {
  std::vector<float> values;
  for (int64_t i = 0; i < n; ++i) {
    const float u = random_uniform(kSeed, Purpose::test, stream_id(name), uint64_t(i));
    values.push_back(float(mean + spread * (2 * double(u) - 1)));
  }
  return values;
}

HfStored stored(const std::string& dtype, std::vector<int64_t> shape, const std::vector<float>& values) {
  HfStored result{dtype, std::move(shape), {}, values};
  for (float& value : result.values) {
    if (dtype == "F16") {
      append(result.bytes, to_f16(value));
      value = to_f32(to_f16(value));
    } else if (dtype == "BF16") {
      append(result.bytes, to_bf16(value));
      value = to_f32(to_bf16(value));
    } else {
      append(result.bytes, value);
    }
  }
  return result;
}

struct Builder {
  HfModel& model;

  void vector(const std::string& name, int64_t n, double mean, double spread) {
    const std::string dtype = model.store == "F8_E4M3" ? "BF16" : model.store;
    model.tensors[name] = stored(dtype, {n}, random_values(name, n, mean, spread));
  }

  void matrix(const std::string& name, int64_t n_out, int64_t n_in, double spread) {
    if (model.store != "F8_E4M3" || !name.starts_with("model.layers.")) {
      const std::string dtype = model.store == "F8_E4M3" ? "BF16" : model.store;
      model.tensors[name + ".weight"] =
          stored(dtype, {n_out, n_in}, random_values(name, n_out * n_in, 0, spread));
      return;
    }
    const int64_t block_rows = model.block_scales ? 32 : 1, block_cols = model.block_scales ? 32 : n_in;
    const int64_t rows = (n_out + block_rows - 1) / block_rows, cols = (n_in + block_cols - 1) / block_cols;
    const std::vector<float> scales = random_values(name + ".scale", rows * cols, spread / 200, spread / 500);
    HfStored scale = stored(model.block_scales ? "F32" : "BF16", {rows, cols}, scales);
    HfStored weight{"F8_E4M3", {n_out, n_in}, {}, {}};
    for (int64_t i = 0; i < n_out * n_in; ++i) {
      const uint64_t bits = random_bits(kSeed, Purpose::test, stream_id(name), uint64_t(i));
      const auto code = uint8_t((bits & 0x80) | (bits >> 8) % 0x7e);  // below 0x7f, which is NaN
      weight.bytes += char(code);
      weight.values.push_back(fp8_e4m3(code) *
                              scale.values[size_t(i / n_in / block_rows * cols + i % n_in / block_cols)]);
    }
    model.tensors[name + ".weight"] = std::move(weight);
    model.tensors[name + (model.block_scales ? ".weight_scale_inv" : ".weight_scale")] = std::move(scale);
  }

  void build() {
    const HfTraits& traits = model.traits;
    const int64_t embd = model.number("hidden_size"), ff = model.number("intermediate_size");
    const int64_t heads = model.number("num_attention_heads");
    const int64_t head_dim = model.config.value("head_dim", embd / heads);
    const int64_t q = heads * head_dim, kv = model.number("num_key_value_heads") * head_dim;
    const double norm = traits.norm_plus_one ? 0 : 1;
    const auto spread = [](int64_t n_in) { return 2.5 / std::sqrt(double(n_in)); };
    matrix("model.embed_tokens", model.number("vocab_size"), embd, 1);
    for (int64_t l = 0; l < model.number("num_hidden_layers"); ++l) {
      const std::string layer = "model.layers." + std::to_string(l) + ".";
      vector(layer + "input_layernorm.weight", embd, norm, 0.3);
      vector(layer + "post_attention_layernorm.weight", embd, norm, 0.3);
      if (traits.four_norms) {
        vector(layer + "pre_feedforward_layernorm.weight", embd, norm, 0.3);
        vector(layer + "post_feedforward_layernorm.weight", embd, norm, 0.3);
      }
      if (traits.head_norms) {
        vector(layer + "self_attn.q_norm.weight", head_dim, norm, 0.3);
        vector(layer + "self_attn.k_norm.weight", head_dim, norm, 0.3);
      }
      if (traits.fused) {
        matrix(layer + "self_attn.qkv_proj", q + 2 * kv, embd, spread(embd));
        matrix(layer + "mlp.gate_up_proj", 2 * ff, embd, spread(embd));
      } else {
        matrix(layer + "self_attn.q_proj", q, embd, spread(embd));
        matrix(layer + "self_attn.k_proj", kv, embd, spread(embd));
        matrix(layer + "self_attn.v_proj", kv, embd, spread(embd));
        matrix(layer + "mlp.gate_proj", ff, embd, spread(embd));
        matrix(layer + "mlp.up_proj", ff, embd, spread(embd));
      }
      if (traits.biases) {
        vector(layer + "self_attn.q_proj.bias", q, 0, 1);
        vector(layer + "self_attn.k_proj.bias", kv, 0, 1);
        vector(layer + "self_attn.v_proj.bias", kv, 0, 1);
      }
      matrix(layer + "self_attn.o_proj", embd, q, spread(q));
      matrix(layer + "mlp.down_proj", embd, ff, spread(ff));
    }
    vector("model.norm.weight", embd, norm, 0.3);
    if (!model.config.at("tie_word_embeddings"))
      matrix("lm_head", model.number("vocab_size"), embd, spread(embd));
  }
};

HfModel base_model(const std::string& name, const std::string& architecture, const std::string& hf_class) {
  HfModel model;
  model.name = name;
  model.architecture = architecture;
  model.config = {{"architectures", {hf_class}},
                  {"hidden_size", 128},
                  {"intermediate_size", 160},
                  {"num_hidden_layers", 2},
                  {"num_attention_heads", 4},
                  {"num_key_value_heads", 2},
                  {"vocab_size", 4096},
                  {"rms_norm_eps", 1e-5},
                  {"max_position_embeddings", 512},
                  {"rope_theta", 10000.0},
                  {"tie_word_embeddings", false},
                  {"bos_token_id", 1},
                  {"eos_token_id", 2}};
  return model;
}

void save(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), std::streamsize(bytes.size()));
}

void write_safetensors(const std::string& path,
                       const std::vector<const std::pair<const std::string, HfStored>*>& tensors) {
  ordered_json header = {{"__metadata__", {{"format", "pt"}}}};
  std::string data;
  for (const auto* entry : tensors) {
    const size_t begin = data.size();
    data += entry->second.bytes;
    header[entry->first] = {{"dtype", entry->second.dtype},
                            {"shape", entry->second.shape},
                            {"data_offsets", {begin, data.size()}}};
  }
  const std::string text = header.dump();
  std::string bytes;
  append(bytes, uint64_t{text.size()});
  save(path, bytes + text + data);
}

void write_torch(const std::string& path,
                 const std::vector<const std::pair<const std::string, HfStored>*>& tensors) {
  std::vector<TorchTensor> list;
  for (const auto* entry : tensors) {
    const std::string& dtype = entry->second.dtype;
    const char* storage = dtype == "F32"   ? "FloatStorage"
                          : dtype == "F16" ? "HalfStorage"
                                           : "BFloat16Storage";
    list.push_back({entry->first, storage, entry->second.shape, entry->second.bytes});
  }
  write_pytorch(path, list);
}

void write_weights(const HfModel& model, const std::string& folder) {
  std::vector<std::vector<const std::pair<const std::string, HfStored>*>> files(size_t(model.n_files));
  size_t i = 0;
  ordered_json map = ordered_json::object();
  const std::string stem = model.pickle ? "pytorch_model" : "model",
                    end = model.pickle ? ".bin" : ".safetensors";
  const auto file_name = [&](size_t file) {
    if (model.n_files == 1) return stem + end;
    char name[100];
    std::snprintf(name, sizeof name, "%s-%05d-of-%05d%s", stem.c_str(), int(file) + 1, model.n_files,
                  end.c_str());
    return std::string(name);
  };
  for (const auto& entry : model.tensors) {
    const size_t file = i++ * size_t(model.n_files) / model.tensors.size();
    files[file].push_back(&entry);
    map[entry.first] = file_name(file);
  }
  for (size_t file = 0; file < files.size(); ++file) {
    const std::string path = folder + "/" + file_name(file);
    model.pickle ? write_torch(path, files[file]) : write_safetensors(path, files[file]);
  }
  if (model.n_files > 1)
    save(folder + "/" + stem + end + ".index.json", ordered_json{{"weight_map", map}}.dump());
}

// A field of a protocol buffer with a length.
std::string field(int number, std::string_view bytes) {
  std::string out(1, char(number << 3 | 2));
  for (size_t n = bytes.size();; n >>= 7) {
    out += char((n & 0x7f) | (n >= 0x80 ? 0x80 : 0));
    if (n < 0x80) break;
  }
  return out.append(bytes);
}

}  // namespace

std::vector<HfModel> make_hf_models() {
  std::vector<HfModel> models;
  const auto add = [&](const std::string& name, const std::string& architecture, const std::string& hf_class,
                       const std::function<void(HfModel&)>& change) {
    HfModel model = base_model(name, architecture, hf_class);
    change(model);
    Builder{model}.build();
    models.push_back(std::move(model));
  };
  add("llama2", "llama", "LlamaForCausalLM", [](HfModel&) {});
  add("llama3", "llama", "LlamaForCausalLM", [](HfModel& m) {
    m.config.erase("rope_theta");
    m.config["rope_parameters"] = {{"rope_theta", 500000.0},  {"rope_type", "llama3"},
                                   {"factor", 8.0},           {"low_freq_factor", 1.0},
                                   {"high_freq_factor", 4.0}, {"original_max_position_embeddings", 64}};
    m.config["tie_word_embeddings"] = true;
    m.byte_level = true;
    m.store = "BF16";
    m.n_files = 3;
  });
  add("llama-yarn", "llama", "LlamaForCausalLM", [](HfModel& m) {
    m.config["rope_scaling"] = {{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 128}};
  });
  add("mistral", "llama", "MistralForCausalLM", [](HfModel& m) {
    m.config["head_dim"] = 48;
    m.config["sliding_window"] = nullptr;
    m.store = "F16";
    m.pickle = true;
    m.n_files = 2;
  });
  add("smollm", "llama", "LlamaForCausalLM", [](HfModel& m) {
    m.config["tie_word_embeddings"] = true;
    m.config["rope_scaling"] = {{"type", "linear"}, {"factor", 2.0}};
    m.pickle = true;
  });
  add("qwen2", "qwen2", "Qwen2ForCausalLM", [](HfModel& m) {
    m.traits.biases = true;
    m.byte_level = true;
    m.store = "F8_E4M3";
    m.block_scales = true;
    m.config["quantization_config"] = {{"quant_method", "fp8"}, {"weight_block_size", {32, 32}}};
  });
  add("qwen3", "qwen3", "Qwen3ForCausalLM", [](HfModel& m) {
    m.traits.head_norms = true;
    m.config["head_dim"] = 48;
    m.byte_level = true;
    m.store = "F8_E4M3";
  });
  const auto gemma = [](HfModel& m) {
    m.traits = {.norm_plus_one = true, .four_norms = true, .gelu = true, .scaled_embedding = true};
    m.config["tie_word_embeddings"] = true;
    m.config["head_dim"] = 48;
    m.config["sliding_window"] = 8;
    m.config["hidden_activation"] = "gelu_pytorch_tanh";
  };
  add("gemma2", "gemma2", "Gemma2ForCausalLM", [&](HfModel& m) {
    gemma(m);
    m.traits.sliding_period = 2;
    m.config["query_pre_attn_scalar"] = 48;
    m.config["attn_logit_softcapping"] = 5.0;
    m.config["final_logit_softcapping"] = 10.0;
  });
  add("gemma3", "gemma3", "Gemma3ForCausalLM", [&](HfModel& m) {
    gemma(m);
    m.traits.sliding_period = 6;
    m.traits.head_norms = true;
    m.config["num_hidden_layers"] = 7;
    m.config["query_pre_attn_scalar"] = 48;
    m.config["rope_theta"] = 1000000.0;
    m.config["rope_local_base_freq"] = 10000.0;
    m.config["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 8.0}};
  });
  add("phi3", "phi3", "Phi3ForCausalLM", [](HfModel& m) {
    m.traits.fused = true;
    m.config["vocab_size"] = 4128;
    m.added = {{4096, "<|endoftext|>"}, {4097, "<|assistant|>"}, {4098, "<|end|>"}};
    m.config["original_max_position_embeddings"] = 256;
    m.config["sliding_window"] = 500;
    std::vector<double> short_factor, long_factor;
    for (int i = 0; i < 16; ++i) {
      short_factor.push_back(1 + 0.1 * i);
      long_factor.push_back(1 + 0.5 * i);
    }
    m.config["rope_scaling"] = {
        {"type", "longrope"}, {"short_factor", short_factor}, {"long_factor", long_factor}};
  });
  return models;
}

std::string sentencepiece_bytes(const std::string& path, int type) {
  const Gguf gguf = Gguf::open(path);
  const auto& pieces = *gguf.get_strings("tokenizer.ggml.tokens");
  const auto scores = *gguf.get_floats("tokenizer.ggml.scores");
  const auto kinds = *gguf.get_ints("tokenizer.ggml.token_type");
  std::string bytes;
  for (size_t i = 0; i < pieces.size(); ++i) {
    std::string piece = field(1, pieces[i]);
    piece += '\x15';
    append(piece, float(scores[i]));
    piece += '\x18';
    piece += char(kinds[i]);
    bytes += field(1, piece);
  }
  return bytes + field(2, std::string("\x18") + char(type)) + field(3, std::string("\x18\x01", 2));
}

ordered_json byte_level_tokenizer() {
  ordered_json vocab = ordered_json::object(), merges = ordered_json::array(), added = ordered_json::array();
  for (int byte = 0; byte < 256; ++byte) {
    std::string letter;
    append_utf8(letter, byte_to_letter(uint8_t(byte)));
    vocab[letter] = byte;
  }
  for (const auto& [left, right] :
       {std::pair("t", "h"), {"th", "e"}, {"Ġ", "the"}, {"i", "n"}, {"a", "n"}, {"an", "d"}}) {
    merges.push_back({left, right});
    vocab[std::string(left) + right] = vocab.size();
  }
  const auto add = [&](const char* text, bool special) {
    added.push_back({{"id", vocab.size() + added.size()},
                     {"content", text},
                     {"special", special},
                     {"normalized", false}});
  };
  add("<|begin|>", true);
  add("<|im_end|>", true);
  add("<tool>", false);
  const char* regex =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  return {{"added_tokens", added},
          {"normalizer", {{"type", "NFC"}}},
          {"pre_tokenizer",
           {{"type", "Sequence"},
            {"pretokenizers",
             {{{"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "Isolated"}},
              {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}}},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}}}};
}

void write_hf_folder(const HfModel& model, const std::string& folder, const std::string& vocabulary) {
  std::filesystem::create_directories(folder);
  save(folder + "/config.json", model.config.dump(2));
  write_weights(model, folder);
  ordered_json tokenizer = {
      {"bos_token", "<s>"}, {"eos_token", {{"content", "</s>"}}}, {"add_bos_token", true}};
  if (model.byte_level) {
    save(folder + "/tokenizer.json", byte_level_tokenizer().dump());
    tokenizer = {{"bos_token", "<|begin|>"},
                 {"eos_token", "<|im_end|>"},
                 {"add_bos_token", false},
                 {"chat_template", "{{ messages[0].content }}<|im_end|>"}};
  } else {
    save(folder + "/tokenizer.model", sentencepiece_bytes(vocabulary));
  }
  for (const auto& [id, text] : model.added) {
    tokenizer["added_tokens_decoder"][std::to_string(id)] = {{"content", text}, {"special", true}};
  }
  save(folder + "/tokenizer_config.json", tokenizer.dump());
}

std::vector<int32_t> some_tokens(const HfModel& model, int n) {
  std::vector<int32_t> ids;
  for (int i = 0; i < n; ++i) {
    ids.push_back(int32_t(random_bits(kSeed, Purpose::test, stream_id("tokens"), uint64_t(i)) %
                          uint64_t(model.number("vocab_size"))));
  }
  return ids;
}

}  // namespace lora::test
