#include "measure/bench_model.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/machine.h"
#include "train/run.h"

namespace lora {
namespace {

// How many layers of `whole` are wanted.
int64_t layers_wanted(const BenchOptions& options, std::string_view name, int64_t whole) {
  if (options.n_layer > whole) fail("--layers: {} of {}, which has {}", options.n_layer, name, whole);
  return options.n_layer > 0 ? options.n_layer : whole;
}

SyntheticModel open(const BenchOptions& options, ThreadPool& pool, int64_t& n_layer_whole) {
  if (!options.synthetic.empty()) {
    SyntheticShape shape = find_synthetic_shape(options.synthetic);
    n_layer_whole = shape.n_layer;
    shape.n_layer = layers_wanted(options, shape.name, n_layer_whole);
    return make_synthetic(shape, options.type, pool);
  }
  const std::string& path = options.training.model_base;
  SyntheticModel result;
  result.model = load_model(path);
  n_layer_whole = result.model.config.n_layer;
  result.model.config.n_layer = layers_wanted(options, path, n_layer_whole);
  result.model.layers.resize(size_t(result.model.config.n_layer));
  return result;
}

}  // namespace

BenchModel::BenchModel(const BenchOptions& options)
    : pool(options.training.threads > 0 ? options.training.threads : physical_cores()),
      synthetic_(open(options, pool, n_layer_whole_)),
      arithmetic(arithmetic_of(model(), options.training.precision)) {}

std::vector<const MatrixView*> BenchModel::weights() const {
  std::vector<const MatrixView*> result;
  for (const Layer& layer : model().layers) {
    for_each_weight(layer, [&](const MatrixView& w) { result.push_back(&w); });
  }
  result.push_back(&model().output.w);
  return result;
}

int64_t BenchModel::n_weights() const {
  int64_t n = 0;
  for (const MatrixView* w : weights()) n += w->n_rows * w->n_cols;
  return n;
}

int64_t BenchModel::weight_bytes() const {
  int64_t n = 0;
  for (const MatrixView* w : weights()) n += w->n_rows * w->row_bytes();
  return n;
}

BenchModel::Active BenchModel::active() const {
  Active active{};
  const auto add = [&](const MatrixView& w, double share) {
    active.n_weights += share * double(w.n_rows * w.n_cols);
    active.n_bytes += share * double(w.n_rows * w.row_bytes());
  };
  for (const Layer& layer : model().layers) {
    for (const Branch& branch : layer.branches) {
      for_each_share(branch, [&](const Linear& linear, LinearRole, double share) { add(linear.w, share); });
    }
  }
  add(model().output.w, 1);
  return active;
}

std::string BenchModel::types() const {
  std::map<Type, int64_t> bytes;
  for (const MatrixView* w : weights()) bytes[w->type] += w->n_rows * w->row_bytes();
  std::vector<std::pair<int64_t, std::string_view>> sorted;
  for (const auto& [type, n] : bytes) sorted.emplace_back(-n, traits(type).name);
  std::ranges::sort(sorted);
  std::string text;
  for (const auto& [n, name] : sorted) text += fmt::format("{}{}", text.empty() ? "" : ", ", name);
  return text;
}

int64_t BenchModel::bytes_beyond() const {
  return int64_t(resident_anonymous_bytes()) - synthetic_.storage.size();
}

int64_t BenchModel::peak_bytes_beyond() const {
  const int64_t mapped = int64_t(resident_file_bytes()), all = int64_t(peak_resident_bytes());
  return std::max(all - mapped, int64_t(resident_anonymous_bytes())) - synthetic_.storage.size();
}

}  // namespace lora
