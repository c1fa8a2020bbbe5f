// For tests of runs: a folder with the bundled model's options in it, and what a run writes there.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/process.h"
#include "train/finetune.h"
#include "train/metrics.h"
#include "train/outputs.h"
#include "train/run.h"

namespace lora::test {

inline std::string read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Iterations and held-out losses of a metrics file.
inline std::string val_losses(const std::string& path) {
  std::ifstream in(path);
  std::string all;
  for (std::string line; std::getline(in, line);) {
    const size_t at = line.find("\"val_loss\"");
    all += line.substr(0, line.find(',')) + (at == line.npos ? "" : line.substr(at)) + "\n";
  }
  return all;
}

class Finetune : public testing::Test {
 protected:
  std::string folder = testing::TempDir() + "lora_run_" + std::to_string(process_id()) + "_" +
                       testing::UnitTest::GetInstance()->current_test_info()->name();
  void SetUp() override {
    std::filesystem::create_directories(folder);
    std::ofstream text(at("text.txt"), std::ios::binary);
    for (int i = 0; i < 40; ++i)
      text << "<s>The ship number " << i << " sailed " << 3 * i << " miles to the north.";
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  std::string at(const std::string& name) const { return folder + "/" + name; }

  FinetuneOptions options() const {
    FinetuneOptions o;
    o.model_base = LORA_SOURCE_DIR "/models/tiny-q8_0.gguf";
    o.train_data = {at("text.txt")};
    o.sample_start = "<s>";
    o.checkpoint_in = "";
    o.checkpoint_out = at("checkpoint-ITERATION.gguf");
    o.lora_out = at("lora-ITERATION.gguf");
    o.n_ctx = 32;
    o.n_batch = 2;
    o.adam_iter = 6;
    o.warmup = 2;
    o.save_every = 3;
    o.seed = 5;
    o.threads = 1;
    o.precision = Precision::f32;
    return o;
  }
};

inline std::vector<IterationRecord> run(const FinetuneOptions& options, FinetuneResult* result = nullptr) {
  std::vector<IterationRecord> records;
  FinetuneEvents events;
  events.on_iteration = [&](const IterationRecord& r, int64_t) { records.push_back(r); };
  const FinetuneResult r = finetune(options, events);
  if (result) *result = r;
  return records;
}

}  // namespace lora::test
