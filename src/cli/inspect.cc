#include "cli/commands.h"
#include "cli/help.h"
#include "cli/parse.h"
#include "cli/put.h"
#include "gguf/describe.h"

namespace lora::cli {

int inspect_command(const std::vector<std::string>& args) {
  std::string file;
  bool json = false;
  const CommandLine line = {
      "inspect",
      "FILE [flags]",
      "Metadata and tensors of a GGUF (model, adapter, checkpoint) or safetensors file.",
      {{"File", {{"FILE", "FILE", "", "what to look into", non_empty_text(file), true}}},
       {"Output", {{"--json", "", "", "print one JSON object, arrays whole", turn(json)}}}}};
  if (parse_flags(line, args).help) {
    print(help_page(line));
    return 0;
  }
  if (json) {
    describe_as_json(file, print_json);
  } else {
    print(describe_as_text(file));
  }
  return 0;
}

}  // namespace lora::cli
