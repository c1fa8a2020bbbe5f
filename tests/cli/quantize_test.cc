// `lora quantize` and `lora imatrix` as their users meet them.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/regex_test_util.h"
#include "cli_test.h"
#include "tiny_models.h"

namespace lora::test {
namespace quantize_test {

using Args = std::vector<std::string>;
using json = nlohmann::ordered_json;
using testing::HasSubstr;

class Quantize : public testing::Test {
 protected:
  Folder folder;

  // The bundled model with its weights in F32.
  void SetUp() override {
    const RunResult run = folder.lora({"quantize", "model.gguf", "f32.gguf", "f32", "--allow-requantize"});
    ASSERT_EQ(run.status, 0) << run.err;
  }
  std::map<std::string, std::string> types(const std::string& path) const {
    const RunResult run = folder.lora({"inspect", "--json", path});
    EXPECT_EQ(run.status, 0) << run.err;
    std::map<std::string, std::string> result;
    const json described = parse_json(run.out);
    for (const json& tensor : described["tensors"]) result[tensor["name"]] = tensor["type"];
    return result;
  }
  double perplexity(const std::string& path) const {
    const RunResult run = folder.lora({"eval", "-m", path, "-f", "text.txt", "--json", "--precision", "f32"});
    EXPECT_EQ(run.status, 0) << run.err;
    return parse_json(run.out)["perplexity"];
  }
};

TEST_F(Quantize, MakesASmallerModelThatStillWorks) {
  folder.write("text.txt", ship_sentences(" "));
  const double before = perplexity("f32.gguf");
  for (const char* type : {"Q8_0", "Q4_K_M", "q5_1", "mxfp4"}) {
    const RunResult run = folder.lora({"quantize", "f32.gguf", "small.gguf", type, "2"});
    EXPECT_EQ(run.status, 0) << run.err;
    EXPECT_EQ(run.out, "");
    EXPECT_THAT(run.err, HasSubstr("27.28 MB (32.00 bits per weight) -> "));
    EXPECT_THAT(run.err, HasSubstr("MB/s"));
    EXPECT_LT(std::filesystem::file_size(folder.at("small.gguf")), 8000000u);
    EXPECT_NEAR(perplexity("small.gguf"), before, 0.02 * before) << type;
  }
  EXPECT_EQ(folder.names(), (std::set<std::string>{"model.gguf", "f32.gguf", "small.gguf", "text.txt"}));
}

TEST_F(Quantize, ReportsEveryTensorOnRequest) {
  const RunResult dry = folder.lora({"quantize", "f32.gguf", "small.gguf", "Q4_K_M", "--dry-run"});
  EXPECT_EQ(dry.status, 0) << dry.err;
  EXPECT_FALSE(folder.has("small.gguf"));
  EXPECT_THAT(dry.err, HasSubstr("nothing written"));
  EXPECT_THAT(dry.err, HasSubstr("blk.2.attn_v.weight"));
  const RunResult verbose = folder.lora({"quantize", "f32.gguf", "small.gguf", "Q4_K_M", "--verbose"});
  EXPECT_EQ(verbose.status, 0) << verbose.err;
  for (const std::string& line : lines_of(verbose.err)) {
    if (line.starts_with("blk.2.attn_v.weight ")) {
      EXPECT_THAT(line, matches_regex(".*F32 -> Q6_K .* error 0.01[0-9]+"));
    }
  }
  EXPECT_EQ(lines_of(verbose.err).size(), 57u + 1);
}

TEST_F(Quantize, TypesThatDoNotDivideRowsAreSaidOncePerKind) {
  const TinyModel written(*find_architecture("qwen2"), folder.at("narrow.gguf"), {.type = Type::Q8_0});
  const RunResult run =
      folder.lora({"quantize", "narrow.gguf", "small.gguf", "Q4_K_S", "--allow-requantize", "--pure"});
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(lines_of(run.err).size(), 2u + 1) << run.err;
  EXPECT_THAT(run.err, HasSubstr("Q5_0 in place of Q4_K for 27 tensors: 256 does not divide rows of 64\n"));
  EXPECT_THAT(run.err, HasSubstr("Q5_0 in place of Q4_K for 10 tensors: 256 does not divide rows of 96\n"));
}

TEST_F(Quantize, FlagsChooseTypes) {
  ASSERT_EQ(folder
                .lora({"quantize", "--output-tensor-type", "q8_0", "--token-embedding-type=F16", "f32.gguf",
                       "a.gguf", "Q4_K_S"})
                .status,
            0);
  EXPECT_EQ(types("a.gguf")["output.weight"], "Q8_0");
  EXPECT_EQ(types("a.gguf")["token_embd.weight"], "F16");
  EXPECT_EQ(types("a.gguf")["blk.5.ffn_up.weight"], "Q4_K");
  ASSERT_EQ(folder.lora({"quantize", "f32.gguf", "b.gguf", "Q4_K_M", "--leave-output-tensor"}).status, 0);
  EXPECT_EQ(types("b.gguf")["output.weight"], "F32");
  ASSERT_EQ(folder.lora({"quantize", "f32.gguf", "c.gguf", "Q4_K_M", "--pure"}).status, 0);
  EXPECT_EQ(types("c.gguf")["output.weight"], "Q4_K");
  EXPECT_EQ(types("c.gguf")["blk.2.attn_v.weight"], "Q4_K");
  const RunResult by_name =
      folder.lora({"quantize", "f32.gguf", "d.gguf", "Q4_K_M", "--tensor-type", "ffn_up=q8_0",
                   "--tensor-type", "blk\\.[0-2]\\.attn_v=F16", "--tensor-type=exps=q8_0"});
  EXPECT_EQ(by_name.status, 0);
  EXPECT_THAT(by_name.err, HasSubstr("--tensor-type exps=q8_0: without effect: no tensor has such a name\n"));
  EXPECT_EQ(types("d.gguf")["blk.5.ffn_up.weight"], "Q8_0");
  EXPECT_EQ(types("d.gguf")["blk.2.attn_v.weight"], "F16");
  EXPECT_NE(types("d.gguf")["blk.3.attn_v.weight"], "F16");
}

TEST_F(Quantize, WrongUseIsOneLineAndLeavesNothing) {
  const auto refused = [&](int status, const Args& args, const std::string& what) {
    expect_error(folder.lora(Args{"quantize"} + args), status, what);
    EXPECT_EQ(folder.names(), (std::set<std::string>{"model.gguf", "f32.gguf"})) << what;
  };
  refused(2, {}, "IN: required");
  refused(2, {"f32.gguf", "o.gguf"}, "TYPE: required");
  refused(2, {"f32.gguf", "o.gguf", "Q4_K"}, "TYPE: expected one of Q4_0");
  refused(2, {"f32.gguf", "o.gguf", "iq2_xs"}, "found 'iq2_xs', which is read, not written");
  refused(2, {"f32.gguf", "o.gguf", "Q4_0", "many"}, "--threads: expected a whole number");
  refused(2, {"f32.gguf", "o.gguf", "Q4_0", "2", "5"}, "'5': unexpected argument");
  refused(2, {"f32.gguf", "o.gguf", "Q4_0", "--output-tensor-type", "I32"},
          "--output-tensor-type: expected one of");
  refused(2, {"f32.gguf", "o.gguf", "Q4_0", "--tensor-type", "attn_q"},
          "--tensor-type: expected PATTERN=TYPE, found 'attn_q'");
  refused(2, {"f32.gguf", "o.gguf", "Q4_0", "--tensor-type", "attn_q=Q9"},
          "--tensor-type: expected one of F32");
  refused(2, {"f32.gguf", "o.gguf", "Q4_0", "--token-embedding-type", "NVFP4"}, "is read, not written");
  refused(2, {"f32.gguf", "o.gguf", "Q4_0", "--purr"}, "did you mean --pure");
  refused(1, {"model.gguf", "o.gguf", "Q4_0"}, "--allow-requantize");
  refused(1, {"f32.gguf", "f32.gguf", "Q4_0"}, "f32.gguf: the output would replace");
  refused(1, {"none.gguf", "o.gguf", "Q4_0"}, "none.gguf: cannot open");
  refused(1, {"f32.gguf", "no/o.gguf", "Q4_0"}, "no/o.gguf");
  refused(1, {"f32.gguf", "o.gguf", "Q4_0", "--imatrix", "none.dat"}, "none.dat: cannot open");
  refused(1, {"f32.gguf", "o.gguf", "Q4_0", "--imatrix", "model.gguf"}, "expected an importance matrix");
  folder.write("noise.dat", "this is no importance matrix");
  expect_error(folder.lora({"quantize", "f32.gguf", "o.gguf", "Q4_0", "--imatrix", "noise.dat"}), 1,
               "noise.dat: ");
  EXPECT_FALSE(folder.has("o.gguf"));
}

TEST_F(Quantize, ADamagedModelIsRefused) {
  const std::string bytes = folder.read("f32.gguf");
  for (const size_t size : {size_t{3}, size_t{200}, bytes.size() / 2, bytes.size() - 1}) {
    folder.write("cut.gguf", bytes.substr(0, size));
    expect_error(folder.lora({"quantize", "cut.gguf", "o.gguf", "Q4_0"}), 1, "cut.gguf: ");
  }
  write_vocabulary(folder.at("vocabulary.gguf"));
  expect_error(folder.lora({"quantize", "vocabulary.gguf", "o.gguf", "Q4_0"}), 1, "without tensors");
  EXPECT_FALSE(folder.has("o.gguf"));
  for (const std::string& name : folder.names()) EXPECT_FALSE(name.starts_with("o.gguf.")) << name;
}

TEST_F(Quantize, AnImatrixIsMadeAndUsed) {
  folder.write("text.txt", ship_sentences(" "));
  const RunResult made =
      folder.lora({"imatrix", "-m", "model.gguf", "-f", "text.txt", "-c", "128", "-o", "i.gguf"});
  EXPECT_EQ(made.status, 0) << made.err;
  EXPECT_EQ(made.out, "");
  EXPECT_THAT(made.err, HasSubstr("i.gguf: 42 tensors"));
  expect_error(folder.lora({"imatrix", "-m", "model.gguf", "-f", "text.txt", "-o", "text.txt"}), 1,
               "text.txt: the output would replace");
  const Gguf imatrix = Gguf::open(folder.at("i.gguf"));
  EXPECT_EQ(imatrix.get_string("general.type"), "imatrix");
  EXPECT_EQ(imatrix.get_int("imatrix.chunk_size"), 128);
  EXPECT_EQ(imatrix.tensors().size(), 84u);
  EXPECT_EQ(imatrix.tensor("blk.3.ffn_down.weight.in_sum2").shape(), "768 x 1");
  // q, k and v read the same.
  const auto q = imatrix.tensor("blk.1.attn_q.weight.in_sum2").data,
             v = imatrix.tensor("blk.1.attn_v.weight.in_sum2").data;
  EXPECT_TRUE(std::equal(q.begin(), q.end(), v.begin()));

  ASSERT_EQ(folder.lora({"quantize", "f32.gguf", "plain.gguf", "Q2_K"}).status, 0);
  const RunResult used = folder.lora({"quantize", "f32.gguf", "aware.gguf", "Q2_K", "--imatrix", "i.gguf"});
  EXPECT_EQ(used.status, 0) << used.err;
  EXPECT_THAT(used.err, HasSubstr("i.gguf: no entry for 2 of 44 tensors, which are quantized without: "
                                  "output.weight and token_embd.weight\n"));
  EXPECT_LT(perplexity("aware.gguf"), perplexity("plain.gguf"));
  EXPECT_EQ(Gguf::open(folder.at("aware.gguf")).get_string("quantize.imatrix.dataset"), "text.txt");
}

// Of an architecture that is not known here, with what llama.cpp takes in F32 only.
TEST_F(Quantize, LeavesAloneWhatLlamaCppTakesInF32Only) {
  GgufWriter writer;
  writer.set_string("general.architecture", "hybrid");
  writer.set_u32("hybrid.block_count", 1);
  const std::vector<std::byte> zeros(64 * 64 * sizeof(float));
  const std::map<std::string, std::string> expected = {
      {"token_embd.weight", "Q8_0"},        {"blk.0.shortconv.conv.weight", "F32"},
      {"blk.0.ssm_conv1d.weight", "F32"},   {"blk.0.ssm_a", "F32"},
      {"blk.0.ffn_gate_inp.weight", "F32"}, {"blk.0.ssm_in.weight", "Q8_0"}};
  for (const auto& [name, type] : expected) writer.add_tensor(name, Type::F32, {64, 64}, zeros);
  writer.write(folder.at("hybrid.gguf"));
  const RunResult run =
      folder.lora({"quantize", "hybrid.gguf", "q.gguf", "Q8_0", "--verbose", "--leave-output-tensor"});
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(types("q.gguf"), expected);
  EXPECT_THAT(run.err, HasSubstr("stays: convolution"));
  EXPECT_THAT(run.err, HasSubstr("--leave-output-tensor: without effect: the model has no output.weight"));
  ASSERT_EQ(folder.lora({"quantize", "hybrid.gguf", "h.gguf", "BF16"}).status, 0);
  EXPECT_EQ(types("h.gguf")["blk.0.ssm_conv1d.weight"], "F32");
  EXPECT_EQ(types("h.gguf")["blk.0.ssm_in.weight"], "BF16");
}

TEST_F(Quantize, WrongUseOfImatrixIsOneLine) {
  expect_error(folder.lora({"imatrix", "-m", "model.gguf"}), 2, "--prompt: required, or --file");
  expect_error(folder.lora({"imatrix", "-m", "model.gguf", "-f", "none.txt"}), 1, "none.txt");
  folder.write("text.txt", "");
  expect_error(folder.lora({"imatrix", "-m", "model.gguf", "-f", "text.txt"}), 1, "nothing to predict");
  EXPECT_FALSE(folder.has("imatrix.gguf"));
}

}  // namespace quantize_test
}  // namespace lora::test
