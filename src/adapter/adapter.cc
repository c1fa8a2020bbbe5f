#include "adapter/adapter.h"

#include <algorithm>
#include <utility>

#include "adapter/head_parts.h"
#include "base/error.h"
#include "base/file.h"
#include "base/file_kind.h"
#include "base/printable.h"
#include "model/build.h"

namespace lora {
namespace {

std::string architecture_of(const Gguf& base) {
  const auto architecture = base.get_string("general.architecture");
  if (!architecture) fail("{}: key general.architecture: missing", base.path());
  return *architecture;
}

}  // namespace

std::vector<int64_t> lora_ne(int64_t n_cols, int64_t n_rows, int64_t n_slices) {
  std::vector<int64_t> ne = {n_cols, n_rows};
  if (n_slices > 1) ne.push_back(n_slices);
  return ne;
}

float Adapter::scale(const LoraPair& pair) const {
  return alpha != 0 ? alpha / float(pair.rank) : 1.0f;
}

const LoraPair* Adapter::find(std::string_view base) const {
  const auto found =
      std::find_if(pairs.begin(), pairs.end(), [&](const LoraPair& pair) { return pair.base == base; });
  return found == pairs.end() ? nullptr : &*found;
}

AdapterFormat adapter_format(const std::string& path) {
  if (is_directory(path)) return AdapterFormat::folder;
  const MappedFile file(path);
  const std::string_view magic = file.text().substr(0, 4);
  if (magic == "GGUF") return AdapterFormat::gguf;
  if (magic == "algg") return AdapterFormat::ggla;  // a little-endian u32 of the characters "ggla"
  refuse_known_kind(file.bytes(), path, "an adapter");
  fail("{}: not an adapter: expected a GGUF file, a ggla file or a folder of PEFT or MLX", path);
}

Adapter read_adapter(const std::string& path, const Gguf& base, const AdapterReading& reading) {
  Adapter adapter;
  switch (adapter_format(path)) {
    case AdapterFormat::folder:
      adapter = read_adapter_peft(path, peft_base(base), nullptr, reading);
      break;
    case AdapterFormat::gguf:
      adapter = read_adapter_gguf(path);
      break;
    case AdapterFormat::ggla:
      adapter = read_adapter_ggla(path);
      adapter.architecture = architecture_of(base);
      break;
  }
  check_adapter(adapter, path, base);
  if (const size_t n = adapter.ignored.size(); n > 0 && reading.say) {
    reading.say(fmt::format(
        "{}: {} pair{} of norms left out: programs do not apply them, nor is it known how they are meant",
        path, n, n == 1 ? " is" : "s are"));
  }
  return adapter;
}

void check_adapter(const Adapter& adapter, const std::string& path, const Gguf& base) {
  const std::string architecture = architecture_of(base);
  if (adapter.architecture != architecture) {
    fail("{}: architecture: expected {} as in {}, found {}: an adapter for another model?", path,
         architecture, base.path(), adapter.architecture.empty() ? "none" : printable(adapter.architecture));
  }
  for (const LoraPair& pair : adapter.pairs) {
    const GgufTensor* found = base.find_tensor(pair.base);
    if (found && found->n_dims < 2 && !pair.base.ends_with("_norm.weight")) {
      fail("{}: tensor {}: a vector in the model {}, and LoRA changes matrices alone", path,
           printable(pair.base), base.path());
    }
    check_pair(pair, pair_shape(base, pair.base), path, base.path());
  }
}

std::optional<PairShape> pair_shape(const Gguf& base, std::string_view tensor) {
  const GgufTensor* found = base.find_tensor(tensor);
  if (found == nullptr) {
    if (const auto joined = joined_shape(base, tensor)) return joined;
    const GgufTensor* first = base.find_tensor(tensor_of_slice(tensor, 0));
    if (first == nullptr) return std::nullopt;
    PairShape shape{first->ne[0], first->ne[1]};
    while (base.find_tensor(tensor_of_slice(tensor, shape.n_slices))) ++shape.n_slices;
    return shape;
  }
  if (found->ne[3] > 1) return std::nullopt;
  if (tensor == kTokenEmbedding) return PairShape{found->ne[1], found->ne[0]};
  return PairShape{found->ne[0], found->ne[1], found->ne[2]};
}

void check_pair(const LoraPair& pair, const std::optional<PairShape>& shape, const std::string& path,
                const std::string& base_path) {
  if (!shape) {
    fail("{}: tensor {}: the model {} has no such tensor: an adapter for another model?", path,
         printable(pair.base), base_path);
  }
  if (pair.n_in == shape->n_in && pair.n_out == shape->n_out && pair.n_slices == shape->n_slices) return;
  const bool flipped = pair.base == kTokenEmbedding;  // as the base file has it
  const auto text = [&](int64_t n_in, int64_t n_out, int64_t n_slices) {
    if (flipped) std::swap(n_in, n_out);
    return fmt::format("{} x {}{}", n_in, n_out, n_slices > 1 ? fmt::format(" x {}", n_slices) : "");
  };
  fail("{}: tensor {}: expected a pair for {} as in the model {}, found {}: an adapter for another model?",
       path, printable(pair.base), text(shape->n_in, shape->n_out, shape->n_slices), base_path,
       text(pair.n_in, pair.n_out, pair.n_slices));
}

}  // namespace lora
