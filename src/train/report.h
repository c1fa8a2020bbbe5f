// How good a run became, in words.
#pragma once

#include <string>
#include <vector>

#include "train/finetune.h"

namespace lora {

// "a third less", "hardly less", "a tenth more": what a part of it is, in words. part: by how much it fell, 1
// for all of it; negative where it rose.
std::string fraction_in_words(double part);

// Whether the last held-out loss lies so far above the best that training went on for too long.
bool has_overtrained(const Evaluations& evaluations);

// What a run's held-out losses say, a line each: the losses, what they mean, where it began to overtrain.
// None without held-out data. `best_path`: the adapter that the best one is kept as; "": none.
std::vector<std::string> describe_quality(const Evaluations& evaluations, const std::string& best_path);

}  // namespace lora
