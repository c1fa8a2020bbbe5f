// Runs a program without a shell and keeps what it wrote: for tests of command lines.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lora::test {

// Signals by POSIX's numbers. Elsewhere kKill ends a process at once and kInterrupt is the console's
// Ctrl-Break; there are no others.
inline constexpr int kHangUp = 1, kInterrupt = 2, kKill = 9, kTerminate = 15;

// Whether there are /bin/sh and what it starts, devices that are files, and the other signals.
bool is_posix();
// A named pipe among the files, where is_posix(). True if it was made.
bool make_fifo(const std::string& path);

struct RunResult {
  int status = -1;  // exit status; 128 + signal if a signal ended it
  std::string out, err;
  int64_t peak_bytes = 0;  // of memory, resident
};

struct RunOptions {
  std::vector<std::pair<std::string, std::string>> environment = {};  // set on top of this process's
  std::string directory = {};                                         // "": this process's
  std::string input = {};                                             // what the program reads from stdin
  // Looked at whenever stderr has grown; a number that is not 0 is sent as a signal, once.
  std::function<int(std::string_view err)> signal_on = {};
  double kill_after_s = 0;  // then kKill ends the program, unless it has ended before; 0: never
  // A sanitizer or an emulator makes a program about ten times slower.
  double timeout_s = LORA_INSTRUMENTED ? 1200 : 120;  // then the program is killed, and run_program throws
};

// args[0] is the program's path.
RunResult run_program(const std::vector<std::string>& args, const RunOptions& options = {});

}  // namespace lora::test
