#include "convert/imatrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/file.h"
#include "gguf/gguf.h"
#include "gguf/printable.h"

namespace lora {
namespace {

constexpr std::string_view kSums = ".in_sum2", kCounts = ".counts";

// Where the bytes of a .dat file are taken from, one after the other.
class Reader {
 public:
  Reader(std::span<const std::byte> bytes, const std::string& path) : bytes_(bytes), path_(path) {}

  bool at_end() const { return bytes_.empty(); }
  std::span<const std::byte> take(uint64_t n, const char* what) {
    if (n > bytes_.size())
      fail("{}: {} of {} bytes, {} are left: not an importance matrix, or cut off", path_, what, n,
           bytes_.size());
    const auto taken = bytes_.first(size_t(n));
    bytes_ = bytes_.subspan(size_t(n));
    return taken;
  }
  int32_t integer(const char* what) {
    int32_t value;
    std::memcpy(&value, take(4, what).data(), 4);
    return value;
  }
  int32_t count(const char* what, int32_t min) {
    const int32_t value = integer(what);
    if (value < min) fail("{}: {} is {}: not an importance matrix", path_, what, value);
    return value;
  }
  std::string text(const char* what) {
    const auto bytes = take(uint64_t(count(what, 0)), what);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& path_;
};

void check(const std::string& path, const std::string& name, const ImatrixEntry& entry) {
  const auto sound = [](float v) { return std::isfinite(v) && v >= 0; };
  if (!std::all_of(entry.sums.begin(), entry.sums.end(), sound) ||
      !std::all_of(entry.counts.begin(), entry.counts.end(), sound)) {
    fail("{}: entry '{}' holds a negative number or one that is not finite", path, printable(name));
  }
}

Imatrix parse_dat(std::span<const std::byte> bytes, const std::string& path) {
  Reader reader(bytes, path);
  Imatrix imatrix;
  const int32_t n_entries = reader.count("number of entries", 1);
  for (int32_t i = 0; i < n_entries; ++i) {
    const std::string name = reader.text("name of an entry");
    if (name.empty()) fail("{}: entry {} has no name", path, i);
    ImatrixEntry entry;
    entry.counts = {float(reader.count("number of calls", 0))};
    const int32_t n_values = reader.count("number of values", 1);
    const auto values = reader.take(uint64_t(n_values) * sizeof(float), "values of an entry");
    entry.sums.resize(size_t(n_values));
    std::memcpy(entry.sums.data(), values.data(), values.size());
    check(path, name, entry);
    if (!imatrix.entries.emplace(name, std::move(entry)).second)
      fail("{}: entry '{}' occurs twice", path, printable(name));
  }
  if (reader.at_end()) return imatrix;
  imatrix.n_chunks = reader.count("number of chunks", 0);
  if (!reader.at_end()) imatrix.datasets.push_back(reader.text("name of the text"));
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

std::vector<float> column_weights(const ImatrixEntry& entry) {
  std::vector<float> weights(entry.sums.size(), 1.0f);
  const size_t n_cols = entry.counts.empty() ? 0 : entry.sums.size() / entry.counts.size();
  for (size_t begin = 0; begin < weights.size(); begin += n_cols) {
    double sum = 0;
    for (size_t c = 0; c < n_cols; ++c) sum += entry.sums[begin + c];
    const double mean = sum / double(n_cols);
    if (!(mean > 0)) continue;
    for (size_t c = 0; c < n_cols; ++c)
      weights[begin + c] = float(std::max(double(entry.sums[begin + c]) / mean, 1e-3));
  }
  return weights;
}

}  // namespace lora
