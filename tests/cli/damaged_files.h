// For tests with damaged files: small valid files of every format that a command reads, and damage to them.
#pragma once

#include <fmt/format.h>

#include <cstring>
#include <random>
#include <string_view>

#include "cli_test.h"
#include "hf_models.h"

namespace lora::test {

namespace fs = std::filesystem;

// A vocabulary of 300 tokens and one narrow layer: 90 KB, so that most damage hits what is parsed.
inline void write_small_model(const std::string& path) {
  constexpr int64_t n_vocab = 300, n_embd = 32, n_ff = 64;
  GgufWriter writer;
  const Gguf bundled = Gguf::open(kBundledModel);
  for (auto [key, value] : bundled.values()) {
    std::visit(
        [](auto& v) {
          if constexpr (requires {
                          v.resize(n_vocab);
                          v.at(0);
                        }) {
            if (v.size() > size_t(n_vocab)) v.resize(n_vocab);
          }
        },
        value.value);
    writer.set(key, value);
  }
  for (const auto& [name, number] : {std::pair{"block_count", 1u},
                                     {"context_length", 64u},
                                     {"embedding_length", 32u},
                                     {"feed_forward_length", 64u},
                                     {"attention.head_count", 2u},
                                     {"attention.head_count_kv", 1u},
                                     {"attention.key_length", 16u},
                                     {"attention.value_length", 16u},
                                     {"vocab_size", 300u},
                                     {"rope.dimension_count", 16u}}) {
    writer.set_u32(std::string("llama.") + name, number);
  }
  std::vector<float> values(size_t(n_vocab * n_embd));
  std::mt19937 random(3);
  for (float& v : values) v = std::uniform_real_distribution<float>(-0.2f, 0.2f)(random);
  const auto add = [&](const std::string& name, std::vector<int64_t> ne) {
    int64_t n = 1;
    for (int64_t size : ne) n *= size;
    writer.add_tensor(name + ".weight", Type::F32, ne, std::as_bytes(std::span(values).first(size_t(n))));
  };
  add("token_embd", {n_embd, n_vocab});
  add("output_norm", {n_embd});
  for (const char* norm : {"attn_norm", "ffn_norm"}) add(std::string("blk.0.") + norm, {n_embd});
  for (const char* name : {"attn_q", "attn_output"}) add(std::string("blk.0.") + name, {n_embd, n_embd});
  for (const char* name : {"attn_k", "attn_v"}) add(std::string("blk.0.") + name, {n_embd, n_embd / 2});
  for (const char* name : {"ffn_gate", "ffn_up"}) add(std::string("blk.0.") + name, {n_embd, n_ff});
  add("blk.0.ffn_down", {n_ff, n_embd});
  writer.write(path);
}

// The smallest of the Hugging Face models with a byte-level vocabulary, and one in a pickle.
inline HfModel small_hf_model(bool pickle) {
  for (HfModel& model : make_hf_models()) {
    if (model.byte_level && model.n_files == 1 && !pickle && !model.pickle) return std::move(model);
    if (model.pickle && model.n_files == 1 && pickle) return std::move(model);
  }
  throw std::runtime_error("no such model");
}

inline const std::string kRecords[] = {
    R"({"text": "The ship sailed north."})",
    R"({"prompt": "Where?", "completion": "North."})",
    R"({"instruction": "Say it.", "input": "north", "output": "The ship.", "history": [["a", "b"]]})",
    R"({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "\u00e9\ud83d\ude00"}, {"role": "assistant", "content": "b", "weight": 1}]})",
    R"({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], "id": 7, "tools": null})",
};

inline void write_seeds(const Folder& folder) {
  write_small_model(folder.at("m.gguf"));
  folder.write("t.txt", "s The ship sailed 12 miles.\ns The caf\xc3\xa9 was shut.\r\ns It ended.\n");
  std::string lines, list;
  for (const std::string& record : kRecords) {
    lines += record + "\n";
    list += (list.empty() ? "[" : ",\n") + record;
  }
  folder.write("r.jsonl", lines);
  folder.write("r.json", list + "]\n");
  folder.write("r.csv", "prompt,completion,source\n\"a, b\",\"say \"\"c\"\"\",x\nWhere?,North,y\n");
  folder.write("flags.toml",
               "ctx = 16\nbatch = 1\nlora-r = 4\n# rank\nadam-alpha = 0.001\nuse-flash = true\n");
  const auto run = [&](const std::vector<std::string>& args) {
    const RunResult result = folder.lora(args);
    ASSERT_EQ(result.status, 0) << result.err;
  };
  run({"finetune",  "-m",
       "m.gguf",    "--train-data",
       "t.txt",     "--ctx",
       "16",        "--batch",
       "1",         "-s",
       "1",         "-t",
       "1",         "--checkpoint-in",
       "",          "--lora-out",
       "lora.gguf", "--checkpoint-out",
       "c.gguf",    "--adam-iter",
       "1",         "--sample-start",
       "s",         "--metrics",
       "me.jsonl"});
  run({"convert-lora", "lora.gguf", "--base", "m.gguf", "--to-peft", "peft"});
  run({"imatrix", "-m", "m.gguf", "-f", "t.txt", "-o", "imatrix.gguf", "-c", "8"});
  write_hf_folder(small_hf_model(false), folder.at("hf"), kBundledModel);
  write_hf_folder(small_hf_model(true), folder.at("pt"), kBundledModel);
  const std::string corpus = LORA_SOURCE_DIR "/fuzz/corpus/";
  fs::copy_file(corpus + "adapter/pair.ggla", folder.at("pair.ggla"));
  fs::copy_file(corpus + "imatrix/with-text.dat", folder.at("imatrix.dat"));
}

// One to four damages, each of a kind that has broken parsers: bits, lengths, numbers, ends, order.
inline std::string damaged(std::string bytes, std::mt19937_64& random) {
  const auto below = [&](size_t n) { return n ? size_t(random() % n) : 0; };
  // Most of what is parsed stands at the front of a file.
  const auto place = [&] { return below(below(2) ? bytes.size() : std::min<size_t>(bytes.size(), 4096)); };
  for (size_t n = 1 + below(4); n > 0; --n) {
    const size_t at = place();
    switch (bytes.empty() ? 9 : below(10)) {
      case 0:
        bytes[at] = char(bytes[at] ^ (1 << below(8)));
        break;
      case 1:
        bytes[at] = char(random());
        break;
      case 2:
        bytes.resize(at);
        break;
      case 3:
        bytes.erase(at, 1 + below(64));
        break;
      case 4:
        bytes.insert(at, bytes.substr(place(), 1 + below(256)));
        break;
      case 5: {  // a number of a binary format
        const uint64_t numbers[] = {
            0, 1, 0x7f, 0xffff, 0x7fffffff, 0xffffffff, uint64_t{1} << 40, INT64_MAX, UINT64_MAX};
        const uint64_t number = numbers[below(std::size(numbers))];
        const size_t size = std::min(bytes.size() - at, size_t(below(2) ? 4 : 8));
        std::memcpy(bytes.data() + at, &number, size);
        break;
      }
      case 6: {  // a number of a text
        const char* numbers[] = {"0",          "-1",  "1e999", "99999999999999999999", "2147483648", "nan",
                                 "4294967296", "0.5", "null"};
        const size_t begin = bytes.find_first_of("0123456789", at);
        if (begin == bytes.npos) break;
        const size_t end = std::min(bytes.find_first_not_of("0123456789.", begin), bytes.size());
        bytes.replace(begin, end - begin, numbers[below(std::size(numbers))]);
        break;
      }
      case 7: {  // what separates and nests
        using namespace std::string_view_literals;
        const std::string_view marks[] = {"{",  "}",    "[",       "]",       "\"",   ",",      ":",
                                          "\n", "\0"sv, "\\u0000", "\x1b[2J", "\xff", "\\ud800"};
        bytes.replace(at, below(2), marks[below(std::size(marks))]);
        break;
      }
      case 8:
        bytes.insert(at, std::string(size_t{1} << below(13), below(2) ? '[' : 'a'));
        break;
      default:
        bytes += std::string(1 + below(32), char(random()));
        break;
    }
  }
  return bytes;
}

}  // namespace lora::test
