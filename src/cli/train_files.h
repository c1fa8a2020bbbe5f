// What `lora train` writes beside its run, and whose the files of its name are.
//
//   NAME.toml         the settings; its first line says that `lora train` wrote it, and so that the three
//   below are its own NAME.md, NAME.svg, NAME.Modelfile   written at the run's end NAME.gguf, NAME-last.gguf,
//   NAME-checkpoint.gguf, NAME.jsonl   the run's, unless its flags name others
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/output.h"
#include "recipe/choices.h"
#include "train/options.h"

namespace lora::cli {

// What is set otherwise than finetune has it by itself: its flag and values.
struct SetFlag {
  std::string flag;
  std::vector<std::string> values;
  bool is_switch = false;  // without a value on the command line
};
std::vector<SetFlag> set_flags(const FinetuneOptions& options);

// "lora finetune --model-base ...", for a shell.
std::string command_of(const std::vector<SetFlag>& flags);

// What --config takes: each flag below why it was chosen. Error naming a flag whose value cannot be written
// there.
std::string toml_of(const std::vector<SetFlag>& flags, const std::vector<Choice>& choices,
                    const std::string& command, const std::string& name);

// The run of this name that was begun and has a checkpoint to go on from, by its NAME.toml. Error naming the
// file where that cannot be read.
std::optional<FinetuneOptions> begun_run(const std::string& name);

// For a run that begins. Error naming the first file of its name that is another's; with `begins_anew`, those
// of an earlier `lora train` may be written over.
void expect_free(const std::string& name, bool begins_anew);

// The right to write NAME.toml, .md, .svg and .Modelfile. Error if one is an input or another output of the
// run, cannot be written, or is being written by somebody. `config`: the file of --config, "" if none. `run`
// names files, not folders; `folders`: what was given.
std::vector<Hold> hold_files(const std::string& name, const FinetuneOptions& run, const std::string& config,
                             const std::vector<std::string>& folders);

void write_whole(const std::string& path, const std::string& text);

}  // namespace lora::cli
