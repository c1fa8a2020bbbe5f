#include <algorithm>

#include "adapter/adapter.h"
#include "adapter/pairs.h"
#include "base/byte_cursor.h"
#include "base/error.h"
#include "base/file.h"
#include "base/printable.h"

namespace lora {
namespace {

constexpr uint32_t kMagic = 0x67676C61, kVersion = 1;
constexpr size_t kAlignment = 32;

uint32_t read_u32(ByteCursor& in, std::string_view item) {
  in.item = item;
  return in.number<uint32_t>();
}

// The writer seeks over the padding, so it may be missing at the very end of a file.
void align(ByteCursor& in) {
  in.at = std::min((in.at + kAlignment - 1) / kAlignment * kAlignment, in.bytes.size());
}

std::vector<float> read_values(ByteCursor& in, uint32_t type, uint64_t n, const std::string& path,
                               const std::string& name) {
  const TypeTraits* row = find_type(type);
  if (type != uint32_t(Type::F32) && type != uint32_t(Type::F16)) {
    fail("{}: tensor {}: expected type F32 or F16, found {}", path, name,
         row != nullptr ? std::string(row->name) : std::to_string(type));
  }
  const uint64_t n_bytes = type == uint32_t(Type::F32) ? 4 : 2;
  if (n > UINT64_MAX / n_bytes) fail("{}: tensor {}: more values than any file holds", path, name);
  in.item = name;
  const auto bytes = in.take(n * n_bytes);
  std::vector<float> values(n);
  row->decode(values.data(), bytes.data(), int64_t(n));
  return values;
}

// The next tensor in the layout of LoraPair; its name is empty if the entry stands for none.
LoraHalf read_ggla_half(ByteCursor& in, const std::string& path) {
  const uint32_t n_dims = read_u32(in, "a tensor's dimension count");
  const uint32_t name_length = read_u32(in, "a tensor's name length");
  const uint32_t type = read_u32(in, "a tensor's type");
  if (n_dims > 2) fail("{}: a tensor: expected at most 2 dimensions, found {}", path, n_dims);
  uint64_t ne[2] = {1, 1};
  for (uint32_t i = 0; i < n_dims; ++i) ne[i] = read_u32(in, "a tensor's shape");
  in.item = "a tensor's name";
  const std::string_view full_name = in.text(name_length);
  align(in);
  LoraHalf half;
  if (n_dims == 0) return half;
  half.tensor = printable(full_name);
  half.is_b = full_name.ends_with(".loraB");
  if (!half.is_b && !full_name.ends_with(".loraA")) {
    fail("{}: tensor {}: expected a name that ends in .loraA or .loraB", path, half.tensor);
  }
  half.base = full_name.substr(0, full_name.size() - std::string_view(".loraA").size());
  half.values = read_values(in, type, ne[0] * ne[1], path, half.tensor);
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
  ByteCursor in{bytes, path};
  if (const uint32_t magic = read_u32(in, "the magic number"); magic != kMagic) {
    fail("{}: not a ggla file: expected magic {:#x}, found {:#x}", path, kMagic, magic);
  }
  if (const uint32_t version = read_u32(in, "the version"); version != kVersion) {
    fail("{}: ggla version: expected {}, found {}", path, kVersion, version);
  }
  const uint32_t rank = read_u32(in, "the rank");
  if (rank == 0) fail("{}: rank: expected at least 1, found 0", path);
  Adapter adapter;
  const double alpha = read_u32(in, "alpha");
  std::vector<LoraHalf> halves;
  while (!in.at_end()) {
    if (LoraHalf half = read_ggla_half(in, path); !half.tensor.empty()) halves.push_back(std::move(half));
  }
  pair_up(adapter, std::move(halves), path);
  set_scales(adapter, [&](const LoraPair&) { return alpha / rank; });
  return adapter;
}

}  // namespace lora
