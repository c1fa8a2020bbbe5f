// What is handed over beside an adapter: how good it became, and how other programs use it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "train/finetune.h"

namespace lora {

// A word of a shell's command, quoted where it has to be.
std::string shell_word(std::string_view text);

struct Use {
  std::string program, command;
  std::string note{};  // what is to be known beside it
};

// How each program is given a model with an adapter. `chat`: it was taught by conversations. `modelfile`:
// Ollama's,
// "" where none was written.
std::vector<Use> uses_of(const std::string& model, const std::string& adapter, bool chat,
                         const std::string& modelfile);

// What Ollama's Modelfile says: the model and the adapter by their whole paths.
std::string modelfile_of(const std::string& model, const std::string& adapter);

struct Summary {
  std::string name;  // of the run
  std::string model, adapter;
  FinetuneResult result{};
  std::vector<std::string> data{};  // files and folders that were trained on
  bool chat = false;
  std::string modelfile{};
  std::string picture{};  // a file's name; "": none
  std::string command{};  // that was typed
};

// NAME.md.
std::string markdown(const Summary& summary);

}  // namespace lora
