// What is handed over beside an adapter: how good it became, and how other programs use it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "train/finetune.h"

namespace lora {

// Whether an adapter was taught by conversations, and the template they were written with if that is not the
// model's own: a name of a built-in one, or a file.
struct Conversations {
  bool any = false;
  std::string chat_template{};
};
Conversations conversations_of(const FinetuneOptions& options, const FinetuneResult& result);

struct Use {
  std::string program, command;
  std::string note{};  // what is to be known beside it
};

// How each program is given a model with an adapter. `chat`: what wrote the conversations that it was taught
// by. `modelfile`: Ollama's, "" where none was written.
std::vector<Use> uses_of(const std::string& model, const std::string& adapter, const Conversations& chat,
                         const std::string& modelfile);

// What Ollama's Modelfile says: the model and the adapter by their whole paths.
std::string modelfile_of(const std::string& model, const std::string& adapter);

struct Summary {
  std::string name;  // of the run
  std::string model, adapter;
  FinetuneResult result{};
  std::vector<std::string> data{};  // files and folders that were trained on
  Conversations chat{};
  std::string modelfile{};
  std::string picture{};  // a file's name; "": none
  std::string command{};  // that was typed
};

// NAME.md.
std::string markdown(const Summary& summary);

}  // namespace lora
