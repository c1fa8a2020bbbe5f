// What `lora inspect` says about a file: a GGUF (model, adapter, checkpoint, vocabulary; all parts of
// a split model) or a safetensors file. The contents decide which, not the name.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace lora {

// Aligned columns for people: format and size, metadata (long arrays and strings abbreviated), tensors,
// and a total with the parameters and the bits each takes; of a mixture of experts also the parameters that
// a token meets. Ends with a line feed. Control characters and bytes that are not UTF-8 are escaped.
std::string describe_as_text(const std::string& path);

// One JSON object:
//   {"format": "gguf"|"safetensors", "version", "file_bytes", "metadata": {key: value},
//    "tensors": [{"name", "type", "shape", "bytes"}], "parameters", "bits_per_weight", "active_parameters"}
// version is null for safetensors, which has none. Arrays are whole. shape is as the file states it:
// GGUF's ne (row length first), safetensors' shape (row length last). Bytes that are not UTF-8 become
// U+FFFD, numbers that are not finite null. `last`, if it is an object, gives further keys. bits_per_weight
// is null without tensors; active_parameters is there for mixtures of experts. `write` gets it piece by
// piece, in whole characters, once the file is known to be sound: arrays may hold millions.
void describe_as_json(const std::string& path, const nlohmann::ordered_json& last,
                      const std::function<void(std::string_view json)>& write);

}  // namespace lora
