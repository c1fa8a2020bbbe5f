// How the tests of this folder look at training texts.
#pragma once

#include <string>
#include <vector>

#include "chat/conversation.h"
#include "chat/training_text.h"

namespace lora::test {

// The text of each sample, with what is trained on in braces.
inline std::vector<std::string> shown(const std::vector<TrainingText>& texts) {
  std::vector<std::string> all;
  for (const TrainingText& written : texts) {
    std::string text;
    size_t at = 0;
    for (const TextRange& range : written.trained) {
      text += written.text.substr(at, range.begin - at) + "{" +
              written.text.substr(range.begin, range.end - range.begin) + "}";
      at = range.end;
    }
    all.push_back(text + written.text.substr(at));
  }
  return all;
}

}  // namespace lora::test
