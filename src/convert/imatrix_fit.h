// Which entry of an importance matrix belongs to which tensor of a model, and what of the two does not fit.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "convert/imatrix.h"
#include "convert/mixes.h"
#include "gguf/gguf.h"

namespace lora {

// Whether an encoder asks for importance: Q8_0 takes the scale that loses least for any.
bool uses_importance(Type type);

// For each tensor of the model the importance of its columns, nullptr for those that are quantized without.
// `say` gets a line for each of: tensors without an entry, entries without a tensor, entries whose text went
// past them, an imatrix of a model with another name, types that use none.
//
// Error naming `path`, the imatrix's, if it is of another model: an entry has other columns than its tensor,
// most entries are of tensors that the model does not have, or none is of one that is quantized.
std::vector<const ImatrixEntry*> fit_imatrix(const Imatrix& imatrix, const std::string& path,
                                             const Gguf& model, const std::vector<TensorChoice>& choices,
                                             const std::function<void(std::string_view)>& say);

}  // namespace lora
