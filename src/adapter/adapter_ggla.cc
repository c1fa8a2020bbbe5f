#include <algorithm>
#include <cstring>

#include "adapter/adapter.h"
#include "adapter/pairs.h"
#include "base/error.h"
#include "base/file.h"
#include "base/printable.h"

namespace lora {
namespace {

constexpr uint32_t kMagic = 0x67676C61, kVersion = 1;
constexpr uint64_t kAlignment = 32;

// Walks a file's bytes; every step is checked against its end.
class Reader {
 public:
  Reader(std::span<const std::byte> bytes, const std::string& path) : bytes_(bytes), path_(path) {}

  bool at_end() const { return position_ == bytes_.size(); }

  std::span<const std::byte> take(uint64_t size, std::string_view what) {
    if (size > bytes_.size() - position_) {
      fail("{}: truncated: {} at byte {} needs {} bytes, {} are left", path_, what, position_, size,
           bytes_.size() - position_);
    }
    const auto bytes = bytes_.subspan(position_, size);
    position_ += size;
    return bytes;
  }

  uint32_t u32(std::string_view what) {
    uint32_t value;
    std::memcpy(&value, take(sizeof(value), what).data(), sizeof(value));
    return value;
  }

  // The writer seeks over the padding, so it may be missing at the very end of a file.
  void align() {
    const uint64_t aligned = (position_ + kAlignment - 1) / kAlignment * kAlignment;
    position_ = std::min<uint64_t>(aligned, bytes_.size());
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& path_;
  uint64_t position_ = 0;
};

std::vector<float> read_values(Reader& reader, uint32_t type, uint64_t n, const std::string& path,
                               const std::string& name) {
  const TypeTraits* row = find_type(type);
  if (type != uint32_t(Type::F32) && type != uint32_t(Type::F16)) {
    fail("{}: tensor {}: expected type F32 or F16, found {}", path, name,
         row != nullptr ? std::string(row->name) : std::to_string(type));
  }
  const uint64_t n_bytes = type == uint32_t(Type::F32) ? 4 : 2;
  if (n > UINT64_MAX / n_bytes) fail("{}: tensor {}: more values than any file holds", path, name);
  const auto bytes = reader.take(n * n_bytes, name);
  std::vector<float> values(n);
  row->decode(values.data(), bytes.data(), int64_t(n));
  return values;
}

// The next tensor in the layout of LoraPair; its name is empty if the entry stands for none.
LoraHalf read_half(Reader& reader, const std::string& path) {
  const uint32_t n_dims = reader.u32("a tensor's dimension count");
  const uint32_t name_length = reader.u32("a tensor's name length");
  const uint32_t type = reader.u32("a tensor's type");
  if (n_dims > 2) fail("{}: a tensor: expected at most 2 dimensions, found {}", path, n_dims);
  uint64_t ne[2] = {1, 1};
  for (uint32_t i = 0; i < n_dims; ++i) ne[i] = reader.u32("a tensor's shape");
  const auto name = reader.take(name_length, "a tensor's name");
  reader.align();
  LoraHalf half;
  if (n_dims == 0) return half;
  const std::string_view full_name(reinterpret_cast<const char*>(name.data()), name.size());
  half.tensor = printable(full_name);
  half.is_b = full_name.ends_with(".loraB");
  if (!half.is_b && !full_name.ends_with(".loraA")) {
    fail("{}: tensor {}: expected a name that ends in .loraA or .loraB", path, half.tensor);
  }
  half.base = full_name.substr(0, full_name.size() - std::string_view(".loraA").size());
  half.values = read_values(reader, type, ne[0] * ne[1], path, half.tensor);
  half.n_rows = int64_t(ne[1]);
  half.n_cols = int64_t(ne[0]);
  check_not_empty(half, path);
  // There the embedding's A runs along n_embd and its B along n_vocab: the other way round than in LoraPair.
  if (half.base == kTokenEmbedding) half.is_b = !half.is_b;
  if (!half.is_b) {
    half.values = transposed(half.values, half.n_rows, half.n_cols);
    std::swap(half.n_rows, half.n_cols);
  }
  return half;
}

}  // namespace

Adapter read_adapter_ggla(const std::string& path) {
  return parse_adapter_ggla(MappedFile(path).bytes(), path);
}

Adapter parse_adapter_ggla(std::span<const std::byte> bytes, const std::string& path) {
  Reader reader(bytes, path);
  if (const uint32_t magic = reader.u32("the magic number"); magic != kMagic) {
    fail("{}: not a ggla file: expected magic {:#x}, found {:#x}", path, kMagic, magic);
  }
  if (const uint32_t version = reader.u32("the version"); version != kVersion) {
    fail("{}: ggla version: expected {}, found {}", path, kVersion, version);
  }
  const uint32_t rank = reader.u32("the rank");
  if (rank == 0) fail("{}: rank: expected at least 1, found 0", path);
  Adapter adapter;
  const double alpha = reader.u32("alpha");
  std::vector<LoraHalf> halves;
  while (!reader.at_end()) {
    if (LoraHalf half = read_half(reader, path); !half.tensor.empty()) halves.push_back(std::move(half));
  }
  pair_up(adapter, std::move(halves), path);
  set_scales(adapter, [&](const LoraPair&) { return alpha / rank; });
  return adapter;
}

}  // namespace lora
