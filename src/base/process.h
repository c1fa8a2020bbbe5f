// This process, as the system knows it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lora {

int64_t process_id();

// What main() was given, in UTF-8 whatever the system's own texts are; the first is the program's name.
std::vector<std::string> arguments(int argc, char** argv);

// A word of a command as it is typed, quoted where it has to be: for POSIX shells, on Windows for cmd and
// PowerShell.
std::string shell_word(std::string_view text);

// As long as it lives, in the thread that made it, a machine that nobody touches does not fall asleep, where
// a program may ask for that (Windows; elsewhere it is the user's to say).
class StaysAwake {
 public:
  StaysAwake();
  ~StaysAwake();
  StaysAwake(const StaysAwake&) = delete;
  StaysAwake& operator=(const StaysAwake&) = delete;
};

}  // namespace lora
