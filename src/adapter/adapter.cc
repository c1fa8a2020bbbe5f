#include "adapter/adapter.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "gguf/printable.h"

namespace lora {
namespace {

std::string architecture_of(const Gguf& base) {
  const auto architecture = base.get_string("general.architecture");
  if (!architecture) fail("{}: key general.architecture: missing", base.path());
  return *architecture;
}

// The first bytes of a file, as a text of at most `size`.
std::string magic_of(const std::string& path, size_t size) {
  const MappedFile file(path);
  return std::string(file.text().substr(0, size));
}

}  // namespace

float Adapter::scale(const LoraPair& pair) const {
  return alpha != 0 ? alpha / float(pair.rank) : 1.0f;
}

const LoraPair* Adapter::find(std::string_view base) const {
  const auto found =
      std::find_if(pairs.begin(), pairs.end(), [&](const LoraPair& pair) { return pair.base == base; });
  return found == pairs.end() ? nullptr : &*found;
}

Adapter read_adapter(const std::string& path, const Gguf& base) {
  Adapter adapter;
  if (is_directory(path)) {
    adapter = read_adapter_peft(path, peft_base(base));
  } else if (const std::string magic = magic_of(path, 4); magic == "GGUF") {
    adapter = read_adapter_gguf(path);
  } else if (magic == "algg") {  // a little-endian u32 of the characters "ggla"
    adapter = read_adapter_ggla(path);
    adapter.architecture = architecture_of(base);
  } else {
    fail("{}: not an adapter: expected a GGUF file, a ggla file or a PEFT folder", path);
  }
  check_adapter(adapter, path, base);
  return adapter;
}

void check_adapter(const Adapter& adapter, const std::string& path, const Gguf& base) {
  const std::string architecture = architecture_of(base);
  if (adapter.architecture != architecture) {
    fail("{}: architecture: expected {} as in {}, found {}: an adapter for another model?", path,
         architecture, base.path(), adapter.architecture.empty() ? "none" : printable(adapter.architecture));
  }
  for (const LoraPair& pair : adapter.pairs) {
    const GgufTensor* tensor = base.find_tensor(pair.base);
    if (tensor == nullptr) {
      fail("{}: tensor {}: the model {} has no such tensor: an adapter for another model?", path,
           printable(pair.base), base.path());
    }
    const bool flipped = pair.base == kTokenEmbedding;
    const int64_t n_in = tensor->ne[flipped ? 1 : 0], n_out = tensor->ne[flipped ? 0 : 1];
    if (tensor->n_dims > 2 || pair.n_in != n_in || pair.n_out != n_out) {
      fail(
          "{}: tensor {}: expected a pair for {} as in the model {}, found {} x {}: an adapter for another "
          "model?",
          path, printable(pair.base), tensor->shape(), base.path(), flipped ? pair.n_out : pair.n_in,
          flipped ? pair.n_in : pair.n_out);
    }
  }
}

}  // namespace lora
