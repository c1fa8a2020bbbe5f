// Names of files as Windows has them: long ones, drives, both separators, devices, what an index may name.
#include "base/path.h"
#include "base/system_file.h"
#include "cli_test.h"

namespace lora::test {
namespace windows_names_test {

using Args = std::vector<std::string>;
using testing::HasSubstr;

class WindowsNames : public testing::Test {
 protected:
  Folder folder;
  void SetUp() override { folder.write("text.txt", ship_sentences()); }

  static std::string backslashes(std::string path) {
    std::replace(path.begin(), path.end(), '/', '\\');
    return path;
  }
  void expect_runs(const Args& args, const std::string& output) const {
    const RunResult run = folder.lora(args);
    EXPECT_EQ(run.status, 0) << run.err;
    FileFacts facts;
    EXPECT_FALSE(facts_of(output, Links::followed, facts)) << output;
    EXPECT_GT(facts.bytes, 0u) << output;
  }
};

// 700 bytes and more, of which no part is longer than its 255.
TEST_F(WindowsNames, MayBeLongerThan260) {
  std::string deep = backslashes(folder.path);
  for (const char* part : {"длинное имя", "很长的名字", "deep"}) {
    deep += "\\";
    while (split_path(deep).second.size() < 200) deep += part;
  }
  bool is_new = false;
  ASSERT_FALSE(make_folders(deep, is_new));
  const std::string model = deep + "\\m.gguf", lora = deep + "\\l.gguf";
  expect_runs({"quantize", "--allow-requantize", "model.gguf", model, "q4_0"}, model);
  expect_runs(kFinetune + Args{"-m", model, "--lora-out", lora, "--checkpoint-out",
                               deep + "\\c-ITERATION.gguf", "--metrics", deep + "/m.jsonl"},
              deep + "\\c-LATEST.gguf");
  expect_runs({"export-lora", "-m", model, "--lora", lora, "-o", deep + "\\o.gguf"}, deep + "\\o.gguf");
  expect_runs({"convert-lora", lora, "--base", model, "--to-peft", deep + "\\peft"},
              deep + "\\peft\\adapter_model.safetensors");
  expect_runs({"plot", deep + "\\m.jsonl", "-o", deep + "\\m.svg"}, deep + "\\m.svg");
  const RunResult run =
      folder.lora({"generate", "-m", model, "--lora", lora, "-p", "The", "-n", "2", "--temp", "0"});
  EXPECT_EQ(run.status, 0) << run.err;
  // The library of these tests does not delete what lies so deep.
  std::vector<std::string> names;
  list_folder(deep + "\\peft", names);
  for (const std::string& name : names) EXPECT_FALSE(remove_name(deep + "\\peft\\" + name)) << name;
  EXPECT_FALSE(remove_folder(deep + "\\peft"));
  names.clear();
  list_folder(deep, names);
  for (const std::string& name : names) {
    EXPECT_FALSE(name.ends_with(".tmp") || name.ends_with("lora-lock")) << name;
    EXPECT_FALSE(remove_name(deep + "\\" + name)) << name;
  }
  for (int i = 0; i < 3; ++i, deep = folder_of(deep)) EXPECT_FALSE(remove_folder(deep)) << deep;
}

TEST_F(WindowsNames, HaveEitherSeparatorADriveOrTheSystemsOwnForm) {
  const std::string whole = backslashes(absolute_path(folder.path));
  ASSERT_EQ(whole.substr(1, 2), ":\\");
  bool is_new = false;
  ASSERT_FALSE(make_folders(folder.at("sub"), is_new));
  const auto quantize = [&](const std::string& out) {
    expect_runs({"quantize", "--allow-requantize", "./sub\\..\\model.gguf", out, "q4_0"},
                folder.at("sub/o.gguf"));
    std::filesystem::remove(folder.at("sub/o.gguf"));
  };
  quantize("sub/o.gguf");
  quantize("sub\\o.gguf");
  quantize(".\\sub/o.gguf");
  quantize(whole + "\\sub\\o.gguf");
  quantize(folder.path + "/sub/o.gguf");
  quantize("\\\\?\\" + whole + "\\sub\\o.gguf");
  quantize(whole.substr(2) + "\\sub\\o.gguf");   // of this drive
  quantize(whole.substr(0, 2) + "sub\\o.gguf");  // of this folder on that drive
  EXPECT_EQ(folder.names(), (std::set<std::string>{"model.gguf", "sub", "text.txt"}));
}

// Whatever follows a dot, and in every folder.
TEST_F(WindowsNames, OfDevicesAreNoFiles) {
  std::filesystem::create_directories(folder.at("sub"));
  const std::set<std::string> names = folder.names();
  for (const std::string name : {"NUL", "nul", "con.gguf", "AUX", "prn.gguf", "com1.gguf", "sub\\lpt1"}) {
    SCOPED_TRACE(name);
    for (const Args& command :
         {Args{"quantize", "--allow-requantize", "model.gguf", name, "q4_0"},
          kFinetune + Args{"--checkpoint-out", "", "--lora-out", name},
          kFinetune + Args{"--lora-out", "", "--checkpoint-out", name},
          kFinetune + Args{"--lora-out", "", "--checkpoint-out", "", "--metrics", name}})
      expect_error(folder.lora(command, {.timeout_s = 60}), 1, name + ": cannot write: ");
    for (const Args& command :
         {Args{"inspect", name}, Args{"tokenize", "-m", "model.gguf", "-f", name},
          kFinetune + Args{"--checkpoint-out", "", "--lora-out", "", "--train-data", name}})
      expect_error(folder.lora(command, {.timeout_s = 60}), 1, name);
    EXPECT_EQ(folder.names(), names);
  }
}

TEST_F(WindowsNames, ThatNoFileCanHaveAreAnError) {
  const std::set<std::string> names = folder.names();
  for (const std::string name : {"a?.gguf", "a*.gguf", "a|b", "a<b", "o.gguf:stream", "text.txt:stream"}) {
    SCOPED_TRACE(name);
    expect_error(folder.lora({"quantize", "--allow-requantize", "model.gguf", name, "q4_0"}), 1,
                 name + ": cannot write: ");
    EXPECT_EQ(folder.names(), names);
  }
}

// Of a folder from elsewhere: it could name any file of this machine.
TEST_F(WindowsNames, InAnIndexLeadNowhereElse) {
  bool is_new = false;
  ASSERT_FALSE(make_folders(folder.at("hf/sub"), is_new));
  folder.write("hf/config.json", R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
    "num_hidden_layers": 1, "hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 128, "vocab_size": 32,
    "rms_norm_eps": 1e-5, "max_position_embeddings": 64})");
  const std::set<std::string> names = folder.names();
  for (const std::string name : {"sub\\\\x.safetensors", "..\\\\x.safetensors", "C:x.safetensors",
                                 "x.safetensors:stream", "\\\\\\\\host\\\\share\\\\x.safetensors", "sub/x"}) {
    folder.write("hf/model.safetensors.index.json", R"({"weight_map": {"a": ")" + name + R"("}})");
    const RunResult run = folder.lora({"convert", "hf", "--outfile", "o.gguf"});
    expect_error(run, 1, "is not the name of a file in the folder");
    EXPECT_EQ(folder.names(), names);
  }
}

}  // namespace windows_names_test
}  // namespace lora::test
