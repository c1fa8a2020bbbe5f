// Importance of the columns of a model's weights, over a text.
#pragma once

#include "convert/imatrix.h"
#include "generate/evaluate.h"

namespace lora {

// Evaluates the text as evaluate() does and adds up, for every matrix of the model's blocks, the squares of
// what goes into each of its columns; of experts' matrices one by one, where the router's weights count (what
// goes into the down-projection is multiplied by them), and those that no token went to are named. Stopped in
// between, the imatrix holds the windows done (n_chunks). Error naming the tensor if what goes into it is not
// finite.
EvalResult collect_imatrix(Imatrix& imatrix, const EvalOptions& options, EvalEvents events);

}  // namespace lora
