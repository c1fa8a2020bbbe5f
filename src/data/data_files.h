// The files that a list of files and folders stands for.
#pragma once

#include <string>
#include <vector>

namespace lora {

struct DataFiles {
  std::vector<std::string> paths;  // in order, each as often as it is named
  std::vector<std::string>
      notes;  // lines about folders and what was left out of them, and about files named twice
};

// A folder stands for the .txt, .jsonl, .json, .csv and .tsv files in it, at any depth, in the order of their
// paths' bytes; what is hidden is left out. Throws Error naming the folder if there are none, or if it cannot
// be read.
DataFiles data_files(const std::vector<std::string>& given);

}  // namespace lora
