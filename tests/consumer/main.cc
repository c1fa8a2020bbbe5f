// Ten lines against the installed package: trains on one sentence and expects its loss to fall.
#include <lora/lora.h>

int main(int, char** argv) {
  lora::LanguageModel model(argv[1]);
  model.add_lora({.rank = 2, .alpha = 4});
  const auto sample = model.tokenize("Call me Ishmael.");
  const double before = model.loss_and_gradients({sample});
  model.adamw_step({.lr = 1e-2});
  return model.loss({sample}) < before && !model.generate("Call me", {.n_predict = 8}).empty() ? 0 : 1;
}
