// A model with its adapters, ready to compute: what generation and evaluation share.
#pragma once

#include <functional>
#include <list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "adapter/adapter.h"
#include "base/parallel.h"
#include "generate/options.h"
#include "kernels/gemm/gemm.h"
#include "model/decoder.h"
#include "model/model.h"
#include "model/step.h"
#include "nn/arithmetic.h"
#include "tokenizer/tokenizer.h"

namespace lora {

class Session {
 public:
  // Loads the model and attaches the adapters, each times its scale. Rotary settings: the options', else
  // those an adapter was trained with, else the model's. Error naming the file at fault, or two adapters that
  // were trained with different rotary settings. `say` gets what is to be known about the adapters.
  explicit Session(const ModelOptions& options, const std::function<void(std::string_view line)>& say = {});

  // Several processes compute one thing: Error naming what decides the figures and is not the same for all,
  // `rows` included. Returns a line on what --allow-mixed lets differ, "" if nothing does.
  std::string expect_same(const ModelOptions& options, const Cluster& cluster, bool allow_mixed,
                          Arithmetic arithmetic, std::vector<std::pair<std::string, std::string>> rows) const;

  ThreadPool pool;
  Precision precision;
  Type cache_type;
  GemmInput input;
  Model model;
  Tokenizer tokenizer;

 private:
  std::list<Adapter> adapters_;  // the model points into them
};

struct RopeValues {
  std::optional<double> freq_base, freq_scale;
};

// What a file was trained with; unset: the model's own.
struct TrainedRope {
  std::string path;
  RopeValues values;
};
std::vector<TrainedRope> trained_rope(const std::list<Adapter>& adapters, std::span<const LoraFile> files);

// The values asked for, else those that all files were trained with; unset: the model's own, which `own`
// holds. Error naming two files' values if they differ.
RopeValues rope_values(std::span<const TrainedRope> trained, const RopeValues& asked, const RopeValues& own);

// Says aloud that a context goes beyond what the model was trained with.
void warn_about_context(const Session& session, int64_t n_ctx,
                        const std::function<void(std::string_view)>& say);

// What the weights of the plan's part get of the memory that is available.
void set_weight_room(StepPlan& plan, const Session& session);

// Of a Decoder for n_ctx tokens.
DecoderOptions decoder_options(const Session& session, int64_t n_ctx);

// Error unless what a Decoder of so many tokens takes is available.
void expect_decoder_memory(const Session& session, int64_t n_ctx);

}  // namespace lora
