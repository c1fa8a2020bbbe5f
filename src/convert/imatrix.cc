#include "convert/imatrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/byte_cursor.h"
#include "base/error.h"
#include "base/file.h"
#include "base/file_kind.h"
#include "base/plural.h"
#include "base/printable.h"
#include "gguf/gguf.h"

namespace lora {
namespace {

constexpr std::string_view kSums = ".in_sum2", kCounts = ".counts";
constexpr const char* kModelName = "general.base_model.0.name";

int32_t read_count(ByteCursor& in, const char* item, int32_t min) {
  in.item = item;
  const auto value = in.number<int32_t>();
  if (value < min) fail("{}: {} is {}: not an importance matrix", in.path, item, value);
  return value;
}

std::string read_text(ByteCursor& in, const char* item) {
  return std::string(in.text(uint64_t(read_count(in, item, 0))));
}

void check(const std::string& path, const std::string& name, const ImatrixEntry& entry) {
  const auto sound = [](float v) { return std::isfinite(v) && v >= 0; };
  if (!std::all_of(entry.sums.begin(), entry.sums.end(), sound) ||
      !std::all_of(entry.counts.begin(), entry.counts.end(), sound)) {
    fail("{}: entry '{}' holds a negative number or one that is not finite", path, printable(name));
  }
}

Imatrix parse_dat(std::span<const std::byte> bytes, const std::string& path) {
  ByteCursor in{bytes, path, "not an importance matrix, or cut off"};
  Imatrix imatrix;
  const int32_t n_entries = read_count(in, "number of entries", 1);
  for (int32_t i = 0; i < n_entries; ++i) {
    const std::string name = read_text(in, "name of an entry");
    if (name.empty()) fail("{}: entry {} has no name", path, i);
    ImatrixEntry entry;
    entry.counts = {float(read_count(in, "number of calls", 0))};
    const int32_t n_values = read_count(in, "number of values", 1);
    in.item = "values of an entry";
    const auto values = in.take(uint64_t(n_values) * sizeof(float));
    entry.sums.resize(size_t(n_values));
    std::memcpy(entry.sums.data(), values.data(), values.size());
    check(path, name, entry);
    if (!imatrix.entries.emplace(name, std::move(entry)).second)
      fail("{}: entry '{}' occurs twice", path, printable(name));
  }
  if (in.at_end()) return imatrix;
  imatrix.n_chunks = read_count(in, "number of chunks", 0);
  if (!in.at_end()) imatrix.datasets.push_back(read_text(in, "name of the text"));
  return imatrix;
}

std::vector<float> floats_of(const GgufTensor& tensor, const std::string& path) {
  if (tensor.type != Type::F32)
    fail("{}: tensor '{}' is {}, expected F32", path, printable(tensor.name), traits(tensor.type).name);
  std::vector<float> values(size_t(tensor.n_elements()));
  if (!values.empty()) std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
  return values;
}

Imatrix parse_gguf(const Gguf& gguf) {
  const std::string& path = gguf.path();
  const auto type = gguf.get_string("general.type");
  if (type != "imatrix") {
    fail("{}: holds {}, expected an importance matrix", path,
         type ? "'" + printable(*type) + "'" : "a model");
  }
  Imatrix imatrix;
  imatrix.n_chunks = gguf.get_int("imatrix.chunk_count").value_or(0);
  imatrix.chunk_size = gguf.get_int("imatrix.chunk_size").value_or(0);
  if (const auto* datasets = gguf.get_strings("imatrix.datasets")) imatrix.datasets = *datasets;
  imatrix.model = gguf.get_string(kModelName).value_or("");
  for (const GgufTensor& sums : gguf.tensors()) {
    if (!std::string_view(sums.name).ends_with(kSums)) continue;
    const std::string name = sums.name.substr(0, sums.name.size() - kSums.size());
    if (name.empty()) fail("{}: tensor '{}' names no weight", path, sums.name);
    const GgufTensor& counts = gguf.tensor(name + std::string(kCounts));
    if (counts.n_elements() != sums.n_elements() / sums.ne[0]) {
      fail("{}: tensor '{}' is {}, '{}' is {}: expected a count for each row", path, printable(sums.name),
           sums.shape(), printable(counts.name), counts.shape());
    }
    ImatrixEntry entry{floats_of(sums, path), floats_of(counts, path)};
    check(path, name, entry);
    imatrix.entries.emplace(name, std::move(entry));
  }
  if (imatrix.entries.empty()) fail("{}: an importance matrix without entries", path);
  return imatrix;
}

}  // namespace

Imatrix parse_imatrix(std::span<const std::byte> bytes, const std::string& path) {
  if (bytes.size() >= 4 && std::memcmp(bytes.data(), "GGUF", 4) == 0)
    return parse_gguf(Gguf::parse(bytes, path));
  refuse_known_kind(bytes, path, "an importance matrix");
  return parse_dat(bytes, path);
}

Imatrix read_imatrix(const std::string& path) {
  const MappedFile file(path);
  return parse_imatrix(file.bytes(), path);
}

void write_imatrix(const Imatrix& imatrix, const std::string& path) {
  GgufWriter writer;
  writer.set_string("general.type", "imatrix");
  writer.set_strings("imatrix.datasets", imatrix.datasets);
  writer.set_u32("imatrix.chunk_count", uint32_t(imatrix.n_chunks));
  writer.set_u32("imatrix.chunk_size", uint32_t(imatrix.chunk_size));
  if (!imatrix.model.empty()) {
    writer.set_u32("general.base_model.count", 1);
    writer.set_string(kModelName, imatrix.model);
  }
  for (const auto& [name, entry] : imatrix.entries) {
    check(path, name, entry);  // what is written is read again
    const auto n_experts = int64_t(entry.counts.size()), n_cols = int64_t(entry.sums.size()) / n_experts;
    writer.add_tensor(name + std::string(kSums), Type::F32, {n_cols, n_experts},
                      std::as_bytes(std::span(entry.sums)));
    writer.add_tensor(name + std::string(kCounts), Type::F32, {1, n_experts},
                      std::as_bytes(std::span(entry.counts)));
  }
  writer.write(path);
}

std::vector<float> column_weights(const ImatrixEntry& entry, int64_t n_cols) {
  std::vector<float> weights(entry.sums.size(), 1.0f);
  const auto n = size_t(n_cols);
  for (size_t begin = 0; begin < weights.size(); begin += n) {
    double sum = 0;
    for (size_t c = 0; c < n; ++c) sum += entry.sums[begin + c];
    const double mean = sum / double(n);
    if (!(mean > 0)) continue;
    for (size_t c = 0; c < n; ++c)
      weights[begin + c] = float(std::max(double(entry.sums[begin + c]) / mean, 1e-3));
  }
  return weights;
}

std::vector<int64_t> unreached_experts(const ImatrixEntry& entry, int64_t n_cols) {
  std::vector<int64_t> experts;
  for (int64_t e = 0; e < int64_t(entry.sums.size()) / n_cols; ++e) {
    const auto begin = entry.sums.begin() + e * n_cols;
    if (std::all_of(begin, begin + n_cols, [](float sum) { return sum == 0; })) experts.push_back(e);
  }
  return experts;
}

std::string experts_text(const std::vector<std::pair<std::string_view, std::vector<int64_t>>>& unreached) {
  constexpr size_t kMostLayers = 16, kMostExperts = 8;
  std::vector<std::string> shown;
  for (const auto& [name, experts] : unreached) {
    std::vector<std::string> numbers;
    for (const int64_t e : experts) numbers.push_back(std::to_string(e));
    const size_t in_layer = name.starts_with("blk.") ? name.find('.', 4) : name.npos;
    std::string text =
        fmt::format("{}: {} {}", printable(name.substr(0, in_layer)),
                    experts.size() == 1 ? "expert" : "experts", list_of(numbers, kMostExperts));
    if (std::ranges::find(shown, text) == shown.end()) shown.push_back(std::move(text));
  }
  std::string text;
  for (size_t i = 0; i < std::min(kMostLayers, shown.size()); ++i) text += (i > 0 ? "; " : "") + shown[i];
  return text + and_more(shown.size() - std::min(kMostLayers, shown.size()));
}

}  // namespace lora
