// For tests: files as torch.save writes them, put together by hand.
#pragma once

#include <zip.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "gguf/test_files.h"

namespace lora::test {

// Opcodes of a pickle, appended one after the other; protocol 2.
struct PickleBytes {
  Bytes bytes;
  PickleBytes() { bytes.raw(std::string_view("\x80\x02", 2)); }

  PickleBytes& op(std::string_view opcodes) { return bytes.raw(opcodes), *this; }
  PickleBytes& text(std::string_view value) {
    bytes.raw("X").u32(uint32_t(value.size())).raw(value);
    return *this;
  }
  PickleBytes& integer(int32_t value) { return bytes.raw("J").number(value), *this; }
  PickleBytes& sizes(const std::vector<int64_t>& values) {
    op("(");
    for (int64_t value : values) integer(int32_t(value));
    return op("t");
  }
  PickleBytes& global(std::string_view module, std::string_view name) {
    return op("c").op(module).op("\n").op(name).op("\n");
  }
  // One tensor: storage KEY of `numel` values, seen with this shape and these strides.
  PickleBytes& tensor(std::string_view storage_class, std::string_view key, int64_t numel, int64_t offset,
                      const std::vector<int64_t>& shape, const std::vector<int64_t>& stride) {
    global("torch._utils", "_rebuild_tensor_v2").op("((").text("storage").global("torch", storage_class);
    text(key).text("cpu").integer(int32_t(numel)).op("tQ").integer(int32_t(offset));
    return sizes(shape).sizes(stride).op("\x89").global("collections", "OrderedDict").op(")RtR");
  }
};

inline std::vector<int64_t> dense_strides(const std::vector<int64_t>& shape) {
  std::vector<int64_t> stride(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) stride[i - 1] = stride[i] * shape[i];
  return stride;
}

using ZipEntries = std::vector<std::pair<std::string, std::string>>;

inline void write_zip(const std::string& path, const ZipEntries& entries, int method = ZIP_CM_STORE) {
  zip_t* zip = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, nullptr);
  for (const auto& [name, content] : entries) {
    zip_source_t* source = zip_source_buffer(zip, content.data(), content.size(), 0);
    const auto index = zip_file_add(zip, name.c_str(), source, ZIP_FL_ENC_UTF_8);
    zip_set_file_compression(zip, zip_uint64_t(index), method, 9);
  }
  if (!zip || zip_close(zip) != 0) fail("{}: cannot write the archive", path);
}

struct TorchTensor {
  std::string name, storage_class;
  std::vector<int64_t> shape;
  std::string bytes;
};

// A state dict of dense tensors.
inline void write_pytorch(const std::string& path, const std::vector<TorchTensor>& tensors) {
  PickleBytes pickle;
  pickle.op("}(");
  ZipEntries entries(1);
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TorchTensor& t = tensors[i];
    int64_t n = 1;
    for (int64_t size : t.shape) n *= size;
    pickle.text(t.name).tensor(t.storage_class, std::to_string(i), n, 0, t.shape, dense_strides(t.shape));
    entries.emplace_back("model/data/" + std::to_string(i), t.bytes);
  }
  entries[0] = {"model/data.pkl", pickle.op("u.").bytes.data};
  entries.emplace_back("model/byteorder", "little");
  write_zip(path, entries);
}

}  // namespace lora::test
